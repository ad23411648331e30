//! What `updraft bench reports` compares with: rows by plain statements, without the row mapping.

use contract::DeviceId;
use sea_orm::sea_query::{
    Alias, Asterisk, Expr, IntoIden, IntoValueTuple, OnConflict, Order, Query as Sql, TableRef,
};
use sea_orm::{ConnectionTrait, DbErr, ExprTrait};

use super::connection::{Query, ROWS_PER_STATEMENT, Write};

const COLUMNS: [&str; 3] = ["id", "report_digest", "last_seen"];

impl Write {
    pub(crate) async fn upsert_bare(&self, ids: &[DeviceId], digest: &str, now: i64) -> Result<(), DbErr> {
        let sql = "CREATE TABLE IF NOT EXISTS bench_rows (id TEXT PRIMARY KEY, report_digest TEXT, last_seen BIGINT)";
        self.execute(sql, vec![]).await?;
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

    /// Reads and updates devices by the statements that the row mapping makes.
    pub(crate) async fn update_bare(&self, ids: &[DeviceId], digest: &str, now: i64) -> Result<(), DbErr> {
        for ids in ids.chunks(ROWS_PER_STATEMENT) {
            let mut select = Sql::select();
            let these = Expr::col(COLUMNS[0]).is_in(ids.iter().map(DeviceId::as_str));
            select.column(Asterisk).from("devices").and_where(these).order_by(COLUMNS[0], Order::Asc);
            self.connection().query_all(select.lock_exclusive()).await?;
            let new = |id: &DeviceId| (id.as_str(), digest, now).into_value_tuple();
            let value = |name: &'static str| Expr::col((Alias::new("new"), Alias::new(name)));
            let mut update = Sql::update();
            update.table("devices").value(COLUMNS[1], value("column2")).value(COLUMNS[2], value("column3"));
            let new = ids.iter().map(new).collect();
            update.from(TableRef::ValuesList(new, Alias::new("new").into_iden()));
            update.and_where(Expr::col(("devices", COLUMNS[0])).eq(value("column1")));
            self.connection().execute(&update).await?;
        }
        Ok(())
    }
}
