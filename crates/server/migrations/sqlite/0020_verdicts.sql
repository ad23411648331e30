-- What was found in an image when all of it was read (JSON), so that it is judged again without its bytes; empty where it has gone.
-- Those that were read for their digests alone are read once more, and go by these until then.
ALTER TABLE images ADD COLUMN verdict TEXT;
UPDATE images SET verdict = '' WHERE content = 'gone';
-- A content has one name, however it is told.
UPDATE images SET content = '"' || content || '"' WHERE content NOT IN ('', 'gone', 'read') AND content NOT LIKE '%"%';
DROP INDEX images_unread;
CREATE INDEX images_unread ON images (object_key) WHERE verdict IS NULL;
