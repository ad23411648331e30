//! Flash that looks on: an agent that writes to the running slot, or to anything that is not its own, is found out at once.

use agent::otadata::Running;
use agent::partition::Partition;
use agent::{Encryption, NotKept, Port, RECORD_BYTES, RETAINED_BYTES};
use embedded_storage::nor_flash::{ErrorType, NorFlash, ReadNorFlash};
use updraft_virtual_device::flash::{CAPACITY_BYTES, Flash, FlashError, SECTOR_BYTES};
use updraft_virtual_device::layout::{FACTORY, Layout, OTADATA};

/// What an operation was for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Area {
    /// A slot's content; so far from its start.
    Slot(u32),
    /// The last sector of a slot, where bookmarks lie.
    Bookmark,
    /// By the agent or by the bootloader.
    Otadata,
    /// Wherever it is kept.
    Record,
}

/// Operations that belong together.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Logged {
    /// The first and the last.
    pub(crate) operations: (u64, u64),
    pub(crate) area: Area,
    pub(crate) is_erase: bool,
}

#[derive(Debug)]
pub(crate) struct Watched {
    pub(crate) flash: Flash,
    pub(crate) layout: Layout,
    /// What the agent runs from.
    pub(crate) running: Running,
    pub(crate) log: Vec<Logged>,
}

impl Watched {
    pub(crate) fn new(flash: Flash, layout: Layout) -> Self {
        Self { flash, layout, running: Running::Slot(0), log: Vec::new() }
    }

    pub(crate) fn copy(&self) -> Self {
        let flash = self.flash.copy().expect("in memory");
        Self { flash, log: Vec::new(), ..*self }
    }

    pub(crate) fn partition(&self, running: Running) -> Partition {
        match running {
            Running::Slot(slot) => self.layout.slots()[usize::from(slot)],
            Running::Factory => FACTORY,
        }
    }

    /// What a stretch of flash is to the agent; a panic if it is nothing of its own.
    fn area(&self, offset: u32, length: usize) -> Area {
        let end = offset + u32::try_from(length).expect("short");
        let within = |partition: &Partition| partition.offset <= offset && end <= partition.end();
        let of_record = |updraft: Partition| Partition { size_bytes: 2 * SECTOR_BYTES as u32, ..updraft };
        if within(&OTADATA) {
            return Area::Otadata;
        }
        if self.layout.updraft().map(of_record).as_ref().is_some_and(within) {
            return Area::Record;
        }
        let slot = self.layout.slots().iter().find(|slot| within(slot));
        let slot = slot.unwrap_or_else(|| panic!("{offset:#x} is not the agent's to write to"));
        assert_ne!(*slot, self.partition(self.running), "{offset:#x} lies in the running slot");
        let bookmarks = slot.end() - SECTOR_BYTES as u32;
        if offset >= bookmarks { Area::Bookmark } else { Area::Slot(offset - slot.offset) }
    }

    fn note<T>(&mut self, area: Area, is_erase: bool, act: impl FnOnce(&mut Flash) -> T) -> T {
        let before = self.flash.operations();
        let done = act(&mut self.flash);
        let operations = (before + 1, self.flash.operations());
        self.log.push(Logged { operations, area, is_erase });
        done
    }

    /// All that no update may touch.
    pub(crate) fn untouchable(&mut self) -> Vec<u8> {
        let keeps_in_nvs = self.layout.updraft().is_none();
        let mut own = vec![OTADATA];
        own.extend(self.layout.slots());
        own.extend(self.layout.updraft());
        own.extend(self.layout.nvs().filter(|_| keeps_in_nvs));
        own.sort_by_key(|partition| partition.offset);
        own.push(Partition { offset: CAPACITY_BYTES as u32, size_bytes: 0 });
        let (mut at, mut found) = (0, Vec::new());
        for partition in own {
            let before = found.len();
            found.resize(before + (partition.offset - at) as usize, 0);
            self.flash.read(at, &mut found[before..]).expect("power");
            at = partition.end();
        }
        found
    }
}

impl ErrorType for Watched {
    type Error = FlashError;
}

impl ReadNorFlash for Watched {
    const READ_SIZE: usize = Flash::READ_SIZE;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), FlashError> {
        self.flash.read(offset, bytes)
    }

    fn capacity(&self) -> usize {
        self.flash.capacity()
    }
}

impl NorFlash for Watched {
    const WRITE_SIZE: usize = Flash::WRITE_SIZE;
    const ERASE_SIZE: usize = Flash::ERASE_SIZE;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), FlashError> {
        let area = self.area(from, (to - from) as usize);
        self.note(area, true, |flash| flash.erase(from, to))
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), FlashError> {
        let area = self.area(offset, bytes.len());
        self.note(area, false, |flash| flash.write(offset, bytes))
    }
}

impl Port for Watched {
    fn encryption(&self) -> Encryption {
        self.flash.encryption()
    }

    fn load(&mut self, record: &mut [u8; RECORD_BYTES]) -> Result<(), NotKept> {
        self.note(Area::Record, false, |flash| flash.load(record))
    }

    fn save(&mut self, record: &[u8; RECORD_BYTES]) -> Result<(), NotKept> {
        self.note(Area::Record, false, |flash| flash.save(record))
    }

    fn retained(&mut self) -> Option<&mut [u8; RETAINED_BYTES]> {
        self.flash.retained()
    }
}
