//! The steps of an update, one function each; every one says which phase comes next.

use core::fmt::{self, Write};

use contract::{Outcome, Phase as Stretch, Progress, Reason, Request, Status, Version};
use embedded_storage::nor_flash::NorFlash;
use heapless::String;

use super::{Agent, Phase, version_in_url};
use crate::download::{Verdict, reason};
use crate::event::{FetchId, Message, ResponseHead};
use crate::flash::Fault;
use crate::otadata::{self, Entries, Refused, Running};
use crate::record::{Attempt, Last, Stage};
use crate::verify::{Finding, ReadBack, read_slot};

/// So many failures after boot or in verification, and an image is refused.
const QUARANTINE_AT: u8 = 2;
const PROGRESS_MS: u64 = 1_000;
const BACK_OFF_MAX_MS: u64 = 60_000;

impl Agent {
    pub(super) fn on_connected<F: NorFlash>(&mut self, flash: &mut F) {
        self.connected = true;
        if let Some(sha256) = self.blamed.take() {
            self.record.count_failure(sha256);
            self.store(flash);
        }
        // A self-test that succeeds now reports afterwards, in its new state.
        if !matches!(self.phase, Phase::SelfTest { .. }) {
            self.queue(Message::Report);
        }
        if let Some((_, status)) = self.outcome.take() {
            self.queue_outcome(status);
        }
    }

    pub(super) fn clear_quarantine<F: NorFlash>(&mut self, flash: &mut F) {
        self.blamed = None;
        if !self.record.failures.is_empty() {
            self.record.failures.clear();
            self.store(flash);
        }
    }

    /// Keeps a URL; one that cannot be used is answered with FAILED.
    pub(super) fn take_url(&mut self, payload: &[u8]) -> bool {
        let text = core::str::from_utf8(payload).unwrap_or_default().trim();
        let is_url = text.starts_with("http://") || text.starts_with("https://");
        match String::try_from(text) {
            Ok(url) if is_url => {
                self.url = url;
                true
            }
            _ => {
                let text = "the trigger is not an http or https URL of at most 2048 bytes";
                self.queue_outcome(Status { outcome: Outcome::Failed, reason: Reason::new(text) });
                false
            }
        }
    }

    pub(super) fn begin(&mut self, payload: &[u8]) -> Phase {
        if self.take_url(payload) { self.begin_waiting() } else { Phase::Idle }
    }

    pub(super) fn begin_waiting(&mut self) -> Phase {
        self.trigger_waits = false;
        (self.retries, self.url_requests, self.progress_ms, self.furthest) = (0, 0, None, 0);
        self.download.start_over();
        self.to = version_in_url(&self.url);
        self.record.attempt = Some(Attempt {
            stage: Stage::Downloading,
            slot: self.target,
            sha256: [0; 32],
            to: self.to.clone(),
        });
        // Not stored before something is written: a refused image costs no wear. The same goes for otadata.
        self.fetch()
    }

    pub(super) fn fetch(&mut self) -> Phase {
        self.next_fetch = self.next_fetch.wrapping_add(1);
        self.fetch_due = true;
        Phase::Downloading { fetch: FetchId(self.next_fetch), heard_ms: self.now_ms }
    }

    /// A trigger in mid-download: the same artifact signed again, or another one. Both go on from here, and
    /// `If-Range` tells them apart; without a tag only a path that stayed the same is trusted.
    pub(super) fn renew(&mut self, payload: &[u8]) -> Phase {
        let path = |url: &str| url.split('?').next().map(sha2_of);
        let before = path(&self.url);
        if !self.take_url(payload) {
            return self.phase;
        }
        let same_path = before == path(&self.url);
        if same_path && matches!(self.phase, Phase::Downloading { .. }) {
            // Sent twice, or ahead of time: kept for when the connection breaks.
            return self.phase;
        }
        if !same_path && self.download.etag().is_none() {
            self.download.start_over();
        }
        // A path that names no version may still lead to the same file, as a short URL does.
        self.to = version_in_url(&self.url).or(self.to.take());
        self.fetch()
    }

    pub(super) fn on_head<F: NorFlash>(
        &mut self,
        flash: &mut F,
        fetch: FetchId,
        head: &ResponseHead<'_>,
    ) -> Phase {
        match head.status {
            200 | 206 => match self.download.head(head) {
                Ok(Verdict::Take) => {
                    if let Err(error) = self.make_ready(flash, head.version) {
                        return self.fail(flash, error);
                    }
                    self.progress(Stretch::Download, self.download.received(), self.download.total());
                    Phase::Downloading { fetch, heard_ms: self.now_ms }
                }
                Ok(Verdict::Retry(why)) => self.retry(flash, format_args!("{why}")),
                Ok(Verdict::StartOver(why)) => {
                    self.download.start_over();
                    self.retry(flash, format_args!("{why}"))
                }
                Err(error) => self.fail(flash, error),
            },
            403 => {
                self.cancel_due = true;
                self.ask_for_url(flash)
            }
            416 => {
                self.download.start_over();
                self.retry(flash, format_args!("the server does not have the part that was asked for"))
            }
            // Replaced between the server's two looks at it.
            409 | 412 => {
                self.download.start_over();
                self.retry(flash, format_args!("the file changed on the server"))
            }
            status @ (408 | 429 | 500..) => self.retry(flash, format_args!("the server answered {status}")),
            status => self.fail(flash, reason(format_args!("the server answered {status}"))),
        }
    }

    /// Before the first erase: the attempt is on record, and otadata selects what runs.
    fn make_ready<F: NorFlash>(&mut self, flash: &mut F, version: Option<&str>) -> Result<(), Reason> {
        if self.download.received() > 0 {
            return Ok(());
        }
        // Whatever an earlier URL said was said of another file.
        self.to = version_in_url(&self.url).or(version.and_then(|version| version.parse().ok()));
        if let Some(attempt) = &mut self.record.attempt {
            attempt.to.clone_from(&self.to);
        }
        self.store(flash);
        self.keep_running(flash).map_err(|hindrance| reason(format_args!("{hindrance}")))
    }

    /// If otadata selects another slot than the running one (whose image is broken, else it would run), a new image
    /// in that slot would boot the moment it is complete, unverified and without a self-test.
    fn keep_running<F: NorFlash>(&mut self, flash: &mut F) -> Result<(), Hindrance> {
        let entries = Entries::read(flash, self.table.otadata)?;
        let plan = entries.plan_keep(self.running, self.slots()).map_err(Hindrance::Refused)?;
        for transition in &plan {
            // Cut before, during or after: an entry that names the running slot, if there was one, is untouched;
            //   the selected slot is broken, and the bootloader passes it over as it did at this boot.
            otadata::apply(flash, self.table.otadata, transition)?;
        }
        if !plan.is_empty() {
            self.note_state(&Entries::read(flash, self.table.otadata)?);
        }
        Ok(())
    }

    pub(super) fn on_body<F: NorFlash>(&mut self, flash: &mut F, fetch: FetchId, bytes: &[u8]) -> Phase {
        if let Err(error) = self.download.push(flash, self.settings.chip, bytes) {
            return self.fail(flash, error);
        }
        // Bytes that came through make up for connections lost before, 64 KiB for one; but not those of a file that
        // changed and is begun again, or it would never end.
        if self.download.received() >> 16 > self.furthest >> 16 {
            self.retries = self.retries.saturating_sub(1);
        }
        self.furthest = self.furthest.max(self.download.received());
        self.progress(Stretch::Download, self.download.received(), self.download.total());
        Phase::Downloading { fetch, heard_ms: self.now_ms }
    }

    pub(super) fn on_body_end<F: NorFlash>(&mut self, flash: &mut F) -> Phase {
        match self.download.finish(flash, self.settings.chip) {
            Ok(None) => self.retry(flash, format_args!("the server sent less than it had announced")),
            Ok(Some(sha256)) => {
                self.received_sha256 = sha256;
                self.read_back = ReadBack::new(self.target_slot(), self.download.received());
                self.progress_ms = None;
                self.progress(Stretch::Verify, 0, self.download.received());
                Phase::Verifying
            }
            Err(error) => self.fail(flash, error),
        }
    }

    pub(super) fn retry<F: NorFlash>(&mut self, flash: &mut F, why: fmt::Arguments<'_>) -> Phase {
        if self.retries >= self.settings.retries {
            let tries = u16::from(self.retries) + 1;
            return self.fail(flash, reason(format_args!("given up after {tries} tries: {why}")));
        }
        self.cancel_due = true;
        let pause = u64::from(self.settings.back_off_ms) << self.retries.min(16);
        // The clock's low bits are jitter enough to keep a fleet from coming back all at once.
        let jitter = self.now_ms % (u64::from(self.settings.back_off_ms) / 4 + 1);
        self.retries += 1;
        Phase::Pausing { until_ms: self.now_ms + pause.min(BACK_OFF_MAX_MS) + jitter }
    }

    pub(super) fn ask_for_url<F: NorFlash>(&mut self, flash: &mut F) -> Phase {
        if self.url_requests >= self.settings.url_requests {
            let why = "the server answered 403, and no URL that works came in time";
            return self.fail(flash, Reason::new(why));
        }
        self.url_requests += 1;
        self.queue(Message::Request(Request::UrlExpired));
        Phase::AwaitingUrl { until_ms: self.now_ms + u64::from(self.settings.url_wait_ms) }
    }

    pub(super) fn verify<F: NorFlash>(&mut self, flash: &mut F) -> Phase {
        match self.read_back.step(flash) {
            Err(fault) => self.fail(flash, reason(format_args!("{fault}"))),
            Ok(None) => {
                self.progress(Stretch::Verify, self.read_back.done_bytes(), self.download.received());
                Phase::Verifying
            }
            Ok(Some(finding)) => self.judge(flash, finding),
        }
    }

    fn judge<F: NorFlash>(&mut self, flash: &mut F, finding: Finding) -> Phase {
        let sha256 = finding.sha256;
        if sha256 != self.received_sha256 {
            return self.fail(flash, Reason::new("the flash does not hold what was written to it"));
        }
        if self.record.failures_of(&sha256) >= QUARANTINE_AT {
            return self.fail(flash, Reason::new("quarantined: this image failed twice on this device"));
        }
        let image = match finding.image {
            Ok(image) => image,
            Err(error) => {
                self.record.count_failure(sha256);
                return self.fail(flash, reason(format_args!("{error}")));
            }
        };
        let remembered = self.record.version_of(&sha256).cloned();
        let version: Option<Version> = self.to.take().or(remembered).or(image.version);
        self.to.clone_from(&version);
        if let Some(version) = &version {
            self.record.learn(sha256, version.clone());
        }
        if self.image.as_ref().is_some_and(|running| running.sha256 == sha256) {
            // Nothing to restart for.
            self.succeed(flash, version);
            return Phase::Idle;
        }
        let (slot, to) = (self.target, version);
        self.record.attempt = Some(Attempt { stage: Stage::Selected, slot, sha256, to });
        self.store(flash);
        match self.select(flash) {
            Ok(()) => {
                self.progress_ms = None;
                let total = self.download.received();
                let message = self.progress(Stretch::Restart, total, total);
                let until_ms = self.now_ms + u64::from(self.settings.farewell_ms);
                message.map_or(Phase::Restarting, |message| Phase::Selected { until_ms, message })
            }
            Err(why) => self.fail(flash, why),
        }
    }

    fn select<F: NorFlash>(&mut self, flash: &mut F) -> Result<(), Reason> {
        let slots = self.slots();
        let words = |fault: Fault| reason(format_args!("{fault}"));
        let entries = Entries::read(flash, self.table.otadata).map_err(words)?;
        let plan = entries.plan_select(self.running, self.target, slots);
        for transition in &plan.map_err(|refused| reason(format_args!("{refused}")))? {
            // Cut before, during or after: see `otadata::apply`; the entry that names the running slot stays.
            if let Err(fault) = otadata::apply(flash, self.table.otadata, transition) {
                // What counts is what the next boot will see.
                let now = Entries::read(flash, self.table.otadata).map_err(words)?;
                if now.selected(slots).is_none_or(|selected| selected.slot != self.target) {
                    return Err(words(fault));
                }
            }
        }
        Ok(())
    }

    pub(super) fn confirm<F: NorFlash>(&mut self, flash: &mut F, until_ms: u64) -> Phase {
        // What did not work is done again with the next event, until the time is up.
        if self.write_confirmation(flash).is_err() {
            return Phase::SelfTest { until_ms };
        }
        let to = self.version().cloned();
        self.succeed(flash, to);
        Phase::Idle
    }

    fn write_confirmation<F: NorFlash>(&mut self, flash: &mut F) -> Result<(), Hindrance> {
        let entries = Entries::read(flash, self.table.otadata)?;
        match entries.plan_confirm(self.running, self.slots()) {
            Ok(None) => {}
            Ok(Some(transition)) => {
                // Cut before: one boot was all there was; the bootloader rolls back.
                // Cut during or after the erase: the entry that names the old slot decides, and the old image runs.
                // Cut after: confirmed, which the next boot finds in otadata even if the record says less.
                otadata::apply(flash, self.table.otadata, &transition)?;
            }
            // The entry was lost in a confirmation that failed half-way. What runs and passed its test gets a new one.
            Err(_) => self.keep_running(flash)?,
        }
        let entries = Entries::read(flash, self.table.otadata)?;
        self.note_state(&entries);
        match entries.plan_confirm(self.running, self.slots()) {
            Ok(None) => Ok(()),
            Ok(Some(_)) => Err(Hindrance::Refused(Refused::NotRunning)),
            Err(refused) => Err(Hindrance::Refused(refused)),
        }
    }

    pub(super) fn reject_in_time<F: NorFlash>(&mut self, flash: &mut F) -> Phase {
        let mut why = String::<64>::new();
        let what = if self.connected {
            "the application's check did not pass"
        } else {
            "the broker was not reached"
        };
        let seconds = self.settings.self_test_ms.div_ceil(1000);
        write!(why, "{what} within {seconds} s").expect("64 bytes hold it");
        self.reject(flash, &why)
    }

    /// Gives the running image up, if another one can take over.
    pub(super) fn reject<F: NorFlash>(&mut self, flash: &mut F, why: &str) -> Phase {
        let reason = reason(format_args!("rolled back: {why}"));
        if !self.another_boots(flash) {
            // Better an image that fails its test than none: it goes on trying for as long as it takes.
            return Phase::SelfTest { until_ms: u64::MAX };
        }
        let to = self.record.attempt.as_ref().and_then(|attempt| attempt.to.clone());
        self.record.last = Some(Last { to, result: Outcome::Failed, reason });
        if let Some(attempt) = &mut self.record.attempt {
            attempt.stage = Stage::Rejected;
        }
        self.store(flash);
        let entries = Entries::read(flash, self.table.otadata);
        if let Ok(Ok(transition)) = entries.map(|entries| entries.plan_reject(self.running, self.slots())) {
            // Cut before: a bootloader with rollback aborts the image; without, this is done again at the next boot.
            // Cut during or after: the entry that names the old slot decides.
            // A fault has the effect of a cut.
            let _ = otadata::apply(flash, self.table.otadata, &transition);
        }
        Phase::Restarting
    }

    fn another_boots<F: NorFlash>(&mut self, flash: &mut F) -> bool {
        let slots = (0..).zip(&self.table.slots).filter(|(slot, _)| self.running != Running::Slot(*slot));
        let factory = self.table.factory.filter(|_| self.running != Running::Factory);
        slots
            .map(|(_, partition)| *partition)
            .chain(factory)
            .any(|partition| {
                matches!(read_slot(flash, partition), Ok(Ok(image)) if image.chip == Some(self.settings.chip))
            })
    }

    fn succeed<F: NorFlash>(&mut self, flash: &mut F, to: Option<Version>) {
        self.record.attempt = None;
        let reason = self.success_reason();
        self.record.last = Some(Last { to, result: Outcome::Success, reason: reason.clone() });
        self.store(flash);
        self.queue(Message::Report);
        self.queue_outcome(Status { outcome: Outcome::Success, reason });
    }

    pub(super) fn fail<F: NorFlash>(&mut self, flash: &mut F, reason: Reason) -> Phase {
        self.cancel_due = true;
        self.fetch_due = false;
        self.record.attempt = None;
        self.record.last = Some(Last { to: self.to.take(), result: Outcome::Failed, reason: reason.clone() });
        self.store(flash);
        self.queue_outcome(Status { outcome: Outcome::Failed, reason });
        Phase::Idle
    }

    fn queue_outcome(&mut self, status: Status) {
        let id = self.queue(Message::Status(status.clone()));
        self.outcome = Some((id, status));
    }

    /// At most one a second, and one as each stretch begins.
    fn progress(&mut self, phase: Stretch, done: u32, total: u32) -> Option<crate::event::MessageId> {
        if self.progress_ms.is_some_and(|last| self.now_ms < last + PROGRESS_MS) {
            return None;
        }
        self.progress_ms = Some(self.now_ms);
        Some(self.queue(Message::Progress(Progress { phase, done, total })))
    }

    fn store<F: NorFlash>(&mut self, flash: &mut F) {
        // What cannot be recorded is still reported now; only the next boot will not know it.
        let _ = self.journal.store(flash, &self.record);
    }
}

/// Why otadata was not brought into the state it should have.
enum Hindrance {
    Fault(Fault),
    Refused(Refused),
}

impl From<Fault> for Hindrance {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl fmt::Display for Hindrance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fault(fault) => fault.fmt(f),
            Self::Refused(refused) => refused.fmt(f),
        }
    }
}

fn sha2_of(text: &str) -> [u8; 32] {
    sha2::Digest::finalize(sha2::Digest::chain_update(sha2::Sha256::default(), text)).into()
}
