//! The promise itself: the power may go at any flash operation, before, in the middle of or after it, and the device
//! still boots a verified image, and ends on the new one, by itself or once it is triggered again.
//!
//! `device.rs`: what is cut; `world.rs`: what surrounds it; `watched.rs`: flash that sees each write; `cuts.rs`: every cut
//! and what must hold after it; here: what devices go through. `random.rs`: several cuts.
// Flash is smaller than 4 GiB: no offset or length is cut.
#![allow(clippy::cast_possible_truncation)]

mod cuts;
mod device;
mod random;
mod watched;
mod world;

use agent::EraseUnit;
use agent::otadata::{Entry, Running, State};
use cuts::{Count, Scenario};
use device::{CORRUPT, CRASHES, Kind, NEVER_ONLINE};
use updraft_virtual_device::bootloader::Rollback;
use updraft_virtual_device::flash::SECTOR_BYTES;
use updraft_virtual_device::layout::{Layout, OTADATA, program};
use world::{DEAD_END, World};

const BOTH: [Rollback; 2] = [Rollback::On, Rollback::Off];

/// Every cut of one offer to a device.
fn offer(name: &str, base: &World, from: usize, to: usize) -> Count {
    Scenario { name, base, offer: Some(to), images: (from, to), ends_by_itself: base.device.keeps_a_record() }
        .every_cut()
}

/// Every cut of an offer that leaves the device where it is.
fn bad_offer(name: &str, base: &World, from: usize, offer: usize) -> Count {
    Scenario { name, base, offer: Some(offer), images: (from, from), ends_by_itself: false }.every_cut()
}

/// Every cut of what a device does without being refused.
fn alone(name: &str, base: &World, from: usize, to: usize) -> Count {
    Scenario { name, base, offer: None, images: (from, to), ends_by_itself: false }.every_cut()
}

/// How many keys are trusted, and how many of them must have signed.
fn trusted(world: &mut World) -> (usize, u8) {
    world.record().trusted.map_or((0, 0), |trusted| (trusted.keys.len(), trusted.required))
}

fn finish(count: Count, floor: usize) {
    println!("{:6} cuts in all, {} left out in mid-download", count.cuts, count.left_out);
    assert!(count.cuts >= floor, "only {} cuts tried", count.cuts);
}

/// The usual life of a device.
fn life(kind: Kind) -> Count {
    let mut count = Count::default();
    let mut world = kind.world();
    count += offer("first update", &world, 0, 1);
    world.run(Some(1), "the first update");
    count += offer("second update", &world, 1, 2);
    count += bad_offer("an update that fails its self-test", &world, 1, NEVER_ONLINE);
    count += bad_offer("a damaged image", &world, 1, CORRUPT);
    if kind.rollback == Rollback::On {
        count += bad_offer("an update that crashes", &world, 1, CRASHES);
    }
    // As it is left by an update that failed.
    world.run(Some(NEVER_ONLINE), "an update that fails");
    world.finish();
    count += offer("update onto the slot of a failed one", &world, 1, 2);
    count
}

#[test]
fn no_cut_bricks_a_device_or_leaves_it_undecided() {
    let mut count = Count::default();
    for rollback in BOTH {
        count += life(Kind::new(rollback));
    }
    finish(count, 5_500);
}

#[test]
fn no_cut_bricks_a_device_of_another_layout() {
    let mut count = Count::default();
    for rollback in BOTH {
        let kind = Kind::new(rollback);
        for layout in [Layout::ThreeSlots, Layout::WithoutUpdraft, Layout::Bare] {
            let mut world = Kind { layout, ..kind }.world();
            count += offer("first update", &world, 0, 1);
            world.run(Some(1), "the first update");
            count += bad_offer("an update that fails its self-test", &world, 1, NEVER_ONLINE);
            count += offer("second update", &world, 1, 2);
        }
        let kind = Kind { layout: Layout::TwoSlotsAndFactory, ..kind };
        let mut world = Kind { factory_app: true, ..kind }.world();
        count += offer("first update of the factory app", &world, 0, 1);
        count += bad_offer("an update of the factory app that fails its self-test", &world, 0, NEVER_ONLINE);
        world.run(Some(1), "the first update");
        count += offer("second update beside a factory app", &world, 1, 2);
    }
    finish(count, 14_000);
}

#[test]
fn no_cut_bricks_an_encrypted_device() {
    let mut count = Count::default();
    for rollback in BOTH {
        for layout in [Layout::TwoSlots, Layout::TwoSlotsFlagged] {
            let mut world = Kind { layout, encrypted: true, ..Kind::new(rollback) }.world();
            count += offer("first update, encrypted", &world, 0, 1);
            world.run(Some(1), "the first update");
            count += offer("second update, encrypted", &world, 1, 2);
            count += bad_offer("an update that fails its self-test, encrypted", &world, 1, NEVER_ONLINE);
        }
    }
    finish(count, 8_000);
}

#[test]
fn no_cut_makes_a_device_run_what_nobody_signed() {
    let mut count = Count::default();
    for rollback in BOTH {
        let mut world = Kind { signed: true, ..Kind::new(rollback) }.world();
        count += offer("first update", &world, 0, 1);
        world.run(Some(1), "the first update");
        world.finish();
        assert_eq!((world.record().secure_version, trusted(&mut world)), (1, (2, 2)), "the floor, and trust");
        count += offer("second update", &world, 1, 2);
        count += bad_offer("an update that fails its self-test", &world, 1, NEVER_ONLINE);
        for (name, offered) in [
            ("an unsigned image", CORRUPT + 1),
            ("an image signed by one of two keys", CORRUPT + 2),
            ("a foreign signature beside a trusted one", CORRUPT + 3),
            ("signed code below the floor", 0),
        ] {
            let before = world.flash.flash.operations();
            let mut refused = world.fork(None);
            assert_eq!(refused.run(Some(offered), name).image, 1, "{name}");
            assert!(
                refused.statuses.iter().any(|(outcome, _)| *outcome == contract::Outcome::Failed),
                "{name}"
            );
            let first_write = refused.flash.log.first().map(|logged| logged.area);
            println!("{name}: {} operations, {first_write:?}", refused.flash.flash.operations() - before);
            count += bad_offer(name, &world, 1, offered);
        }
    }
    finish(count, 3_000);
}

#[test]
fn a_download_that_was_cut_short_goes_on() {
    let mut count = Count::default();
    for (rollback, erase) in [(Rollback::On, EraseUnit::Sector), (Rollback::Off, EraseUnit::Block)] {
        let kind = Kind { size_bytes: 150 * 1024, erase, ..Kind::new(rollback) };
        let mut world = kind.world();
        world.lose_at = Some(140 * 1024);
        let mut uncut = world.fork(None);
        uncut.run(Some(1), "a download that is lost");
        assert_eq!((uncut.downloads, uncut.resumed_at), (2, 128 * 1024), "it goes on from the last bookmark");
        count += offer("a download that is lost, with a restart", &world, 0, 1);
    }
    finish(count, 2_600);
}

#[test]
fn no_cut_of_large_erases_bricks_a_device() {
    let mut count = Count::default();
    for rollback in BOTH {
        let kind = Kind { size_bytes: 150 * 1024, erase: EraseUnit::Block, ..Kind::new(rollback) };
        let mut world = kind.world();
        world.run(Some(1), "the first update");
        count += offer("second update in blocks", &world, 1, 2);
    }
    finish(count, 2_000);
}

#[test]
fn a_broken_selected_slot_is_never_marked_valid() {
    let mut count = Count::default();
    for rollback in BOTH {
        let mut world = Kind::new(rollback).world();
        world.run(Some(1), "the first update");
        world.flash.flash.corrupt(world.flash.layout.slots()[1].offset + 5000, 1).expect("in bounds");
        let rest = world.run(None, "slot broken");
        assert_eq!(rest.running, Running::Slot(0));
        count += offer("update while otadata selects a broken slot", &world, 0, 1);
    }
    finish(count, 1_200);
}

#[test]
fn otadata_without_a_usable_entry_is_no_hindrance() {
    let mut count = Count::default();
    for rollback in BOTH {
        for layout in [Layout::TwoSlots, Layout::TwoSlotsAndFactory] {
            let factory_app = layout == Layout::TwoSlotsAndFactory;
            let mut world = Kind { layout, factory_app, ..Kind::new(rollback) }.world();
            for (seq, state) in [(3, State::Invalid), (2, State::Aborted)] {
                let sector = OTADATA.offset + if seq == 3 { 0 } else { SECTOR_BYTES as u32 };
                program(&mut world.flash.flash, sector, &Entry::new(seq, state).to_bytes()).expect("fits");
            }
            assert_eq!(world.run(None, "no usable entry").image, 0);
            count += offer("update while both entries are unusable", &world, 0, 1);
            count +=
                bad_offer("an update that fails, while both entries are unusable", &world, 0, NEVER_ONLINE);
        }
    }
    finish(count, 5_000);
}

#[test]
fn a_crash_loop_ends_on_the_image_before_wherever_it_is_cut() {
    let mut count = Count::default();
    for rollback in BOTH {
        let mut world = Kind::new(rollback).world();
        world.run(Some(1), "the first update");
        world.sick = vec![(1, 100)];
        world.finish();
        count += alone("a confirmed image that crashes", &world, 1, 0);
    }
    finish(count, 350);
}

#[test]
fn a_move_ends_on_settings_that_reach_the_broker_wherever_it_is_cut() {
    let mut count = Count::default();
    for rollback in BOTH {
        for (name, to) in [("a move to nowhere", DEAD_END), ("a move", &b"a broker that is there"[..])] {
            let mut world = Kind::new(rollback).world();
            world.move_to = Some(to);
            count += alone(name, &world, 0, 0);
        }
    }
    finish(count, 600);
}
