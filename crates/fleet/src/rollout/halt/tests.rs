extern crate std;
use alloc::vec::Vec;

use proptest::prelude::*;

use super::*;

fn fixed(failed: u32, min_count: u64) -> HaltAt {
    HaltAt::Fixed { failed: Percent::whole(failed), min_count }
}

fn code(halt_at: &HaltAt, ended: &[(u64, u64)]) -> Option<String> {
    halt_at.verdict("1.2.0", ended).map(|cause| cause.code.into())
}

#[test]
fn two_rates_are_told_apart_and_small_canaries_have_their_rule() {
    let test = HaltAt::default();
    for (ended, expected) in [
        (&[(0, 0)][..], None),
        (&[(0, 2)], None),
        (&[(0, 3)], Some("fails_everywhere")),
        (&[(1, 3)], Some("rollout_fails")),
        (&[(2, 3)], None),
        (&[(4, 4)], Some("rollout_fails")),
        (&[(90, 10)], None),
        (&[(88, 12)], Some("rollout_fails")),
        (&[(97, 3)], None),
        (&[(9_700, 300)], None),
        (&[(9_600, 400)], None),
        (&[(9_000, 1_000)], Some("rollout_fails")),
        // Begins to fail after many were well.
        (&[(5_000, 100), (0, 0), (85, 15)], Some("rollout_fails")),
        (&[(5_000, 100), (970, 30)], None),
        (&[(5_000, 100), (8, 2)], None),
        (&[], None),
    ] {
        assert_eq!(code(&test, ended).as_deref(), expected, "{ended:?}");
    }
}

#[test]
fn fixed_numbers_override_the_test() {
    for (halt_at, ended, expected) in [
        (fixed(5, 3), &[(57, 3)][..], true),
        (fixed(5, 3), &[(58, 3)], false),
        (fixed(5, 3), &[(0, 2)], false),
        (fixed(50, 1), &[(1, 1)], true),
        (fixed(50, 0), &[(0, 0)], false),
        (fixed(100, 1), &[(0, 1)], true),
        (fixed(100, 1), &[(1, 9)], false),
        (fixed(50, 10), &[(0, 9)], false),
        (fixed(20, 2), &[(4, 1), (4, 1)], true),
    ] {
        let expected = expected.then_some("failed_percent");
        assert_eq!(code(&halt_at, ended).as_deref(), expected, "{halt_at:?} {ended:?}");
    }
}

#[test]
fn the_sentence_has_the_numbers() {
    let sentence =
        |halt_at: &HaltAt, ended: &[(u64, u64)]| halt_at.verdict("1.2.0", ended).expect("halts").sentence();
    assert_eq!(
        sentence(&HaltAt::default(), &[(85, 15)]),
        "1.2.0 failed on 15 of the 100 devices that tried it (15.0 %): 3 % are tolerated, 10 % are not."
    );
    assert_eq!(sentence(&HaltAt::default(), &[(0, 3)]), "1.2.0 failed on all 3 devices that tried it.");
    assert_eq!(
        sentence(&fixed(5, 3), &[(27, 3)]),
        "1.2.0 failed on 3 of the 30 devices that tried it (10.0 %), and 5 % is the limit."
    );
}

proptest! {
    #[test]
    fn invariant_more_failures_never_undo_a_halt(
        ended in proptest::collection::vec((0_u64..500, 0_u64..50), 1..6),
        step in 0_usize..6,
        is_fixed in any::<bool>(),
    ) {
        let halt_at = if is_fixed { fixed(7, 4) } else { HaltAt::default() };
        let mut more: Vec<_> = ended.clone();
        let last = more.len() - 1;
        more[step.min(last)].1 += 1;
        prop_assert!(halt_at.verdict("1", &ended).is_none() || halt_at.verdict("1", &more).is_some());
    }
}
