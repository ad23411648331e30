//! The client of S3.

use std::collections::BTreeMap;

use cause::store as causes;
use object_store::ClientOptions;

use self::moving::Connector;
use crate::error::StoreError;
use crate::objects::credentials;
use crate::objects::location::S3Location;
use crate::objects::settings::{Limits, retry, settings};

mod moving;

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
        let is_half = text.contains("access key") || text.contains("AccessKey");
        StoreError::Invalid(if is_half {
            causes::HALF_OF_THE_CREDENTIALS.cause()
        } else {
            causes::BUCKET_UNUSABLE.naming("bucket", &location.bucket).with("why", text)
        })
    })
}

#[cfg(test)]
mod tests;
