//! Each thing that can be wrong with a bucket has its sentence, and no sentence has a secret in it.

use std::error::Error;

use axum::body::Body;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use contract::ChannelName;
use updraft_store::{Options, Store, StoreError};

use crate::place::{Place, product, publish, s3_image, s3_options, s3_url};
use crate::servers::{serve, strict};

const TOKEN: &str = "the-session-token-is-a-secret";

fn options() -> Options {
    let mut options = s3_options();
    options.environment.insert("AWS_SECRET_ACCESS_KEY".to_owned(), "the-secret-key".to_owned());
    options.environment.insert("AWS_SESSION_TOKEN".to_owned(), TOKEN.to_owned());
    options
}

/// What is said, with all that is below it.
fn all_said(error: &StoreError) -> String {
    let below = error.source().map(ToString::to_string).unwrap_or_default();
    format!("{error} / {below}")
}

/// A server that answers every request like this; to HEAD without the body, as HTTP has it.
fn always(status: u16, body: impl Into<String>) -> String {
    let body = body.into();
    serve(move |request| {
        let body = if request.method() == "HEAD" { String::new() } else { body.clone() };
        let status = StatusCode::from_u16(status).expect("a status");
        async move { (status, [("content-type", "application/xml")], Body::from(body)).into_response() }
    })
}

const UNSPECIFIC: &str =
    "The unspecified location constraint is incompatible for the region specific endpoint";
const SPECIFIC: &str = "The me-south-1 location constraint is incompatible for the region specific endpoint";

/// What the "Error responses" page of Amazon's S3 API reference documents: status, code, message; and the words that must be
/// said. A token and what was signed come along, and are secret.
const CASES: &[(u16, &str, &str, &str)] = &[
    (404, "NoSuchBucket", "The specified bucket does not exist", "there is no such bucket"),
    (403, "AccessDenied", "User: arn:aws:iam::1:user/ci is not authorized", "the policy has to allow s3:"),
    (403, "AccessDenied", "not authorized to perform: kms:GenerateDataKey", "KMS key"),
    (403, "InvalidAccessKeyId", "The key does not exist", "does not accept the credentials"),
    (
        403,
        "SignatureDoesNotMatch",
        "The request signature we calculated",
        "AWS_SECRET_ACCESS_KEY does not belong to",
    ),
    (400, "AuthorizationHeaderMalformed", "the Credential is mal-formed", "does not accept the credentials"),
    (
        403,
        "InvalidObjectState",
        "not valid</Message><StorageClass>GLACIER</StorageClass><Message>",
        "it is archived (GLACIER)",
    ),
    (
        403,
        "InvalidObjectState",
        "The operation is not valid for the object's access tier",
        "let the lifecycle rule or",
    ),
    (403, "AccessDenied", "Bucket is configured as Requester Pays", "set AWS_REQUEST_PAYER=requester"),
    (403, "AccessDenied", "Request has expired", "this machine's clock is wrong"),
    (
        403,
        "AllAccessDisabled",
        "All access has been disabled",
        "the account or the bucket is closed (AllAccessDisabled)",
    ),
    (400, "KMS.DisabledException", "arn:aws:kms:… is disabled.", "cannot be used (KMS.DisabledException)"),
    (400, "KMS.NotFoundException", "Key does not exist", "the KMS key that it is encrypted with"),
    (400, "KMSInvalidStateException", "is pending deletion.", "enable that key again"),
    (405, "MethodNotAllowed", "not allowed against this resource", "has to be the address of the S3 API"),
    (400, "EntityTooLarge", "exceeds the maximum allowed object size", "client_max_body_size"),
    (403, "QuotaExceeded", "over quota", "the store is full, or a quota is"),
    (400, "BadDigest", "did not match what we received", "what arrived is not what was sent (BadDigest)"),
    (
        400,
        "InvalidRequest",
        "Content-MD5 OR x-amz-checksum- HTTP header is required",
        "as one with Object Lock does",
    ),
    (400, "InvalidRequest", "Something else", "InvalidRequest: Something else"),
    (418, "XYouNeverHeardOf", "What it says", "XYouNeverHeardOf: What it says"),
    (400, "InvalidToken", "The provided token is malformed", "AWS_SESSION_TOKEN"),
    (400, "ExpiredToken", "The provided token has expired.", "session token has expired"),
    (403, "RequestTimeTooSkewed", "The difference is too large.", "this machine's clock is wrong"),
    (
        400,
        "AuthorizationHeaderMalformed",
        "expecting it</Message><Region>eu-central-1</Region><Message>",
        "put ?region=eu-central-1 into",
    ),
    (301, "PermanentRedirect", "must be addressed using the specified endpoint", "in another region"),
    (400, "IllegalLocationConstraintException", SPECIFIC, "put ?region=me-south-1 into"),
    (400, "IllegalLocationConstraintException", UNSPECIFIC, "give the right one as ?region="),
    (
        403,
        "",
        "<html><head><title>Access\n denied</title></head>",
        "a web page answers there (403 Forbidden), \"Access denied\"",
    ),
    (400, "", "<!DOCTYPE html><body>Log in</body>", "a proxy, a firewall or a login page"),
    (413, "", "<html><title>413 Request Entity Too Large</title></html>", "client_max_body_size"),
    (405, "", "no", "method not allowed"),
    (400, "", "Client sent an HTTP request to an HTTPS server.", "write https:// in endpoint="),
];

fn body((_, code, message, _): &(u16, &str, &str, &str)) -> String {
    if code.is_empty() {
        return (*message).to_owned();
    }
    format!(
        "<Error><Code>{code}</Code><Message>{message}</Message><Token-0>{TOKEN}</Token-0>\
             <StringToSign>AWS4-HMAC-SHA256</StringToSign></Error>"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn each_error_of_s3_has_its_sentence_for_every_kind_of_request() {
    for case in CASES {
        let (status, .., words) = case;
        let endpoint = always(*status, body(case));
        let store = Store::open(&s3_url(&endpoint, "b"), options()).await.expect("opens");
        let key = "esp32s3/releases/v1.0.0/firmware.bin";
        let errors = [
            // HEAD and then GET for its reason, GET, a listing, a listing of everything.
            store.object(key).await.map(drop).expect_err(words),
            store.channel(&product(), &ChannelName::production()).await.map(drop).expect_err(words),
            store.products().await.map(drop).expect_err(words),
            store.releases(&product()).await.map(drop).expect_err(words),
            store.check().await.expect_err(words),
        ];
        for error in errors {
            if *status == 404 && matches!(error, StoreError::NotFound(_)) {
                // To HEAD, a bucket that is not there is as silent as a key that is not.
                continue;
            }
            assert!(matches!(error, StoreError::Unavailable { .. }), "{words}: {error:?}");
            let said = all_said(&error);
            assert!(said.contains(words) && said.contains("the bucket b"), "{words}: {said}");
            for secret in [TOKEN, "the-secret-key", "AWS4-HMAC", "X-Amz-"] {
                assert!(!said.contains(secret), "{secret} is in {said}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_permission_names_the_action_and_the_key() {
    let denied = "<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>";
    let store = Store::open(&s3_url(&always(403, denied), "b"), options()).await.expect("opens");
    let key = "esp32s3/releases/v1.0.0/firmware.bin";
    let read = store.object(key).await.map(drop).expect_err("denied").to_string();
    assert!(read.contains(&format!("cannot read {key} in the bucket b")), "{read}");
    assert!(read.contains("allow s3:GetObject"), "{read}");
    let listed = store.releases(&product()).await.expect_err("denied").to_string();
    assert!(listed.contains("esp32s3/releases") && listed.contains("allow s3:ListBucket"), "{listed}");
    // Whoever may read everything and write nothing.
    let front = crate::servers::Front::before(crate::servers::moto(), |parts| {
        if parts.method == "PUT" && !parts.uri.path().ends_with("/updraft-probe") {
            return crate::servers::Rule::Answer(crate::servers::s3_error(403, "AccessDenied", ""));
        }
        crate::servers::Rule::Pass
    });
    let place = Place::behind(&front.url, &crate::place::moto_bucket().await).await;
    let error = place.publish("1.0.0", &s3_image("1.0.0", 1)).await.expect_err("denied").to_string();
    assert!(error.contains("cannot write esp32s3/releases/v1.0.0/firmware.bin"), "{error}");
    assert!(error.contains("allow s3:PutObject"), "{error}");
}

/// After the retries, which take a second or two each.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_too_much_or_fails_inside_is_told_apart() {
    for (status, code, words) in [
        (503, "SlowDown", "asked too much"),
        (429, "TooManyRequests", "asked too much"),
        (400, "ThrottlingException", "asked too much"),
        (500, "InternalError", "the store failed inside"),
        (507, "XMinioStorageFull", "the store is full"),
        (502, "", "a web page answers there (502 Bad Gateway), \"502 Bad Gateway\""),
        (503, "", "a web page answers there (503 Service Unavailable)"),
    ] {
        let page = format!("<html><head><title>{status} Bad Gateway</title></head></html>");
        let body = if code.is_empty() { page } else { format!("<Error><Code>{code}</Code></Error>") };
        let store = Store::open(&s3_url(&always(status, body), "b"), options()).await.expect("opens");
        let error = store.products().await.expect_err(words).to_string();
        assert!(error.contains(words), "{status} {code}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_without_a_header_that_s3_always_gives_is_named() {
    let front = crate::servers::Front::before(crate::servers::moto(), |parts| {
        let change: fn(&mut Response) = |answer| drop(answer.headers_mut().remove("etag"));
        crate::servers::Rule::Changed(parts.headers.clone(), change)
    });
    let place = Place::behind(&front.url, &crate::place::moto_bucket().await).await;
    let error = place.publish("1.0.0", &s3_image("1.0.0", 1)).await.expect_err("no tag").to_string();
    assert!(error.contains("the answer has no ETag"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bare_redirect_is_the_wrong_region() {
    let endpoint =
        serve(|_| async { Response::builder().status(301).body(Body::empty()).expect("a response") });
    let store = Store::open(&s3_url(&endpoint, "b"), options()).await.expect("opens");
    let error = store.products().await.expect_err("redirected").to_string();
    assert!(error.contains("in another region"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_server_that_refuses_the_credentials_is_understood() {
    let place = Place::strict().await;
    place.publish("1.0.0", &s3_image("1.0.0", 1)).await.expect("published");
    let (_, bucket) = place.address();
    for (name, value, words) in [
        ("AWS_ACCESS_KEY_ID", "somebody", "S3 does not accept the credentials"),
        ("AWS_SECRET_ACCESS_KEY", "something", "S3 does not accept the signature"),
    ] {
        let mut options = s3_options();
        options.environment.insert(name.to_owned(), value.to_owned());
        let store = Store::open(&s3_url(&strict().url, bucket), options).await.expect("opens");
        for error in [
            store.products().await.map(drop).expect_err("refused"),
            store.check().await.expect_err("refused"),
            publish(&store, "1.1.0", &s3_image("1.1.0", 1)).await.map(drop).expect_err("refused"),
        ] {
            assert!(error.to_string().contains(words), "{name}: {error}");
            assert!(!all_said(&error).contains("something"), "{error}");
        }
    }
    let missing = Store::open(&s3_url(&strict().url, "nowhere"), s3_options()).await.expect("opens");
    let error = missing.products().await.expect_err("no bucket").to_string();
    assert!(error.contains("there is no such bucket"), "{error}");
}
