//! Where a device keeps its record, and what cuts leave of it: the agent's own partition, encrypted or not, and NVS.

use agent::partition::Table;
use agent::{Change, Connection, Connections, Keeper, Place, Record};
use updraft_virtual_device::flash::{Cut, Flash, Moment, SECTOR_BYTES, Tear};
use updraft_virtual_device::layout::{Layout, NVS_ALONE, UPDRAFT, write_layout};

fn flash(layout: Layout) -> Flash {
    let mut flash = Flash::in_memory();
    write_layout(&mut flash, layout).expect("a layout");
    flash
}

/// Every kind of device that keeps a record.
fn devices() -> [(&'static str, Flash); 4] {
    let (mut encrypted, mut flagged) = (flash(Layout::TwoSlots), flash(Layout::TwoSlotsFlagged));
    encrypted.encrypt(1).expect("a table");
    flagged.encrypt(2).expect("a table");
    [
        ("partition", flash(Layout::TwoSlots)),
        ("partition of a device with encryption", encrypted),
        ("encrypted partition", flagged),
        ("nvs", flash(Layout::WithoutUpdraft)),
    ]
}

fn open(flash: &mut Flash) -> (Keeper, Record) {
    let table = Table::read(flash).expect("a table");
    Keeper::open(flash, &table).expect("power")
}

fn nth(n: u32) -> Record {
    let mut record = Record::default();
    for image in n..n + 4 {
        record.confirm([image.to_le_bytes()[0]; 32]);
    }
    record
}

fn moved() -> Connections {
    let mut connections = Connections::default();
    let new = Connection::new(&[0xA5; 200]).expect("short enough");
    assert_eq!(connections.begin_move(new), Change::Reconnect);
    connections
}

fn moments(operation: u64) -> impl Iterator<Item = Moment> {
    let words = [0, 1, 2, 7, 8, 63].map(Tear::Words);
    let bits = [0, 1, 2].map(|n| Tear::Bits { seed: operation * 31 + n });
    let tears = [Tear::FirstHalf, Tear::SecondHalf].into_iter().chain(words).chain(bits);
    tears.map(Moment::During).chain([Moment::Before, Moment::After])
}

#[test]
fn each_layout_says_where_it_keeps_things() {
    for layout in Layout::ALL {
        let expected = match layout {
            Layout::WithoutUpdraft => Place::Adapter,
            Layout::Bare => Place::Nowhere,
            _ => Place::Partition,
        };
        assert_eq!(open(&mut flash(layout)).0.place(), expected, "{layout:?}");
    }
}

#[test]
fn every_cut_of_a_record_leaves_the_old_one_or_the_new_one_wherever_it_is_kept() {
    // So many records that each place and each sector is used.
    for ((name, mut flash), rounds) in devices().into_iter().zip([5, 5, 5, 12]) {
        let (mut keeper, record) = open(&mut flash);
        keeper.store_connections(&mut flash, &record, &moved()).expect("power");
        let mut cuts = 0;
        for n in 0..rounds {
            keeper.store(&mut flash, &nth(n)).expect("power");
            let first = flash.operations();
            let mut whole = flash.copy().expect("in memory");
            open(&mut whole).0.store(&mut whole, &nth(n + 1)).expect("power");
            assert!(whole.operations() > first, "{name}: nothing was written");
            for operation in first + 1..=whole.operations() {
                for moment in moments(operation) {
                    let mut torn = flash.copy().expect("in memory");
                    let (mut keeper, _) = open(&mut torn);
                    torn.cut_at(Some(Cut { operation, moment }));
                    assert!(keeper.store(&mut torn, &nth(n + 1)).is_err(), "the power is off");
                    torn.power_on();
                    cuts += 1;
                    let what = format!("{name}, record {n}, {operation}, {moment:?}");
                    let (mut keeper, found) = open(&mut torn);
                    assert!(found == nth(n) || found == nth(n + 1), "{what}: {found:?}");
                    assert_eq!(keeper.connections(&mut torn), Ok(moved()), "{what}");
                    keeper.store(&mut torn, &nth(n + 2)).unwrap_or_else(|_| panic!("{what}: no more room"));
                    let (keeper, found) = open(&mut torn);
                    assert_eq!((found, keeper.connections(&mut torn)), (nth(n + 2), Ok(moved())), "{what}");
                }
            }
        }
        println!("{name}: {cuts} cuts");
        assert!(cuts > 500, "{name}: {cuts} cuts");
    }
}

#[test]
fn a_thousand_records_wear_no_sector_out() {
    // Usual flash stands 100,000 erases; an update stores about six records.
    for ((name, mut flash), most) in devices().into_iter().zip([251, 251, 501, 251]) {
        let (mut keeper, _) = open(&mut flash);
        for n in 0..1_000 {
            keeper.store(&mut flash, &nth(n)).expect("power");
        }
        let places = [UPDRAFT, NVS_ALONE].map(|partition| {
            let sectors = partition.offset as usize / SECTOR_BYTES..partition.end() as usize / SECTOR_BYTES;
            sectors.map(|sector| flash.erases(sector)).max().unwrap_or(0)
        });
        let worn = places.into_iter().max().expect("two places");
        println!("{name}: {worn} erases");
        assert!((1..=most).contains(&worn), "{name}: {worn} erases of one sector");
    }
}
