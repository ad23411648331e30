-- What both databases have. Figures are counted from indexes and no more kept by triggers; a device has the state of its
-- newest update, and is online exactly if its epoch is the present one.
DROP TRIGGER devices_counted;
DROP TRIGGER devices_uncounted;
DROP TRIGGER devices_recounted;
DROP TRIGGER updates_recounted;
DROP TRIGGER device_counts_nobody;
DROP TABLE device_counts;
ALTER TABLE devices ADD COLUMN update_state TEXT;
ALTER TABLE devices ADD COLUMN online_epoch BIGINT NOT NULL DEFAULT 0;
UPDATE devices SET update_state = (SELECT state FROM updates WHERE id = update_id) WHERE update_id IS NOT NULL;
CREATE INDEX devices_state ON devices (update_state, id);
CREATE INDEX devices_product_state ON devices (product, update_state, id);
CREATE INDEX devices_online ON devices (online_epoch, id);
CREATE INDEX devices_product_online ON devices (product, online_epoch, id);
CREATE INDEX devices_version ON devices (version, id);
CREATE INDEX devices_product_version ON devices (product, version, id);
DROP INDEX updates_at_fault;
