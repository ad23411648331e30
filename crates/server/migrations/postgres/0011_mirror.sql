-- What the bucket had when it was read last, for showing. `reading` is the number of the reading that is shown, 0 if there was
-- none. A product without `blocked` was not read yet, and `error` says why; without both it has gone from the bucket.
CREATE TABLE mirror (
    readings BIGINT NOT NULL,
    claimed_at BIGINT NOT NULL,
    error TEXT
);
INSERT INTO mirror (readings, claimed_at, error) VALUES (0, 0, '{"code":"store_not_read"}');
CREATE TABLE mirror_products (
    product TEXT COLLATE "C" PRIMARY KEY,
    reading BIGINT NOT NULL,
    blocked TEXT,
    error TEXT
);
CREATE TABLE mirror_releases (
    product TEXT COLLATE "C" NOT NULL REFERENCES mirror_products (product) ON DELETE CASCADE,
    version TEXT COLLATE "C" NOT NULL,
    sha256 TEXT,
    details TEXT NOT NULL,
    PRIMARY KEY (product, version)
);
CREATE INDEX mirror_releases_sha256 ON mirror_releases (sha256, product);
CREATE TABLE mirror_channels (
    product TEXT COLLATE "C" NOT NULL REFERENCES mirror_products (product) ON DELETE CASCADE,
    channel TEXT COLLATE "C" NOT NULL,
    version TEXT,
    PRIMARY KEY (product, channel)
);
