//! Each way to come by credentials, with a fixture that hands some out and a server that takes only those.

use std::io::Write as _;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use updraft_store::{Options, Store};

use self::fixture::{Bucket, header, signed_with, text};
use crate::place::{publish, s3_image, until};
use crate::servers::serve;

mod fixture;
mod processes;

#[tokio::test(flavor = "multi_thread")]
async fn keys_with_a_session_token_come_from_the_environment() {
    let bucket = Bucket::new();
    let keys = [("AWS_ACCESS_KEY_ID", "key-0"), ("AWS_SECRET_ACCESS_KEY", "secret-0")];
    let with_token = [&keys[..], &[("AWS_SESSION_TOKEN", "token-0")]].concat();
    publish(&bucket.open(&with_token).await, "1.0.0", &s3_image("1.0.0", 1)).await.expect("published");
    let error =
        publish(&bucket.open(&keys).await, "1.1.0", &s3_image("1.1.0", 1)).await.expect_err("no token");
    assert!(error.to_string().contains("AWS_SESSION_TOKEN"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_role_comes_from_the_metadata_service() {
    let bucket = Bucket::new();
    let current = bucket.current.clone();
    // IMDSv2: a token by PUT, without which nothing is told.
    let endpoint = serve(move |request| {
        let current = current.clone();
        async move {
            let has_token = header(&request, "x-aws-ec2-metadata-token") == Some("session");
            match (request.method().as_str(), request.uri().path()) {
                ("PUT", "/latest/api/token") => text(200, "session"),
                ("GET", _) if !has_token => text(401, ""),
                ("GET", "/latest/meta-data/iam/security-credentials/") => text(200, "updraft"),
                ("GET", "/latest/meta-data/iam/security-credentials/updraft") => text(200, current.json(60)),
                _ => text(404, ""),
            }
        }
    });
    // `object_store` asks for those that end within minutes before each use, ten times a second at the most.
    let environment = [("AWS_EC2_METADATA_SERVICE_ENDPOINT", endpoint.as_str())];
    bucket.accepts(&environment).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_role_comes_from_the_agent_with_any_kind_of_token() {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(b"agent-token\n").expect("written");
    let path = file.path().display().to_string();
    for (token, wanted) in [
        (None, None),
        (Some(("AWS_CONTAINER_AUTHORIZATION_TOKEN", "agent-token")), Some("agent-token")),
        (Some(("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", path.as_str())), Some("agent-token")),
    ] {
        let bucket = Bucket::new();
        let current = bucket.current.clone();
        let endpoint = serve(move |request| {
            let current = current.clone();
            async move {
                if request.uri().path() != "/v1/credentials" || header(&request, "authorization") != wanted {
                    return text(401, "");
                }
                text(200, current.json(1))
            }
        });
        let address = format!("{endpoint}/v1/credentials");
        let mut environment = vec![("AWS_CONTAINER_CREDENTIALS_FULL_URI", address.as_str())];
        environment.extend(token);
        bucket.accepts(&environment).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn new_credentials_come_before_the_old_ones_end_and_an_agent_that_fails_is_left_alone() {
    let bucket = Bucket::new();
    let (current, asked) = (bucket.current.clone(), Arc::new(Mutex::new(0)));
    let (counted, fails) = (Arc::clone(&asked), Arc::new(AtomicBool::new(false)));
    let is_failing = Arc::clone(&fails);
    let lives = Arc::new(AtomicI64::new(3600));
    let lifetime_s = Arc::clone(&lives);
    let endpoint = serve(move |_| {
        *counted.lock().expect("unpoisoned") += 1;
        let json = current.json(lifetime_s.load(Ordering::Relaxed));
        let answer = if is_failing.load(Ordering::Relaxed) { text(500, "") } else { text(200, json) };
        async move { answer }
    });
    let store = bucket.open(&[("AWS_CONTAINER_CREDENTIALS_FULL_URI", &endpoint)]).await;
    publish(&store, "1.0.0", &s3_image("1.0.0", 1)).await.expect("published");
    // An hour is long, and four minutes are not: then the next ones are there already.
    assert_eq!(*asked.lock().expect("unpoisoned"), 1);
    lives.store(240, Ordering::Relaxed);
    let store = bucket.open(&[("AWS_CONTAINER_CREDENTIALS_FULL_URI", &endpoint)]).await;
    assert_eq!(signed_with(&store).await, 0);
    bucket.current.replace();
    assert_eq!(signed_with(&store).await, 1);
    publish(&store, "1.1.0", &s3_image("1.1.0", 1)).await.expect("published with the new ones");
    fails.store(true, Ordering::Relaxed);
    *asked.lock().expect("unpoisoned") = 0;
    for _ in 0..20 {
        assert_eq!(signed_with(&store).await, 1, "the old ones are good");
    }
    assert_eq!(*asked.lock().expect("unpoisoned"), 1, "one attempt, and then a pause");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_agents_token_is_read_again_from_its_file() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let path = file.path().display().to_string();
    let bucket = Bucket::new();
    let current = bucket.current.clone();
    let endpoint = serve(move |request| {
        let current = current.clone();
        async move {
            // The token of before is no good once the platform has replaced it.
            let wanted = format!("agent-token-{}", current.number());
            if header(&request, "authorization") != Some(&wanted) {
                return text(401, "");
            }
            text(200, current.json(1))
        }
    });
    let environment = [
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", endpoint.as_str()),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", path.as_str()),
    ];
    let store = bucket.open(&environment).await;
    for number in 0..3 {
        std::fs::write(&path, format!("agent-token-{number}\n")).expect("written");
        until("the old ones end", async || signed_with(&store).await == number).await;
        let version = format!("1.{number}.0");
        publish(&store, &version, &s3_image(&version, 1)).await.expect("published");
        bucket.current.replace();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_can_neither_send_on_nor_flood_who_asks_it() {
    let bucket = Bucket::new();
    let asked = Arc::new(Mutex::new(0));
    let (counted, current) = (Arc::clone(&asked), bucket.current.clone());
    let other = serve(move |_| {
        *counted.lock().expect("unpoisoned") += 1;
        let current = current.clone();
        async move { text(200, current.json(3600)) }
    });
    let redirecting = serve(move |_| {
        let other = other.clone();
        async move { (StatusCode::TEMPORARY_REDIRECT, [("location", other)]).into_response() }
    });
    let endless = serve(|_| async {
        let pieces = futures_util::stream::repeat_with(|| Ok::<_, std::io::Error>(vec![b' '; 4096]));
        text(200, Body::from_stream(pieces))
    });
    for agent in [&redirecting, &endless] {
        let environment = [("AWS_CONTAINER_CREDENTIALS_FULL_URI", agent.as_str())];
        let began = Instant::now();
        let error = bucket.open(&environment).await.products().await.expect_err("no credentials");
        assert!(error.to_string().contains("the container's agent gives no credentials"), "{error}");
        // An answer without an end is not read until the time is over.
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    }
    assert_eq!(*asked.lock().expect("unpoisoned"), 0);
    let environment = [("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://192.0.2.7/v1")];
    let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let options = Options { environment, ..Options::default() };
    let error = Store::open(&bucket.url, options).await.expect_err("refused at once").to_string();
    assert!(error.contains("names 192.0.2.7 over http"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_gives_no_credentials_is_named_and_nothing_secret_is() {
    let bucket = Bucket::new();
    let refusing = serve(|_| async { text(403, "{\"secret\":\"swordfish\"}") });
    let odd = serve(|_| async { text(200, "{\"secret\":\"swordfish\"}") });
    for (environment, words) in [
        (vec![("AWS_CONTAINER_CREDENTIALS_FULL_URI", refusing.as_str())], "the container's agent gives no"),
        (vec![("AWS_CONTAINER_CREDENTIALS_FULL_URI", odd.as_str())], "the container's agent gives no"),
        (
            vec![
                ("AWS_CONTAINER_CREDENTIALS_FULL_URI", odd.as_str()),
                ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "/nonexistent"),
            ],
            "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
        ),
        (vec![("AWS_EC2_METADATA_DISABLED", "true")], "no AWS credentials were found"),
        (vec![("AWS_EC2_METADATA_SERVICE_ENDPOINT", odd.as_str())], "no AWS credentials were found"),
        (
            vec![("AWS_WEB_IDENTITY_TOKEN_FILE", "/nonexistent"), ("AWS_ROLE_ARN", "arn:aws:iam::1:role/r")],
            "AWS_WEB_IDENTITY_TOKEN_FILE",
        ),
    ] {
        let error = bucket.open(&environment).await.products().await.expect_err(words);
        let said = format!("{error} {error:?}");
        assert!(said.contains(words), "{words}: {said}");
        assert!(!said.contains("swordfish"), "{said}");
    }
}
