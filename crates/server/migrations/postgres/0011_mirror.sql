-- What the bucket had when it was read last, for showing. `reading` is the number of the reading that is shown, 0 if there was
-- none. A product without `blocked` was not read yet, and `error` says why; without both it has gone from the bucket. With both,
-- what is shown is of an earlier time. `expected` is 1 from when this server wrote to it until it was read. `store` is the
-- bucket's address.
CREATE TABLE mirror (
    readings BIGINT NOT NULL,
    claimed_at BIGINT NOT NULL,
    store TEXT NOT NULL,
    error TEXT
);
INSERT INTO mirror (readings, claimed_at, store, error) VALUES (0, 0, '', '{"code":"store_not_read"}');
CREATE TABLE mirror_products (
    product TEXT COLLATE "C" PRIMARY KEY,
    reading BIGINT NOT NULL,
    expected BIGINT NOT NULL DEFAULT 0,
    blocked TEXT,
    error TEXT
);
CREATE TABLE mirror_releases (
    product TEXT COLLATE "C" NOT NULL REFERENCES mirror_products (product) ON DELETE CASCADE,
    version TEXT COLLATE "C" NOT NULL,
    details TEXT NOT NULL,
    PRIMARY KEY (product, version)
);
CREATE TABLE mirror_channels (
    product TEXT COLLATE "C" NOT NULL REFERENCES mirror_products (product) ON DELETE CASCADE,
    channel TEXT COLLATE "C" NOT NULL,
    version TEXT,
    PRIMARY KEY (product, channel)
);
