//! otadata: two 4 KiB sectors with a 32-byte entry each, from which the bootloader chooses the slot.
//!
//! Owned here: what an entry means, which slot the bootloader will choose, and the three transitions an
//! application makes (select, confirm, reject), each as one erase and one write. Refused: confirming a slot
//! that is not running. The sector to write is found from the *running* slot, never from "the other one", so
//! the entry that names the running slot outlives every cut of a `select`.

use core::fmt;

use embedded_storage::nor_flash::{NorFlash, NorFlashErrorKind, ReadNorFlash};
use heapless::Vec;

use crate::flash::{self, Fault, Operation, SECTOR_BYTES};
use crate::partition::Partition;

/// One entry, in bytes.
pub const ENTRY_BYTES: usize = 32;

/// ESP-IDF's image states (`esp_ota_img_states_t`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Selected, never booted.
    New,
    /// Booted once, not confirmed.
    PendingVerify,
    /// Confirmed.
    Valid,
    /// Rejected by the application.
    Invalid,
    /// Not confirmed in its one boot; written by the bootloader.
    Aborted,
    /// Never set.
    Undefined,
    /// A value that ESP-IDF does not know; the bootloader treats it like `Undefined`.
    Unknown(u32),
}

impl State {
    const fn from_word(word: u32) -> Self {
        match word {
            0 => Self::New,
            1 => Self::PendingVerify,
            2 => Self::Valid,
            3 => Self::Invalid,
            4 => Self::Aborted,
            u32::MAX => Self::Undefined,
            other => Self::Unknown(other),
        }
    }

    const fn word(self) -> u32 {
        match self {
            Self::New => 0,
            Self::PendingVerify => 1,
            Self::Valid => 2,
            Self::Invalid => 3,
            Self::Aborted => 4,
            Self::Undefined => u32::MAX,
            Self::Unknown(word) => word,
        }
    }

    /// ESP-IDF's name in lower case, as the report spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::PendingVerify => "pending_verify",
            Self::Valid => "valid",
            Self::Invalid => "invalid",
            Self::Aborted => "aborted",
            Self::Undefined | Self::Unknown(_) => "undefined",
        }
    }

    /// Selected but not confirmed: the state of an update that is still to prove itself.
    pub const fn is_unconfirmed(self) -> bool {
        matches!(self, Self::New | Self::PendingVerify)
    }
}

/// `esp_ota_select_entry_t`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Sequence number; the highest usable one wins and names slot (seq − 1) mod slots.
    pub seq: u32,
    /// Unused by the bootloader, kept as found.
    pub label: [u8; 20],
    /// The image's state. Not covered by the crc: a damaged state goes unseen.
    pub state: State,
    /// As found; [`Entry::is_usable`] compares.
    pub crc: u32,
}

impl Entry {
    /// A well-formed entry.
    pub const fn new(seq: u32, state: State) -> Self {
        Self { seq, label: [0xFF; 20], state, crc: crc_of(seq) }
    }

    /// Reads any 32 bytes; whatever they hold is an entry, usable or not.
    pub fn parse(bytes: &[u8; ENTRY_BYTES]) -> Self {
        let word = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let mut label = [0; 20];
        label.copy_from_slice(&bytes[4..24]);
        Self { seq: word(0), label, state: State::from_word(word(24)), crc: word(28) }
    }

    /// The 32 bytes on flash.
    pub fn to_bytes(self) -> [u8; ENTRY_BYTES] {
        let mut bytes = [0; ENTRY_BYTES];
        bytes[..4].copy_from_slice(&self.seq.to_le_bytes());
        bytes[4..24].copy_from_slice(&self.label);
        bytes[24..28].copy_from_slice(&self.state.word().to_le_bytes());
        bytes[28..].copy_from_slice(&self.crc.to_le_bytes());
        bytes
    }

    /// Whether the bootloader would consider it: written, its crc right, neither INVALID nor ABORTED.
    pub fn is_usable(&self) -> bool {
        self.seq != u32::MAX
            && self.crc == crc_of(self.seq)
            && !matches!(self.state, State::Invalid | State::Aborted)
    }

    /// The slot it names, of `slots`.
    pub fn slot(&self, slots: u8) -> u8 {
        // Below `slots`, which is a u8.
        self.seq.wrapping_sub(1).checked_rem(u32::from(slots)).unwrap_or(0) as u8
    }
}

/// `esp_rom_crc32_le(UINT32_MAX, &seq, 4)`: reflected CRC-32 with the register starting at 0.
pub const fn crc_of(seq: u32) -> u32 {
    // The four bytes in little-endian order, folded in at once: the register is 32 bits wide.
    let mut register = seq;
    let mut bit = 0;
    while bit < 32 {
        register = if register & 1 == 1 { (register >> 1) ^ 0xEDB8_8320 } else { register >> 1 };
        bit += 1;
    }
    !register
}

/// Which of the two sectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sector {
    /// At the start of the otadata partition.
    First,
    /// 4 KiB behind it.
    Second,
}

impl Sector {
    const BOTH: [Self; 2] = [Self::First, Self::Second];

    const fn index(self) -> usize {
        self as usize
    }

    const fn other(self) -> Self {
        match self {
            Self::First => Self::Second,
            Self::Second => Self::First,
        }
    }
}

/// What runs now. Only the port can know it (the MMU mapping says), never otadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Running {
    /// `ota_n`.
    Slot(u8),
    /// The factory app.
    Factory,
}

/// The slot the bootloader tries first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Selected {
    /// Where the entry lies.
    pub sector: Sector,
    /// What it names.
    pub slot: u8,
    /// The state it gives.
    pub state: State,
}

/// One sector to erase and write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transition {
    /// Which one.
    pub sector: Sector,
    /// What it holds afterwards.
    pub entry: Entry,
}

/// Why a transition was not made; nothing was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// The slot is the running one, or there is no such slot.
    NotATarget,
    /// The selected slot is not the running one, so the entry speaks of another image.
    NotRunning,
    /// The sequence numbers are used up. Only damage can bring this about.
    SequenceExhausted,
}

impl Refused {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::NotATarget => "this slot cannot be selected",
            Self::NotRunning => "otadata selects a slot that is not the running one",
            Self::SequenceExhausted => "otadata's sequence numbers are used up",
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl core::error::Error for Refused {}

/// Both entries, as they are on flash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entries(pub [Entry; 2]);

impl Entries {
    /// Reads both; damage is not an error but an unusable entry.
    pub fn read<F: ReadNorFlash>(flash: &mut F, otadata: Partition) -> Result<Self, Fault> {
        let mut entries = [Entry::new(u32::MAX, State::Undefined); 2];
        for sector in Sector::BOTH {
            let mut bytes = [0; ENTRY_BYTES];
            flash::read(flash, offset_of(otadata, sector), &mut bytes)?;
            entries[sector.index()] = Entry::parse(&bytes);
        }
        Ok(Self(entries))
    }

    fn usable(&self) -> impl Iterator<Item = (Sector, &Entry)> {
        Sector::BOTH.into_iter().zip(&self.0).filter(|(_, entry)| entry.is_usable())
    }

    /// The highest usable entry among those that `wanted` takes; of two equal ones the first, as ESP-IDF does.
    fn highest(&self, wanted: impl Fn(&Entry) -> bool) -> Option<(Sector, &Entry)> {
        self.usable()
            .filter(|(_, entry)| wanted(entry))
            .reduce(|best, next| if next.1.seq > best.1.seq { next } else { best })
    }

    /// What the bootloader tries first; `None` means the factory app, or the slots from 0 up.
    pub fn selected(&self, slots: u8) -> Option<Selected> {
        self.highest(|_| true).map(|(sector, entry)| Selected {
            sector,
            slot: entry.slot(slots),
            state: entry.state,
        })
    }

    /// The state of the image in a slot as far as a usable entry names that slot.
    pub fn state_of(&self, slot: u8, slots: u8) -> Option<State> {
        self.highest(|entry| entry.slot(slots) == slot).map(|(_, entry)| entry.state)
    }

    /// The slot that ran before, and that a bootloader goes back to: the one that the best other usable entry names.
    pub(crate) fn slot_before(&self, running: Running, slots: u8) -> Option<u8> {
        let other = self.highest(|entry| running != Running::Slot(entry.slot(slots)));
        other.map(|(_, entry)| entry.slot(slots))
    }

    /// The state of any entry that names a slot, usable or not, if its seq was not damaged.
    pub fn trace_of(&self, slot: u8, slots: u8) -> Option<State> {
        let intact = |entry: &&Entry| entry.seq != u32::MAX && entry.crc == crc_of(entry.seq);
        let named = self.0.iter().filter(intact).filter(|entry| entry.slot(slots) == slot);
        named.reduce(|best, next| if next.seq > best.seq { next } else { best }).map(|entry| entry.state)
    }

    /// What must be written to boot `target` once as NEW, in this order; the running slot stays named.
    pub fn plan_select(
        &self,
        running: Running,
        target: u8,
        slots: u8,
    ) -> Result<Vec<Transition, 2>, Refused> {
        if target >= slots || running == Running::Slot(target) {
            return Err(Refused::NotATarget);
        }
        let mut plan = Vec::new();
        let mut top = self.usable().map(|(_, entry)| entry.seq).max().unwrap_or(0);
        let sector = match running {
            // Without a usable entry, which `plan_keep` sees to, the factory app boots if the new image fails.
            Running::Factory => {
                self.selected(slots).map_or(Sector::First, |selected| selected.sector.other())
            }
            Running::Slot(running) => {
                let named = self.highest(|entry| entry.slot(slots) == running);
                let kept = match named {
                    Some((sector, entry)) if !entry.state.is_unconfirmed() => sector,
                    // Without an entry that names the running slot, and does not die at the next boot, a failed
                    // update would fall back to whatever lies in the lowest slot. It runs, so VALID is the truth.
                    _ => {
                        let keep = named.map(|(sector, _)| sector);
                        let keep = keep.or(self.selected(slots).map(|selected| selected.sector));
                        let sector = keep.map_or(Sector::First, Sector::other);
                        top = next_seq(top, running, slots)?;
                        push(&mut plan, Transition { sector, entry: Entry::new(top, State::Valid) });
                        sector
                    }
                };
                kept.other()
            }
        };
        let seq = next_seq(top, target, slots)?;
        push(&mut plan, Transition { sector, entry: Entry::new(seq, State::New) });
        Ok(plan)
    }

    /// What must be written, in this order, so that otadata selects what runs; nothing if it does.
    pub fn plan_keep(&self, running: Running, slots: u8) -> Result<Vec<Transition, 2>, Refused> {
        let mut plan = Vec::new();
        let Running::Slot(slot) = running else {
            // The factory app is what boots without a usable entry. The lower one first: without the higher one it
            // would select an image of long ago.
            let selected = self.highest(|_| true);
            for (sector, entry) in self.usable().filter(|found| Some(*found) != selected).chain(selected) {
                push(&mut plan, Transition { sector, entry: Entry::new(entry.seq, State::Invalid) });
            }
            return Ok(plan);
        };
        let selected = self.selected(slots);
        if selected.is_some_and(|selected| selected.slot == slot) {
            return Ok(plan);
        }
        let named = self.highest(|entry| entry.slot(slots) == slot).map(|(sector, _)| sector);
        let keep = named.or(selected.map(|selected| selected.sector));
        let seq = next_seq(self.usable().map(|(_, entry)| entry.seq).max().unwrap_or(0), slot, slots)?;
        let sector = keep.map_or(Sector::First, Sector::other);
        push(&mut plan, Transition { sector, entry: Entry::new(seq, State::Valid) });
        Ok(plan)
    }

    /// What must be written to mark the running image VALID; `None` if it is so already.
    pub fn plan_confirm(&self, running: Running, slots: u8) -> Result<Option<Transition>, Refused> {
        let (selected, seq) = self.selected_and_running(running, slots)?;
        let entry = Entry::new(seq, State::Valid);
        Ok((selected.state != State::Valid).then_some(Transition { sector: selected.sector, entry }))
    }

    /// What must be written, in this order, so that `to` is chosen instead of the running image, which is INVALID then.
    ///
    /// Where the entry behind the running one's names `to` already, that it is INVALID is enough, and one write.
    pub fn plan_leave(
        &self,
        running: Running,
        to: Running,
        slots: u8,
    ) -> Result<Vec<Transition, 2>, Refused> {
        let mut plan = Vec::new();
        let selected = self.selected(slots);
        let of_running = selected.filter(|selected| running == Running::Slot(selected.slot));
        let next =
            self.highest(|entry| of_running.is_none_or(|selected| self.0[selected.sector.index()] != *entry));
        let next_is_right = match (next, to) {
            (Some((_, entry)), Running::Slot(to)) => entry.slot(slots) == to && !entry.state.is_unconfirmed(),
            (None, Running::Factory) => true,
            _ => false,
        };
        match to {
            Running::Slot(to) if !next_is_right => {
                if to >= slots || running == Running::Slot(to) {
                    return Err(Refused::NotATarget);
                }
                let top = self.usable().map(|(_, entry)| entry.seq).max().unwrap_or(0);
                let sector = of_running.map_or(Sector::First, |selected| selected.sector.other());
                let entry = Entry::new(next_seq(top, to, slots)?, State::Valid);
                push(&mut plan, Transition { sector, entry });
            }
            Running::Factory if !next_is_right => {
                // Only without a usable entry the factory app is chosen; the running one goes last.
                if let Some((sector, entry)) = next {
                    push(&mut plan, Transition { sector, entry: Entry::new(entry.seq, State::Invalid) });
                }
            }
            _ => {}
        }
        if let Some(selected) = of_running {
            let seq = self.0[selected.sector.index()].seq;
            push(&mut plan, Transition { sector: selected.sector, entry: Entry::new(seq, State::Invalid) });
        }
        Ok(plan)
    }

    fn selected_and_running(&self, running: Running, slots: u8) -> Result<(Selected, u32), Refused> {
        let selected = self.selected(slots).filter(|selected| running == Running::Slot(selected.slot));
        let selected = selected.ok_or(Refused::NotRunning)?;
        Ok((selected, self.0[selected.sector.index()].seq))
    }
}

fn push(plan: &mut Vec<Transition, 2>, transition: Transition) {
    let pushed = plan.push(transition).is_ok();
    debug_assert!(pushed, "a plan has at most two transitions");
}

/// The lowest sequence number above `top` that names `slot`.
fn next_seq(top: u32, slot: u8, slots: u8) -> Result<u32, Refused> {
    (1..=u32::from(slots))
        .filter_map(|step| top.checked_add(step))
        .find(|seq| {
            *seq != u32::MAX && seq.wrapping_sub(1).checked_rem(u32::from(slots)) == Some(u32::from(slot))
        })
        .ok_or(Refused::SequenceExhausted)
}

const fn offset_of(otadata: Partition, sector: Sector) -> u32 {
    otadata.offset + (sector as u32) * SECTOR_BYTES as u32
}

/// Makes one transition: one erase, one write of the whole entry, and a look at what is there now.
pub fn apply<F: NorFlash>(flash: &mut F, otadata: Partition, transition: &Transition) -> Result<(), Fault> {
    let offset = offset_of(otadata, transition.sector);
    let bytes = transition.entry.to_bytes();
    // Cut before: nothing happened, the bootloader chooses as it did at the last boot.
    // Cut during: the sector holds rubbish. Its entry is unusable, or is still the old one; should bits fall so
    //   that the crc over seq holds, it is the old seq with another state. The other sector is untouched.
    // Cut after: the sector's entry is gone and the other one decides. For `select` that one names the running
    //   slot; for `confirm` and `reject` it names the slot that ran before, whose image was not touched since.
    flash::erase(flash, offset)?;
    // Cut before: as after the erase.
    // Cut during: seq comes first and crc last, so a torn entry has a wrong crc and is unusable. Seq, state and
    //   crc are one write: there is no moment at which a new slot is selected without its state being NEW.
    // Cut after: the transition is made.
    flash::write(flash, offset, &bytes)?;
    let mut found = [0; ENTRY_BYTES];
    flash::read(flash, offset, &mut found)?;
    if found == bytes {
        Ok(())
    } else {
        Err(Fault { operation: Operation::ReadBack, offset, kind: NorFlashErrorKind::Other })
    }
}

#[cfg(test)]
mod tests;
