//! The services end to end: real database, real store folder, real embedded broker.

mod access;
mod attempts;
mod bucket;
pub(crate) mod database;
mod database_tls;
mod decisions;
mod external;
mod fleet;
mod identity;
mod killed_database;
mod not_admitted;
mod offers;
mod postgres;
mod reported;
pub(crate) mod rig;
mod rollout_limits;
mod rollouts;
mod sending;
mod serving;
mod silence;
mod slow_store;
mod spellings;
mod two_servers;
mod unwritable;
mod withdrawn;
mod without_broker;

use contract::TopicKind;
use serde_json::json;

use crate::mqtt::Message;

use rig::{Rig, id};

fn message(device: &str, kind: TopicKind, payload: &str) -> Message {
    Message {
        kind,
        device: id(device),
        payload: payload.to_owned().into(),
        retained: false,
        received: std::time::Instant::now(),
    }
}

/// A device of product `p` that runs 1.0.0 and is connected, with 1.1.0 in production.
async fn ready() -> (Rig, rig::Actor) {
    let rig = Rig::start().await;
    rig.release("p", "1.0.0", json!({}));
    rig.deploy("p", "1.1.0", json!({}));
    let device = rig.device("d1", "p").await;
    device.say(TopicKind::Version, "1.0.0").await;
    rig.until_version("d1", "1.0.0").await;
    (rig, device)
}
