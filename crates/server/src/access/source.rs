//! Who sends a request: the address that has its own allowance where guessing is slowed down.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::config::Network;

/// Maximum number of proxies that a request may have passed.
const PROXIES_MAX: usize = 16;

/// A trusted proxy says for whom it asks in the last entry of `X-Forwarded-For`, the one that it has added itself. If that
/// is a trusted proxy too, it said so in the entry before. Nobody else's entries count.
pub(crate) fn source<'a>(
    peer: Option<SocketAddr>,
    forwarded: impl DoubleEndedIterator<Item = &'a [u8]>,
    proxies: &[Network],
) -> IpAddr {
    let mut source = peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.ip().to_canonical());
    let entries = forwarded.rev().flat_map(|line| line.rsplit(|byte| *byte == b','));
    for entry in entries.take(PROXIES_MAX) {
        if !proxies.iter().any(|proxy| proxy.contains(source)) {
            break;
        }
        // Each by itself: what a client wrote before it must not hide what the proxy has added.
        let Some(address) = std::str::from_utf8(entry).ok().and_then(|entry| address(entry.trim())) else {
            break;
        };
        source = address.to_canonical();
    }
    source
}

/// Some proxies add the port.
fn address(text: &str) -> Option<IpAddr> {
    text.parse().ok().or_else(|| Some(text.parse::<SocketAddr>().ok()?.ip()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn from_through<L: AsRef<[u8]>>(proxies: &[Network], peer: &str, lines: &[L]) -> IpAddr {
        source(peer.parse().ok(), lines.iter().map(AsRef::as_ref), proxies)
    }

    #[test]
    fn only_a_proxy_on_this_machine_says_for_whom_it_asks_where_nothing_is_set() {
        let usual = crate::config::Config::default().http.trusted_proxies;
        let from = |peer: &str, lines: &[&str]| from_through(&usual, peer, lines);
        assert_eq!(from("192.0.2.9:5", &["198.51.100.1"]), ip("192.0.2.9"));
        assert_eq!(from("127.0.0.1:5", &[]), ip("127.0.0.1"));
        assert_eq!(from("127.0.0.1:5", &["10.0.0.1, 198.51.100.1"]), ip("198.51.100.1"));
        assert_eq!(from("[::1]:5", &["10.0.0.1", "2001:db8::1"]), ip("2001:db8::1"));
        assert_eq!(from("[::ffff:127.0.0.1]:5", &["198.51.100.1:4711"]), ip("198.51.100.1"));
        assert_eq!(from("127.0.0.1:5", &["unknown"]), ip("127.0.0.1"));
    }

    #[test]
    fn nothing_that_a_client_writes_hides_what_the_proxy_adds() {
        let usual = crate::config::Config::default().http.trusted_proxies;
        for line in [&b"\xff, 198.51.100.1"[..], b"\xff,198.51.100.1 ", b"\t, 198.51.100.1"] {
            assert_eq!(from_through(&usual, "127.0.0.1:5", &[line]), ip("198.51.100.1"), "{line:?}");
        }
        let two = [&b"10.0.0.1\xff"[..], b"198.51.100.1"];
        assert_eq!(from_through(&usual, "127.0.0.1:5", &two), ip("198.51.100.1"));
        assert_eq!(from_through(&usual, "127.0.0.1:5", &[b"198.51.100.1, \xff"]), ip("127.0.0.1"));
    }

    #[test]
    fn trusted_proxies_say_for_whom_they_ask_and_nobody_beyond_them_does() {
        let proxies = ["10.0.0.0/8", "2001:db8::1"].map(|proxy| proxy.parse().expect("a network"));
        let from = |peer: &str, lines: &[&str]| from_through(&proxies, peer, lines);
        assert_eq!(from("10.1.2.3:5", &["198.51.100.1"]), ip("198.51.100.1"));
        assert_eq!(from("[2001:db8::1]:5", &["198.51.100.1"]), ip("198.51.100.1"));
        assert_eq!(from("192.0.2.9:5", &["198.51.100.1"]), ip("192.0.2.9"), "not in the list");
        assert_eq!(from("127.0.0.1:5", &["198.51.100.1"]), ip("127.0.0.1"), "the list is all of it");
        assert_eq!(
            from("10.0.0.1:5", &["203.0.113.5, 198.51.100.1, 10.9.9.9"]),
            ip("198.51.100.1"),
            "two of them"
        );
        assert_eq!(from("10.0.0.1:5", &["203.0.113.5, 198.51.100.1", "10.9.9.9"]), ip("198.51.100.1"));
        assert_eq!(
            from("10.0.0.1:5", &["203.0.113.5, junk, 10.9.9.9"]),
            ip("10.9.9.9"),
            "no further than is known"
        );
        let many = vec!["10.0.0.2"; 1000].join(",");
        assert_eq!(from("10.0.0.1:5", &[many.as_str()]), ip("10.0.0.2"));
    }
}
