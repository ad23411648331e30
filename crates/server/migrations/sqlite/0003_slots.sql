-- The smallest slot that each device reports, by which the smallest of a product is found without reading the others.
ALTER TABLE devices ADD COLUMN slot_bytes BIGINT;
UPDATE devices SET slot_bytes = json_extract(report, '$.slot_bytes') WHERE report IS NOT NULL;
CREATE INDEX devices_slot ON devices (product, slot_bytes, id) WHERE slot_bytes IS NOT NULL;
