//! No bytes of a device panic the broker, fill its memory, or reach another device.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u8, &[u8])| {
    let (size, bytes) = input;
    updraft_broker::fuzz(bytes, size.into());
});
