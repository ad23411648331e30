//! Servers with TLS: only those are listened to that a known certificate vouches for.
//!
//! `data/loopback.pem` is for 127.0.0.1, vouches for itself and is known to nobody. What a process trusts is decided
//! when it begins, so a test that trusts it runs in a process of its own.

use std::process::Command;
use std::sync::Arc;

use contract::Code;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::device::Case;
use crate::refused::given_up;
use crate::server::Answer;

const CERTIFICATE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/loopback.pem");
const KEY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/loopback-key.pem");

/// Puts TLS before a plain server; returns its address.
pub(crate) async fn terminate(plain: String) -> String {
    let certificate = CertificateDer::from_pem_file(CERTIFICATE).expect("a certificate");
    let key = PrivateKeyDer::from_pem_file(KEY).expect("a key");
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .expect("they belong together");
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound").to_string();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let (acceptor, plain) = (acceptor.clone(), plain.clone());
            tokio::spawn(async move {
                // A client that does not trust it, or has had enough, is gone.
                let Ok(mut outside) = acceptor.accept(socket).await else { return };
                let Ok(mut inside) = TcpStream::connect(plain).await else { return };
                let _ = tokio::io::copy_bidirectional(&mut outside, &mut inside).await;
            });
        }
    });
    address
}

/// Whether this process trusts the certificate. If not, one that does has run the test meanwhile, and it passed.
fn trusts(test: &str) -> bool {
    if std::env::var_os("SSL_CERT_FILE").is_some_and(|file| file == CERTIFICATE) {
        return true;
    }
    let child = Command::new(std::env::current_exe().expect("a path"))
        .args(["--exact", test, "--nocapture"])
        .env("SSL_CERT_FILE", CERTIFICATE)
        .env_remove("SSL_CERT_DIR")
        .output()
        .expect("runs");
    let said = String::from_utf8_lossy(&child.stdout);
    assert!(child.status.success(), "{said}\n{}", String::from_utf8_lossy(&child.stderr));
    assert!(said.contains("1 passed"), "{said}");
    false
}

fn with_tls(mut case: Case) -> Case {
    case.tls = true;
    case
}

#[tokio::test]
async fn a_known_certificate_is_trusted() {
    if !trusts("tls::a_known_certificate_is_trusted") {
        return;
    }
    let requests = with_tls(Case::new("TLS", |file, request| file.answer(request).sent())).ends_well().await;
    assert_eq!(requests.len(), 2);
    // Without a length, only TLS itself tells an end from a cut.
    let until_close = Case::new("until close", |file, _| file.whole().field("Content-Length", "").sent());
    with_tls(until_close).ends_well().await;
}

#[tokio::test]
async fn no_redirect_leads_out_of_tls() {
    if !trusts("tls::no_redirect_leads_out_of_tls") {
        return;
    }
    for spares_the_end in [false, true] {
        let down = Case::new("down", move |file, request| {
            if spares_the_end && request.is_for_the_end() {
                return file.answer(request).sent();
            }
            Answer::new(302).field("Location", format!("http://{}/x", request.host)).sent()
        });
        with_tls(down).fails("the server redirects from https to http", Code::ServerError).await;
    }
}

#[tokio::test]
async fn a_certificate_that_nobody_knows_is_not_trusted() {
    let case = with_tls(Case::new("unknown", |file, request| file.answer(request).sent()));
    let words = given_up("the connection was lost: invalid peer certificate: ");
    assert!(case.fails(&words, Code::ConnectionLost).await.is_empty(), "nothing was asked of it");
}

#[tokio::test]
async fn a_plain_port_does_not_pass_for_tls() {
    let mut plain = Case::new("plain", |file, request| file.answer(request).sent());
    plain.url = |url| url.replace("http://", "https://");
    plain.fails(&given_up("the connection was lost: "), Code::ConnectionLost).await;
}
