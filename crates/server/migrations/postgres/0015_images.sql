-- The images in the bucket and the digests by which devices name them. `content` names what was read for them, empty as long
-- as `sha256` is only what was said of the image. What has gone from the bucket stays: devices may run it.
CREATE TABLE images (
    object_key TEXT COLLATE "C" PRIMARY KEY,
    product TEXT COLLATE "C" NOT NULL,
    version TEXT COLLATE "C" NOT NULL,
    content TEXT NOT NULL DEFAULT '',
    sha256 TEXT,
    appended_sha256 TEXT,
    elf_sha256 TEXT
);
-- All of it is read again, with its images.
DELETE FROM mirror_products;
CREATE INDEX images_sha256 ON images (sha256);
CREATE INDEX images_appended ON images (appended_sha256) WHERE appended_sha256 IS NOT NULL;
CREATE INDEX images_elf ON images (elf_sha256) WHERE elf_sha256 IS NOT NULL;
CREATE INDEX images_product ON images (product);
CREATE INDEX images_unread ON images (object_key) WHERE content = '';
-- What devices say that they run: the same expression as in db/image.rs.
CREATE INDEX devices_build ON devices ((sha256 || ' ' || COALESCE(product, '') || ' ' || version), id);
