//! How often one address may try to log in. Many may come from one address, and nobody must be able to use up
//! what is theirs, so each address has an allowance of its own.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use listen::network;

use crate::config::Network;

/// Maximum number of addresses that are remembered; an address is forgotten when it has its whole allowance again.
const SOURCES_MAX: usize = 4096;

#[derive(Debug, Clone, Copy)]
struct Allowance {
    burst: f64,
    per_second: f64,
}

/// For jobs of a CI system, of which many may come from one address.
const PUBLISHERS: Allowance = Allowance { burst: 60.0, per_second: 1.0 };
/// For passwords and login links.
const PEOPLE: Allowance = Allowance { burst: 10.0, per_second: 0.2 };
/// Maximum number of addresses from which somebody has logged in that are remembered.
const KNOWN_MAX: usize = 256;
/// For the passwords of all other addresses together, so that argon2 cannot eat the processor. More than one address may use.
const ALL_PEOPLE: Allowance = Allowance { burst: 40.0, per_second: 2.0 };

#[derive(Debug, Clone, Copy)]
struct Bucket(f64, Instant);

impl Allowance {
    fn left(self, bucket: Option<&Bucket>, now: Instant) -> f64 {
        bucket.map_or(self.burst, |Bucket(left, then)| {
            (left + now.saturating_duration_since(*then).as_secs_f64() * self.per_second).min(self.burst)
        })
    }

    /// One attempt less. On failure: after how many seconds there is one again.
    fn take(self, bucket: Option<&Bucket>, now: Instant) -> Result<Bucket, u64> {
        let left = self.left(bucket, now);
        if left < 1.0 {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to 5")]
            return Err(((1.0 - left) / self.per_second).ceil().max(1.0) as u64);
        }
        Ok(Bucket(left - 1.0, now))
    }
}

#[derive(Debug)]
pub(crate) struct TooMany {
    /// After how many seconds there is one again.
    pub(crate) wait_s: u64,
    pub(crate) sentence: String,
}

#[derive(Debug)]
pub(crate) struct RateLimiter {
    each: Allowance,
    sources: Mutex<HashMap<IpAddr, Bucket>>,
}

impl RateLimiter {
    pub(crate) fn of_publishers() -> Self {
        Self::new(PUBLISHERS)
    }

    pub(crate) fn take(&self, source: IpAddr, now: Instant) -> Result<(), TooMany> {
        self.attempt(source, now).map_err(|wait_s| {
            let burst = self.each.burst;
            TooMany {
                wait_s,
                sentence: format!(
                    "{source} has tried to log in more than {burst} times within a minute; try again in {wait_s} s"
                ),
            }
        })
    }

    fn new(each: Allowance) -> Self {
        Self { each, sources: Mutex::default() }
    }

    fn knows(&self, source: IpAddr) -> bool {
        self.sources.lock().unwrap_or_else(PoisonError::into_inner).contains_key(&network(source))
    }

    /// Takes one attempt. On failure: after how many seconds there is one again.
    fn attempt(&self, source: IpAddr, now: Instant) -> Result<(), u64> {
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        let mut source = network(source);
        if sources.len() >= SOURCES_MAX && !sources.contains_key(&source) {
            sources.retain(|_, bucket| self.each.left(Some(bucket), now) < self.each.burst);
            if sources.len() >= SOURCES_MAX {
                // Whoever comes while so many others do shares one allowance.
                source = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
            }
        }
        let bucket = self.each.take(sources.get(&source), now)?;
        sources.insert(source, bucket);
        Ok(())
    }
}

/// How fast passwords and login links may be tried: by each address, so that one that guesses locks out nobody else, and by
/// all together.
///
/// Whoever has logged in from an address keeps its allowance, whatever others say in `X-Forwarded-For` to be many.
#[derive(Debug)]
pub(crate) struct LoginLimiter {
    sources: RateLimiter,
    known: RateLimiter,
    all: Mutex<Option<Bucket>>,
}

impl LoginLimiter {
    pub(crate) fn new() -> Self {
        let (sources, known) = (RateLimiter::new(PEOPLE), RateLimiter::new(PEOPLE));
        Self { sources, known, all: Mutex::default() }
    }

    pub(crate) fn take(&self, source: IpAddr, now: Instant) -> Result<(), TooMany> {
        let is_known = self.known.knows(source);
        let own = if is_known { &self.known } else { &self.sources };
        own.attempt(source, now).map_err(|wait_s| {
            let sentence = format!("{source} has tried to log in too often; try again in {wait_s} s");
            TooMany { wait_s, sentence }
        })?;
        if is_known {
            return Ok(());
        }
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        let bucket = ALL_PEOPLE.take(all.as_ref(), now).map_err(|wait_s| TooMany {
            wait_s,
            sentence: format!("too many are logging in at once; try again in {wait_s} s"),
        })?;
        *all = Some(bucket);
        Ok(())
    }

    /// Somebody has logged in from there.
    pub(crate) fn note_success(&self, source: IpAddr, now: Instant) {
        let mut known = self.known.sources.lock().unwrap_or_else(PoisonError::into_inner);
        let oldest = known.iter().min_by_key(|(_, Bucket(_, then))| *then).map(|(source, _)| *source);
        if let Some(oldest) = oldest.filter(|_| known.len() >= KNOWN_MAX) {
            known.remove(&oldest);
        }
        known.entry(network(source)).or_insert(Bucket(PEOPLE.burst, now));
    }
}

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
    use std::net::Ipv6Addr;
    use std::time::Duration;

    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn address(number: u32) -> IpAddr {
        IpAddr::V4(Ipv4Addr::from_bits(0x0A00_0000 + number))
    }

    #[test]
    fn each_address_has_sixty_attempts_and_gets_one_back_each_second() {
        let (limiter, begin) = (RateLimiter::of_publishers(), Instant::now());
        for _ in 0..60 {
            limiter.take(ip("192.0.2.1"), begin).expect("allowed");
        }
        assert_eq!(limiter.attempt(ip("192.0.2.1"), begin), Err(1));
        assert_eq!(limiter.attempt(ip("::ffff:192.0.2.1"), begin), Err(1), "the same address");
        limiter.take(ip("192.0.2.2"), begin).expect("another address");
        limiter.take(ip("192.0.2.1"), begin + Duration::from_secs(1)).expect("one came back");
        limiter.take(ip("192.0.2.1"), begin + Duration::from_secs(1)).expect_err("and no second one");
        for low in 0..60_u16 {
            limiter
                .take(IpAddr::V6(Ipv6Addr::new(0x2001, 0xDB8, 1, 2, 0, 0, 0, low)), begin)
                .expect("allowed");
        }
        limiter.take(ip("2001:db8:1:2:ffff::1"), begin).expect_err("one network");
        limiter.take(ip("2001:db8:1:3::1"), begin).expect("another network");
    }

    #[test]
    fn a_flood_of_addresses_takes_no_more_memory_and_nothing_from_those_who_were_there() {
        let (limiter, begin) = (RateLimiter::of_publishers(), Instant::now());
        let remembered = || limiter.sources.lock().expect("nobody panicked").len();
        limiter.take(ip("192.0.2.1"), begin).expect("allowed");
        let admitted = (0..5_000).filter(|number| limiter.take(address(*number), begin).is_ok()).count();
        assert!((SOURCES_MAX..SOURCES_MAX + 61).contains(&admitted), "{admitted}");
        assert!(remembered() <= SOURCES_MAX + 1);
        for _ in 0..59 {
            limiter.take(ip("192.0.2.1"), begin).expect("its own allowance");
        }
        limiter.take(address(30_000), begin + Duration::from_secs(60)).expect("as if it were the first");
        assert_eq!(remembered(), 1, "those who have all of theirs are forgotten");
    }

    #[test]
    fn an_address_that_guesses_without_end_leaves_enough_for_others() {
        let (rate, begin) = (LoginLimiter::new(), Instant::now());
        for second in 0..600 {
            let now = begin + Duration::from_secs(second);
            for _ in 0..50 {
                let _ = rate.take(ip("192.0.2.1"), now);
            }
            assert!(second % 30 > 0 || rate.take(ip("192.0.2.2"), now).is_ok(), "after {second} s");
        }
    }

    #[test]
    fn all_together_have_a_bound_and_hear_when_to_come_back() {
        let (rate, begin) = (LoginLimiter::new(), Instant::now());
        let admitted = |begin| (0..500).filter(|n| rate.take(address(*n), begin).is_ok()).count();
        assert_eq!(admitted(begin), 40);
        let refused = rate.take(address(1000), begin).expect_err("too many");
        assert_eq!(refused.wait_s, 1);
        assert_eq!(admitted(begin + Duration::from_secs(5)), 10);
        for _ in 0..10 {
            let _ = rate.take(ip("192.0.2.1"), begin + Duration::from_mins(1));
        }
        let refused = rate.take(ip("192.0.2.1"), begin + Duration::from_mins(1)).expect_err("too many");
        assert_eq!(refused.wait_s, 5);
        assert!(
            refused.sentence.contains("192.0.2.1") && refused.sentence.contains("in 5 s"),
            "{}",
            refused.sentence
        );
    }

    #[test]
    fn many_under_many_addresses_lock_out_nobody_who_has_been_here() {
        let (rate, begin) = (LoginLimiter::new(), Instant::now());
        rate.take(ip("192.0.2.1"), begin).expect("the first");
        rate.note_success(ip("192.0.2.1"), begin);
        for number in 0..10_000 {
            let _ = rate.take(address(number), begin);
        }
        rate.take(ip("192.0.2.2"), begin).expect_err("an unknown one");
        for _ in 0..10 {
            rate.take(ip("192.0.2.1"), begin).expect("its own allowance");
        }
        rate.take(ip("192.0.2.1"), begin).expect_err("and no more");
        for number in 0..1000 {
            rate.note_success(address(number), begin);
        }
        assert!(rate.known.sources.lock().expect("nobody panicked").len() <= KNOWN_MAX);
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
