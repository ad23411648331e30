//! A JSON Web Token as RFC 7515 and RFC 7519 spell it: three parts, of which the third signs the other two.
//!
//! Only asymmetric signatures exist here: `none` signs nothing, and with an HMAC the issuer's public key would be the
//! secret. Keys that a token brings along or points to (`jwk`, `jku`, `x5c`, `x5u`) are never looked at.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cause::publisher as causes;
use serde::Deserialize;

use crate::{Algorithm, Claims, Key, Refusal, shown};

/// The longest token that is read, in bytes. GitHub's have about 2,000.
pub const TOKEN_MAX_BYTES: usize = 16 * 1024;

/// A token that was taken apart. Nothing in it is true before [`IdToken::verify`].
#[derive(Debug)]
pub struct IdToken<'a> {
    signed: &'a str,
    claims: Claims,
    algorithm: Algorithm,
    key_id: String,
    signature: Vec<u8>,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    crit: Option<serde_json::Value>,
}

impl<'a> IdToken<'a> {
    /// Takes a token apart.
    pub fn read(token: &'a str) -> Result<Self, Refusal> {
        if token.len() > TOKEN_MAX_BYTES {
            let cause = causes::TOKEN_TOO_LONG.with("size", token.len()).with("most", TOKEN_MAX_BYTES);
            return Err(Refusal::Unproven(cause));
        }
        let parts = token.rsplit_once('.').and_then(|(signed, signature)| {
            let (header, claims) = signed.split_once('.')?;
            (!claims.contains('.')).then_some((signed, header, claims, signature))
        });
        let (signed, header, claims, signature) = parts.ok_or_else(|| malformed(causes::TOKEN_PARTS))?;
        let header = decode(header).and_then(|bytes| serde_json::from_slice::<Header>(&bytes).ok());
        let header = header.ok_or_else(|| malformed(causes::TOKEN_HEADER))?;
        let algorithm = algorithm(&header)?;
        let key_id = header.kid.ok_or_else(|| malformed(causes::TOKEN_WITHOUT_KEY))?;
        let claims = decode(claims).and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let claims = claims.ok_or_else(|| malformed(causes::TOKEN_CLAIMS))?;
        let signature = decode(signature).ok_or_else(|| malformed(causes::TOKEN_SIGNATURE))?;
        Ok(Self { signed, claims, algorithm, key_id, signature })
    }

    /// Who it says has signed it (`iss`): whose keys are to be asked.
    pub fn issuer(&self) -> &str {
        self.claims.job().issuer()
    }

    /// With which of them (`kid`).
    pub fn key_id(&self) -> &str {
        &self.key_id
    }

    /// In which way (`alg`).
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// What the signature is over: header and claims as they were sent.
    pub fn signed(&self) -> &'a str {
        self.signed
    }

    /// What it says, if this key signed it.
    pub fn verify(self, key: &Key) -> Result<Claims, Refusal> {
        if key.has_signed(self.algorithm, self.signed.as_bytes(), &self.signature) {
            return Ok(self.claims);
        }
        let cause = causes::WRONG_SIGNATURE.with("key", shown(&self.key_id));
        Err(Refusal::Unproven(cause.with("issuer", shown(self.issuer()))))
    }
}

fn algorithm(header: &Header) -> Result<Algorithm, Refusal> {
    if header.crit.is_some() {
        return Err(malformed(causes::TOKEN_CRITICAL));
    }
    match header.alg.as_str() {
        "RS256" => Ok(Algorithm::Rs256),
        "ES256" => Ok(Algorithm::Es256),
        none if none.eq_ignore_ascii_case("none") => Err(Refusal::Unproven(causes::TOKEN_UNSIGNED.cause())),
        other => Err(Refusal::Unproven(causes::TOKEN_ALGORITHM.with("algorithm", shown(other)))),
    }
}

fn malformed(entry: cause::Entry) -> Refusal {
    Refusal::Unproven(entry.cause())
}

/// Strict: no padding, no foreign letters, no bits left over.
fn decode(part: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(part).ok()
}
