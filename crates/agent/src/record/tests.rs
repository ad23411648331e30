use super::*;

extern crate std;
use std::string::String as StdString;

fn full() -> Record {
    let long: Version = StdString::from_iter(["1.0.0-", &"a".repeat(58)]).parse().expect("64 bytes");
    let mut record = Record {
        attempt: Some(Attempt { stage: Stage::Rejected, slot: 15, sha256: [7; 32], to: Some(long.clone()) }),
        last: Some(Last {
            to: Some(long.clone()),
            result: Outcome::Failed,
            reason: Reason::new(&"r".repeat(300)),
        }),
        rollback: Some(true),
        ..Record::default()
    };
    for byte in 0..6 {
        record.learn([byte; 32], long.clone());
        record.count_failure([byte; 32]);
    }
    record
}

#[test]
fn the_largest_record_survives_its_bytes() {
    let record = full();
    assert_eq!(Record::decode(&record.encode(9)), Some((9, record)));
    assert_eq!(Record::decode(&Record::default().encode(1)), Some((1, Record::default())));
}

#[test]
fn the_oldest_makes_room() {
    let record = full();
    assert_eq!(record.known.len(), KEPT);
    assert_eq!(record.failures_of(&[0; 32]), 0);
    assert_eq!(record.failures_of(&[5; 32]), 1);
}

#[test]
fn any_damage_voids_a_record() {
    let bytes = full().encode(1);
    for at in (0..RECORD_BYTES).step_by(7) {
        let mut damaged = bytes;
        damaged[at] ^= 0x10;
        assert_eq!(Record::decode(&damaged), None, "byte {at}");
    }
    assert_eq!(Record::decode(&[0xFF; RECORD_BYTES]), None);
}
