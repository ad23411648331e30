//! The credentials of a container's role: asked of the agent that the platform runs (ECS, EKS Pod Identity, Greengrass).
//!
//! `object_store` knows no token in the environment, asks through proxies, and would send a token over `http` to any host.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use cause::store as causes;
use chrono::{DateTime, TimeDelta, Utc};
use object_store::aws::AwsCredential;
use object_store::{CredentialProvider, Result};
use reqwest::header::{AUTHORIZATION, HeaderValue};
use serde::Deserialize;
use tokio::sync::Mutex;
use url::{Host, Url};

use crate::error::StoreError;
use crate::objects::explain::{CONTAINER, failed};

/// Where ECS's agent listens in every container.
const ECS_AGENT: &str = "http://169.254.170.2";
/// Who may be asked without TLS besides loopback: the agents of ECS and EKS, which are on the machine itself.
const PLAIN_HOSTS: [&str; 3] = ["169.254.170.2", "169.254.170.23", "[fd00:ec2::23]"];
/// This long before their end credentials are asked for anew.
const MARGIN: TimeDelta = TimeDelta::minutes(5);
/// At most this long one answer may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// How long an agent that failed is left alone while the credentials of before are good.
const PAUSE: TimeDelta = TimeDelta::seconds(10);
/// Credentials have 2 KB; a session token may grow.
const ANSWER_MAX_BYTES: usize = 64 * 1024;

enum Token {
    None,
    Text(String),
    /// Read each time, as the platform replaces it.
    File(PathBuf),
}

pub(super) struct Container {
    http: reqwest::Client,
    address: Url,
    token: Token,
    /// Locked by who asks; the others wait for the answer.
    last: Mutex<Last>,
}

#[derive(Default)]
struct Last {
    known: Option<Known>,
    failed: Option<(Instant, String)>,
}

struct Known {
    credential: Arc<AwsCredential>,
    until: DateTime<Utc>,
    /// When the agent is asked again.
    renewal: DateTime<Utc>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Given {
    access_key_id: String,
    secret_access_key: String,
    token: Option<String>,
    expiration: Option<DateTime<Utc>>,
}

/// Where the agent is, if the environment names one: the path at ECS's address before the whole address.
fn address(path: Option<&str>, whole: Option<&str>) -> std::result::Result<Option<Url>, StoreError> {
    if let Some(path) = path {
        // Anything else would change the host that it is put behind.
        let address = path.starts_with('/').then(|| format!("{ECS_AGENT}{path}").parse().ok()).flatten();
        return address.map(Some).ok_or_else(|| StoreError::Invalid(causes::RELATIVE_URI.cause()));
    }
    let Some(whole) = whole else { return Ok(None) };
    let malformed = || StoreError::Invalid(causes::FULL_URI.cause());
    let address: Url = whole.parse().map_err(|_| malformed())?;
    match (address.scheme(), address.host()) {
        ("https", Some(_)) => Ok(Some(address)),
        ("http", Some(host)) if is_on_this_machine(&host) => Ok(Some(address)),
        ("http", Some(host)) => {
            let hosts: Vec<String> = PLAIN_HOSTS.map(str::to_owned).into();
            let cause = causes::FULL_URI_IN_CLEAR.naming("host", host).with("hosts", hosts);
            Err(StoreError::Invalid(cause))
        }
        _ => Err(malformed()),
    }
}

/// Whether what is said to this host stays on the machine. The rule of Amazon's own clients.
fn is_on_this_machine(host: &Host<&str>) -> bool {
    let is_loopback = match host {
        Host::Domain(name) => name.eq_ignore_ascii_case("localhost"),
        Host::Ipv4(address) => address.is_loopback(),
        Host::Ipv6(address) => address.is_loopback(),
    };
    is_loopback || PLAIN_HOSTS.contains(&host.to_string().as_str())
}

impl Container {
    /// The agent that the environment names, if it does. Nothing is asked yet.
    pub(super) fn of<'a>(
        value: impl Fn(&str) -> Option<&'a str>,
    ) -> std::result::Result<Option<Self>, StoreError> {
        let value = |name: &str| value(&format!("AWS_CONTAINER_{name}"));
        let address = address(value("CREDENTIALS_RELATIVE_URI"), value("CREDENTIALS_FULL_URI"))?;
        let Some(address) = address else { return Ok(None) };
        let token = match (value("AUTHORIZATION_TOKEN_FILE"), value("AUTHORIZATION_TOKEN")) {
            (Some(file), _) => Token::File(file.into()),
            (None, Some(text)) => Token::Text(text.to_owned()),
            (None, None) => Token::None,
        };
        let mut client = reqwest::Client::builder()
            .timeout(ANSWER_TIMEOUT)
            // Whoever may be asked was judged by the first address.
            .redirect(reqwest::redirect::Policy::none());
        if address.scheme() == "http" {
            // It is asked in clear because it is on this machine; a proxy is not.
            client = client.no_proxy();
        }
        let http = client.build().map_err(|error| {
            StoreError::Invalid(causes::AGENT_UNUSABLE.naming("why", error.without_url()))
        })?;
        Ok(Some(Self { http, address, token, last: Mutex::default() }))
    }

    async fn ask(&self) -> std::result::Result<Known, String> {
        let mut request = self.http.get(self.address.clone());
        let token = match &self.token {
            Token::None => None,
            Token::Text(text) => Some(text.clone()),
            Token::File(file) => {
                let text = tokio::fs::read_to_string(file).await;
                Some(text.map_err(|error| format!("cannot read the token file: {error}"))?)
            }
        };
        if let Some(token) = token {
            let mut header = HeaderValue::from_str(token.trim())
                .map_err(|_| format!("{CONTAINER}: the token for the agent is not one line of text"))?;
            header.set_sensitive(true);
            request = request.header(AUTHORIZATION, header);
        }
        let failed = |error: reqwest::Error| format!("{CONTAINER}: {}", error.without_url());
        let mut answer = request.send().await.map_err(failed)?;
        if !answer.status().is_success() {
            return Err(format!("{CONTAINER}: the agent answers {}", answer.status()));
        }
        let mut text = Vec::new();
        while let Some(piece) = answer.chunk().await.map_err(failed)? {
            text.extend_from_slice(&piece);
            if text.len() > ANSWER_MAX_BYTES {
                return Err(format!("{CONTAINER}: the agent answers with too much"));
            }
        }
        // What it says instead may be half a secret.
        let given: Given = serde_json::from_slice(&text)
            .map_err(|_| format!("{CONTAINER} have another shape than expected"))?;
        let credential = Arc::new(AwsCredential {
            key_id: given.access_key_id,
            secret_key: given.secret_access_key,
            token: given.token,
        });
        let until = given.expiration.unwrap_or(DateTime::<Utc>::MAX_UTC);
        Ok(Known { credential, until, renewal: until - MARGIN })
    }
}

impl std::fmt::Debug for Container {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Container").finish_non_exhaustive()
    }
}

#[async_trait]
impl CredentialProvider for Container {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> Result<Arc<AwsCredential>> {
        let asked = Instant::now();
        let mut last = self.last.lock().await;
        if let Some(known) = last.known.as_ref().filter(|known| Utc::now() < known.renewal) {
            return Ok(Arc::clone(&known.credential));
        }
        if let Some((_, why)) = last.failed.as_ref().filter(|(at, _)| *at > asked) {
            return Err(failed(why.clone()));
        }
        let why = match self.ask().await {
            Ok(given) => return Ok(Arc::clone(&last.known.insert(given).credential)),
            Err(why) => why,
        };
        if let Some(before) = last.known.as_mut().filter(|before| Utc::now() < before.until) {
            tracing::warn!(why, "new credentials of the container's role cannot be had yet");
            before.renewal = Utc::now() + PAUSE;
            return Ok(Arc::clone(&before.credential));
        }
        last.failed = Some((Instant::now(), why.clone()));
        Err(failed(why))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_tls_only_an_agent_on_this_machine_is_asked() {
        for good in [
            "http://127.0.0.1:51679/v1",
            "http://127.9.9.9/",
            "http://localhost:51679/v1",
            "http://[::1]/v1",
            "http://169.254.170.2/v2",
            "http://169.254.170.23/v1/credentials",
            "http://[fd00:ec2::23]/v1/credentials",
            "https://agent.example.com/v1",
            "https://192.0.2.7/v1",
        ] {
            let address = address(None, Some(good)).expect("allowed").expect("one");
            assert_eq!(address.as_str(), good);
        }
        for bad in [
            "http://192.0.2.7/v1",
            "http://169.254.169.254/v1",
            "http://169.254.170.2.example.com/v1",
            "http://127.0.0.1.example.com/v1",
            "http://127.0.0.1@example.com/v1",
            "http://localhost.example.com/",
            "http://[fd00:ec2::24]/v1",
            "http://[::ffff:192.0.2.7]/v1",
        ] {
            let error = address(None, Some(bad)).expect_err(bad).to_string();
            assert!(error.contains("over http, where others can read"), "{bad}: {error}");
            assert!(error.contains("any other host needs https") && !error.contains("/v1"), "{bad}: {error}");
        }
        for bad in ["ftp://localhost/v1", "file:///etc/passwd", "localhost", "unix:/agent"] {
            let error = address(None, Some(bad)).expect_err(bad).to_string();
            assert!(error.contains("AWS_CONTAINER_CREDENTIALS_FULL_URI is not a URL"), "{bad}: {error}");
        }
    }

    #[test]
    fn a_path_stays_on_the_host_of_ecs() {
        let address_of = |path| address(Some(path), Some("https://example.com/"));
        let asked = address_of("/v2/credentials/task?id=1").expect("a path").expect("one");
        assert_eq!(asked.as_str(), "http://169.254.170.2/v2/credentials/task?id=1");
        let asked = address_of("//example.com/").expect("a path").expect("one");
        assert_eq!(asked.host_str(), Some("169.254.170.2"));
        for bad in ["@example.com/", ".example.com/", ":8080/v2", "v2/credentials", ""] {
            let error = address_of(bad).expect_err(bad).to_string();
            assert!(error.contains("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI is not a path"), "{bad}: {error}");
        }
    }
}
