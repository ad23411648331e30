//! A running server of the binary under test.
use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::process::Command;

use api::{CheckAnswer, CheckRequest, Device, NewDevice, Page, RegisteredDevice, Update, UpdateState};
use contract::Version;
use reqwest::{Method, RequestBuilder, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tempfile::TempDir;

use crate::command::{Said, binary, updraft};
use crate::database::database_url;
use crate::mqtt::Endpoint;
use crate::process::{Process, Reader, free_port};
use crate::wait::until;

/// What a test changes of a server's configuration.
#[derive(Debug, Default)]
pub struct Setup {
    /// `http.public_url`; the server's own address if not said.
    pub public_url: Option<String>,
    /// `http.listen`'s port; a free one if not said.
    pub http_port: Option<u16>,
    /// `mqtt.url` of an external broker; the embedded one if not said.
    pub broker: Option<Endpoint>,
    /// `store.url`; a folder of its own if not said.
    pub store: Option<String>,
    /// More of the environment (credentials of a bucket).
    pub env: Vec<(String, String)>,
    /// Who reads what it says.
    pub reader: Reader,
    /// More of `[fleet]`, as TOML.
    pub fleet: String,
    /// More of `[store]`, as TOML.
    pub store_settings: String,
    /// More sections, as TOML.
    pub more: String,
    /// How many files it may open; as many as this process if not said.
    pub open_files: Option<u32>,
}

/// A running server. Its data outlives [`Server::kill`].
#[derive(Debug)]
pub struct Server {
    // First, so that its log is still there when it ends.
    process: Process,
    folder: TempDir,
    setup: Setup,
    http_port: u16,
    mqtt_port: u16,
    token: String,
    http: reqwest::Client,
}

impl Server {
    /// Embedded broker, folder store, SQLite.
    pub async fn start() -> Self {
        Self::with(Setup::default()).await
    }

    /// With something else than that; returns once it is ready and a token was made.
    pub async fn with(setup: Setup) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let (http_port, mqtt_port) = (setup.http_port.unwrap_or_else(free_port), free_port());
        let config = configuration(&setup, folder.path(), http_port, mqtt_port);
        std::fs::write(folder.path().join("updraft.toml"), config).expect("the configuration can be written");
        let process = serve(folder.path(), &setup);
        let http = http_client();
        let mut server = Self { folder, setup, http_port, mqtt_port, token: String::new(), http, process };
        server.ready().await;
        server.token = server.new_token("e2e", "admin").await;
        server
    }

    /// Ends it as a power cut would.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again, on the same ports and data; returns once it is ready.
    pub async fn start_again(&mut self) {
        self.process = serve(self.folder.path(), &self.setup);
        self.ready().await;
    }

    async fn ready(&mut self) {
        let url = self.url("/readyz");
        let (http, process) = (&self.http, RefCell::new(&mut self.process));
        until("the server answers 200 to /readyz", || async {
            assert!(process.borrow_mut().is_running(), "the server ended:\n{}", process.borrow().log());
            http.get(&url).send().await.ok().filter(|answer| answer.status() == StatusCode::OK)
        })
        .await;
    }

    /// Makes a token of a role (`admin`, `operator`, `ci`, `viewer`).
    pub async fn new_token(&self, name: &str, role: &str) -> String {
        #[derive(Deserialize)]
        struct Made {
            token: String,
        }
        let command = self.local(["token", "new", name, "--role", role, "--json"]);
        Said::by(command).await.ok().json::<Made>().token
    }

    /// A command that works on the server's own files: `--config` is added.
    pub fn local<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Command {
        let mut command = updraft(arguments);
        command.arg("--config").arg(self.config()).current_dir(self.folder.path());
        command.envs(self.setup.env.iter().map(|(name, value)| (name, value)));
        command
    }

    /// A command that talks to this server with an admin's token.
    pub fn remote<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Command {
        let mut command = updraft(arguments);
        command.env("UPDRAFT_SERVER", self.url("")).env("UPDRAFT_TOKEN", &self.token);
        command.current_dir(self.folder.path());
        command
    }

    /// Its configuration file.
    pub fn config(&self) -> PathBuf {
        self.folder.path().join("updraft.toml")
    }

    /// The folder with everything it keeps; the store is `store/` in it.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// All it logged.
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// Its process id.
    pub fn process_id(&self) -> u32 {
        self.process.id()
    }

    /// The admin's token.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// An address on it.
    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.http_port)
    }

    /// Where it listens for HTTP on 127.0.0.1.
    pub fn http_port(&self) -> u16 {
        self.http_port
    }

    /// The embedded broker, for a device with these credentials.
    pub fn broker(&self, username: &str, password: &str) -> Endpoint {
        Endpoint { port: self.mqtt_port, username: username.into(), password: password.into() }
    }

    /// A request as an admin.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, self.url(path)).bearer_auth(&self.token)
    }

    /// What is answered with this status.
    async fn answer<T: DeserializeOwned>(&self, request: RequestBuilder, expected: StatusCode) -> T {
        let answer = request.send().await.expect("the server answers");
        let (url, status) = (answer.url().clone(), answer.status());
        let text = answer.text().await.expect("the answer is whole");
        assert_eq!(status, expected, "{url}: {text}");
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{url}: {error}: {text}"))
    }

    /// Reads something that is there.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> T {
        self.answer(self.request(Method::GET, path), StatusCode::OK).await
    }

    /// The first page of a list.
    pub async fn list<T: DeserializeOwned>(&self, path: &str) -> Vec<T> {
        self.get::<Page<T>>(path).await.items
    }

    /// Registers a device; how it reaches the embedded broker.
    pub async fn register(&self, id: &str, product: &str) -> Endpoint {
        let id = id.parse().expect("a device's id");
        let device = NewDevice { id, product: Some(product.parse().expect("a product's name")) };
        let request = self.request(Method::POST, "/api/v1/devices").json(&device);
        let registered: RegisteredDevice = self.answer(request, StatusCode::CREATED).await;
        self.broker(&registered.mqtt_username, &registered.mqtt_password)
    }

    /// Publishes a file with `updraft publish`, into production too if wished.
    pub async fn publish(&self, product: &str, version: &str, image: &Path, promote: Promote) {
        let image = image.display().to_string();
        let mut arguments = vec!["publish", &image, "-p", product, "--version", version];
        if promote == Promote::Production {
            arguments.push("--promote");
        }
        Said::by(self.remote(arguments)).await.ok();
    }

    /// A device as the API shows it.
    pub async fn device(&self, id: &str) -> Device {
        self.get(&format!("/api/v1/devices/{id}")).await
    }

    /// Waits until the API shows a device that is as wished.
    pub async fn device_when(&self, id: &str, what: &str, wish: impl Fn(&Device) -> bool) -> Device {
        let path = format!("/api/v1/devices/{id}");
        let last = LastShown::default();
        until(&format!("{id}: {what}"), || async {
            let answer = self.request(Method::GET, &path).send().await.expect("the server answers");
            let text = answer.text().await.expect("the answer is whole");
            let device = serde_json::from_str(&text).ok();
            last.0.replace(text);
            device.filter(&wish)
        })
        .await
    }

    /// Waits until a device is online and runs this version.
    pub async fn device_runs(&self, id: &str, version: &str) -> Device {
        let wish = |device: &Device| device.online && runs(device, version);
        self.device_when(id, &format!("online with {version}"), wish).await
    }

    /// Waits until the newest update of a device is in this state.
    pub async fn update_is(&self, id: &str, state: UpdateState) -> Update {
        let wish = |device: &Device| device.update.as_ref().is_some_and(|update| update.state == state);
        let device = self.device_when(id, &format!("its update is {}", state.as_str()), wish).await;
        device.update.expect("it was wished")
    }

    /// Check update, once.
    pub async fn check(&self, id: &str) -> CheckAnswer {
        self.check_with(id, &CheckRequest::default()).await
    }

    /// The same, in another way.
    pub async fn check_with(&self, id: &str, how: &CheckRequest) -> CheckAnswer {
        let request = self.request(Method::POST, &format!("/api/v1/devices/{id}/check-update"));
        self.answer(request.json(how), StatusCode::OK).await
    }

    /// Check update, which must offer this version.
    pub async fn offer(&self, id: &str, version: &str) -> CheckAnswer {
        offers(self.check(id).await, version)
    }

    /// The same for a device that may be between two connections right now.
    pub async fn offer_soon(&self, id: &str, version: &str) -> CheckAnswer {
        let answer = until(&format!("{id} is offered {version}"), || async {
            Some(self.check(id).await).filter(|answer| answer.decision != "offline")
        })
        .await;
        offers(answer, version)
    }

    /// A device's updates, newest first.
    pub async fn history(&self, id: &str) -> Vec<Update> {
        self.list(&format!("/api/v1/devices/{id}/updates")).await
    }
}

/// Whether a device runs exactly this version.
pub fn runs(device: &Device, version: &str) -> bool {
    device.version.as_deref() == Some(version)
}

fn offers(answer: CheckAnswer, version: &str) -> CheckAnswer {
    let offered = answer.version.as_ref().map(Version::as_str);
    assert_eq!((answer.decision.as_str(), offered), ("offered", Some(version)), "{answer:?}");
    answer
}

/// What the API showed last, for the one who reads why a test failed.
#[derive(Default)]
struct LastShown(RefCell<String>);

impl Drop for LastShown {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("shown last: {}", self.0.borrow());
        }
    }
}

/// Whether what is published goes into production at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Promote {
    /// `--promote`.
    Production,
    /// Published only.
    No,
}

/// A client that asks nobody else's proxy and follows no redirect.
pub fn http_client() -> reqwest::Client {
    // A second call finds the first one's provider; that is the same.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        // The server closes what says nothing for 10 s, maybe just when it is used again.
        .pool_idle_timeout(std::time::Duration::from_secs(5))
        .build()
        .expect("an HTTP client can be made")
}

fn serve(folder: &Path, setup: &Setup) -> Process {
    let mut command = match setup.open_files {
        None => updraft(["serve"]),
        Some(files) => {
            let mut bash = Command::new("bash");
            bash.args(["-c", "ulimit -n \"$1\" && shift && exec \"$@\"", "bash", &files.to_string()]);
            bash.arg(binary()).arg("serve").env("NO_COLOR", "1");
            bash
        }
    };
    command.arg("--config").arg(folder.join("updraft.toml")).current_dir(folder);
    command.envs(setup.env.iter().map(|(name, value)| (name, value)));
    Process::start_read_by(setup.reader, "server", &mut command, folder)
}

fn configuration(setup: &Setup, folder: &Path, http_port: u16, mqtt_port: u16) -> String {
    let public_url = setup.public_url.clone().unwrap_or(format!("http://127.0.0.1:{http_port}"));
    let broker = setup.broker.as_ref().map_or("embedded".to_owned(), Endpoint::url);
    let store = setup.store.clone().unwrap_or(format!("file:{}", folder.join("store").display()));
    let database = database_url(folder);
    format!(
        "[http]\nlisten = \"127.0.0.1:{http_port}\"\npublic_url = \"{public_url}\"\n\
         [mqtt]\nurl = \"{broker}\"\nlisten = \"127.0.0.1:{mqtt_port}\"\n\
         [fleet]\n{}\n[store]\nurl = \"{store}\"\nrefresh_s = 1\n{}\n[database]\nurl = \"{database}\"\n{}",
        setup.fleet, setup.store_settings, setup.more
    )
}
