//! Devices and updates as the API and the dashboard show them.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use cause::Cause;
use contract::{Code, DeviceId, Phase, ProductName, REASON_MAX_BYTES, Reason};
use fleet::{UpdateState, Why};

use super::{App, AppError, now_ms, time};
use crate::db::device::{self, DeviceFilter, DeviceRow};
use crate::db::update::{self, UpdateRow};
use crate::model::{Counts, Device, DeviceQuery, Page, Unreadable, Update};

const PAGE_DEFAULT: u32 = 100;
const PAGE_MAX: u32 = 500;

/// What `state` in a query narrows a list to.
#[derive(Debug, Clone, Copy)]
enum StateFilter {
    Any,
    Online(bool),
    Newest(UpdateState),
}

impl StateFilter {
    fn parse(state: Option<&str>) -> Result<Self, AppError> {
        match state {
            None | Some("") => Ok(Self::Any),
            Some("online") => Ok(Self::Online(true)),
            Some("offline") => Ok(Self::Online(false)),
            Some(word) => UpdateState::from_word(word).map(Self::Newest).ok_or_else(|| {
                let words: Vec<&str> = UpdateState::ALL.iter().map(|state| state.as_str()).collect();
                AppError::Invalid(format!("A state is online, offline, {}; not {word:?}.", words.join(", ")))
            }),
        }
    }
}

/// How many devices of a product, or of all, were online.
#[derive(Debug)]
pub(super) struct Counted {
    online: u64,
    /// Until when that is used again.
    until: Instant,
}

/// Of the time, at most one part in so many is spent counting.
const COUNTING_SHARE: u32 = 20;
/// No number is older than this.
const COUNTED_MAX: Duration = Duration::from_secs(10);
/// For so many products numbers are kept.
const COUNTED_PRODUCTS: usize = 256;

impl App {
    /// Devices in the order of their ids.
    pub async fn devices(&self, query: &DeviceQuery) -> Result<Page<Device>, AppError> {
        let state = StateFilter::parse(query.state.as_deref())?;
        let limit = limit(query.limit)?;
        let mut rows = self.narrowed(query, state, limit + 1).await?;
        let next = (rows.len() > limit)
            .then(|| rows.truncate(limit))
            .and_then(|()| rows.last().map(|row| row.id.as_str().to_owned()));
        Ok(Page { items: self.shown(rows).await?, next })
    }

    /// One device.
    pub async fn device(&self, id: &DeviceId) -> Result<Device, AppError> {
        let row = self.device_row(id).await?;
        self.shown(vec![row]).await?.pop().ok_or_else(|| super::device::unknown(id))
    }

    /// A device's updates, newest first.
    pub async fn updates(
        &self,
        id: &DeviceId,
        cursor: Option<&str>,
        limit: u32,
    ) -> Result<Page<Update>, AppError> {
        self.device_row(id).await?;
        let limit = self::limit(Some(limit))?;
        let below = cursor.map_or(Ok(i64::MAX), |cursor| {
            cursor.parse().map_err(|_| AppError::Invalid("This cursor is not one of this list's.".to_owned()))
        })?;
        let mut rows = update::of_device(self.db(), id, below, i64::try_from(limit).unwrap_or(0) + 1).await?;
        let next = (rows.len() > limit)
            .then(|| rows.truncate(limit))
            .and_then(|()| rows.last().map(|row| row.id.to_string()));
        Ok(Page { items: rows.into_iter().map(update).collect(), next })
    }

    /// How many devices' newest update failed or was rolled back with each code; those without a code are left out.
    pub async fn newest_codes(&self) -> Result<HashMap<Code, u64>, AppError> {
        let mut codes = HashMap::new();
        for (reason, devices) in update::newest_reasons(self.db()).await? {
            if let Some(code) = code_of(&reason).and_then(|reason| reason.code()) {
                *codes.entry(code).or_default() += devices;
            }
        }
        Ok(codes)
    }

    /// Figures of the whole fleet, or of one product.
    pub async fn counts(&self, product: Option<&ProductName>) -> Result<Counts, AppError> {
        let devices = device::count(self.db(), product).await?;
        let newest = update::newest_states(self.db(), product).await?.into_iter().collect();
        let online = self.count_online(product).await?;
        let messages = self.inner.messages.load(std::sync::atomic::Ordering::Relaxed);
        Ok(Counts { devices, online, newest, messages })
    }

    /// Who is online is not kept by writes, and has to be counted but where all connections are meant. That takes the longer
    /// the larger the fleet is, so that a number is used again for as long as keeps counting from mattering.
    async fn count_online(&self, product: Option<&ProductName>) -> Result<u64, AppError> {
        if product.is_none() && self.heard(true, now_ms()).is_none() {
            return Ok(self.inner.online.count() as u64);
        }
        let mut counted = self.inner.counted.lock().await;
        if let Some(known) = counted.get(&product.cloned()).filter(|known| Instant::now() < known.until) {
            return Ok(known.online);
        }
        let begun = Instant::now();
        let online = match (self.heard(true, now_ms()), product) {
            (Some(heard), _) => device::count_heard(self.db(), product, heard).await?,
            (None, Some(product)) => self.count_connected(product).await?,
            (None, None) => self.inner.online.count() as u64,
        };
        let until = Instant::now() + (begun.elapsed() * COUNTING_SHARE).min(COUNTED_MAX);
        if counted.len() >= COUNTED_PRODUCTS {
            counted.clear();
        }
        counted.insert(product.cloned(), Counted { online, until });
        Ok(online)
    }

    async fn count_connected(&self, product: &ProductName) -> Result<u64, AppError> {
        let (mut online, mut after) = (0, None::<DeviceId>);
        loop {
            let page = self.inner.online.after(after.as_ref().map(DeviceId::as_str), PAGE_MAX as usize);
            online += device::count_among(self.db(), product, &page).await?;
            match page.into_iter().next_back() {
                Some(last) => after = Some(last),
                None => return Ok(online),
            }
        }
    }

    /// Up to `limit` devices of a query. On the embedded broker, who is online is known in memory only.
    async fn narrowed(
        &self,
        query: &DeviceQuery,
        state: StateFilter,
        limit: usize,
    ) -> Result<Vec<DeviceRow>, AppError> {
        let now = now_ms();
        let newest = if let StateFilter::Newest(state) = state { Some(state) } else { None };
        let online = if let StateFilter::Online(online) = state { Some(online) } else { None };
        let heard = online.and_then(|online| self.heard(online, now));
        let in_memory = online.filter(|_| heard.is_none());
        let mut found: Vec<DeviceRow> = Vec::new();
        let mut after = query.cursor.clone();
        loop {
            let connected = (in_memory == Some(true))
                .then(|| self.inner.online.after(after.as_deref(), PAGE_MAX as usize));
            let filter = DeviceFilter {
                product: query.product.as_ref(),
                tag: query.tag.as_deref().filter(|tag| !tag.is_empty()),
                contains: query.q.as_deref().filter(|text| !text.is_empty()),
                after: after.as_deref(),
                state: newest,
                among: connected.as_deref(),
                heard,
            };
            let size = if in_memory.is_some() { PAGE_MAX as usize } else { limit - found.len() };
            let rows = device::page(self.db(), &filter, size).await?;
            let last = match &connected {
                Some(connected) => connected.last().filter(|_| connected.len() == size).cloned(),
                None => rows.last().filter(|_| rows.len() == size).map(|row| row.id.clone()),
            };
            found.extend(
                rows.into_iter()
                    .filter(|row| in_memory.is_none_or(|wanted| self.is_online(row, now) == wanted)),
            );
            found.truncate(limit);
            match last {
                Some(last) if found.len() < limit => after = Some(last.as_str().to_owned()),
                _ => return Ok(found),
            }
        }
    }

    async fn shown(&self, rows: Vec<DeviceRow>) -> Result<Vec<Device>, AppError> {
        let ids: Vec<DeviceId> = rows.iter().map(|row| row.id.clone()).collect();
        let mut tags: HashMap<DeviceId, Vec<String>> = HashMap::new();
        for (id, tag) in device::tags(self.db(), &ids).await? {
            tags.entry(id).or_default().push(tag);
        }
        let newest: Vec<i64> = rows.iter().filter_map(|row| row.update_id).collect();
        let updates = update::by_ids(self.db(), &newest).await?;
        let mut updates: HashMap<i64, UpdateRow> =
            updates.into_iter().map(|update| (update.id, update)).collect();
        let now = now_ms();
        Ok(rows
            .into_iter()
            .map(|row| Device {
                online: self.is_online(&row, now),
                tags: tags.remove(&row.id).unwrap_or_default(),
                update: row.update_id.and_then(|id| updates.remove(&id)).map(update),
                unreadable: unreadable(&row),
                id: row.id,
                product: row.product,
                version: row.version,
                sha256: row.sha256,
                last_seen: row.last_seen.map(time),
                registered: row.registered,
                created_at: time(row.created_at),
                lacks: row.report.as_ref().map(|report| report.lacks.clone()).unwrap_or_default(),
                report: row.report,
            })
            .collect())
    }
}

fn unreadable(row: &DeviceRow) -> Option<Unreadable> {
    Some(Unreadable {
        count: row.unreadable_count.unsigned_abs(),
        last: row.unreadable_last.clone()?,
        last_at: time(row.unreadable_at?),
    })
}

/// An update as it is shown.
pub(super) fn update(row: UpdateRow) -> Update {
    let (reason, code, cause) = explained(row.why);
    Update {
        id: row.id,
        device: row.device,
        from: row.from,
        to: row.to,
        state: row.state,
        reason,
        code: code.map(|code| code.as_str().to_owned()),
        cause,
        bytes: row.bytes.unsigned_abs(),
        phase: row.phase.map(|phase| Phase::as_str(phase).to_owned()),
        done: row.done.unsigned_abs(),
        created_at: time(row.created_at),
        finished_at: row.finished_at.map(time),
    }
}

/// The words, and the device's code or the server's cause.
fn explained(why: Option<Why>) -> (Option<String>, Option<Code>, Option<Cause>) {
    match why {
        None => (None, None, None),
        Some(Why::Cause(cause)) => (Some(cause.sentence()), None, Some(cause)),
        Some(Why::Device(said)) => {
            let reason = code_of(&said);
            let words = reason.as_ref().map_or(said, |reason| reason.words().to_owned());
            (Some(words).filter(|words| !words.is_empty()), reason.and_then(|reason| reason.code()), None)
        }
    }
}

/// A reason that ends with a known code. A longer one than a device can give is the server's own, which has none.
fn code_of(stored: &str) -> Option<Reason> {
    let reason = Some(stored).filter(|stored| stored.len() <= REASON_MAX_BYTES).map(Reason::new)?;
    reason.code().is_some().then_some(reason)
}

fn limit(limit: Option<u32>) -> Result<usize, AppError> {
    let limit = limit.unwrap_or(PAGE_DEFAULT);
    if !(1..=PAGE_MAX).contains(&limit) {
        return Err(AppError::Invalid(format!("A page has 1 to {PAGE_MAX} items, not {limit}.")));
    }
    Ok(limit as usize)
}
