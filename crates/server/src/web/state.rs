//! What handlers work with: each takes the service that it asks, and nothing else.

use std::ops::Deref;
use std::sync::Arc;

use axum::extract::FromRef;
use listen::Connections;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::cookies::Cookies;
use super::limits::{Streams, UPLOADS_MAX, Uploads};
use crate::access::{Access, LoginLimiter, Publishers, RateLimiter};
use crate::config::{Config, MqttConfig, Network};
use crate::devices::Devices;
use crate::events::Events;
use crate::health::Health;
use crate::releases::Releases;
use crate::services::Services;
use crate::updates::{Messages, Rollouts, Updates};

/// Clones are the same one: each request makes several.
#[derive(Clone)]
pub(crate) struct Web(Arc<Shared>);

pub(crate) struct Shared {
    pub(super) services: Services,
    pub(super) cookies: Cookies,
    pub(super) proxies: Arc<[Network]>,
    pub(super) mqtt: Arc<MqttConfig>,
    pub(super) logins: Arc<LoginLimiter>,
    pub(super) publisher_logins: Arc<RateLimiter>,
    pub(super) streams: Streams,
    pub(crate) uploads: Uploads,
    pub(super) listeners: Arc<[Connections]>,
    pub(super) shutdown: CancellationToken,
}

impl Web {
    pub(crate) fn new(
        services: Services,
        config: &Config,
        public_url: &url::Url,
        listeners: Arc<[Connections]>,
        shutdown: CancellationToken,
    ) -> Self {
        Self(Arc::new(Shared {
            services,
            cookies: Cookies::new(public_url),
            proxies: config.http.trusted_proxies.as_slice().into(),
            mqtt: Arc::new(config.mqtt.clone()),
            logins: Arc::new(LoginLimiter::new()),
            publisher_logins: Arc::new(RateLimiter::of_publishers()),
            streams: Streams::default(),
            uploads: Uploads(Arc::new(Semaphore::new(UPLOADS_MAX))),
            listeners,
            shutdown,
        }))
    }
}

impl Deref for Web {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

macro_rules! part {
    ($($part:ty: $($field:ident).+;)*) => {
        $(impl FromRef<Web> for $part {
            fn from_ref(web: &Web) -> Self {
                web.$($field).+.clone()
            }
        })*
    };
}

part! {
    Access: services.access;
    Publishers: services.publishers;
    Devices: services.devices;
    Updates: services.updates;
    Rollouts: services.rollouts;
    Messages: services.messages;
    Releases: services.releases;
    Health: services.health;
    Events: services.events;
    Cookies: cookies;
    Arc<MqttConfig>: mqtt;
    Streams: streams;
    Uploads: uploads;
    Arc<[Connections]>: listeners;
    CancellationToken: shutdown;
}
