//! Where S3's credentials come from: the environment, a web identity (EKS, GitHub), a container's agent (ECS, EKS), an
//! EC2 instance's role; the first that the environment names.
//!
//! `object_store` does all but the container's, and asks the metadata service here by a client that knows no proxy.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use cause::store as causes;
use object_store::aws::{AwsCredential, AwsCredentialProvider};
use object_store::client::{HttpClient, HttpConnector};
use object_store::{ClientOptions, CredentialProvider, Result};

use self::container::Container;
use crate::error::StoreError;
use crate::objects::explain::{NO_CREDENTIALS, failed};
use crate::objects::settings::{Limits, retry, settings};

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
    if let Some(container) = Container::of(value)? {
        return Ok(Some(Arc::new(container)));
    }
    let is_off = value("AWS_EC2_METADATA_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"));
    if is_off { Ok(Some(Arc::new(Nobody))) } else { instance(environment).map(Some) }
}

/// Who gives the credentials of an instance's role: what `object_store` has for that, in a client that is used for nothing
/// else, as it has to ask directly, and the bucket's may be behind a proxy.
fn instance(
    environment: &BTreeMap<String, String>,
) -> std::result::Result<AwsCredentialProvider, StoreError> {
    let mut builder = settings(environment)
        .with_bucket_name("none")
        .with_retry(retry(Limits::default()))
        .with_http_connector(Direct);
    // Amazon's own name for it; `object_store` knows another one.
    if let Some(endpoint) = environment.get("AWS_EC2_METADATA_SERVICE_ENDPOINT") {
        builder = builder.with_metadata_endpoint(endpoint.trim_end_matches('/'));
    }
    let asked = builder
        .build()
        .map_err(|error| StoreError::Invalid(causes::METADATA_SERVICE.naming("why", error)))?;
    Ok(Arc::clone(asked.credentials()))
}

/// Connects to the instance metadata service, which is on this machine: what it says in clear, no proxy may see.
#[derive(Debug)]
struct Direct;

impl HttpConnector for Direct {
    fn connect(&self, _: &ClientOptions) -> Result<HttpClient> {
        let client = reqwest::Client::builder()
            .no_proxy()
            .connect_timeout(Duration::from_secs(1))
            .timeout(Duration::from_secs(10))
            .build();
        client.map(HttpClient::new).map_err(|error| failed(error.without_url()))
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
