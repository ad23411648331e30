//! A store that is silent, and one that is slow.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use object_store::multipart::MultipartStore;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutPayload};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use super::*;
use crate::objects::bucket::{Backing, Bucket};
use crate::objects::explain::{Action, explain};
use crate::objects::location::Location;
use crate::objects::write::{Condition, Write};

const SILENCE: Duration = Duration::from_millis(400);

fn limits() -> Limits {
    limits_of(SILENCE, 8 * 1024 * 1024)
}

/// In the proportion of the real ones: a silent request is sent again before the time for that is over.
fn limits_of(silence: Duration, pace: u32) -> Limits {
    Limits { silence, pace, retries: silence * 3 / 2, ..Limits::default() }
}

fn location(endpoint: &str) -> S3Location {
    let url = format!("s3://b?region=us-east-1&endpoint={endpoint}");
    let Ok(Location::S3(location)) = Location::parse(&url) else { panic!("{url} is a bucket") };
    location
}

fn s3(endpoint: &str) -> object_store::aws::AmazonS3 {
    s3_with(endpoint, limits())
}

fn s3_with(endpoint: &str, limits: Limits) -> object_store::aws::AmazonS3 {
    let keys = [("AWS_ACCESS_KEY_ID", "k"), ("AWS_SECRET_ACCESS_KEY", "s")];
    let environment = keys.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    client(&location(endpoint), &environment, limits).expect("a client")
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
    let listed = futures_util::TryStreamExt::try_collect::<Vec<_>>(ObjectStore::list(&s3, None));
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
        let (head, _) = head(&mut socket).await;
        if head.contains("\nrange: ") {
            // Where it stopped it does not go on either.
            std::future::pending::<()>().await;
        }
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

/// Reads a request's body to its end, after its head and what came along with that.
async fn rest(socket: &mut TcpStream, head: &str, mut read: usize) {
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let length: usize = length.map_or(0, |length| length.trim().parse().expect("a length"));
    let mut piece = vec![0; 64 * 1024];
    while read < length {
        let more = socket.read(&mut piece).await.expect("more of the body");
        assert!(more > 0, "it is cut off");
        read += more;
    }
}

async fn say(socket: &mut TcpStream, status: &str, body: &str) {
    let text = format!(
        "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}\r\nETag: \"x\"\r\n\r\n{body}",
        body.len()
    );
    // Who has given the request up is gone.
    let _ = socket.write_all(text.as_bytes()).await;
}

#[tokio::test]
async fn parts_that_share_the_line_wait_for_each_other() {
    const PART: usize = 4 * 1024 * 1024;
    const DRAIN: Duration = Duration::from_secs(1);
    let limits = limits_of(DRAIN, u32::try_from(PART).expect("small"));
    let sent = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&sent);
    // What buffers requests takes each at once, and has the three through when the line took all of them.
    let endpoint = server(move |mut socket| {
        let count = Arc::clone(&count);
        async move {
            let (head, read) = head(&mut socket).await;
            rest(&mut socket, &head, read).await;
            if head.starts_with("put") {
                count.fetch_add(1, Ordering::SeqCst);
                tokio::time::sleep(DRAIN * 3).await;
                say(&mut socket, "200 OK", "").await;
            } else if head.starts_with("post") && head.contains("?uploads") {
                let body = "<InitiateMultipartUploadResult><Bucket>b</Bucket><Key>k</Key><UploadId>u</UploadId>\
                            </InitiateMultipartUploadResult>";
                say(&mut socket, "200 OK", body).await;
            } else if head.starts_with("post") {
                say(&mut socket, "200 OK", "<CompleteMultipartUploadResult/>").await;
            } else {
                say(&mut socket, "404 Not Found", "").await;
            }
        }
    });
    let s3 = Arc::new(s3_with(&endpoint, limits));
    let backing = Backing::S3 { location: location(&endpoint), s3: Arc::clone(&s3) };
    let bucket = Bucket::new(Arc::clone(&s3) as Arc<dyn ObjectStore>, backing);
    // The last one is short, and has to wait for the others all the same.
    let bytes = vec![7; PART * 5 / 2].into();
    let write = Write::new("p/firmware.bin", bytes, Condition::Absent);
    let done = crate::objects::parts::upload(&s3, &bucket, &write, Some(Condition::Absent), PART).await;
    assert!(done.expect("it goes up"));
    assert_eq!(sent.load(Ordering::SeqCst), 3, "each part goes up once");
}

/// A server whose first connection takes a request's head and dies without a word, and how many it had.
fn server_with_a_dead_connection() -> (String, Arc<AtomicUsize>) {
    let connections = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&connections);
    let endpoint = server(move |mut socket| {
        let number = count.fetch_add(1, Ordering::SeqCst);
        async move {
            let (head, read) = head(&mut socket).await;
            if number == 0 {
                std::future::pending::<()>().await;
            }
            rest(&mut socket, &head, read).await;
            say(&mut socket, "200 OK", "").await;
        }
    });
    (endpoint, connections)
}

/// Such a body alone takes longer than requests are sent again for.
fn long_body() -> PutPayload {
    vec![7; 8 * 1024 * 1024].into()
}

#[tokio::test]
async fn a_long_body_whose_connection_dies_is_sent_once_more() {
    let key = Path::from("p/firmware.bin");
    let (endpoint, connections) = server_with_a_dead_connection();
    s3(&endpoint).put_part(&key, &"u".to_owned(), 0, long_body()).await.expect("the part goes up");
    assert_eq!(connections.load(Ordering::SeqCst), 2);
    let (endpoint, connections) = server_with_a_dead_connection();
    s3(&endpoint).put(&key, long_body()).await.expect("the image goes up");
    assert_eq!(connections.load(Ordering::SeqCst), 2);
}

/// The same as a silent one, and how many connections it had.
fn silent_server_that_counts() -> (String, Arc<AtomicUsize>) {
    let connections = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&connections);
    let endpoint = server(move |socket| {
        count.fetch_add(1, Ordering::SeqCst);
        async move {
            let _kept = socket;
            std::future::pending::<()>().await;
        }
    });
    (endpoint, connections)
}

#[tokio::test]
async fn a_long_body_that_a_store_never_takes_is_sent_twice_and_no_more() {
    let (endpoint, connections) = silent_server_that_counts();
    let put = s3(&endpoint).put(&Path::from("p/firmware.bin"), long_body()).await;
    assert_eq!(sentence(put.map(drop).expect_err("silence")), SILENT);
    assert_eq!(connections.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_long_body_that_used_up_all_the_time_there_is_is_not_sent_again() {
    let (endpoint, connections) = silent_server_that_counts();
    // Before it is given up for its silence.
    let limits = Limits { total: SILENCE * 5 / 2, ..limits() };
    let put = s3_with(&endpoint, limits).put(&Path::from("p/firmware.bin"), long_body()).await;
    assert_eq!(sentence(put.map(drop).expect_err("silence")), SILENT);
    assert_eq!(connections.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_small_write_is_given_up_soon_while_an_upload_hangs() {
    let s3 = s3(&silent_server());
    let (image, key) = (Path::from("p/firmware.bin"), Path::from("p/product.json"));
    let upload_id = "u".to_owned();
    let hangs = s3.put_part(&image, &upload_id, 0, vec![7; 32 * 1024 * 1024].into());
    let began = Instant::now();
    let small = s3.put_opts(&key, "{}".into(), PutMode::Create.into());
    tokio::select! {
        biased;
        _ = hangs => panic!("the small one does not wait for the upload"),
        put = small => assert_eq!(sentence(put.map(drop).expect_err("silence")), SILENT),
    }
    // What the upload may take alone.
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_write_with_a_condition_that_may_have_arrived_is_not_sent_again() {
    let (endpoint, connections) = server_with_a_dead_connection();
    let put =
        s3(&endpoint).put_opts(&Path::from("p/firmware.bin"), long_body(), PutMode::Create.into()).await;
    assert_eq!(sentence(put.map(drop).expect_err("silence")), SILENT);
    assert_eq!(connections.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_long_body_that_a_busy_store_refuses_late_is_sent_once_more() {
    let refused = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&refused);
    let endpoint = server(move |mut socket| {
        let number = count.fetch_add(1, Ordering::SeqCst);
        async move {
            let (head, read) = head(&mut socket).await;
            rest(&mut socket, &head, read).await;
            if number == 0 {
                tokio::time::sleep(SILENCE * 2).await;
            }
            say(&mut socket, if number == 0 { "503 Slow Down" } else { "200 OK" }, "").await;
        }
    });
    let s3 = s3(&endpoint);
    s3.put_part(&Path::from("p/firmware.bin"), &"u".to_owned(), 0, long_body()).await.expect("it goes up");
    assert_eq!(refused.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn an_upload_in_parts_that_is_never_completed_is_given_up_soon() {
    let s3 = Arc::new(s3(&silent_server()));
    let began = Instant::now();
    let error =
        crate::objects::parts::complete(&s3, &Path::from("p/firmware.bin"), "id", &[], None, limits()).await;
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
