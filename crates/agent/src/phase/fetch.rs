//! What is fetched, from the trigger to each request for a part of the file, and how long it is tried: lost connections, slow
//! ones, and URLs that expired.

use contract::{Outcome, Reason};

use super::{Agent, Phase, UrlLoss};
use crate::attempt::{Asking, AttemptState};
use crate::bookmark::Bookmark;
use crate::download::TAIL_BYTES;
use crate::event::{FetchId, Range};
use crate::http;
use crate::outbox::Kind;
use crate::port::{Encryption, Port};
use crate::record::{Attempt, Stage};
use crate::refusal::Refusal;
use crate::sentences::Says;
use crate::timers::Timer;

const BACK_OFF_MAX_MS: u64 = 60_000;
/// In four times the time that a connection may be silent it must bring so many bytes, or it counts as lost.
const PACE_MIN_BYTES: u32 = 4096;

impl Agent {
    pub(super) fn begin<P: Port>(&mut self, port: &mut P, payload: &[u8]) -> Phase {
        match self.url.take(payload) {
            Ok(()) => self.begin_attempt(port),
            Err(refusal) => {
                self.outbox.note_outcome(Outcome::Failed, &refusal.reason(""));
                self.outbox.queue_outcome();
                self.phase
            }
        }
    }

    pub(super) fn begin_attempt<P: Port>(&mut self, port: &mut P) -> Phase {
        self.attempt = AttemptState::NEW;
        self.attempt.to.clone_from(&self.url.named);
        self.timers.stop(Timer::Progress);
        if self.encryption == Encryption::Unsupported {
            return self.fail(port, &Refusal::plain(Says::Encrypted));
        }
        let slot = self.target_slot();
        // What an earlier attempt at the same file left there.
        let mark = Bookmark::read(port, slot).ok().flatten();
        self.download.begin(slot, mark);
        self.record.attempt = Some(Attempt {
            stage: Stage::Downloading,
            slot: self.target,
            sha256: [0; 32],
            to: self.attempt.to.clone(),
            rearms: 0,
        });
        // Not stored before something is written: a refused image costs no wear. The same goes for otadata.
        self.fetch()
    }

    pub(super) fn fetch(&mut self) -> Phase {
        self.fetches.0 = FetchId(self.fetches.0.0.wrapping_add(1));
        self.download.rewind();
        self.http = http::Response::new();
        self.start_pace();
        self.go_on()
    }

    /// The fetch goes on, and is waited for again.
    pub(super) fn go_on(&mut self) -> Phase {
        self.timers.start(Timer::Phase, self.settings.stall_ms);
        Phase::Downloading { fetch: self.fetches.0 }
    }

    /// Which part of the file a fetch is for, and the tag of what was received so far.
    pub(super) fn asked_for(&self) -> (Range, Option<&str>) {
        let transfer = &self.download.transfer;
        match self.attempt.asking {
            Asking::Tail => (Range::Last(TAIL_BYTES as u32), None),
            Asking::Image => (Range::From(transfer.received), transfer.etag()),
        }
    }

    /// A trigger in mid-download: the same artifact signed again, or another one. Both go on from here, and
    /// `If-Range` tells them apart; without a tag only a path that stayed the same is trusted.
    pub(super) fn renew(&mut self, payload: &[u8]) -> Phase {
        let before = self.url.path_tag;
        if self.url.take(payload).is_err() {
            // What is under way is not to end for it.
            return self.phase;
        }
        self.attempt.redirects = 0;
        let same_path = before == self.url.path_tag;
        if same_path && matches!(self.phase, Phase::Downloading { .. } | Phase::Resuming) {
            // Sent twice, or ahead of time: kept for when the connection breaks.
            return self.phase;
        }
        if !same_path {
            self.attempt.asking = Asking::Tail;
            // After a restart there is no path to compare; the bookmark has a tag of its own.
            if self.download.transfer.etag().is_none() && self.download.transfer.resume.is_none() {
                self.download.start_over();
            }
        }
        // A path that names no version may still lead to the same file, as a short URL does.
        if self.url.named.is_some() {
            self.attempt.to.clone_from(&self.url.named);
        }
        self.fetch()
    }

    pub(super) fn resume<P: Port>(&mut self, port: &mut P) -> Phase {
        match self.download.hash_on(port) {
            Ok(false) => Phase::Resuming,
            Ok(true) => {
                self.attempt.asking = Asking::Image;
                self.fetch()
            }
            Err(fault) => self.fail(port, &fault.into()),
        }
    }

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
