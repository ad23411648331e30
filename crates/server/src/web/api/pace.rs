//! How often a watcher hears of the same thing.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use api::Event;

/// The least time between two events about the same thing.
pub(super) const APART: Duration = Duration::from_millis(250);

/// When each thing was last sent, and what waits.
#[derive(Default)]
pub(super) struct Pace {
    sent: HashMap<Event, Instant>,
    waiting: Vec<Event>,
}

impl Pace {
    /// True if it is to be sent at once; else it waits for [`Pace::release`].
    pub(super) fn admit(&mut self, event: &Event, now: Instant) -> bool {
        match self.sent.get(event) {
            Some(last) if now.duration_since(*last) < APART => {
                if !self.waiting.contains(event) {
                    self.waiting.push(event.clone());
                }
                false
            }
            _ => {
                self.sent.insert(event.clone(), now);
                true
            }
        }
    }

    /// What has waited long enough. Forgets what was sent long ago.
    pub(super) fn release(&mut self, now: Instant) -> Vec<Event> {
        let waiting = std::mem::take(&mut self.waiting);
        let (due, waiting): (Vec<_>, Vec<_>) = waiting
            .into_iter()
            .partition(|event| self.sent.get(event).is_none_or(|last| now.duration_since(*last) >= APART));
        self.waiting = waiting;
        self.sent.retain(|_, last| now.duration_since(*last) < APART);
        for event in &due {
            self.sent.insert(event.clone(), now);
        }
        due
    }

    /// How much it remembers.
    pub(super) fn size(&self) -> usize {
        self.sent.len() + self.waiting.len()
    }

    pub(super) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.sent.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_device_is_sent_at_most_four_times_a_second() {
        let event = Event::Device { device: "d1".parse().expect("valid") };
        let (mut pace, begin) = (Pace::default(), Instant::now());
        let mut sent = 0;
        for step in 0..100_u32 {
            let now = begin + Duration::from_millis(10) * step;
            sent += usize::from(pace.admit(&event, now));
            sent += pace.release(now).len();
        }
        assert_eq!(sent, 4);
        let later = begin + Duration::from_secs(5);
        assert_eq!(pace.release(later), vec![event], "the last change is never lost");
        pace.release(later + APART);
        assert!(pace.is_idle());
    }
}
