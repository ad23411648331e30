//! Each way to come by credentials, with a fixture that hands some out and a server that takes only those.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::ops::RangeInclusive;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use s3s::S3Result;
use s3s::auth::{S3Auth, SecretKey};
use updraft_store::{Options, Store};

use crate::place::{publish, reqwest_client, s3_image, s3_url};
use crate::servers::{Front, Rule, Strict, pass, s3_error, serve, strict_of};

/// The credentials that hold at the moment, first to last: `key-N`, `secret-N`, `token-N`. The last are handed out.
#[derive(Clone)]
struct Current(Arc<Mutex<RangeInclusive<u32>>>);

impl Current {
    fn new() -> Self {
        Self(Arc::new(Mutex::new(0..=0)))
    }

    fn number(&self) -> u32 {
        *self.0.lock().expect("unpoisoned").end()
    }

    /// From now on only the next ones hold.
    fn turn_over(&self) {
        let next = self.number() + 1;
        *self.0.lock().expect("unpoisoned") = next..=next;
    }

    /// From now on the next ones hold too.
    fn add(&self) {
        let next = self.number() + 1;
        *self.0.lock().expect("unpoisoned") = 0..=next;
    }

    /// The number in `key-N` or `token-N`, if those hold.
    fn holding(&self, name: &str) -> Option<u32> {
        let number = name.split_once('-')?.1.parse().ok()?;
        self.0.lock().expect("unpoisoned").contains(&number).then_some(number)
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
        if let Some(number) = self.holding(access_key) {
            return Ok(SecretKey::from(format!("secret-{number}")));
        }
        Err(s3s::s3_error!(InvalidAccessKeyId))
    }
}

/// A bucket for whoever has the current credentials, all three of them.
struct Bucket {
    url: String,
    current: Current,
    /// The server behind, which does not look at tokens.
    server: String,
    _strict: Strict,
}

impl Bucket {
    fn new() -> Self {
        let current = Current::new();
        let strict = strict_of(current.clone());
        std::fs::create_dir(strict.root.path().join("bucket")).expect("a bucket is a folder there");
        let tokens = current.clone();
        let front = Front::before(&strict.url, move |parts| {
            let token = parts.headers.get("x-amz-security-token").and_then(|value| value.to_str().ok());
            if token.is_none_or(|token| tokens.holding(token).is_none()) {
                return Rule::Answer(s3_error(400, "InvalidToken", ""));
            }
            Rule::Pass
        });
        Self { url: s3_url(&front.url, "bucket"), current, server: strict.url.clone(), _strict: strict }
    }

    async fn open(&self, environment: &[(&str, &str)]) -> Store {
        let environment: BTreeMap<_, _> =
            environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let options = Options { public_url: None, signing_key: None, environment };
        Store::open(&self.url, options).await.expect("opens")
    }

    /// Credentials are used, and replaced once they have ended, which takes so long.
    async fn accepts(&self, environment: &[(&str, &str)], life: Duration) {
        let store = self.open(environment).await;
        for number in 0..2 {
            let version = format!("1.{number}.0");
            publish(&store, &version, &s3_image(&version, 1)).await.expect("published");
            assert_eq!(signed_with(&store).await, number);
            if number == 0 {
                self.current.turn_over();
                tokio::time::sleep(life + Duration::from_millis(150)).await;
            }
        }
    }
}

/// The number of the credentials that sign a URL now.
async fn signed_with(store: &Store) -> u32 {
    let key = "esp32s3/releases/v1.0.0/firmware.bin";
    let url = store.sign(key, Duration::from_mins(1)).await.expect("signed");
    let (_, token) = url.query_pairs().find(|(name, _)| name == "X-Amz-Security-Token").expect("a token");
    token.strip_prefix("token-").expect("one of ours").parse().expect("a number")
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
    // `object_store` asks for those that end within minutes before each use, ten times a second at the most.
    let environment = [("AWS_EC2_METADATA_SERVICE_ENDPOINT", endpoint.as_str())];
    bucket.accepts(&environment, Duration::ZERO).await;
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
        bucket.accepts(&environment, Duration::from_secs(1)).await;
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
async fn new_credentials_come_before_the_old_ones_end_and_nobody_waits_for_them() {
    let bucket = Bucket::new();
    let (current, may_answer) = (bucket.current.clone(), tokio::sync::watch::channel(true));
    let (hang, may_answer) = may_answer;
    let endpoint = serve(move |_| {
        let (current, mut may_answer) = (current.clone(), may_answer.clone());
        async move {
            may_answer.wait_for(|may| *may).await.expect("the test lives");
            text(200, current.json(240))
        }
    });
    let store = bucket.open(&[("AWS_CONTAINER_CREDENTIALS_FULL_URI", &endpoint)]).await;
    publish(&store, "1.0.0", &s3_image("1.0.0", 1)).await.expect("published");
    // The agent hangs; what it gave is good for minutes more.
    hang.send_replace(false);
    tokio::time::sleep(Duration::from_millis(50)).await;
    bucket.current.turn_over();
    let began = Instant::now();
    for _ in 0..50 {
        assert_eq!(signed_with(&store).await, 0);
    }
    assert!(began.elapsed() < Duration::from_secs(1), "50 signatures took {:?}", began.elapsed());
    hang.send_replace(true);
    while signed_with(&store).await == 0 {
        assert!(began.elapsed() < Duration::from_mins(1), "the new ones never came");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    publish(&store, "1.1.0", &s3_image("1.1.0", 1)).await.expect("published with the new ones");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_fails_is_left_alone_while_the_old_credentials_are_good() {
    let bucket = Bucket::new();
    let (current, asked) = (bucket.current.clone(), Arc::new(Mutex::new(0)));
    let counted = Arc::clone(&asked);
    let endpoint = serve(move |_| {
        let number = {
            let mut asked = counted.lock().expect("unpoisoned");
            *asked += 1;
            *asked
        };
        let current = current.clone();
        async move { if number == 1 { text(200, current.json(240)) } else { text(500, "") } }
    });
    let store = bucket.open(&[("AWS_CONTAINER_CREDENTIALS_FULL_URI", &endpoint)]).await;
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(2) {
        assert_eq!(signed_with(&store).await, 0);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(*asked.lock().expect("unpoisoned"), 1 + 3, "three attempts, and then a pause");
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
        tokio::time::sleep(Duration::from_millis(1100)).await;
        let version = format!("1.{number}.0");
        publish(&store, &version, &s3_image(&version, 1)).await.expect("published");
        bucket.current.turn_over();
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
    let options = Options { public_url: None, signing_key: None, environment };
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

/// AWS's security token service over HTTPS, as its client insists. For the web identity `identity-N` it gives `key-N`,
/// which ends within a minute, until it has seen a later identity. Says its port; writes its certificate, which is its
/// own authority.
const STS: &str = "
import datetime, http.server, ipaddress, re, ssl, sys, threading, urllib.parse
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
newest, one_at_a_time = 0, threading.Lock()
def number_of(query):
    global newest
    identity = re.fullmatch('identity-([0-9]+)', query.get('WebIdentityToken', ''))
    asked = (query.get('Action'), query.get('RoleArn'))
    if not identity or asked != ('AssumeRoleWithWebIdentity', 'arn:aws:iam::1:role/updraft'):
        return None
    with one_at_a_time:
        newest = max(newest, int(identity[1]))
        return newest if int(identity[1]) == newest else None
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        number = number_of(dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(self.path).query)))
        until = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=60)
        if number is not None:
            status, body = 200, f'''<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult><Credentials>
                <SessionToken>token-{number}</SessionToken><SecretAccessKey>secret-{number}</SecretAccessKey>
                <AccessKeyId>key-{number}</AccessKeyId><Expiration>{until:%Y-%m-%dT%H:%M:%SZ}</Expiration></Credentials>
                </AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>'''
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
async fn child_publishes(bucket: &str, version: &str, environment: &[(&str, &str)]) -> bool {
    let environment =
        environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let (url, version) = (bucket.to_owned(), version.to_owned());
    let ended = tokio::task::spawn_blocking(move || {
        crate::killed::start(&url, &version, &environment).wait().expect("it ends").success()
    });
    ended.await.expect("no panic")
}

/// The token service, and the files of a process that asks it.
struct Sts {
    process: Child,
    folder: tempfile::TempDir,
    endpoint: String,
}

impl Sts {
    fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut process = Command::new("python3")
            .args(["-c", STS])
            .args([folder.path().join("certificate.pem"), folder.path().join("key.pem")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 is needed for the S3 tests: install Python 3");
        let mut line = String::new();
        BufReader::new(process.stdout.take().expect("piped")).read_line(&mut line).expect("readable");
        assert!(
            !line.is_empty(),
            "cryptography is needed for the S3 tests: pip install 'moto[server,s3]' brings it"
        );
        let endpoint = format!("https://127.0.0.1:{}", line.trim());
        Self { process, folder, endpoint }
    }

    /// Puts another token into the place of the old one, as a platform does.
    fn identify(&self, token: &str) {
        let new = self.folder.path().join("token.new");
        std::fs::write(&new, token).expect("written");
        std::fs::rename(new, self.folder.path().join("token")).expect("replaced");
    }

    /// A process that has this identity; whether it could publish.
    async fn publishes(&self, bucket: &str, version: &str) -> bool {
        let path = |name: &str| self.folder.path().join(name).display().to_string();
        let environment = [
            ("AWS_WEB_IDENTITY_TOKEN_FILE", &*path("token")),
            ("AWS_ROLE_ARN", "arn:aws:iam::1:role/updraft"),
            ("AWS_ENDPOINT_URL_STS", &self.endpoint),
            ("SSL_CERT_FILE", &path("certificate.pem")),
        ];
        child_publishes(bucket, version, &environment).await
    }
}

impl Drop for Sts {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_web_identity_is_exchanged_for_a_role() {
    let (bucket, sts) = (Bucket::new(), Sts::start());
    sts.identify("identity-0");
    assert!(sts.publishes(&bucket.url, "1.0.0").await);
    sts.identify("somebody else's");
    assert!(!sts.publishes(&bucket.url, "1.1.0").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_web_identity_that_the_platform_replaced_is_read_again() {
    let (bucket, sts) = (Bucket::new(), Arc::new(Sts::start()));
    sts.identify("identity-0");
    // While a process works, after some of its requests, the platform replaces the token.
    let (current, platform, used) = (bucket.current.clone(), Arc::clone(&sts), Arc::default());
    let noted: Arc<Mutex<Vec<String>>> = Arc::clone(&used);
    let front = Front::before(&bucket.server, move |parts| {
        let token = parts.headers.get("x-amz-security-token").and_then(|value| value.to_str().ok());
        let mut used = noted.lock().expect("unpoisoned");
        used.push(token.unwrap_or_default().to_owned());
        if used.len() == 8 {
            current.add();
            platform.identify("identity-1");
            // `object_store` asks no more than ten times a second.
            std::thread::sleep(Duration::from_millis(150));
        }
        Rule::Pass
    });
    let url = s3_url(&front.url, "bucket");
    assert!(sts.publishes(&url, "1.0.0").await);
    let used = std::mem::take(&mut *used.lock().expect("unpoisoned"));
    assert!(used[..8].iter().all(|token| token == "token-0"), "{used:?}");
    let first_new = used.iter().position(|token| token == "token-1").expect("the new ones are used");
    assert!(
        first_new + 3 < used.len() && used[first_new..].iter().all(|token| token == "token-1"),
        "{used:?}"
    );
    // Whoever still has the token of before gets nothing.
    sts.identify("identity-0");
    assert!(!sts.publishes(&url, "1.1.0").await);
}

/// Whether a process could publish that is told to ask a proxy for everything, and what went through that proxy.
async fn published_through_a_proxy(bucket: &Bucket, environment: &[(&str, &str)]) -> (bool, Vec<String>) {
    let (passed, http) = (Arc::new(Mutex::new(Vec::new())), reqwest_client());
    let noted = Arc::clone(&passed);
    let proxy = serve(move |request| {
        let (noted, http) = (Arc::clone(&noted), http.clone());
        async move {
            let (parts, body) = request.into_parts();
            noted.lock().expect("unpoisoned").push(parts.uri.to_string());
            pass(&http, "", parts, body).await
        }
    });
    let variables = [("HTTP_PROXY", &*proxy), ("http_proxy", &*proxy), ("NO_PROXY", ""), ("no_proxy", "")];
    let environment = [environment, &variables].concat();
    let done = child_publishes(&bucket.url, "1.0.0", &environment).await;
    let passed = passed.lock().expect("unpoisoned").clone();
    (done, passed)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_proxy_sees_the_credentials_that_are_given_over_http() {
    let bucket = Bucket::new();
    let current = bucket.current.clone();
    let giver = serve(move |request| {
        let current = current.clone();
        async move {
            match request.uri().path() {
                "/latest/api/token" => text(200, "session"),
                "/latest/meta-data/iam/security-credentials/" => text(200, "updraft"),
                _ => text(200, current.json(3600)),
            }
        }
    });
    for name in ["AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_EC2_METADATA_SERVICE_ENDPOINT"] {
        let (done, passed) = published_through_a_proxy(&bucket, &[(name, &giver)]).await;
        assert!(done, "{name}: {passed:#?}");
        assert!(passed.iter().any(|uri| uri.contains("/bucket")), "{name}: the proxy is not asked at all");
        let seen = passed.iter().filter(|uri| uri.starts_with(&giver));
        assert_eq!(seen.count(), 0, "{name}: {passed:#?}");
    }
}

/// Nobody answers at its address here; a proxy would have been asked for it.
#[tokio::test(flavor = "multi_thread")]
async fn no_proxy_is_asked_for_the_agent_of_ecs() {
    let path = ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/v2/credentials/task");
    let (done, passed) = published_through_a_proxy(&Bucket::new(), &[path]).await;
    assert!(!done && passed.is_empty(), "{passed:#?}");
}
