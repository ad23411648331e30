//! Judging an image: by its end before anything is erased, and as a whole once it was read back; then selecting it.

use contract::{Code, Outcome, Phase as Stretch, Reason};
use image::Summary;

use super::fetch::Asking;
use super::{Agent, Phase};
use crate::checks;
use crate::download::TAIL_BYTES;
use crate::flash::{self, SECTOR_BYTES};
use crate::otadata::{self, Entries, State};
use crate::port::Port;
use crate::record::{Attempt, Last, Stage};
use crate::refusal::{Refusal, refuse};
use crate::signature::{Signed, Trust, signed_by};
use crate::verify::{Finding, SlotImage};

/// So many failures after boot or in verification, and an image is refused.
pub(super) const QUARANTINE_AT: u8 = 2;

impl Agent {
    fn trust(&self) -> Trust<'_> {
        Trust {
            compiled: self.settings.trusted_keys,
            narrowed: self.record.trusted.as_deref(),
            secure_boot: self.settings.hardware.secure_boot,
        }
    }

    pub(super) fn wants_signature(&self) -> bool {
        self.trust().wants_signature()
    }

    /// The file's end was received: whether the rest is worth the trouble.
    pub(super) fn judge_tail<P: Port>(&mut self, port: &mut P) -> Phase {
        let Some(tail) = self.download.tail() else {
            return self.lose(port, "the server sent less than it had announced");
        };
        let sector = &tail[tail.len().saturating_sub(SECTOR_BYTES)..];
        let signed = match signed_by(sector, self.trust()) {
            Ok(signed) => signed,
            Err(reason) => return self.fail(port, reason),
        };
        if let Some(running) = &self.image
            && running.is_protected
            && running.total_bytes == self.download.total()
            && self.ends_like_running(port)
        {
            if let Some(version) = &self.to {
                self.record.learn(running.sha256, version.clone());
            }
            // Nothing to download, and nothing to restart for.
            self.succeed(port);
            return Phase::Idle;
        }
        self.download.tail_seen(signed != Signed::No);
        self.asking = Asking::Image;
        if self.download.resumes() { Phase::Resuming } else { self.fetch() }
    }

    /// Whether the running image ends with the very bytes that were received; its digest or its signature is among them.
    fn ends_like_running<P: Port>(&self, port: &mut P) -> bool {
        let (Some(image), Some(partition), Some(tail)) =
            (&self.image, self.running_partition(), self.download.tail())
        else {
            return false;
        };
        let mut at = partition.offset + image.total_bytes.saturating_sub(TAIL_BYTES as u32);
        let mut chunk = [0; 32];
        tail.chunks(chunk.len()).all(|wanted| {
            let found = &mut chunk[..];
            let read = flash::read(port, at, found);
            at = at.saturating_add(wanted.len() as u32);
            read.is_ok() && found[..wanted.len()] == *wanted
        })
    }

    /// Before the first erase: the attempt is on record, and otadata selects what runs.
    pub(super) fn make_ready<P: Port>(&mut self, port: &mut P) -> Result<(), Refusal<'static>> {
        if self.ready {
            return Ok(());
        }
        if let Some(attempt) = &mut self.record.attempt {
            attempt.to.clone_from(&self.to);
        }
        self.store(port);
        self.keep_running(port)?;
        self.ready = true;
        Ok(())
    }

    /// If otadata selects another slot than the running one (whose image is broken, else it would run), a new image
    /// in that slot would boot the moment it is complete, unverified and without a self-test.
    pub(super) fn keep_running<P: Port>(&mut self, port: &mut P) -> Result<(), Refusal<'static>> {
        let entries = Entries::read(port, self.table.otadata)?;
        let plan = entries.plan_keep(self.running, self.slots())?;
        for transition in &plan {
            // Cut before, during or after: an entry that names the running slot, if there was one, is untouched;
            //   the selected slot is broken, and the bootloader passes it over as it did at this boot.
            otadata::apply(port, self.table.otadata, transition)?;
        }
        if !plan.is_empty() {
            self.note_state(&Entries::read(port, self.table.otadata)?);
        }
        Ok(())
    }

    pub(super) fn verify<P: Port>(&mut self, port: &mut P) -> Phase {
        let Some(read_back) = &mut self.read_back else { return Phase::Idle };
        match read_back.step(port) {
            Err(fault) => self.fail(port, fault.into()),
            Ok(None) => {
                let done = read_back.done_bytes();
                self.progress(Stretch::Verify, done, self.download.received());
                Phase::Verifying
            }
            Ok(Some(finding)) => {
                self.read_back = None;
                match self.judge(port, &finding) {
                    Ok(summary) => self.choose(port, &SlotImage::new(summary)),
                    Err(reason) => self.fail(port, reason),
                }
            }
        }
    }

    /// The whole image, as it lies on flash. What fails here fails by the image's own fault counts against it.
    fn judge<'a, P: Port>(
        &mut self,
        port: &mut P,
        finding: &'a Finding,
    ) -> Result<&'a Summary, Refusal<'static>> {
        let sha256 = finding.sha256;
        if sha256 != self.received_sha256 {
            return refuse!(Flash, "the flash does not hold what was written to it");
        }
        if self.record.failures_of(&sha256) >= QUARANTINE_AT {
            return refuse!(Quarantined, "quarantined: this image failed twice on this device");
        }
        let verdict = self.judge_content(port, finding);
        let at_fault = |refusal: &Refusal<'_>| {
            matches!(
                refusal.code,
                Code::NotAnImage
                    | Code::Damaged
                    | Code::TrailingBytes
                    | Code::Unprotected
                    | Code::BadSignature
            )
        };
        if verdict.as_ref().is_err_and(at_fault) {
            self.record.count_failure(sha256);
        }
        verdict
    }

    fn judge_content<'a, P: Port>(
        &mut self,
        port: &mut P,
        finding: &'a Finding,
    ) -> Result<&'a Summary, Refusal<'static>> {
        let summary = finding.image.as_ref().map_err(|error| Refusal::from(*error))?;
        let running = self.image.as_ref().map(|image| &image.traits);
        checks::fits(&summary.header, summary.descriptor.as_ref(), &self.settings, running)?;
        if !summary.is_protected() {
            return refuse!(
                Unprotected,
                "the image has neither a digest nor a signature: damage would go unseen"
            );
        }
        self.judge_signature(port, summary)?;
        Ok(summary)
    }

    /// The verifier has seen that the blocks speak of this image; what they are worth is seen here.
    fn judge_signature<P: Port>(&mut self, port: &mut P, summary: &Summary) -> Result<(), Refusal<'static>> {
        let slot = self.target_slot();
        // The buffer has nothing in it any more.
        let sector = &mut self.download.scratch()[..SECTOR_BYTES];
        match summary.signature_offset() {
            None => sector.fill(0xFF),
            Some(offset) => flash::read(port, slot.offset + offset, sector)?,
        }
        let trust = Trust {
            compiled: self.settings.trusted_keys,
            narrowed: self.record.trusted.as_deref(),
            secure_boot: self.settings.hardware.secure_boot,
        };
        signed_by(sector, trust).map(|_| ())
    }

    /// A good image: selected, unless it runs already.
    fn choose<P: Port>(&mut self, port: &mut P, image: &SlotImage) -> Phase {
        let sha256 = image.sha256;
        if self.to.is_none() {
            self.to = self.record.version_of(&sha256).or(image.version.as_ref()).cloned();
        }
        if let Some(version) = &self.to {
            self.record.learn(sha256, version.clone());
        }
        if self.image.as_ref().is_some_and(|running| running.sha256 == sha256) {
            // Nothing to restart for.
            self.succeed(port);
            return Phase::Idle;
        }
        self.record.attempt = Some(Attempt {
            stage: Stage::Selected,
            slot: self.target,
            sha256,
            to: self.to.clone(),
            rearms: 0,
        });
        self.store(port);
        match self.select(port) {
            Ok(()) => {
                self.progress_ms = None;
                let total = self.download.received();
                let message = self.progress(Stretch::Restart, total, total);
                let until_ms = self.now_ms + u64::from(self.settings.farewell_ms);
                message.map_or(Phase::Restarting, |message| Phase::Selected { until_ms, message })
            }
            Err(refusal) => self.fail(port, refusal),
        }
    }

    pub(super) fn select<P: Port>(&mut self, port: &mut P) -> Result<(), Refusal<'static>> {
        let slots = self.slots();
        let entries = Entries::read(port, self.table.otadata)?;
        let plan = entries.plan_select(self.running, self.target, slots)?;
        for transition in &plan {
            // Cut before, during or after: see `otadata::apply`; the entry that names the running slot stays.
            if let Err(fault) = otadata::apply(port, self.table.otadata, transition) {
                // What counts is what the next boot will see.
                let now = Entries::read(port, self.table.otadata)?;
                let chosen = |selected: otadata::Selected| {
                    selected.slot == self.target && selected.state == State::New
                };
                if !now.selected(slots).is_some_and(chosen) {
                    return Err(fault.into());
                }
            }
        }
        Ok(())
    }

    pub(super) fn succeed<P: Port>(&mut self, port: &mut P) {
        let reason = self.success_reason();
        self.conclude(Outcome::Success, reason);
        self.store(port);
        self.queue_report();
        self.requeue_outcome();
    }

    #[inline(never)]
    pub(super) fn fail<P: Port>(&mut self, port: &mut P, refusal: Refusal<'_>) -> Phase {
        let reason = self.told(refusal);
        self.conclude(Outcome::Failed, reason);
        self.store(port);
        self.requeue_outcome();
        Phase::Idle
    }

    /// The attempt, to the version in `to`, is over.
    fn conclude(&mut self, result: Outcome, reason: Reason) {
        (self.cancel_due, self.fetch_due, self.resuming) = (true, false, false);
        self.record.attempt = None;
        self.note_outcome(result, &reason);
        self.record.last = Some(Last { to: self.to.take(), result, reason });
    }

    /// The sentence and the code that a refusal stands for.
    #[inline(never)]
    fn told(&self, refusal: Refusal<'_>) -> Reason {
        let project = self.image.as_ref().and_then(|image| image.traits.project.as_deref());
        let text =
            if refusal.code == Code::WrongProject { project.unwrap_or_default() } else { refusal.text };
        Refusal { text, ..refusal }.reason()
    }
}
