//! What is fetched: from the trigger to each request for a part of the file.

use contract::Outcome;

use super::{Agent, Phase};
use crate::attempt::{Asking, AttemptState};
use crate::bookmark::Bookmark;
use crate::download::TAIL_BYTES;
use crate::event::{FetchId, Range};
use crate::http;
use crate::port::{Encryption, Port};
use crate::record::{Attempt, Stage};
use crate::refusal::Refusal;
use crate::sentences::Says;
use crate::timers::Timer;

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

    /// Begins an attempt at what the trigger's URL leads to.
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
            if self.download.transfer.etag().is_none() && !self.download.transfer.resume.is_some() {
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
}
