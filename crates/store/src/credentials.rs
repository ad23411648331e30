//! Where S3's credentials come from: the environment, a web identity (EKS, GitHub), a container's agent (ECS, EKS), an
//! EC2 instance's role; the first that the environment names.
//!
//! `object_store` does all but one: of containers it knows the relative address without a token and the full one with
//! the token in a file, while either may come with either, or with a token in the environment. So those are asked
//! here, and kept until five minutes before they end.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use object_store::aws::{AwsCredential, AwsCredentialProvider};
use object_store::{CredentialProvider, Error, Result};
use serde::Deserialize;
use tokio::sync::Mutex;
use url::Url;

use crate::StoreError;
use crate::error::{CONTAINER, NO_CREDENTIALS};

/// Where ECS's agent listens in every container.
const ECS_AGENT: &str = "http://169.254.170.2";
/// So long before their end credentials are asked for anew.
const MARGIN: chrono::Duration = chrono::Duration::minutes(5);
/// How often the agent is asked before that is an error.
const ATTEMPTS: u32 = 3;

/// Who gives credentials, if it is not somebody whom `object_store` asks by itself.
pub(crate) fn provider(
    environment: &BTreeMap<String, String>,
) -> std::result::Result<Option<AwsCredentialProvider>, StoreError> {
    let value = |name: &str| environment.get(name).map(String::as_str).filter(|value| !value.is_empty());
    let has_keys = value("AWS_ACCESS_KEY_ID").is_some() || value("AWS_SECRET_ACCESS_KEY").is_some();
    let has_identity = value("AWS_WEB_IDENTITY_TOKEN_FILE").is_some() && value("AWS_ROLE_ARN").is_some();
    if has_keys || has_identity {
        return Ok(None);
    }
    let address = match (
        value("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"),
        value("AWS_CONTAINER_CREDENTIALS_FULL_URI"),
    ) {
        (Some(path), _) => Some(format!("{ECS_AGENT}{path}")),
        (None, full) => full.map(str::to_owned),
    };
    if let Some(address) = address {
        let address = address.parse().map_err(|_| {
            StoreError::Invalid(
                "AWS_CONTAINER_CREDENTIALS_FULL_URI is not a URL; it is set by the platform that runs the container"
                    .to_owned(),
            )
        })?;
        let token = match (
            value("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"),
            value("AWS_CONTAINER_AUTHORIZATION_TOKEN"),
        ) {
            (Some(file), _) => Token::File(file.into()),
            (None, Some(text)) => Token::Text(text.to_owned()),
            (None, None) => Token::None,
        };
        return Ok(Some(Arc::new(Container { address, token, known: Mutex::default() })));
    }
    let is_off = value("AWS_EC2_METADATA_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"));
    Ok(is_off.then(|| Arc::new(Nobody) as AwsCredentialProvider))
}

/// Where the instance metadata service is, if the environment moves it.
pub(crate) fn metadata_endpoint(environment: &BTreeMap<String, String>) -> Option<&str> {
    let named = ["AWS_EC2_METADATA_SERVICE_ENDPOINT", "AWS_METADATA_ENDPOINT"];
    named.iter().find_map(|name| environment.get(*name)).map(|address| address.trim_end_matches('/'))
}

/// What the agent wants to see.
enum Token {
    None,
    Text(String),
    /// Read each time, as the platform replaces it.
    File(PathBuf),
}

struct Container {
    address: Url,
    token: Token,
    known: Mutex<Option<(Arc<AwsCredential>, DateTime<Utc>)>>,
}

impl std::fmt::Debug for Container {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Container").finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Given {
    access_key_id: String,
    secret_access_key: String,
    token: Option<String>,
    expiration: Option<DateTime<Utc>>,
}

#[async_trait]
impl CredentialProvider for Container {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> Result<Arc<AwsCredential>> {
        let mut known = self.known.lock().await;
        if let Some((credential, until)) = &*known
            && Utc::now() < *until - MARGIN
        {
            return Ok(Arc::clone(credential));
        }
        let mut attempt = 1;
        let given = loop {
            match self.ask().await {
                Ok(given) => break given,
                // Those that we have may still be good for minutes.
                Err(error) => match &*known {
                    Some((credential, until)) if Utc::now() < *until => return Ok(Arc::clone(credential)),
                    _ if attempt == ATTEMPTS => return Err(error),
                    _ => tokio::time::sleep(Duration::from_millis(200) * attempt).await,
                },
            }
            attempt += 1;
        };
        let credential = Arc::new(AwsCredential {
            key_id: given.access_key_id,
            secret_key: given.secret_access_key,
            token: given.token,
        });
        let until = given.expiration.unwrap_or(DateTime::<Utc>::MAX_UTC);
        *known = Some((Arc::clone(&credential), until));
        Ok(credential)
    }
}

impl Container {
    async fn ask(&self) -> Result<Given> {
        let http = reqwest::Client::builder().timeout(Duration::from_secs(5)).build().map_err(failed)?;
        let mut request = http.get(self.address.clone());
        let token = match &self.token {
            Token::None => None,
            Token::Text(text) => Some(text.clone()),
            Token::File(file) => Some(
                tokio::fs::read_to_string(file)
                    .await
                    .map_err(|error| failed(format!("cannot read the token file: {error}")))?,
            ),
        };
        if let Some(token) = token {
            request = request.header("Authorization", token.trim());
        }
        let answer = request.send().await.and_then(reqwest::Response::error_for_status);
        let answer = answer.map_err(|error| failed(format!("{CONTAINER}: {}", error.without_url())))?;
        let text =
            answer.bytes().await.map_err(|error| failed(format!("{CONTAINER}: {}", error.without_url())))?;
        // What it says instead may be half a secret.
        serde_json::from_slice(&text)
            .map_err(|_| failed(format!("{CONTAINER} have another shape than expected")))
    }
}

/// The instance metadata service may not be asked, and there is nobody else.
#[derive(Debug)]
struct Nobody;

#[async_trait]
impl CredentialProvider for Nobody {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> Result<Arc<AwsCredential>> {
        Err(failed(format!("{NO_CREDENTIALS}, and AWS_EC2_METADATA_DISABLED is set")))
    }
}

fn failed(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::Generic { store: "S3", source: source.into() }
}
