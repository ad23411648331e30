//! Starting and stopping the whole server.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use broker::Embedded;
use store::Store;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use url::Url;

use crate::app::{App, FirstLogin, Parts, random_secret};
use crate::catalog::Refreshed;
use crate::config::{BrokerConfig, Config};
use crate::db::{Db, meta};
use crate::listen;
use crate::mqtt::{BrokerAddress, Mqtt, MqttOptions};
use crate::tick;

/// How long a login link works where nothing else is said.
pub const LOGIN_LINK_LIFETIME: Duration = Duration::from_mins(15);
/// How long [`Running::stop`] may take in all.
const STOP_PATIENCE: Duration = Duration::from_secs(5);
/// Of that, for requests that are being answered.
const REQUEST_PATIENCE: Duration = Duration::from_secs(2);

/// What is chosen at the start and not in the configuration.
#[derive(Debug, Clone, Copy, Default)]
pub struct StartOptions {
    /// Make a login link that works so long, also where there is a user already.
    pub login_link: Option<Duration>,
}

/// The running server. Dropped without [`Running::stop`], it ends with the process.
pub struct Running {
    app: App,
    http: SocketAddr,
    mqtt: Option<SocketAddr>,
    first_login: Option<FirstLogin>,
    login_link: Option<Url>,
    stop: CancellationToken,
    tasks: TaskTracker,
    served: JoinHandle<std::io::Result<()>>,
    /// Held as long as the server runs.
    _lock: std::fs::File,
}

/// Opens everything and serves. An error is a sentence that says what to change.
pub async fn start(config: Config, options: StartOptions) -> anyhow::Result<Running> {
    // Whoever was first is fine: all of ours use ring.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let listener = listen::HTTP.bind(config.http.listen).await?;
    let http = listener.local_addr().context("the HTTP listener has no address")?;
    let public_url = public_url(&config, http)?;
    // First, as opening brings the tables up to date: not beneath a server that runs.
    let lock = Db::lock(&config.database.url)?;
    let db = Db::open(&config.database.url).await?;
    let url_key = url_key(&db).await?;
    let client_id = client_id(&db).await?;
    let store_options = store::Options {
        public_url: Some(public_url.clone()),
        signing_key: Some(url_key),
        ..store::Options::default()
    };
    let store =
        Store::open(&config.store.url, store_options).await.context("cannot open the store (store.url)")?;
    let app = App::new(Parts { config, public_url, db, store, url_key });
    let first_login = app.auth().first_login().await.context("cannot make the first user")?;
    let link_lifetime = options.login_link.or(first_login.as_ref().map(|_| LOGIN_LINK_LIFETIME));
    let login_link = match link_lifetime {
        Some(lifetime) => Some(login_link(&app, lifetime).await?),
        None => None,
    };
    let mqtt = connect(&app, client_id).await?;
    let stop = CancellationToken::new();
    let tasks = TaskTracker::new();
    tasks.spawn(tick::run(app.clone(), stop.clone()));
    tasks.spawn(tick::resend(app.clone(), stop.clone()));
    tasks.spawn(tick::teach_slots(app.clone(), stop.clone()));
    tasks.spawn(refresh(app.clone(), stop.clone()));
    tasks.spawn(prepare(app.store().clone(), stop.clone()));
    tasks.spawn(watch_link(app.clone(), stop.clone()));
    tasks.close();
    let router = crate::router::router(app.clone(), stop.clone());
    let router = router.into_make_service_with_connect_info::<SocketAddr>();
    let served = axum::serve(listener, router).with_graceful_shutdown(stop.clone().cancelled_owned());
    let served = tokio::spawn(served.into_future());
    tracing::info!(http.listen = %http, "the server is ready");
    Ok(Running { app, http, mqtt, first_login, login_link, stop, tasks, served, _lock: lock })
}

impl Running {
    /// The server.
    pub fn app(&self) -> &App {
        &self.app
    }

    /// Where HTTP is served; the port is the real one if 0 was asked for.
    pub fn http_addr(&self) -> SocketAddr {
        self.http
    }

    /// Where the embedded broker listens, if that is the broker.
    pub fn mqtt_addr(&self) -> Option<SocketAddr> {
        self.mqtt
    }

    /// The first user's name and password, at the first start only; to be printed once.
    pub fn first_login(&self) -> Option<&FirstLogin> {
        self.first_login.as_ref()
    }

    /// `{public_url}/login?key={secret}`, where one was made.
    pub fn login_link(&self) -> Option<&Url> {
        self.login_link.as_ref()
    }

    /// Ends within 5 s: requests are answered, the batch in hand is committed, the database is closed.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        self.stop.cancel();
        tokio::time::timeout(STOP_PATIENCE, self.wind_down())
            .await
            .context("the server did not stop within 5 seconds; what was acknowledged is on the disk")?
    }

    async fn wind_down(&mut self) -> anyhow::Result<()> {
        if tokio::time::timeout(REQUEST_PATIENCE, &mut self.served).await.is_err() {
            self.served.abort();
        }
        self.app.disconnect().await;
        self.tasks.wait().await;
        self.app.db().close().await.context("closing the database")
    }
}

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

/// Signs local and short URLs; made once.
async fn url_key(db: &Db) -> anyhow::Result<[u8; 32]> {
    let mut fresh = [0; 32];
    getrandom::fill(&mut fresh)
        .map_err(|error| anyhow::anyhow!("the system gives no random numbers: {error}"))?;
    let kept = kept(db, meta::URL_KEY, &hex::encode(fresh)).await?;
    let mut key = [0; 32];
    hex::decode_to_slice(kept, &mut key).context("the database holds a signing key that cannot be read")?;
    Ok(key)
}

/// The broker keeps our messages under this name: it is the same after a restart, and no other server's.
async fn client_id(db: &Db) -> anyhow::Result<String> {
    let fresh = format!("updraft-{}", digest_prefix(&random_secret()?));
    kept(db, meta::CLIENT_ID, &fresh).await
}

/// MQTT 3.1.1 lets brokers refuse ids of more than 23 letters.
fn digest_prefix(secret: &str) -> String {
    crate::app::digest(secret)[..15].to_owned()
}

async fn kept(db: &Db, name: &str, fresh: &str) -> anyhow::Result<String> {
    let write = db.write().await.context("cannot write to the database (database.url)")?;
    let kept = write.meta_or_set(name, fresh).await.context("cannot write to the database (database.url)")?;
    write.commit().await.context("cannot write to the database (database.url)")?;
    Ok(kept)
}

async fn login_link(app: &App, lifetime: Duration) -> anyhow::Result<Url> {
    let secret = app.auth().login_link(lifetime).await?;
    let base = app.public_url().as_str().trim_end_matches('/');
    format!("{base}/login?key={secret}").parse().context("the login link is not a URL")
}

/// Starts the embedded broker, if that is the one, and the MQTT client.
async fn connect(app: &App, client_id: String) -> anyhow::Result<Option<SocketAddr>> {
    let settings = &app.config().mqtt;
    let version_topic = settings.version_topic.clone();
    let (broker, address) = match &settings.url {
        BrokerConfig::Embedded => {
            let listener = listen::MQTT.bind(settings.listen).await?;
            let embedded = Embedded::start(listener, version_topic.clone(), Arc::new(app.clone()))?;
            let address = embedded.local_addr();
            let broker = BrokerAddress::Embedded { address, credentials: embedded.credentials() };
            app.set_embedded(embedded);
            (broker, Some(address))
        }
        BrokerConfig::External(url) => {
            let url = url.expose().parse().context("mqtt.url is not a URL")?;
            (BrokerAddress::External(url), None)
        }
    };
    let persistent = address.is_none();
    let options = MqttOptions { broker, version_topic, client_id, persistent };
    app.set_mqtt(
        Mqtt::start(&options, Arc::new(app.clone())).context("cannot connect to the broker (mqtt.url)")?,
    );
    Ok(address)
}

/// Finds out, and says in the log, what a compatible store does not promise. One that may not be written, or does not
/// answer now, says so when it is written.
async fn prepare(store: Store, stop: CancellationToken) {
    tokio::select! {
        () = stop.cancelled() => {}
        _ = store.prepare_to_write() => {}
    }
}

/// Reads what the store holds, for showing, as often as configured.
async fn refresh(app: App, stop: CancellationToken) {
    let every = Duration::from_secs(app.config().store.refresh_s.into());
    let mut told = None;
    loop {
        let begun = Instant::now();
        let refreshed = tokio::select! {
            () = stop.cancelled() => return,
            refreshed = app.catalog().refresh_all() => refreshed,
        };
        match refreshed {
            Ok(Refreshed::Done) => {
                app.note_store(None);
                told = None;
            }
            // Not all of it answered, and that may be one product or everything.
            Ok(Refreshed::GoesOn) => {
                app.store_problem().await;
            }
            Err(error) => {
                let sentence = error.to_string();
                // Something in it cannot be read, or it does not answer at all: then its health says so.
                if app.store_problem().await.is_none() && told.as_ref() != Some(&sentence) {
                    tracing::warn!("the store holds something that cannot be read: {sentence}");
                }
                told = Some(sentence);
            }
        }
        tokio::select! {
            () = stop.cancelled() => return,
            // What another program changes shows so soon. A bucket that takes longer than that has a pause all the same.
            () = tokio::time::sleep(every.saturating_sub(begun.elapsed()).max(every / 4)) => {}
        }
    }
}

/// Tells those who watch when the broker goes and comes.
async fn watch_link(app: App, stop: CancellationToken) {
    let Some(mut link) = app.mqtt().map(Mqtt::link) else {
        return;
    };
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            changed = link.changed() => {
                if changed.is_err() {
                    return;
                }
                app.announce().health();
            }
        }
    }
}
