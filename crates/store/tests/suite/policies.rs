//! The policies in docs/store.md are enforced by a front before a bucket: each lets through all that its user does, and what
//! it is there to keep out it keeps out.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::http::request::Parts;
use serde_json::Value;
use updraft_store::{Publication, Slot, StoreError};

use crate::place::{Place, moto_bucket, product, production, reqwest_client, s3_image, v};
use crate::servers::{Front, Rule, moto, s3_error};

const BUCKET: &str = "arn:aws:s3:::firmware";
const RELEASE: &str = "esp32s3/releases/v1.0.0";
const SLOT: Slot = Slot { bytes: 2_000_000, device: None };

/// The JSON block of the page that follows these words.
fn block(after: &str) -> Value {
    let page = include_str!("../../../../docs/store.md");
    let (_, rest) = page.split_once(after).unwrap_or_else(|| panic!("docs/store.md has {after:?}"));
    let text = rest.split("```json\n").nth(1).and_then(|rest| rest.split("```").next()).expect("a block");
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// What a request asks a policy for.
struct Need {
    action: &'static str,
    resource: String,
    prefix: Option<String>,
    has_if_none_match: bool,
}

/// What S3 looks up in the policies for a request (Amazon's "Actions, resources, and condition keys for Amazon S3"). That a
/// key does not exist is told only to whom may list it.
fn needs(parts: &Parts) -> Vec<Need> {
    let path = parts.uri.path().trim_start_matches('/');
    let key = path.split_once('/').map_or("", |(_, key)| key);
    let query: Vec<(String, String)> =
        url::form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes()).into_owned().collect();
    let said = |name: &str| query.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
    let need = |action, resource: &str, prefix| Need {
        action,
        resource: resource.to_owned(),
        prefix,
        has_if_none_match: parts.headers.contains_key("if-none-match"),
    };
    let object = format!("{BUCKET}/{key}");
    match (parts.method.as_str(), key) {
        ("GET", "") => vec![need("s3:ListBucket", BUCKET, Some(said("prefix").unwrap_or_default()))],
        ("GET" | "HEAD", key) => {
            vec![need("s3:GetObject", &object, None), need("s3:ListBucket", BUCKET, Some(key.to_owned()))]
        }
        ("PUT", _) => vec![need("s3:PutObject", &object, None)],
        (method, _) => panic!("{method} {} is in no policy", parts.uri),
    }
}

/// A text or an array of texts.
fn texts(value: &Value) -> Vec<&str> {
    match value {
        Value::Array(values) => values.iter().map(|value| value.as_str().expect("a text")).collect(),
        value => vec![value.as_str().expect("a text")],
    }
}

/// Whether a pattern with `*` is that of the whole text.
fn is_like(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((head, rest)) => text.strip_prefix(head).is_some_and(|tail| {
            (0..=tail.len()).any(|skip| tail.get(skip..).is_some_and(|tail| is_like(rest, tail)))
        }),
    }
}

fn applies(statement: &Value, need: &Need) -> bool {
    let is_wanted = texts(&statement["Action"]).contains(&need.action)
        && texts(&statement["Resource"]).iter().any(|pattern| is_like(pattern, &need.resource));
    let conditions = statement.get("Condition").and_then(Value::as_object).into_iter().flatten();
    is_wanted
        && conditions.into_iter().all(|(operator, keys)| match operator.as_str() {
            "StringLike" => {
                let prefix = need.prefix.as_deref();
                prefix
                    .is_some_and(|prefix| texts(&keys["s3:prefix"]).iter().any(|like| is_like(like, prefix)))
            }
            "Null" => keys["s3:if-none-match"] == "true" && !need.has_if_none_match,
            other => panic!("{other} is not known here"),
        })
}

fn allows(statements: &[Value], need: &Need) -> bool {
    let with = |effect: &str| statements.iter().any(|it| it["Effect"] == effect && applies(it, need));
    with("Allow") && !with("Deny")
}

/// A place as somebody with a policy sees it.
struct Behind {
    place: Place,
    /// The same bucket without a policy.
    open: Place,
    refused: Arc<Mutex<Vec<String>>>,
    needed: Arc<Mutex<Vec<Need>>>,
    front: Front,
}

impl Behind {
    async fn policy(statements: Vec<Value>) -> Self {
        let refused = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&refused);
        let needed: Arc<Mutex<Vec<Need>>> = Arc::default();
        let all_needs = Arc::clone(&needed);
        let front = Front::before(moto(), move |parts| {
            // Amazon's S3 is not asked whether it keeps conditions.
            let is_probe = parts.uri.path().ends_with("/updraft-probe");
            let needs = if is_probe { Vec::new() } else { needs(parts) };
            let is_allowed = needs.iter().all(|need| allows(&statements, need));
            all_needs.lock().expect("unpoisoned").extend(needs);
            if !is_allowed {
                noted.lock().expect("unpoisoned").push(format!("{} {}", parts.method, parts.uri.path()));
                return Rule::Answer(s3_error(403, "AccessDenied", ""));
            }
            Rule::Pass
        });
        let bucket = moto_bucket().await;
        let (place, open) = (Place::behind(&front.url, &bucket).await, Place::behind(moto(), &bucket).await);
        Self { place, open, refused, needed, front }
    }

    fn refused(&self) -> Vec<String> {
        std::mem::take(&mut *self.refused.lock().expect("unpoisoned"))
    }

    /// What a policy allows that nothing has needed so far.
    fn unneeded(&self, statements: &[Value]) -> Vec<String> {
        let needed = self.needed.lock().expect("unpoisoned");
        let mut unneeded = Vec::new();
        for statement in statements {
            for action in texts(&statement["Action"]) {
                for resource in texts(&statement["Resource"]) {
                    let is_needed = |need: &Need| need.action == action && is_like(resource, &need.resource);
                    if !needed.iter().any(is_needed) {
                        unneeded.push(format!("{action} {}", resource.trim_start_matches(BUCKET)));
                    }
                }
            }
        }
        unneeded
    }

    /// Publishes, promotes, and does both again.
    async fn publishes(&self) {
        for version in ["1.0.0", "1.1.0+build5", "1.1.0+build5"] {
            self.place.publish(version, &s3_image(version, 1)).await.expect("published");
            self.place.promote(version).await.expect("promoted");
        }
    }

    /// What a server does for the dashboard and for a device that checks for an update, and a person who looks.
    async fn reads(&self) {
        let (store, product) = (&self.place.store, product());
        store.check().await.expect("it answers");
        assert_eq!(store.products().await.expect("read"), std::slice::from_ref(&product));
        let publication = Publication { version: Some(v("2.0.0")), ..Publication::new(product.clone()) };
        store.judge(&publication, &s3_image("2.0.0", 1)).await.expect("judged");
        store.blocked(&product).await.expect("read");
        let releases = store.releases(&product).await.expect("read");
        assert_eq!(store.channels(&product).await.expect("read").len(), 1);
        let version = store.channel(&product, &production()).await.expect("read").expect("one");
        assert!(releases.iter().any(|release| release.version == version));
        store.releases_between(&product, &v("0.1.0"), &version).await.expect("read");
        let artifact = store.artifact(&product, &production(), &version).await.expect("read").expect("one");
        assert!(store.inspect(&artifact.key).await.expect("read").is_some());
        let url = store.sign(&artifact.key, Duration::from_mins(5)).await.expect("signed");
        let fetched = reqwest_client().get(url).send().await.expect("an answer");
        assert!(fetched.status().is_success(), "a device gets it: {}", fetched.status());
    }
}

fn statements(policy: &Value) -> Vec<Value> {
    assert_eq!(policy["Version"], "2012-10-17");
    policy["Statement"].as_array().expect("statements").clone()
}

fn denied(error: &StoreError, permission: &str) {
    let text = error.to_string();
    assert!(text.contains("permission denied") && text.contains(permission), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_policy_for_reading_lets_everything_be_read_and_nothing_be_written() {
    let behind = Behind::policy(statements(&block("**Read-only**"))).await;
    behind.open.publish("1.0.0", &s3_image("1.0.0", 1)).await.expect("published");
    behind.open.promote("1.0.0").await.expect("promoted");
    behind.reads().await;
    assert_eq!(behind.refused(), [""; 0]);
    denied(&behind.place.publish("1.1.0", &s3_image("1.1.0", 1)).await.expect_err("a write"), "s3:PutObject");
    let error = behind.place.store.block(&product(), &v("1.0.0"), "no").await.expect_err("a write");
    denied(&error, "s3:PutObject");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_policy_of_a_server_lets_it_do_all_that_it_does() {
    let behind = Behind::policy(statements(&block("**A server that publishes"))).await;
    behind.publishes().await;
    behind.reads().await;
    let store = &behind.place.store;
    store.block(&product(), &v("1.0.0"), "it loops").await.expect("blocked");
    store.unblock(&product(), &v("1.0.0")).await.expect("unblocked");
    assert!(store.record_slot(&product(), &SLOT).await.expect("recorded"));
    assert_eq!(behind.refused(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_policy_of_ci_confines_it_to_publishing_and_promoting_one_product() {
    let policy = statements(&block("**CI that works straight"));
    let behind = Behind::policy(policy.clone()).await;
    behind.publishes().await;
    let store = &behind.place.store;
    store.releases(&product()).await.expect("`updraft releases` of the product");
    assert!(store.product_exists(&product()).await.expect("read"));
    assert_eq!(store.blocked(&product()).await.expect("read").cause(&v("1.0.0")), None);
    // It may not know which other products there are, and is told of what is blocked in its own.
    assert!(behind.refused().iter().all(|asked| asked == "GET /updraft-0"));
    assert_eq!(behind.unneeded(&policy), [""; 0], "it allows more than is needed");
    // It blocks nothing, changes no setting, and sees and publishes no other product.
    denied(&store.block(&product(), &v("1.0.0"), "no").await.expect_err("a write"), "s3:PutObject");
    assert_eq!(behind.refused().iter().filter(|asked| asked.starts_with("PUT")).count(), 1);
    assert_eq!(behind.open.get("esp32s3/rollback/blocked_versions.json").await, None);
    denied(&store.record_slot(&product(), &SLOT).await.expect_err("a write"), "s3:PutObject");
    denied(&store.products().await.map(drop).expect_err("a listing of all"), "s3:ListBucket");
    let other =
        Publication { version: Some(v("1.0.0")), ..Publication::new("garden".parse().expect("a product")) };
    let error = store.publish(&other, s3_image("1.0.0", 1)).await.expect_err("another product");
    denied(&error, "s3:");
    assert_eq!(behind.open.get("garden/releases/v1.0.0/version.txt").await, None);
    // Without the last path it publishes and cannot promote.
    let mut policy = policy;
    let paths = policy[2]["Resource"].as_array_mut().expect("paths");
    assert!(
        paths.pop().is_some_and(|path| path.as_str().is_some_and(|path| path.ends_with("/production/*")))
    );
    let behind = Behind::policy(policy).await;
    behind.place.publish("1.0.0", &s3_image("1.0.0", 1)).await.expect("published");
    denied(&behind.place.promote("1.0.0").await.expect_err("a promote"), "s3:PutObject");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_statement_that_protects_version_txt_hinders_nothing_and_protects_that_alone() {
    let mut policy = statements(&block("**A server that publishes"));
    policy.push(block("this refuses every write of a `version.txt`"));
    let behind = Behind::policy(policy).await;
    behind.publishes().await;
    // A repair writes the image anew, and never version.txt.
    behind.open.put(&format!("{RELEASE}/firmware.bin"), "something else").await;
    behind.place.publish("1.0.0", &s3_image("1.0.0", 1)).await.expect("repaired");
    assert_eq!(behind.open.get(&format!("{RELEASE}/firmware.bin")).await, Some(s3_image("1.0.0", 1)));
    assert_eq!(behind.refused(), [""; 0]);
    // Who has the same rights and writes as programs usually do.
    for file in ["firmware.bin", "metadata.json"] {
        behind.place.put(&format!("{RELEASE}/{file}"), "overwritten").await;
    }
    assert_eq!(behind.refused(), [""; 0]);
    let (_, bucket) = behind.place.address();
    let url = format!("{}/{bucket}/{RELEASE}/version.txt", behind.front.url);
    let status = reqwest_client().put(url).body("2.0.0").send().await.expect("an answer").status();
    assert_eq!((status.as_u16(), behind.refused().len()), (403, 1));
    assert_eq!(behind.open.text(&format!("{RELEASE}/version.txt")).await, "1.0.0\n");
    behind.place.promote("1.0.0").await.expect_err("what was overwritten is not promoted");
}

/// Two pages with a policy each grow apart.
#[test]
fn permissions_for_a_bucket_stand_on_one_page() {
    for (page, text) in [
        ("ci.md", include_str!("../../../../docs/ci.md")),
        ("operate.md", include_str!("../../../../docs/operate.md")),
    ] {
        assert!(!text.contains("\"s3:"), "a policy stands in docs/{page}: refer to docs/store.md");
    }
    assert!(include_str!("../../../../docs/ci.md").contains("store.md#policies"));
}

#[test]
fn every_block_of_json_on_the_pages_is_one() {
    for page in [include_str!("../../../../docs/store.md"), include_str!("../../../../docs/ci.md")] {
        for rest in page.split("```json\n").skip(1) {
            let text = rest.split("```").next().expect("a block ends");
            serde_json::from_str::<Value>(text).unwrap_or_else(|error| panic!("{error}: {text}"));
        }
    }
    let lifecycle = block("## Settings of the bucket");
    assert!(lifecycle["Rules"][0].get("NoncurrentVersionExpiration").is_some(), "{lifecycle}");
}
