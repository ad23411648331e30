-- The whole schema as SQLite has it after as many migrations; from here on both have the same numbers. Ids are compared byte
-- by byte, as they are sorted by those who lock devices in order. No index has `last_seen`, and pages have room: a message that
-- changes nothing else writes no index then.
CREATE TABLE devices (
    id TEXT COLLATE "C" PRIMARY KEY,
    product TEXT COLLATE "C",
    product_is_set BOOLEAN NOT NULL DEFAULT FALSE,
    password_sha256 TEXT,
    version TEXT COLLATE "C",
    sha256 TEXT,
    report TEXT,
    report_digest TEXT,
    slot_bytes BIGINT,
    last_outcome TEXT,
    presence TEXT,
    last_seen BIGINT,
    unreadable_count BIGINT NOT NULL DEFAULT 0,
    unreadable_last TEXT,
    unreadable_at BIGINT,
    update_id BIGINT,
    update_state TEXT COLLATE "C",
    online_epoch BIGINT NOT NULL DEFAULT 0,
    created_at BIGINT NOT NULL
) WITH (fillfactor = 85);
CREATE INDEX devices_product ON devices (product, id);
CREATE INDEX devices_slot ON devices (product, slot_bytes, id) WHERE slot_bytes IS NOT NULL;
CREATE INDEX devices_state ON devices (update_state, id);
CREATE INDEX devices_product_state ON devices (product, update_state, id);
CREATE INDEX devices_online ON devices (online_epoch, id);
CREATE INDEX devices_product_online ON devices (product, online_epoch, id);
CREATE INDEX devices_version ON devices (version, id);
CREATE INDEX devices_product_version ON devices (product, version, id);
CREATE TABLE device_tags (
    device TEXT COLLATE "C" NOT NULL REFERENCES devices (id) ON DELETE CASCADE,
    tag TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (device, tag)
);
CREATE INDEX device_tags_tag ON device_tags (tag, device);
CREATE TABLE updates (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    device TEXT COLLATE "C" NOT NULL REFERENCES devices (id) ON DELETE CASCADE,
    product TEXT NOT NULL,
    from_version TEXT,
    to_version TEXT NOT NULL,
    object_key TEXT NOT NULL,
    sha256 TEXT,
    bytes BIGINT NOT NULL,
    state TEXT NOT NULL,
    reason TEXT NOT NULL DEFAULT '',
    cause TEXT,
    phase TEXT,
    done BIGINT NOT NULL DEFAULT 0,
    forced BOOLEAN NOT NULL DEFAULT FALSE,
    outcome_before TEXT,
    url_requests BIGINT NOT NULL DEFAULT 0,
    image_at_fault BOOLEAN NOT NULL DEFAULT FALSE,
    created_at BIGINT NOT NULL,
    heard_at BIGINT NOT NULL,
    triggered_at BIGINT,
    finished_at BIGINT
);
CREATE UNIQUE INDEX updates_one_in_flight ON updates (device)
    WHERE state IN ('offered', 'downloading', 'restarting');
CREATE INDEX updates_silent ON updates (heard_at) WHERE state IN ('offered', 'downloading', 'restarting');
CREATE INDEX updates_untriggered ON updates (id)
    WHERE triggered_at IS NULL AND state IN ('offered', 'downloading', 'restarting');
CREATE INDEX updates_device ON updates (device, id);
CREATE TABLE tokens (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name TEXT COLLATE "C" NOT NULL,
    secret_sha256 TEXT NOT NULL UNIQUE,
    role TEXT NOT NULL,
    kind TEXT COLLATE "C" NOT NULL,
    parent BIGINT REFERENCES tokens (id) ON DELETE CASCADE,
    created_at BIGINT NOT NULL,
    expires_at BIGINT,
    used_at BIGINT,
    product TEXT,
    job TEXT,
    statement_sha256 TEXT,
    revoked_at BIGINT
);
CREATE UNIQUE INDEX tokens_api_name ON tokens (name) WHERE kind = 'api';
CREATE UNIQUE INDEX tokens_statement ON tokens (statement_sha256) WHERE statement_sha256 IS NOT NULL;
CREATE INDEX tokens_parent ON tokens (parent) WHERE parent IS NOT NULL;
CREATE INDEX tokens_expiry ON tokens (expires_at) WHERE expires_at IS NOT NULL;
CREATE TABLE users (
    name TEXT COLLATE "C" PRIMARY KEY,
    password_hash TEXT NOT NULL,
    role TEXT NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE TABLE meta (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
);
