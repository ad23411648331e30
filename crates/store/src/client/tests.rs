//! A store that is silent, and one that is slow.

use std::sync::Arc;
use std::time::Instant;

use object_store::path::Path;
use object_store::{ObjectStoreExt, PutPayload};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use super::*;
use crate::error::{Action, explain};
use crate::location::Location;

const SILENCE: Duration = Duration::from_millis(400);

fn limits() -> Limits {
    Limits { silence: SILENCE, pace: 8 * 1024 * 1024, retries: SILENCE, ..Limits::default() }
}

fn s3(endpoint: &str) -> object_store::aws::AmazonS3 {
    let url = format!("s3://b?region=us-east-1&endpoint={endpoint}");
    let Ok(Location::S3(location)) = Location::parse(&url) else { panic!("{url} is a bucket") };
    let keys = [("AWS_ACCESS_KEY_ID", "k"), ("AWS_SECRET_ACCESS_KEY", "s")];
    let environment = keys.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    client(&location, &environment, limits()).expect("a client")
}

/// A server that does this with each connection, and the address of it.
fn server<F: Future<Output = ()> + Send + 'static>(
    answer: impl Fn(TcpStream) -> F + Send + 'static,
) -> String {
    let socket = TcpSocket::new_v4().expect("a socket");
    // Loopback would take many MiB at once, which no line does; less than a few of its 64 KiB segments makes it stutter.
    socket.set_recv_buffer_size(1024 * 1024).expect("a size");
    socket.bind(([127, 0, 0, 1], 0).into()).expect("a port");
    let listener = socket.listen(16).expect("it listens");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            tokio::spawn(answer(socket));
        }
    });
    format!("http://{address}")
}

/// Takes connections and never says a word; what is sent to it stays unread.
fn silent_server() -> String {
    server(|socket| async move {
        let _kept = socket;
        std::future::pending::<()>().await;
    })
}

/// Reads a request's head; what of the body came along with it.
async fn head(socket: &mut TcpStream) -> (String, usize) {
    let mut read = Vec::new();
    loop {
        let end = read.windows(4).position(|four| four == b"\r\n\r\n");
        if let Some(end) = end {
            let head = String::from_utf8_lossy(&read[..end]).to_lowercase();
            return (head, read.len() - end - 4);
        }
        assert!(socket.read_buf(&mut read).await.expect("a request") > 0, "it ends in its head");
    }
}

fn sentence(error: object_store::Error) -> String {
    explain("the bucket b", Action::Read, "p/product.json", error).to_string()
}

const SILENT: &str = "cannot read p/product.json in the bucket b: the store does not answer; check its endpoint and the network";

#[tokio::test]
async fn a_store_that_never_answers_is_given_up_soon() {
    let s3 = s3(&silent_server());
    let key = Path::from("p/product.json");
    let began = Instant::now();
    let read = s3.get(&key).await.map(drop).expect_err("silence");
    assert_eq!(sentence(read), SILENT);
    let listed =
        futures_util::TryStreamExt::try_collect::<Vec<_>>(object_store::ObjectStore::list(&s3, None));
    assert_eq!(sentence(listed.await.map(drop).expect_err("silence")), SILENT);
    // More than any buffer on the way holds.
    let image = PutPayload::from(vec![7; 16 * 1024 * 1024]);
    assert_eq!(sentence(s3.put(&key, image).await.map(drop).expect_err("silence")), SILENT);
    // Each is asked twice, and a retry waits up to two seconds.
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
}

#[tokio::test]
async fn an_answer_that_stops_halfway_is_given_up_soon() {
    let endpoint = server(|mut socket| async move {
        head(&mut socket).await;
        let beginning = "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\nETag: \"x\"\r\n\
                         Last-Modified: Thu, 01 Jan 2026 00:00:00 GMT\r\n\r\nabc";
        socket.write_all(beginning.as_bytes()).await.expect("sent");
        std::future::pending::<()>().await;
    });
    let answer = s3(&endpoint).get(&Path::from("p/product.json")).await.expect("it begins");
    let error = answer.bytes().await.expect_err("it stops");
    assert_eq!(sentence(error), SILENT);
}

#[tokio::test]
async fn what_moves_slowly_goes_on_for_longer_than_silence_may_last() {
    const BODY: usize = 16 * 1024 * 1024;
    let endpoint = server(|mut socket| async move {
        let (head, mut read) = head(&mut socket).await;
        let mut piece = vec![0; 256 * 1024];
        while head.starts_with("put") && read < BODY {
            let until = tokio::time::Instant::now() + SILENCE / 8;
            let mut more = 0;
            // As much in a while, in however many reads it comes.
            while more < piece.len() && read + more < BODY {
                let length = socket.read(&mut piece[more..]).await.expect("more of the image");
                assert!(length > 0, "it is cut off");
                more += length;
            }
            read += more;
            tokio::time::sleep_until(until).await;
        }
        let head = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 10\r\nETag: \"x\"\r\n\
                    Last-Modified: Thu, 01 Jan 2026 00:00:00 GMT\r\n\r\n";
        socket.write_all(head.as_bytes()).await.expect("sent");
        for _ in 0..10 {
            tokio::time::sleep(SILENCE / 5).await;
            socket.write_all(b".").await.expect("sent");
        }
    });
    let (s3, key) = (s3(&endpoint), Path::from("p/product.json"));
    let began = Instant::now();
    let answer = s3.get(&key).await.expect("it begins");
    assert_eq!(&answer.bytes().await.expect("it goes on")[..], b"..........");
    assert!(began.elapsed() > SILENCE * 2, "it takes long");
    let began = Instant::now();
    s3.put(&key, vec![7; BODY].into()).await.expect("it goes up");
    // Longer than is waited for an image of this size that stands still.
    assert!(began.elapsed() > SILENCE + Duration::from_secs(2), "it takes long: {:?}", began.elapsed());
}

#[tokio::test]
async fn an_upload_in_parts_that_is_never_completed_is_given_up_soon() {
    let s3 = Arc::new(s3(&silent_server()));
    let began = Instant::now();
    let error = crate::parts::complete(&s3, &Path::from("p/firmware.bin"), "id", &[], None, limits()).await;
    let text = sentence(error.map(drop).expect_err("silence"));
    assert_eq!(text, SILENT);
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
}

/// A server with TLS that answers every request with 404, and whose certificate nobody vouches for.
fn tls_server() -> String {
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
    server(move |socket| {
        let acceptor = acceptor.clone();
        async move {
            // A client that does not trust it is gone.
            let _ = acceptor.accept(socket).await;
        }
    })
}

/// A server without TLS, which does with what is not HTTP as they all do.
fn plain_server() -> String {
    server(|mut socket| async move {
        let mut piece = [0; 512];
        let _ = socket.read(&mut piece).await;
        let _ = socket.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").await;
    })
}

async fn refusal(endpoint: &str) -> String {
    let read = s3(endpoint).get(&Path::from("p/product.json")).await;
    sentence(read.map(drop).expect_err("they do not speak the same"))
}

#[tokio::test]
async fn a_certificate_that_nobody_vouches_for_is_told_with_what_to_set() {
    let text = refusal(&tls_server().replace("http:", "https:")).await;
    assert!(text.contains("its certificate is not trusted (") && text.contains("SSL_CERT_FILE"), "{text}");
    assert!(!text.contains("does not answer"), "{text}");
}

#[tokio::test]
async fn http_to_a_port_of_https_is_told_with_the_scheme() {
    let text = refusal(&tls_server()).await;
    assert!(text.contains("write https:// in endpoint="), "{text}");
}

#[tokio::test]
async fn https_to_a_port_of_http_is_told_with_the_scheme() {
    let text = refusal(&plain_server().replace("http:", "https:")).await;
    assert!(text.contains("the store answers without TLS; write http:// in endpoint="), "{text}");
}
