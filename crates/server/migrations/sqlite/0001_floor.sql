CREATE TABLE devices (
    id TEXT PRIMARY KEY,
    product TEXT,
    product_is_set BIGINT NOT NULL DEFAULT 0,
    password_sha256 TEXT,
    version TEXT,
    sha256 TEXT,
    report TEXT,
    report_digest TEXT,
    last_outcome TEXT,
    presence TEXT,
    last_seen BIGINT,
    unreadable_count BIGINT NOT NULL DEFAULT 0,
    unreadable_last TEXT,
    unreadable_at BIGINT,
    update_id BIGINT,
    created_at BIGINT NOT NULL
);
CREATE INDEX devices_product ON devices (product, id);
CREATE TABLE device_tags (
    device TEXT NOT NULL REFERENCES devices (id) ON DELETE CASCADE,
    tag TEXT NOT NULL,
    PRIMARY KEY (device, tag)
);
CREATE INDEX device_tags_tag ON device_tags (tag, device);
CREATE TABLE updates (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    device TEXT NOT NULL REFERENCES devices (id) ON DELETE CASCADE,
    product TEXT NOT NULL,
    from_version TEXT,
    to_version TEXT NOT NULL,
    object_key TEXT NOT NULL,
    sha256 TEXT,
    bytes BIGINT NOT NULL,
    state TEXT NOT NULL,
    reason TEXT NOT NULL DEFAULT '',
    phase TEXT,
    done BIGINT NOT NULL DEFAULT 0,
    forced BIGINT NOT NULL DEFAULT 0,
    outcome_before TEXT,
    url_requests BIGINT NOT NULL DEFAULT 0,
    image_at_fault BIGINT NOT NULL DEFAULT 0,
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
CREATE INDEX updates_at_fault ON updates (device, sha256) WHERE image_at_fault = 1;
CREATE TABLE tokens (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL,
    secret_sha256 TEXT NOT NULL UNIQUE,
    role TEXT NOT NULL,
    kind TEXT NOT NULL,
    parent BIGINT REFERENCES tokens (id) ON DELETE CASCADE,
    created_at BIGINT NOT NULL,
    expires_at BIGINT,
    used_at BIGINT
);
CREATE UNIQUE INDEX tokens_api_name ON tokens (name) WHERE kind = 'api';
CREATE INDEX tokens_parent ON tokens (parent) WHERE parent IS NOT NULL;
CREATE INDEX tokens_expiry ON tokens (expires_at) WHERE expires_at IS NOT NULL;
CREATE TABLE users (
    name TEXT PRIMARY KEY,
    password_hash TEXT NOT NULL,
    role TEXT NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE TABLE meta (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
);
