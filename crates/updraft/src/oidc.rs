//! GitHub Actions as the identity: a job's own OIDC token is traded for a server's short-lived one, so that no secret is
//! kept anywhere.
//!
//! The audience is always the address that the person gave as the server's. A server is never asked which audience it
//! would like: it could name another server, and then use the job's token there.

use anyhow::anyhow;
use api::{OidcLogin, PublisherToken};
use chrono::Utc;
use contract::ProductName;
use reqwest::StatusCode;
use serde::Deserialize;
use url::Url;

use crate::failure::Failure;
use crate::http::{Http, address};
use crate::output::Usage;

const REQUEST_URL: &str = "ACTIONS_ID_TOKEN_REQUEST_URL";
const REQUEST_TOKEN: &str = "ACTIONS_ID_TOKEN_REQUEST_TOKEN";

/// Traded anew when it would end sooner than this.
const SPARE_S: i64 = 60;

pub(crate) struct GitHub {
    url: String,
    token: String,
    /// The last answer, which holds for a while.
    traded: tokio::sync::Mutex<Option<PublisherToken>>,
}

#[derive(Deserialize)]
struct IdToken {
    value: String,
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
    pub(crate) async fn token(&self, http: &Http, server: &Url, product: &str) -> anyhow::Result<String> {
        let product: ProductName = product.parse()?;
        let mut traded = self.traded.lock().await;
        let holds = |traded: &&PublisherToken| {
            traded.product == product && (traded.expires_at - Utc::now()).num_seconds() > SPARE_S
        };
        if let Some(traded) = traded.as_ref().filter(holds) {
            return Ok(traded.token.clone());
        }
        let fresh = self.trade(http, server, &product).await?;
        let token = fresh.token.clone();
        *traded = Some(fresh);
        Ok(token)
    }

    /// The last token is not taken any more.
    pub(crate) async fn forget(&self) {
        *self.traded.lock().await = None;
    }

    async fn trade(
        &self,
        http: &Http,
        server: &Url,
        product: &ProductName,
    ) -> anyhow::Result<PublisherToken> {
        let audience = address(server);
        let once = async || {
            // A statement is taken once, and who was told to come later does not know whether it was.
            let id_token = self.id_token(http, &audience).await?;
            let body = OidcLogin { token: id_token, product: Some(product.clone()) };
            let request = http.client().post(format!("{audience}/api/v1/login/oidc")).json(&body);
            anyhow::Ok(http.ask(request).await.map_err(|lost| Failure::lost(server, &lost))?)
        };
        let answer = http.with_retries(once).await?;
        if let Some(failure) = Failure::redirected(server, &answer) {
            return Err(failure.into());
        }
        let status = answer.status;
        if let Some(detail) = answer.detail().filter(|_| !status.is_success()) {
            let sentence = format!("The server did not take this job's identity: {detail}");
            return Err(Failure::answered(status, sentence).into());
        }
        if status != StatusCode::OK && !answer.is_page() {
            let sentence = format!("The server at {audience} answered {status} to this job's identity.");
            return Err(Failure::answered(status, sentence).into());
        }
        let traded: Option<PublisherToken> =
            serde_json::from_slice(&answer.body).ok().filter(|_| status == StatusCode::OK);
        let traded = traded.filter(|traded| traded.product == *product);
        traded.ok_or_else(|| {
            Failure::not_updraft(server, &answer, "with no token for this job's identity").into()
        })
    }

    /// GitHub's signed statement about this job, for one audience.
    async fn id_token(&self, http: &Http, audience: &str) -> anyhow::Result<String> {
        let mut url: Url =
            self.url.parse().map_err(|error| anyhow!("{REQUEST_URL} is not a URL ({error})."))?;
        url.query_pairs_mut().append_pair("audience", audience);
        let request =
            || http.client().get(url.clone()).bearer_auth(&self.token).header("accept", "application/json");
        let answer = http.with_retries(async || http.ask(request()).await).await.map_err(|lost| {
            Failure::unanswered(format!(
                "GitHub did not answer when it was asked for this job's identity: {lost}"
            ))
        })?;
        let status = answer.status;
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
        let token: Option<IdToken> = serde_json::from_slice(&answer.body).ok();
        token
            .map(|token| token.value)
            .ok_or_else(|| anyhow!("GitHub's answer has no identity of this job in it."))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::LIMITS;
    use crate::http::tests::{Canned, answer, problem};

    #[test]
    fn the_audience_is_the_address_that_was_given_and_nothing_else() {
        for (given, expected) in [
            ("https://updraft.example", "https://updraft.example"),
            ("HTTPS://Updraft.Example:443/", "https://updraft.example"),
            ("https://updraft.example/ota/", "https://updraft.example/ota"),
            ("https://user:secret@updraft.example/?a=b#c", "https://updraft.example"),
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ] {
            assert_eq!(address(&given.parse().expect("a URL")), expected);
        }
    }

    fn token() -> String {
        let token = PublisherToken {
            token: "t-1".to_owned(),
            expires_at: Utc::now() + chrono::TimeDelta::days(1),
            product: "lamp".parse().expect("a name"),
            may_promote: false,
            allow: Vec::new(),
        };
        answer("200 OK", "", &serde_json::to_string(&token).expect("it can be written"))
    }

    async fn traded(answers: &[String]) -> (anyhow::Result<String>, usize) {
        let github = Canned::start(&[answer("200 OK", "", "{\"value\":\"statement\"}")]);
        let server = Canned::start(answers);
        let job = GitHub {
            url: github.url.to_string(),
            token: "t".to_owned(),
            traded: tokio::sync::Mutex::default(),
        };
        let http = Http::new(LIMITS).expect("a client");
        (job.token(&http, &server.url, "lamp").await, server.heads().len())
    }

    #[tokio::test]
    async fn a_job_that_is_to_come_later_comes_later() {
        let later = problem("429 Too Many Requests", "retry-after: 0\r\n", "too many jobs");
        let token = token();
        let (traded_for, requests) = traded(&[later.clone(), later.clone(), token]).await;
        assert_eq!((traded_for.expect("a token").as_str(), requests), ("t-1", 3));
        let (refused, requests) = traded(&[later]).await;
        let error = refused.expect_err("never").to_string();
        assert_eq!(error, "The server did not take this job's identity: too many jobs");
        assert_eq!(requests, 3);
    }

    #[tokio::test]
    async fn a_statement_is_shown_once_whatever_came_of_it() {
        let statement = |text: &str| answer("200 OK", "", &format!("{{\"value\":\"{text}\"}}"));
        let github = Canned::start(&[statement("first"), statement("second")]);
        let token = token();
        let server = Canned::deciding(move |bodies| match bodies {
            [_] => problem("503 Service Unavailable", "retry-after: 0\r\n", "this took too long"),
            [first, second] if first != second => token.clone(),
            _ => problem("401 Unauthorized", "", "this statement was used here before"),
        });
        let job = GitHub {
            url: github.url.to_string(),
            token: "t".to_owned(),
            traded: tokio::sync::Mutex::default(),
        };
        let http = Http::new(LIMITS).expect("a client");
        assert_eq!(job.token(&http, &server.url, "lamp").await.expect("a token"), "t-1");
    }

    #[tokio::test]
    async fn a_job_shows_its_identity_to_nobody_else() {
        let portal = answer("302 Found", "location: https://portal.example/?x\r\n", "");
        let page = answer("200 OK", "content-type: text/html\r\n", "<html></html>");
        for (answer, words) in
            [(portal, "redirects to https://portal.example."), (page, "not an Updraft server")]
        {
            let error = traded(&[answer]).await.0.expect_err("no token").to_string();
            assert!(error.contains(words), "{error}");
        }
    }
}
