use super::*;
use crate::objects::client::client;
use crate::objects::location::Location;
use crate::objects::settings::Limits;

fn sentence(action: Action, source: impl Into<Box<dyn StdError + Send + Sync>>) -> String {
    let error = object_store::Error::Generic { store: "test", source: source.into() };
    explain("the bucket b", action, "p/product.json", error).to_string()
}

#[test]
fn a_full_disk_and_a_missing_permission_are_named() {
    let full = sentence(Action::Write, io::Error::from(io::ErrorKind::StorageFull));
    assert_eq!(
        full,
        "cannot write p/product.json in the bucket b: the disk is full; make room and run this again"
    );
    let denied = sentence(Action::Read, io::Error::from(io::ErrorKind::PermissionDenied));
    assert!(denied.contains("permission denied; give the user that runs this access"), "{denied}");
}

/// What fails with a sentence that is made here, for each kind of them.
fn all_sentences() -> Vec<String> {
    let codes = [
        "<Code>NoSuchBucket</Code>",
        "<Code>InvalidAccessKeyId</Code>",
        "<Code>SignatureDoesNotMatch</Code>",
        "<Code>InvalidObjectState</Code><StorageClass>GLACIER</StorageClass>",
        "<Code>KMS.DisabledException</Code>",
        "<Code>AccessDenied</Code><Message>Requester Pays</Message>",
        "<Code>AllAccessDisabled</Code>",
        "<Code>MethodNotAllowed</Code>",
        "<Code>EntityTooLarge</Code>",
        "<Code>QuotaExceeded</Code>",
        "<Code>BadDigest</Code>",
        "<Code>InvalidRequest</Code><Message>Content-MD5 is required</Message>",
        "<Code>InternalError</Code>",
        "status code: 502 Bad Gateway: <html><title>Bad Gateway</title>",
        "ETag Header missing from response",
        "<Code>ExpiredToken</Code>",
        "<Code>RequestTimeTooSkewed</Code>",
        "<Code>AuthorizationHeaderMalformed</Code><Region>eu-central-1</Region>",
        "<Code>PermanentRedirect</Code>",
        "<Code>AccessDenied</Code><Message>kms:Decrypt</Message>",
        "<Code>AccessDenied</Code>",
        "<Code>SlowDown</Code>",
        "error sending request: timed out",
        "error sending request: invalid peer certificate: UnknownIssuer",
        "error sending request: received corrupt message of type InvalidContentType",
        "error sending request: invalid HTTP version parsed",
        "cannot read the token file: no such file",
        "Error performing POST REDACTED: <Code>AccessDenied</Code>",
        &format!("{CONTAINER}: the agent answers 404"),
        NO_CREDENTIALS,
    ];
    let kinds =
        [io::ErrorKind::StorageFull, io::ErrorKind::PermissionDenied, io::ErrorKind::ReadOnlyFilesystem];
    let mut all: Vec<String> = codes.map(|code| sentence(Action::Write, code)).into();
    all.extend(kinds.map(|kind| sentence(Action::Write, io::Error::from(kind))));
    for pairs in [
        &[("AWS_ACCESS_KEY_ID", "k")][..],
        &[("AWS_CONTAINER_CREDENTIALS_FULL_URI", "ftp://localhost/")],
        &[("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://192.0.2.7/")],
        &[("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "v2")],
    ] {
        let environment =
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let Ok(Location::S3(location)) = Location::parse("s3://b") else { panic!("a bucket") };
        all.push(client(&location, &environment, Limits::default()).expect_err("it is wrong").to_string());
    }
    all
}

/// Whether a row's words, between which `…` stands for any, are in a text in this order.
fn matches_row(row: &str, text: &str) -> bool {
    let mut rest = text;
    row.split('…').all(|words| match rest.split_once(words.trim()) {
        Some((_, after)) => {
            rest = after;
            true
        }
        None => false,
    })
}

#[test]
fn each_sentence_has_its_row_on_the_page_and_each_row_its_sentence() {
    let page = include_str!("../../../../../docs/store.md");
    let (_, table) = page.split_once("| it says | what to do |").expect("the table");
    let rows: Vec<&str> =
        table.lines().skip(2).filter_map(|row| row.strip_prefix("| ")?.split(" | ").next()).collect();
    let sentences = all_sentences();
    for sentence in &sentences {
        let rows: Vec<&&str> = rows.iter().filter(|row| matches_row(row, sentence)).collect();
        assert_eq!(rows.len(), 1, "{sentence}: {rows:?}");
    }
    // Those that are made where what they speak of is found out.
    let elsewhere = include_str!("../../../../cause/src/store.rs").replace("\\\"", "\"");
    let elsewhere = elsewhere + include_str!("../../../../cause/src/gate.rs");
    for row in rows {
        let is_known =
            sentences.iter().any(|sentence| matches_row(row, sentence)) || matches_row(row, &elsewhere);
        assert!(is_known, "nothing says {row:?}");
    }
}
