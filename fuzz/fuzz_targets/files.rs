//! No bytes that another program left in the bucket make a reader of its small files panic, and what was read is written back as
//! it was.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| updraft_store::testing::read_small_files(bytes));
