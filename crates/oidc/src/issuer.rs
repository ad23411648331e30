//! Where an issuer's keys may come from: OpenID Connect Discovery 1.0, and which addresses are safe to ask.
//!
//! Keys that came over a line that anybody could change would be anybody's keys, so a network is asked by https only. An
//! issuer on another machine cannot have this one ask itself: what listens on loopback takes its callers for friends.

use serde::Deserialize;
use url::{Host, Url};

use crate::shown;

/// Section 3: what the document must have for us.
#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    jwks_uri: String,
}

/// Where an issuer's document is. Its name keeps a slash at its end, the address does not double it (section 4.1).
pub fn discovery_address(issuer: &str) -> String {
    format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'))
}

/// Whether an issuer may be asked at all: by https, or by http on this machine itself.
pub fn is_safe_issuer(url: &Url) -> bool {
    is_anonymous(url) && (url.scheme() == "https" || (url.scheme() == "http" && is_here(url)))
}

/// Where the document says that the keys are. On failure: the rest of a sentence that begins with "since".
pub fn key_set_address(document: &[u8], issuer: &str) -> Result<Url, String> {
    let from = discovery_address(issuer);
    let document: Discovery = serde_json::from_slice(document)
        .map_err(|_| format!("{from} is not a discovery document with issuer and jwks_uri"))?;
    // Section 4.3: exactly, or one issuer could speak for another.
    if document.issuer != issuer {
        return Err(format!("{from} is of another issuer, {}", shown(&document.issuer)));
    }
    let says = format!("it says that its keys (jwks_uri) are at {}", shown(&document.jwks_uri));
    let keys: Url = document.jwks_uri.parse().map_err(|_| format!("{says}, which is not a URL"))?;
    let is_plain_issuer = issuer.parse::<Url>().is_ok_and(|url| url.scheme() == "http" && is_here(&url));
    let is_plain = is_plain_issuer && keys.scheme() == "http" && is_here(&keys);
    if !is_anonymous(&keys) || (keys.scheme() != "https" && !is_plain) {
        return Err(format!("{says}, and only https is asked"));
    }
    if !is_plain_issuer && may_be_here(&keys) {
        return Err(format!(
            "{says}, which is this server's own machine, and it is asked for no keys of others"
        ));
    }
    Ok(keys)
}

fn is_anonymous(url: &Url) -> bool {
    url.has_host() && url.username().is_empty() && url.password().is_none()
}

/// Certainly this machine: what may be asked without TLS.
fn is_here(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

/// What some system takes for this machine: names below `localhost` (RFC 6761), the address of none, IPv4 in IPv6.
fn may_be_here(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(ip)) => ip.is_loopback() || ip.is_unspecified(),
        Some(Host::Ipv6(ip)) => {
            let mapped = ip.to_ipv4_mapped().is_some_and(|ip| ip.is_loopback() || ip.is_unspecified());
            ip.is_loopback() || ip.is_unspecified() || mapped
        }
        Some(Host::Domain(name)) => name.trim_end_matches('.').rsplit('.').next() == Some("localhost"),
        None => false,
    }
}
