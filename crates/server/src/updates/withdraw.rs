//! What was offered and is blocked since: its update ends, and its URLs that this server serves are closed. A URL of a bucket holds
//! until it expires, and what a device has it may install: what it reports stays the truth.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use cause::{Cause, update as causes};
use contract::ProductName;
use fleet::{Change, UpdateState, Why};
use store::Blocked;
use tokio_util::sync::CancellationToken;

use super::service::{BATCH, Updates, write as record};
use crate::actor::Actor;
use crate::clock::now_ms;
use crate::db::{mirror, update};

/// After a failure.
const AGAIN_AFTER: Duration = Duration::from_secs(5);

/// What is blocked, as it was read last.
#[derive(Debug, Default)]
pub(super) struct Closed(RwLock<HashMap<ProductName, Blocked>>);

impl Closed {
    /// Why an object that devices fetch is closed, if it is. A list that cannot be read closes nothing: it stops only what would
    /// be offered.
    fn cause(&self, key: &str) -> Option<Cause> {
        let closed = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if closed.is_empty() {
            return None;
        }
        let (product, version) = (key.split('/').next()?.parse().ok()?, store::release_of(key)?);
        match closed.get::<ProductName>(&product)? {
            Blocked::Unreadable(_) => None,
            list => list.cause(&version),
        }
    }
}

impl Updates {
    /// Why this server does not serve an object any more, if so.
    pub(crate) fn closed(&self, key: &str) -> Option<Cause> {
        self.0.closed.cause(key)
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
        self.0.closed.0.write().unwrap_or_else(PoisonError::into_inner).clone_from(&lists);
        let why = |update: &update::UpdateRow| match lists.get(&update.product.0)? {
            Blocked::List(list) => {
                let why = list.get(&update.to_version.0)?.clone();
                Some(causes::BLOCKED_MEANWHILE.naming("version", &update.to_version.0).with("why", why))
            }
            Blocked::Unreadable(_) => None,
        };
        let mut above = String::new();
        while !lists.is_empty() {
            let page = update::in_flight(&self.0.db, &above, BATCH as u64).await?;
            let Some(last) = page.last() else { break };
            above = last.device.to_string();
            let blocked: Vec<_> = page.iter().filter(|update| why(update).is_some()).collect();
            if blocked.is_empty() {
                continue;
            }
            let write = self.0.db.write(&Actor::SERVER).await?;
            let mut locked = write.lock_updates(blocked.into_iter()).await?;
            locked.retain(|(_, update)| *update.state == UpdateState::Offered);
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
