//! The server's HTTP API, from the command line: JSON with a bearer token, every failure as a sentence, and nothing
//! believed that an Updraft server would not have answered.

use std::collections::BTreeMap;

use anyhow::anyhow;
use api::{GateDecision, Page, PageQuery, Refusal};
use bytes::Bytes;
use indicatif::ProgressBar;
use reqwest::header::CONTENT_LENGTH;
use reqwest::{Method, RequestBuilder, StatusCode};
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};
use url::Url;

use crate::failure::Failure;
use crate::http::{Answer, How, Http, LIMITS, Lost, address};
use crate::oidc::GitHub;
use crate::output::Usage;

/// More pages than any list has.
const PAGES_MAX: usize = 1000;
/// What an answer of the wrong shape, or about something else, came with.
const SOMETHING_ELSE: &str = "with something else than this request's answer";

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

pub(crate) struct ApiClient {
    http: Http,
    server: Url,
    identity: Identity,
}

enum Identity {
    Token(String),
    /// Traded for a token of the product that a request is about, when there is one.
    GitHub(Box<GitHub>),
}

/// What is done when the answer is "later".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Later {
    /// The same is asked again after the time that the answer names. A server names none where the work may go on.
    Wait,
    /// It is said.
    Say,
}

pub(crate) struct Upload<'a> {
    pub(crate) image: &'a Bytes,
    pub(crate) bar: &'a ProgressBar,
}

/// What is read of the OpenAPI document.
#[derive(Deserialize)]
#[expect(clippy::zero_sized_map_values, reason = "as the document has it")]
struct Document {
    paths: BTreeMap<String, IgnoredAny>,
}

/// Made anew for each attempt. Not generic, or all that sends it would be compiled for each request there is.
type Request<'a> = dyn Fn() -> RequestBuilder + 'a;

/// What the gate says of an image without bytes, which is what was asked about.
fn is_about_nothing(answer: &Answer) -> bool {
    serde_json::from_slice::<Refusal>(&answer.body).is_ok_and(|refusal| refusal.judgement.size == 0)
}

impl ApiClient {
    pub(crate) fn new(server: &Url, token: Option<&str>) -> anyhow::Result<Self> {
        // A workflow's secret that does not exist is an empty text.
        let identity = match token.filter(|token| !token.is_empty()) {
            Some(token) => Identity::Token(token.to_owned()),
            None => Identity::GitHub(Box::new(GitHub::of_the_environment()?.ok_or_else(no_token)?)),
        };
        Ok(Self { http: Http::new(LIMITS)?, server: server.clone(), identity })
    }

    /// An address on the server, each part escaped.
    fn url(&self, path: impl IntoIterator<Item = impl AsRef<str>>) -> Url {
        let mut url = self.server.clone();
        url.path_segments_mut().expect("was checked to be a base").pop_if_empty().push("api").extend(path);
        url
    }

    fn request(&self, method: Method, path: &[&str]) -> RequestBuilder {
        self.http.client().request(method, self.url([&["v1"], path].concat()))
    }

    pub(crate) async fn get<T: DeserializeOwned>(
        &self,
        path: &[&str],
        query: &impl Serialize,
    ) -> anyhow::Result<T> {
        let request = || self.request(Method::GET, path).query(query);
        self.read(&self.ask(path, Later::Wait, &request).await?)
    }

    /// Whether the server has this path, such as `/api/v1/products/{}/releases`: `{}` stands for any parameter. Asked of its
    /// own list of paths, since a 404 may also mean that the product is unknown.
    pub(crate) async fn has_path(&self, path: &str) -> anyhow::Result<bool> {
        let answer = self.http.ask(self.http.client().get(self.url(["openapi.json"]))).await;
        let answer = answer.map_err(|lost| Failure::lost(&self.server, &lost))?;
        if let Some(failure) = Failure::redirected(&self.server, &answer) {
            return Err(failure.into());
        }
        let document: Option<Document> =
            serde_json::from_slice(&answer.body).ok().filter(|_| answer.status.is_success());
        let document = document.ok_or_else(|| {
            let server = address(&self.server);
            let sentence = format!("The server at {server} does not say which paths it has.");
            Failure::answered(answer.status, sentence)
        })?;
        let is_it = |known: &String| {
            let mut parts = known.split('/').zip(path.split('/'));
            known.split('/').count() == path.split('/').count()
                && parts.all(|(part, wanted)| part == wanted || (wanted == "{}" && part.starts_with('{')))
        };
        Ok(document.paths.keys().any(is_it))
    }

    /// Every item of a list, page by page.
    pub(crate) async fn list<T: DeserializeOwned>(
        &self,
        path: &[&str],
        query: &impl Serialize,
    ) -> anyhow::Result<Vec<T>> {
        self.pages(Later::Wait, PAGES_MAX, path, query).await
    }

    /// The same of at most so many pages, for who may ask again anyway, and does not want to wait in here.
    pub(crate) async fn pages<T: DeserializeOwned>(
        &self,
        later: Later,
        pages_max: usize,
        path: &[&str],
        query: &impl Serialize,
    ) -> anyhow::Result<Vec<T>> {
        let (mut items, mut at) = (Vec::new(), PageQuery::default());
        for _ in 0..pages_max {
            let request = || self.request(Method::GET, path).query(query).query(&at);
            let page: Page<T> = self.read(&self.ask(path, later, &request).await?)?;
            items.extend(page.items);
            match page.next {
                Some(next) => at.cursor = Some(next),
                None => return Ok(items),
            }
        }
        Err(anyhow!("The server's list has no end."))
    }

    /// Makes something: not asked twice.
    pub(crate) async fn post<T: DeserializeOwned>(
        &self,
        path: &[&str],
        body: &impl Serialize,
    ) -> anyhow::Result<T> {
        let request = || self.request(Method::POST, path).json(body);
        self.read(&self.ask(path, Later::Say, &request).await?)
    }

    /// Sets something, and gets what it is now.
    pub(crate) async fn put<T: DeserializeOwned>(
        &self,
        path: &[&str],
        body: &impl Serialize,
    ) -> anyhow::Result<T> {
        let request = || self.request(Method::PUT, path).json(body);
        self.read(&self.ask(path, Later::Wait, &request).await?)
    }

    /// Changes parts of something, and gets what it is now.
    pub(crate) async fn patch<T: DeserializeOwned>(
        &self,
        path: &[&str],
        body: &impl Serialize,
    ) -> anyhow::Result<T> {
        let request = || self.request(Method::PATCH, path).json(body);
        self.read(&self.ask(path, Later::Wait, &request).await?)
    }

    /// Sets something of which nothing is answered.
    pub(crate) async fn set(&self, path: &[&str], body: &impl Serialize) -> anyhow::Result<()> {
        let request = || self.request(Method::PUT, path).json(body);
        self.nothing(&self.ask(path, Later::Wait, &request).await?)
    }

    pub(crate) async fn delete(&self, path: &[&str]) -> anyhow::Result<()> {
        let request = || self.request(Method::DELETE, path);
        self.nothing(&self.ask(path, Later::Wait, &request).await?)
    }

    /// Sends an image, of which the gate may think what it will: a refusal is an answer, with all that was found.
    pub(crate) async fn upload<T: DeserializeOwned>(
        &self,
        path: &[&str],
        query: &impl Serialize,
        upload: &Upload<'_>,
    ) -> anyhow::Result<Result<T, Refusal>> {
        let request = || self.request(Method::POST, path).query(query);
        let answer = self.answer(path, Later::Wait, &request, Some(upload)).await?;
        if answer.status.is_client_error()
            && let Ok(refusal) = serde_json::from_slice::<Refusal>(&answer.body)
            && refusal.judgement.decision == GateDecision::Refused
        {
            return Ok(Err(refusal));
        }
        self.read(&self.succeeded(answer)?).map(Ok)
    }

    /// Refuses an answer that is not about what was asked.
    pub(crate) fn require(&self, is_about_it: bool) -> anyhow::Result<()> {
        if is_about_it { Ok(()) } else { Err(Failure::of_another(&self.server, SOMETHING_ELSE).into()) }
    }

    async fn ask(&self, path: &[&str], later: Later, request: &Request<'_>) -> anyhow::Result<Answer> {
        self.succeeded(self.answer(path, later, request, None).await?)
    }

    /// What is answered. A job's token may end sooner than its clock says; the next one is traded for.
    async fn answer(
        &self,
        path: &[&str],
        later: Later,
        request: &Request<'_>,
        upload: Option<&Upload<'_>>,
    ) -> anyhow::Result<Answer> {
        let answer = self.answer_to_token(path, later, request, upload).await?;
        match &self.identity {
            Identity::GitHub(job) if answer.status == StatusCode::UNAUTHORIZED => {
                job.forget().await;
                self.answer_to_token(path, later, request, upload).await
            }
            _ => Ok(answer),
        }
    }

    async fn answer_to_token(
        &self,
        path: &[&str],
        later: Later,
        request: &Request<'_>,
        upload: Option<&Upload<'_>>,
    ) -> anyhow::Result<Answer> {
        let token = match (&self.identity, path) {
            (Identity::Token(token), _) => token.clone(),
            (Identity::GitHub(job), ["products", product, ..]) => {
                job.token(&self.http, &self.server, product).await?
            }
            (Identity::GitHub(_), _) => return Err(no_token().into()),
        };
        let once = async || {
            let request = request().bearer_auth(&token);
            match upload {
                Some(upload) => self.answer_to_image(request, upload).await,
                None => self.http.ask(request).await,
            }
        };
        let answer = match later {
            Later::Wait => self.http.with_retries(once).await,
            Later::Say => once().await,
        };
        Ok(answer.map_err(|lost| Failure::lost(&self.server, &lost))?)
    }

    /// Who refuses an image before it is sent whole, and closes, has the answer lost on its way. It is asked for once more,
    /// without the image, which no server takes for one.
    async fn answer_to_image(&self, request: RequestBuilder, upload: &Upload<'_>) -> Result<Answer, Lost> {
        let bare = request.try_clone().map(|request| request.header(CONTENT_LENGTH, 0));
        let answer = self.http.send(request, upload.image, upload.bar).await;
        match (answer, bare) {
            (Err(lost), Some(bare)) if lost.how == How::Broken => match self.http.ask(bare).await {
                Ok(why)
                    if why.is_page()
                        || !(why.status.is_success()
                            || why.status == StatusCode::BAD_REQUEST
                            || is_about_nothing(&why)) =>
                {
                    Ok(why)
                }
                _ => Err(lost),
            },
            (answer, _) => answer,
        }
    }

    fn succeeded(&self, answer: Answer) -> anyhow::Result<Answer> {
        if answer.status.is_success() {
            return Ok(answer);
        }
        if let Some(failure) = Failure::redirected(&self.server, &answer) {
            return Err(failure.into());
        }
        let (server, status) = (address(&self.server), answer.status);
        let sentence = match (status, answer.detail()) {
            (StatusCode::UNAUTHORIZED, Some(detail)) => {
                format!("The server at {server} does not take this token: {detail}")
            }
            (_, Some(detail)) => detail,
            (StatusCode::UNAUTHORIZED, None) if !answer.is_page() => {
                format!("The server at {server} does not know this token, or it has ended.")
            }
            // A proxy says so of a server that is down.
            (_, None) if answer.is_page() && !status.is_server_error() => {
                Failure::not_updraft(&self.server, &answer, "").sentence
            }
            (_, None) => format!("The server at {server} answered {status}."),
        };
        Err(Failure::answered(status, sentence).into())
    }

    /// What an answer says, if it has the shape that was to be expected.
    fn read<T: DeserializeOwned>(&self, answer: &Answer) -> anyhow::Result<T> {
        serde_json::from_slice(&answer.body).map_err(|_| self.something_else(answer))
    }

    /// That there is nothing in an answer, and that it says so.
    fn nothing(&self, answer: &Answer) -> anyhow::Result<()> {
        if answer.status == StatusCode::NO_CONTENT { Ok(()) } else { Err(self.something_else(answer)) }
    }

    fn something_else(&self, answer: &Answer) -> anyhow::Error {
        Failure::not_updraft(&self.server, answer, SOMETHING_ELSE).into()
    }
}

fn no_token() -> Usage {
    Usage("A token is needed: --token T or UPDRAFT_TOKEN. `updraft token new NAME` makes one where the server's configuration is.".into())
}

#[cfg(test)]
mod tests;
