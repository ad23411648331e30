//! What `updraft bench reports` compares with: rows of a table of its own, by plain statements, without the row mapping.

use contract::DeviceId;
use sea_orm::sea_query::{OnConflict, Query as Sql};
use sea_orm::{ConnectionTrait, DbErr};

use super::connection::{Query, ROWS_PER_STATEMENT, Write};

const COLUMNS: [&str; 3] = ["id", "report_digest", "last_seen"];

impl Write {
    pub(crate) async fn create_bare(&self) -> Result<(), DbErr> {
        let sql = "CREATE TABLE IF NOT EXISTS bench_rows (id TEXT PRIMARY KEY, report_digest TEXT, last_seen BIGINT)";
        self.execute(sql, vec![]).await.map(|_| ())
    }

    pub(crate) async fn upsert_bare(&self, ids: &[DeviceId], digest: &str, now: i64) -> Result<(), DbErr> {
        for ids in ids.chunks(ROWS_PER_STATEMENT) {
            let mut upsert = Sql::insert();
            upsert.into_table("bench_rows").columns(COLUMNS);
            for id in ids {
                upsert.values_panic([id.as_str().into(), digest.into(), now.into()]);
            }
            upsert.on_conflict(
                OnConflict::column(COLUMNS[0]).update_columns([COLUMNS[1], COLUMNS[2]]).to_owned(),
            );
            self.connection().execute(&upsert).await?;
        }
        Ok(())
    }
}
