//! The log on stderr. All of it passes one limiter, for each place in the code that logs: what devices and callers without credentials
//! can cause again and again fills no disk, and leaves room for everything else.

use std::collections::HashMap;
use std::io::Write as _;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use tracing::callsite::Identifier;
use tracing::{Event, Level, Subscriber};
use tracing_appender::non_blocking::{NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

/// Lines of the log that wait to be written; what comes then is lost.
const LINES_WAITING_MAX: usize = 4096;
/// Maximum number of lines of one place at once, and how many it gets back in a second.
const BURST: f64 = 100.0;
const EACH_SECOND: f64 = 1.0;

/// Logs to stderr, also panics; `RUST_LOG` says otherwise how much. A thread of its own writes, until what is returned is dropped:
/// a reader that stops and a full disk hold up nobody, and lines that cannot be written then are lost.
#[must_use = "dropped, the log ends"]
pub(crate) fn to_stderr(level: LevelFilter) -> WorkerGuard {
    let ours = ["updraft", "updraft_broker", "updraft_server", "updraft_store"];
    let asked = std::env::var("RUST_LOG").ok().and_then(|asked| asked.parse::<Targets>().ok());
    let wanted = asked.unwrap_or_else(|| {
        Targets::new().with_default(LevelFilter::WARN).with_targets(ours.map(|name| (name, level)))
    });
    let (writer, written) =
        NonBlockingBuilder::default().buffered_lines_limit(LINES_WAITING_MAX).finish(std::io::stderr());
    let lines = tracing_subscriber::fmt::layer()
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .with_writer(writer.clone())
        .log_internal_errors(false);
    let limiter = Limiter { places: Places::default(), writer };
    tracing_subscriber::registry().with(lines.with_filter(wanted)).with(limiter).init();
    std::panic::set_hook(Box::new(|panic| tracing::error!("a panic: {panic}")));
    written
}

/// Lets a line through as long as its place in the code has not logged too much.
struct Limiter {
    places: Places,
    writer: NonBlocking,
}

impl<S: Subscriber> Layer<S> for Limiter {
    /// Whoever asks for more than `info` gets all of it.
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        let metadata = event.metadata();
        if *metadata.level() > Level::INFO {
            return true;
        }
        let Some(left_out) = self.places.take(metadata.callsite(), Instant::now()) else { return false };
        if left_out > 0 {
            let target = metadata.target();
            let _ = writeln!(self.writer.clone(), "{target}: {left_out} lines like the next were left out");
        }
        true
    }
}

#[derive(Default)]
struct Places(Mutex<HashMap<Identifier, Place>>);

/// As many lines as it has left, since when, and how many were left out.
struct Place {
    left: f64,
    at: Instant,
    left_out: u64,
}

impl Places {
    /// `None` if this line is to be left out, else how many were left out before it.
    fn take(&self, place: Identifier, now: Instant) -> Option<u64> {
        let mut places = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let place = places.entry(place).or_insert(Place { left: BURST, at: now, left_out: 0 });
        let earned = now.saturating_duration_since(place.at).as_secs_f64() * EACH_SECOND;
        (place.left, place.at) = ((place.left + earned).min(BURST), now);
        if place.left < 1.0 {
            place.left_out += 1;
            return None;
        }
        place.left -= 1.0;
        Some(std::mem::take(&mut place.left_out))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::Arc;
    use std::time::Duration;

    use tracing::Callsite;

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().expect("nobody panicked").write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_flood_of_lines_leaves_room_for_others_and_is_counted() {
        let written = Written::default();
        let (writer, guard) = NonBlockingBuilder::default().finish(written.clone());
        let wanted = Targets::new().with_default(LevelFilter::DEBUG);
        let limiter = Limiter { places: Places::default(), writer: writer.clone() };
        let lines = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(writer);
        let subscriber = tracing_subscriber::registry().with(lines.with_filter(wanted)).with(limiter);
        tracing::subscriber::with_default(subscriber, || {
            let flood = |count, pause| {
                for number in 0..count {
                    tracing::warn!(number, "a flood");
                    tracing::debug!("all of these");
                    std::thread::sleep(pause);
                }
            };
            flood(1000, Duration::ZERO);
            tracing::info!("something else");
            flood(2, Duration::from_millis(1100));
        });
        drop(guard);
        let text = String::from_utf8(written.0.lock().expect("nobody panicked").clone()).expect("text");
        let count = |what: &str| text.matches(what).count();
        assert!((100..=104).contains(&count("a flood")), "{}", count("a flood"));
        assert_eq!((count("something else"), count("all of these")), (1, 1002));
        assert!(count("lines like the next were left out") > 0, "{text}");
    }

    #[test]
    fn a_place_gets_a_line_back_each_second() {
        let (places, begin) = (Places::default(), Instant::now());
        let place = || {
            tracing::callsite!(name: "here", kind: tracing::metadata::Kind::EVENT, fields:)
                .metadata()
                .callsite()
        };
        let logged = |at| (0..500).filter(|_| places.take(place(), at).is_some()).count();
        assert_eq!(logged(begin), 100);
        assert_eq!(logged(begin + Duration::from_secs(5)), 5);
        assert_eq!(places.take(place(), begin + Duration::from_secs(6)), Some(495), "what was left out");
        assert_eq!(logged(begin + Duration::from_hours(1)), 100);
    }
}
