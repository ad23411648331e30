//! The server's HTTP API, from the command line: JSON with a bearer token, and every failure as a sentence.

use std::error::Error as _;

use anyhow::{Context, anyhow};
use reqwest::{Body, Method, Response, StatusCode};
use serde::Deserialize;
use serde_json::Value;
use url::Url;

use crate::oidc::GitHub;
use crate::output::Usage;

/// The longest answer that is read: a page of a list is far below.
const ANSWER_MAX_BYTES: usize = 8 * 1024 * 1024;

/// The sentence of a request that failed, and what tells whether asking again may help.
#[derive(Debug, thiserror::Error)]
#[error("{sentence}")]
pub(crate) struct Failure {
    /// `None`: nobody answered, or what answered was no Updraft server.
    pub(crate) status: Option<StatusCode>,
    pub(crate) sentence: String,
}

impl Failure {
    pub(crate) fn unanswered(sentence: impl Into<String>) -> Self {
        Self { status: None, sentence: sentence.into() }
    }

    pub(crate) fn answered(status: StatusCode, sentence: impl Into<String>) -> Self {
        Self { status: Some(status), sentence: sentence.into() }
    }

    /// Whether the same request may be answered later.
    pub(crate) fn may_pass(&self) -> bool {
        self.status.is_none_or(|status| {
            status.is_server_error()
                || matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS)
        })
    }
}

/// Which server, and who asks.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ServerArgs {
    /// The server
    #[arg(
        long,
        value_name = "URL",
        env = "UPDRAFT_SERVER",
        default_value = "http://127.0.0.1:8080",
        value_parser = server_url
    )]
    server: Url,
    /// An access token; `updraft token new` makes one
    #[arg(long, value_name = "T", env = "UPDRAFT_TOKEN", hide_env_values = true)]
    token: Option<String>,
}

impl ServerArgs {
    pub(crate) fn client(&self) -> anyhow::Result<ApiClient> {
        ApiClient::new(&self.server, self.token.as_deref())
    }
}

/// A server's address, as a person types it.
pub(crate) fn server_url(text: &str) -> Result<Url, String> {
    let url = text.parse::<Url>().ok();
    url.filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
        .ok_or_else(|| "a server's address is like http://127.0.0.1:8080".to_owned())
}

/// One server, and who asks.
pub(crate) struct ApiClient {
    http: reqwest::Client,
    server: Url,
    identity: Identity,
}

enum Identity {
    Token(String),
    /// Traded for a token of the product that a request is about, when there is one.
    GitHub(GitHub),
}

#[derive(Deserialize)]
struct Problem {
    detail: Option<String>,
}

impl ApiClient {
    pub(crate) fn new(server: &Url, token: Option<&str>) -> anyhow::Result<Self> {
        // A workflow's secret that does not exist is an empty text.
        let identity = match token.filter(|token| !token.is_empty()) {
            Some(token) => Identity::Token(token.to_owned()),
            None => Identity::GitHub(GitHub::of_the_environment()?.ok_or_else(no_token)?),
        };
        let http = reqwest::Client::builder()
            .connect_timeout(std::time::Duration::from_secs(5))
            .read_timeout(std::time::Duration::from_secs(90))
            .build()
            .context("cannot make an HTTP client")?;
        Ok(Self { http, server: server.clone(), identity })
    }

    /// The address of an API path, each part escaped.
    fn url(&self, path: &[&str], query: &[(&str, &str)]) -> Url {
        let mut url = self.server.clone();
        url.path_segments_mut()
            .expect("was checked to be a base")
            .pop_if_empty()
            .extend(["api", "v1"])
            .extend(path);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        url
    }

    pub(crate) async fn get(&self, path: &[&str], query: &[(&str, &str)]) -> anyhow::Result<Value> {
        let request = || self.http.request(Method::GET, self.url(path, query));
        let answer = self.send(path, request()).await;
        // A job's token may end sooner than its clock says; the next one is traded for.
        if let Identity::GitHub(job) = &self.identity
            && answer.as_ref().is_err_and(|error| status(error) == Some(StatusCode::UNAUTHORIZED))
        {
            job.forget().await;
            return self.send(path, request()).await;
        }
        answer
    }

    /// Whether the server has this path, such as `/api/v1/products/{}/releases`: `{}` stands for any parameter. Asked of its
    /// own list of paths, since a 404 may also mean that the product is unknown.
    pub(crate) async fn has_path(&self, path: &str) -> anyhow::Result<bool> {
        let mut url = self.server.clone();
        url.path_segments_mut()
            .expect("was checked to be a base")
            .pop_if_empty()
            .extend(["api", "openapi.json"]);
        let (status, body) = self.read(self.http.get(url)).await?;
        let document: Option<Value> = serde_json::from_slice(&body).ok().filter(|_| status.is_success());
        let paths = document.as_ref().and_then(|document| document["paths"].as_object());
        let paths = paths.ok_or_else(|| {
            Failure::answered(
                status,
                format!("The server at {} does not say which paths it has.", self.server),
            )
        })?;
        let is_it = |known: &String| {
            let mut parts = known.split('/').zip(path.split('/'));
            known.split('/').count() == path.split('/').count()
                && parts.all(|(part, wanted)| part == wanted || (wanted == "{}" && part.starts_with('{')))
        };
        Ok(paths.keys().any(is_it))
    }

    /// Every item of a list, page by page.
    pub(crate) async fn list(&self, path: &[&str], query: &[(&str, &str)]) -> anyhow::Result<Vec<Value>> {
        let mut items = Vec::new();
        let mut cursor: Option<String> = None;
        loop {
            let mut query = query.to_vec();
            query.extend(cursor.as_deref().map(|cursor| ("cursor", cursor)));
            let mut page = self.get(path, &query).await?;
            match page.get_mut("items").map(Value::take) {
                Some(Value::Array(more)) => items.extend(more),
                _ => return Err(anyhow!("The server's answer is not a list.")),
            }
            match page["next"].as_str() {
                Some(next) => cursor = Some(next.to_owned()),
                None => return Ok(items),
            }
        }
    }

    pub(crate) async fn post(&self, path: &[&str], body: &Value) -> anyhow::Result<Value> {
        self.send(path, self.http.request(Method::POST, self.url(path, &[])).json(body)).await
    }

    pub(crate) async fn put(&self, path: &[&str], body: &Value) -> anyhow::Result<Value> {
        self.send(path, self.http.request(Method::PUT, self.url(path, &[])).json(body)).await
    }

    pub(crate) async fn delete(&self, path: &[&str]) -> anyhow::Result<Value> {
        self.send(path, self.http.request(Method::DELETE, self.url(path, &[]))).await
    }

    /// Sends a file.
    pub(crate) async fn upload(
        &self,
        path: &[&str],
        query: &[(&str, &str)],
        size: usize,
        body: Body,
    ) -> anyhow::Result<Value> {
        let request = self.http.request(Method::POST, self.url(path, query));
        let request =
            request.header("content-type", "application/octet-stream").header("content-length", size);
        self.send(path, request.body(body)).await
    }

    async fn send(&self, path: &[&str], request: reqwest::RequestBuilder) -> anyhow::Result<Value> {
        let token = match (&self.identity, path) {
            (Identity::Token(token), _) => token.clone(),
            (Identity::GitHub(job), ["products", product, ..]) => job.token(&self.server, product).await?,
            (Identity::GitHub(_), _) => return Err(no_token().into()),
        };
        let (status, body) = self.read(request.bearer_auth(token)).await?;
        if status.is_success() {
            return if body.is_empty() {
                Ok(Value::Null)
            } else {
                serde_json::from_slice(&body)
                    .map_err(|_| Failure::unanswered("The server's answer is not JSON.").into())
            };
        }
        // What the gate refuses is an answer, with all that it found.
        if let Some(answer) =
            serde_json::from_slice::<Value>(&body).ok().filter(|body| body["decision"] == "refused")
        {
            return Ok(answer);
        }
        let detail = serde_json::from_slice::<Problem>(&body).ok().and_then(|problem| problem.detail);
        let sentence = match (status, detail) {
            (StatusCode::UNAUTHORIZED, _) => {
                "The server does not know this token, or it has ended.".to_owned()
            }
            (_, Some(detail)) => detail,
            (status, None) => format!("The server at {} answered {status}.", self.server),
        };
        Err(Failure::answered(status, sentence).into())
    }

    /// Status and body.
    async fn read(&self, request: reqwest::RequestBuilder) -> Result<(StatusCode, Vec<u8>), Failure> {
        let mut answer: Response = request.send().await.map_err(|error| self.unreachable(&error))?;
        let mut body = Vec::new();
        while let Some(piece) = answer.chunk().await.map_err(|error| self.unreachable(&error))? {
            body.extend_from_slice(&piece);
            if body.len() > ANSWER_MAX_BYTES {
                return Err(Failure::unanswered(format!(
                    "The answer of the server at {} is longer than {} MiB.",
                    self.server,
                    ANSWER_MAX_BYTES / 1024 / 1024
                )));
            }
        }
        Ok((answer.status(), body))
    }

    fn unreachable(&self, error: &reqwest::Error) -> Failure {
        let cause = std::iter::successors(error.source(), |error| (*error).source()).last();
        let cause = cause.map_or_else(String::new, |cause| format!(" ({cause})"));
        Failure::unanswered(format!(
            "The server at {} does not answer{cause}. Is it running? --server says where.",
            self.server
        ))
    }
}

/// What the server answered, if that is why it failed.
pub(crate) fn status(error: &anyhow::Error) -> Option<StatusCode> {
    error.chain().find_map(|cause| cause.downcast_ref::<Failure>())?.status
}

fn no_token() -> Usage {
    Usage("A token is needed: --token T or UPDRAFT_TOKEN. `updraft token new NAME` makes one where the server's configuration is.".into())
}
