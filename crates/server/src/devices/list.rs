//! Devices as the API and the dashboard show them, and their figures.

use std::collections::HashMap;
use std::time::Instant;

use api::{Device, DeviceQuery, Page, Unreadable};
use cause::service as causes;
use contract::{DeviceId, ProductName};
use fleet::UpdateState;

use super::service::{Devices, unknown, update};
use crate::clock::{now_ms, time};
use crate::db::device::{self, DeviceRow};
use crate::db::device_list::{self, DeviceFilter};
use crate::db::update::{self, UpdateRow};
use crate::error::Error;

const PAGE_DEFAULT: u32 = 100;
pub(crate) const PAGE_MAX: u32 = 500;

pub(crate) fn limit(limit: Option<u32>) -> Result<usize, Error> {
    let limit = limit.unwrap_or(PAGE_DEFAULT);
    if !(1..=PAGE_MAX).contains(&limit) {
        return Err(Error::Invalid(causes::PAGE_SIZE.with("most", PAGE_MAX).with("asked", limit)));
    }
    Ok(limit as usize)
}

/// What `state` in a query narrows a list to.
#[derive(Debug, Clone, Copy)]
enum StateFilter {
    Any,
    Online(bool),
    Newest(UpdateState),
}

impl StateFilter {
    fn parse(state: Option<&str>) -> Result<Self, Error> {
        match state {
            None | Some("") => Ok(Self::Any),
            Some("online") => Ok(Self::Online(true)),
            Some("offline") => Ok(Self::Online(false)),
            Some(word) => UpdateState::from_word(word).map(Self::Newest).ok_or_else(|| {
                let words: Vec<&str> = UpdateState::ALL.iter().map(|state| state.as_str()).collect();
                Error::Invalid(
                    causes::NO_STATE.with("states", words.join(", ")).with("word", format!("{word:?}")),
                )
            }),
        }
    }
}

impl Devices {
    /// Devices in the order of their ids.
    pub async fn list(&self, query: &DeviceQuery) -> Result<Page<Device>, Error> {
        let state = StateFilter::parse(query.state.as_deref())?;
        let limit = limit(query.limit)?;
        let mut rows = self.narrowed(query, state, limit + 1).await?;
        let next = (rows.len() > limit)
            .then(|| rows.truncate(limit))
            .and_then(|()| rows.last().map(|row| row.id.as_str().to_owned()));
        Ok(Page { items: self.shown(rows).await?, next })
    }

    /// One device.
    pub async fn show(&self, id: &DeviceId) -> Result<Device, Error> {
        let row = self.row(id).await?;
        self.shown(vec![row]).await?.pop().ok_or_else(|| unknown(id))
    }

    /// Up to `limit` devices of a query. On the embedded broker, who is online is known in memory only.
    async fn narrowed(
        &self,
        query: &DeviceQuery,
        state: StateFilter,
        limit: usize,
    ) -> Result<Vec<DeviceRow>, Error> {
        let now = now_ms();
        let newest = if let StateFilter::Newest(state) = state { Some(state) } else { None };
        let online = if let StateFilter::Online(online) = state { Some(online) } else { None };
        let heard = online.and_then(|online| self.0.presence.heard(online, now));
        let in_memory = online.filter(|_| heard.is_none());
        let mut found: Vec<DeviceRow> = Vec::new();
        let mut after = query.cursor.clone();
        loop {
            let connected = (in_memory == Some(true))
                .then(|| self.0.presence.connected_after(after.as_deref(), PAGE_MAX as usize));
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
            let rows = device_list::page(&self.0.db, &filter, size).await?;
            let last = match &connected {
                Some(connected) => connected.last().filter(|_| connected.len() == size).cloned(),
                None => rows.last().filter(|_| rows.len() == size).map(|row| row.id.clone()),
            };
            found.extend(
                rows.into_iter().filter(|row| {
                    in_memory.is_none_or(|wanted| self.0.presence.is_online(row, now) == wanted)
                }),
            );
            found.truncate(limit);
            match last {
                Some(last) if found.len() < limit => after = Some(last.as_str().to_owned()),
                _ => return Ok(found),
            }
        }
    }

    async fn shown(&self, rows: Vec<DeviceRow>) -> Result<Vec<Device>, Error> {
        let ids: Vec<DeviceId> = rows.iter().map(|row| row.id.clone()).collect();
        let mut tags: HashMap<DeviceId, Vec<String>> = HashMap::new();
        for (id, tag) in device::tags(&self.0.db, &ids).await? {
            tags.entry(id).or_default().push(tag);
        }
        let newest: Vec<i64> = rows.iter().filter_map(|row| row.update_id).collect();
        let updates = update::by_ids(&self.0.db, &newest).await?;
        let mut updates: HashMap<i64, UpdateRow> =
            updates.into_iter().map(|update| (update.id, update)).collect();
        let now = now_ms();
        Ok(rows
            .into_iter()
            .map(|row| Device {
                online: self.0.presence.is_online(&row, now),
                tags: tags.remove(&row.id).unwrap_or_default(),
                update: row.update_id.and_then(|id| updates.remove(&id)).map(update),
                unreadable: unreadable(&row),
                id: row.id,
                product: row.product,
                version: row.version.map(Into::into),
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

/// Figures of all devices, or of a product's.
#[derive(Debug, Clone, Default)]
pub struct Counts {
    /// Devices known.
    pub devices: u64,
    /// Of these, online.
    pub online: u64,
    /// Devices by the state of their newest update.
    pub newest: HashMap<UpdateState, u64>,
}

impl Devices {
    /// Figures of the whole fleet, or of one product.
    pub async fn counts(&self, product: Option<&ProductName>) -> Result<Counts, Error> {
        let devices = device_list::count(&self.0.db, product).await?;
        let newest = update::newest_states(&self.0.db, product).await?.into_iter().collect();
        let online = self.count_online(product).await?;
        Ok(Counts { devices, online, newest })
    }

    /// Who is online is not kept by writes, and has to be counted but where it is all connections. That takes the longer
    /// the larger the fleet is, so that a number is used again for as long as keeps counting from mattering.
    async fn count_online(&self, product: Option<&ProductName>) -> Result<u64, Error> {
        if product.is_none() && self.0.presence.heard(true, now_ms()).is_none() {
            return Ok(self.0.presence.connected_count());
        }
        let mut counted = self.0.counted.lock().await;
        if let Some(online) = counted.online(product) {
            return Ok(online);
        }
        let begun = Instant::now();
        let online = match (self.0.presence.heard(true, now_ms()), product) {
            (Some(heard), _) => device_list::count_heard(&self.0.db, product, heard).await?,
            (None, Some(product)) => self.count_connected(product).await?,
            (None, None) => self.0.presence.connected_count(),
        };
        counted.keep(product, online, begun.elapsed());
        Ok(online)
    }

    async fn count_connected(&self, product: &ProductName) -> Result<u64, Error> {
        let (mut online, mut after) = (0, None::<DeviceId>);
        loop {
            let page =
                self.0.presence.connected_after(after.as_ref().map(DeviceId::as_str), PAGE_MAX as usize);
            online += device_list::count_among(&self.0.db, product, &page).await?;
            match page.into_iter().next_back() {
                Some(last) => after = Some(last),
                None => return Ok(online),
            }
        }
    }
}
