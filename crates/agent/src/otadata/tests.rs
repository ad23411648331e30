use super::*;

const A: Running = Running::Slot(0);
const B: Running = Running::Slot(1);
const EMPTY: Entry = Entry { seq: u32::MAX, label: [0xFF; 20], state: State::Undefined, crc: u32::MAX };

fn entries(first: Entry, second: Entry) -> Entries {
    Entries([first, second])
}

fn after(mut entries: Entries, plan: &[Transition]) -> Entries {
    for transition in plan {
        entries.0[transition.sector as usize] = transition.entry;
    }
    entries
}

#[test]
fn the_crc_is_esp_idf_s() {
    assert_eq!(crc_of(1), 0x4743_989A);
    assert_eq!(crc_of(2), 0x55F6_3774);
}

#[test]
fn an_entry_survives_its_bytes() {
    for state in [State::New, State::PendingVerify, State::Valid, State::Aborted, State::Unknown(0x12345)] {
        let entry = Entry::new(7, state);
        assert_eq!(Entry::parse(&entry.to_bytes()), entry);
    }
}

#[test]
fn invalid_aborted_torn_and_empty_entries_select_nothing() {
    let mut torn = Entry::new(4, State::New);
    torn.crc ^= 1;
    for unusable in [EMPTY, torn, Entry::new(4, State::Invalid), Entry::new(4, State::Aborted)] {
        assert_eq!(entries(unusable, unusable).selected(2), None);
        let other = entries(Entry::new(1, State::Valid), unusable).selected(2).expect("the other entry");
        assert_eq!((other.sector, other.slot), (Sector::First, 0));
    }
}

#[test]
fn selecting_never_touches_the_entry_that_names_the_running_slot() {
    let before = entries(Entry::new(3, State::Valid), Entry::new(2, State::Valid));
    let plan = before.plan_select(A, 1, 2).expect("a plan");
    assert_eq!(plan, [Transition { sector: Sector::Second, entry: Entry::new(4, State::New) }]);
    let before = entries(Entry::new(3, State::Aborted), Entry::new(2, State::Valid));
    let plan = before.plan_select(B, 0, 2).expect("a plan");
    assert_eq!(plan, [Transition { sector: Sector::First, entry: Entry::new(3, State::New) }]);
}

#[test]
fn a_running_slot_without_an_entry_is_written_first() {
    for before in [entries(EMPTY, EMPTY), entries(Entry::new(1, State::Valid), EMPTY)] {
        let plan = before.plan_select(B, 0, 2).expect("a plan");
        assert_eq!(plan.len(), 2);
        let first = after(before, &plan[..1]);
        assert_eq!(first.selected(2).expect("usable").slot, 1, "a cut between boots what runs");
        let done = after(before, &plan);
        assert_eq!(done.selected(2).expect("usable").slot, 0);
        assert_eq!(done.state_of(1, 2), Some(State::Valid));
    }
}

#[test]
fn a_running_slot_whose_entry_would_be_aborted_is_written_first() {
    // B was selected and is broken, A runs instead, but its own entry says it was never confirmed.
    let before = entries(Entry::new(1, State::New), Entry::new(2, State::Valid));
    let plan = before.plan_select(A, 1, 2).expect("a plan");
    let done = after(before, &plan);
    assert_eq!(done.state_of(0, 2), Some(State::Valid));
    assert_eq!(done.selected(2).map(|s| (s.slot, s.state)), Some((1, State::New)));
}

#[test]
fn three_slots_never_lose_the_running_one() {
    let before = entries(Entry::new(2, State::Valid), Entry::new(3, State::Valid));
    // ota_1 runs although ota_2 is selected; the target is ota_0.
    let plan = before.plan_select(B, 0, 3).expect("a plan");
    let done = after(before, &plan);
    assert_eq!(done.state_of(1, 3), Some(State::Valid));
    assert_eq!(done.selected(3).map(|s| s.slot), Some(0));
}

#[test]
fn nothing_is_confirmed_that_does_not_run() {
    let before = entries(Entry::new(1, State::Valid), Entry::new(2, State::PendingVerify));
    assert_eq!(before.plan_confirm(A, 2), Err(Refused(Says::NotRunning)));
    assert_eq!(before.plan_confirm(Running::Factory, 2), Err(Refused(Says::NotRunning)));
    assert_eq!(before.plan_leave(A, A, 2), Err(Refused(Says::NotATarget)));
    let confirmed = before.plan_confirm(B, 2).expect("it runs").expect("a transition");
    assert_eq!(confirmed, Transition { sector: Sector::Second, entry: Entry::new(2, State::Valid) });
}

#[test]
fn corrupt_sequence_numbers_do_not_wrap() {
    let last = Entry::new(u32::MAX - 1, State::Valid);
    let before = entries(last, EMPTY);
    let running = last.slot(2);
    assert_eq!(before.plan_select(Running::Slot(running), 1 - running, 2), Err(Refused(Says::NoSequence)));
}

mod property {
    use proptest::prelude::*;

    use super::*;

    fn any_entry() -> impl Strategy<Value = Entry> {
        (prop_oneof![0..9_u32, Just(u32::MAX)], 0..7_u32, any::<bool>()).prop_map(|(seq, state, intact)| {
            let mut entry = Entry::new(seq, State::from_word(if state == 6 { u32::MAX } else { state }));
            entry.crc ^= u32::from(!intact);
            entry
        })
    }

    proptest! {
        #[test]
        fn invariant_every_cut_of_a_select_leaves_old_or_new(
            first in any_entry(), second in any_entry(), slots in 2..5_u8, running in 0..5_u8, target in 0..5_u8,
        ) {
            prop_assume!(running < slots && target < slots && running != target);
            let before = entries(first, second);
            let plan = before.plan_select(Running::Slot(running), target, slots).expect("low numbers");
            let named_before = before.state_of(running, slots).is_some_and(|state| !state.is_unconfirmed());
            let mut now = before;
            for transition in &plan {
                now.0[transition.sector as usize] = EMPTY;
                if named_before || transition != &plan[0] {
                    prop_assert!(now.state_of(running, slots).is_some(), "the running slot stays named");
                }
                now.0[transition.sector as usize] = transition.entry;
            }
            prop_assert_eq!(now.selected(slots).map(|s| (s.slot, s.state)), Some((target, State::New)));
            prop_assert!(now.state_of(running, slots).is_some_and(|state| !state.is_unconfirmed()));
        }
    }
}
