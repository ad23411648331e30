//! Judging an image: by its end before anything is erased, and as a whole once it was read back; then selecting it.

use contract::{Code, Outcome, Phase as Stretch, Reason, Version};
use heapless::Vec;

use super::{Agent, Phase};
use crate::attempt::Asking;
use crate::bytes::part_mut;
use crate::checks::{self, is_as_named};
use crate::download::TAIL_BYTES;
use crate::flash::{self, Fault, SECTOR_BYTES};
use crate::otadata::{self, Entries, State};
use crate::outbox::Kind;
use crate::partition::Partition;
use crate::port::{NotKept, Port};
use crate::record::{Attempt, Last, QUARANTINE_AT, Stage, Trusted};
use crate::refusal::{Refusal, refuse};
use crate::sentences::Says;
use crate::signers::signed_by;
use crate::timers::Timer;
use crate::trust::{Signed, Trust};
use crate::verify::version_in;

impl Agent {
    /// Trusts none but these from now on, of the keys that are trusted now: a key that was lost or stolen is given up before the
    /// next image leaves it out. Leave as many as [`crate::Settings::signatures_required`], or no image is taken any more. An
    /// error: it could not be kept, and nothing changed.
    pub fn trust_only<P: Port>(&mut self, port: &mut P, keys: &[[u8; 32]]) -> Result<(), NotKept> {
        let mut narrowed = Vec::new();
        for key in Trust::of(&self.settings, &self.record).keys().iter().filter(|key| keys.contains(key)) {
            narrowed.push(*key).map_err(|_| NotKept)?;
        }
        let before = self.record.trusted.take();
        let by = before.as_ref().and_then(|before| before.by.clone());
        let required = before.as_ref().map_or(self.settings.signatures_required, |before| before.required);
        self.record.trusted = Some(Trusted { keys: narrowed, required, by });
        self.keeper.store(port, &self.record).inspect_err(|_| self.record.trusted = before)
    }

    pub(super) fn wants_signature(&self) -> bool {
        Trust::of(&self.settings, &self.record).wants_signature()
    }

    /// The file's end was received: whether the rest is worth the trouble.
    pub(super) fn judge_tail<P: Port>(&mut self, port: &mut P) -> Phase {
        let Some(tail) = self.download.tail() else {
            return self.lose(port, Says::SentLess);
        };
        let sector = tail.last_chunk::<SECTOR_BYTES>().map_or(tail, |sector| sector);
        let signed = match signed_by(sector, Trust::of(&self.settings, &self.record)) {
            Ok(signed) => signed,
            Err(refusal) => return self.fail(port, &refusal),
        };
        if let Some(running) = &self.image
            && running.is_protected
            && running.total_bytes == self.download.transfer.total()
            && self.ends_like_running(port)
        {
            if let Err(refusal) = is_as_named(running.version.as_ref(), self.attempt.to.as_ref()) {
                return self.fail(port, &refusal);
            }
            if let Some(version) = &self.attempt.to {
                self.record.remember_version(running.sha256, version.clone());
            }
            // Nothing to download, and nothing to restart for.
            self.succeed(port);
            return Phase::Idle;
        }
        self.download.end_tail(signed != Signed::No);
        self.attempt.asking = Asking::Image;
        if self.download.transfer.resume.is_none() {
            return self.fetch();
        }
        self.timers.start(Timer::Phase, 0);
        Phase::Resuming
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
            read.is_ok() && found.starts_with(wanted)
        })
    }

    /// Before the first erase: the attempt is on record, and otadata selects what runs.
    pub(super) fn make_ready<P: Port>(&mut self, port: &mut P) -> Result<(), Refusal> {
        if self.attempt.ready {
            return Ok(());
        }
        if let Some(attempt) = &mut self.record.attempt {
            attempt.to.clone_from(&self.attempt.to);
        }
        self.store(port);
        self.keep_running(port)?;
        self.forget_target(port)?;
        self.attempt.ready = true;
        Ok(())
    }

    /// If otadata selects another slot than the running one (whose image is broken, else it would run), a new image
    /// in that slot would boot the moment it is complete, unverified and without a self-test.
    #[inline(never)]
    pub(super) fn keep_running<P: Port>(&mut self, port: &mut P) -> Result<(), Refusal> {
        let entries = Entries::read(port, self.table.otadata)?;
        let plan = entries.plan_keep(self.running, self.slots())?;
        // Cut before, during or after: an entry that names the running slot, if there was one, is untouched;
        //   the selected slot is broken, and the bootloader passes it over as it did at this boot.
        otadata::apply_all(port, self.table.otadata, &plan)?;
        if !plan.is_empty() {
            self.note_state(&Entries::read(port, self.table.otadata)?);
        }
        Ok(())
    }

    pub(super) fn verify<P: Port>(&mut self, port: &mut P) -> Phase {
        let Some(read_back) = &mut self.read_back else { return Phase::Idle };
        match read_back.step(port) {
            Err(fault) => self.fail(port, &fault.into()),
            Ok(false) => {
                let done = read_back.done_bytes();
                self.progress(Stretch::Verify, done, self.download.slot.written);
                Phase::Verifying
            }
            Ok(true) => {
                let (sha256, is_as_written) = read_back.sha256();
                let verdict =
                    if is_as_written { self.judge(port, &sha256) } else { refuse!(ReadBackDiffers) };
                #[cfg(feature = "put-off")]
                if self.is_put_off && verdict.is_ok() {
                    self.read_back = None;
                    self.timers.stop(Timer::Phase);
                    return Phase::Kept;
                }
                self.read_back = None;
                match verdict {
                    Ok(version) => self.choose(port, sha256, version.as_ref()),
                    Err(refusal) => {
                        // What was refused must not lie there whole: a bootloader starts it if the running
                        // image is lost one day. Cut before: it is refused again. Cut during or after: it does not boot.
                        // A fault leaves it as a cut does.
                        let _ = flash::erase(port, self.target_slot().offset);
                        self.fail(port, &refusal)
                    }
                }
            }
        }
    }

    /// The whole image, as it lies on flash. What fails here fails by the image's own fault counts against it.
    fn judge<P: Port>(&mut self, port: &mut P, sha256: &[u8; 32]) -> Result<Option<Version>, Refusal> {
        if self.record.failures_of(sha256) >= QUARANTINE_AT {
            return refuse!(Quarantined);
        }
        let verdict = self.judge_content(port);
        let at_fault = |refusal: &Refusal| {
            matches!(
                refusal.says.code(),
                Code::NotAnImage
                    | Code::Damaged
                    | Code::TrailingBytes
                    | Code::Unprotected
                    | Code::BadSignature
            )
        };
        if verdict.as_ref().is_err_and(at_fault) {
            self.record.count_failure(*sha256);
        }
        verdict
    }

    /// The version that a good image gives itself.
    #[inline(never)]
    fn judge_content<P: Port>(&mut self, port: &mut P) -> Result<Option<Version>, Refusal> {
        let Some(read_back) = &self.read_back else { return Ok(None) };
        let (image, header) = read_back.image()?;
        checks::fits(header, image.descriptor(), &wanted!(self))?;
        if !image.is_protected() {
            return refuse!(Unprotected);
        }
        let (slot, offset, version) = (self.target_slot(), image.signature_offset(), version_in(image));
        self.judge_signature(port, slot, offset, true)?;
        Ok(version)
    }

    /// The verifier has seen that the blocks speak of this image; what they are worth is seen here.
    #[inline(never)]
    pub(super) fn judge_signature<P: Port>(
        &mut self,
        port: &mut P,
        slot: Partition,
        offset: Option<u32>,
        by_trusted_keys: bool,
    ) -> Result<(), Refusal> {
        // The buffer has nothing in it any more.
        let sector = part_mut(&mut self.download.slot.buffer, 0, SECTOR_BYTES);
        match offset {
            None => sector.fill(0xFF),
            Some(offset) => flash::read(port, slot.offset + offset, sector)?,
        }
        let trust = if by_trusted_keys {
            Trust::of(&self.settings, &self.record)
        } else {
            Trust::of_bootloader(&self.settings)
        };
        signed_by(sector, trust).map(|_| ())
    }

    /// A good image: selected, unless it runs already.
    fn choose<P: Port>(&mut self, port: &mut P, sha256: [u8; 32], version: Option<&Version>) -> Phase {
        let own = version.filter(|own| !own.is_opaque());
        if own.is_some() || self.attempt.to.is_none() {
            self.attempt.to = own.or_else(|| self.record.version_of(&sha256)).or(version).cloned();
        }
        if let Some(version) = &self.attempt.to {
            self.record.remember_version(sha256, version.clone());
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
            to: self.attempt.to.clone(),
            rearms: 0,
        });
        self.store(port);
        match self.select(port) {
            Ok(()) => {
                self.timers.stop(Timer::Progress);
                let total = self.download.slot.written;
                let message = self.progress(Stretch::Restart, total, total);
                self.timers.start(Timer::Phase, self.settings.last_message_ms);
                message.map_or(Phase::Restarting, |message| Phase::Selected { message })
            }
            Err(refusal) => self.fail(port, &refusal),
        }
    }

    /// What otadata says of the image that lay in the slot before must not be taken for news of this one.
    fn forget_target<P: Port>(&mut self, port: &mut P) -> Result<(), Fault> {
        let entries = Entries::read(port, self.table.otadata)?;
        for sector in entries.stale(self.running, self.target, self.slots()).into_iter().flatten() {
            // Cut before, during or after: the entry decided nothing, and another one names the running slot or none needs to.
            otadata::erase(port, self.table.otadata, sector)?;
        }
        Ok(())
    }

    #[inline(never)]
    pub(super) fn select<P: Port>(&mut self, port: &mut P) -> Result<(), Refusal> {
        let slots = self.slots();
        let entries = Entries::read(port, self.table.otadata)?;
        let plan = entries.plan_select(self.running, self.target, slots)?;
        // Cut before, during or after: see `otadata::apply`; the entry that names the running slot stays.
        if let Err(fault) = otadata::apply_all(port, self.table.otadata, &plan) {
            // What counts is what the next boot will see.
            let now = Entries::read(port, self.table.otadata)?;
            let chosen =
                |selected: otadata::Selected| selected.slot == self.target && selected.state == State::New;
            if !now.selected(slots).is_some_and(chosen) {
                return Err(fault.into());
            }
        }
        Ok(())
    }

    pub(super) fn succeed<P: Port>(&mut self, port: &mut P) {
        let reason = self.success_reason();
        self.conclude(Outcome::Success, reason);
        self.store(port);
        self.outbox.queue(Kind::Report);
        self.outbox.queue_outcome();
    }

    /// The texts that an image can be refused with are the version that the server named and the running project's name.
    #[inline(never)]
    pub(super) fn fail<P: Port>(&mut self, port: &mut P, refusal: &Refusal) -> Phase {
        let text = match refusal.says {
            Says::WrongVersion => self.attempt.to.as_ref().map(Version::as_str),
            _ => self.image.as_ref().and_then(|image| image.traits.project.as_deref()),
        };
        let reason = refusal.reason(text.unwrap_or_default());
        self.fail_with(port, reason)
    }

    #[inline(never)]
    pub(super) fn fail_with<P: Port>(&mut self, port: &mut P, reason: Reason) -> Phase {
        self.conclude(Outcome::Failed, reason);
        self.store(port);
        self.outbox.queue_outcome();
        Phase::Idle
    }

    /// The attempt, to the version in `to`, is over.
    fn conclude(&mut self, result: Outcome, reason: Reason) {
        self.cancel_due = true;
        self.record.attempt = None;
        self.outbox.note_outcome(result, &reason);
        self.record.last = Some(Last { to: self.attempt.to.take(), result, reason });
    }
}
