//! The client of S3: its settings, retries and credentials.

use std::collections::BTreeMap;
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::{BackoffConfig, ClientOptions, RetryConfig};

use self::moving::Connector;
use crate::StoreError;
use crate::objects::credentials;
use crate::objects::location::S3Location;

mod moving;

/// How long a request may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Until there is a connection.
    pub(crate) connect: Duration,
    /// Without a byte that moves, up or down.
    pub(crate) silence: Duration,
    /// So many bytes a second drain what buffers on the way hold of uploads whose last bytes are out of sight.
    pub(crate) pace: u32,
    /// In all: an image of 16 MiB may take minutes on a slow line.
    pub(crate) total: Duration,
    /// After so long no request is sent again, but once more one whose body took longer by itself.
    pub(crate) retries: Duration,
}

impl Default for Limits {
    /// A store that is silent is asked twice, as the connection may be one that has died: 40 s.
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            silence: Duration::from_secs(20),
            pace: 128 * 1024,
            total: Duration::from_mins(10),
            retries: Duration::from_secs(30),
        }
    }
}

/// What the environment says, but the endpoint.
pub(crate) fn settings(environment: &BTreeMap<String, String>) -> AmazonS3Builder {
    let mut builder = AmazonS3Builder::new();
    for (name, value) in environment {
        let is_endpoint = matches!(name.as_str(), "AWS_ENDPOINT_URL" | "AWS_ENDPOINT_URL_S3");
        // A variable that is set to nothing is meant as none.
        if let Ok(key) = name.to_ascii_lowercase().parse::<AmazonS3ConfigKey>()
            && !is_endpoint
            && !value.is_empty()
        {
            builder = builder.with_config(key, value);
        }
    }
    builder
}

/// How often a request is tried again, and after which time no more.
pub(crate) fn retry(limits: Limits) -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig {
            init_backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(2),
            base: 2.0,
        },
        max_retries: 4,
        retry_timeout: limits.retries,
    }
}

/// A client for one bucket. Nothing is asked yet.
pub(crate) fn client(
    location: &S3Location,
    environment: &BTreeMap<String, String>,
    limits: Limits,
) -> Result<object_store::aws::AmazonS3, StoreError> {
    // The one TLS provider; whoever installed it first was right.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut builder = settings(environment);
    if let Some(provider) = credentials::provider(environment)? {
        builder = builder.with_credentials(provider);
    }
    let client = ClientOptions::new()
        .with_connect_timeout(limits.connect)
        .with_allow_http(location.endpoint.as_ref().is_some_and(|url| url.scheme() == "http"));
    builder = builder
        .with_bucket_name(&location.bucket)
        .with_virtual_hosted_style_request(!location.path_style)
        .with_client_options(client)
        .with_http_connector(Connector(limits))
        .with_retry(retry(limits));
    if let Some(region) = &location.region {
        builder = builder.with_region(region);
    }
    if let Some(endpoint) = location.endpoint_for_client() {
        builder = builder.with_endpoint(endpoint);
    }
    builder.build().map_err(|error| {
        let text = error.to_string();
        StoreError::Invalid(if text.contains("access key") || text.contains("AccessKey") {
            "half of the AWS credentials is missing; set both AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
                .to_owned()
        } else {
            format!("the bucket {} cannot be used: {text}", location.bucket)
        })
    })
}

#[cfg(test)]
mod tests;
