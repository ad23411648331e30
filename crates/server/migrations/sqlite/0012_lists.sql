-- Parts of ids, found by their trigrams: written with the devices.
CREATE VIRTUAL TABLE device_ids USING fts5(id, tokenize = 'trigram', columnsize = 0);
INSERT INTO device_ids (id) SELECT id FROM devices;
