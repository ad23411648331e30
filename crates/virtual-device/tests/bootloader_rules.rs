//! What the bootloader model does where the measured cases end: sleep, three slots, anti-rollback, encryption, cuts.

use agent::otadata::{Entry, Running, State};
use embedded_storage::nor_flash::ReadNorFlash;
use image::Chip;
use image::build::Build;
use updraft_virtual_device::bootloader::{Bootloader, NoBoot, Rollback, boot};
use updraft_virtual_device::flash::{Cut, Flash, Moment, Tear};
use updraft_virtual_device::layout::{FACTORY, Layout, OTADATA, program, write_layout};

const CHIP: Chip = Chip::Esp32C3;

fn image(secure_version: u32) -> Vec<u8> {
    let size_bytes = 8 * 1024;
    Build { secure_version, size_bytes, ..Build::new(CHIP, "1.0.0") }.bytes()
}

/// A good image in each slot, with these secure versions.
fn flash(layout: Layout, secure_versions: [u32; 3]) -> Flash {
    let mut flash = Flash::in_memory();
    write_layout(&mut flash, layout).expect("a layout");
    for (slot, version) in layout.slots().iter().zip(secure_versions) {
        program(&mut flash, slot.offset, &image(version)).expect("fits");
    }
    flash
}

fn select(flash: &mut Flash, sector: u32, seq: u32, state: State) {
    program(flash, OTADATA.offset + sector * 4096, &Entry::new(seq, state).to_bytes()).expect("fits");
}

fn entry(flash: &mut Flash, sector: u32) -> Entry {
    let mut bytes = [0; 32];
    flash.read(OTADATA.offset + sector * 4096, &mut bytes).expect("power");
    Entry::parse(&bytes)
}

fn run(flash: &mut Flash) -> Running {
    boot(flash, CHIP, Rollback::On).expect("something boots")
}

#[test]
fn a_wake_from_deep_sleep_ends_the_trial_of_an_unconfirmed_image() {
    let mut flash = flash(Layout::TwoSlots, [0; 3]);
    select(&mut flash, 0, 1, State::Valid);
    select(&mut flash, 1, 2, State::New);
    assert_eq!(run(&mut flash), Running::Slot(1));
    assert_eq!(entry(&mut flash, 1).state, State::PendingVerify);
    assert_eq!(run(&mut flash), Running::Slot(0), "it slept, and woke as the old image");
    assert_eq!(entry(&mut flash, 1).state, State::Aborted);
}

#[test]
fn with_three_slots_a_broken_one_leads_down_whatever_otadata_says_of_the_others() {
    let mut flash = flash(Layout::ThreeSlots, [0; 3]);
    let slots = Layout::ThreeSlots.slots();
    select(&mut flash, 0, 2, State::Aborted);
    select(&mut flash, 1, 3, State::Valid);
    assert_eq!(run(&mut flash), Running::Slot(2));
    flash.corrupt(slots[2].offset + 3000, 1).expect("in bounds");
    assert_eq!(run(&mut flash), Running::Slot(1), "an aborted image boots again");
    assert_eq!(entry(&mut flash, 1).state, State::Valid, "and the broken one is still selected");
    flash.corrupt(slots[1].offset + 3000, 1).expect("in bounds");
    assert_eq!(run(&mut flash), Running::Slot(0));
    flash.corrupt(slots[0].offset + 3000, 1).expect("in bounds");
    assert!(matches!(boot(&mut flash, CHIP, Rollback::On), Err(NoBoot::NoBootableApp)));
}

#[test]
fn with_three_slots_a_broken_lowest_one_leads_up() {
    let mut flash = flash(Layout::ThreeSlots, [0; 3]);
    select(&mut flash, 0, 4, State::Valid);
    flash.corrupt(Layout::ThreeSlots.slots()[0].offset + 3000, 1).expect("in bounds");
    assert_eq!(run(&mut flash), Running::Slot(1));
}

#[test]
fn an_image_below_the_secure_version_in_efuse_never_boots() {
    let mut flash = flash(Layout::TwoSlots, [1, 2, 0]);
    let mut bootloader = Bootloader { chip: CHIP, rollback: Rollback::On, secure_version: Some(1) };
    select(&mut flash, 0, 1, State::Valid);
    select(&mut flash, 1, 2, State::New);
    assert_eq!(bootloader.boot(&mut flash).expect("new"), Running::Slot(1));
    assert_eq!(bootloader.secure_version, Some(1), "on trial");
    assert_eq!(bootloader.boot(&mut flash).expect("rolled back"), Running::Slot(0));
    select(&mut flash, 1, 2, State::Valid);
    assert_eq!(bootloader.boot(&mut flash).expect("confirmed"), Running::Slot(1));
    assert_eq!(bootloader.secure_version, Some(2), "for good");
    select(&mut flash, 0, 3, State::New);
    assert_eq!(bootloader.boot(&mut flash).expect("the newer one"), Running::Slot(1));
    assert_eq!(entry(&mut flash, 0).state, State::New, "its entry is passed over");
    flash.corrupt(Layout::TwoSlots.slots()[1].offset + 3000, 1).expect("in bounds");
    assert!(matches!(bootloader.boot(&mut flash), Err(NoBoot::NoBootableApp)), "not even to save the device");
}

#[test]
fn a_first_boot_names_its_slot_unless_there_is_a_factory_app() {
    let mut two = flash(Layout::TwoSlots, [0; 3]);
    assert_eq!(run(&mut two), Running::Slot(0));
    assert_eq!(entry(&mut two, 0), Entry::new(1, State::Valid));
    let mut factory = flash(Layout::TwoSlotsAndFactory, [0; 3]);
    program(&mut factory, FACTORY.offset, &image(0)).expect("fits");
    let before = factory.operations();
    assert_eq!(run(&mut factory), Running::Factory);
    factory.corrupt(FACTORY.offset + 3000, 1).expect("in bounds");
    assert_eq!(run(&mut factory), Running::Slot(0));
    assert_eq!(factory.operations(), before, "and writes nothing");
}

#[test]
fn an_encrypted_device_boots_and_its_bootloader_writes_through_the_encryption() {
    for support in [true, false] {
        let mut flash = flash(Layout::TwoSlots, [0; 3]);
        select(&mut flash, 0, 1, State::Valid);
        select(&mut flash, 1, 2, State::New);
        if support {
            flash.encrypt(7).expect("a table");
        } else {
            flash.encrypt_without_support(7).expect("a table");
        }
        assert_eq!(run(&mut flash), Running::Slot(1));
        assert_eq!(entry(&mut flash, 1), Entry::new(2, State::PendingVerify));
        assert_eq!(run(&mut flash), Running::Slot(0));
        assert_eq!(entry(&mut flash, 1).state, State::Aborted);
    }
}

#[test]
fn no_tear_of_the_bootloader_s_own_writes_keeps_a_device_from_booting() {
    let words = (0..=8).map(Tear::Words);
    let bits = (0..20).map(|seed| Tear::Bits { seed });
    for tear in [Tear::FirstHalf, Tear::SecondHalf].into_iter().chain(words).chain(bits) {
        for (state, operation) in
            [(State::New, 1), (State::New, 2), (State::PendingVerify, 1), (State::PendingVerify, 2)]
        {
            let mut flash = flash(Layout::TwoSlots, [0; 3]);
            select(&mut flash, 0, 1, State::Valid);
            select(&mut flash, 1, 2, state);
            let operation = flash.operations() + operation;
            flash.cut_at(Some(Cut { operation, moment: Moment::During(tear) }));
            assert!(matches!(boot(&mut flash, CHIP, Rollback::On), Err(NoBoot::Flash(_))));
            flash.power_on();
            run(&mut flash);
            assert_eq!(run(&mut flash), Running::Slot(0), "{state:?}, {tear:?}: nobody confirmed the other");
        }
    }
}
