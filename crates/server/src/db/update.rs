//! Updates: one row an attempt.

use contract::{DeviceId, LastOutcome, Phase, ProductName, Sha256, Version};
use fleet::{UpdateState, Why};
use sea_orm::{DbErr, QueryResult, Value};

use super::connection::{Query, ROWS_PER_STATEMENT, Write, corrupt, digest, from_json, json, parsed, tuples};
use super::device_list::of_product;

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct UpdateRow {
    pub(crate) id: i64,
    pub(crate) device: DeviceId,
    pub(crate) product: ProductName,
    pub(crate) from: Option<Version>,
    pub(crate) to: Version,
    /// The object that is signed, again for each request.
    pub(crate) object_key: String,
    pub(crate) sha256: Option<Sha256>,
    pub(crate) bytes: i64,
    pub(crate) state: UpdateState,
    pub(crate) why: Option<Why>,
    pub(crate) phase: Option<Phase>,
    pub(crate) done: i64,
    /// To be sent despite silence.
    pub(crate) forced: bool,
    /// The outcome that the device had reported by then: reported again, it is no news.
    pub(crate) outcome_before: Option<LastOutcome>,
    pub(crate) url_requests: i64,
    /// It counts for the quarantine.
    pub(crate) image_at_fault: bool,
    pub(crate) created_at: i64,
    /// The time-out counts from here.
    pub(crate) heard_at: i64,
    /// `None` while a trigger is to be sent.
    pub(crate) triggered_at: Option<i64>,
    pub(crate) finished_at: Option<i64>,
}

const COLUMNS: &str = "id, device, product, from_version, to_version, object_key, sha256, bytes, state, reason, cause, \
    phase, done, forced, outcome_before, url_requests, image_at_fault, created_at, heard_at, triggered_at, finished_at";

const IN_FLIGHT: &str = "state IN ('offered', 'downloading', 'restarting')";

pub(crate) async fn by_ids(query: &impl Query, ids: &[i64]) -> Result<Vec<UpdateRow>, DbErr> {
    let mut updates = Vec::with_capacity(ids.len());
    for ids in ids.chunks(ROWS_PER_STATEMENT) {
        let sql = format!("SELECT {COLUMNS} FROM updates WHERE id IN {}", tuples(1, ids.len()));
        for row in query.rows(&sql, ids.iter().map(|id| Value::from(*id)).collect()).await? {
            updates.push(read(&row)?);
        }
    }
    Ok(updates)
}

pub(crate) async fn by_id(query: &impl Query, id: i64) -> Result<Option<UpdateRow>, DbErr> {
    Ok(by_ids(query, &[id]).await?.pop())
}

/// A device's updates, the newest first, below an id.
pub(crate) async fn of_device(
    query: &impl Query,
    device: &DeviceId,
    below: i64,
    limit: i64,
) -> Result<Vec<UpdateRow>, DbErr> {
    let sql = format!("SELECT {COLUMNS} FROM updates WHERE device = ? AND id < ? ORDER BY id DESC LIMIT ?");
    let values = vec![device.as_str().into(), below.into(), limit.into()];
    query.rows(&sql, values).await?.iter().map(read).collect()
}

/// How many devices have a newest update of each state, in all or of one product. Not counted again, as in [`super::device_list::count`].
pub(crate) async fn newest_states(
    query: &impl Query,
    product: Option<&ProductName>,
) -> Result<Vec<(UpdateState, u64)>, DbErr> {
    let (condition, values) = of_product(product);
    let sql = format!(
        "SELECT state, CAST(SUM(devices) AS BIGINT) AS devices FROM device_counts d \
         WHERE state <> '' AND {condition} GROUP BY state"
    );
    let rows = query.rows(&sql, values).await?;
    rows.iter()
        .map(|row| {
            let word: String = row.try_get("", "state")?;
            let state = UpdateState::from_word(&word).ok_or_else(|| corrupt("state", &word))?;
            Ok((state, row.try_get::<i64>("", "devices")?.unsigned_abs()))
        })
        .collect()
}

/// The reasons of newest updates that failed or were rolled back, and how many devices each has.
pub(crate) async fn newest_reasons(query: &impl Query) -> Result<Vec<(String, u64)>, DbErr> {
    let sql = "SELECT u.reason AS reason, COUNT(*) AS devices FROM devices d JOIN updates u ON u.id = d.update_id \
               WHERE u.state IN ('failed', 'rolled_back') GROUP BY u.reason";
    let rows = query.rows(sql, Vec::new()).await?;
    rows.iter()
        .map(|row| Ok((row.try_get("", "reason")?, row.try_get::<i64>("", "devices")?.unsigned_abs())))
        .collect()
}

/// The condition repeats that of the partial index letter by letter, or SQLite does not use it.
pub(super) const SILENT: &str = "SELECT * FROM updates WHERE state IN ('offered', 'downloading', 'restarting') \
    AND heard_at <= ? ORDER BY heard_at LIMIT ?";
pub(super) const UNTRIGGERED: &str = "SELECT * FROM updates WHERE triggered_at IS NULL \
    AND state IN ('offered', 'downloading', 'restarting') AND id > ? ORDER BY id LIMIT ?";

/// Those in flight that were not heard of since.
pub(crate) async fn silent_since(query: &impl Query, time: i64, limit: i64) -> Result<Vec<UpdateRow>, DbErr> {
    query.rows(SILENT, vec![time.into(), limit.into()]).await?.iter().map(read).collect()
}

/// Those in flight whose trigger is to be sent, above an id.
pub(crate) async fn untriggered(query: &impl Query, above: i64, limit: i64) -> Result<Vec<UpdateRow>, DbErr> {
    query.rows(UNTRIGGERED, vec![above.into(), limit.into()]).await?.iter().map(read).collect()
}

/// The images that failed twice or more on a device by their own fault.
pub(crate) async fn quarantined(query: &impl Query, device: &DeviceId) -> Result<Vec<Sha256>, DbErr> {
    let sql = "SELECT sha256 FROM updates WHERE device = ? AND image_at_fault = 1 AND sha256 IS NOT NULL \
               GROUP BY sha256 HAVING COUNT(*) >= 2";
    let rows = query.rows(sql, vec![device.as_str().into()]).await?;
    rows.iter().filter_map(|row| digest(row).transpose()).collect()
}

impl Write {
    /// Makes an update and answers its number. A duplicate error means that one is in flight already.
    pub(crate) async fn insert_update(&self, update: &UpdateRow) -> Result<i64, DbErr> {
        let sql = "INSERT INTO updates (device, product, from_version, to_version, object_key, sha256, bytes, state, \
                   forced, outcome_before, created_at, heard_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING id";
        let values = vec![
            update.device.as_str().into(),
            update.product.as_str().into(),
            update.from.as_ref().map(Version::as_str).into(),
            update.to.as_str().into(),
            update.object_key.as_str().into(),
            update.sha256.map(|sha256| sha256.to_hex().to_string()).into(),
            update.bytes.into(),
            update.state.as_str().into(),
            i64::from(update.forced).into(),
            json(update.outcome_before.as_ref())?.into(),
            update.created_at.into(),
            update.heard_at.into(),
        ];
        let row = self.row(sql, values).await?;
        let id: i64 =
            row.map(|row| row.try_get_by_index(0)).transpose()?.ok_or_else(|| DbErr::RecordNotInserted)?;
        let values = vec![id.into(), update.device.as_str().into()];
        self.execute("UPDATE devices SET update_id = ? WHERE id = ?", values).await?;
        Ok(id)
    }

    pub(crate) async fn save_update(&self, update: &UpdateRow) -> Result<(), DbErr> {
        let sql = "UPDATE updates SET state = ?, reason = ?, cause = ?, phase = ?, done = ?, url_requests = ?, \
                   image_at_fault = ?, heard_at = ?, triggered_at = ?, finished_at = ? WHERE id = ?";
        let (said, cause) = match &update.why {
            None => ("", None),
            Some(Why::Device(said)) => (said.as_str(), None),
            Some(Why::Cause(cause)) => ("", json(Some(cause))?),
        };
        let values = vec![
            update.state.as_str().into(),
            said.into(),
            cause.into(),
            update.phase.map(Phase::as_str).into(),
            update.done.into(),
            update.url_requests.into(),
            i64::from(update.image_at_fault).into(),
            update.heard_at.into(),
            update.triggered_at.into(),
            update.finished_at.into(),
            update.id.into(),
        ];
        self.execute(sql, values).await.map(|_| ())
    }

    /// Notes that the trigger was sent; the time-out counts from now. An update that ended meanwhile stays as it is, and
    /// so does one whose device asked for a fresh URL since `url_requests` was read: that one is still to be sent.
    pub(crate) async fn set_triggered(&self, id: i64, url_requests: i64, now: i64) -> Result<(), DbErr> {
        let sql = format!(
            "UPDATE updates SET triggered_at = ?, heard_at = ? WHERE id = ? AND url_requests = ? AND {IN_FLIGHT}"
        );
        let values = vec![now.into(), now.into(), id.into(), url_requests.into()];
        self.execute(&sql, values).await.map(|_| ())
    }

    /// The clock stood still from `stopped_at` for so long: nobody is any later for it, neither who was last heard
    /// before nor who was heard, or offered something, while it stood.
    pub(crate) async fn shift_silence(&self, stopped_at: i64, by: i64) -> Result<u64, DbErr> {
        let now = stopped_at.saturating_add(by);
        let sql = format!(
            "UPDATE updates SET heard_at = CASE WHEN heard_at <= ? THEN heard_at + ? ELSE ? END \
             WHERE {IN_FLIGHT} AND heard_at < ?"
        );
        self.execute(&sql, vec![stopped_at.into(), by.into(), now.into(), now.into()]).await
    }

    /// Forgets which images failed on a device.
    pub(crate) async fn clear_faults(&self, device: &DeviceId) -> Result<u64, DbErr> {
        let sql = "UPDATE updates SET image_at_fault = 0 WHERE device = ? AND image_at_fault = 1";
        self.execute(sql, vec![device.as_str().into()]).await
    }
}

fn read(row: &QueryResult) -> Result<UpdateRow, DbErr> {
    let state: String = row.try_get("", "state")?;
    let phase: Option<String> = row.try_get("", "phase")?;
    let said: String = row.try_get("", "reason")?;
    let said = (!said.is_empty()).then_some(Why::Device(said));
    Ok(UpdateRow {
        id: row.try_get("", "id")?,
        device: parsed(row, "device")?.ok_or_else(|| corrupt("device", "it is missing"))?,
        product: parsed(row, "product")?.ok_or_else(|| corrupt("product", "it is missing"))?,
        from: parsed(row, "from_version")?,
        to: parsed(row, "to_version")?.ok_or_else(|| corrupt("to_version", "it is missing"))?,
        object_key: row.try_get("", "object_key")?,
        sha256: digest(row)?,
        bytes: row.try_get("", "bytes")?,
        state: UpdateState::from_word(&state).ok_or_else(|| corrupt("state", &state))?,
        why: from_json(row, "cause")?.map(Why::Cause).or(said),
        phase: phase.map(|word| read_phase(&word).ok_or_else(|| corrupt("phase", &word))).transpose()?,
        done: row.try_get("", "done")?,
        forced: row.try_get::<i64>("", "forced")? != 0,
        outcome_before: from_json(row, "outcome_before")?,
        url_requests: row.try_get("", "url_requests")?,
        image_at_fault: row.try_get::<i64>("", "image_at_fault")? != 0,
        created_at: row.try_get("", "created_at")?,
        heard_at: row.try_get("", "heard_at")?,
        triggered_at: row.try_get("", "triggered_at")?,
        finished_at: row.try_get("", "finished_at")?,
    })
}

fn read_phase(word: &str) -> Option<Phase> {
    [Phase::Download, Phase::Verify, Phase::Restart].into_iter().find(|phase| phase.as_str() == word)
}
