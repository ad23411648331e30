//! What is judged before anything is erased, and whose signatures count.

use std::sync::LazyLock;

use agent::{Agent, Event, Hardware, Phase, Settings, Trusted};
use contract::{Code, Lack, Outcome};
use image::Chip;
use image::build::Build;
use image::signature::Scheme;
use image::signing::{SigningKey, append, sign};
use updraft_virtual_device::flash::{CAPACITY_BYTES, Flash, SECTOR_BYTES};
use updraft_virtual_device::layout::{SLOTS, UPDRAFT, provision};

use crate::bench::{Bench, CHIP, image, settings};

pub(crate) static KEYS: LazyLock<[SigningKey; 3]> =
    LazyLock::new(|| [(); 3].map(|()| SigningKey::generate(Scheme::EcdsaP256).expect("randomness")));
pub(crate) static DIGESTS: LazyLock<[[u8; 32]; 3]> =
    LazyLock::new(|| KEYS.each_ref().map(|key| key.public().digest()));

/// Firmware that trusts the first two keys.
pub(crate) fn trusting() -> Settings {
    Settings { trusted_keys: &DIGESTS[..2], ..settings() }
}

/// A device whose first image is signed by the first key.
pub(crate) fn signed_bench(settings: Settings) -> Bench {
    let mut flash = Flash::in_memory();
    let first = signed("1.0.0", 0);
    let summary = image::verify(&first).expect("good");
    provision(&mut flash, &first, &summary, None).expect("fits");
    let mut bench = Bench::boot(flash, settings);
    bench.tell(Event::Connected);
    bench
}

pub(crate) fn signed(version: &str, key: usize) -> Vec<u8> {
    sign(&image(version), &KEYS[key]).expect("sound")
}

/// How often each sector outside the record was erased.
fn wear(flash: &Flash) -> Vec<u32> {
    let record = UPDRAFT.offset as usize / SECTOR_BYTES..UPDRAFT.end() as usize / SECTOR_BYTES;
    let sectors = (0..CAPACITY_BYTES / SECTOR_BYTES).filter(|sector| !record.contains(sector));
    sectors.map(|sector| flash.erases(sector)).collect()
}

/// Offers a file; how that ended, and the bytes of an image must not have been touched if it was refused.
pub(crate) fn offered(bench: &mut Bench, bytes: &[u8]) -> Option<(Outcome, Option<Code>)> {
    bench.update_to(bytes);
    if bench.restart { None } else { bench.outcome() }
}

/// The same, and it is refused at no more cost than a record.
pub(crate) fn refused(bench: &mut Bench, bytes: &[u8], what: &str) -> Option<Code> {
    let (before, operations) = (wear(&bench.flash), bench.flash.operations());
    let outcome = offered(bench, bytes).unwrap_or_else(|| panic!("{what}: taken"));
    assert_eq!(wear(&bench.flash), before, "{what}: something was erased");
    let record = 1 + agent::RECORD_BYTES as u64 / 256;
    assert!(bench.flash.operations() - operations <= record, "{what}: more was written than a record");
    assert_eq!(outcome.0, Outcome::Failed, "{what}");
    outcome.1
}

fn other(change: impl FnOnce(&mut Build)) -> Vec<u8> {
    let mut build = Build::new(CHIP, "2.0.0");
    build.size_bytes = 20 * 1024;
    change(&mut build);
    build.bytes()
}

#[test]
fn what_is_not_for_this_device_is_refused_before_anything_is_erased() {
    let too_large = vec![0xE9; SLOTS[1].size_bytes as usize + 4096];
    for (file, code) in [
        (other(|build| build.chip = Chip::Esp32C3), Code::WrongChip),
        (too_large, Code::TooLarge),
        (other(|build| build.project_name = "another".into()), Code::WrongProject),
        (other(|build| build.hash_appended = false), Code::Unprotected),
        (vec![0x7F; 20 * 1024], Code::NotAnImage),
        (Vec::new(), Code::NotAnImage),
    ] {
        let mut bench = Bench::new();
        bench.tell(Event::Connected);
        assert_eq!(refused(&mut bench, &file, code.as_str()), Some(code));
    }
}

#[test]
fn what_nobody_trusted_signed_is_refused_before_anything_is_erased() {
    let mut forged = signed("2.0.0", 0);
    let at = forged.len() - SECTOR_BYTES + 110;
    forged[at] ^= 1;
    // Whole blocks, of another image.
    let (mut moved, donor) = (signed("2.0.0", 0), signed("3.0.0", 0));
    let sector = moved.len() - SECTOR_BYTES;
    moved[sector..].copy_from_slice(&donor[donor.len() - SECTOR_BYTES..]);
    for (file, code) in [
        (image("2.0.0"), Code::Unsigned),
        (signed("2.0.0", 2), Code::UntrustedKey),
        (forged, Code::BadSignature),
    ] {
        let mut bench = signed_bench(trusting());
        assert_eq!(refused(&mut bench, &file, code.as_str()), Some(code));
        assert_eq!(bench.fetches, 1, "{code:?}: its end is enough");
    }
    let mut bench = signed_bench(trusting());
    let outcome = offered(&mut bench, &moved).expect("refused");
    assert_eq!(outcome.0, Outcome::Failed, "the signature is good, and of another image");
    for key in [0, 1] {
        assert_eq!(offered(&mut signed_bench(trusting()), &signed("2.0.0", key)), None, "key {key}");
    }
    let both = append(&signed("2.0.0", 2), &KEYS[1]).expect("room");
    assert_eq!(offered(&mut signed_bench(trusting()), &both), None, "one trusted signature is enough");
}

#[test]
fn the_image_that_runs_is_known_by_its_end() {
    for is_signed in [false, true] {
        let mut bench = if is_signed { signed_bench(trusting()) } else { Bench::new() };
        let same = if is_signed { signed("1.0.0", 0) } else { image("1.0.0") };
        // What runs is what was flashed, and signatures differ each time: read it back.
        let mut same = same;
        embedded_storage::nor_flash::ReadNorFlash::read(&mut bench.flash, SLOTS[0].offset, &mut same)
            .expect("power");
        bench.tell(Event::Connected);
        let before = wear(&bench.flash);
        bench.update_to(&same);
        assert_eq!((bench.restart, bench.fetches), (false, 1), "nothing to download, nothing to restart for");
        assert_eq!(bench.outcome(), Some((Outcome::Success, None)));
        assert_eq!(wear(&bench.flash), before);
    }
}

#[test]
fn the_kept_list_counts_in_place_of_the_one_compiled_in() {
    let with_list = |keys: &[usize]| {
        let mut bench = signed_bench(trusting());
        let keys = keys.iter().map(|key| DIGESTS[*key]).collect();
        let trusted = Trusted { keys, required: 1, by: None };
        Agent::remember(&mut bench.flash, |record| record.trusted = Some(trusted)).expect("power");
        Bench::boot(bench.flash, trusting())
    };
    let untrusted = Some((Outcome::Failed, Some(Code::UntrustedKey)));
    assert_eq!(offered(&mut with_list(&[0]), &signed("2.0.0", 0)), None);
    assert_eq!(offered(&mut with_list(&[0]), &signed("2.0.0", 1)), untrusted, "taken away");
    assert_eq!(offered(&mut with_list(&[0, 2]), &signed("2.0.0", 2)), None, "a newer image brought it");
    for key in 0..3 {
        assert_eq!(offered(&mut with_list(&[]), &signed("2.0.0", key)), untrusted, "nobody is trusted");
    }
    let unsigned = offered(&mut with_list(&[]), &image("2.0.0"));
    assert_eq!(unsigned, Some((Outcome::Failed, Some(Code::Unsigned))));
}

#[test]
fn a_device_gives_a_key_up_for_good_and_never_takes_one_back() {
    let mut bench = signed_bench(trusting());
    bench.agent.trust_only(&mut bench.flash, &[DIGESTS[1], DIGESTS[2]]).expect("kept");
    bench.agent.trust_only(&mut bench.flash, &[DIGESTS[0], DIGESTS[1]]).expect("kept");
    let mut bench = Bench::boot(bench.flash, trusting());
    let untrusted = Some((Outcome::Failed, Some(Code::UntrustedKey)));
    assert_eq!(offered(&mut bench, &signed("2.0.0", 0)), untrusted, "given up before");
    assert_eq!(offered(&mut bench, &signed("2.0.0", 2)), untrusted, "was never compiled in");
    assert_eq!(offered(&mut bench, &signed("2.0.0", 1)), None);
}

#[test]
fn a_corrupt_record_never_lets_anything_unsigned_in() {
    let corrupt = || {
        let mut bench = signed_bench(trusting());
        let trusted = Trusted { keys: [DIGESTS[0]].into_iter().collect(), required: 1, by: None };
        Agent::remember(&mut bench.flash, |record| record.trusted = Some(trusted)).expect("power");
        for at in (UPDRAFT.offset..UPDRAFT.offset + 0x2000).step_by(64) {
            bench.flash.corrupt(at, 0x11).expect("in bounds");
        }
        let bench = Bench::boot(bench.flash, trusting());
        assert!(bench.agent.record().trusted.is_none());
        bench
    };
    assert_eq!(offered(&mut corrupt(), &image("2.0.0")), Some((Outcome::Failed, Some(Code::Unsigned))));
    let foreign = offered(&mut corrupt(), &signed("2.0.0", 2));
    assert_eq!(foreign, Some((Outcome::Failed, Some(Code::UntrustedKey))));
    assert_eq!(offered(&mut corrupt(), &signed("2.0.0", 1)), None, "the keys compiled in count");
}

#[test]
fn keys_in_efuse_count_beside_those_compiled_in() {
    let secure_boot = |compiled: &'static [[u8; 32]], efuse: &'static [[u8; 32]]| {
        let hardware = Hardware { secure_boot: Some(efuse), ..Hardware::new(CHIP) };
        signed_bench(Settings { hardware, trusted_keys: compiled, ..settings() })
    };
    let bench = secure_boot(&[], &DIGESTS[..1]);
    assert!(bench.agent.lacks().all(|lack| lack != Lack::Signatures));
    let failed = |code| Some((Outcome::Failed, Some(code)));
    assert_eq!(offered(&mut secure_boot(&[], &DIGESTS[..1]), &image("2.0.0")), failed(Code::Unsigned));
    assert_eq!(offered(&mut secure_boot(&[], &DIGESTS[..1]), &signed("2.0.0", 0)), None);
    assert_eq!(
        offered(&mut secure_boot(&DIGESTS[1..2], &DIGESTS[..1]), &signed("2.0.0", 1)),
        failed(Code::SecureBoot),
        "the bootloader would not start it"
    );
    assert_eq!(
        offered(&mut secure_boot(&DIGESTS[1..2], &DIGESTS[..1]), &signed("2.0.0", 0)),
        failed(Code::UntrustedKey),
        "this firmware does not trust it"
    );
    let both = append(&signed("2.0.0", 1), &KEYS[0]).expect("room");
    assert_eq!(offered(&mut secure_boot(&DIGESTS[1..2], &DIGESTS[..1]), &both), None);
    let foreign = offered(&mut secure_boot(&[], &DIGESTS[..1]), &signed("2.0.0", 2));
    assert!(matches!(foreign, Some((Outcome::Failed, _))), "{foreign:?}");
    // All keys in eFuse were revoked.
    let revoked = offered(&mut secure_boot(&[], &[]), &signed("2.0.0", 0));
    assert!(matches!(revoked, Some((Outcome::Failed, _))), "{revoked:?}");
    assert_eq!(bench.agent.phase(), Phase::Idle);
}
