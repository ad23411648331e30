//! Devices as the API and the dashboard show them, and their figures.

use std::collections::HashMap;

use api::{Device, DeviceQuery, Page, RunningImage, Unreadable};
use cause::service as causes;
use contract::{DeviceId, ProductName, Version};
use fleet::{Identity, UpdateState};

use super::service::{Devices, unknown, update};
use crate::clock::{now_ms, time};
use crate::counts::Counts;
use crate::db::device::DeviceRow;
use crate::db::device_list::{self, Builds, DeviceFilter};
use crate::db::image;
use crate::db::tag;
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
    Newest(&'static [UpdateState]),
}

/// What did not succeed, for whatever reason.
pub(crate) const NOT_SUCCEEDED: [UpdateState; 3] =
    [UpdateState::Failed, UpdateState::RolledBack, UpdateState::TimedOut];
/// What may go on.
pub(crate) const IN_FLIGHT: [UpdateState; 4] =
    [UpdateState::Offered, UpdateState::Deferred, UpdateState::Downloading, UpdateState::Restarting];

impl StateFilter {
    fn parse(state: Option<&str>) -> Result<Self, Error> {
        match state {
            None | Some("") => Ok(Self::Any),
            Some("online") => Ok(Self::Online(true)),
            Some("offline") => Ok(Self::Online(false)),
            Some("in_flight") => Ok(Self::Newest(&IN_FLIGHT)),
            Some("not_succeeded") => Ok(Self::Newest(&NOT_SUCCEEDED)),
            Some(word) => newest(word).map(Self::Newest).ok_or_else(|| {
                let words: Vec<&str> = UpdateState::ALL.iter().map(|state| state.as_str()).collect();
                Error::Invalid(
                    causes::NO_STATE.with("states", words.join(", ")).with("word", format!("{word:?}")),
                )
            }),
        }
    }
}

fn newest(word: &str) -> Option<&'static [UpdateState]> {
    UpdateState::ALL.chunks(1).find(|state| state[0].as_str() == word)
}

impl Devices {
    /// Devices in the order of their ids.
    #[crate::boxed]
    pub async fn list(&self, query: &DeviceQuery) -> Result<Page<Device>, Error> {
        let limit = limit(query.limit)?;
        // One database refuses it, the other takes it for the end of the text.
        if [&query.tag, &query.group, &query.pin, &query.q, &query.version, &query.cursor]
            .into_iter()
            .flatten()
            .any(|text| text.contains('\0'))
        {
            return Err(Error::Invalid(causes::TEXT.cause()));
        }
        let version = query.version.as_deref().filter(|version| !version.is_empty());
        // In whatever spelling.
        let read = version.and_then(Version::said);
        let mut filter = DeviceFilter {
            product: query.product.as_ref(),
            tag: query.tag.as_deref().filter(|tag| !tag.is_empty()),
            version: read.as_ref().map(Version::as_str).or(version),
            group: query.group.as_deref().filter(|group| !group.is_empty()),
            pin: query.pin.as_deref().filter(|pin| !pin.is_empty()),
            contains: query.q.as_deref().filter(|text| !text.is_empty()),
            after: query.cursor.as_deref(),
            ..DeviceFilter::default()
        };
        match StateFilter::parse(query.state.as_deref())? {
            StateFilter::Any => {}
            StateFilter::Online(true) => filter.epoch = Some(self.0.db.epoch()),
            StateFilter::Online(false) => filter.not_epoch = Some(self.0.db.epoch()),
            StateFilter::Newest(states) => filter.states = states,
        }
        let identity = query.identity.as_deref().filter(|word| !word.is_empty());
        let identity = identity.map(|word| Identity::from_word(word).ok_or_else(|| no_identity(word)));
        let identity = identity.transpose()?;
        let builds = match identity {
            Some(identity) => image::builds_like(&self.0.db, identity).await?,
            None => Vec::new(),
        };
        match identity {
            Some(Identity::Mislabelled | Identity::Foreign) if builds.is_empty() => {
                return Ok(Page { items: Vec::new(), next: None });
            }
            Some(Identity::Mislabelled | Identity::Foreign) => filter.builds = Builds::Among(&builds),
            Some(Identity::Release) => filter.builds = Builds::NoneOf(&builds),
            Some(Identity::Unknown) => filter.builds = Builds::NoneOr(&builds),
            None => {}
        }
        let mut rows = device_list::page(&self.0.db, &filter, limit as u64 + 1).await?;
        let next = (rows.len() > limit)
            .then(|| rows.truncate(limit))
            .and_then(|()| rows.last().map(|row| row.id.as_str().to_owned()));
        Ok(Page { items: self.shown(rows).await?, next })
    }

    /// One device.
    #[crate::boxed]
    pub async fn show(&self, id: &DeviceId) -> Result<Device, Error> {
        let row = self.row(id).await?;
        self.shown(vec![row]).await?.pop().ok_or_else(|| unknown(id))
    }

    async fn shown(&self, rows: Vec<DeviceRow>) -> Result<Vec<Device>, Error> {
        let ids: Vec<DeviceId> = rows.iter().map(|row| row.id.0.clone()).collect();
        let mut tags: HashMap<DeviceId, Vec<String>> = HashMap::new();
        for tag in tag::of_devices(&self.0.db, &ids).await? {
            tags.entry(tag.device.0).or_default().push(tag.tag);
        }
        let newest: Vec<i64> = rows.iter().filter_map(|row| row.update_id).collect();
        let updates = update::by_ids(&self.0.db, &newest).await?;
        let mut updates: HashMap<i64, UpdateRow> =
            updates.into_iter().map(|update| (update.id, update)).collect();
        let known = image::known(&self.0.db, rows.iter().filter_map(|row| Some(row.sha256?.0))).await?;
        let image_of = |row: &DeviceRow| {
            let sha256 = row.sha256.map(|sha256| sha256.0);
            let version = row.version.as_ref()?;
            Some(known.image(row.product.as_deref(), version, sha256))
        };
        let now = now_ms();
        let shown = |row: DeviceRow| {
            let image = image_of(&row).unwrap_or_default();
            Device {
                identity: image.identity.into(),
                image: image.release.map(|(product, version)| RunningImage { product, version }),
                online: self.0.presence.is_online(&row),
                twins: row.are_twins(now),
                tags: tags.remove(&row.id.0).unwrap_or_default(),
                update: row.update_id.and_then(|id| updates.remove(&id)).map(update),
                unreadable: unreadable(&row),
                version: row.said().map(str::to_owned),
                group: row.group_name,
                pin: row.pin,
                pin_by: row.pin_by,
                pin_reason: row.pin_why,
                id: row.id.0,
                product: row.product.map(|product| product.0),
                sha256: row.sha256.map(|sha256| sha256.0),
                last_seen: row.last_seen.map(time),
                registered: row.password_sha256.is_some(),
                created_at: time(row.created_at),
                lacks: row.report.as_ref().map(|report| report.lacks.clone()).unwrap_or_default(),
                report: row.report.map(|report| report.0),
            }
        };
        Ok(rows.into_iter().map(shown).collect())
    }
}

fn no_identity(word: &str) -> Error {
    let words: Vec<&str> = Identity::ALL.iter().map(|identity| identity.as_str()).collect();
    Error::Invalid(causes::NO_IDENTITY.with("words", words.join(", ")).with("word", format!("{word:?}")))
}

fn unreadable(row: &DeviceRow) -> Option<Unreadable> {
    Some(Unreadable {
        count: row.unreadable_count.unsigned_abs(),
        last: row.unreadable_last.clone()?,
        last_at: time(row.unreadable_at?),
    })
}

impl Devices {
    /// Figures of the whole fleet, or of one product.
    #[crate::boxed]
    pub async fn counts(&self, product: Option<&ProductName>) -> Result<Counts, Error> {
        Ok(self.0.db.figures().await?.of(product))
    }

    /// Returns once there are new figures where older ones were given out.
    pub(crate) async fn recounted(&self) {
        self.0.db.recounted().await;
    }
}
