//! What was offered and is blocked since: its update ends, and its URLs that this server serves are closed. A URL of a bucket holds
//! until it expires, and what a device has it may install: what it reports stays the truth.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::time::Duration;

use anyhow::Context;
use cause::{Cause, update as causes};
use contract::{ProductName, Version};
use fleet::{BlockedImages, Change, UpdateState, Why};
use store::Blocked;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::service::{BATCH, Updates, write as record};
use crate::actor::Actor;
use crate::clock::now_ms;
use crate::db::update::{self, UpdateRow};
use crate::db::{image, mirror};
use crate::releases::STORE_TIMEOUT;

/// After a failure.
const AGAIN_AFTER: Duration = Duration::from_secs(5);

impl Updates {
    /// Why this server does not serve an object any more, if so. What is kept of the list may be old: where it says so, the store is
    /// asked, and where that does not answer, it counts.
    pub(crate) async fn closed(&self, key: &str) -> Option<Cause> {
        let (product, version, cause) = self.0.closed.cause(key)?;
        match timeout(STORE_TIMEOUT, self.0.releases.store().blocked(&product)).await {
            Ok(Ok(Blocked::List(list))) => Blocked::List(list).cause(&version),
            _ => Some(cause),
        }
    }

    /// Ends what is blocked, now and whenever the store's mirror changes, until `stop` is cancelled.
    pub(crate) async fn withdraw_forever(self, stop: CancellationToken) {
        let mut changes = self.0.releases.mirror().changes();
        loop {
            changes.mark_unchanged();
            let pause = match self.withdraw_blocked().await {
                Ok(()) => Duration::MAX,
                Err(error) => {
                    tracing::error!("what is blocked was not withdrawn, and will be: {error:#}");
                    AGAIN_AFTER
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
                changed = changes.changed() => if changed.is_err() { return },
            }
        }
    }

    pub(crate) async fn withdraw_blocked(&self) -> anyhow::Result<()> {
        let lists: HashMap<_, _> = mirror::blocked_lists(&self.0.db).await?.into_iter().collect();
        let images = image::blocked(&self.0.db).await?;
        self.0.closed.set(&lists, image::keys(&self.0.db, &images).await?, &images);
        // What the store says by now, asked once for each product that has something to withdraw.
        let mut fresh = HashMap::<ProductName, Blocked>::new();
        let mut above = String::new();
        let mut is_deferred = false;
        while !lists.is_empty() {
            let page = update::in_flight(&self.0.db, is_deferred, &above, BATCH as u64).await?;
            let Some(last) = page.last() else {
                if is_deferred {
                    break;
                }
                (is_deferred, above) = (true, String::new());
                continue;
            };
            above = last.device.to_string();
            for (product, _) in page.iter().filter_map(|update| blocked_as(&lists, &images, update)) {
                if let Entry::Vacant(place) = fresh.entry(product) {
                    let asked = timeout(STORE_TIMEOUT, self.0.releases.store().blocked(place.key())).await;
                    place.insert(asked.context("the store did not answer in time")??);
                }
            }
            let why = |update: &UpdateRow| why(&fresh, &images, update);
            let blocked: Vec<_> = page.iter().filter(|update| why(update).is_some()).collect();
            if blocked.is_empty() {
                continue;
            }
            let write = self.0.db.write(&Actor::SERVER).await?;
            let mut locked = write.lock_updates(blocked.into_iter()).await?;
            locked
                .retain(|(_, update)| matches!(*update.state, UpdateState::Offered | UpdateState::Deferred));
            for (_, update) in &mut locked {
                let change = Change { state: UpdateState::Cancelled, why: why(update).map(Why::Cause) };
                record(update, "blocked", change, now_ms());
            }
            write.save(locked.iter_mut().map(|(device, update)| (device, Some(&*update)))).await?;
            write.commit().await?;
            for (_, update) in &locked {
                self.0.events.device(&update.device);
            }
        }
        Ok(())
    }
}

/// As what an update is blocked: as its version, or as another that has the same bytes.
fn blocked_as(
    lists: &HashMap<ProductName, Blocked>,
    images: &BlockedImages,
    update: &UpdateRow,
) -> Option<(ProductName, Version)> {
    let is_listed = |product: &ProductName, version: &Version| match lists.get(product) {
        Some(Blocked::List(list)) => list.contains_key(version),
        _ => false,
    };
    let (product, version) = (&update.product.0, &update.to_version.0);
    if is_listed(product, version) {
        return Some((product.clone(), version.clone()));
    }
    let same = images.get(&update.sha256?.0)?;
    is_listed(&same.product, &same.version).then(|| (same.product.clone(), same.version.clone()))
}

/// Why an update is to end, if one of these lists says so. One that cannot be read ends nothing: it stops what would be offered.
fn why(lists: &HashMap<ProductName, Blocked>, images: &BlockedImages, update: &UpdateRow) -> Option<Cause> {
    let (product, version) = blocked_as(lists, images, update)?;
    let Blocked::List(list) = lists.get(&product)? else { return None };
    let why = list.get(&version)?.clone();
    Some(causes::BLOCKED_MEANWHILE.naming("version", &update.to_version.0).with("why", why))
}
