-- Tokens of trusted publishers: what each is confined to, and which signed statement it was got for, so that none is
-- taken twice.
ALTER TABLE tokens ADD COLUMN product TEXT;
ALTER TABLE tokens ADD COLUMN may_promote BIGINT NOT NULL DEFAULT 0;
ALTER TABLE tokens ADD COLUMN statement_sha256 TEXT;
CREATE UNIQUE INDEX tokens_statement ON tokens (statement_sha256) WHERE statement_sha256 IS NOT NULL;
