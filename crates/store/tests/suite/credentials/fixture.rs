//! Credentials of which only the last are good, and a bucket that takes only those.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use s3s::S3Result;
use s3s::auth::{S3Auth, SecretKey};
use updraft_store::{Options, Store};

use crate::place::{publish, s3_image, s3_url, until};
use crate::servers::{Front, Rule, Strict, s3_error, strict_of};

/// The credentials that hold at the moment, first to last: `key-N`, `secret-N`, `token-N`. The last are handed out.
#[derive(Clone)]
pub(super) struct Current(Arc<Mutex<RangeInclusive<u32>>>);

impl Current {
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(0..=0)))
    }

    pub(super) fn number(&self) -> u32 {
        *self.0.lock().expect("unpoisoned").end()
    }

    /// From now on only the next ones hold.
    pub(super) fn replace(&self) {
        let next = self.number() + 1;
        *self.0.lock().expect("unpoisoned") = next..=next;
    }

    /// From now on the next ones hold too.
    pub(super) fn add(&self) {
        let next = self.number() + 1;
        *self.0.lock().expect("unpoisoned") = 0..=next;
    }

    /// The number in `key-N` or `token-N`, if those hold.
    pub(super) fn holding(&self, name: &str) -> Option<u32> {
        let number = name.split_once('-')?.1.parse().ok()?;
        self.0.lock().expect("unpoisoned").contains(&number).then_some(number)
    }

    /// As ECS, EKS and EC2 hand them out.
    pub(super) fn json(&self, lifetime_s: i64) -> String {
        let number = self.number();
        let until = chrono::Utc::now() + chrono::Duration::seconds(lifetime_s);
        serde_json::json!({
            "Code": "Success", "Type": "AWS-HMAC", "AccessKeyId": format!("key-{number}"),
            "SecretAccessKey": format!("secret-{number}"), "Token": format!("token-{number}"),
            "LastUpdated": "2026-11-02T10:00:00Z", "Expiration": until.to_rfc3339(),
        })
        .to_string()
    }
}

#[async_trait::async_trait]
impl S3Auth for Current {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        if let Some(number) = self.holding(access_key) {
            return Ok(SecretKey::from(format!("secret-{number}")));
        }
        Err(s3s::s3_error!(InvalidAccessKeyId))
    }
}

/// A bucket for whoever has the current credentials, all three of them.
pub(super) struct Bucket {
    pub(super) url: String,
    pub(super) current: Current,
    /// The server behind, which does not look at tokens.
    pub(super) server: String,
    _strict: Strict,
}

impl Bucket {
    pub(super) fn new() -> Self {
        let current = Current::new();
        let strict = strict_of(current.clone());
        std::fs::create_dir(strict.root.path().join("bucket")).expect("a bucket is a folder there");
        let tokens = current.clone();
        let front = Front::before(&strict.url, move |parts| {
            let token = parts.headers.get("x-amz-security-token").and_then(|value| value.to_str().ok());
            if token.is_none_or(|token| tokens.holding(token).is_none()) {
                return Rule::Answer(s3_error(400, "InvalidToken", ""));
            }
            Rule::Pass
        });
        Self { url: s3_url(&front.url, "bucket"), current, server: strict.url.clone(), _strict: strict }
    }

    pub(super) async fn open(&self, environment: &[(&str, &str)]) -> Store {
        let environment: BTreeMap<_, _> =
            environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let options = Options { environment, ..Options::default() };
        Store::open(&self.url, options).await.expect("opens")
    }

    /// Credentials are used, and replaced once they have ended.
    pub(super) async fn accepts(&self, environment: &[(&str, &str)]) {
        let store = self.open(environment).await;
        for number in 0..2 {
            let version = format!("1.{number}.0");
            publish(&store, &version, &s3_image(&version, 1)).await.expect("published");
            assert_eq!(signed_with(&store).await, number);
            if number == 0 {
                self.current.replace();
                until("the old ones end", async || signed_with(&store).await == 1).await;
            }
        }
    }
}

/// The number of the credentials that sign a URL now.
pub(super) async fn signed_with(store: &Store) -> u32 {
    let key = "esp32s3/releases/v1.0.0/firmware.bin";
    let url = store.sign(key, Duration::from_mins(1)).await.expect("signed");
    let (_, token) = url.query_pairs().find(|(name, _)| name == "X-Amz-Security-Token").expect("a token");
    token.strip_prefix("token-").expect("one of ours").parse().expect("a number")
}

pub(super) fn text(status: u16, text: impl Into<Body>) -> Response {
    (StatusCode::from_u16(status).expect("a status"), text.into()).into_response()
}

pub(super) fn header<'a>(request: &'a Request, name: &str) -> Option<&'a str> {
    request.headers().get(name).and_then(|value| value.to_str().ok())
}
