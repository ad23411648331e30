//! A bucket behind a real S3 API (moto), and the program of somebody else that fills it.
use std::path::Path;
use std::process::Command;

use reqwest::{Client, Method, Response, StatusCode};
use tempfile::TempDir;

use crate::beside;
use crate::command::Said;
use crate::process::{Process, free_port};
use crate::server::http_client;
use crate::wait::until;

const NAME: &str = "sds-pawan-testing";
const REGION: &str = "ap-south-1";

/// A running S3 server with one empty bucket.
#[derive(Debug)]
pub struct Bucket {
    port: u16,
    process: Process,
    http: Client,
    _folder: TempDir,
}

impl Bucket {
    /// Returns once the bucket is there.
    pub async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let port = free_port();
        let mut command = Command::new("moto_server");
        command.args(["-H", "127.0.0.1", "-p", &port.to_string()]);
        let process = Process::start("moto", &mut command, folder.path());
        let (http, url) = (http_client(), format!("http://127.0.0.1:{port}/"));
        until("the S3 server answers", || async { http.get(&url).send().await.ok() }).await;
        let bucket = Self { port, process, http, _folder: folder };
        bucket.run("make", &[]).await;
        bucket
    }

    /// As `store.url` names it.
    pub fn url(&self) -> String {
        self.url_through(self.port)
    }

    /// The same, reached through another port (of a [`crate::proxy::Proxy`]).
    pub fn url_through(&self, port: u16) -> String {
        format!("s3://{NAME}?region={REGION}&endpoint=http://127.0.0.1:{port}&path_style=true")
    }

    /// The S3 server's port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// A client that has reached it already: to make another costs more than most requests.
    pub fn http(&self) -> &Client {
        &self.http
    }

    /// What was asked so far, as `GET /bucket/key?query 200`, oldest first.
    pub fn requests(&self) -> Vec<String> {
        // What is not answered with 200 is coloured.
        let log = self.process.log().replace("\x1b[", "\x1b");
        let asked = log.lines().filter_map(|line| {
            let (_, rest) = line.split_once("] \"")?;
            let (request, rest) = rest.split_once(" HTTP/1.1")?;
            let status = rest.split_once("\" ")?.1.split(' ').next()?;
            let request = request.rsplit_once('\x1b').map_or(request, |(_, coloured)| {
                coloured.split_once('m').map_or(coloured, |(_, plain)| plain)
            });
            Some(format!("{request} {status}"))
        });
        asked.collect()
    }

    /// The credentials, as the environment carries them.
    pub fn env(&self) -> Vec<(String, String)> {
        [
            ("AWS_ACCESS_KEY_ID", "e2e"),
            ("AWS_SECRET_ACCESS_KEY", "e2e-secret"),
            ("AWS_DEFAULT_REGION", REGION),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec()
    }

    /// Another program deploys a version: `releases/v{version}/`, then `production/`.
    pub async fn deploy(&self, product: &str, version: &str, image: &Path) {
        self.run("deploy", &[product, version, &image.display().to_string()]).await;
    }

    /// Another program replaces what is in production, and writes no release.
    pub async fn replace_production(&self, product: &str, version: &str, image: &Path) {
        self.run("replace-production", &[product, version, &image.display().to_string()]).await;
    }

    /// Another program writes an object's text.
    pub async fn put_text(&self, key: &str, text: &str) {
        self.run("put-text", &[key, text]).await;
    }

    /// An object, as any S3 client gets it; `None` if there is none. A 500 is asked again: moto answers so when the object is
    /// replaced while it reads it.
    pub async fn get(&self, key: &str) -> Option<Vec<u8>> {
        let mut answer = self.ask(Method::GET, key, Vec::new()).await;
        for _ in 0..5 {
            if answer.status() == StatusCode::INTERNAL_SERVER_ERROR {
                answer = self.ask(Method::GET, key, Vec::new()).await;
            }
        }
        if answer.status() == StatusCode::NOT_FOUND {
            return None;
        }
        assert_eq!(answer.status(), StatusCode::OK, "GET {key}");
        Some(answer.bytes().await.expect("the object is whole").to_vec())
    }

    /// Writes an object, without another program: where there are hundreds to write.
    pub async fn put(&self, key: &str, bytes: Vec<u8>) {
        let answer = self.ask(Method::PUT, key, bytes).await;
        assert_eq!(answer.status(), StatusCode::OK, "PUT {key}");
    }

    /// Removes an object.
    pub async fn delete(&self, key: &str) {
        let answer = self.ask(Method::DELETE, key, Vec::new()).await;
        assert_eq!(answer.status(), StatusCode::NO_CONTENT, "DELETE {key}");
    }

    async fn ask(&self, method: Method, key: &str, body: Vec<u8>) -> Response {
        let url = format!("http://127.0.0.1:{}/{NAME}/{key}", self.port);
        // Somebody must sign; this server does not look how.
        let sign = "AWS4-HMAC-SHA256 Credential=e2e/20260101/ap-south-1/s3/aws4_request, SignedHeaders=host, Signature=0";
        let request = self.http.request(method, url).header("authorization", sign).body(body);
        request.send().await.expect("the S3 server answers")
    }

    async fn run(&self, what: &str, arguments: &[&str]) {
        let mut command = Command::new("python3");
        command.arg(beside("bucket.py")).args([&format!("http://127.0.0.1:{}", self.port), NAME, what]);
        command.args(arguments).envs(self.env());
        Said::by(command).await.ok();
    }
}
