//! The embedded broker: MQTT 3.1.1 and 5 in this process, for registered devices and the server itself.
//!
//! The protocol, the routing and the sessions are the crate mqtt5's; the listener, who is let in, the names of
//! sessions and every limit are ours. Nothing is written to disk: the broker lives and dies with the server, and
//! what must survive a restart is in the database or comes again from the devices.

mod acl;
mod census;
mod door;
mod guard;

use crate::listen::Listener;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use contract::{DeviceId, VersionTopic};
use mqtt5::broker::client_handler::ClientHandler;
use mqtt5::broker::config::BrokerConfig;
use mqtt5::broker::resource_monitor::{ResourceLimits, ResourceMonitor};
use mqtt5::broker::router::MessageRouter;
use mqtt5::broker::storage::{DynamicStorage, MemoryBackend, QueueLimits, StorageBackend};
use mqtt5::broker::sys_topics::BrokerStats;
use mqtt5::broker::transport::BrokerTransport;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use acl::Identity;
use census::Census;
use guard::{Guard, Manners};

/// The longest packet a device may send, and the longest sent to one.
const MAX_PACKET_BYTES: usize = 16 * 1024;
/// The longest retained payload; the longest report of the contract fits.
const MAX_RETAINED_BYTES: usize = 4 * 1024;
/// The longest keep-alive granted, and what "no keep-alive" becomes: else a device that vanished would be
/// online for ever.
const MAX_KEEP_ALIVE_S: u16 = 1200;
/// How long the first packet may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Connections that are not let in yet; more wait in the listener's backlog.
const MAX_HANDSHAKES: usize = 1024;
/// Passwords checked at a time: each may cost a hash and a query.
const MAX_ADMISSIONS: usize = 8;
/// How long a session outlives its connection, at most.
const SESSION_EXPIRY: Duration = Duration::from_hours(24);
/// Messages on their way to a device that reads slowly, before they are queued.
const DEVICE_LANE: usize = 64;
/// The same for the server's own client: a whole fleet reports at once after a power cut.
const SERVER_LANE: usize = 65_536;
/// Messages queued for one session that is away or behind; the oldest are dropped.
const QUEUE: QueueLimits = QueueLimits { max_messages: 20_000, max_bytes: 4 * 1024 * 1024 };
/// How often expired sessions are swept.
const SWEEP: Duration = Duration::from_mins(1);
/// How long connections get to end by themselves at [`Embedded::stop`].
const GRACE: Duration = Duration::from_millis(1500);

/// Who is let in, and who wants to know.
#[async_trait::async_trait]
pub trait Doorkeeper: Send + Sync {
    /// Whether this is a registered device (the user name is its id) and its password.
    async fn admit(&self, user: &str, password: &[u8]) -> bool;
    /// The device's first connection is there. Called in order, under a lock: neither block nor call the broker.
    fn connected(&self, device: DeviceId);
    /// The device's last connection is gone. The same rule as for [`Doorkeeper::connected`].
    fn disconnected(&self, device: DeviceId);
}

/// The server's own name and password on its embedded broker: random, new with every start, never stored.
#[derive(Clone)]
pub struct Credentials {
    /// Never a device id, since it begins with '~'.
    pub user: String,
    /// 256 random bits.
    pub password: String,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("user", &self.user).finish_non_exhaustive()
    }
}

/// The running broker.
pub struct Embedded {
    address: SocketAddr,
    house: Arc<House>,
    tasks: TaskTracker,
}

struct House {
    credentials: Credentials,
    version: VersionTopic,
    doorkeeper: Arc<dyn Doorkeeper>,
    census: Census,
    admissions: Semaphore,
    router: Arc<MessageRouter>,
    storage: Arc<DynamicStorage>,
    stats: Arc<BrokerStats>,
    monitor: Arc<ResourceMonitor>,
    for_devices: Arc<BrokerConfig>,
    /// For devices whose keep-alive was bounded: MQTT 5 tells them so.
    for_bounded: Arc<BrokerConfig>,
    for_server: Arc<BrokerConfig>,
    /// Connections end by themselves.
    shutdown: broadcast::Sender<()>,
    /// Nobody new is let in.
    closing: CancellationToken,
    /// What still runs is dropped.
    closed: CancellationToken,
}

impl Embedded {
    /// Listens and lets in. Fails if the address is taken, with a sentence that says what to change.
    pub async fn start(
        listen: SocketAddr,
        version: VersionTopic,
        doorkeeper: Arc<dyn Doorkeeper>,
    ) -> anyhow::Result<Self> {
        let listener = LISTENER.bind(listen).await?;
        let address = listener.local_addr().context("the MQTT listener has no address")?;
        let house = Arc::new(House::new(version, doorkeeper)?);
        let tasks = TaskTracker::new();
        tasks.spawn(accept(listener, Arc::clone(&house), tasks.clone()));
        tasks.spawn(sweep(Arc::clone(&house)));
        tracing::info!(mqtt.listen = %address, "the embedded MQTT broker is ready");
        Ok(Self { address, house, tasks })
    }

    /// Where it listens; the port is the real one if 0 was asked for.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// What the server's own client connects with.
    pub fn internal_credentials(&self) -> Credentials {
        self.house.credentials.clone()
    }

    /// Throws a device out: its connections are closed, its sessions and queues forgotten. Take its registration
    /// away first. Its last will has been published when this returns (within 2 s), so that what it left retained
    /// can be cleared afterwards.
    pub async fn disconnect_device(&self, device: &DeviceId) {
        let sessions = self.house.census.remove(device);
        if tokio::time::timeout(Duration::from_secs(2), self.house.census.gone(device)).await.is_err() {
            tracing::warn!(device = %device, "a removed device's connection did not end within 2 s");
        }
        for session in sessions {
            self.house.forget(&session).await;
        }
    }

    /// Stops listening and ends every connection; done within 2 s.
    pub async fn stop(self) {
        self.house.closing.cancel();
        // Nobody listens if nobody is connected.
        let _ = self.house.shutdown.send(());
        self.tasks.close();
        if tokio::time::timeout(GRACE, self.tasks.wait()).await.is_err() {
            self.house.closed.cancel();
            let _ = tokio::time::timeout(Duration::from_millis(400), self.tasks.wait()).await;
        }
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        self.house.closing.cancel();
        self.house.closed.cancel();
    }
}

const LISTENER: Listener =
    Listener { who: "the MQTT broker", key: "mqtt.listen", variable: "UPDRAFT_MQTT__LISTEN=127.0.0.1:1884" };

impl House {
    fn new(version: VersionTopic, doorkeeper: Arc<dyn Doorkeeper>) -> anyhow::Result<Self> {
        let mut secret = [0; 32];
        getrandom::fill(&mut secret).context("no random numbers for the broker's own password")?;
        let storage = Arc::new(DynamicStorage::Memory(MemoryBackend::with_queue_limits(QUEUE)));
        let router =
            MessageRouter::with_storage(Arc::clone(&storage)).with_retained_limits(0, MAX_RETAINED_BYTES);
        let for_devices = device_config(&version);
        let for_bounded = BrokerConfig {
            server_keep_alive: Some(Duration::from_secs(MAX_KEEP_ALIVE_S.into())),
            ..for_devices.clone()
        };
        let for_server = BrokerConfig {
            client_channel_capacity: SERVER_LANE,
            // The library searches all of it with each acknowledgement.
            max_outbound_inflight: 256,
            server_receive_maximum: None,
            drain_batch: 256,
            event_handler: None,
            ..for_devices.clone()
        };
        // No rate is limited: every publish of a connection is routed before its next packet is read.
        let limits = ResourceLimits {
            max_message_rate_per_client: 0,
            max_bandwidth_per_client: 0,
            ..ResourceLimits::default()
        };
        Ok(Self {
            credentials: Credentials { user: "~server".to_owned(), password: hex::encode(secret) },
            version,
            census: Census::new(Arc::clone(&doorkeeper)),
            doorkeeper,
            admissions: Semaphore::new(MAX_ADMISSIONS),
            router: Arc::new(router),
            storage,
            stats: Arc::new(BrokerStats::new()),
            monitor: Arc::new(ResourceMonitor::new(limits)),
            for_devices: Arc::new(for_devices),
            for_bounded: Arc::new(for_bounded),
            for_server: Arc::new(for_server),
            shutdown: broadcast::channel(1).0,
            closing: CancellationToken::new(),
            closed: CancellationToken::new(),
        })
    }

    async fn admit(&self, device: &DeviceId, password: &[u8]) -> bool {
        let Ok(_turn) = self.admissions.acquire().await else { return false };
        self.doorkeeper.admit(device, password).await
    }

    /// Forgets a session: subscriptions, queue, what was in flight.
    async fn forget(&self, session: &str) {
        self.router.unregister_client(session).await;
        // The memory store cannot fail.
        let _ = self.storage.remove_session(session).await;
        let _ = self.storage.remove_all_inflight_messages(session).await;
        self.storage.queue_handle(session).clear(None);
    }
}

fn device_config(version: &VersionTopic) -> BrokerConfig {
    BrokerConfig {
        bind_addresses: Vec::new(),
        session_expiry_interval: SESSION_EXPIRY,
        max_packet_size: MAX_PACKET_BYTES,
        topic_alias_maximum: 8,
        shared_subscription_available: false,
        max_subscriptions_per_client: 16,
        max_retained_message_size: MAX_RETAINED_BYTES,
        client_channel_capacity: DEVICE_LANE,
        max_outbound_inflight: 16,
        server_receive_maximum: Some(64),
        sys_topics_enabled: false,
        event_handler: Some(Arc::new(Manners(version.clone()))),
        ..BrokerConfig::default()
    }
}

async fn accept(listener: TcpListener, house: Arc<House>, tasks: TaskTracker) {
    let handshakes = Arc::new(Semaphore::new(MAX_HANDSHAKES));
    loop {
        let next = async {
            let handshake = Arc::clone(&handshakes).acquire_owned().await.ok()?;
            Some((listener.accept().await, handshake))
        };
        let (accepted, handshake) = tokio::select! {
            () = house.closing.cancelled() => return,
            Some(next) = next => next,
        };
        match accepted {
            Ok((stream, peer)) => {
                let house = Arc::clone(&house);
                tasks.spawn(async move {
                    let closed = house.closed.clone();
                    tokio::select! {
                        () = closed.cancelled() => {}
                        () = receive(house, stream, peer, handshake) => {}
                    }
                });
            }
            Err(error) => {
                // Mostly "too many open files": it passes, and a loop without a pause would not let it.
                tracing::warn!(%error, "an MQTT connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// One connection, from its first byte to its last.
async fn receive(
    house: Arc<House>,
    mut stream: TcpStream,
    peer: SocketAddr,
    handshake: OwnedSemaphorePermit,
) {
    // Only a delay would be lost.
    let _ = stream.set_nodelay(true);
    let first = door::arrival(&mut stream, &house.credentials, &house.version);
    let arrival = tokio::select! {
        () = house.closing.cancelled() => return,
        arrival = tokio::time::timeout(CONNECT_TIMEOUT, first) => arrival,
    };
    let Ok(Some(arrival)) = arrival else {
        tracing::debug!(%peer, "a connection without an MQTT CONNECT was closed");
        return;
    };
    let config = match &arrival.identity {
        Some(Identity::Server) => &house.for_server,
        _ if arrival.keep_alive_bounded => &house.for_bounded,
        _ => &house.for_devices,
    };
    let (close, closed) = oneshot::channel();
    let wire = door::Wire::new(arrival.bytes, stream, closed);
    let guard = Arc::new(Guard::new(
        Arc::clone(&house),
        arrival.identity,
        arrival.session,
        arrival.lasting,
        close,
        handshake,
    ));
    let handler = ClientHandler::new(
        BrokerTransport::WebSocket(Box::new(wire)),
        peer,
        Arc::clone(config),
        Arc::clone(&house.router),
        Arc::clone(&guard) as _,
        Some(Arc::clone(&house.storage)),
        Arc::clone(&house.stats),
        Arc::clone(&house.monitor),
        house.shutdown.subscribe(),
    );
    let leaving = Leaving(guard);
    // Boxed, so that the task is not as large as the library's biggest state twice over.
    if let Err(error) = Box::pin(handler.run()).await {
        tracing::debug!(%peer, %error, "an MQTT connection ended");
    }
    drop(leaving);
}

/// Leaves the census however the connection ends, also by a panic.
struct Leaving(Arc<Guard>);

impl Drop for Leaving {
    fn drop(&mut self) {
        self.0.leave();
    }
}

async fn sweep(house: Arc<House>) {
    loop {
        tokio::select! {
            () = house.closing.cancelled() => return,
            () = tokio::time::sleep(SWEEP) => {}
        }
        if let Err(error) = house.storage.cleanup_expired().await {
            tracing::warn!(%error, "the broker's expired sessions could not be swept");
        }
        house.router.sweep_sessions().await;
        for (device, session) in house.census.sessions() {
            if matches!(house.storage.get_session(&session).await, Ok(None)) {
                house.census.expired(&device, &session);
            }
        }
    }
}
