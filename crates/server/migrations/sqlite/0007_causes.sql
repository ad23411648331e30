-- Why an update ended, where the server found it out: as JSON. `reason` holds what a device said, and the sentences of the
-- versions before.
ALTER TABLE updates ADD COLUMN cause TEXT;
