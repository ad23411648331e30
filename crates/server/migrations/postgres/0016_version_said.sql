-- How the device spells its version, where that is not how it is spelled here.
ALTER TABLE devices ADD COLUMN version_said TEXT;
