//! The tables: migrations that only ever go forward, side by side for the two databases. SQLite's first seven are from when
//! there was no other; PostgreSQL begins with the whole.

use anyhow::Context;
use sqlx::migrate::{Migrate, MigrateError, Migration, MigrationType, Migrator};
use sqlx::{Connection, PgPool, SqliteConnection, SqlitePool};

macro_rules! migrations {
    ($folder:literal: $($version:literal $name:literal)*) => {
        Migrator::with_migrations(vec![$(Migration::new(
            $version,
            $name.into(),
            MigrationType::Simple,
            sqlx::SqlStr::from_static(include_str!(concat!("../../migrations/", $folder, "/", $name, ".sql"))),
            false,
        )),*])
    };
}

fn for_sqlite() -> Migrator {
    migrations!("sqlite": 1 "0001_floor" 2 "0002_publishers" 3 "0003_slots" 4 "0004_counts" 5 "0005_jobs" 6 "0006_nobody" 7 "0007_causes" 8 "0008_two_databases" 9 "0009_audit" 10 "0010_waiting" 11 "0011_mirror" 12 "0012_lists" 13 "0013_audit_seals" 14 "0014_refusals" 15 "0015_images" 16 "0016_version_said" 17 "0017_attempts" 20 "0020_verdicts" 22 "0022_rollouts")
}

fn for_postgres() -> Migrator {
    migrations!("postgres": 8 "0008_two_databases" 9 "0009_audit" 10 "0010_waiting" 11 "0011_mirror" 12 "0012_lists" 13 "0013_audit_seals" 14 "0014_refusals" 15 "0015_images" 16 "0016_version_said" 17 "0017_attempts" 20 "0020_verdicts" 22 "0022_rollouts")
}

/// The table in which versions up to 7 were counted. It says 8 since, so that those versions refuse the database.
const COUNTED_MAX: i64 = 7;

/// Whether the tables are those of this version.
pub(super) async fn is_current(pool: &SqlitePool) -> anyhow::Result<bool> {
    let newest = for_sqlite().iter().map(|migration| migration.version).max();
    if !has_table(&mut *pool.acquire().await?, "_sqlx_migrations").await? {
        return Ok(false);
    }
    Ok(newest == sqlx::query_scalar("SELECT MAX(version) FROM _sqlx_migrations").fetch_one(pool).await?)
}

pub(super) async fn is_current_postgres(pool: &PgPool) -> anyhow::Result<bool> {
    let newest = for_postgres().iter().map(|migration| migration.version).max();
    let there: bool =
        sqlx::query_scalar("SELECT to_regclass('_sqlx_migrations') IS NOT NULL").fetch_one(pool).await?;
    let applied = "SELECT MAX(version) FROM _sqlx_migrations";
    Ok(there && newest == sqlx::query_scalar(applied).fetch_one(pool).await?)
}

/// Brings the tables up to date in one transaction. A database of a newer version is refused and left alone.
pub(super) async fn sqlite(pool: &SqlitePool) -> anyhow::Result<()> {
    sqlite_to(pool, None).await
}

pub(super) async fn sqlite_to(pool: &SqlitePool, target: Option<i64>) -> anyhow::Result<()> {
    let mut connection = pool.acquire().await?;
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    let migrator = for_sqlite();
    if has_table(&mut transaction, "schema_version").await? {
        let counted: i64 =
            sqlx::query_scalar("SELECT version FROM schema_version").fetch_one(&mut *transaction).await?;
        anyhow::ensure!(counted <= COUNTED_MAX + 1, newer(counted));
        if counted <= COUNTED_MAX {
            migrator.run_direct(Some(counted), &mut *transaction, true).await?;
            sqlx::query("UPDATE schema_version SET version = $1")
                .bind(COUNTED_MAX + 1)
                .execute(&mut *transaction)
                .await?;
        }
    }
    run(&migrator, target, &mut *transaction).await?;
    Ok(transaction.commit().await?)
}

/// The same for PostgreSQL, where each migration is a transaction, and other servers wait for all of them.
pub(super) async fn postgres(pool: &PgPool) -> anyhow::Result<()> {
    let mut connection = pool.acquire().await?.detach();
    for unlimited in ["SET statement_timeout = 0", "SET lock_timeout = 0"] {
        sqlx::query(unlimited).execute(&mut connection).await?;
    }
    run(&for_postgres(), None, &mut connection).await?;
    Ok(connection.close().await?)
}

async fn run(migrator: &Migrator, target: Option<i64>, connection: &mut impl Migrate) -> anyhow::Result<()> {
    match migrator.run_direct(target, connection, false).await {
        Err(MigrateError::VersionMissing(version)) => anyhow::bail!(newer(version)),
        other => other.context("its tables cannot be brought up to date"),
    }
}

fn newer(version: i64) -> String {
    let known = for_sqlite().iter().map(|migration| migration.version).max().unwrap_or_default();
    format!(
        "it was written by a newer Updraft (its tables have version {version}, this one knows {known}): run that version, or \
         restore a backup"
    )
}

async fn has_table(connection: &mut SqliteConnection, name: &str) -> Result<bool, sqlx::Error> {
    let found = sqlx::query("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = $1").bind(name);
    Ok(found.fetch_optional(connection).await?.is_some())
}
