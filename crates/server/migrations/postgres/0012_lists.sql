-- Parts of ids, found by their trigrams: beside the devices, whose changes then leave this index alone. The extension may be
-- there already, in whatever schema, or come from another server that starts now, whose tables are in another schema. Without
-- it, parts of ids are found by reading all of them.
CREATE TABLE device_ids (
    id TEXT COLLATE "C" PRIMARY KEY REFERENCES devices (id) ON DELETE CASCADE
);
INSERT INTO device_ids (id) SELECT id FROM devices;
DO $$
DECLARE
    place TEXT;
BEGIN
    BEGIN
        CREATE EXTENSION IF NOT EXISTS pg_trgm SCHEMA public;
    EXCEPTION WHEN unique_violation OR duplicate_object OR insufficient_privilege OR undefined_file
        OR feature_not_supported OR invalid_schema_name THEN
        NULL;
    END;
    SELECT n.nspname INTO place FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'pg_trgm';
    IF place IS NOT NULL THEN
        EXECUTE format('CREATE INDEX device_ids_trigrams ON device_ids USING gin (LOWER(id) %I.gin_trgm_ops)', place);
    END IF;
END $$;
