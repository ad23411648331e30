//! Two or three cuts at random points in random stretches of a device's life: what was half repaired is cut again.
//!
//! A failure names its seed; `CUT_SEED=… cargo test -p updraft-virtual-device --test power_cut random` replays it, and
//! `CUT_ROUNDS=10` tries ten times as much.

use std::hash::{BuildHasher, RandomState};

use agent::EraseUnit;
use contract::Outcome;
use updraft_virtual_device::bootloader::Rollback;
use updraft_virtual_device::flash::{Cut, Moment, Tear};
use updraft_virtual_device::layout::Layout;

use crate::cuts::look_at_rest;
use crate::device::{CORRUPT, CRASHES, Kind, NEVER_ONLINE};
use crate::world::{DEAD_END, Rest, World};

const ROUNDS: u64 = 600;
/// Never offered before the end, so that nothing that happened counts against it.
const LAST: usize = 3;

/// What happens to a device.
#[derive(Debug, Clone, Copy)]
enum Step {
    Offer(usize),
    /// The server breaks off, and somebody pulls the plug.
    Lose(usize, u32),
    /// What runs crashes so often.
    Crash(u32),
    Move(&'static [u8]),
    Restart,
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % bound
    }

    fn moment(&mut self) -> Moment {
        match self.below(8) {
            0 => Moment::Before,
            1 => Moment::After,
            2 => Moment::During(Tear::FirstHalf),
            3 => Moment::During(Tear::SecondHalf),
            4 => Moment::During(Tear::Words(self.below(64) as usize)),
            _ => Moment::During(Tear::Bits { seed: self.below(u64::MAX) }),
        }
    }

    fn step(&mut self, kind: Kind) -> Step {
        match self.below(16) {
            0 | 1 => Step::Offer(NEVER_ONLINE),
            // Where the bootloader cannot roll back, such an image is the end of a device.
            2 if kind.rollback == Rollback::On => Step::Offer(CRASHES),
            3 => Step::Offer(CORRUPT),
            4 | 5 => Step::Lose(self.below(3) as usize, self.below(u64::from(kind.size_bytes)) as u32),
            6 | 7 => Step::Crash(1 + self.below(7) as u32),
            8 => Step::Move(if self.below(2) == 0 { DEAD_END } else { b"another broker" }),
            9 => Step::Restart,
            _ => Step::Offer(self.below(3) as usize),
        }
    }
}

fn kinds() -> Vec<Kind> {
    let (on, off) = (Kind::new(Rollback::On), Kind::new(Rollback::Off));
    let blocks = Kind { size_bytes: 80 * 1024, erase: EraseUnit::Block, ..on };
    vec![
        on,
        off,
        Kind { layout: Layout::ThreeSlots, ..on },
        Kind { layout: Layout::ThreeSlots, ..off },
        Kind { layout: Layout::TwoSlotsAndFactory, factory_app: true, ..on },
        Kind { layout: Layout::TwoSlotsAndFactory, factory_app: true, ..off },
        Kind { layout: Layout::WithoutUpdraft, ..on },
        Kind { layout: Layout::Bare, ..off },
        Kind { layout: Layout::TwoSlotsFlagged, encrypted: true, ..on },
        Kind { signed: true, ..off },
        blocks,
    ]
}

/// One step, to its quiet end.
fn take(world: &mut World, step: Step, before: Rest, what: &str) -> Rest {
    let offer = match step {
        Step::Offer(image) => Some(image),
        Step::Lose(image, bytes) => {
            world.lose_at = Some(bytes);
            Some(image)
        }
        Step::Crash(times) => {
            world.sick = vec![(before.image, times)];
            None
        }
        Step::Move(to) => {
            // Without a record there is no way back, and the agent refuses.
            world.move_to = Some(to).filter(|_| world.device.keeps_a_record());
            None
        }
        Step::Restart => None,
    };
    let rest = world.run(offer, what);
    (world.lose_at, world.move_to) = (None, None);
    world.sick.clear();
    rest
}

/// One device's life, with cuts; says how many there were.
fn round(base: &World, kind: Kind, seed: u64) -> u32 {
    let mut random = Random(seed);
    let steps: Vec<Step> = (0..3 + random.below(3)).map(|_| random.step(kind)).collect();
    let mut whole = base.fork(None);
    let start = whole.run(None, "uncut");
    let first = whole.flash.flash.operations();
    let mut rest = start;
    for step in &steps {
        rest = take(&mut whole, *step, rest, "uncut");
    }
    let length = whole.flash.flash.operations() - first + 1;
    let cut = Cut { operation: first + 1 + random.below(length), moment: random.moment() };
    let mut world = base.fork(Some(cut));
    world.then = (0..=random.below(2)).map(|_| (1 + random.below(length / 2 + 1), random.moment())).collect();
    let what = format!("seed {seed}, {}, {steps:?}: {cut:?}, {:?}", base.device.describe(), world.then);
    let mut rest = start;
    for step in steps {
        let before = rest;
        rest = take(&mut world, step, rest, &what);
        look_at_rest(base, &mut world, rest, &what);
        let brought = matches!(step, Step::Offer(image) if image == rest.image && image != before.image);
        if brought && base.device.keeps_a_record() {
            // The status itself may have been lost with the power; the report says it at every connect.
            assert_eq!(world.outcome(), Some(Outcome::Success), "{what}, {step:?}: {:?}", world.statuses);
        }
    }
    world.flash.flash.cut_at(None);
    world.then.clear();
    let rest = world.run(Some(LAST), &what);
    assert_eq!(rest.image, LAST, "{what}; {:?}", world.statuses);
    look_at_rest(base, &mut world, rest, &what);
    assert_eq!(world.statuses.last().map(|(outcome, _)| *outcome), Some(Outcome::Success), "{what}");
    assert_eq!(world.run(None, &what), rest, "{what}, restarted");
    world.cuts_seen
}

#[test]
fn no_two_or_three_cuts_at_random_brick_a_device() {
    let number = |name| {
        std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name}: no number")))
    };
    let seed = number("CUT_SEED").unwrap_or_else(|| RandomState::new().hash_one(0));
    let rounds = ROUNDS * number("CUT_ROUNDS").unwrap_or(1);
    println!("CUT_SEED={seed}, {rounds} rounds");
    let bases: Vec<(Kind, World)> = kinds().into_iter().map(|kind| (kind, kind.world())).collect();
    let mut cuts = 0;
    for nth in 0..rounds {
        // Round 0 is the seed itself, so that the seed that a failure names replays it at once.
        let seed = seed.wrapping_add(nth.wrapping_mul(0xD134_2543_DE82_EF95));
        let (kind, base) = &bases[(seed % bases.len() as u64) as usize];
        cuts += round(base, *kind, seed);
    }
    println!("{cuts} cuts tried in {rounds} rounds");
    assert!(u64::from(cuts) > rounds, "only {cuts} cuts tried");
}
