//! The tables, as a list of migrations that only ever grows.

use sea_orm::{ConnectionTrait, DbBackend};

use super::connection::{Db, Query, Write};

/// Each is applied once, in order, in one transaction with all that are missing. None takes away what the version before
/// reads. `{serial}` is a number that is never given twice, `{slot_of_report}` a number out of a JSON column, `{;}` ends a
/// statement within a trigger.
const MIGRATIONS: &[&str] = &[FLOOR, PUBLISHERS, SLOTS, COUNTS, JOBS, NOBODY, CAUSES];

const FLOOR: &str = "
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
    id {serial},
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
    id {serial},
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
";

/// Tokens of trusted publishers: what each is confined to, and which signed statement it was got for, so that none is
/// taken twice.
const PUBLISHERS: &str = "
ALTER TABLE tokens ADD COLUMN product TEXT;
ALTER TABLE tokens ADD COLUMN may_promote BIGINT NOT NULL DEFAULT 0;
ALTER TABLE tokens ADD COLUMN statement_sha256 TEXT;
CREATE UNIQUE INDEX tokens_statement ON tokens (statement_sha256) WHERE statement_sha256 IS NOT NULL;
";

/// The smallest slot that each device reports, by which the smallest of a product is found without reading the others.
const SLOTS: &str = "
ALTER TABLE devices ADD COLUMN slot_bytes BIGINT;
UPDATE devices SET slot_bytes = {slot_of_report} WHERE report IS NOT NULL;
CREATE INDEX devices_slot ON devices (product, slot_bytes, id) WHERE slot_bytes IS NOT NULL;
";

/// How many devices each product has, by the state of their newest update: kept by the writes themselves, so that nobody
/// who looks goes through all devices. '' stands for none. The triggers are written as SQLite takes them.
const COUNTS: &str = "
CREATE TABLE device_counts (
    product TEXT NOT NULL,
    state TEXT NOT NULL,
    devices BIGINT NOT NULL,
    PRIMARY KEY (product, state)
);
INSERT INTO device_counts
    SELECT COALESCE(d.product, ''), COALESCE(u.state, ''), COUNT(*)
    FROM devices d LEFT JOIN updates u ON u.id = d.update_id GROUP BY 1, 2;
CREATE TRIGGER devices_counted AFTER INSERT ON devices BEGIN
    INSERT INTO device_counts VALUES
        (COALESCE(NEW.product, ''), COALESCE((SELECT state FROM updates WHERE id = NEW.update_id), ''), 1)
        ON CONFLICT (product, state) DO UPDATE SET devices = devices + 1{;}
END;
CREATE TRIGGER devices_uncounted BEFORE DELETE ON devices BEGIN
    UPDATE device_counts SET devices = devices - 1 WHERE product = COALESCE(OLD.product, '')
        AND state = COALESCE((SELECT state FROM updates WHERE id = OLD.update_id), ''){;}
END;
CREATE TRIGGER devices_recounted AFTER UPDATE OF product, update_id ON devices
    WHEN OLD.product IS NOT NEW.product OR OLD.update_id IS NOT NEW.update_id BEGIN
    UPDATE device_counts SET devices = devices - 1 WHERE product = COALESCE(OLD.product, '')
        AND state = COALESCE((SELECT state FROM updates WHERE id = OLD.update_id), ''){;}
    INSERT INTO device_counts VALUES
        (COALESCE(NEW.product, ''), COALESCE((SELECT state FROM updates WHERE id = NEW.update_id), ''), 1)
        ON CONFLICT (product, state) DO UPDATE SET devices = devices + 1{;}
END;
CREATE TRIGGER updates_recounted AFTER UPDATE OF state ON updates
    WHEN OLD.state <> NEW.state AND NEW.id = (SELECT update_id FROM devices WHERE id = NEW.device) BEGIN
    UPDATE device_counts SET devices = devices - 1 WHERE state = OLD.state
        AND product = COALESCE((SELECT product FROM devices WHERE id = NEW.device), ''){;}
    INSERT INTO device_counts VALUES
        (COALESCE((SELECT product FROM devices WHERE id = NEW.device), ''), NEW.state, 1)
        ON CONFLICT (product, state) DO UPDATE SET devices = devices + 1{;}
END;
";

/// Which job a publisher's token was given to, so that the running configuration is asked what it trusts it with, each time.
/// Tokens without a job open nothing. `may_promote` is not asked any more, and stays: a server of the version before may still
/// be running when `updraft token` brings its tables up to date.
const JOBS: &str = "
ALTER TABLE tokens ADD COLUMN job TEXT;
ALTER TABLE tokens ADD COLUMN revoked_at BIGINT;
";

/// Counts of nobody go: products that had devices once would be walked through for ever.
const NOBODY: &str = "
DELETE FROM device_counts WHERE devices = 0;
CREATE TRIGGER device_counts_nobody AFTER UPDATE OF devices ON device_counts WHEN NEW.devices = 0 BEGIN
    DELETE FROM device_counts WHERE product = NEW.product AND state = NEW.state{;}
END;
";

/// Why an update ended, where the server found it out: as JSON. `reason` holds what a device said, and the sentences of the
/// versions before.
const CAUSES: &str = "
ALTER TABLE updates ADD COLUMN cause TEXT;
";

/// Brings the tables up to date. A database of a newer version is refused and left alone.
pub(super) async fn migrate(db: &Db) -> anyhow::Result<()> {
    apply(db, MIGRATIONS).await
}

/// Brings the tables to where they were after so many migrations, for tests of those that followed.
#[cfg(test)]
pub(super) async fn begin(db: &Db, migrations: usize) -> anyhow::Result<()> {
    apply(db, &MIGRATIONS[..migrations]).await
}

async fn apply(db: &Db, migrations: &[&str]) -> anyhow::Result<()> {
    let write = db.write().await?;
    write.execute("CREATE TABLE IF NOT EXISTS schema_version (version BIGINT NOT NULL)", vec![]).await?;
    let applied = applied(&write).await?;
    anyhow::ensure!(
        applied <= migrations.len(),
        "it was written by a newer Updraft (its tables have version {applied}, this one knows {}): \
         run that version, or restore a backup",
        migrations.len()
    );
    if applied == migrations.len() {
        return Ok(());
    }
    let (serial, slot_of_report) = match write.connection().get_database_backend() {
        DbBackend::Postgres => (
            "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY",
            "CAST(CAST(report AS json) ->> 'slot_bytes' AS BIGINT)",
        ),
        _ => ("INTEGER PRIMARY KEY AUTOINCREMENT", "json_extract(report, '$.slot_bytes')"),
    };
    for migration in &migrations[applied..] {
        for statement in migration.split(";\n").filter(|statement| !statement.trim().is_empty()) {
            let statement = statement.replace("{serial}", serial).replace("{slot_of_report}", slot_of_report);
            let statement = statement.replace("{;}", ";");
            write.execute(&statement, vec![]).await?;
        }
    }
    write.execute("DELETE FROM schema_version", vec![]).await?;
    let version = i64::try_from(migrations.len())?;
    write.execute("INSERT INTO schema_version (version) VALUES (?)", vec![version.into()]).await?;
    write.commit().await?;
    Ok(())
}

async fn applied(write: &Write) -> anyhow::Result<usize> {
    let row = write.row("SELECT version FROM schema_version", vec![]).await?;
    let version: i64 = row.map(|row| row.try_get_by_index(0)).transpose()?.unwrap_or(0);
    Ok(usize::try_from(version)?)
}
