-- A database as version 0.1 left it, with its tables' version 7: made by a server of that version, with devices and updates in
-- every state inserted through its triggers.
PRAGMA foreign_keys = OFF;
BEGIN TRANSACTION;
CREATE TABLE device_counts (
    product TEXT NOT NULL,
    state TEXT NOT NULL,
    devices BIGINT NOT NULL,
    PRIMARY KEY (product, state)
);
INSERT INTO "device_counts" VALUES('esp32s3','',1);
INSERT INTO "device_counts" VALUES('lamp','offered',1);
INSERT INTO "device_counts" VALUES('lamp','downloading',1);
INSERT INTO "device_counts" VALUES('lamp','restarting',1);
INSERT INTO "device_counts" VALUES('lamp','succeeded',1);
INSERT INTO "device_counts" VALUES('lamp','failed',1);
INSERT INTO "device_counts" VALUES('lamp','rolled_back',1);
INSERT INTO "device_counts" VALUES('lamp','timed_out',1);
INSERT INTO "device_counts" VALUES('lamp','cancelled',1);
CREATE TABLE device_tags (
    device TEXT NOT NULL REFERENCES devices (id) ON DELETE CASCADE,
    tag TEXT NOT NULL,
    PRIMARY KEY (device, tag)
);
INSERT INTO "device_tags" VALUES('d-offered','lab');
INSERT INTO "device_tags" VALUES('d-downloading','lab');
INSERT INTO "device_tags" VALUES('d-restarting','lab');
INSERT INTO "device_tags" VALUES('d-succeeded','lab');
INSERT INTO "device_tags" VALUES('d-failed','lab');
INSERT INTO "device_tags" VALUES('d-rolled-back','lab');
INSERT INTO "device_tags" VALUES('d-timed-out','lab');
INSERT INTO "device_tags" VALUES('d-cancelled','lab');
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
, slot_bytes BIGINT);
INSERT INTO "devices" VALUES('g1','esp32s3',1,'0000000000000000000000000000000000000000000000000000000000000000',NULL,NULL,NULL,NULL,NULL,NULL,NULL,0,NULL,NULL,NULL,1796034910617,NULL);
INSERT INTO "devices" VALUES('d-offered','lamp',0,NULL,'1.0.0','0707070707070707070707070707070707070707070707070707070707070707','{"chip":"esp32s3","slot":"ota_0","state":"valid","slot_bytes":1966080,"rollback":true,"reset":"power_on","accepts":["bin"],"lacks":["signatures"]}','abababababababababababababababababababababababababababababababab','{"result":"FAILED","to":"0.9.0","reason":"rolled back"}','online',1796034940000,0,NULL,NULL,2,1796034900000,1966080);
INSERT INTO "devices" VALUES('d-downloading','lamp',0,NULL,'1.0.0','0707070707070707070707070707070707070707070707070707070707070707','{"chip":"esp32s3","slot":"ota_0","state":"valid","slot_bytes":1966080,"rollback":true,"reset":"power_on","accepts":["bin"],"lacks":["signatures"]}','abababababababababababababababababababababababababababababababab','{"result":"FAILED","to":"0.9.0","reason":"rolled back"}','online',1796034940000,1,'not a version',1796034930000,4,1796034900001,1966080);
INSERT INTO "devices" VALUES('d-restarting','lamp',0,NULL,'1.0.0','0707070707070707070707070707070707070707070707070707070707070707','{"chip":"esp32s3","slot":"ota_0","state":"valid","slot_bytes":1966080,"rollback":true,"reset":"power_on","accepts":["bin"],"lacks":["signatures"]}','abababababababababababababababababababababababababababababababab','{"result":"FAILED","to":"0.9.0","reason":"rolled back"}','online',1796034940000,2,'not a version',1796034930000,6,1796034900002,1966080);
INSERT INTO "devices" VALUES('d-succeeded','lamp',0,NULL,'1.0.0','0707070707070707070707070707070707070707070707070707070707070707','{"chip":"esp32s3","slot":"ota_0","state":"valid","slot_bytes":1966080,"rollback":true,"reset":"power_on","accepts":["bin"],"lacks":["signatures"]}','abababababababababababababababababababababababababababababababab','{"result":"FAILED","to":"0.9.0","reason":"rolled back"}','online',1796034940000,3,'not a version',1796034930000,8,1796034900003,1966080);
INSERT INTO "devices" VALUES('d-failed','lamp',0,NULL,'1.0.0','0707070707070707070707070707070707070707070707070707070707070707','{"chip":"esp32s3","slot":"ota_0","state":"valid","slot_bytes":1966080,"rollback":true,"reset":"power_on","accepts":["bin"],"lacks":["signatures"]}','abababababababababababababababababababababababababababababababab','{"result":"FAILED","to":"0.9.0","reason":"rolled back"}','online',1796034940000,4,'not a version',1796034930000,10,1796034900004,1966080);
INSERT INTO "devices" VALUES('d-rolled-back','lamp',0,NULL,'1.0.0','0707070707070707070707070707070707070707070707070707070707070707','{"chip":"esp32s3","slot":"ota_0","state":"valid","slot_bytes":1966080,"rollback":true,"reset":"power_on","accepts":["bin"],"lacks":["signatures"]}','abababababababababababababababababababababababababababababababab','{"result":"FAILED","to":"0.9.0","reason":"rolled back"}','online',1796034940000,5,'not a version',1796034930000,12,1796034900005,1966080);
INSERT INTO "devices" VALUES('d-timed-out','lamp',0,NULL,'1.0.0','0707070707070707070707070707070707070707070707070707070707070707','{"chip":"esp32s3","slot":"ota_0","state":"valid","slot_bytes":1966080,"rollback":true,"reset":"power_on","accepts":["bin"],"lacks":["signatures"]}','abababababababababababababababababababababababababababababababab','{"result":"FAILED","to":"0.9.0","reason":"rolled back"}','online',1796034940000,6,'not a version',1796034930000,14,1796034900006,1966080);
INSERT INTO "devices" VALUES('d-cancelled','lamp',0,NULL,'1.0.0','0707070707070707070707070707070707070707070707070707070707070707','{"chip":"esp32s3","slot":"ota_0","state":"valid","slot_bytes":1966080,"rollback":true,"reset":"power_on","accepts":["bin"],"lacks":["signatures"]}','abababababababababababababababababababababababababababababababab','{"result":"FAILED","to":"0.9.0","reason":"rolled back"}','online',1796034940000,7,'not a version',1796034930000,16,1796034900007,1966080);
CREATE TABLE meta (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
);
INSERT INTO "meta" VALUES('url_key','0000000000000000000000000000000000000000000000000000000000000000');
INSERT INTO "meta" VALUES('client_id','updraft-0123456789abcde');
INSERT INTO "meta" VALUES('alive_at','1796034950000');
CREATE TABLE schema_version (version BIGINT NOT NULL);
INSERT INTO "schema_version" VALUES(7);
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
, product TEXT, may_promote BIGINT NOT NULL DEFAULT 0, statement_sha256 TEXT, job TEXT, revoked_at BIGINT);
INSERT INTO "tokens" VALUES(1,'admin','0000000000000000000000000000000000000000000000000000000000000001','admin','link',NULL,1796034907158,1796035807158,NULL,NULL,0,NULL,NULL,NULL);
INSERT INTO "tokens" VALUES(2,'laptop','0000000000000000000000000000000000000000000000000000000000000002','admin','api',NULL,1796034910059,NULL,1796034910142,NULL,0,NULL,NULL,NULL);
INSERT INTO "tokens" VALUES(3,'octo/lamp@refs/heads/main run 1','cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc','ci','publisher',NULL,1796034920000,1796036720000,NULL,'lamp',0,'dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd','{"iss":"https://i.example","ref":"refs/heads/main"}',NULL);
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
, cause TEXT);
INSERT INTO "updates" VALUES(1,'d-offered','lamp','0.9.0','1.0.0','lamp/releases/v1.0.0/firmware.bin','0808080808080808080808080808080808080808080808080808080808080808',1000,'cancelled','',NULL,0,0,NULL,0,0,1796034910000,1796034910000,NULL,1796034911000,'{"code":"cancelled"}');
INSERT INTO "updates" VALUES(2,'d-offered','lamp','1.0.0','1.1.0','lamp/releases/v1.1.0/firmware.bin','0909090909090909090909090909090909090909090909090909090909090909',1000,'offered','',NULL,500,1,NULL,0,0,1796034920000,1796034920000,NULL,NULL,NULL);
INSERT INTO "updates" VALUES(3,'d-downloading','lamp','0.9.0','1.0.0','lamp/releases/v1.0.0/firmware.bin','0808080808080808080808080808080808080808080808080808080808080808',1000,'cancelled','',NULL,0,0,NULL,0,0,1796034910000,1796034910000,NULL,1796034911000,'{"code":"cancelled"}');
INSERT INTO "updates" VALUES(4,'d-downloading','lamp','1.0.0','1.1.0','lamp/releases/v1.1.0/firmware.bin','0909090909090909090909090909090909090909090909090909090909090909',1000,'downloading','','download',500,0,NULL,0,0,1796034920000,1796034920000,1796034921000,NULL,NULL);
INSERT INTO "updates" VALUES(5,'d-restarting','lamp','0.9.0','1.0.0','lamp/releases/v1.0.0/firmware.bin','0808080808080808080808080808080808080808080808080808080808080808',1000,'cancelled','',NULL,0,0,NULL,0,0,1796034910000,1796034910000,NULL,1796034911000,'{"code":"cancelled"}');
INSERT INTO "updates" VALUES(6,'d-restarting','lamp','1.0.0','1.1.0','lamp/releases/v1.1.0/firmware.bin','0909090909090909090909090909090909090909090909090909090909090909',1000,'restarting','',NULL,500,0,NULL,0,0,1796034920000,1796034920000,1796034921000,NULL,NULL);
INSERT INTO "updates" VALUES(7,'d-succeeded','lamp','0.9.0','1.0.0','lamp/releases/v1.0.0/firmware.bin','0808080808080808080808080808080808080808080808080808080808080808',1000,'cancelled','',NULL,0,0,NULL,0,0,1796034910000,1796034910000,NULL,1796034911000,'{"code":"cancelled"}');
INSERT INTO "updates" VALUES(8,'d-succeeded','lamp','1.0.0','1.1.0','lamp/releases/v1.1.0/firmware.bin','0909090909090909090909090909090909090909090909090909090909090909',1000,'succeeded','',NULL,500,0,NULL,0,0,1796034920000,1796034920000,1796034921000,1796034930000,NULL);
INSERT INTO "updates" VALUES(9,'d-failed','lamp','0.9.0','1.0.0','lamp/releases/v1.0.0/firmware.bin','0808080808080808080808080808080808080808080808080808080808080808',1000,'cancelled','',NULL,0,0,NULL,0,0,1796034910000,1796034910000,NULL,1796034911000,'{"code":"cancelled"}');
INSERT INTO "updates" VALUES(10,'d-failed','lamp','1.0.0','1.1.0','lamp/releases/v1.1.0/firmware.bin','0909090909090909090909090909090909090909090909090909090909090909',1000,'failed','no route (E42)',NULL,500,0,NULL,0,0,1796034920000,1796034920000,1796034921000,1796034930000,NULL);
INSERT INTO "updates" VALUES(11,'d-rolled-back','lamp','0.9.0','1.0.0','lamp/releases/v1.0.0/firmware.bin','0808080808080808080808080808080808080808080808080808080808080808',1000,'cancelled','',NULL,0,0,NULL,0,0,1796034910000,1796034910000,NULL,1796034911000,'{"code":"cancelled"}');
INSERT INTO "updates" VALUES(12,'d-rolled-back','lamp','1.0.0','1.1.0','lamp/releases/v1.1.0/firmware.bin','0909090909090909090909090909090909090909090909090909090909090909',1000,'rolled_back','no route (E42)',NULL,500,0,NULL,0,1,1796034920000,1796034920000,1796034921000,1796034930000,NULL);
INSERT INTO "updates" VALUES(13,'d-timed-out','lamp','0.9.0','1.0.0','lamp/releases/v1.0.0/firmware.bin','0808080808080808080808080808080808080808080808080808080808080808',1000,'cancelled','',NULL,0,0,NULL,0,0,1796034910000,1796034910000,NULL,1796034911000,'{"code":"cancelled"}');
INSERT INTO "updates" VALUES(14,'d-timed-out','lamp','1.0.0','1.1.0','lamp/releases/v1.1.0/firmware.bin','0909090909090909090909090909090909090909090909090909090909090909',1000,'timed_out','',NULL,500,0,NULL,0,0,1796034920000,1796034920000,1796034921000,1796034930000,NULL);
INSERT INTO "updates" VALUES(15,'d-cancelled','lamp','0.9.0','1.0.0','lamp/releases/v1.0.0/firmware.bin','0808080808080808080808080808080808080808080808080808080808080808',1000,'cancelled','',NULL,0,0,NULL,0,0,1796034910000,1796034910000,NULL,1796034911000,'{"code":"cancelled"}');
INSERT INTO "updates" VALUES(16,'d-cancelled','lamp','1.0.0','1.1.0','lamp/releases/v1.1.0/firmware.bin','0909090909090909090909090909090909090909090909090909090909090909',1000,'cancelled','',NULL,500,0,NULL,0,0,1796034920000,1796034920000,1796034921000,1796034930000,NULL);
CREATE TABLE users (
    name TEXT PRIMARY KEY,
    password_hash TEXT NOT NULL,
    role TEXT NOT NULL,
    created_at BIGINT NOT NULL
);
INSERT INTO "users" VALUES('admin','a hash','admin',1796034907157);
CREATE INDEX devices_product ON devices (product, id);
CREATE INDEX device_tags_tag ON device_tags (tag, device);
CREATE UNIQUE INDEX updates_one_in_flight ON updates (device)
    WHERE state IN ('offered', 'downloading', 'restarting');
CREATE INDEX updates_silent ON updates (heard_at) WHERE state IN ('offered', 'downloading', 'restarting');
CREATE INDEX updates_untriggered ON updates (id)
    WHERE triggered_at IS NULL AND state IN ('offered', 'downloading', 'restarting');
CREATE INDEX updates_device ON updates (device, id);
CREATE INDEX updates_at_fault ON updates (device, sha256) WHERE image_at_fault = 1;
CREATE UNIQUE INDEX tokens_api_name ON tokens (name) WHERE kind = 'api';
CREATE INDEX tokens_parent ON tokens (parent) WHERE parent IS NOT NULL;
CREATE INDEX tokens_expiry ON tokens (expires_at) WHERE expires_at IS NOT NULL;
CREATE UNIQUE INDEX tokens_statement ON tokens (statement_sha256) WHERE statement_sha256 IS NOT NULL;
CREATE INDEX devices_slot ON devices (product, slot_bytes, id) WHERE slot_bytes IS NOT NULL;
CREATE TRIGGER devices_counted AFTER INSERT ON devices BEGIN
    INSERT INTO device_counts VALUES
        (COALESCE(NEW.product, ''), COALESCE((SELECT state FROM updates WHERE id = NEW.update_id), ''), 1)
        ON CONFLICT (product, state) DO UPDATE SET devices = devices + 1;
END;
CREATE TRIGGER devices_uncounted BEFORE DELETE ON devices BEGIN
    UPDATE device_counts SET devices = devices - 1 WHERE product = COALESCE(OLD.product, '')
        AND state = COALESCE((SELECT state FROM updates WHERE id = OLD.update_id), '');
END;
CREATE TRIGGER devices_recounted AFTER UPDATE OF product, update_id ON devices
    WHEN OLD.product IS NOT NEW.product OR OLD.update_id IS NOT NEW.update_id BEGIN
    UPDATE device_counts SET devices = devices - 1 WHERE product = COALESCE(OLD.product, '')
        AND state = COALESCE((SELECT state FROM updates WHERE id = OLD.update_id), '');
    INSERT INTO device_counts VALUES
        (COALESCE(NEW.product, ''), COALESCE((SELECT state FROM updates WHERE id = NEW.update_id), ''), 1)
        ON CONFLICT (product, state) DO UPDATE SET devices = devices + 1;
END;
CREATE TRIGGER updates_recounted AFTER UPDATE OF state ON updates
    WHEN OLD.state <> NEW.state AND NEW.id = (SELECT update_id FROM devices WHERE id = NEW.device) BEGIN
    UPDATE device_counts SET devices = devices - 1 WHERE state = OLD.state
        AND product = COALESCE((SELECT product FROM devices WHERE id = NEW.device), '');
    INSERT INTO device_counts VALUES
        (COALESCE((SELECT product FROM devices WHERE id = NEW.device), ''), NEW.state, 1)
        ON CONFLICT (product, state) DO UPDATE SET devices = devices + 1;
END;
CREATE TRIGGER device_counts_nobody AFTER UPDATE OF devices ON device_counts WHEN NEW.devices = 0 BEGIN
    DELETE FROM device_counts WHERE product = NEW.product AND state = NEW.state;
END;
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('tokens',3);
INSERT INTO "sqlite_sequence" VALUES('updates',16);
COMMIT;
