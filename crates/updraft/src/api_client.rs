//! The server's HTTP API, from the command line: JSON with a bearer token, every failure as a sentence, and nothing
//! believed that an Updraft server would not have answered.

use anyhow::anyhow;
use bytes::Bytes;
use indicatif::ProgressBar;
use reqwest::header::CONTENT_LENGTH;
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::Value;
use url::Url;

use crate::http::{Answer, How, Http, LIMITS, Limits, Lost, address};
use crate::oidc::GitHub;
use crate::output::Usage;

/// More pages than any list has.
const PAGES_MAX: usize = 1000;

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

    /// Nobody answered who should have.
    pub(crate) fn lost(server: &Url, lost: &Lost) -> Self {
        let server = address(server);
        Self::unanswered(match lost.how {
            How::Unreachable => {
                format!(
                    "The server at {server} does not answer ({lost}). Is it running? --server says where."
                )
            }
            How::Broken => format!(
                "What is at {server} ended the connection without an answer ({lost}). If that is the server, run the same \
                 command again; --server says where it is."
            ),
            How::Endless => format!("The server at {server} did not answer: {lost}."),
        })
    }

    /// Somebody else answered.
    pub(crate) fn stranger(server: &Url, answer: &Answer, what: &str) -> Self {
        let (server, status) = (address(server), answer.status);
        let what = if answer.is_page() { "with a page for browsers" } else { what };
        Self::unanswered(format!(
            "What answers at {server} is not an Updraft server: it answered {status} {what}. Put the server's own \
             address into --server, and see whether a proxy or a login stands before it."
        ))
    }

    /// The answer is a redirect.
    pub(crate) fn redirected(server: &Url, answer: &Answer) -> Option<Self> {
        let (to, server) = (answer.redirect(server)?, address(server));
        Some(Self::answered(
            answer.status,
            format!(
                "What answers at {server} redirects to {to}. That is not followed, since the token would go there too: put \
                 the server's real address into --server."
            ),
        ))
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
    http: Http,
    server: Url,
    identity: Identity,
}

enum Identity {
    Token(String),
    /// Traded for a token of the product that a request is about, when there is one.
    GitHub(GitHub),
}

/// What is done when the answer is "later".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Later {
    /// The same is asked again after the time that the answer names. A server names none where the work may go on.
    Wait,
    /// It is said.
    Say,
}

/// The image that a request brings.
pub(crate) struct Upload<'a> {
    pub(crate) image: &'a Bytes,
    pub(crate) bar: &'a ProgressBar,
}

impl ApiClient {
    pub(crate) fn new(server: &Url, token: Option<&str>) -> anyhow::Result<Self> {
        Self::with(server, token, LIMITS)
    }

    fn with(server: &Url, token: Option<&str>, limits: Limits) -> anyhow::Result<Self> {
        // A workflow's secret that does not exist is an empty text.
        let identity = match token.filter(|token| !token.is_empty()) {
            Some(token) => Identity::Token(token.to_owned()),
            None => Identity::GitHub(GitHub::of_the_environment()?.ok_or_else(no_token)?),
        };
        Ok(Self { http: Http::new(limits)?, server: server.clone(), identity })
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

    fn request(&self, method: Method, path: &[&str], query: &[(&str, &str)]) -> RequestBuilder {
        self.http.client().request(method, self.url(path, query))
    }

    /// An object for which `is` holds.
    pub(crate) async fn get(
        &self,
        path: &[&str],
        query: &[(&str, &str)],
        is: impl Fn(&Value) -> bool,
    ) -> anyhow::Result<Value> {
        self.get_or(Later::Wait, path, query, is).await
    }

    /// The same for who asks again anyway, and does not want to wait in here.
    pub(crate) async fn look(
        &self,
        path: &[&str],
        query: &[(&str, &str)],
        is: impl Fn(&Value) -> bool,
    ) -> anyhow::Result<Value> {
        self.get_or(Later::Say, path, query, is).await
    }

    async fn get_or(
        &self,
        later: Later,
        path: &[&str],
        query: &[(&str, &str)],
        is: impl Fn(&Value) -> bool,
    ) -> anyhow::Result<Value> {
        let answer = self.ask(path, later, || self.request(Method::GET, path, query), None).await?;
        self.object(&answer, is)
    }

    /// Whether the server has this path, such as `/api/v1/products/{}/releases`: `{}` stands for any parameter. Asked of its
    /// own list of paths, since a 404 may also mean that the product is unknown.
    pub(crate) async fn has_path(&self, path: &str) -> anyhow::Result<bool> {
        let mut url = self.server.clone();
        url.path_segments_mut()
            .expect("was checked to be a base")
            .pop_if_empty()
            .extend(["api", "openapi.json"]);
        let answer = self.http.ask(self.http.client().get(url)).await;
        let answer = answer.map_err(|lost| Failure::lost(&self.server, &lost))?;
        if let Some(failure) = Failure::redirected(&self.server, &answer) {
            return Err(failure.into());
        }
        let document: Option<Value> =
            serde_json::from_slice(&answer.body).ok().filter(|_| answer.status.is_success());
        let paths = document.as_ref().and_then(|document| document["paths"].as_object());
        let paths = paths.ok_or_else(|| {
            let server = address(&self.server);
            let sentence = format!("The server at {server} does not say which paths it has.");
            Failure::answered(answer.status, sentence)
        })?;
        let is_it = |known: &String| {
            let mut parts = known.split('/').zip(path.split('/'));
            known.split('/').count() == path.split('/').count()
                && parts.all(|(part, wanted)| part == wanted || (wanted == "{}" && part.starts_with('{')))
        };
        Ok(paths.keys().any(is_it))
    }

    /// Every item of a list, page by page, each of which `is` what it should be.
    pub(crate) async fn list(
        &self,
        path: &[&str],
        query: &[(&str, &str)],
        is: impl Fn(&Value) -> bool,
    ) -> anyhow::Result<Vec<Value>> {
        let is_page = |page: &Value| page["items"].as_array().is_some_and(|items| items.iter().all(&is));
        let mut items = Vec::new();
        let mut cursor: Option<String> = None;
        for _ in 0..PAGES_MAX {
            let mut query = query.to_vec();
            query.extend(cursor.as_deref().map(|cursor| ("cursor", cursor)));
            let mut page = self.get(path, &query, is_page).await?;
            if let Value::Array(more) = page["items"].take() {
                items.extend(more);
            }
            match page["next"].as_str() {
                Some(next) => cursor = Some(next.to_owned()),
                None => return Ok(items),
            }
        }
        Err(anyhow!("The server's list has no end."))
    }

    /// Makes something: not asked twice.
    pub(crate) async fn post(
        &self,
        path: &[&str],
        body: &Value,
        is: impl Fn(&Value) -> bool,
    ) -> anyhow::Result<Value> {
        let request = || self.request(Method::POST, path, &[]).json(body);
        self.object(&self.ask(path, Later::Say, request, None).await?, is)
    }

    /// Sets something, and gets what it is now.
    pub(crate) async fn put(
        &self,
        path: &[&str],
        body: &Value,
        is: impl Fn(&Value) -> bool,
    ) -> anyhow::Result<Value> {
        let request = || self.request(Method::PUT, path, &[]).json(body);
        self.object(&self.ask(path, Later::Wait, request, None).await?, is)
    }

    /// Sets something of which nothing is answered.
    pub(crate) async fn set(&self, path: &[&str], body: &Value) -> anyhow::Result<()> {
        let request = || self.request(Method::PUT, path, &[]).json(body);
        self.nothing(&self.ask(path, Later::Wait, request, None).await?)
    }

    pub(crate) async fn delete(&self, path: &[&str]) -> anyhow::Result<()> {
        let request = || self.request(Method::DELETE, path, &[]);
        self.nothing(&self.ask(path, Later::Wait, request, None).await?)
    }

    /// Sends an image, of which the gate may think what it will: a refusal is an answer, with all that was found.
    pub(crate) async fn upload(
        &self,
        path: &[&str],
        query: &[(&str, &str)],
        upload: &Upload<'_>,
        is: impl Fn(&Value) -> bool,
    ) -> anyhow::Result<Value> {
        let request = || self.request(Method::POST, path, query);
        let answer = self.answer(path, Later::Wait, request, Some(upload)).await?;
        if answer.status.is_client_error()
            && let Ok(refusal) = serde_json::from_slice::<Value>(&answer.body)
            && refusal["decision"] == "refused"
        {
            return if is(&refusal) { Ok(refusal) } else { Err(self.strange(&answer)) };
        }
        self.object(&self.succeeded(answer)?, is)
    }

    async fn ask(
        &self,
        path: &[&str],
        later: Later,
        request: impl Fn() -> RequestBuilder,
        upload: Option<&Upload<'_>>,
    ) -> anyhow::Result<Answer> {
        self.succeeded(self.answer(path, later, request, upload).await?)
    }

    /// What is answered. A job's token may end sooner than its clock says; the next one is traded for.
    async fn answer(
        &self,
        path: &[&str],
        later: Later,
        request: impl Fn() -> RequestBuilder,
        upload: Option<&Upload<'_>>,
    ) -> anyhow::Result<Answer> {
        let answer = self.answer_to_token(path, later, &request, upload).await?;
        match &self.identity {
            Identity::GitHub(job) if answer.status == StatusCode::UNAUTHORIZED => {
                job.forget().await;
                self.answer_to_token(path, later, &request, upload).await
            }
            _ => Ok(answer),
        }
    }

    async fn answer_to_token(
        &self,
        path: &[&str],
        later: Later,
        request: &impl Fn() -> RequestBuilder,
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
            Later::Wait => self.http.patiently(once).await,
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
                        || !(why.status.is_success() || why.status == StatusCode::BAD_REQUEST) =>
                {
                    Ok(why)
                }
                _ => Err(lost),
            },
            (answer, _) => answer,
        }
    }

    /// The answer, if it is a success.
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
                let stranger = Failure::stranger(&self.server, &answer, "");
                return Err(Failure::answered(status, stranger.sentence).into());
            }
            (_, None) => format!("The server at {server} answered {status}."),
        };
        Err(Failure::answered(status, sentence).into())
    }

    /// The object in an answer, if it is one that was to be expected.
    fn object(&self, answer: &Answer, is: impl Fn(&Value) -> bool) -> anyhow::Result<Value> {
        let object: Option<Value> = serde_json::from_slice(&answer.body).ok();
        object.filter(|object| object.is_object() && is(object)).ok_or_else(|| self.strange(answer))
    }

    /// That there is nothing in an answer, and that it says so.
    fn nothing(&self, answer: &Answer) -> anyhow::Result<()> {
        if answer.status == StatusCode::NO_CONTENT { Ok(()) } else { Err(self.strange(answer)) }
    }

    fn strange(&self, answer: &Answer) -> anyhow::Error {
        let what = "with something else than this request's answer";
        Failure::stranger(&self.server, answer, what).into()
    }
}

/// What the server answered, if that is why it failed.
pub(crate) fn status(error: &anyhow::Error) -> Option<StatusCode> {
    error.chain().find_map(|cause| cause.downcast_ref::<Failure>())?.status
}

fn no_token() -> Usage {
    Usage("A token is needed: --token T or UPDRAFT_TOKEN. `updraft token new NAME` makes one where the server's configuration is.".into())
}

#[cfg(test)]
mod tests;
