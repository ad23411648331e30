use std::string::String as StdString;
use std::vec::Vec as StdVec;

use proptest::collection::vec;
use proptest::prelude::*;

use super::bytes::{Bytes, encode, encode_connections, sequence_of};
use super::*;
use crate::connection::{CONNECTION_MAX_BYTES, Change, Connection, Connections};

extern crate std;

fn decode(bytes: &Bytes) -> Option<Record> {
    let mut record = Record::new();
    bytes::decode(bytes, &mut record).map(|()| record)
}

fn decode_connections(bytes: &Bytes) -> Option<Connections> {
    let mut connections = Connections::default();
    bytes::decode_connections(bytes, &mut connections).map(|()| connections)
}

fn long_version() -> Version {
    StdString::from_iter(["1.0.0-", &"a".repeat(58)]).parse().expect("64 bytes")
}

fn full() -> Record {
    let mut record = Record {
        attempt: Some(Attempt {
            stage: Stage::Rejected,
            slot: 15,
            sha256: [7; 32],
            to: Some(long_version()),
            rearms: 255,
        }),
        last: Some(Last {
            to: Some(long_version()),
            result: Outcome::Failed,
            reason: Reason::new(&"r".repeat(300)),
        }),
        rollback: Some(true),
        trusted: Some(Trusted {
            keys: Vec::from_array([[9; 32]; KEPT]),
            required: 3,
            by: Some(long_version()),
        }),
        secure_version: u32::MAX,
        ..Record::default()
    };
    for byte in 0..6 {
        record.remember_version([byte; 32], long_version());
        record.count_failure([byte; 32]);
        record.confirm([byte; 32]);
    }
    record
}

fn full_connections() -> Connections {
    let mut connections = Connections::default();
    for byte in [1, 2] {
        let new = Connection::new(&[byte; CONNECTION_MAX_BYTES]).expect("256 bytes");
        assert_eq!(connections.begin_move(new), Change::Reconnect);
        if byte == 1 {
            assert_eq!(connections.confirmed(), Change::Store);
        }
    }
    connections
}

fn bytes_of(record: &Record, sequence: u32) -> Bytes {
    let mut bytes = [0xA5; RECORD_BYTES];
    encode_connections(&full_connections(), &mut bytes);
    encode(record, sequence, &mut bytes);
    bytes
}

/// Of a device that trusts no key any more.
fn nobody() -> Record {
    Record { trusted: Some(Trusted { keys: Vec::new(), required: 1, by: None }), ..Record::default() }
}

#[test]
fn the_largest_record_survives_its_bytes_and_leaves_the_connections_alone() {
    for record in [full(), Record::default(), nobody()] {
        let bytes = bytes_of(&record, 9);
        assert_eq!(sequence_of(&bytes), Some(9));
        assert_eq!(decode(&bytes), Some(record));
        assert_eq!(decode_connections(&bytes), Some(full_connections()));
    }
}

#[test]
fn a_record_fits_the_memory_of_small_devices() {
    assert!(size_of::<Record>() <= 1400, "{} bytes", size_of::<Record>());
}

#[test]
fn the_oldest_makes_room() {
    let record = full();
    assert_eq!((record.known.len(), record.confirmed.len()), (KEPT, KEPT));
    assert_eq!((record.failures_of(&[0; 32]), record.failures_of(&[5; 32])), (0, 1));
    assert_eq!((record.was_confirmed(&[0; 32]), record.was_confirmed(&[5; 32])), (false, true));
}

#[test]
fn an_image_confirmed_again_is_the_newest() {
    let mut record = full();
    record.confirm([2; 32]);
    assert_eq!(record.confirmed, [[3; 32], [4; 32], [5; 32], [2; 32]]);
}

#[test]
fn nobody_trusted_is_not_taken_for_everybody() {
    let found = decode(&bytes_of(&nobody(), 1)).expect("whole");
    assert_eq!(found.trusted, nobody().trusted);
    assert_eq!(decode(&bytes_of(&Record::default(), 1)).expect("whole").trusted, None);
}

#[test]
fn every_flipped_bit_voids_a_record() {
    let mut bytes = bytes_of(&full(), 1);
    for bit in 0..RECORD_BYTES * 8 {
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(sequence_of(&bytes), None, "bit {bit}");
        bytes[bit / 8] ^= 1 << (bit % 8);
    }
    assert!(decode(&bytes).is_some());
}

fn digest() -> impl Strategy<Value = [u8; 32]> {
    any::<[u8; 32]>()
}

fn version() -> impl Strategy<Value = Version> {
    prop_oneof![
        (any::<u16>(), any::<u16>()).prop_map(|(major, minor)| {
            std::format!("{major}.{minor}.0-rc.1+build").parse().expect("a version")
        }),
        Just(long_version()),
    ]
}

fn list<T: std::fmt::Debug>(item: impl Strategy<Value = T>) -> impl Strategy<Value = Vec<T, KEPT>> {
    vec(item, 0..=KEPT).prop_map(|items: StdVec<T>| items.into_iter().collect())
}

prop_compose! {
    fn attempt()(
        stage in prop_oneof![
            Just(Stage::Downloading), Just(Stage::Selected), Just(Stage::Booted), Just(Stage::Rejected)
        ],
        slot in any::<u8>(),
        sha256 in digest(),
        to in proptest::option::of(version()),
        rearms in any::<u8>(),
    ) -> Attempt {
        Attempt { stage, slot, sha256, to, rearms }
    }
}

prop_compose! {
    fn last()(
        to in proptest::option::of(version()),
        result in prop_oneof![Just(Outcome::Success), Just(Outcome::Failed)],
        reason in ".{0,300}",
    ) -> Last {
        Last { to, result, reason: Reason::new(&reason) }
    }
}

prop_compose! {
    fn trusted()(
        keys in list(digest()),
        required in any::<u8>(),
        by in proptest::option::of(version()),
    ) -> Trusted {
        Trusted { keys, required, by }
    }
}

prop_compose! {
    fn record()(
        attempt in proptest::option::of(attempt()),
        last in proptest::option::of(last()),
        known in list((digest(), version()).prop_map(|(sha256, version)| Known { sha256, version })),
        failures in list((digest(), any::<u8>()).prop_map(|(sha256, count)| Failures { sha256, count })),
        confirmed in list(digest()),
        trusted in proptest::option::of(trusted()),
        secure_version in any::<u32>(),
        rollback in any::<Option<bool>>(),
    ) -> Record {
        Record { attempt, last, known, failures, confirmed, trusted, secure_version, rollback }
    }
}

proptest! {
    #[test]
    fn every_record_survives_its_bytes(record in record(), sequence in any::<u32>()) {
        let bytes = bytes_of(&record, sequence);
        prop_assert_eq!(sequence_of(&bytes), Some(sequence));
        prop_assert_eq!(decode(&bytes), Some(record));
        prop_assert_eq!(decode_connections(&bytes), Some(full_connections()));
    }

    #[test]
    fn arbitrary_bytes_are_read_without_a_panic(bytes in vec(any::<u8>(), RECORD_BYTES)) {
        let bytes: Bytes = bytes.try_into().expect("as many");
        prop_assert_eq!(decode(&bytes), None);
    }

    /// Bytes of another program that happen to be whole: what they hold is checked all the same.
    #[test]
    fn whole_bytes_with_any_fields_are_read_without_a_panic(
        fields in vec(any::<u8>(), 0..600),
        small in vec(0_u8..5, 0..600),
        at in 8_usize..64,
    ) {
        for fields in [fields, small] {
            let mut bytes = bytes_of(&full(), 1);
            bytes[at..at + fields.len()].copy_from_slice(&fields);
            encode_connections(&Connections::default(), &mut bytes);
            if let Some(found) = decode(&bytes) {
                prop_assert_eq!(decode(&bytes_of(&found, 1)), Some(found));
            }
        }
    }
}

#[test]
fn a_record_of_an_older_agent_is_read() {
    // It ended with its keys.
    let keys = Vec::from_array([[9; 32]; KEPT]);
    let record = Record { trusted: Some(Trusted { keys, required: 0, by: None }), ..Record::default() };
    assert_eq!(decode(&bytes_of(&record, 1)), Some(record), "what it did not write is zeros");
}
