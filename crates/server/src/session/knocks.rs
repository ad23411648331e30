//! How often one address may try to log in as a publisher. A CI system's many jobs may come from one address, and a
//! stranger must not be able to use up what is theirs, so each address has an allowance of its own.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::api::problem::Problem;
use crate::router::Web;

/// Attempts at once.
const BURST: f64 = 60.0;
/// Attempts that come back each second.
const PER_SECOND: f64 = 1.0;
/// Addresses that are remembered; an address is forgotten when it has its whole allowance again.
const SOURCES_MAX: usize = 4096;

/// The allowance of each address.
#[derive(Debug)]
pub(crate) struct Knocks(Mutex<HashMap<IpAddr, Bucket>>);

/// What was left, and when.
#[derive(Debug, Clone, Copy)]
struct Bucket(f64, Instant);

impl Bucket {
    fn at(self, now: Instant) -> f64 {
        (self.0 + now.saturating_duration_since(self.1).as_secs_f64() * PER_SECOND).min(BURST)
    }
}

impl Knocks {
    /// Takes one attempt. On failure: after how many seconds there is one again.
    fn take(&self, source: IpAddr, now: Instant) -> Result<(), u64> {
        let mut sources = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut source = network(source);
        if sources.len() >= SOURCES_MAX && !sources.contains_key(&source) {
            sources.retain(|_, bucket| bucket.at(now) < BURST);
            if sources.len() >= SOURCES_MAX {
                // Whoever comes while so many others do shares one allowance.
                source = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
            }
        }
        let left = sources.get(&source).map_or(BURST, |bucket| bucket.at(now));
        if left < 1.0 {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to 1")]
            return Err(((1.0 - left) / PER_SECOND).ceil().max(1.0) as u64);
        }
        sources.insert(source, Bucket(left - 1.0, now));
        Ok(())
    }
}

impl Default for Knocks {
    fn default() -> Self {
        Self(Mutex::new(HashMap::new()))
    }
}

/// One household: an address of IPv4, or the 64 bits that somebody with IPv6 cannot choose.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64)),
        v4 @ IpAddr::V4(_) => v4,
    }
}

/// A request whose sender had an attempt left. To be asked for before the body is read.
pub(crate) struct Knock;

impl FromRequestParts<Web> for Knock {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, web: &Web) -> Result<Self, Response> {
        let source = source(parts);
        let Err(wait_s) = web.knocks.take(source, Instant::now()) else { return Ok(Self) };
        let sentence = format!(
            "{source} has tried to log in more than {BURST} times within a minute; try again in {wait_s} s"
        );
        let mut response = Problem::new(StatusCode::TOO_MANY_REQUESTS, sentence).into_response();
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(wait_s));
        Err(response)
    }
}

/// Who sends it. A proxy on this machine says for whom in the last entry of `X-Forwarded-For`, the one that it has added
/// itself; anybody else's word is not taken.
fn source(parts: &Parts) -> IpAddr {
    let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>();
    let peer = peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.0.ip().to_canonical());
    if !peer.is_loopback() {
        return peer;
    }
    let line = parts.headers.get_all("x-forwarded-for").iter().next_back();
    let last = line.and_then(|line| line.to_str().ok()?.rsplit(',').next()).map(str::trim);
    let address = last
        .and_then(|last| last.parse::<IpAddr>().ok().or_else(|| Some(last.parse::<SocketAddr>().ok()?.ip())));
    address.unwrap_or(peer)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use axum::http::Request;

    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn each_address_has_sixty_attempts_and_gets_one_back_each_second() {
        let (knocks, begin) = (Knocks::default(), Instant::now());
        for _ in 0..60 {
            knocks.take(ip("192.0.2.1"), begin).expect("allowed");
        }
        assert_eq!(knocks.take(ip("192.0.2.1"), begin), Err(1));
        assert_eq!(knocks.take(ip("::ffff:192.0.2.1"), begin), Err(1), "the same address");
        knocks.take(ip("192.0.2.2"), begin).expect("another address");
        knocks.take(ip("192.0.2.1"), begin + Duration::from_secs(1)).expect("one came back");
        knocks.take(ip("192.0.2.1"), begin + Duration::from_secs(1)).expect_err("and no second one");
        for low in 0..60_u16 {
            knocks
                .take(IpAddr::V6(Ipv6Addr::new(0x2001, 0xDB8, 1, 2, 0, 0, 0, low)), begin)
                .expect("allowed");
        }
        knocks.take(ip("2001:db8:1:2:ffff::1"), begin).expect_err("one network");
        knocks.take(ip("2001:db8:1:3::1"), begin).expect("another network");
    }

    #[test]
    fn a_flood_of_addresses_takes_no_more_memory_and_nothing_from_those_who_were_there() {
        let (knocks, begin) = (Knocks::default(), Instant::now());
        let stranger = |number: u32| IpAddr::V4(Ipv4Addr::from_bits(0x0A00_0000 + number));
        knocks.take(ip("192.0.2.1"), begin).expect("allowed");
        let admitted = (0..5_000).filter(|number| knocks.take(stranger(*number), begin).is_ok()).count();
        assert!((SOURCES_MAX..SOURCES_MAX + 61).contains(&admitted), "{admitted}");
        assert!(knocks.0.lock().expect("nobody panicked").len() <= SOURCES_MAX + 1);
        for _ in 0..59 {
            knocks.take(ip("192.0.2.1"), begin).expect("its own allowance");
        }
        knocks.take(stranger(30_000), begin + Duration::from_secs(60)).expect("as if it were the first");
        assert_eq!(
            knocks.0.lock().expect("nobody panicked").len(),
            1,
            "those who have all of theirs are forgotten"
        );
    }

    #[test]
    fn only_a_proxy_on_this_machine_says_for_whom_it_asks() {
        let from = |peer: &str, lines: &[&str]| {
            let mut request = Request::new(());
            let peer: SocketAddr = peer.parse().expect("an address");
            request.extensions_mut().insert(ConnectInfo(peer));
            for line in lines {
                request.headers_mut().append("x-forwarded-for", line.parse().expect("a header"));
            }
            source(&request.into_parts().0)
        };
        assert_eq!(from("192.0.2.9:5", &["198.51.100.1"]), ip("192.0.2.9"));
        assert_eq!(from("127.0.0.1:5", &[]), ip("127.0.0.1"));
        assert_eq!(from("127.0.0.1:5", &["10.0.0.1, 198.51.100.1"]), ip("198.51.100.1"));
        assert_eq!(from("[::1]:5", &["10.0.0.1", "2001:db8::1"]), ip("2001:db8::1"));
        assert_eq!(from("[::ffff:127.0.0.1]:5", &["198.51.100.1:4711"]), ip("198.51.100.1"));
        assert_eq!(from("127.0.0.1:5", &["unknown"]), ip("127.0.0.1"));
    }
}
