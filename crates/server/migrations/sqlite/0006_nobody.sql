-- Counts of nobody go: products that had devices once would be walked through for ever.
DELETE FROM device_counts WHERE devices = 0;
CREATE TRIGGER device_counts_nobody AFTER UPDATE OF devices ON device_counts WHEN NEW.devices = 0 BEGIN
    DELETE FROM device_counts WHERE product = NEW.product AND state = NEW.state;
END;
