//! What was taken and of which the broker may not have the acknowledgement: it comes again, on the next connection or, from some
//! brokers, on the same, and must not be handled again, since something else may have been offered to the device meanwhile.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

use rumqttc::Publish;

/// So long before a connection is known to be lost an acknowledgement may not have arrived: longer than its keep-alive.
const UNSURE: Duration = Duration::from_secs(90);
/// When what is older is thrown away.
const KEPT: usize = 8_192;

/// By packet id: one that is used anew was acknowledged.
#[derive(Debug, Default)]
pub(super) struct Repeats {
    hasher: RandomState,
    handled: HashMap<u16, (u64, Instant)>,
}

impl Repeats {
    pub(super) fn note(&mut self, publish: &Publish) {
        let now = Instant::now();
        if self.handled.len() >= KEPT {
            self.handled.retain(|_, (_, at)| now.saturating_duration_since(*at) < UNSURE);
        }
        self.handled.insert(publish.pkid, (self.mark(publish), now));
    }

    /// `lost`: when the connection before was lost.
    pub(super) fn is_repeat(&self, publish: &Publish, lost: Option<Instant>) -> bool {
        let until = lost.unwrap_or_else(Instant::now);
        let unsure = |at: &Instant| until.saturating_duration_since(*at) < UNSURE;
        let handled = self.handled.get(&publish.pkid).filter(|(_, at)| publish.dup && unsure(at));
        handled.is_some_and(|(mark, _)| *mark == self.mark(publish))
    }

    fn mark(&self, publish: &Publish) -> u64 {
        self.hasher.hash_one((&publish.topic, &publish.payload))
    }
}
