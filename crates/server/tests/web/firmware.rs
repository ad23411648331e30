use std::time::Duration;

use reqwest::{Method, Response};
use updraft_server::access::Role;

use super::test_server::{TestServer, image};

const KEY: &str = "lamp/releases/v1.0.0/firmware.bin";

async fn published(server: &TestServer) -> (Vec<u8>, String) {
    let bytes = image("1.0.0");
    let ci = server.actor(Role::Ci).await;
    assert_eq!(ci.publish("version=1.0.0", bytes.clone()).await.status(), 201);
    let url = server.running.services().releases.store().sign(KEY, Duration::from_mins(5)).await.unwrap();
    (bytes, format!("{}?{}", url.path(), url.query().unwrap()))
}

async fn get(server: &TestServer, path: &str, headers: &[(&str, &str)]) -> Response {
    let mut request = server.nobody().request(Method::GET, path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.send().await.unwrap()
}

fn header(answer: &Response, name: &str) -> String {
    answer.headers().get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default()
}

#[tokio::test]
async fn a_signed_url_serves_the_file_and_parts_of_it() {
    let server = TestServer::open().await;
    let (bytes, path) = published(&server).await;
    let size = bytes.len();
    let whole = get(&server, &path, &[]).await;
    assert_eq!((whole.status().as_u16(), header(&whole, "accept-ranges").as_str()), (200, "bytes"));
    assert_eq!(header(&whole, "content-length"), size.to_string());
    assert_eq!(header(&whole, "updraft-version"), "1.0.0");
    let etag = header(&whole, "etag");
    assert!(etag.starts_with('"') && etag.ends_with('"'), "{etag} is strong");
    assert_eq!(whole.bytes().await.unwrap(), bytes);

    let head = server.nobody().request(Method::HEAD, &path).send().await.unwrap();
    assert_eq!(
        (head.status().as_u16(), header(&head, "content-length"), header(&head, "etag")),
        (200, size.to_string(), etag.clone())
    );

    for (range, from, to) in [
        ("bytes=0-99", 0, 100),
        ("bytes=100-", 100, size),
        ("bytes=-7", size - 7, size),
        ("bytes=0-", 0, size),
        ("bytes=-99999999", 0, size),
        ("bytes=5-99999999", 5, size),
    ] {
        let part = get(&server, &path, &[("range", range)]).await;
        assert_eq!(
            (part.status().as_u16(), header(&part, "content-range")),
            (206, format!("bytes {from}-{}/{size}", to - 1)),
            "{range}"
        );
        assert_eq!(header(&part, "content-length"), (to - from).to_string());
        assert_eq!(header(&part, "etag"), etag);
        assert_eq!(part.bytes().await.unwrap(), bytes[from..to], "{range}");
    }
    let beyond = get(&server, &path, &[("range", &format!("bytes={size}-"))]).await;
    assert_eq!(
        (beyond.status().as_u16(), header(&beyond, "content-range")),
        (416, format!("bytes */{size}"))
    );
    for (headers, status) in [
        (vec![("if-none-match", etag.as_str())], 304),
        (vec![("if-none-match", "\"other\"")], 200),
        (vec![("range", "bytes=0-9"), ("if-range", etag.as_str())], 206),
        (vec![("range", "bytes=0-9"), ("if-range", "\"other\"")], 200),
        (vec![("range", "bytes=0-9,20-29")], 200),
        (vec![("range", "bytes=9-1")], 200),
    ] {
        assert_eq!(get(&server, &path, &headers).await.status(), status, "{headers:?}");
    }
}

#[tokio::test]
async fn an_image_that_was_replaced_or_removed_is_noticed_at_once() {
    let server = TestServer::open().await;
    let (bytes, path) = published(&server).await;
    let whole = get(&server, &path, &[]).await;
    let etag = header(&whole, "etag");
    assert_eq!(whole.bytes().await.unwrap(), bytes);
    let file = server.folder.path().join("store").join(KEY);
    std::fs::write(&file, b"another file").unwrap();
    let headers = [("range", "bytes=0-6"), ("if-range", etag.as_str())];
    assert_eq!(get(&server, &path, &headers).await.bytes().await.unwrap(), "another file");
    assert_eq!(get(&server, &path, &headers[..1]).await.bytes().await.unwrap(), "another");
    std::fs::remove_file(&file).unwrap();
    assert_eq!(get(&server, &path, &[]).await.status(), 404);
}

#[tokio::test]
async fn what_was_not_signed_here_is_refused_in_plain_words() {
    let server = TestServer::open().await;
    let (_, path) = published(&server).await;
    let (file, query) = path.split_once('?').unwrap();
    let flipped = if path.ends_with('0') { "1" } else { "0" };
    for tampered in [
        format!("{}{flipped}", &path[..path.len() - 1]),
        path.replace("v1.0.0", "v1.1.0"),
        path.replace("expires=", "expires=9"),
        file.to_owned(),
        format!("{file}?expires=&signature="),
        format!("/firmware/..%2f..%2fetc%2fpasswd?{query}"),
        format!("/firmware/lamp/%00?{query}"),
        "/d/nothing".to_owned(),
    ] {
        let answer = get(&server, &tampered, &[]).await;
        assert_eq!(answer.status(), 403, "{tampered}");
        assert!(header(&answer, "content-type").starts_with("text/plain"));
        let sentence = answer.text().await.unwrap();
        assert!(sentence.ends_with(".\n") && !sentence.contains("signature="), "{sentence}");
    }
    let store = server.running.services().releases.store();
    let field = |name: &str| query.split('&').find_map(|pair| pair.strip_prefix(name)).unwrap();
    let (expires, signature) = (field("expires="), field("signature="));
    let end: i64 = expires.parse().unwrap();
    assert_eq!(store.verify_local(KEY, expires, signature, end - 1), Ok(None));
    assert_eq!(store.verify_local(KEY, expires, signature, end + 1), Err(store::Refused::Expired));
}

#[tokio::test]
async fn a_public_url_with_a_path_works_with_and_without_a_proxy_that_takes_it_off() {
    let server = TestServer::open_with("public_url = \"http://127.0.0.1:9/ota/eu\"").await;
    let (bytes, path) = published(&server).await;
    assert!(path.starts_with("/ota/eu/firmware/lamp/"), "{path}");
    for path in [path.as_str(), path.strip_prefix("/ota/eu").unwrap()] {
        assert_eq!(get(&server, path, &[]).await.bytes().await.unwrap(), bytes, "{path}");
    }
    for (path, status) in [
        ("/ota/eu/healthz", 200),
        ("/ota/eu/api/v1/devices", 401),
        ("/ota/eu", 303),
        ("/ota/europe/healthz", 303),
        ("/ota/eu/ota/eu/api/v1/devices", 303),
    ] {
        assert_eq!(get(&server, path, &[]).await.status(), status, "{path}");
    }
    let server = TestServer::open_with("public_url = \"http://127.0.0.1:9/api\"").await;
    assert_eq!(get(&server, "/api/v1/devices", &[]).await.status(), 401);
}
