//! Starting and stopping the whole server.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use broker::Embedded;
use listen::{Connections, Limits};
use store::Store;
use tokio::net::TcpListener;
use tokio::sync::RwLock;
use url::Url;

use crate::access::{Access, FirstLogin, digest, random_secret};
use crate::actor::Actor;
use crate::config::{BrokerConfig, Config, MqttConfig};
use crate::db::{Db, ServerLock, meta};
use crate::devices::{Broker, Presence};
use crate::events::Events;
use crate::mqtt::{BrokerAddress, Connection, Mqtt, MqttOptions};
use crate::services::{Parts, Services};
use crate::tasks::Tasks;
use crate::tick;
use crate::web::{Web, router, serve};

/// How long a login link works where nothing else is said.
pub const LOGIN_LINK_LIFETIME: Duration = Duration::from_mins(15);
/// How long [`Running::stop`] may take in all.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);
/// Of that, for requests that are being answered.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);

/// What is chosen at the start and not in the configuration.
#[derive(Debug, Clone, Copy, Default)]
pub struct StartOptions {
    /// Make a login link with this lifetime, also where there is a user already.
    pub login_link: Option<Duration>,
}

/// The running server. Dropped without [`Running::stop`], it ends with the process.
pub struct Running {
    services: Services,
    public_url: Url,
    pub(crate) db: Db,
    broker: Broker,
    pub(crate) mqtt: Mqtt,
    http: SocketAddr,
    mqtt_address: Option<SocketAddr>,
    first_login: Option<FirstLogin>,
    login_link: Option<Url>,
    tasks: Tasks,
    /// What answers HTTP.
    serving: Tasks,
    /// Locked as long as the server runs.
    _lock: ServerLock,
}

/// Opens everything and serves. An error is a sentence that says what to change.
#[crate::boxed]
pub async fn start(config: Config, options: StartOptions) -> anyhow::Result<Running> {
    // Whoever was first is fine: all of ours use ring.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let (http_limits, mqtt_limits) = limits(&config);
    let listener = HTTP.bind(config.http.listen)?;
    let http = listener.local_addr().context("the HTTP listener has no address")?;
    let public_url = public_url(&config, http)?;
    let (db, lock) = Box::pin(Db::open_for_server(&config.database)).await?;
    let url_key = url_key(&db).await?;
    let client_id = client_id(&db).await?;
    let store = open_store(&config, &public_url, url_key).await?;
    db.mirror_of(&store.location()).await?;
    let access = Access::new(db.clone(), &config.trusted_publishers);
    let first_login = access.first_login().await.context("cannot make the first user")?;
    let link_lifetime = options.login_link.or(first_login.as_ref().map(|_| LOGIN_LINK_LIFETIME));
    let login_link = match link_lifetime {
        Some(lifetime) => Some(login_link(&access, &public_url, lifetime).await?),
        None => None,
    };
    let events = Events::new();
    let presence = Presence::begin(&config, db.clone(), events.clone(), access.clone()).await?;
    let (broker, address) = start_broker(&config.mqtt, mqtt_limits, &presence)?;
    let mqtt_address = broker.as_ref().map(Embedded::local_addr);
    let proxies = config.http.trusted_proxies.clone();
    let is_proxy = move |peer| proxies.iter().any(|proxy| proxy.contains(peer));
    let connections = Connections::new("http", http_limits, is_proxy);
    let listeners = [connections.clone()].into_iter().chain(broker.as_ref().map(Embedded::connections));
    let listeners = listeners.collect();
    let tasks = Tasks::default();
    if let Some(broker) = &broker {
        tasks.spawn("the embedded MQTT broker", Box::pin(broker.ended()));
    }
    let broker = Arc::new(RwLock::new(broker));
    let version_topic = config.mqtt.version_topic.clone();
    let options = MqttOptions { broker: address, version_topic, client_id };
    let connection = Connection::open(options, tasks.beside()).context(NO_BROKER)?;
    let services = Services::new(Parts {
        config: &config,
        public_url: &public_url,
        db: db.clone(),
        store,
        url_key,
        access,
        presence,
        events,
        broker: Arc::clone(&broker),
        connection: &connection,
        tasks: tasks.clone(),
    });
    let mqtt = connection.receive(Arc::new(services.messages.clone())).context(NO_BROKER)?;
    tick::spawn(&services, &config, &mqtt, &tasks);
    let serving = tasks.beside();
    let stop = serving.stopping().clone();
    let web = Web::new(services.clone(), &config, &public_url, listeners, stop.clone());
    let served = serve(listener, connections, router(web, public_url.path()), stop);
    serving.spawn("the HTTP listener", Box::pin(served));
    tracing::info!(http.listen = %http, "the server is ready");
    Ok(Running {
        services,
        public_url,
        db,
        broker,
        mqtt,
        http,
        mqtt_address,
        first_login,
        login_link,
        tasks,
        serving,
        _lock: lock,
    })
}

impl Running {
    /// What the server can do.
    pub fn services(&self) -> &Services {
        &self.services
    }

    /// Where browsers and devices reach it.
    pub fn public_url(&self) -> &Url {
        &self.public_url
    }

    /// Where HTTP is served; the port is the real one if 0 was asked for.
    pub fn http_addr(&self) -> SocketAddr {
        self.http
    }

    /// Where the embedded broker listens, if that is the broker.
    pub fn mqtt_addr(&self) -> Option<SocketAddr> {
        self.mqtt_address
    }

    /// The first user's name and password, at the first start only; to be printed once.
    pub fn first_login(&self) -> Option<&FirstLogin> {
        self.first_login.as_ref()
    }

    /// `{public_url}/login?key={secret}`, where one was made.
    pub fn login_link(&self) -> Option<&Url> {
        self.login_link.as_ref()
    }

    /// Returns once this server has to be stopped: another one has the database, or a part of this one has ended.
    #[crate::boxed]
    pub async fn lost(&self) -> anyhow::Error {
        tokio::select! {
            () = self.db.lost() => {
                anyhow::anyhow!("another server has taken the database (database.url), so this one has stopped")
            }
            () = self.tasks.failed() => {
                anyhow::anyhow!("a part of the server has failed; the log says which: start it again")
            }
        }
    }

    /// Ends within 5 s: requests are answered, the batch in hand is committed, the database is closed.
    #[crate::boxed]
    pub async fn stop(mut self) -> anyhow::Result<()> {
        self.tasks.stop();
        self.serving.stop();
        tokio::time::timeout(STOP_TIMEOUT, self.wind_down())
            .await
            .context("the server did not stop within 5 seconds; what was acknowledged is on the disk")?
    }

    async fn wind_down(&mut self) -> anyhow::Result<()> {
        // What devices said and the broker acknowledged is handled first.
        let drained = async {
            if let Some(embedded) = &*self.broker.read().await {
                embedded.drain().await;
            }
        };
        let _ = tokio::join!(tokio::time::timeout(REQUEST_TIMEOUT, self.serving.ended()), drained);
        self.mqtt.stop().await;
        if let Some(embedded) = self.broker.write().await.take() {
            embedded.stop().await;
        }
        self.tasks.ended().await;
        self.db.close().await.context("closing the database")
    }
}

const NO_BROKER: &str = "cannot connect to the broker (mqtt.url)";

/// As configured, or the address that was bound.
fn public_url(config: &Config, http: SocketAddr) -> anyhow::Result<Url> {
    if let Some(url) = &config.http.public_url {
        return Ok(url.clone());
    }
    // "All addresses" is none that a device could connect to; who listens on all of them names one.
    let reachable = match http.ip() {
        ip if !ip.is_unspecified() => http,
        std::net::IpAddr::V4(_) => (std::net::Ipv4Addr::LOCALHOST, http.port()).into(),
        std::net::IpAddr::V6(_) => (std::net::Ipv6Addr::LOCALHOST, http.port()).into(),
    };
    format!("http://{reachable}").parse().context("the address that was bound is not a URL")
}

async fn open_store(config: &Config, public_url: &Url, url_key: [u8; 32]) -> anyhow::Result<Store> {
    let options = store::Options {
        public_url: Some(public_url.clone()),
        signing_key: Some(url_key),
        writers: store::Writers::One,
        ..store::Options::default()
    };
    Store::open(&config.store.url, options).await.context("cannot open the store (store.url)")
}

async fn login_link(access: &Access, public_url: &Url, lifetime: Duration) -> anyhow::Result<Url> {
    let secret = access.login_link(lifetime).await?;
    let base = public_url.as_str().trim_end_matches('/');
    format!("{base}/login?key={secret}").parse().context("the login link is not a URL")
}

/// Of HTTP and of the embedded broker, on which each device keeps its connection.
fn limits(config: &Config) -> (Limits, Limits) {
    let files = listen::available();
    let http = if config.embedded_broker() { files / 4 } else { files };
    (Limits::of(http), Limits::of(files - http))
}

/// Starts the embedded broker, if that is the one, and says where the client finds whichever it is.
fn start_broker(
    settings: &MqttConfig,
    limits: Limits,
    presence: &Presence,
) -> anyhow::Result<(Option<Embedded>, BrokerAddress)> {
    match &settings.url {
        BrokerConfig::Embedded => {
            let version_topic = settings.version_topic.clone();
            let listener = MQTT.bind(settings.listen)?;
            let embedded = Embedded::start(listener, limits, version_topic, Arc::new(presence.clone()))?;
            let (address, credentials) = (embedded.local_addr(), embedded.credentials());
            Ok((Some(embedded), BrokerAddress::Embedded { address, credentials }))
        }
        BrokerConfig::External(url) => {
            let url = url.expose().parse().context("mqtt.url is not a URL")?;
            Ok((None, BrokerAddress::External(url)))
        }
    }
}

/// Signs local and short URLs; made once.
pub(super) async fn url_key(db: &Db) -> anyhow::Result<[u8; 32]> {
    let mut fresh = [0; 32];
    getrandom::fill(&mut fresh)
        .map_err(|error| anyhow::anyhow!("the system gives no random numbers: {error}"))?;
    let kept = kept(db, meta::URL_KEY, &hex::encode(fresh)).await?;
    let mut key = [0; 32];
    hex::decode_to_slice(kept, &mut key).context("the database holds a signing key that cannot be read")?;
    Ok(key)
}

/// The broker keeps our messages under this name: it is the same after a restart, and no other server's.
pub(super) async fn client_id(db: &Db) -> anyhow::Result<String> {
    let fresh = format!("updraft-{}", digest_prefix(&random_secret()?));
    kept(db, meta::CLIENT_ID, &fresh).await
}

/// MQTT 3.1.1 lets brokers refuse ids of more than 23 letters.
fn digest_prefix(secret: &str) -> String {
    digest(secret)[..15].to_owned()
}

async fn kept(db: &Db, name: &str, fresh: &str) -> anyhow::Result<String> {
    let write = db.write(&Actor::SERVER).await.context("cannot write to the database (database.url)")?;
    let kept = write.meta_or_set(name, fresh).await.context("cannot write to the database (database.url)")?;
    write.commit().await.context("cannot write to the database (database.url)")?;
    Ok(kept)
}

pub(crate) const HTTP: Listener =
    Listener { who: "the server", key: "http.listen", variable: "UPDRAFT_HTTP__LISTEN=127.0.0.1:8081" };
pub(crate) const MQTT: Listener =
    Listener { who: "the MQTT broker", key: "mqtt.listen", variable: "UPDRAFT_MQTT__LISTEN=127.0.0.1:1884" };

/// Whose address it is, and how to choose another.
pub(crate) struct Listener {
    who: &'static str,
    key: &'static str,
    /// The same as a variable of the environment, with an example.
    variable: &'static str,
}

impl Listener {
    /// Binds. The error names address, cause, key and variable.
    pub(crate) fn bind(&self, address: SocketAddr) -> anyhow::Result<TcpListener> {
        listen::bind(address).map_err(|error| {
            let what = match error.kind() {
                ErrorKind::AddrInUse => "another program listens there already",
                ErrorKind::PermissionDenied => "this user may not listen there",
                ErrorKind::AddrNotAvailable => "this machine has no such address",
                _ => "the system refused",
            };
            anyhow::anyhow!(
                "{} cannot listen on {address}: {what} ({error}); choose another address with the key {} in updraft.toml, \
                 or with {}",
                self.who,
                self.key,
                self.variable
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_port_in_use_is_named_with_the_key_that_changes_it() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = taken.local_addr().expect("an address");
        let sentence = MQTT.bind(address).expect_err("refused").to_string();
        for word in [address.to_string().as_str(), "mqtt.listen", "UPDRAFT_MQTT__LISTEN"] {
            assert!(sentence.contains(word), "{sentence}");
        }
    }
}
