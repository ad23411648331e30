//! What docs/store.md has an administrator allow is what the commands ask a bucket for: no less, and no more.
use std::collections::BTreeSet;

use e2e::bucket::Bucket;
use e2e::command::{Said, updraft};
use e2e::images::Workshop;
use e2e::workspace;
use reqwest::Url;
use serde_json::Value;

const PRODUCT: &str = "esp32s3";
const BUCKET: &str = "arn:aws:s3:::firmware";

/// An action, what it is done to, and the prefix that is listed.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Need {
    action: &'static str,
    resource: String,
    prefix: Option<String>,
}

impl Need {
    /// What S3 asks the policy for when it gets this request, in the words of [`Bucket::requests`].
    fn of(request: &str) -> Self {
        let mut words = request.split(' ');
        let (method, target) = (words.next().unwrap(), words.next().unwrap());
        let url = Url::parse("http://s3").unwrap().join(target).unwrap();
        let key = url.path().splitn(3, '/').nth(2).unwrap_or_default().to_owned();
        let query =
            |name: &str| url.query_pairs().find(|(is, _)| is == name).map(|(_, value)| value.into_owned());
        if key.is_empty() {
            assert_eq!((method, query("list-type").as_deref()), ("GET", Some("2")), "{request}");
            let prefix = Some(query("prefix").unwrap_or_default());
            return Self { action: "s3:ListBucket", resource: BUCKET.to_owned(), prefix };
        }
        let action = match (method, query("uploadId")) {
            ("GET" | "HEAD", None) => "s3:GetObject",
            ("PUT" | "POST", _) => "s3:PutObject",
            ("DELETE", Some(_)) => "s3:AbortMultipartUpload",
            _ => panic!("no policy is about {request}"),
        };
        Self { action, resource: format!("{BUCKET}/{key}"), prefix: None }
    }

    fn is_allowed_by(&self, rule: &Rule) -> bool {
        let prefixes = &rule.prefixes;
        self.action == rule.action
            && matches(&rule.resource, &self.resource)
            && (prefixes.is_empty()
                || self.prefix.as_ref().is_some_and(|is| prefixes.iter().any(|one| matches(one, is))))
    }
}

/// One action on one resource.
#[derive(Debug)]
struct Rule {
    action: String,
    resource: String,
    prefixes: Vec<String>,
}

fn matches(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((start, end)) => text.starts_with(start) && text[start.len()..].ends_with(end),
    }
}

fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::Array(several) => several.iter().flat_map(texts).collect(),
        Value::String(one) => vec![one.clone()],
        _ => Vec::new(),
    }
}

/// The blocks of JSON on a page, with the text before each.
fn blocks(page: &str) -> Vec<(String, Value)> {
    let text = std::fs::read_to_string(workspace().join("docs").join(page)).unwrap();
    let mut parts = text.split("```");
    let mut blocks = Vec::new();
    while let (Some(before), Some(block)) = (parts.next(), parts.next()) {
        if let Some(json) = block.strip_prefix("json\n") {
            let json = serde_json::from_str(json).unwrap_or_else(|error| panic!("{page}: {error}: {json}"));
            blocks.push((before.to_owned(), json));
        }
    }
    blocks
}

/// The permissions that stand on a page behind these words.
fn policy(page: &str, words: &str) -> Vec<Rule> {
    let found = blocks(page).into_iter().find(|(before, _)| before.contains(words));
    let (_, policy) = found.unwrap_or_else(|| panic!("no policy behind {words:?} in {page}"));
    let mut rules = Vec::new();
    for statement in policy["Statement"].as_array().unwrap() {
        assert_eq!(statement["Effect"], "Allow");
        let prefixes = texts(&statement["Condition"]["StringLike"]["s3:prefix"]);
        for action in texts(&statement["Action"]) {
            for resource in texts(&statement["Resource"]) {
                rules.push(Rule { action: action.clone(), resource, prefixes: prefixes.clone() });
            }
        }
    }
    rules
}

async fn run(bucket: &Bucket, arguments: &[&str]) -> BTreeSet<Need> {
    let before = bucket.requests().len();
    let url = bucket.url();
    let mut command = updraft(arguments.iter().copied().chain(["-p", PRODUCT, "--store", &url]));
    command.envs(bucket.env());
    Said::by(command).await.ok();
    let asked = bucket.requests().split_off(before);
    // What a store that is not Amazon's is asked, once.
    asked
        .iter()
        .filter(|request| !request.contains("/updraft-probe"))
        .map(|request| Need::of(request))
        .collect()
}

#[tokio::test]
async fn the_policy_of_ci_on_a_bucket_allows_what_it_asks_for_and_nothing_else() {
    let (workshop, bucket) = (Workshop::open(), Bucket::start().await);
    let rules = policy("store.md", "**CI that works straight on the bucket**");
    let image = |version: &str| workshop.image(version).display().to_string();
    let mut needs = run(&bucket, &["publish", &image("1.0.0"), "--promote"]).await;
    // One that goes in parts.
    needs.extend(run(&bucket, &["publish", &workshop.huge("1.1.0").display().to_string()]).await);
    needs.extend(run(&bucket, &["promote", "1.1.0"]).await);
    needs.extend(run(&bucket, &["image", "check", &image("1.2.0")]).await);
    needs.extend(run(&bucket, &["releases"]).await);
    for need in &needs {
        assert!(
            rules.iter().any(|rule| need.is_allowed_by(rule)),
            "{need:?} is allowed by none of {rules:#?}"
        );
    }
    // An upload that failed is given up, which none of these was.
    for rule in rules.iter().filter(|rule| rule.action != "s3:AbortMultipartUpload") {
        assert!(needs.iter().any(|need| need.is_allowed_by(rule)), "nothing needs {rule:?}");
    }
    let paths = |action: &str| {
        rules
            .iter()
            .filter(|rule| rule.action == action)
            .map(|rule| rule.resource.as_str())
            .collect::<BTreeSet<_>>()
    };
    assert_eq!(
        paths("s3:AbortMultipartUpload"),
        paths("s3:PutObject"),
        "who begins an upload may give it up"
    );
}

#[tokio::test]
async fn the_policies_of_who_reads_and_of_a_server_allow_what_they_ask_for() {
    let (workshop, bucket) = (Workshop::open(), Bucket::start().await);
    let image = workshop.image("1.0.0").display().to_string();
    let mut writes = run(&bucket, &["publish", &image, "--promote", "beta"]).await;
    writes.extend(run(&bucket, &["block", "0.9.0", "--reason", "x"]).await);
    let mut reads = run(&bucket, &["releases"]).await;
    reads.extend(
        run(&bucket, &["image", "check", &image, "--version", "1.1.0", "--allow", "same-bytes"]).await,
    );
    for (words, needs) in [
        ("**Read-only**", &reads),
        ("**A server that publishes", &reads),
        ("**A server that publishes", &writes),
    ] {
        let rules = policy("store.md", words);
        for need in needs {
            assert!(rules.iter().any(|rule| need.is_allowed_by(rule)), "{words}: {need:?}");
        }
    }
    let may_write = |rule: &Rule| rule.action != "s3:GetObject" && rule.action != "s3:ListBucket";
    assert!(!policy("store.md", "**Read-only**").iter().any(may_write));
}

/// Two pages with a policy each grow apart.
#[test]
fn permissions_for_a_bucket_stand_in_one_place() {
    let allowed: Vec<_> =
        ["ci.md", "operate.md"].into_iter().flat_map(blocks).map(|(_, block)| block).collect();
    for block in allowed {
        for statement in block["Statement"].as_array().into_iter().flatten() {
            for action in texts(&statement["Action"]) {
                assert!(!action.starts_with("s3:"), "{action} stands in docs/store.md: refer to it");
            }
        }
    }
    let ci = std::fs::read_to_string(workspace().join("docs/ci.md")).unwrap();
    assert!(ci.contains("store.md#policies"), "docs/ci.md says where the permissions are");
}
