//! What all connections share: the library's router and store, the configurations, the connection registry.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use contract::{DeviceId, VersionTopic};
use mqtt5::broker::config::BrokerConfig;
use mqtt5::broker::events::{BrokerEventHandler, ClientPublishEvent, PublishAction};
use mqtt5::broker::resource_monitor::{ResourceLimits, ResourceMonitor};
use mqtt5::broker::router::MessageRouter;
use mqtt5::broker::storage::{DynamicStorage, MemoryBackend, StorageBackend};
use mqtt5::broker::sys_topics::BrokerStats;
use mqtt5::packet::publish::PublishPacket;
use tokio::sync::{Semaphore, broadcast};
use tokio_util::sync::CancellationToken;

use crate::admission::{Admission, Credentials};
use crate::registry::Registry;
use crate::{limits, topics};

pub(crate) struct Shared {
    pub(crate) credentials: Credentials,
    pub(crate) version: VersionTopic,
    pub(crate) registry: Registry,
    pub(crate) router: Arc<MessageRouter>,
    pub(crate) storage: Arc<DynamicStorage>,
    pub(crate) stats: Arc<BrokerStats>,
    pub(crate) monitor: Arc<ResourceMonitor>,
    pub(crate) for_devices: Arc<BrokerConfig>,
    /// For devices whose keep-alive was bounded: MQTT 5 tells them so.
    pub(crate) for_bounded: Arc<BrokerConfig>,
    pub(crate) for_server: Arc<BrokerConfig>,
    /// Connections end by themselves.
    pub(crate) shutdown: broadcast::Sender<()>,
    /// No new connection is accepted.
    pub(crate) closing: CancellationToken,
    /// What still runs is dropped.
    pub(crate) closed: CancellationToken,
    admission: Arc<dyn Admission>,
    admissions: Semaphore,
}

impl Shared {
    pub(crate) fn new(version: VersionTopic, admission: Arc<dyn Admission>) -> anyhow::Result<Self> {
        let storage = Arc::new(DynamicStorage::Memory(MemoryBackend::with_queue_limits(limits::QUEUE)));
        let router = MessageRouter::with_storage(Arc::clone(&storage))
            .with_retained_limits(0, limits::MAX_RETAINED_BYTES);
        let for_devices = device_config(&version);
        let for_bounded = BrokerConfig {
            server_keep_alive: Some(Duration::from_secs(limits::MAX_KEEP_ALIVE_S.into())),
            ..for_devices.clone()
        };
        let for_server = BrokerConfig {
            client_channel_capacity: limits::SERVER_CHANNEL,
            // The library searches all of it with each acknowledgement.
            max_outbound_inflight: 256,
            server_receive_maximum: None,
            drain_batch: 256,
            event_handler: None,
            ..for_devices.clone()
        };
        // No rate is limited: every publish of a connection is routed before its next packet is read.
        let rates = ResourceLimits {
            max_message_rate_per_client: 0,
            max_bandwidth_per_client: 0,
            ..ResourceLimits::default()
        };
        Ok(Self {
            credentials: Credentials::random()?,
            version,
            registry: Registry::new(Arc::clone(&admission)),
            router: Arc::new(router),
            storage,
            stats: Arc::new(BrokerStats::new()),
            monitor: Arc::new(ResourceMonitor::new(rates)),
            for_devices: Arc::new(for_devices),
            for_bounded: Arc::new(for_bounded),
            for_server: Arc::new(for_server),
            shutdown: broadcast::channel(1).0,
            closing: CancellationToken::new(),
            closed: CancellationToken::new(),
            admission,
            admissions: Semaphore::new(limits::MAX_ADMISSIONS),
        })
    }

    pub(crate) async fn admit(&self, device: &DeviceId, password: &[u8]) -> bool {
        let Ok(_permit) = self.admissions.acquire().await else { return false };
        self.admission.admit(device, password).await
    }

    /// Forgets a session: subscriptions, queue, what was in flight.
    pub(crate) async fn forget(&self, session: &str) {
        self.router.unregister_client(session).await;
        // The memory store cannot fail.
        let _ = self.storage.remove_session(session).await;
        let _ = self.storage.remove_all_inflight_messages(session).await;
        self.storage.queue_handle(session).clear(None);
    }

    pub(crate) async fn sweep(&self) {
        if let Err(error) = self.storage.cleanup_expired().await {
            tracing::warn!(%error, "the broker's expired sessions could not be swept");
        }
        self.router.sweep_sessions().await;
        for (device, session) in self.registry.sessions() {
            if matches!(self.storage.get_session(&session).await, Ok(None)) {
                self.registry.expired(&device, &session);
            }
        }
    }
}

fn device_config(version: &VersionTopic) -> BrokerConfig {
    BrokerConfig {
        bind_addresses: Vec::new(),
        session_expiry_interval: limits::SESSION_EXPIRY,
        max_packet_size: limits::MAX_PACKET_BYTES,
        topic_alias_maximum: 8,
        shared_subscription_available: false,
        max_subscriptions_per_client: 16,
        max_retained_message_size: limits::MAX_RETAINED_BYTES,
        client_channel_capacity: limits::DEVICE_CHANNEL,
        max_outbound_inflight: 16,
        server_receive_maximum: Some(64),
        sys_topics_enabled: false,
        event_handler: Some(Arc::new(RetainFilter(version.clone()))),
        ..BrokerConfig::default()
    }
}

pub(crate) struct RetainFilter(pub(crate) VersionTopic);

impl BrokerEventHandler for RetainFilter {
    fn on_client_publish(
        &self,
        event: ClientPublishEvent,
    ) -> Pin<Box<dyn Future<Output = PublishAction> + Send + '_>> {
        let action = if event.retain && !topics::may_be_retained(&event.topic, &self.0) {
            let mut publish = PublishPacket::new(&*event.topic, event.payload, event.qos);
            publish.packet_id = event.packet_id;
            PublishAction::Transform(publish)
        } else {
            PublishAction::Continue
        };
        Box::pin(std::future::ready(action))
    }
}
