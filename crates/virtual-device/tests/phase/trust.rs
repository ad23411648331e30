//! Trust, and no way back: keys, how many of them, and the lowest secure version, as the newest image set them up.

use agent::{Event, ResetReason, Settings};
use contract::{Code, Outcome};
use image::build::Build;
use image::signing::{append, sign};
use updraft_virtual_device::layout::SLOTS;

use crate::bench::{Bench, CHIP, settings};
use crate::tail::{DIGESTS, KEYS, offered, refused, signed, signed_bench, trusting};

/// An image of a version and a secure version, signed by these keys.
fn release(version: &str, secure_version: u32, keys: &[usize]) -> Vec<u8> {
    let build = Build { size_bytes: 20 * 1024, secure_version, ..Build::new(CHIP, version) };
    keys.iter().fold(build.bytes(), |image, key| append(&image, &KEYS[*key]).expect("room"))
}

/// Firmware that trusts these keys, and wants so many of them.
fn firmware(trusted_keys: &'static [[u8; 32]], signatures_required: u8) -> Settings {
    Settings { trusted_keys, signatures_required, ..settings() }
}

/// Updates to an image with other settings compiled in, and confirms it.
fn updated(mut bench: Bench, image: &[u8], settings: Settings) -> Bench {
    assert_eq!(offered(&mut bench, image), None, "it is taken");
    let mut bench = Bench::boot(bench.flash, settings);
    bench.tell(Event::Connected);
    bench.messages.clear();
    bench
}

/// What runs is lost, and the bootloader starts what ran before.
fn fallen_back(mut bench: Bench, settings: Settings) -> Bench {
    let running = bench.agent.report().expect("a version").slot.expect("a slot");
    let slot = if running == "ota_0" { 0 } else { 1 };
    bench.flash.corrupt(SLOTS[slot].offset + 5000, 1).expect("in bounds");
    let mut bench = Bench::boot(bench.flash, settings);
    bench.tell(Event::Connected);
    assert_ne!(bench.agent.report().expect("a version").slot.expect("a slot"), running);
    bench
}

fn failed(code: Code) -> Option<(Outcome, Option<Code>)> {
    Some((Outcome::Failed, Some(code)))
}

#[test]
fn old_signed_code_below_the_floor_is_refused_before_anything_is_erased() {
    let bench = signed_bench(trusting());
    let mut bench = updated(bench, &release("1.1.0", 1, &[0]), trusting());
    assert_eq!(refused(&mut bench, &signed("1.0.0", 0), "the old one"), Some(Code::SecureVersion));
    assert_eq!(
        refused(&mut bench, &release("2.0.0", 0, &[0]), "a higher version"),
        Some(Code::SecureVersion)
    );
    assert_eq!(offered(&mut bench, &release("1.0.5", 1, &[0])), None, "as high as the floor");
}

#[test]
fn the_floor_rises_only_with_what_was_confirmed() {
    let mut bench = signed_bench(trusting());
    assert_eq!(offered(&mut bench, &release("2.0.0", 9, &[0])), None);
    let mut bench = Bench::boot(bench.flash, trusting());
    assert_eq!(bench.agent.record().secure_version, 0, "on trial");
    bench.tell(Event::SelfTest(Err("no sensor")));
    let mut bench = bench.reboot(ResetReason::Software);
    bench.tell(Event::Connected);
    assert_eq!(bench.agent.record().secure_version, 0, "it failed");
    assert_eq!(offered(&mut bench, &release("1.1.0", 0, &[0])), None);
}

#[test]
fn the_floor_outlives_a_fall_back() {
    let bench = updated(signed_bench(trusting()), &release("2.0.0", 2, &[0]), trusting());
    let mut bench = fallen_back(bench, trusting());
    assert_eq!(
        bench.agent.version().map(contract::Version::as_str),
        Some("1.0.0"),
        "the bootloader's choice"
    );
    assert_eq!(refused(&mut bench, &release("2.1.0", 1, &[0]), "below the floor"), Some(Code::SecureVersion));
    assert_eq!(offered(&mut bench, &release("2.1.0", 2, &[0])), None);
}

#[test]
fn a_crash_loop_ends_on_no_image_below_the_floor() {
    let bench = updated(signed_bench(trusting()), &release("2.0.0", 2, &[0]), trusting());
    let mut bench = bench;
    for _ in 0..10 {
        bench = bench.reboot(ResetReason::Panic);
        assert!(!bench.restart, "there is nothing to go back to");
    }
    assert_eq!(bench.agent.version().map(contract::Version::as_str), Some("2.0.0"));
}

#[test]
fn so_many_keys_must_have_signed() {
    let both = || firmware(&DIGESTS[..2], 2);
    for (keys, outcome) in [
        (&[0][..], failed(Code::TooFewSignatures)),
        (&[1], failed(Code::TooFewSignatures)),
        (&[2], failed(Code::UntrustedKey)),
        (&[0, 2], failed(Code::TooFewSignatures)),
        (&[0, 1], None),
        (&[1, 2, 0], None),
    ] {
        let mut bench = signed_bench(both());
        assert_eq!(offered(&mut bench, &release("2.0.0", 0, keys)), outcome, "{keys:?}");
    }
    let mut bench = signed_bench(firmware(&DIGESTS[..], 3));
    assert_eq!(offered(&mut bench, &release("2.0.0", 0, &[0, 1])), failed(Code::TooFewSignatures));
    assert_eq!(offered(&mut bench, &release("2.0.0", 0, &[0, 1, 2])), None);
    // More than there are: nobody can sign so.
    let mut bench = signed_bench(firmware(&DIGESTS[..1], 2));
    assert_eq!(offered(&mut bench, &release("2.0.0", 0, &[0, 1, 2])), failed(Code::TooFewSignatures));
}

#[test]
fn a_key_that_signed_twice_counts_once() {
    let image = release("2.0.0", 0, &[]);
    let (first, second) = (sign(&image, &KEYS[0]).expect("sound"), sign(&image, &KEYS[0]).expect("sound"));
    let (mut twice, sector) = (first.clone(), first.len() - 4096);
    twice[sector + 1216..sector + 2432].copy_from_slice(&second[sector..sector + 1216]);
    let mut bench = signed_bench(firmware(&DIGESTS[..2], 2));
    assert_eq!(refused(&mut bench, &twice, "twice"), Some(Code::TooFewSignatures));
}

#[test]
fn trust_that_a_newer_image_set_up_outlives_a_fall_back() {
    // 1.0.0 trusts key 0. 2.0.0 trusts keys 1 and 2 and wants both: key 0 is revoked.
    let (old, new) = (firmware(&DIGESTS[..1], 1), firmware(&DIGESTS[1..], 2));
    let bench = updated(signed_bench(old.clone()), &release("2.0.0", 0, &[0, 1, 2]), new);
    let mut bench = fallen_back(bench, old);
    for (keys, code) in
        [(&[0][..], Code::UntrustedKey), (&[0, 1], Code::TooFewSignatures), (&[2], Code::TooFewSignatures)]
    {
        assert_eq!(refused(&mut bench, &release("2.1.0", 0, keys), "fallen back"), Some(code), "{keys:?}");
    }
    assert_eq!(offered(&mut bench, &release("2.1.0", 0, &[1, 2])), None, "those that the newer one trusts");
}

#[test]
fn an_older_image_brings_no_key_back_and_a_newer_one_may() {
    // 1.0.0 trusts keys 0 and 1, 2.0.0 only key 1.
    let (old, new) = (firmware(&DIGESTS[..2], 1), firmware(&DIGESTS[1..2], 1));
    let bench = updated(signed_bench(old.clone()), &release("2.0.0", 0, &[1]), new);
    // Older code, signed by a key that is still trusted, with both keys compiled in.
    let mut bench = updated(bench, &release("1.5.0", 0, &[1]), old.clone());
    assert_eq!(refused(&mut bench, &release("3.0.0", 0, &[0]), "revoked"), Some(Code::UntrustedKey));
    let mut bench = updated(bench, &release("3.0.0", 0, &[1]), old.clone());
    assert_eq!(offered(&mut bench, &release("4.0.0", 0, &[0])), None, "a newer image lists it again");
    // A higher secure version makes a lower version newer.
    let bench = updated(signed_bench(old.clone()), &release("2.0.0", 0, &[1]), firmware(&DIGESTS[1..2], 1));
    let mut bench = updated(bench, &release("1.6.0", 1, &[1]), old);
    assert_eq!(offered(&mut bench, &release("4.0.0", 1, &[0])), None);
}

#[test]
fn an_image_on_trial_changes_no_trust() {
    let (old, new) = (firmware(&DIGESTS[..1], 1), firmware(&DIGESTS[1..], 2));
    let mut bench = signed_bench(old.clone());
    assert_eq!(offered(&mut bench, &release("2.0.0", 0, &[0])), None);
    let mut bench = Bench::boot(bench.flash, new);
    bench.tell(Event::SelfTest(Err("no sensor")));
    let mut bench = Bench::boot(bench.flash, old);
    bench.tell(Event::Connected);
    assert_eq!(offered(&mut bench, &release("2.0.1", 0, &[0])), None);
}

#[test]
fn a_key_that_is_given_up_leaves_the_threshold_as_it_is() {
    let mut bench = signed_bench(firmware(&DIGESTS[..], 2));
    bench.agent.trust_only(&mut bench.flash, &DIGESTS[1..]).expect("kept");
    let mut bench = Bench::boot(bench.flash, firmware(&DIGESTS[..], 2));
    assert_eq!(refused(&mut bench, &release("2.0.0", 0, &[0, 1]), "one left"), Some(Code::TooFewSignatures));
    assert_eq!(offered(&mut bench, &release("2.0.0", 0, &[1, 2])), None);
    assert!(matches!(bench.agent.record().trusted, Some(ref trusted) if trusted.keys.len() == 2));
}
