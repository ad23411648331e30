//! Who is online: who has the present epoch.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::Ordering;

use contract::DeviceId;
use sea_orm::entity::prelude::*;
use sea_orm::{ExprTrait, QuerySelect};

use super::connection::{Db, Query};
use super::device::{Column, Entity};
use super::known_presence::KnownPresence;
use super::meta;
use super::values::Text;
use crate::actor::Actor;

/// Devices that are made offline in one transaction, at most.
pub(crate) const CLEARED_MAX: usize = 500;

/// Where devices connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Site {
    /// Nobody is connected to it when it starts.
    Embedded,
    /// It keeps its connections while no server runs.
    External,
}

/// Who is taken for online and is not.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Absent {
    /// Online in an epoch before this one.
    Earlier,
    /// Says nothing of its presence that holds, and was not heard since.
    SilentSince(i64),
}

impl Db {
    /// The present epoch; 0 is nobody's.
    pub(crate) fn epoch(&self) -> i64 {
        self.epoch.load(Ordering::Relaxed)
    }

    /// Takes the next epoch, unless the site is one that keeps its connections and was there before.
    pub(crate) async fn begin_epoch(&self, site: Site) -> Result<(), DbErr> {
        let write = self.write(&Actor::SERVER).await?;
        let known = write.lock_meta(meta::ONLINE_EPOCH).await?.unwrap_or_default();
        let (number, before) = known.split_once(' ').unwrap_or_default();
        let mut epoch = number.parse().unwrap_or(0);
        if site == Site::Embedded || before != format!("{site:?}") {
            epoch += 1;
        }
        write.set_meta(meta::ONLINE_EPOCH, &format!("{epoch} {site:?}")).await?;
        write.commit().await?;
        self.epoch.store(epoch, Ordering::Relaxed);
        Ok(())
    }

    /// Writes that these devices came or went at these times: those of `there` came.
    pub(crate) async fn set_online(
        &self,
        changed: &[(DeviceId, i64)],
        there: &HashSet<DeviceId>,
    ) -> Result<(), DbErr> {
        let ids: Vec<DeviceId> = changed.iter().map(|(id, _)| id.clone()).collect();
        let times: HashMap<_, _> = changed.iter().map(|(id, at)| (id, *at)).collect();
        let write = self.write(&Actor::DEVICES).await?;
        let mut devices = write.lock_devices(&ids).await?;
        for device in &mut devices {
            device.online_epoch = if there.contains(&device.id.0) { self.epoch() } else { 0 };
            let at = times.get(&device.id.0).copied();
            device.last_seen = Ord::max(device.last_seen, at);
        }
        write.save(devices.iter_mut().map(|device| (device, None))).await?;
        write.commit().await
    }

    /// Makes up to [`CLEARED_MAX`] devices offline, and answers which.
    pub(crate) async fn clear_absent(&self, which: Absent) -> Result<Vec<DeviceId>, DbErr> {
        let epoch = self.epoch();
        let absent = ids_of(which, epoch).into_tuple::<Text<DeviceId>>().all(self.connection()).await?;
        let ids: Vec<DeviceId> = absent.into_iter().map(|Text(id)| id).collect();
        if ids.is_empty() {
            return Ok(ids);
        }
        let write = self.write(&Actor::SERVER).await?;
        write.lock_devices(&ids).await?;
        // Those that came back before the lock stay.
        let those = Column::Id.is_in(ids.iter().map(DeviceId::as_str)).and(is_absent(which, epoch));
        let update = Entity::update_many().col_expr(Column::OnlineEpoch, Expr::value(0_i64)).filter(those);
        update.exec(write.connection()).await?;
        write.commit().await?;
        Ok(ids)
    }
}

pub(super) fn ids_of(which: Absent, epoch: i64) -> Select<Entity> {
    let absent = Entity::find().select_only().column(Column::Id);
    absent.filter(is_absent(which, epoch)).limit(CLEARED_MAX as u64)
}

fn is_absent(which: Absent, epoch: i64) -> Expr {
    match which {
        Absent::Earlier => Column::OnlineEpoch.gt(0).and(Column::OnlineEpoch.lt(epoch)),
        // `last_seen` is in no index: it changes with each message.
        Absent::SilentSince(time) => {
            let unsaid = Column::Presence.is_null();
            let unsaid = unsaid.or(Column::Presence.eq(KnownPresence::Contradicted.as_str()));
            Column::OnlineEpoch.eq(epoch).and(unsaid).and(Column::LastSeen.lt(time))
        }
    }
}
