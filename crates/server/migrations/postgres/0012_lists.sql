-- Parts of ids, found by their trigrams. The extension comes with PostgreSQL; whoever owns the database may create it.
CREATE EXTENSION IF NOT EXISTS pg_trgm;
CREATE INDEX devices_id_trigrams ON devices USING gin (LOWER(id) gin_trgm_ops);
