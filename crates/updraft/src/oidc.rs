//! GitHub Actions as the identity: a job's own OIDC token is traded for a server's short-lived one, so that no secret is
//! kept anywhere.
//!
//! The audience is always the address that the person gave as the server's. A server is never asked which audience it
//! would like: it could name another server, and then use the job's token there.

use std::error::Error as _;
use std::time::Duration;

use anyhow::{Context, anyhow};
use chrono::{DateTime, Utc};
use reqwest::StatusCode;
use serde::Deserialize;
use url::Url;

use crate::api_client::Failure;
use crate::output::Usage;

const REQUEST_URL: &str = "ACTIONS_ID_TOKEN_REQUEST_URL";
const REQUEST_TOKEN: &str = "ACTIONS_ID_TOKEN_REQUEST_TOKEN";

const PATIENCE: Duration = Duration::from_secs(30);
/// The longest answer that is read.
const ANSWER_MAX_BYTES: usize = 64 * 1024;
/// Traded anew when it would end sooner than this.
const SPARE_S: i64 = 60;

/// Where a job asks for its token.
pub(crate) struct GitHub {
    url: String,
    token: String,
    /// The last answer, which holds for a while.
    traded: tokio::sync::Mutex<Option<Traded>>,
}

/// A server's token.
#[derive(Deserialize)]
struct Traded {
    token: String,
    expires_at: DateTime<Utc>,
    #[serde(skip)]
    product: String,
}

#[derive(Deserialize)]
struct IdToken {
    value: String,
}

#[derive(Deserialize)]
struct Problem {
    detail: String,
}

impl GitHub {
    /// The identity of the job that this runs in. `Ok(None)`: it runs in none.
    pub(crate) fn of_the_environment() -> anyhow::Result<Option<Self>> {
        let text = |name| std::env::var(name).ok().filter(|text| !text.is_empty());
        match (text(REQUEST_URL), text(REQUEST_TOKEN)) {
            (Some(url), Some(token)) => Ok(Some(Self { url, token, traded: tokio::sync::Mutex::default() })),
            _ if text("GITHUB_ACTIONS").as_deref() == Some("true") => Err(Usage(
                "This job has no identity to show to the server. Add `permissions: id-token: write` to the workflow's job \
                 (GitHub gives it to no pull request from a fork), or give a token: --token T or UPDRAFT_TOKEN."
                    .into(),
            )
            .into()),
            _ => Ok(None),
        }
    }

    /// A token of this server for this product; the last one, while it holds.
    pub(crate) async fn token(&self, server: &Url, product: &str) -> anyhow::Result<String> {
        let mut traded = self.traded.lock().await;
        let holds = |traded: &&Traded| {
            traded.product == product && (traded.expires_at - Utc::now()).num_seconds() > SPARE_S
        };
        if let Some(traded) = traded.as_ref().filter(holds) {
            return Ok(traded.token.clone());
        }
        let fresh = self.trade(server, product).await?;
        let token = fresh.token.clone();
        *traded = Some(fresh);
        Ok(token)
    }

    /// The last token is not taken any more.
    pub(crate) async fn forget(&self) {
        *self.traded.lock().await = None;
    }

    async fn trade(&self, server: &Url, product: &str) -> anyhow::Result<Traded> {
        // Followed, a redirect would hand the job's identity to somebody else.
        let http = reqwest::Client::builder()
            .timeout(PATIENCE)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .context("cannot make an HTTP client")?;
        let audience = audience(server);
        let id_token = self.id_token(&http, &audience).await?;
        let body = serde_json::json!({"token": id_token, "product": product});
        let request = http.post(format!("{audience}/api/v1/login/oidc")).json(&body);
        let (status, answer) = answer(request).await.with_context(|| {
            format!("The server at {audience} does not answer. Is it running? --server says where")
        })?;
        if status != StatusCode::OK {
            let detail = serde_json::from_slice::<Problem>(&answer).ok().map(|problem| problem.detail);
            let sentence = match detail {
                Some(detail) => format!("The server did not take this job's identity: {detail}"),
                None => format!("The server at {audience} answered {status} to this job's identity."),
            };
            return Err(Failure::answered(status, sentence).into());
        }
        let mut traded: Traded = serde_json::from_slice(&answer)
            .context("The server's answer to this job's identity is not a token")?;
        product.clone_into(&mut traded.product);
        Ok(traded)
    }

    /// GitHub's signed statement about this job, for one audience.
    async fn id_token(&self, http: &reqwest::Client, audience: &str) -> anyhow::Result<String> {
        let mut url: Url =
            self.url.parse().map_err(|error| anyhow!("{REQUEST_URL} is not a URL ({error})."))?;
        url.query_pairs_mut().append_pair("audience", audience);
        let request = http.get(url).bearer_auth(&self.token).header("accept", "application/json");
        let (status, answer) = answer(request)
            .await
            .context("GitHub did not answer when it was asked for this job's identity")?;
        if status != StatusCode::OK {
            return Err(Failure::answered(
                status,
                format!(
                    "GitHub answered {status} when it was asked for this job's identity. Run the job again; its \
                     permissions must have `id-token: write`."
                ),
            )
            .into());
        }
        let token: Option<IdToken> = serde_json::from_slice(&answer).ok();
        token
            .map(|token| token.value)
            .ok_or_else(|| anyhow!("GitHub's answer has no identity of this job in it."))
    }
}

/// The address that was given, without what is not an address. A server compares it with its own `http.public_url`.
fn audience(server: &Url) -> String {
    let mut url = server.clone();
    url.set_query(None);
    url.set_fragment(None);
    // Only a URL without a host refuses these, and a server's has one.
    let _ = url.set_username("").and_then(|()| url.set_password(None));
    url.as_str().trim_end_matches('/').to_owned()
}

/// Status and body. The error never has the URL in it, whose query may be secret.
async fn answer(request: reqwest::RequestBuilder) -> Result<(StatusCode, Vec<u8>), Failure> {
    let lost = |error: reqwest::Error| {
        let error = error.without_url();
        let cause = std::iter::successors(error.source(), |error| (*error).source()).last();
        Failure::unanswered(cause.map_or_else(|| error.to_string(), ToString::to_string))
    };
    let mut answer = request.send().await.map_err(lost)?;
    let mut body = Vec::new();
    while let Some(piece) = answer.chunk().await.map_err(lost)? {
        body.extend_from_slice(&piece);
        if body.len() > ANSWER_MAX_BYTES {
            let sentence = format!("the answer is longer than {} KiB", ANSWER_MAX_BYTES / 1024);
            return Err(Failure::unanswered(sentence));
        }
    }
    Ok((answer.status(), body))
}

#[cfg(test)]
mod tests {
    use super::audience;

    #[test]
    fn the_audience_is_the_address_that_was_given_and_nothing_else() {
        for (given, expected) in [
            ("https://updraft.example", "https://updraft.example"),
            ("HTTPS://Updraft.Example:443/", "https://updraft.example"),
            ("https://updraft.example/ota/", "https://updraft.example/ota"),
            ("https://user:secret@updraft.example/?a=b#c", "https://updraft.example"),
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ] {
            assert_eq!(audience(&given.parse().expect("a URL")), expected);
        }
    }
}
