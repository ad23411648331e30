//! otadata: two 4 KiB sectors with a 32-byte entry each, from which the bootloader chooses the slot.
//!
//! Owned here: what an entry means, which slot the bootloader will choose, and the three transitions an
//! application makes (select, confirm, reject), each as one erase and one write. Refused: confirming a slot
//! that is not running. The sector to write is found from the *running* slot, never from "the other one", so
//! the entry that names the running slot outlives every cut of a `select`.

use core::fmt;

use embedded_storage::nor_flash::{NorFlash, NorFlashErrorKind, ReadNorFlash};
use heapless::Vec;

use crate::bytes::{are_equal, part, put, word};
use crate::flash::{self, Fault, Operation, SECTOR_BYTES};
use crate::partition::Partition;
use crate::sentences::Says;

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
    /// The image's state. Not covered by the crc: a corrupt state goes unseen.
    pub state: State,
    /// As found; [`Entry::is_usable`] compares.
    pub crc: u32,
}

impl Entry {
    /// A well-formed entry.
    #[inline(never)]
    pub const fn new(seq: u32, state: State) -> Self {
        Self { seq, label: [0xFF; 20], state, crc: crc_of(seq) }
    }

    /// Reads any 32 bytes; whatever they hold is an entry, usable or not.
    #[inline(never)]
    pub fn parse(bytes: &[u8; ENTRY_BYTES]) -> Self {
        let mut label = [0; 20];
        put(&mut label, 0, part(bytes, 4, 20));
        let state = State::from_word(word(bytes, 24));
        Self { seq: word(bytes, 0), label, state, crc: word(bytes, 28) }
    }

    /// The 32 bytes on flash.
    pub fn to_bytes(self) -> [u8; ENTRY_BYTES] {
        let mut bytes = [0; ENTRY_BYTES];
        put(&mut bytes, 0, &self.seq.to_le_bytes());
        put(&mut bytes, 4, &self.label);
        put(&mut bytes, 24, &self.state.word().to_le_bytes());
        put(&mut bytes, 28, &self.crc.to_le_bytes());
        bytes
    }

    /// Whether the bootloader would consider it: written, its crc right, neither INVALID nor ABORTED.
    pub fn is_usable(&self) -> bool {
        self.is_intact() && !matches!(self.state, State::Invalid | State::Aborted)
    }

    /// Whether its seq was written and is not corrupt.
    #[inline(never)]
    fn is_intact(&self) -> bool {
        self.seq != u32::MAX && self.crc == crc_of(self.seq)
    }

    /// The slot it names, of `slots`.
    pub fn slot(&self, slots: u8) -> u8 {
        // Below `slots`, which is a u8.
        self.seq.wrapping_sub(1).checked_rem(u32::from(slots)).unwrap_or(0) as u8
    }
}

/// `esp_rom_crc32_le(UINT32_MAX, &seq, 4)`: reflected CRC-32 with the register starting at 0.
#[inline(never)]
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

/// What must be written, in this order.
pub type Plan = Vec<Transition, 2>;

/// Why a transition was not made; nothing was written. Either it is not one to a slot beside the running one, or the entry
/// that is selected speaks of another image, or the sequence numbers are used up, as only damage can bring about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused(pub(crate) Says);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.words())
    }
}

impl core::error::Error for Refused {}

/// Both entries, as they are on flash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entries(pub [Entry; 2]);

impl Entries {
    /// Reads both; damage is not an error but an unusable entry.
    #[inline(never)]
    pub fn read<F: ReadNorFlash>(flash: &mut F, otadata: Partition) -> Result<Self, Fault> {
        let (mut first, mut second) = ([0; ENTRY_BYTES], [0; ENTRY_BYTES]);
        flash::read(flash, offset_of(otadata, Sector::First), &mut first)?;
        flash::read(flash, offset_of(otadata, Sector::Second), &mut second)?;
        Ok(Self([Entry::parse(&first), Entry::parse(&second)]))
    }

    /// The highest usable entry, of those that name a slot if one is given; of two equal ones the first, as ESP-IDF does.
    #[inline(never)]
    fn highest(&self, named: Option<u8>, slots: u8) -> Option<(Sector, &Entry)> {
        let mut best: Option<(Sector, &Entry)> = None;
        for (sector, entry) in Sector::BOTH.into_iter().zip(&self.0) {
            if entry.is_usable()
                && named.is_none_or(|slot| entry.slot(slots) == slot)
                && best.is_none_or(|(_, best)| entry.seq > best.seq)
            {
                best = Some((sector, entry));
            }
        }
        best
    }

    /// What the bootloader tries first; `None` means the factory app, or the slots from 0 up.
    pub fn selected(&self, slots: u8) -> Option<Selected> {
        let (sector, entry) = self.highest(None, slots)?;
        Some(Selected { sector, slot: entry.slot(slots), state: entry.state })
    }

    /// The state of the image in a slot as far as a usable entry names that slot.
    pub fn state_of(&self, slot: u8, slots: u8) -> Option<State> {
        self.highest(Some(slot), slots).map(|(_, entry)| entry.state)
    }

    /// The slot that ran before, and that a bootloader goes back to: the one that the best other usable entry names.
    pub(crate) fn slot_before(&self, running: Running, slots: u8) -> Option<u8> {
        let (first, second) = (&self.0[0], &self.0[1]);
        let is_other = |entry: &&Entry| entry.is_usable() && running != Running::Slot(entry.slot(slots));
        let newer_first = if second.seq > first.seq { [second, first] } else { [first, second] };
        newer_first.into_iter().find(is_other).map(|entry| entry.slot(slots))
    }

    /// The sectors whose entry says how what lay in `target` fared, and decides nothing: it is unusable, or the running slot
    /// is named by the other one with a higher number.
    pub(crate) fn stale(&self, running: Running, target: u8, slots: u8) -> [Option<Sector>; 2] {
        let decides = self.selected(slots).filter(|selected| running == Running::Slot(selected.slot));
        Sector::BOTH.map(|sector| {
            let entry = self.entry(sector);
            let is_of_target = entry.is_intact() && entry.slot(slots) == target;
            let is_news = entry.state == State::Aborted || entry.state.is_unconfirmed();
            let is_idle = !entry.is_usable() || decides.is_some_and(|selected| selected.sector != sector);
            Some(sector).filter(|_| is_of_target && is_news && is_idle)
        })
    }

    /// The state of any entry that names a slot, usable or not, if its seq is not corrupt.
    pub fn trace_of(&self, slot: u8, slots: u8) -> Option<State> {
        let mut best: Option<&Entry> = None;
        for entry in &self.0 {
            if entry.is_intact() && entry.slot(slots) == slot && best.is_none_or(|best| entry.seq > best.seq)
            {
                best = Some(entry);
            }
        }
        best.map(|entry| entry.state)
    }

    fn top(&self, slots: u8) -> u32 {
        self.highest(None, slots).map_or(0, |(_, entry)| entry.seq)
    }

    /// Plans an entry that names the running slot, and says where and with which number. An entry that names it already,
    /// else the one that is selected, stays for as long as the new one is not whole.
    fn keep(&self, plan: &mut Plan, slot: u8, slots: u8) -> Result<(Sector, u32), Refused> {
        let kept = self.highest(Some(slot), slots).or(self.highest(None, slots));
        let sector = kept.map_or(Sector::First, |(sector, _)| sector.other());
        let seq = next_seq(self.top(slots), slot, slots)?;
        push(plan, sector, seq, State::Valid);
        Ok((sector, seq))
    }

    /// What must be written to boot `target` once as NEW, in this order; the running slot stays named.
    #[inline(never)]
    pub fn plan_select(&self, running: Running, target: u8, slots: u8) -> Result<Plan, Refused> {
        if target >= slots || running == Running::Slot(target) {
            return Err(Refused(Says::NotATarget));
        }
        let mut plan = Vec::new();
        let mut top = self.top(slots);
        let sector = match running {
            // Without a usable entry, which `plan_keep` sees to, the factory app boots if the new image fails.
            Running::Factory => self.highest(None, slots).map_or(Sector::First, |(sector, _)| sector.other()),
            Running::Slot(running) => match self.highest(Some(running), slots) {
                Some((sector, entry)) if !entry.state.is_unconfirmed() => sector.other(),
                // Without an entry that names the running slot, and does not die at the next boot, a failed
                // update would fall back to whatever lies in the lowest slot. It runs, so VALID is the truth.
                _ => {
                    let (sector, seq) = self.keep(&mut plan, running, slots)?;
                    top = seq;
                    sector.other()
                }
            },
        };
        push(&mut plan, sector, next_seq(top, target, slots)?, State::New);
        Ok(plan)
    }

    /// What must be written, in this order, so that otadata selects what runs; nothing if it does.
    #[inline(never)]
    pub fn plan_keep(&self, running: Running, slots: u8) -> Result<Plan, Refused> {
        let mut plan = Vec::new();
        let selected = self.highest(None, slots);
        match running {
            // The factory app is what boots without a usable entry. The lower one first: without the higher one it
            // would select an image of long ago.
            Running::Factory => {
                if let Some((sector, entry)) = selected {
                    let lower = self.entry(sector.other());
                    if lower.is_usable() {
                        push(&mut plan, sector.other(), lower.seq, State::Invalid);
                    }
                    push(&mut plan, sector, entry.seq, State::Invalid);
                }
            }
            Running::Slot(slot) if selected.is_some_and(|(_, entry)| entry.slot(slots) == slot) => {}
            Running::Slot(slot) => {
                self.keep(&mut plan, slot, slots)?;
            }
        }
        Ok(plan)
    }

    /// What must be written to mark the running image VALID; `None` if it is so already.
    pub fn plan_confirm(&self, running: Running, slots: u8) -> Result<Option<Transition>, Refused> {
        let (sector, entry) = self.of_running(running, slots).ok_or(Refused(Says::NotRunning))?;
        let transition = || Transition { sector, entry: Entry::new(entry.seq, State::Valid) };
        Ok((entry.state != State::Valid).then(transition))
    }

    /// What must be written, in this order, so that `to` is chosen instead of the running image, which is INVALID then.
    ///
    /// Where the entry behind the running one's names `to` already, that it is INVALID is enough, and one write.
    #[inline(never)]
    pub fn plan_leave(&self, running: Running, to: Running, slots: u8) -> Result<Plan, Refused> {
        let mut plan = Vec::new();
        let of_running = self.of_running(running, slots);
        let next = match of_running {
            Some((sector, _)) => {
                Some((sector.other(), self.entry(sector.other()))).filter(|(_, entry)| entry.is_usable())
            }
            None => self.highest(None, slots),
        };
        match (to, next) {
            (Running::Slot(to), Some((_, entry)))
                if entry.slot(slots) == to && !entry.state.is_unconfirmed() => {}
            (Running::Slot(to), _) => {
                if to >= slots || running == Running::Slot(to) {
                    return Err(Refused(Says::NotATarget));
                }
                let sector = of_running.map_or(Sector::First, |(sector, _)| sector.other());
                push(&mut plan, sector, next_seq(self.top(slots), to, slots)?, State::Valid);
            }
            // Only without a usable entry the factory app is chosen; the running one goes last.
            (Running::Factory, Some((sector, entry))) => push(&mut plan, sector, entry.seq, State::Invalid),
            (Running::Factory, None) => {}
        }
        if let Some((sector, entry)) = of_running {
            push(&mut plan, sector, entry.seq, State::Invalid);
        }
        Ok(plan)
    }

    fn entry(&self, sector: Sector) -> &Entry {
        let Self([first, second]) = self;
        match sector {
            Sector::First => first,
            Sector::Second => second,
        }
    }

    /// The entry that is selected, if it names what runs.
    fn of_running(&self, running: Running, slots: u8) -> Option<(Sector, &Entry)> {
        self.highest(None, slots).filter(|(_, entry)| running == Running::Slot(entry.slot(slots)))
    }
}

#[inline(never)]
fn push(plan: &mut Plan, sector: Sector, seq: u32, state: State) {
    let pushed = plan.push(Transition { sector, entry: Entry::new(seq, state) }).is_ok();
    debug_assert!(pushed, "a plan has at most two transitions");
}

/// The lowest sequence number above `top` that names `slot`.
fn next_seq(top: u32, slot: u8, slots: u8) -> Result<u32, Refused> {
    let slots = u32::from(slots);
    // Sequence numbers that name a slot lie `slots` apart.
    let named = top.checked_rem(slots);
    let step = named.and_then(|named| (u32::from(slot) + slots - named).checked_rem(slots));
    let seq = step.and_then(|step| top.checked_add(step + 1)).filter(|seq| *seq != u32::MAX);
    seq.filter(|_| u32::from(slot) < slots).ok_or(Refused(Says::NoSequence))
}

const fn offset_of(otadata: Partition, sector: Sector) -> u32 {
    otadata.offset + (sector as u32) * SECTOR_BYTES as u32
}

#[inline(never)]
pub(crate) fn apply_all<F: NorFlash>(flash: &mut F, otadata: Partition, plan: &Plan) -> Result<(), Fault> {
    plan.iter().try_for_each(|transition| apply(flash, otadata, transition))
}

pub(crate) fn erase<F: NorFlash>(flash: &mut F, otadata: Partition, sector: Sector) -> Result<(), Fault> {
    flash::erase(flash, offset_of(otadata, sector))
}

/// Makes one transition: one erase, one write of the whole entry, and a look at what is there now.
#[inline(never)]
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
    if are_equal(&found, &bytes) {
        Ok(())
    } else {
        Err(Fault { operation: Operation::ReadBack, offset, kind: NorFlashErrorKind::Other })
    }
}

#[cfg(test)]
mod tests;
