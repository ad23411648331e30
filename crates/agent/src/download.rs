//! A download into the inactive slot: what the network brings is handed on to the flash.
//!
//! Bytes received and bytes written are counted apart, by [`Transfer`] and by [`SlotWriter`]. Today each byte of a file is a
//! byte of the slot; a decoder between the two would change that, and nothing else here.

mod slot;
mod transfer;

pub(crate) use slot::SlotWriter;
pub(crate) use transfer::{TAIL_BYTES, TailVerdict, Transfer, Verdict};

use crate::bookmark::Bookmark;
use crate::checks::Wanted;
use crate::event::ResponseHead;
use crate::flash::Fault;
use crate::partition::Partition;
use crate::port::{EraseUnit, Port};
use crate::refusal::{Refusal, refuse};

// In this order, so that what is small is reached in one instruction.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Download {
    pub(crate) transfer: Transfer,
    pub(crate) slot: SlotWriter,
}

impl Download {
    pub(crate) const fn new() -> Self {
        Self { transfer: Transfer::new(), slot: SlotWriter::new() }
    }

    /// Begins an attempt at a slot; `resume` is what an earlier one left there.
    pub(crate) fn begin(&mut self, slot: Partition, resume: Option<Bookmark>) {
        self.transfer.begin(resume);
        self.slot.begin(slot);
    }

    /// Forgets what was received; the slot is written again from its start.
    pub(crate) fn start_over(&mut self) {
        self.transfer.begin(None);
        self.slot.start_over();
    }

    /// Goes back to what is on flash: a sector that was begun is asked for again, and the buffer is free for the head of
    /// the next response.
    pub(crate) fn rewind(&mut self) {
        self.slot.filled = 0;
        (self.transfer.received, self.transfer.tail_bytes) = (self.slot.written, 0);
    }

    /// Looks at what answers the request for the file's end. An error is final.
    pub(crate) fn tail_head(&mut self, head: &ResponseHead<'_>) -> Result<TailVerdict, Refusal> {
        let verdict = self.transfer.tail_head(head, self.slot.slot.size_bytes)?;
        self.follow_transfer();
        Ok(verdict)
    }

    /// Takes more of the file's end; `false` if that is more than there can be.
    pub(crate) fn push_tail(&mut self, bytes: &[u8]) -> bool {
        self.transfer.push_tail(&mut self.slot.buffer, bytes)
    }

    /// The file's end, once all of it was received.
    pub(crate) fn tail(&self) -> Option<&[u8]> {
        self.transfer.tail(&self.slot.buffer)
    }

    /// The end was looked at: whether it has a signature sector, and where the download goes on.
    pub(crate) fn end_tail(&mut self, signed: bool) {
        self.slot.signed = Some(signed);
        self.transfer.end_tail();
    }

    /// Hashes on towards where an earlier attempt was; `true` once there is nothing (more) to hash.
    pub(crate) fn hash_on<P: Port>(&mut self, port: &mut P) -> Result<bool, Fault> {
        let Some(mark) = &self.transfer.resume else { return Ok(true) };
        let done = self.slot.hash_on(port, mark)?;
        if done {
            (self.transfer.received, self.transfer.resume) = (self.slot.written, None);
        }
        Ok(done)
    }

    /// Looks at a 200 or 206 that answers a fetch of the file. An error is final.
    pub(crate) fn head(&mut self, head: &ResponseHead<'_>) -> Result<Verdict, Refusal> {
        let verdict = self.transfer.head(head, self.slot.slot.size_bytes)?;
        self.follow_transfer();
        Ok(verdict)
    }

    /// A file that is begun anew is written anew.
    fn follow_transfer(&mut self) {
        if self.transfer.received == 0 {
            self.slot.start_over();
        }
    }

    /// Takes more of the body. An error is final.
    pub(crate) fn push<P: Port>(
        &mut self,
        port: &mut P,
        unit: EraseUnit,
        wanted: &Wanted<'_>,
        bytes: &[u8],
    ) -> Result<(), Refusal> {
        let (bytes, overlong) = self.transfer.take(bytes);
        self.slot.push(port, unit, wanted, &self.transfer.file, bytes)?;
        if overlong { refuse!(SentMore) } else { Ok(()) }
    }

    /// The body ended; the digest of all that was written, or `None` if less was received than was announced.
    pub(crate) fn finish<P: Port>(
        &mut self,
        port: &mut P,
        unit: EraseUnit,
        wanted: &Wanted<'_>,
    ) -> Result<Option<[u8; 32]>, Refusal> {
        if !self.transfer.is_complete() {
            return Ok(None);
        }
        self.slot.finish(port, unit, wanted, &self.transfer.file).map(Some)
    }
}
