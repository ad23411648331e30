//! Processes of their own, whose environment says where credentials are: a web identity, and a proxy that must not see them.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::fixture::{Bucket, text};
use crate::place::{reqwest_client, s3_url};
use crate::servers::{Front, Rule, pass, serve};

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
    // Whoever still has the token of before, or another's, gets nothing.
    for token in ["identity-0", "somebody else's"] {
        sts.identify(token);
        assert!(!sts.publishes(&url, "1.1.0").await);
    }
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
