//! Whatever lies where the record is kept, in the partition or in the port's store, it opens; what was read is kept as it was.
#![no_main]

use libfuzzer_sys::fuzz_target;
use updraft_agent::Keeper;
use updraft_agent::partition::Table;
use updraft_fuzz::{Device, UPDRAFT_AT, put, tagged};

fuzz_target!(|bytes: &[u8]| {
    // As it is; as a record that checks out; as one in each place.
    let half = bytes.len() / 2;
    let (first, second) = (tagged(&bytes[..half]), tagged(&bytes[half..]));
    for content in [bytes.to_vec(), tagged(bytes).to_vec(), [first, second].concat()] {
        for with_partition in [true, false] {
            let mut device = Device::new(with_partition);
            if with_partition {
                put(&mut device.flash, UPDRAFT_AT, &content);
            } else {
                let mut store = [0; updraft_agent::RECORD_BYTES];
                put(&mut store, 0, &content);
                device.store = Some(store);
            }
            let table = Table::read(&mut device).expect("the table is a good one");
            let (mut keeper, record) = Keeper::open(&mut device, &table).expect("the flash answers");
            keeper.store(&mut device, &record).expect("the flash takes it");
            let (_, again) = Keeper::open(&mut device, &table).expect("the flash answers");
            assert_eq!(record, again);
        }
    }
});
