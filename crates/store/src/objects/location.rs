//! Store URLs: `file:PATH` and `s3://bucket?region=…&endpoint=…&path_style=…`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use cause::{Cause, store as causes};
use url::Url;

use crate::error::StoreError;

#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "a process has one or two of them")]
pub(crate) enum Location {
    Folder(PathBuf),
    S3(S3Location),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct S3Location {
    pub(crate) bucket: String,
    /// Absent: from the environment (`AWS_REGION`), else `us-east-1`.
    pub(crate) region: Option<String>,
    /// Absent: Amazon's own.
    pub(crate) endpoint: Option<Url>,
    /// Where devices reach it, if not there: the host is signed, so that no proxy can change it later.
    pub(crate) device_endpoint: Option<Url>,
    /// Whether the bucket is in the path of URLs, not in their host name.
    pub(crate) path_style: bool,
}

impl Location {
    /// Reads a store URL. Nothing in it is secret: credentials in it are refused.
    pub(crate) fn parse(text: &str) -> Result<Self, StoreError> {
        if let Some(path) = text.strip_prefix("file:") {
            let folder = if path.starts_with("//") {
                let elsewhere = || invalid(causes::URL_OF_ANOTHER_MACHINE.naming("url", format!("{text:?}")));
                url(text)?.to_file_path().map_err(|()| elsewhere())?
            } else {
                PathBuf::from(path)
            };
            if folder.as_os_str().is_empty() {
                return Err(invalid(causes::URL_WITHOUT_FOLDER.cause()));
            }
            return Ok(Self::Folder(folder));
        }
        if !text.starts_with("s3://") {
            let beginning = text.split('?').next().unwrap_or("");
            return Err(invalid(causes::URL_OF_NO_STORE.naming("url", format!("{beginning:?}"))));
        }
        let url = url(text)?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(invalid(causes::URL_WITH_CREDENTIALS.cause()));
        }
        S3Location::parse(&url).map(Self::S3).map_err(invalid)
    }
}

fn url(text: &str) -> Result<Url, StoreError> {
    Url::parse(text).map_err(|error| invalid(causes::URL_MALFORMED.naming("why", error)))
}

fn invalid(cause: Cause) -> StoreError {
    StoreError::Invalid(cause)
}

fn address(text: &str) -> Result<Url, Cause> {
    let cause = causes::URL_ENDPOINT.naming("endpoint", format!("{text:?}"));
    let url: Url = text.parse().map_err(|error| cause.clone().naming("why", error))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err(cause);
    }
    Ok(url)
}

impl S3Location {
    fn parse(url: &Url) -> Result<Self, Cause> {
        let bucket = url.host_str().filter(|host| !host.is_empty());
        let bucket = bucket.ok_or_else(|| causes::URL_WITHOUT_BUCKET.cause())?;
        if !matches!(url.path(), "" | "/") {
            return Err(causes::URL_WITH_PATH.naming("path", url.path()));
        }
        let (mut region, mut endpoint, mut device_endpoint, mut path_style) = (None, None, None, None);
        for (key, value) in url.query_pairs() {
            match key.as_ref() {
                "region" if !value.is_empty() => region = Some(value.into_owned()),
                "endpoint" => endpoint = Some(address(&value)?),
                "device_endpoint" => device_endpoint = Some(address(&value)?),
                "path_style" => {
                    let style = value.parse::<bool>();
                    path_style = Some(style.map_err(|_| causes::URL_PATH_STYLE.cause())?);
                }
                other => return Err(causes::URL_PARAMETER.naming("name", format!("{other:?}"))),
            }
        }
        // Amazon serves buckets as host names, except where a dot in the name would break the certificate;
        // other servers rarely have a name for each bucket.
        let path_style =
            path_style.unwrap_or(endpoint.is_some() || device_endpoint.is_some() || bucket.contains('.'));
        Ok(Self { bucket: bucket.to_owned(), region, endpoint, device_endpoint, path_style })
    }

    /// Takes the endpoint from the environment where the URL has none, as Amazon's own tools do.
    pub(crate) fn or_endpoint_of(self, environment: &BTreeMap<String, String>) -> Result<Self, StoreError> {
        let named = ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"].into_iter();
        let mut named = named.filter_map(|name| environment.get_key_value(name));
        let Some((name, text)) = named.next().filter(|_| self.endpoint.is_none()) else { return Ok(self) };
        let url = text.parse::<Url>().ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        let url = url.ok_or_else(|| invalid(causes::ENDPOINT_VARIABLE.with("name", name.as_str())))?;
        Ok(Self { endpoint: Some(url), path_style: true, ..self })
    }

    /// The same as devices reach it.
    pub(crate) fn for_devices(&self) -> Self {
        Self { endpoint: self.device_endpoint.clone().or(self.endpoint.clone()), ..self.clone() }
    }

    pub(crate) fn is_amazon(&self) -> bool {
        let host = self.endpoint.as_ref().and_then(Url::host_str);
        host.is_none_or(|host| host.ends_with(".amazonaws.com") || host.ends_with(".amazonaws.com.cn"))
    }

    /// The endpoint as `object_store` wants it: with the bucket in its host name unless it belongs into the path.
    pub(crate) fn endpoint_for_client(&self) -> Option<String> {
        let mut endpoint = self.endpoint.clone()?;
        if !self.path_style {
            let host = format!("{}.{}", self.bucket, endpoint.host_str()?);
            endpoint.set_host(Some(&host)).ok()?;
        }
        Some(endpoint.as_str().trim_end_matches('/').to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn s3(text: &str) -> S3Location {
        match Location::parse(text).expect("a location") {
            Location::S3(location) => location,
            Location::Folder(folder) => panic!("{folder:?}"),
        }
    }

    #[test]
    fn folders_are_relative_or_absolute() {
        for (text, folder) in
            [("file:a/b", "a/b"), ("file:/a/b", "/a/b"), ("file:///a%20b", "/a b"), ("file:a%20b", "a%20b")]
        {
            assert_eq!(Location::parse(text).expect("a location"), Location::Folder(folder.into()));
        }
    }

    #[test]
    fn buckets_are_host_names_unless_there_is_an_endpoint() {
        assert!(!s3("s3://my-bucket?region=ap-south-1").path_style);
        assert!(s3("s3://my.bucket").path_style);
        let local = s3("s3://b?endpoint=http://127.0.0.1:9000");
        assert!(local.path_style);
        assert_eq!(local.endpoint_for_client().as_deref(), Some("http://127.0.0.1:9000"));
        let hosted = s3("s3://b?endpoint=https://s3.example.com/&path_style=false");
        assert_eq!(hosted.endpoint_for_client().as_deref(), Some("https://b.s3.example.com"));
    }

    #[test]
    fn devices_may_reach_it_by_another_host() {
        let apart = s3("s3://b?endpoint=http://minio:9000&device_endpoint=https://s3.example.com");
        assert_eq!(apart.endpoint_for_client().as_deref(), Some("http://minio:9000"));
        assert_eq!(apart.for_devices().endpoint_for_client().as_deref(), Some("https://s3.example.com"));
        let alike = s3("s3://b?endpoint=http://minio:9000");
        assert_eq!(alike.for_devices(), alike);
    }

    #[test]
    fn what_is_not_a_store_is_refused_with_what_would_be() {
        for text in [
            "",
            "file:",
            "store",
            "http://x/y",
            "s3://",
            "s3://b/prefix",
            "s3://b?regoin=x",
            "s3://key:secret@b",
            "s3://b?path_style=maybe",
            "s3://b?endpoint=ftp://x",
            "s3://b?endpoint=nonsense",
            "s3://b?device_endpoint=s3.example.com",
        ] {
            let error = Location::parse(text).expect_err(text).to_string();
            assert!(error.contains("s3://bucket?region=REGION"), "{error}");
            assert!(!error.contains("secret@"), "{error}");
        }
    }
}
