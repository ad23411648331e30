//! Counting the fleet from its indexes whenever somebody looks: no write keeps a figure, so that no writer waits for another
//! one's number, and nothing can drift.
//!
//! Counting takes at most a twentieth of the time: the longer it took, the longer its figures are used again. Of many who
//! look at once, one counts; the others have what was counted last. Who waited for a count that failed is told so; others have
//! the figures before, and none are older than a minute then.

use std::sync::Arc;
use std::time::{Duration, Instant};

use contract::ProductName;
use fleet::UpdateState;
use flight::Answer;
use sea_orm::{DbErr, FromQueryResult, Value};

use super::connection::{Db, Query};
use super::figures::{Counted, Figures};
use super::image;
use super::values::Text;

/// The time between counts, in multiples of what the last took.
const PAUSE: u32 = 20;
/// Up to this, it is counted for each who looks.
const QUICK: Duration = Duration::from_millis(10);
/// Above this, who looks is not kept waiting, and has the last figures while others are counted.
const SLOW: Duration = Duration::from_millis(50);
/// How old those may be, and those that are shown after a count that failed.
const AGE_MAX: Duration = Duration::from_secs(60);

impl Db {
    pub(crate) async fn figures(&self) -> Result<Arc<Figures>, DbErr> {
        let asked = Instant::now();
        let counted = &self.figures.counted;
        let is_paused = |last: &Answer<_>| last.took() > QUICK && last.age() < last.took() * PAUSE;
        if let Some(last) = counted.last()
            && let Some(good) = last.value.good.as_ref().filter(|good| good.age() < AGE_MAX)
            && (is_paused(&last) || good.took() > SLOW)
        {
            if !is_paused(&last) {
                let db = self.clone();
                counted.renew(async move {
                    let counted = counted_now(&db).await;
                    match &counted.error {
                        None => db.figures.recounted.notify_one(),
                        Some(error) => tracing::error!(%error, "the devices were not counted"),
                    }
                    counted
                });
            }
            return Ok(Arc::clone(&good.value));
        }
        // One that began since is as good as a count of our own.
        let does =
            |last: &Answer<Counted>| last.begun >= asked || (last.value.error.is_none() && is_paused(last));
        let db = self.clone();
        match counted.get(does, async move { counted_now(&db).await }).await {
            Some(Counted { good: Some(good), error: None }) => Ok(good.value),
            Some(Counted { error: Some(error), .. }) => Err(error),
            _ => Err(DbErr::Custom("counting the devices broke off".to_owned())),
        }
    }

    /// Returns once there are new figures where older ones were given out.
    pub(crate) async fn recounted(&self) {
        self.figures.recounted.notified().await;
    }
}

#[derive(FromQueryResult)]
struct Group {
    product: Option<Text<ProductName>>,
    update_state: Option<Text<UpdateState>>,
    devices: i64,
}

#[derive(FromQueryResult)]
struct Reason {
    reason: String,
    devices: i64,
}

async fn counted_now(db: &Db) -> Counted {
    let begun = Instant::now();
    match count(db).await.map(Arc::new) {
        Ok(value) => Counted { good: Some(Answer { value, begun, ended: Instant::now() }), error: None },
        Err(error) => {
            Counted { good: db.figures.counted.last().and_then(|last| last.value.good), error: Some(error) }
        }
    }
}

pub(super) async fn count(db: &Db) -> Result<Figures, DbErr> {
    let mut figures = Figures::default();
    let by_state =
        "SELECT product, update_state, COUNT(*) AS devices FROM devices GROUP BY product, update_state";
    for group in rows::<Group>(db, by_state, vec![]).await? {
        let counts = figures.by_product.entry(group.product.map(|product| product.0)).or_default();
        let devices = group.devices.unsigned_abs();
        counts.devices += devices;
        if let Some(Text(state)) = group.update_state {
            *counts.newest.entry(state).or_default() += devices;
        }
    }
    let online = "SELECT product, NULL AS update_state, COUNT(*) AS devices FROM devices WHERE online_epoch = $1 \
                  GROUP BY product";
    for group in rows::<Group>(db, online, vec![db.epoch().into()]).await? {
        let counts = figures.by_product.entry(group.product.map(|product| product.0)).or_default();
        counts.online = group.devices.unsigned_abs();
    }
    for (product, identity, devices) in image::counted(db).await? {
        let counts = figures.by_product.entry(product).or_default();
        *counts.identities.entry(identity).or_default() += devices;
    }
    // A code stands last, in brackets. What else devices say differs in each.
    let reasons = "SELECT u.reason AS reason, COUNT(*) AS devices FROM devices d JOIN updates u ON u.id = d.update_id \
                   WHERE d.update_state IN ('failed', 'rolled_back') AND u.reason LIKE '%]' GROUP BY u.reason";
    figures.reasons = rows::<Reason>(db, reasons, vec![])
        .await?
        .into_iter()
        .map(|group| (group.reason, group.devices.unsigned_abs()))
        .collect();
    Ok(figures)
}

async fn rows<T: FromQueryResult>(db: &Db, sql: &str, values: Vec<Value>) -> Result<Vec<T>, DbErr> {
    db.rows(sql, values).await?.iter().map(|row| T::from_query_result(row, "")).collect()
}
