//! How long it is tried: lost connections, slow ones, and URLs that expired.

use contract::Reason;

use super::{Agent, Phase, UrlLoss};
use crate::outbox::Kind;
use crate::port::Port;
use crate::refusal::Refusal;
use crate::sentences::Says;
use crate::timers::Timer;

const BACK_OFF_MAX_MS: u64 = 60_000;
/// In four times the time that a connection may be silent it must bring so many bytes, or it counts as lost.
const PACE_MIN_BYTES: u32 = 4096;

impl Agent {
    /// A byte now and then keeps a connection from being silent, and would keep a device busy without end: in a head, in the
    /// file's end, and in what is passed over, as much as in what is written.
    pub(super) fn judge_pace<P: Port>(&mut self, port: &mut P, bytes: usize, next: Phase) -> Phase {
        let brought = self.attempt.pace_bytes.saturating_add(u32::try_from(bytes).unwrap_or(u32::MAX));
        self.attempt.pace_bytes = brought;
        if !self.timers.has_ended(Timer::Pace) || !matches!(next, Phase::Downloading { .. }) {
            return next;
        }
        self.start_pace();
        if brought >= PACE_MIN_BYTES {
            return next;
        }
        self.lose(port, Says::TooSlow)
    }

    pub(super) fn start_pace(&mut self) {
        self.attempt.pace_bytes = 0;
        self.timers.start(Timer::Pace, self.settings.stall_ms.saturating_mul(4));
    }

    /// The connection is of no use any more; in words, why.
    #[inline(never)]
    pub(super) fn lose<P: Port>(&mut self, port: &mut P, why: Says) -> Phase {
        self.retry(port, &Refusal::plain(why), "")
    }

    #[inline(never)]
    pub(super) fn retry<P: Port>(&mut self, port: &mut P, why: &Refusal, text: &str) -> Phase {
        if self.attempt.retries >= self.settings.retries {
            let mut words = Reason::default();
            why.tell(text, &mut words);
            let given_up = Refusal::new(Says::GivenUp, &[u32::from(self.attempt.retries) + 1]);
            return self.fail_with(port, given_up.reason(words.as_str()));
        }
        self.cancel_due = true;
        let pause = u64::from(self.settings.back_off_ms) << self.attempt.retries.min(16);
        // The clock's low bits are jitter enough to keep a fleet from coming back all at once.
        let jitter = self.timers.now_ms as u32 % (self.settings.back_off_ms / 4 + 1);
        self.attempt.retries += 1;
        self.timers.start(Timer::Phase, pause.min(BACK_OFF_MAX_MS) as u32 + jitter);
        Phase::Pausing
    }

    pub(super) fn ask_for_url<P: Port>(&mut self, port: &mut P, loss: UrlLoss) -> Phase {
        if self.attempt.url_requests >= self.settings.url_requests {
            let says = match loss {
                UrlLoss::Expired => Says::NoFreshUrl,
                UrlLoss::Restarted => Says::RestartedWithoutUrl,
            };
            return self.fail(port, &Refusal::plain(says));
        }
        if self.connected {
            self.attempt.url_requests += 1;
            self.outbox.queue(Kind::Request);
            self.timers.start(Timer::Phase, self.settings.url_wait_ms);
        } else {
            // Nobody would receive it: it is asked for once there is a broker.
            self.timers.stop(Timer::Phase);
        }
        Phase::AwaitingUrl { loss }
    }
}
