//! Two cuts at random points: what was half repaired is cut again.
//!
//! A failure names its seed; `CUT_SEED=… cargo test -p updraft-virtual-device --test power_cut random` replays it.

use std::hash::{BuildHasher, RandomState};

use image::Behaviour;
use updraft_virtual_device::bootloader::Rollback;
use updraft_virtual_device::flash::{Cut, Moment, Tear};

use crate::world::{World, image};

const ROUNDS: u64 = 150;

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
        match self.below(4) {
            0 => Moment::Before,
            1 => Moment::After,
            _ => Moment::During(Tear::Bits { seed: self.below(u64::MAX) }),
        }
    }
}

fn two_cuts(name: &str, base: &World, from: usize, to: usize, seed: u64) -> u32 {
    let end = if base.behaviour(to) == Behaviour::Healthy { to } else { from };
    let first = base.flash.operations();
    let mut whole = base.fork(Cut { operation: u64::MAX, moment: Moment::Before });
    whole.run(Some(to), name);
    let length = whole.flash.operations() - first;
    let mut cuts = 0;
    for round in 0..ROUNDS {
        let mut random = Random(seed ^ round.wrapping_mul(0xD134_2543_DE82_EF95));
        let cut = Cut { operation: first + 1 + random.below(length), moment: random.moment() };
        let then = (1 + random.below(length), random.moment());
        let what = format!("{name}, {:?}, seed {seed}, round {round}: {cut:?}, {then:?}", base.rollback);
        let mut world = base.fork(cut);
        world.then = Some(then);
        for _ in 0..2 {
            let rest = world.run(Some(to), &what);
            assert!(rest.image == from || rest.image == to, "{what}");
            assert!(!rest.state.is_unconfirmed(), "{what}: {:?} stays", rest.state);
        }
        cuts += world.cuts_seen;
        world.flash.cut_at(None);
        let rest = world.run(Some(to), &what);
        assert_eq!(rest.image, end, "{what}; {:?}", world.statuses);
        let again = world.run(None, &what);
        assert_eq!((again.image, again.running), (rest.image, rest.running), "{what}, restarted");
    }
    cuts
}

#[test]
fn no_two_cuts_at_random_brick_a_device() {
    let seed = match std::env::var("CUT_SEED") {
        Ok(seed) => seed.parse().expect("CUT_SEED is a number"),
        Err(_) => RandomState::new().hash_one(0),
    };
    println!("CUT_SEED={seed}");
    let images = vec![
        image("1.0.0", Behaviour::Healthy),
        image("1.1.0", Behaviour::Healthy),
        image("1.2.0", Behaviour::Healthy),
        image("1.3.0", Behaviour::CrashesAtBoot),
        image("1.4.0", Behaviour::NeverReachesNetwork),
    ];
    let mut cuts = 0;
    for rollback in [Rollback::On, Rollback::Off] {
        let factory = World::with_factory_app(rollback, images.clone());
        cuts += two_cuts("first update of the factory app", &factory, 0, 1, seed);
        let mut world = World::new(rollback, images.clone());
        world.run(Some(1), "the first update");
        cuts += two_cuts("second update", &world, 1, 2, seed);
        cuts += two_cuts("update that fails its self-test", &world, 1, 4, seed);
        if rollback == Rollback::On {
            cuts += two_cuts("update that crashes", &world, 1, 3, seed);
        }
    }
    println!("{cuts} cuts tried");
    assert!(u64::from(cuts) > 7 * ROUNDS, "only {cuts} cuts tried");
}
