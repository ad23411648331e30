//! The promise itself: the power may go at any flash operation, before, in the middle of or after it, and the device
//! still boots a verified image, and ends on the new one once it is told again.

mod random;
mod world;

use agent::otadata::{Running, State};
use contract::Outcome;
use image::Behaviour;
use updraft_virtual_device::bootloader::Rollback;
use updraft_virtual_device::flash::{Cut, Moment, Tear};
use updraft_virtual_device::layout::SLOTS;
use world::{World, image};

/// Every cut of one update, from `base`; says how many.
fn every_cut(name: &str, base: &World, from: usize, to: usize) -> u32 {
    let end = if base.behaviour(to) == Behaviour::Healthy { to } else { from };
    let first = base.flash.operations();
    let mut whole = base.fork(Cut { operation: u64::MAX, moment: Moment::Before });
    let rest = whole.run(Some(to), name);
    assert_eq!(rest.image, end, "{name}: uncut");
    let last = whole.flash.operations();
    let mut cuts = 0;
    for operation in first + 1..=last {
        let seeds = [1, 2].map(|n| Moment::During(Tear::Bits { seed: operation * 31 + n }));
        for moment in [Moment::Before, seeds[0], seeds[1], Moment::After] {
            let what = format!("{name}, {:?}, operation {operation} of {last}, {moment:?}", base.rollback);
            let mut world = base.fork(Cut { operation, moment });
            let rest = world.run(Some(to), &what);
            assert_eq!(world.cuts_seen, 1, "{what}: the cut must have come");
            assert!(rest.image == from || rest.image == to, "{what}");
            assert!(!rest.state.is_unconfirmed(), "{what}: {:?} stays", rest.state);
            if rest.image == to && from != to {
                assert_eq!(rest.state, State::Valid, "{what}");
                assert_eq!(world.told(), Some(Outcome::Success), "{what}");
            }
            if rest.image == from && world.tried() {
                assert_eq!(world.told(), Some(Outcome::Failed), "{what}");
            }
            // Told again, with power that stays.
            let rest = world.run(Some(to), &what);
            assert_eq!(rest.image, end, "{what}, told again; {:?}", world.statuses);
            assert!(!rest.state.is_unconfirmed(), "{what}, told again");
            // And it stays there through a restart.
            let again = world.run(None, &what);
            assert_eq!((again.image, again.running), (rest.image, rest.running), "{what}, restarted");
            cuts += 1;
        }
    }
    cuts
}

#[test]
fn no_cut_bricks_a_device_or_leaves_it_undecided() {
    let images = vec![
        image("1.0.0", Behaviour::Healthy),
        image("1.1.0", Behaviour::Healthy),
        image("1.2.0", Behaviour::Healthy),
        image("1.3.0", Behaviour::CrashesAtBoot),
        image("1.4.0", Behaviour::NeverReachesNetwork),
    ];
    let mut cuts = 0;
    for rollback in [Rollback::On, Rollback::Off] {
        let mut world = World::new(rollback, images.clone());
        cuts += every_cut("first update of a fresh device", &world, 0, 1);
        world.run(Some(1), "the first update");
        cuts += every_cut("second update", &world, 1, 2);
        cuts += every_cut("update that fails its self-test", &world, 1, 4);
        if rollback == Rollback::On {
            cuts += every_cut("update that crashes", &world, 1, 3);
            world.run(Some(3), "an update that crashes");
            cuts += every_cut("update onto the slot of a failed one", &world, 1, 2);
        }
    }
    for rollback in [Rollback::On, Rollback::Off] {
        let world = World::with_factory_app(rollback, images.clone());
        cuts += every_cut("first update of the factory app", &world, 0, 1);
        cuts += every_cut("update of the factory app that fails its self-test", &world, 0, 4);
    }
    println!("{cuts} cuts tried");
    assert!(cuts > 1_000, "only {cuts} cuts tried");
}

#[test]
fn a_broken_selected_slot_is_never_marked_valid() {
    let images = vec![image("1.0.0", Behaviour::Healthy), image("1.1.0", Behaviour::Healthy)];
    for rollback in [Rollback::On, Rollback::Off] {
        let mut world = World::new(rollback, images.clone());
        world.run(Some(1), "the first update");
        world.flash.damage(SLOTS[1].offset + 5000, 1).expect("in bounds");
        let rest = world.run(None, "slot broken");
        assert_eq!(rest.running, Running::Slot(0));
        let cuts = every_cut("update while otadata selects a broken slot", &world, 0, 1);
        println!("{cuts} cuts tried");
    }
}
