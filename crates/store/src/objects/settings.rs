//! What the environment says of S3, and how long a request may take.

use std::collections::BTreeMap;
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::{BackoffConfig, RetryConfig};

/// How long a request may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Until there is a connection.
    pub(crate) connect: Duration,
    /// Without a byte, for who reads.
    pub(crate) silence: Duration,
    /// In all: an image of 16 MiB takes 14 minutes at 20 KB a second.
    pub(crate) total: Duration,
    /// After so long no request is sent again.
    pub(crate) retries: Duration,
}

impl Default for Limits {
    /// A store that is silent is asked twice, as the connection may be one that has died: 40 s.
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            silence: Duration::from_secs(20),
            total: Duration::from_mins(15),
            retries: Duration::from_secs(30),
        }
    }
}

/// What the environment says, but the endpoint.
pub(crate) fn settings(environment: &BTreeMap<String, String>) -> AmazonS3Builder {
    let mut builder = AmazonS3Builder::new();
    for (name, value) in environment {
        let is_endpoint = matches!(name.as_str(), "AWS_ENDPOINT_URL" | "AWS_ENDPOINT_URL_S3");
        // A variable that is set to nothing counts as none.
        if let Ok(key) = name.to_ascii_lowercase().parse::<AmazonS3ConfigKey>()
            && !is_endpoint
            && !value.is_empty()
        {
            builder = builder.with_config(key, value);
        }
    }
    builder
}

/// Maximum attempts of a request, and the time after which none begins.
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
