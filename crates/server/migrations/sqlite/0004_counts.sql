-- How many devices each product has, by the state of their newest update: kept by the writes themselves, so that nobody
-- who looks goes through all devices. '' stands for none. The triggers are written as SQLite takes them.
CREATE TABLE device_counts (
    product TEXT NOT NULL,
    state TEXT NOT NULL,
    devices BIGINT NOT NULL,
    PRIMARY KEY (product, state)
);
INSERT INTO device_counts
    SELECT COALESCE(d.product, ''), COALESCE(u.state, ''), COUNT(*)
    FROM devices d LEFT JOIN updates u ON u.id = d.update_id GROUP BY 1, 2;
CREATE TRIGGER devices_counted AFTER INSERT ON devices BEGIN
    INSERT INTO device_counts VALUES
        (COALESCE(NEW.product, ''), COALESCE((SELECT state FROM updates WHERE id = NEW.update_id), ''), 1)
        ON CONFLICT (product, state) DO UPDATE SET devices = devices + 1;
END;
CREATE TRIGGER devices_uncounted BEFORE DELETE ON devices BEGIN
    UPDATE device_counts SET devices = devices - 1 WHERE product = COALESCE(OLD.product, '')
        AND state = COALESCE((SELECT state FROM updates WHERE id = OLD.update_id), '');
END;
CREATE TRIGGER devices_recounted AFTER UPDATE OF product, update_id ON devices
    WHEN OLD.product IS NOT NEW.product OR OLD.update_id IS NOT NEW.update_id BEGIN
    UPDATE device_counts SET devices = devices - 1 WHERE product = COALESCE(OLD.product, '')
        AND state = COALESCE((SELECT state FROM updates WHERE id = OLD.update_id), '');
    INSERT INTO device_counts VALUES
        (COALESCE(NEW.product, ''), COALESCE((SELECT state FROM updates WHERE id = NEW.update_id), ''), 1)
        ON CONFLICT (product, state) DO UPDATE SET devices = devices + 1;
END;
CREATE TRIGGER updates_recounted AFTER UPDATE OF state ON updates
    WHEN OLD.state <> NEW.state AND NEW.id = (SELECT update_id FROM devices WHERE id = NEW.device) BEGIN
    UPDATE device_counts SET devices = devices - 1 WHERE state = OLD.state
        AND product = COALESCE((SELECT product FROM devices WHERE id = NEW.device), '');
    INSERT INTO device_counts VALUES
        (COALESCE((SELECT product FROM devices WHERE id = NEW.device), ''), NEW.state, 1)
        ON CONFLICT (product, state) DO UPDATE SET devices = devices + 1;
END;
