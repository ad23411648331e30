//! Which device is in which step: an order that only the rollout and the devices' ids say.

use alloc::format;
use alloc::vec::Vec;

use contract::DeviceId;
use sha2::{Digest, Sha256};

use super::shape::Step;

/// Where a device comes in a rollout's order. Each rollout has another one, so that it is not always the same who goes first.
fn place(rollout: i64, device: &DeviceId) -> u64 {
    let digest = Sha256::digest(format!("{rollout} {device}"));
    digest.iter().take(8).fold(0, |place, byte| place << 8 | u64::from(*byte))
}

/// How many devices each step adds to those before it: up to step n there are exactly ceil(percent × devices / 100).
pub fn step_sizes(steps: &[Step], devices: u64) -> Vec<u64> {
    let mut before = 0;
    let size = |step: &Step| {
        let until = step.percent.of(devices);
        let size = until.saturating_sub(before);
        before = before.max(until);
        size
    };
    steps.iter().map(size).collect()
}

/// The devices with their steps, counted from 0. It depends on nothing but the set of them.
pub fn members(rollout: i64, steps: &[Step], devices: Vec<DeviceId>) -> Vec<(DeviceId, usize)> {
    let mut ordered: Vec<_> = devices.into_iter().map(|device| (place(rollout, &device), device)).collect();
    ordered.sort_unstable();
    ordered.dedup();
    let sizes = step_sizes(steps, ordered.len() as u64);
    let steps = sizes.iter().enumerate().flat_map(|(step, size)| (0..*size).map(move |_| step));
    ordered.into_iter().map(|(_, device)| device).zip(steps).collect()
}

#[cfg(test)]
mod tests {
    extern crate std;
    use alloc::collections::BTreeMap;
    use alloc::vec;

    use proptest::prelude::*;

    use super::*;
    use crate::rollout::Percent;

    fn steps(percents: &[f64]) -> Vec<Step> {
        let percent = |percent: &f64| Percent::try_from(*percent).expect("a percent");
        percents.iter().map(|one| Step { percent: percent(one), soak_s: 0 }).collect()
    }

    fn devices(count: u64) -> Vec<DeviceId> {
        (0..count).map(|n| format!("d{n}").parse().expect("an id")).collect()
    }

    #[test]
    fn steps_are_cumulative_and_rounded_up() {
        for (percents, devices, expected) in [
            (&[1.0, 10.0, 50.0, 100.0][..], 10_000, vec![100, 900, 4000, 5000]),
            (&[1.0, 10.0, 100.0], 3, vec![1, 0, 2]),
            (&[1.0, 100.0], 0, vec![0, 0]),
            (&[100.0], 7, vec![7]),
            (&[33.3333, 66.6666, 100.0], 3, vec![1, 1, 1]),
        ] {
            assert_eq!(step_sizes(&steps(percents), devices), expected, "{percents:?} of {devices}");
        }
    }

    #[test]
    fn each_rollout_begins_with_other_devices() {
        let first = |rollout| members(rollout, &steps(&[1.0, 100.0]), devices(1000))[..10].to_vec();
        assert_ne!(first(1), first(2));
        // Written down: it holds for rollouts that an older version began.
        let of_seven = members(7, &steps(&[50.0, 100.0]), devices(5));
        let of_seven: Vec<_> = of_seven.iter().map(|(id, step)| format!("{id} {step}")).collect();
        assert_eq!(of_seven, ["d3 0", "d0 0", "d1 0", "d4 1", "d2 1"]);
    }

    proptest! {
        #[test]
        fn invariant_membership_is_stable_and_no_step_has_more_than_its_percent(
            count in 0_u64..400,
            percents in proptest::collection::btree_set(1_u32..100, 0..5),
            rollout in 0_i64..9,
        ) {
            let mut percents: Vec<f64> = percents.into_iter().map(f64::from).collect();
            percents.push(100.0);
            let steps = steps(&percents);
            let one = members(rollout, &steps, devices(count));
            let mut reversed = devices(count);
            reversed.reverse();
            prop_assert_eq!(&one, &members(rollout, &steps, reversed));
            prop_assert_eq!(one.len() as u64, count);
            let mut sizes = BTreeMap::<usize, u64>::new();
            for (_, step) in &one {
                *sizes.entry(*step).or_default() += 1;
            }
            let mut until = 0;
            for (n, step) in steps.iter().enumerate() {
                until += sizes.get(&n).copied().unwrap_or_default();
                prop_assert_eq!(until, step.percent.of(count));
            }
        }
    }
}
