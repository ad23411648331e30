//! An OIDC issuer on loopback that is GitHub's in shape: discovery, a key set, the address where a job asks for its
//! token, and real signatures. It can also be down, slow, garbled, or somebody else.
use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard};
use std::time::{SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use rsa::pkcs8::EncodePrivateKey;
use rsa::traits::PublicKeyParts;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

/// What a job must show to get its token.
pub(crate) const REQUEST_TOKEN: &str = "the-jobs-own-request-token";

/// What the issuer does when it is asked for its keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    /// 503.
    Down,
    /// Nothing, for longer than anybody waits.
    Slow,
    /// 10 MiB.
    Huge,
    /// No JSON.
    Garbage,
    /// A redirect to its real keys.
    Redirect,
    /// Discovery names another issuer.
    OtherName,
    /// Discovery names an address without TLS on another machine.
    PlainKeys,
}

/// A running issuer; it ends with its owner.
pub(crate) struct Issuer {
    url: String,
    state: Arc<Mutex<Inner>>,
    task: JoinHandle<()>,
}

struct Inner {
    url: String,
    /// Which of [`KEYS`] signs, and under which name.
    key: usize,
    /// The keys that are shown.
    shown: Vec<usize>,
    fault: Fault,
    /// What its name ends in besides.
    slash: &'static str,
    key_fetches: usize,
    /// What the job's token says besides the defaults.
    job: Value,
    audiences: Vec<String>,
}

struct Key {
    pair: RsaKeyPair,
    modulus: Box<[u8]>,
    exponent: Box<[u8]>,
}

/// Made once for all tests of a program: finding primes takes seconds.
static KEYS: LazyLock<[Key; 2]> = LazyLock::new(|| {
    [(); 2].map(|()| {
        let key = rsa::PrivateKey::new(&mut getrandom::SysRng, 2048).expect("a key can be made");
        let der = key.to_pkcs8_der().expect("it can be written");
        let pair = RsaKeyPair::from_pkcs8(der.as_bytes()).expect("it can be read");
        Key { pair, modulus: key.n_bytes(), exponent: key.e_bytes() }
    })
});

impl Issuer {
    /// On a free port.
    pub(crate) async fn start() -> Self {
        tokio::task::spawn_blocking(|| LazyLock::force(&KEYS)).await.expect("the keys are made");
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.expect("a port is free");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let state = Arc::new(Mutex::new(Inner {
            url: url.clone(),
            key: 0,
            shown: vec![0],
            fault: Fault::None,
            slash: "",
            key_fetches: 0,
            job: json!({}),
            audiences: Vec::new(),
        }));
        let router = Router::new()
            .route("/.well-known/openid-configuration", get(discovery))
            .route("/jwks", get(jwks))
            .route("/job/token", get(job_token))
            .with_state(Arc::clone(&state));
        let task = tokio::spawn(async move { axum::serve(listener, router).await.expect("it serves") });
        Self { url, state, task }
    }

    /// Its name, the claim `iss`.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// The environment that GitHub gives to a job with `permissions: id-token: write`.
    pub(crate) fn job_environment(&self) -> [(&'static str, String); 3] {
        [
            ("GITHUB_ACTIONS", "true".to_owned()),
            ("ACTIONS_ID_TOKEN_REQUEST_URL", format!("{}/job/token?api-version=2.0", self.url)),
            ("ACTIONS_ID_TOKEN_REQUEST_TOKEN", REQUEST_TOKEN.to_owned()),
        ]
    }

    /// What jobs' tokens say from now on besides [`Issuer::claims`]; null takes a claim away.
    pub(crate) fn set_job(&self, claims: Value) {
        self.state().job = claims;
    }

    /// For which audiences jobs asked.
    pub(crate) fn audiences(&self) -> Vec<String> {
        self.state().audiences.clone()
    }

    pub(crate) fn set_fault(&self, fault: Fault) {
        self.state().fault = fault;
    }

    /// Its discovery document names it with a slash at its end from now on.
    pub(crate) fn end_in_a_slash(&self) {
        self.state().slash = "/";
    }

    /// How often the key set was asked for.
    pub(crate) fn key_fetches(&self) -> usize {
        self.state().key_fetches
    }

    /// Signs with another key from now on, and shows it instead of the one before.
    pub(crate) fn rotate(&self) {
        let mut state = self.state();
        (state.key, state.shown) = (1, vec![1]);
    }

    /// What GitHub says of a push to main of octo/blinky, for five minutes from now.
    pub(crate) fn claims(&self, audience: &str, more: &Value) -> Value {
        claims(&self.url, audience, more)
    }

    /// A good token with these claims.
    pub(crate) fn sign(&self, claims: &Value) -> String {
        let key = self.state().key;
        sign(&json!({"typ": "JWT", "alg": "RS256", "kid": kid(key)}), claims, key)
    }

    /// A token with this header, signed with the key that is shown or with one that is not.
    pub(crate) fn sign_as(header: &Value, claims: &Value, with_shown_key: bool) -> String {
        sign(header, claims, usize::from(!with_shown_key))
    }

    /// The name of the key that signs first.
    pub(crate) fn first_kid() -> String {
        kid(0)
    }

    /// The modulus of the first key, as the key set shows it.
    pub(crate) fn first_modulus() -> Vec<u8> {
        KEYS[0].modulus.to_vec()
    }

    fn state(&self) -> MutexGuard<'_, Inner> {
        self.state.lock().expect("nobody panicked with it")
    }
}

impl Drop for Issuer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Header and claims in their places, with a dot between: what is signed.
pub(crate) fn unsigned(header: &Value, claims: &Value) -> String {
    let part = |json: &Value| URL_SAFE_NO_PAD.encode(json.to_string());
    format!("{}.{}", part(header), part(claims))
}

/// Seconds since 1970.
pub(crate) fn now() -> i64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970");
    i64::try_from(elapsed.as_secs()).expect("fits")
}

fn claims(issuer: &str, audience: &str, more: &Value) -> Value {
    let mut claims = json!({
        "iss": issuer, "aud": audience, "iat": now(), "nbf": now() - 300, "exp": now() + 300,
        "jti": format!("{:?}", SystemTime::now()),
        "sub": "repo:octo/blinky:ref:refs/heads/main", "repository": "octo/blinky", "repository_id": "74",
        "repository_owner": "octo", "repository_owner_id": "65", "ref": "refs/heads/main", "ref_type": "branch",
        "event_name": "push", "run_id": "123", "run_attempt": "1", "workflow": "release",
    });
    for (name, value) in more.as_object().expect("claims are an object") {
        match value {
            Value::Null => claims.as_object_mut().expect("an object").remove(name),
            value => claims.as_object_mut().expect("an object").insert(name.clone(), value.clone()),
        };
    }
    claims
}

fn kid(key: usize) -> String {
    format!("key-{key}")
}

fn sign(header: &Value, claims: &Value, key: usize) -> String {
    let signed = unsigned(header, claims);
    let mut signature = vec![0; KEYS[key].modulus.len()];
    KEYS[key]
        .pair
        .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature)
        .expect("it signs");
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

type Shared = State<Arc<Mutex<Inner>>>;

async fn discovery(State(state): Shared) -> Response {
    let (url, name, fault) = {
        let state = state.lock().expect("nobody panicked with it");
        (state.url.clone(), format!("{}{}", state.url, state.slash), state.fault)
    };
    match fault {
        Fault::Down => StatusCode::SERVICE_UNAVAILABLE.into_response(),
        Fault::OtherName => {
            axum::Json(json!({"issuer": "https://other.example", "jwks_uri": format!("{url}/jwks")}))
                .into_response()
        }
        Fault::PlainKeys => {
            axum::Json(json!({"issuer": name, "jwks_uri": "http://192.0.2.1/jwks"})).into_response()
        }
        _ => axum::Json(json!({"issuer": name, "jwks_uri": format!("{url}/jwks")})).into_response(),
    }
}

async fn jwks(State(state): Shared, headers: HeaderMap) -> Response {
    assert!(!headers.contains_key(header::AUTHORIZATION), "nobody needs to show anything for public keys");
    let (fault, shown) = {
        let mut state = state.lock().expect("nobody panicked with it");
        state.key_fetches += 1;
        (state.fault, state.shown.clone())
    };
    let key = |key: &usize| {
        let number = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        json!({"kty": "RSA", "use": "sig", "alg": "RS256", "kid": kid(*key),
            "n": number(&KEYS[*key].modulus),
            "e": number(&KEYS[*key].exponent)})
    };
    match fault {
        Fault::Slow => std::future::pending().await,
        Fault::Huge => vec![b' '; 10 * 1024 * 1024].into_response(),
        Fault::Garbage => "<html>".into_response(),
        Fault::Redirect => (StatusCode::FOUND, [(header::LOCATION, "/jwks")]).into_response(),
        _ => axum::Json(json!({"keys": shown.iter().map(key).collect::<Vec<_>>()})).into_response(),
    }
}

/// GitHub's `ACTIONS_ID_TOKEN_REQUEST_URL`.
async fn job_token(
    State(state): Shared,
    headers: HeaderMap,
    Query(query): Query<HashMap<String, String>>,
) -> Response {
    let shown = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    if shown != Some(&format!("Bearer {REQUEST_TOKEN}")) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let Some(audience) = query.get("audience") else { return StatusCode::BAD_REQUEST.into_response() };
    let (claims, key) = {
        let mut state = state.lock().expect("nobody panicked with it");
        state.audiences.push(audience.clone());
        (claims(&state.url, audience, &state.job), state.key)
    };
    let token = sign(&json!({"typ": "JWT", "alg": "RS256", "kid": kid(key)}), &claims, key);
    axum::Json(json!({"count": token.len(), "value": token})).into_response()
}
