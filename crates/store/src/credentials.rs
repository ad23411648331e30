//! Where S3's credentials come from: the environment, a web identity (EKS, GitHub), a container's agent (ECS, EKS), an
//! EC2 instance's role; the first that the environment names.
//!
//! `object_store` does all but one: of containers it knows the relative address without a token and the full one with
//! the token in a file, while either may come with either, or with a token in the environment. So those are asked
//! by [`container`].

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use object_store::aws::{AwsCredential, AwsCredentialProvider};
use object_store::{CredentialProvider, Error, Result};

use self::container::{Container, Token};
use crate::StoreError;
use crate::error::NO_CREDENTIALS;

mod container;

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
    let address = container::address(
        value("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"),
        value("AWS_CONTAINER_CREDENTIALS_FULL_URI"),
    )?;
    if let Some(address) = address {
        let token = match (
            value("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"),
            value("AWS_CONTAINER_AUTHORIZATION_TOKEN"),
        ) {
            (Some(file), _) => Token::File(file.into()),
            (None, Some(text)) => Token::Text(text.to_owned()),
            (None, None) => Token::None,
        };
        return Ok(Some(Arc::new(Container::new(address, token)?)));
    }
    let is_off = value("AWS_EC2_METADATA_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"));
    Ok(is_off.then(|| Arc::new(Nobody) as AwsCredentialProvider))
}

/// Where the instance metadata service is, if the environment moves it.
pub(crate) fn metadata_endpoint(environment: &BTreeMap<String, String>) -> Option<&str> {
    let named = ["AWS_EC2_METADATA_SERVICE_ENDPOINT", "AWS_METADATA_ENDPOINT"];
    named.iter().find_map(|name| environment.get(*name)).map(|address| address.trim_end_matches('/'))
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
