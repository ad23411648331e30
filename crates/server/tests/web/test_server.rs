//! A server of a test's own, and the people who call it.

use std::time::Duration;

use image::{Chip, build::Build};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use serde_json::Value;
use tempfile::TempDir;
use updraft_server::access::Role;
use updraft_server::actor::Actor;
use updraft_server::config::Config;
use updraft_server::run::{self, Running, StartOptions};

use crate::database::database_url;

/// Longer than anything takes here.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(20);

pub(crate) struct TestServer {
    pub(crate) running: Running,
    pub(crate) folder: TempDir,
    pub(crate) base: String,
    client: Client,
}

/// Somebody with credentials, or without.
#[derive(Clone)]
pub(crate) struct Somebody<'a> {
    server: &'a TestServer,
    token: Option<String>,
}

impl TestServer {
    pub(crate) async fn open() -> Self {
        Self::open_with("").await
    }

    /// A server with this much configuration more.
    pub(crate) async fn open_with(http: &str) -> Self {
        Self::configured(http, "").await
    }

    /// A server with more sections.
    pub(crate) async fn open_with_end(sections: &str) -> Self {
        Self::configured("", sections).await
    }

    /// The same server, started again with other sections.
    pub(crate) async fn restarted_with_end(self, sections: &str) -> Self {
        self.running.stop().await.unwrap();
        Self::begun(self.folder, "", sections).await
    }

    /// Both.
    pub(crate) async fn configured(http: &str, sections: &str) -> Self {
        Self::begun(TempDir::new().unwrap(), http, sections).await
    }

    async fn begun(folder: TempDir, http: &str, sections: &str) -> Self {
        // A second test in this process finds it installed.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let at = folder.path().display();
        let database = database_url(folder.path());
        let text = format!(
            "[http]\nlisten = \"127.0.0.1:0\"\n{http}\n[mqtt]\nlisten = \"127.0.0.1:0\"\n[store]\nurl = \"file:{at}/store\"\n\
             [database]\nurl = \"{database}\"\n{sections}"
        );
        let config = Config::parse("test.toml", &text, []).unwrap();
        let options = StartOptions { login_link: Some(Duration::from_mins(10)) };
        let running = run::start(config, options).await.unwrap();
        let base = format!("http://{}", running.http_addr());
        let client =
            Client::builder().redirect(reqwest::redirect::Policy::none()).timeout(TIMEOUT).build().unwrap();
        let server = Self { running, folder, base, client };
        server
            .until("/readyz answers 200", async || server.nobody().get("/readyz").await.status() == 200)
            .await;
        server
    }

    pub(crate) fn nobody(&self) -> Somebody<'_> {
        Somebody { server: self, token: None }
    }

    /// Somebody with this token.
    pub(crate) fn somebody(&self, token: &str) -> Somebody<'_> {
        Somebody { server: self, token: Some(token.to_owned()) }
    }

    /// Somebody with an API token of this role.
    pub(crate) async fn actor(&self, role: Role) -> Somebody<'_> {
        let name = format!("a {}", role.as_str());
        let token =
            self.running.services().access.create_token(&Actor::SERVER, &name, role, None).await.unwrap();
        Somebody { server: self, token: Some(token) }
    }

    /// The session cookie that the login link gives, as a browser sends it back.
    pub(crate) async fn session(&self) -> String {
        let link = self.running.login_link().unwrap();
        let click = self.nobody().request(Method::POST, link.path());
        let click = click.header("content-type", "application/x-www-form-urlencoded");
        let answer = click.body(link.query().unwrap().to_owned()).send().await.unwrap();
        assert_eq!(answer.status(), 303);
        cookie(&answer)
    }

    pub(crate) async fn until(&self, what: &str, mut holds: impl AsyncFnMut() -> bool) {
        let begun = std::time::Instant::now();
        while !holds().await {
            assert!(begun.elapsed() < TIMEOUT, "never: {what}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Somebody<'_> {
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.server.client.request(method, format!("{}{path}", self.server.base));
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Response {
        self.request(Method::GET, path).send().await.unwrap()
    }

    pub(crate) async fn json(&self, method: Method, path: &str, body: &Value) -> Response {
        self.request(method, path).json(body).send().await.unwrap()
    }

    pub(crate) async fn publish(&self, query: &str, image: Vec<u8>) -> Response {
        self.request(Method::POST, &format!("/api/v1/products/lamp/releases?{query}"))
            .body(image)
            .send()
            .await
            .unwrap()
    }
}

/// The first cookie that an answer sets.
pub(crate) fn cookie(answer: &Response) -> String {
    answer.headers()["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned()
}

/// An image that every check accepts.
pub(crate) fn image(version: &str) -> Vec<u8> {
    Build::new(Chip::Esp32S3, version).bytes()
}

/// Asserts an RFC 9457 document of this status, and gives its sentence.
pub(crate) async fn problem(answer: Response, status: StatusCode) -> String {
    let (url, got) = (answer.url().path().to_owned(), answer.status());
    let kind = answer.headers().get("content-type").map(|kind| kind.to_str().unwrap().to_owned());
    let text = answer.text().await.unwrap();
    assert_eq!(got, status, "{url}: {text}");
    assert_eq!(kind.as_deref(), Some("application/problem+json"), "{url}: {text}");
    let problem: ::api::Problem = serde_json::from_str(&text).unwrap();
    assert_eq!((problem.kind.as_str(), problem.status), ("about:blank", status.as_u16()));
    assert!(!problem.title.is_empty());
    assert!(problem.detail.len() > 10, "a sentence: {text}");
    problem.detail
}
