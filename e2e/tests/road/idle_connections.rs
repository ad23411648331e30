//! Thousands who connect and say nothing, or half of it, cost nobody else anything.
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use e2e::device::VirtualDevice;
use e2e::images::Workshop;
use e2e::server::{Promote, Server, Setup};
use reqwest::Method;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpSocket, TcpStream};

const PRODUCT: &str = "esp32s3";
/// The files that the server may open.
const FILES: u32 = 1024;
const IDLE: usize = 2000;
/// What an honest request may take meanwhile; without the others it takes milliseconds.
const ANSWER: Duration = Duration::from_secs(5);

/// Opens so many connections and sends each the beginning of something; where they were closed, up to 250 others a second,
/// until told to end.
async fn half_open(port: u16, beginning: &'static [u8], until: Arc<AtomicBool>) {
    let mut open: Vec<TcpStream> = Vec::new();
    let mut burst = IDLE;
    while !until.load(Ordering::Relaxed) {
        open.retain(|stream| {
            let read = stream.try_read(&mut [0; 64]);
            matches!(read, Err(error) if error.kind() == ErrorKind::WouldBlock)
        });
        for _ in open.len()..IDLE.min(open.len() + burst) {
            let connecting = tokio::time::timeout(ANSWER, TcpStream::connect(("127.0.0.1", port)));
            let Ok(Ok(mut stream)) = connecting.await else { break };
            let _ = stream.write_all(beginning).await;
            open.push(stream);
        }
        burst = 5;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A client at an address of its own, with this server's token.
fn honest(server: &Server) -> reqwest::RequestBuilder {
    let client = reqwest::Client::builder().local_address(Some(Ipv4Addr::new(127, 0, 0, 2).into()));
    let client = client.pool_max_idle_per_host(0).timeout(ANSWER).build().unwrap();
    client.request(Method::GET, server.url("/api/v1/devices")).bearer_auth(server.token())
}

/// How soon the embedded broker answers a CONNECT with a wrong password; half a second of it is on purpose.
async fn mqtt_answers_in(port: u16) -> Duration {
    let begun = Instant::now();
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let mut stream = socket.connect(SocketAddr::from(([127, 0, 0, 1], port))).await.unwrap();
    stream.write_all(b"\x10\x15\0\x04MQTT\x04\xc2\0\x3c\0\x01x\0\x01a\0\x03bad").await.unwrap();
    let mut answer = [0; 4];
    tokio::io::AsyncReadExt::read_exact(&mut stream, &mut answer).await.unwrap();
    assert_eq!(answer[0], 0x20, "CONNACK");
    begun.elapsed()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_thousand_half_sent_requests_and_handshakes_stop_nobody() {
    let workshop = Workshop::open();
    let server = Server::with(Setup { open_files: Some(FILES), ..Setup::default() }).await;
    let (old, broker) = (workshop.image("1.0.0"), server.register("lamp", PRODUCT).await);
    let ended = Arc::new(AtomicBool::new(false));
    let floods = [
        (server.http_port(), &b"GET / HTTP/1.1\r\nHost: x\r\n"[..]),
        (server.http_port(), b"POST /api/v1/login HTTP/1.1\r\nHost: x\r\nContent-Length: 60000\r\n\r\n{"),
        (broker.port, b"\x10\x15\0\x04MQ"),
    ];
    let floods = floods.map(|(port, beginning)| tokio::spawn(half_open(port, beginning, ended.clone())));
    tokio::time::sleep(Duration::from_secs(2)).await;

    // The store, the database and the broker work: a whole update goes its way.
    let device = VirtualDevice::start("lamp", PRODUCT, &broker, &old, "1.0.0");
    server.device_runs("lamp", "1.0.0").await;
    server.publish(PRODUCT, "1.1.0", &workshop.image("1.1.0"), Promote::Production).await;
    server.check("lamp").await;
    server.device_runs("lamp", "1.1.0").await;
    for _ in 0..20 {
        let begun = Instant::now();
        let answer = honest(&server).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        assert!(begun.elapsed() < ANSWER);
        let took = mqtt_answers_in(broker.port).await;
        assert!(took < ANSWER, "{took:?}");
    }
    let metrics = server.request(Method::GET, "/metrics").send().await.unwrap().text().await.unwrap();
    for listener in ["http", "mqtt"] {
        let name = format!("updraft_connections_refused_total{{listener=\"{listener}\"}} ");
        let refused: u64 =
            metrics.lines().find_map(|line| line.strip_prefix(&name)).unwrap().parse().unwrap();
        assert!(refused > 1000, "{listener}: {refused}");
        let said = format!("connections were refused: there are as many as may be listener=\"{listener}\"");
        assert!((1..=3).contains(&server.log().matches(&said).count()), "{}", server.log());
    }
    assert!(!server.log().contains("could not be accepted"), "{}", server.log());
    ended.store(true, Ordering::Relaxed);
    for flood in floods {
        flood.await.unwrap();
    }
    drop(device);
}

#[tokio::test]
async fn http_2_without_tls_is_closed_and_a_head_that_never_ends_too() {
    let server = Server::start().await;
    let connect = || std::net::TcpStream::connect(("127.0.0.1", server.http_port())).unwrap();
    let mut stream = connect();
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    assert_eq!(answer, b"", "nothing of HTTP/2");

    let mut stream = connect();
    stream.write_all(b"GET / HTTP/1.1\r\nUpgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: \r\nHost: x\r\n\r\n").unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).unwrap();
    assert_ne!(&answer, b"HTTP/1.1 101");

    let mut stream = connect();
    stream.write_all(b"GET / HTTP/1.1\r\nX: ").unwrap();
    // It may be closed before all of it was sent.
    let _ = stream.write_all(&vec![b'x'; 64 * 1024]);
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 431");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_says_nothing_more_is_closed() {
    let server = Server::start().await;
    let parts: [&[u8]; 3] = [b"", b"GET / HT", b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"];
    let closed = parts.map(|part| {
        let port = server.http_port();
        tokio::task::spawn_blocking(move || {
            let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            stream.write_all(part).unwrap();
            let begun = Instant::now();
            stream.read_to_end(&mut Vec::new()).unwrap();
            begun.elapsed()
        })
    });
    for closed in closed {
        let took = closed.await.unwrap();
        assert!((8..14).contains(&took.as_secs()), "{took:?}");
    }
    // A body has ten seconds before it must keep pace.
    let slow = tokio::task::spawn_blocking({
        let port = server.http_port();
        move || {
            let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            stream
                .write_all(b"POST /api/v1/login HTTP/1.1\r\nHost: x\r\nContent-Length: 50000\r\n\r\n{")
                .unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            answer
        }
    });
    let answer = slow.await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 408") && answer.contains("the body came too slowly"), "{answer}");
}
