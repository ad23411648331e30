-- Which job a publisher's token was given to, so that the running configuration is asked what it trusts it with, each time.
-- Tokens without a job open nothing. `may_promote` is not asked any more, and stays: a server of the version before may still
-- be running when `updraft token` brings its tables up to date.
ALTER TABLE tokens ADD COLUMN job TEXT;
ALTER TABLE tokens ADD COLUMN revoked_at BIGINT;
