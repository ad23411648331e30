//! Stores that are almost S3. Those that compare in some form are written like Amazon's; of the others only one process may write, and a
//! bad release can be blocked in each.

use std::time::{Duration, Instant};

use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::Response;
use bytes::Bytes;
use cause::store as causes;
use updraft_store::{Content, Options, Slot, Store, StoreError, Writers};

use crate::place::{Place, moto_bucket, product, production, publish, s3_image, s3_options, s3_url, v};
use crate::servers::{Front, Rule, moto, s3_error};

type Quirk = fn(&Parts) -> Rule;

fn is_put(parts: &Parts) -> bool {
    parts.method == "PUT"
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn without(parts: &Parts, name: &str) -> HeaderMap {
    let mut headers = parts.headers.clone();
    headers.remove(name);
    headers
}

fn with(parts: &Parts, name: &'static str, value: &str) -> HeaderMap {
    let mut headers = parts.headers.clone();
    headers.insert(HeaderName::from_static(name), HeaderValue::from_str(value).expect("a header"));
    headers
}

fn unchanged(_: &mut Response) {}

fn retag(answer: &mut Response, change: fn(&str) -> String) {
    if let Some(tag) = text(answer.headers(), "etag").map(change) {
        answer.headers_mut().insert("etag", HeaderValue::from_str(&tag).expect("a header"));
    }
}

fn weaken(answer: &mut Response) {
    retag(answer, |tag| format!("W/{tag}"));
}

fn refused() -> Rule {
    Rule::Answer(s3_error(412, "PreconditionFailed", ""))
}

/// Passes a tag on as moto wants it, if it has this form.
fn only(parts: &Parts, in_form: fn(&str) -> Option<String>, else_said: fn() -> Rule) -> Rule {
    match text(&parts.headers, "if-match").filter(|_| is_put(parts)).map(in_form) {
        None => Rule::Pass,
        Some(Some(tag)) => Rule::Changed(with(parts, "if-match", &tag), unchanged),
        Some(None) => else_said(),
    }
}

fn bare(tag: &str) -> Option<String> {
    (!tag.starts_with(['"', 'W'])).then(|| format!("\"{tag}\""))
}

/// What each server does, of those that compare in one form or another.
const COMPARING: &[(&str, Quirk)] = &[
    ("takes tags without quotes alone", |parts| only(parts, bare, refused)),
    ("calls tags with quotes malformed", |parts| {
        only(parts, bare, || Rule::Answer(s3_error(400, "InvalidArgument", "")))
    }),
    ("takes weak tags alone", |parts| {
        let weak = |tag: &str| tag.strip_prefix("W/").map(str::to_owned);
        match only(parts, weak, refused) {
            Rule::Pass => Rule::Changed(parts.headers.clone(), weaken),
            Rule::Changed(headers, _) => Rule::Changed(headers, weaken),
            rule => rule,
        }
    }),
    ("is behind a proxy that makes tags weak", |parts| Rule::Changed(parts.headers.clone(), weaken)),
    ("is behind a proxy that makes tags weak in some answers", |parts| {
        Rule::Changed(parts.headers.clone(), if parts.method == "GET" { weaken } else { unchanged })
    }),
    ("gives tags without quotes", |parts| {
        Rule::Changed(parts.headers.clone(), |answer| retag(answer, |tag| tag.trim_matches('"').to_owned()))
    }),
    ("answers a write with another tag than a read", |parts| {
        let change: fn(&mut Response) = |answer| retag(answer, |_| "\"of-the-write\"".to_owned());
        Rule::Changed(parts.headers.clone(), if is_put(parts) { change } else { unchanged })
    }),
    ("writes where the tag's object is gone", |parts| {
        if is_put(parts) { Rule::UnconditionalIfMissing } else { Rule::Pass }
    }),
    ("knows no If-Match in a read", |parts| {
        if !is_put(parts) && parts.headers.contains_key("if-match") { refused() } else { Rule::Pass }
    }),
    ("answers a part with all of it", |parts| Rule::Changed(without(parts, "range"), unchanged)),
    ("has Object Lock", |parts| {
        if is_put(parts) && !parts.headers.contains_key("content-md5") {
            let said = "<Message>Content-MD5 OR x-amz-checksum- HTTP header is required for Put Object requests with Object Lock parameters</Message>";
            return Rule::Answer(s3_error(400, "InvalidRequest", said));
        }
        Rule::Pass
    }),
    ("refuses checksums as malformed", |parts| without_checksum(parts, 400, "InvalidRequest")),
    ("knows no checksums", |parts| without_checksum(parts, 501, "NotImplemented")),
    ("denies checksums", |parts| without_checksum(parts, 403, "AccessDenied")),
    ("calls a true condition's failure a conflict", |parts| {
        let change: fn(&mut Response) = |answer| {
            if answer.status() == 412 {
                *answer.status_mut() = axum::http::StatusCode::CONFLICT;
            }
        };
        let is_create = is_put(parts) && parts.headers.contains_key("if-none-match");
        Rule::Changed(parts.headers.clone(), if is_create { change } else { unchanged })
    }),
];

fn without_checksum(parts: &Parts, status: u16, code: &str) -> Rule {
    let has = is_put(parts) && parts.headers.contains_key("content-md5");
    if has { Rule::Answer(s3_error(status, code, "")) } else { Rule::Pass }
}

/// The others, and the cause that is told of each.
const UNRELIABLE: &[(&str, Quirk, cause::Entry)] = &[
    ("ignores If-Match", |parts| Rule::Changed(without(parts, "if-match"), unchanged), causes::NO_CONDITIONS),
    (
        "ignores If-None-Match",
        |parts| Rule::Changed(without(parts, "if-none-match"), unchanged),
        causes::NO_CONDITIONS,
    ),
    (
        "refuses each If-Match",
        |parts| if is_put(parts) && parts.headers.contains_key("if-match") { refused() } else { Rule::Pass },
        causes::CONDITION_REFUSED,
    ),
    (
        "refuses each If-None-Match",
        |parts| {
            if is_put(parts) && parts.headers.contains_key("if-none-match") { refused() } else { Rule::Pass }
        },
        causes::CONDITION_REFUSED,
    ),
    (
        "refuses a true If-Match, but not where it is tried out",
        |parts| {
            let is_probe = parts.uri.path().ends_with("/updraft-probe");
            if is_put(parts) && !is_probe && parts.headers.contains_key("if-match") {
                return refused();
            }
            Rule::Pass
        },
        causes::CONDITION_REFUSED,
    ),
    (
        "refuses a true If-None-Match, but not where it is tried out",
        |parts| {
            let is_probe = parts.uri.path().ends_with("/updraft-probe");
            if is_put(parts) && !is_probe && parts.headers.contains_key("if-none-match") {
                return refused();
            }
            Rule::Pass
        },
        causes::CONDITION_REFUSED,
    ),
    (
        "knows no conditions",
        |parts| {
            let is_conditional = |name: &&str| parts.headers.contains_key(*name);
            if is_put(parts) && ["if-match", "if-none-match"].iter().any(is_conditional) {
                return Rule::Answer(s3_error(501, "NotImplemented", ""));
            }
            Rule::Pass
        },
        causes::NO_CONDITIONS,
    ),
];

/// All that is ever written over something.
async fn all_that_is_written(store: &Store) -> Result<(), StoreError> {
    let product = product();
    let images: Vec<Bytes> = ["1.0.0", "1.1.0"].map(|version| s3_image(version, 1)).into();
    publish(store, "1.0.0", &images[0]).await?;
    assert!(publish(store, "1.0.0", &images[0]).await?.already_there);
    publish(store, "1.1.0", &images[1]).await?;
    for version in ["1.0.0", "1.1.0", "1.0.0"] {
        store.promote(&product, &v(version), &production()).await?;
        assert_eq!(store.channel(&product, &production()).await?, Some(v(version)));
    }
    store.block(&product, &v("1.1.0"), "Boot loop").await?;
    store.block(&product, &v("1.2.0"), "").await?;
    store.unblock(&product, &v("1.2.0")).await?;
    assert!(store.blocked(&product).await?.cause(&v("1.1.0")).is_some());
    assert!(store.blocked(&product).await?.cause(&v("1.2.0")).is_none());
    assert_eq!(store.raise_secure_version(&product, &v("1.0.0")).await?, 1);
    for bytes in [2_000_000, 1_000_000] {
        let slot = Slot { bytes, device: Some("d".to_owned()) };
        assert!(store.record_slot(&product, &slot).await?);
    }
    let object = store.object("esp32s3/releases/v1.0.0/firmware.bin").await?;
    assert_eq!(store.releases(&product).await?.len(), 2);
    for range in [0..object.size, 100..200, object.size - 32..object.size] {
        let read = match object.read(range.clone()).await? {
            Some(Content::Kept(bytes)) => bytes,
            Some(Content::Streamed(stream)) => {
                futures_util::TryStreamExt::try_collect::<Vec<_>>(stream).await?.concat().into()
            }
            None => panic!("nobody replaced it"),
        };
        let at = |offset: u64| usize::try_from(offset).expect("small");
        assert!(read == images[0][at(range.start)..at(range.end)], "{range:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_compares_in_any_form_is_written_like_amazon_s() {
    for (what, quirk) in COMPARING {
        let front = Front::before(moto(), *quirk);
        let place = Place::behind(&front.url, &moto_bucket().await).await;
        let began = Instant::now();
        if let Err(error) = all_that_is_written(&place.store).await {
            panic!("a store that {what}: {error}");
        }
        let is_conditional = place.again().await.prepare_to_write().await;
        is_conditional.unwrap_or_else(|error| panic!("a store that {what}: {error}"));
        assert!(began.elapsed() < Duration::from_secs(15), "{what}: {:?}", began.elapsed());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_no_condition_can_be_relied_on_the_one_server_writes_all_and_others_are_told_why() {
    for (what, quirk, why) in UNRELIABLE {
        let front = Front::before(moto(), *quirk);
        let bucket = moto_bucket().await;
        let options = Options { writers: Writers::One, ..s3_options() };
        let store = Store::open(&s3_url(&front.url, &bucket), options).await.expect("opens");
        let began = Instant::now();
        if let Err(error) = all_that_is_written(&store).await {
            panic!("a store that {what}: {error}");
        }
        let other = Place::behind(&front.url, &bucket).await;
        let writes = [
            other.store.block(&product(), &v("1.0.0"), "over what is there").await,
            other.store.block(&"lamp".parse().expect("a product"), &v("1.0.0"), "where nothing is").await,
        ];
        let refused: Vec<StoreError> = writes.into_iter().filter_map(Result::err).collect();
        // Where it is not tried out, it is found out by the write that is refused.
        assert_eq!(
            refused.len(),
            if what.contains("true If-None-Match") { 1 } else { 2 },
            "a store that {what}"
        );
        for error in refused {
            assert!(error.cause().is(*why), "a store that {what}: {error}");
            assert!(error.to_string().contains("only one program may write to it"), "{error}");
        }
        assert!(began.elapsed() < Duration::from_secs(15), "{what}: {:?}", began.elapsed());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn devices_get_urls_of_the_host_that_they_reach() {
    let bucket = moto_bucket().await;
    for (parameters, begin) in [
        ("&device_endpoint=https://firmware.example.com", format!("https://firmware.example.com/{bucket}/")),
        (
            "&device_endpoint=https://firmware.example.com/files&path_style=false",
            format!("https://{bucket}.firmware.example.com/files/"),
        ),
        ("", format!("{}/{bucket}/", moto())),
    ] {
        let url = format!("s3://{bucket}?region=us-east-1&endpoint={}{parameters}", moto());
        let store = Store::open(&url, s3_options()).await.expect("opens");
        let key = "esp32s3/releases/v1.0.0/firmware.bin";
        let signed = store.sign(key, Duration::from_mins(5)).await.expect("signed");
        assert!(signed.as_str().starts_with(&format!("{begin}{key}?")), "{signed}");
    }
}
