//! A store that is silent, one that is slow, and one that does not speak the same.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutPayload};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::objects::explain::{Action, explain};
use crate::objects::location::Location;

const SILENCE: Duration = Duration::from_millis(400);

fn s3(endpoint: &str) -> object_store::aws::AmazonS3 {
    // In the proportion of the real ones: a silent request is sent again before the time for that is over.
    let limits =
        Limits { silence: SILENCE, total: SILENCE * 5, retries: SILENCE * 3 / 2, ..Limits::default() };
    let url = format!("s3://b?region=us-east-1&endpoint={endpoint}");
    let Ok(Location::S3(location)) = Location::parse(&url) else { panic!("{url} is a bucket") };
    let keys = [("AWS_ACCESS_KEY_ID", "k"), ("AWS_SECRET_ACCESS_KEY", "s")];
    let environment = keys.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    client(&location, &environment, limits).expect("a client")
}

/// A server that does this with each connection, which it numbers, and its address.
async fn server<F: Future<Output = ()> + Send + 'static>(
    answer: impl Fn(TcpStream, usize) -> F + Send + 'static,
) -> String {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        for number in 0.. {
            let Ok((socket, _)) = listener.accept().await else { return };
            tokio::spawn(answer(socket, number));
        }
    });
    format!("http://{address}")
}

/// Reads a request: its head, and its body to the end.
async fn request(socket: &mut TcpStream) -> String {
    let mut read = Vec::new();
    loop {
        if let Some(end) = read.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&read[..end]).to_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            let length: usize = length.map_or(0, |length| length.trim().parse().expect("a length"));
            while read.len() < end + 4 + length {
                assert!(socket.read_buf(&mut read).await.expect("a body") > 0, "it is cut off");
            }
            return head;
        }
        assert!(socket.read_buf(&mut read).await.expect("a request") > 0, "it ends in its head");
    }
}

async fn say(socket: &mut TcpStream, status: &str, length: usize) {
    let text = format!(
        "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {length}\r\nETag: \"x\"\r\n\
         Last-Modified: Thu, 01 Jan 2026 00:00:00 GMT\r\n\r\n"
    );
    // Who has given the request up is gone.
    let _ = socket.write_all(text.as_bytes()).await;
}

fn sentence(error: object_store::Error) -> String {
    explain("the bucket b", Action::Read, "p/product.json", error).to_string()
}

const SILENT: &str = "cannot read p/product.json in the bucket b: the store does not answer; check its endpoint and the network";

#[tokio::test]
async fn a_store_that_never_answers_is_given_up_in_bounded_time() {
    let count = Arc::new(AtomicUsize::new(0));
    let connections = Arc::clone(&count);
    let endpoint = server(move |socket, _| {
        connections.fetch_add(1, Ordering::SeqCst);
        async move {
            let _kept = socket;
            std::future::pending::<()>().await;
        }
    });
    let (s3, key, began) = (s3(&endpoint.await), Path::from("p/product.json"), Instant::now());
    let read = s3.get(&key).await.map(drop).expect_err("silence");
    assert_eq!(sentence(read), SILENT);
    assert_eq!(count.swap(0, Ordering::SeqCst), 2, "the connection may be one that has died");
    let listed = futures_util::TryStreamExt::try_collect::<Vec<_>>(ObjectStore::list(&s3, None));
    assert_eq!(sentence(listed.await.map(drop).expect_err("silence")), SILENT);
    assert!(began.elapsed() < SILENCE * 15, "{:?}", began.elapsed());
    count.store(0, Ordering::SeqCst);
    // More than any buffer on the way holds. It may have arrived, so it is not sent again.
    let (image, began) = (PutPayload::from(vec![7; 16 * 1024 * 1024]), Instant::now());
    let put = s3.put_opts(&key, image, PutMode::Create.into()).await;
    assert_eq!(sentence(put.map(drop).expect_err("silence")), SILENT);
    assert_eq!(count.load(Ordering::SeqCst), 1);
    assert!(began.elapsed() > SILENCE * 4, "who writes waits for longer: {:?}", began.elapsed());
}

#[tokio::test]
async fn an_answer_that_stops_halfway_is_given_up_soon() {
    let endpoint = server(async |mut socket, _| {
        let head = request(&mut socket).await;
        if !head.contains("\nrange: ") {
            say(&mut socket, "200 OK", 1000).await;
            socket.write_all(b"abc").await.expect("sent");
        }
        // Where it stopped it does not go on either.
        std::future::pending::<()>().await;
    });
    let answer = s3(&endpoint.await).get(&Path::from("p/product.json")).await.expect("it begins");
    assert_eq!(sentence(answer.bytes().await.expect_err("it stops")), SILENT);
}

#[tokio::test]
async fn what_moves_slowly_goes_on_for_longer_than_silence_may_last() {
    let endpoint = server(async |mut socket, _| {
        if request(&mut socket).await.starts_with("put") {
            // As long as the last bytes of an upload may take on a slow line.
            tokio::time::sleep(SILENCE * 3).await;
        }
        say(&mut socket, "200 OK", 10).await;
        for _ in 0..10 {
            tokio::time::sleep(SILENCE / 5).await;
            socket.write_all(b".").await.expect("sent");
        }
    });
    let (s3, key, began) = (s3(&endpoint.await), Path::from("p/product.json"), Instant::now());
    let answer = s3.get(&key).await.expect("it begins");
    assert_eq!(&answer.bytes().await.expect("it goes on")[..], b"..........");
    assert!(began.elapsed() > SILENCE * 2, "it takes long");
    s3.put(&key, vec![7; 1024 * 1024].into()).await.expect("it goes up");
}

#[tokio::test]
async fn what_a_busy_store_refuses_is_sent_again() {
    let endpoint = server(async |mut socket, number| {
        request(&mut socket).await;
        say(&mut socket, if number == 0 { "503 Slow Down" } else { "200 OK" }, 0).await;
    });
    let (s3, key) = (s3(&endpoint.await), Path::from("p/firmware.bin"));
    s3.put_opts(&key, vec![7; 100].into(), PutMode::Create.into()).await.expect("it goes up");
}

/// A server with TLS whose certificate nobody vouches for.
async fn tls_server() -> String {
    let data = concat!(env!("CARGO_MANIFEST_DIR"), "/../virtual-device/tests/data/");
    let certificate = CertificateDer::from_pem_file(format!("{data}loopback.pem")).expect("a certificate");
    let key = PrivateKeyDer::from_pem_file(format!("{data}loopback-key.pem")).expect("a key");
    let config =
        rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .expect("they belong together");
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let endpoint = server(move |socket, _| {
        let acceptor = acceptor.clone();
        async move {
            // A client that does not trust it is gone.
            let _ = acceptor.accept(socket).await;
        }
    });
    endpoint.await
}

#[tokio::test]
async fn two_sides_that_do_not_speak_the_same_are_told_what_to_set() {
    let (tls, plain) = (
        tls_server().await,
        server(async |mut socket, _| {
            let mut piece = [0; 512];
            let _ = socket.read(&mut piece).await;
            let _ = socket.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").await;
        }),
    );
    for (endpoint, words) in [
        (tls.replace("http:", "https:"), "SSL_CERT_FILE"),
        (tls, "write https:// in endpoint="),
        (plain.await.replace("http:", "https:"), "the store answers without TLS; write http:// in endpoint="),
    ] {
        let read = s3(&endpoint).get(&Path::from("p/product.json")).await;
        let text = sentence(read.map(drop).expect_err("they do not speak the same"));
        assert!(text.contains(words) && !text.contains("does not answer"), "{text}");
    }
}
