//! Single values that outlive the process: keys for signing, when the server was last alive.

use sea_orm::DbErr;

use super::connection::{Query, Write};

/// Signs local URLs and short ones.
pub(crate) const URL_KEY: &str = "url_key";
/// The server's name at an external broker.
pub(crate) const CLIENT_ID: &str = "client_id";
/// When the server was last alive with its broker, in milliseconds.
pub(crate) const ALIVE_AT: &str = "alive_at";
/// When it was last written only to see whether it can be, in milliseconds.
pub(crate) const WRITTEN_AT: &str = "written_at";
/// The present epoch of presence, and where devices connect.
pub(crate) const ONLINE_EPOCH: &str = "online_epoch";

impl Write {
    /// A value that is to be written: nobody else writes it until the commit.
    pub(crate) async fn lock_meta(&self, name: &str) -> Result<Option<String>, DbErr> {
        let lock = if self.is_sqlite() { "" } else { " FOR UPDATE" };
        let sql = format!("SELECT value FROM meta WHERE name = $1{lock}");
        self.row(&sql, vec![name.into()]).await?.map(|row| row.try_get_by_index(0)).transpose()
    }

    pub(crate) async fn set_meta(&self, name: &str, value: &str) -> Result<(), DbErr> {
        let sql = "INSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value";
        self.execute(sql, vec![name.into(), value.into()]).await.map(|_| ())
    }

    /// Sets a value unless there is one, and answers the one that is there then.
    pub(crate) async fn meta_or_set(&self, name: &str, value: &str) -> Result<String, DbErr> {
        let sql = "INSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING";
        self.execute(sql, vec![name.into(), value.into()]).await?;
        let row = self.row("SELECT value FROM meta WHERE name = $1", vec![name.into()]).await?;
        row.map(|row| row.try_get_by_index(0))
            .transpose()?
            .ok_or_else(|| DbErr::RecordNotFound(format!("meta {name}, which was just written")))
    }
}
