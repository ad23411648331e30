use std::format;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

extern crate std;

fn of(name: &str) -> Connection {
    Connection::new(name.as_bytes()).expect("short")
}

fn moved(from: &str, to: &str) -> Connections {
    let mut connections = Connections { current: Some(of(from)), ..Connections::default() };
    assert_eq!(connections.begin_move(of(to)), Change::Reconnect);
    connections
}

#[test]
fn settings_that_reach_a_broker_stay_and_the_old_passwords_go() {
    let mut connections = moved("old", "new");
    assert_eq!((connections.current(), connections.previous()), (Some(&of("new")), Some(&of("old"))));
    assert_eq!(connections.confirmed(), Change::Store);
    assert_eq!((connections.current(), connections.previous()), (Some(&of("new")), None));
    assert_eq!(connections.confirmed(), Change::Nothing, "every later connect");
    assert_eq!(connections.returned(), Change::Nothing, "there is no way back any more");
    assert_eq!(connections.current(), Some(&of("new")));
}

#[test]
fn settings_that_do_not_work_give_way_to_the_previous_ones() {
    let mut connections = moved("old", "new");
    assert_eq!(connections.returned(), Change::Reconnect);
    assert_eq!((connections.current(), connections.previous()), (Some(&of("old")), None));
    assert!(!connections.is_on_trial());
}

#[test]
fn a_device_that_never_moved_returns_to_what_it_came_with() {
    let mut connections = Connections::default();
    assert_eq!(connections.begin_move(of("new")), Change::Reconnect);
    assert_eq!(connections.returned(), Change::Reconnect);
    assert_eq!(connections, Connections::default());
}

#[test]
fn restarts_use_a_trial_up() {
    let mut connections = moved("old", "new");
    for _ in 1..TRIAL_BOOTS {
        assert_eq!(connections.booted(), Change::Store);
        assert_eq!(connections.current(), Some(&of("new")));
        assert!(connections.is_on_trial());
    }
    assert_eq!(connections.booted(), Change::Reconnect);
    assert_eq!(connections.current(), Some(&of("old")));
    assert_eq!(connections.booted(), Change::Nothing);
}

#[test]
fn a_second_move_in_a_trial_still_leads_back_to_what_worked() {
    let mut connections = moved("old", "new");
    assert_eq!(connections.booted(), Change::Store);
    assert_eq!(connections.begin_move(of("newer")), Change::Reconnect);
    assert_eq!((connections.current(), connections.previous()), (Some(&of("newer")), Some(&of("old"))));
}

#[test]
fn the_same_move_sent_twice_neither_prolongs_nor_repeats_a_trial() {
    let mut connections = moved("old", "new");
    assert_eq!(connections.booted(), Change::Store);
    let before = connections.clone();
    assert_eq!(connections.begin_move(of("new")), Change::Nothing);
    assert_eq!(connections, before);
    assert_eq!(connections.begin_move(of("old")), Change::Reconnect, "the way back is no trial");
    assert!(!connections.is_on_trial());
    assert_eq!(connections.begin_move(of("old")), Change::Nothing);
}

#[test]
fn no_password_is_ever_printed() {
    let connections = moved("hunter2", "hunter3");
    let printed = format!("{connections:?} {:?}", connections.current());
    assert!(!printed.contains("hunter") && !printed.contains("104"), "{printed}");
}

#[test]
fn settings_that_are_none_are_refused() {
    assert_eq!(Connection::new(&[]), Err(InvalidConnection));
    assert_eq!(Connection::new(&[1; CONNECTION_MAX_BYTES + 1]), Err(InvalidConnection));
    assert_eq!(Connection::new(&[1; CONNECTION_MAX_BYTES]).map(|whole| whole.bytes().len()), Ok(256));
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Move(u8),
    Boot,
    Confirm,
    Return,
    /// The power goes before the record of the step after this one is stored.
    Cut,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (1_u8..4).prop_map(Step::Move),
        Just(Step::Boot),
        Just(Step::Confirm),
        Just(Step::Return),
        Just(Step::Cut),
    ]
}

fn read(bytes: &[u8; CONNECTIONS_BYTES]) -> Option<Connections> {
    let mut found = Connections::default();
    found.read(bytes).map(|()| found)
}

proptest! {
    /// Whatever happens, in whatever order and wherever it is cut: what counts is on trial with a bounded number of
    /// boots, or is what last reached a broker, or what the device came with.
    #[test]
    fn invariant_what_counts_worked_once_or_is_on_a_bounded_trial(steps in vec(step(), 0..40)) {
        let mut connections = Connections::default();
        let mut worked: Option<Connection> = None;
        let (mut boots, mut cut) = (0, false);
        for step in steps {
            let mut next = connections.clone();
            let change = match step {
                Step::Move(name) => next.begin_move(Connection::new(&[name]).expect("short")),
                Step::Boot => next.booted(),
                Step::Confirm => next.confirmed(),
                Step::Return => next.returned(),
                Step::Cut => { cut = true; continue }
            };
            prop_assert_eq!(change == Change::Nothing, next == connections);
            if core::mem::take(&mut cut) {
                continue;
            }
            boots = match step {
                Step::Boot if next.is_on_trial() => boots + 1,
                Step::Move(_) if change == Change::Reconnect => 0,
                _ => boots,
            };
            if change == Change::Store && matches!(step, Step::Confirm) {
                worked = next.current().cloned();
            }
            connections = next;
            if connections.is_on_trial() {
                prop_assert_eq!(connections.previous(), worked.as_ref());
                prop_assert!(boots < TRIAL_BOOTS);
            } else {
                prop_assert_eq!(connections.current(), worked.as_ref());
                prop_assert_eq!(connections.previous(), None);
            }
        }
    }

    #[test]
    fn every_state_survives_its_bytes(
        current in vec(any::<u8>(), 0..=CONNECTION_MAX_BYTES),
        previous in vec(any::<u8>(), 0..=CONNECTION_MAX_BYTES),
        boots in 0..=TRIAL_BOOTS,
    ) {
        let (current, previous) = (Connection::new(&current).ok(), Connection::new(&previous).ok());
        let connections = Connections { current, previous, boots };
        let mut bytes = [0xA5; CONNECTIONS_BYTES];
        connections.write(&mut bytes);
        prop_assert_eq!(read(&bytes), Some(connections));
    }

    #[test]
    fn arbitrary_bytes_are_read_without_a_panic(bytes in vec(any::<u8>(), CONNECTIONS_BYTES)) {
        let bytes = bytes.try_into().expect("as many");
        if let Some(found) = read(&bytes) {
            prop_assert!(found.boots <= TRIAL_BOOTS);
        }
    }
}
