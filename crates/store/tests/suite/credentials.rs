//! Each way to come by credentials, with a fixture that hands some out and a server that takes only those.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use s3s::S3Result;
use s3s::auth::{S3Auth, SecretKey};
use updraft_store::{Options, Store};

use crate::place::{publish, s3_image, s3_url};
use crate::servers::{Front, Rule, Strict, s3_error, serve, strict_of};

/// The credentials that hold at the moment: `key-N`, `secret-N`, `token-N`.
#[derive(Clone, Default)]
struct Current(Arc<Mutex<u32>>);

impl Current {
    fn number(&self) -> u32 {
        *self.0.lock().expect("unpoisoned")
    }

    /// From now on only the next ones hold.
    fn turn_over(&self) {
        *self.0.lock().expect("unpoisoned") += 1;
    }

    /// As ECS, EKS and EC2 hand them out.
    fn json(&self, lifetime_s: i64) -> String {
        let number = self.number();
        let until = chrono::Utc::now() + chrono::Duration::seconds(lifetime_s);
        serde_json::json!({
            "Code": "Success", "Type": "AWS-HMAC", "AccessKeyId": format!("key-{number}"),
            "SecretAccessKey": format!("secret-{number}"), "Token": format!("token-{number}"),
            "LastUpdated": "2026-11-02T10:00:00Z", "Expiration": until.to_rfc3339(),
        })
        .to_string()
    }
}

#[async_trait::async_trait]
impl S3Auth for Current {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        let number = self.number();
        if access_key == format!("key-{number}") {
            return Ok(SecretKey::from(format!("secret-{number}")));
        }
        Err(s3s::s3_error!(InvalidAccessKeyId))
    }
}

/// A bucket for whoever has the current credentials, all three of them.
struct Bucket {
    url: String,
    current: Current,
    _server: Strict,
}

impl Bucket {
    fn new() -> Self {
        let current = Current::default();
        let server = strict_of(current.clone());
        std::fs::create_dir(server.root.path().join("bucket")).expect("a bucket is a folder there");
        let tokens = current.clone();
        let front = Front::before(&server.url, move |parts| {
            let token = parts.headers.get("x-amz-security-token").and_then(|value| value.to_str().ok());
            if token != Some(&format!("token-{}", tokens.number())) {
                return Rule::Answer(s3_error(400, "InvalidToken", ""));
            }
            Rule::Pass
        });
        Self { url: s3_url(&front.url, "bucket"), current, _server: server }
    }

    async fn open(&self, environment: &[(&str, &str)]) -> Store {
        let environment: BTreeMap<_, _> =
            environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let options = Options { public_url: None, signing_key: None, environment };
        Store::open(&self.url, options).await.expect("opens")
    }

    /// Credentials are used, and replaced when they end.
    async fn accepts(&self, environment: &[(&str, &str)]) {
        let store = self.open(environment).await;
        for number in 0..2 {
            let version = format!("1.{number}.0");
            publish(&store, &version, &s3_image(&version, 1)).await.expect("published");
            let key = format!("esp32s3/releases/v{version}/firmware.bin");
            let url = store.sign(&key, std::time::Duration::from_mins(1)).await.expect("signed");
            assert!(url.query().expect("signed").contains(&format!("X-Amz-Security-Token=token-{number}")));
            self.current.turn_over();
            // `object_store` asks no more than ten times a second.
            tokio::time::sleep(std::time::Duration::from_millis(150)).await;
        }
    }
}

fn text(status: u16, text: impl Into<Body>) -> Response {
    (StatusCode::from_u16(status).expect("a status"), text.into()).into_response()
}

fn header<'a>(request: &'a Request, name: &str) -> Option<&'a str> {
    request.headers().get(name).and_then(|value| value.to_str().ok())
}

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
    bucket.accepts(&[("AWS_EC2_METADATA_SERVICE_ENDPOINT", &endpoint)]).await;
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
                text(200, current.json(60))
            }
        });
        let address = format!("{endpoint}/v1/credentials");
        let mut environment = vec![("AWS_CONTAINER_CREDENTIALS_FULL_URI", address.as_str())];
        environment.extend(token);
        bucket.accepts(&environment).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_that_live_long_are_asked_for_once() {
    let bucket = Bucket::new();
    let (current, asked) = (bucket.current.clone(), Arc::new(Mutex::new(0)));
    let counted = Arc::clone(&asked);
    let endpoint = serve(move |_| {
        *counted.lock().expect("unpoisoned") += 1;
        let current = current.clone();
        async move { text(200, current.json(3600)) }
    });
    let store = bucket.open(&[("AWS_CONTAINER_CREDENTIALS_FULL_URI", &endpoint)]).await;
    publish(&store, "1.0.0", &s3_image("1.0.0", 1)).await.expect("published");
    assert_eq!(*asked.lock().expect("unpoisoned"), 1);
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

/// AWS's security token service over HTTPS, as its client insists: it knows one web identity. Says its port; writes
/// its certificate, which is its own authority.
const STS: &str = "
import datetime, http.server, ipaddress, ssl, sys, threading, urllib.parse
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
certificate_file, key_file = sys.argv[1:]
key = ec.generate_private_key(ec.SECP256R1())
name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, 'sts')])
now = datetime.datetime.now(datetime.timezone.utc)
certificate = (x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    .serial_number(1).not_valid_before(now - datetime.timedelta(days=1)).not_valid_after(now + datetime.timedelta(days=1))
    .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address('127.0.0.1'))]), False)
    .add_extension(x509.BasicConstraints(ca=False, path_length=None), True)
    .sign(key, hashes.SHA256()))
open(certificate_file, 'wb').write(certificate.public_bytes(serialization.Encoding.PEM))
open(key_file, 'wb').write(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        query = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(self.path).query))
        known = (query.get('Action'), query.get('WebIdentityToken'), query.get('RoleArn'))
        if known == ('AssumeRoleWithWebIdentity', 'identity', 'arn:aws:iam::1:role/updraft'):
            status, body = 200, '''<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult><Credentials>
                <SessionToken>token-0</SessionToken><SecretAccessKey>secret-0</SecretAccessKey><AccessKeyId>key-0</AccessKeyId>
                <Expiration>2099-01-01T00:00:00Z</Expiration></Credentials></AssumeRoleWithWebIdentityResult>
                </AssumeRoleWithWebIdentityResponse>'''
        else:
            status, body = 403, '<ErrorResponse><Error><Code>AccessDenied</Code></Error></ErrorResponse>'
        self.send_response(status)
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())
    def log_message(self, *_): pass
server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(certificate_file, key_file)
server.socket = context.wrap_socket(server.socket, server_side=True)
threading.Thread(target=server.serve_forever, daemon=True).start()
print(server.server_port, flush=True)
sys.stdin.read()
";

/// A process whose environment says where credentials are; whether it could publish.
async fn child_publishes(bucket: &Bucket, version: &str, environment: &[(&str, &str)]) -> bool {
    let environment =
        environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let (url, version) = (bucket.url.clone(), version.to_owned());
    let ended = tokio::task::spawn_blocking(move || {
        crate::killed::start(&url, &version, &environment).wait().expect("it ends").success()
    });
    ended.await.expect("no panic")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_web_identity_is_exchanged_for_a_role() {
    let bucket = Bucket::new();
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (certificate, key, token) = (path("certificate.pem"), path("key.pem"), path("token"));
    let mut sts = Command::new("python3")
        .args(["-c", STS, &certificate, &key])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3 is needed for the S3 tests: install Python 3");
    let mut line = String::new();
    BufReader::new(sts.stdout.take().expect("piped")).read_line(&mut line).expect("readable");
    assert!(
        !line.is_empty(),
        "cryptography is needed for the S3 tests: pip install 'moto[server,s3]' brings it"
    );
    let endpoint = format!("https://127.0.0.1:{}", line.trim());
    std::fs::write(&token, "identity").expect("written");
    let environment = [
        ("AWS_WEB_IDENTITY_TOKEN_FILE", token.as_str()),
        ("AWS_ROLE_ARN", "arn:aws:iam::1:role/updraft"),
        ("AWS_ENDPOINT_URL_STS", endpoint.as_str()),
        ("SSL_CERT_FILE", certificate.as_str()),
    ];
    assert!(child_publishes(&bucket, "1.0.0", &environment).await);
    std::fs::write(&token, "somebody else's").expect("written");
    assert!(!child_publishes(&bucket, "1.1.0", &environment).await);
    drop(sts.stdin.take());
    sts.wait().expect("it ends");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_role_comes_from_the_agent_of_ecs() {
    let bucket = Bucket::new();
    let current = bucket.current.clone();
    // The agent's address is fixed; what asks it goes through a proxy here.
    let proxy = serve(move |request| {
        let current = current.clone();
        async move {
            let asked = request.uri().to_string();
            if asked == "http://169.254.170.2/v2/credentials/task" {
                return text(200, current.json(3600));
            }
            text(404, asked)
        }
    });
    let environment = [
        ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/v2/credentials/task"),
        ("HTTP_PROXY", proxy.as_str()),
        ("http_proxy", proxy.as_str()),
        ("NO_PROXY", "127.0.0.1"),
        ("no_proxy", "127.0.0.1"),
    ];
    assert!(child_publishes(&bucket, "1.0.0", &environment).await);
}
