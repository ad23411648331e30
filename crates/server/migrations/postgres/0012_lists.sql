-- Parts of ids, found by their trigrams. The extension comes with PostgreSQL; whoever owns the database may create it. It may be
-- there already, in whatever schema, or come from another server that starts now, whose tables are in another schema.
DO $$
DECLARE
    place TEXT;
BEGIN
    BEGIN
        CREATE EXTENSION IF NOT EXISTS pg_trgm SCHEMA public;
    EXCEPTION WHEN unique_violation OR duplicate_object THEN
        NULL;
    END;
    SELECT n.nspname INTO place FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'pg_trgm';
    EXECUTE format('CREATE INDEX devices_id_trigrams ON devices USING gin (LOWER(id) %I.gin_trgm_ops)', place);
END $$;
