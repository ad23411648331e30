//! A listing of S3 that passes over keys which `object_store` cannot name.
//!
//! `object_store` gives up on a whole page when one key in it has an empty segment or a ".." (`aws s3 cp x
//! s3://bucket//x` makes such keys). Then, and only then, the list is asked for here: ListObjectsV2, presigned.

use std::time::Duration;

use object_store::Result;
use object_store::path::Path;
use object_store::signer::{Method, SignedUrlOptions, Signer};
use serde::Deserialize;
use url::form_urlencoded;

use crate::objects::explain::failed;
use crate::objects::object::{Found, Tag};

/// At most this many objects or names are looked at in one listing; a bucket that has more is not ours to walk.
pub(crate) const LISTED_MAX: usize = 200_000;

/// At most this much is read of one page; a page of 1,000 keys of 1,024 bytes, percent-encoded, fits.
const PAGE_MAX_BYTES: usize = 8 * 1024 * 1024;

#[derive(Debug, Default)]
pub(crate) struct Listing {
    pub(crate) folders: Vec<String>,
    pub(crate) objects: Vec<Found>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Page {
    #[serde(default)]
    contents: Vec<Contents>,
    #[serde(default)]
    common_prefixes: Vec<Prefix>,
    next_continuation_token: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Contents {
    key: String,
    size: u64,
    #[serde(rename = "ETag")]
    etag: Option<String>,
    last_modified: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Prefix {
    prefix: String,
}

/// Lists what is below a folder ("" is the top): all objects, or up to a delimiter, behind which are folders.
pub(crate) async fn list(signer: &dyn Signer, folder: &str, delimiter: Option<&str>) -> Result<Listing> {
    let http = reqwest::Client::builder().timeout(Duration::from_secs(30)).build().map_err(failed)?;
    let prefix = if folder.is_empty() { String::new() } else { format!("{folder}/") };
    let mut listing = Listing::default();
    let mut next: Option<String> = None;
    let mut seen = 0;
    loop {
        let mut query = vec![("list-type", "2"), ("encoding-type", "url"), ("prefix", prefix.as_str())];
        query.extend(delimiter.map(|delimiter| ("delimiter", delimiter)));
        query.extend(next.as_deref().map(|token| ("continuation-token", token)));
        let options = SignedUrlOptions::new().with_query(query);
        let url = signer.signed_url_opts(Method::GET, &Path::ROOT, Duration::from_mins(1), &options).await?;
        let page = page(&http, url).await?;
        // A page counts even if it is empty, so that there is an end in any case.
        seen += 1 + page.contents.len() + page.common_prefixes.len();
        for found in page.common_prefixes {
            let name = decode(&found.prefix);
            let name = name.strip_prefix(&prefix).and_then(|name| name.strip_suffix('/'));
            listing.folders.extend(name.map(str::to_owned));
        }
        listing.objects.extend(page.contents.into_iter().map(|found| {
            let modified = found.last_modified.and_then(|time| time.parse().ok());
            let tag = Tag(found.etag.unwrap_or_default());
            Found { key: decode(&found.key), size: found.size, tag, modified, encoding: None }
        }));
        next = page.next_continuation_token;
        if next.is_none() || seen >= LISTED_MAX {
            return Ok(listing);
        }
    }
}

async fn page(http: &reqwest::Client, url: url::Url) -> Result<Page> {
    // The URL is a secret for a minute: it must not come along in an error.
    let mut answer = http.get(url).send().await.map_err(|error| failed(error.without_url()))?;
    let status = answer.status();
    let mut body = Vec::new();
    while let Some(piece) = answer.chunk().await.map_err(|error| failed(error.without_url()))? {
        if body.len() + piece.len() > PAGE_MAX_BYTES {
            return Err(failed("a page of the listing has more than 8 MiB"));
        }
        body.extend_from_slice(&piece);
    }
    let text = String::from_utf8_lossy(&body);
    if !status.is_success() {
        return Err(failed(format!("the listing was answered with {status}: {text}")));
    }
    quick_xml::de::from_str(&text).map_err(failed)
}

/// Undoes `encoding-type=url`.
fn decode(text: &str) -> String {
    form_urlencoded::parse(text.as_bytes()).next().map_or_else(String::new, |(key, _)| key.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encoded_keys_are_decoded() {
        assert_eq!(
            decode("esp32s3/releases/v1.0.0%2Ba/version.txt"),
            "esp32s3/releases/v1.0.0+a/version.txt"
        );
        assert_eq!(decode("a+b%26c"), "a b&c");
        assert_eq!(decode(""), "");
    }
}
