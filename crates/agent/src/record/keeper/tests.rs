use embedded_storage::nor_flash::{ErrorType, NorFlash, NorFlashError, NorFlashErrorKind};

use super::*;
use crate::connection::{Change, Connection};

extern crate std;
use std::vec;
use std::vec::Vec;

#[derive(Debug)]
struct Refused;

impl NorFlashError for Refused {
    fn kind(&self) -> NorFlashErrorKind {
        NorFlashErrorKind::Other
    }
}

/// Two sectors and, if wanted, a store of its own.
struct Device {
    flash: Vec<u8>,
    /// What erased flash reads as.
    erased: u8,
    erases: [u32; 2],
    /// Whether writes are lost without a word, as on worn flash.
    worn: bool,
    store: Option<[u8; RECORD_BYTES]>,
    /// Whether that store does not answer now.
    busy: bool,
}

impl Device {
    fn new() -> Self {
        Self {
            flash: vec![0xFF; 2 * SECTOR_BYTES],
            erased: 0xFF,
            erases: [0; 2],
            worn: false,
            store: None,
            busy: false,
        }
    }
}

impl ErrorType for Device {
    type Error = Refused;
}

impl ReadNorFlash for Device {
    const READ_SIZE: usize = 1;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), Refused> {
        bytes.copy_from_slice(&self.flash[offset as usize..][..bytes.len()]);
        Ok(())
    }

    fn capacity(&self) -> usize {
        self.flash.len()
    }
}

impl NorFlash for Device {
    const WRITE_SIZE: usize = 4;
    const ERASE_SIZE: usize = SECTOR_BYTES;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), Refused> {
        self.flash[from as usize..to as usize].fill(self.erased);
        self.erases[from as usize / SECTOR_BYTES] += 1;
        Ok(())
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Refused> {
        if !self.worn {
            self.flash[offset as usize..][..bytes.len()].copy_from_slice(bytes);
        }
        Ok(())
    }
}

impl Port for Device {
    fn load(&mut self, record: &mut [u8; RECORD_BYTES]) -> Result<(), NotKept> {
        *record = self.store.filter(|_| !self.busy).ok_or(NotKept)?;
        Ok(())
    }

    fn save(&mut self, record: &[u8; RECORD_BYTES]) -> Result<(), NotKept> {
        *self.store.as_mut().ok_or(NotKept)? = *record;
        Ok(())
    }
}

fn table(updraft_bytes: Option<u32>) -> Table {
    let somewhere = Partition { offset: 0, size_bytes: 0 };
    Table {
        otadata: somewhere,
        slots: heapless::Vec::new(),
        factory: None,
        nvs: None,
        updraft: updraft_bytes.map(|size_bytes| Partition { offset: 0, size_bytes }),
    }
}

fn nth(n: u8) -> Record {
    let mut record = Record::default();
    record.confirm([n; 32]);
    record
}

fn reopen(device: &mut Device, table: &Table) -> (Keeper, Record) {
    Keeper::open(device, table).expect("readable")
}

#[test]
fn a_partition_is_chosen_before_the_port_s_store_and_that_before_nowhere() {
    let mut device = Device { store: Some([0; RECORD_BYTES]), ..Device::new() };
    assert_eq!(reopen(&mut device, &table(Some(0x2000))).0.place(), Place::Partition);
    assert_eq!(
        reopen(&mut device, &table(Some(0x1000))).0.place(),
        Place::Adapter,
        "one sector is no journal"
    );
    assert_eq!(reopen(&mut device, &table(None)).0.place(), Place::Adapter);
    let (mut keeper, record) = reopen(&mut Device::new(), &table(None));
    assert_eq!((keeper.place(), record), (Place::Nowhere, Record::default()));
    assert_eq!(keeper.store(&mut Device::new(), &nth(1)), Err(NotKept));
}

#[test]
fn each_record_takes_the_place_of_the_one_before_wherever_it_is_kept() {
    for (updraft, erased) in [(Some(0x2000), 0xFF), (Some(0x2000), 0x5A), (None, 0xFF)] {
        let (mut device, table) = (Device { erased, ..Device::new() }, table(updraft));
        device.flash.fill(erased);
        device.store = Some([0; RECORD_BYTES]);
        for n in 1..20 {
            let (mut keeper, _) = reopen(&mut device, &table);
            keeper.store(&mut device, &nth(n)).expect("room");
            keeper.store(&mut device, &nth(n + 100)).expect("room");
            assert_eq!(reopen(&mut device, &table).1, nth(n + 100), "{updraft:?} {erased:#x}");
        }
    }
}

#[test]
fn an_erase_pays_for_two_records_unless_erased_flash_is_not_recognised() {
    for (erased, expected) in [(0xFF, 20), (0x5A, 40)] {
        let (mut device, table) = (Device { erased, ..Device::new() }, table(Some(0x2000)));
        let (mut keeper, _) = reopen(&mut device, &table);
        for n in 0..40 {
            keeper.store(&mut device, &nth(n)).expect("room");
        }
        let erases: u32 = device.erases.iter().sum();
        assert!(erases.abs_diff(expected) <= 1, "{erases}, erased flash reads {erased:#x}");
    }
}

#[test]
fn worn_flash_is_found_out_and_never_costs_the_record_that_holds() {
    let (mut device, table) = (Device::new(), table(Some(0x2000)));
    let (mut keeper, _) = reopen(&mut device, &table);
    keeper.store(&mut device, &nth(1)).expect("room");
    device.worn = true;
    for n in 2..9 {
        assert_eq!(keeper.store(&mut device, &nth(n)), Err(NotKept));
        assert_eq!(reopen(&mut device, &table).1, nth(1));
    }
    device.worn = false;
    keeper.store(&mut device, &nth(9)).expect("room");
    assert_eq!(reopen(&mut device, &table).1, nth(9));
}

#[test]
fn connections_outlive_the_records_that_are_stored_without_them() {
    let mut moved = Connections::default();
    assert_eq!(moved.begin_move(Connection::new(b"ssid, password").expect("short")), Change::Reconnect);
    for updraft in [Some(0x2000), None] {
        let (mut device, table) = (Device::new(), table(updraft));
        device.store = Some([0; RECORD_BYTES]);
        let (mut keeper, record) = reopen(&mut device, &table);
        assert_eq!(keeper.connections(&mut device), Ok(Connections::default()));
        keeper.store_connections(&mut device, &record, &moved).expect("room");
        for n in 0..7 {
            keeper.store(&mut device, &nth(n)).expect("room");
        }
        let (keeper, record) = reopen(&mut device, &table);
        assert_eq!((keeper.connections(&mut device), record), (Ok(moved.clone()), nth(6)));
    }
}

#[test]
fn connections_that_cannot_be_read_now_are_not_overwritten() {
    let mut moved = Connections::default();
    assert_eq!(moved.begin_move(Connection::new(b"ssid, password").expect("short")), Change::Reconnect);
    let (mut device, table) = (Device { store: Some([0; RECORD_BYTES]), ..Device::new() }, table(None));
    let (mut keeper, record) = reopen(&mut device, &table);
    keeper.store_connections(&mut device, &record, &moved).expect("room");
    device.busy = true;
    assert_eq!(keeper.connections(&mut device), Err(NotKept));
    assert_eq!(keeper.store(&mut device, &nth(1)), Err(NotKept));
    device.busy = false;
    assert_eq!(keeper.connections(&mut device), Ok(moved));
}
