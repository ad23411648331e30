//! The client of S3: two HTTP clients, as what may take long differs. Who reads gets a piece every few seconds, or the
//! store is silent. Who writes an image hears nothing before its last byte has arrived, which on a slow line takes minutes.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use cause::store as causes;
use object_store::client::{HttpClient, HttpConnector, HttpError, HttpRequest, HttpResponse, HttpService};
use object_store::{ClientConfigKey, ClientOptions};
use reqwest::Method;
use reqwest::header::{self, HeaderValue};

use crate::error::StoreError;
use crate::objects::checksum::Checksums;
use crate::objects::credentials;
use crate::objects::explain::failed;
use crate::objects::location::S3Location;
use crate::objects::settings::{Limits, retry, settings};

/// What is no longer than this goes up within the silence that is allowed to who reads, also on a slow line.
const SHORT_MAX_BYTES: usize = 64 * 1024;

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

#[derive(Debug)]
struct Connector(Limits);

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let allows_http =
            options.get_config_value(&ClientConfigKey::AllowHttp).is_some_and(|is| is == "true");
        let client = |silence: Option<Duration>| {
            let mut builder = reqwest::Client::builder()
                .user_agent(concat!("updraft/", env!("CARGO_PKG_VERSION")))
                .connect_timeout(self.0.connect)
                .timeout(self.0.total)
                .http1_only()
                .https_only(!allows_http);
            if let Some(silence) = silence {
                builder = builder.read_timeout(silence);
            }
            builder.build().map(HttpClient::new).map_err(failed)
        };
        let (reads, writes) = (client(Some(self.0.silence))?, client(None)?);
        Ok(HttpClient::new(ByMethod { reads, writes, checksums: Checksums::default() }))
    }
}

#[derive(Debug)]
struct ByMethod {
    reads: HttpClient,
    writes: HttpClient,
    checksums: Checksums,
}

#[async_trait]
impl HttpService for ByMethod {
    async fn call(&self, mut request: HttpRequest) -> Result<HttpResponse, HttpError> {
        if request.method() != Method::PUT {
            // What a cache in between kept is no news: its old tag would be refused by every write.
            request.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
            return self.reads.execute(request).await;
        }
        let is_long = request.body().content_length() > SHORT_MAX_BYTES;
        self.checksums.send(if is_long { &self.writes } else { &self.reads }, request).await
    }
}

#[cfg(test)]
mod tests;
