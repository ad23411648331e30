//! The agent and the gate over one table of images: what the agent refuses by the file alone, the gate finds before any device is
//! sent it.

use std::path::PathBuf;

use agent::Settings;
use contract::{Code, Version};
use image::build::Build;
use image::{AppDescriptor, Chip, Prefix};
use proptest::prelude::*;
use sha2::{Digest, Sha256};
use store::{Facts, Level, Production, Publication, Slot, Verdict, judge};
use updraft_virtual_device::flash::Flash;
use updraft_virtual_device::layout::{SLOTS, provision};

use crate::bench::{Bench, CHIP, image};
use crate::tail::{DIGESTS, KEYS, offered, signed, signed_bench, trusting};

/// Whose images the device, and the product, take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trust {
    Anybody,
    TwoKeys,
}
use Trust::{Anybody, TwoKeys};

/// What is offered, by which code the agent refuses it, and by which check the gate finds that.
type Row = (&'static str, Trust, Vec<u8>, Option<Code>, &'static str);

fn build(change: impl FnOnce(&mut Build)) -> Vec<u8> {
    let mut build = Build { size_bytes: 20 * 1024, ..Build::new(CHIP, "2.0.0") };
    change(&mut build);
    build.bytes()
}

/// The image with one byte other, and the sums over it made good again.
fn with(mut bytes: Vec<u8>, changes: &[(usize, u8)]) -> Vec<u8> {
    let end = bytes.len() - 32;
    for (at, byte) in changes {
        // Headers are not summed up, but for the digest.
        if *at >= 32 {
            bytes[end - 1] ^= bytes[*at] ^ byte;
        }
        bytes[*at] = *byte;
    }
    let digest = Sha256::digest(&bytes[..end]);
    bytes[end..].copy_from_slice(&digest);
    bytes
}

fn then(mut bytes: Vec<u8>, more: &[u8]) -> Vec<u8> {
    bytes.extend_from_slice(more);
    bytes
}

fn flipped(mut bytes: Vec<u8>, from_end: usize) -> Vec<u8> {
    let at = bytes.len() - from_end;
    bytes[at] ^= 1;
    bytes
}

/// A program of segments in RAM, as a bootloader is one.
fn bootloader() -> Vec<u8> {
    let mut bytes = vec![0xE9, 1, 2, 0x20];
    bytes.extend(0x4080_0000_u32.to_le_bytes());
    bytes.extend([0xEE, 0, 0, 0]);
    bytes.extend(CHIP.id().to_le_bytes());
    bytes.resize(23, 0);
    bytes.push(1);
    bytes.extend(0x4080_0000_u32.to_le_bytes());
    bytes.extend(400_u32.to_le_bytes());
    bytes.resize(32 + 400 + 15, 0);
    bytes.push(0xEF);
    let digest = Sha256::digest(&bytes);
    then(bytes, &digest)
}

fn merged() -> Vec<u8> {
    let mut flash = bootloader();
    flash.resize(0x1_0000, 0xFF);
    flash[0x8000..0x8020]
        .copy_from_slice(b"\xAA\x50\x00\x10\0\0\x01\0\0\0\x10\0app0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
    then(flash, &image("2.0.0"))
}

/// By what the file is.
fn unsound() -> Vec<Row> {
    let good = || image("2.0.0");
    let v1 = [&[0; 4][..], &[0x5A; 64]].concat();
    let row = |what, bytes, code, check| (what, Anybody, bytes, Some(code), check);
    vec![
        row("nothing", vec![], Code::NotAnImage, "not-an-image"),
        row("a byte", vec![0xE9], Code::Damaged, "truncated"),
        row("a header", good()[..24].to_vec(), Code::Damaged, "truncated"),
        row("a page", b"<!DOCTYPE html>".repeat(1000), Code::NotAnImage, "not-an-image"),
        row("gzip", then(b"\x1F\x8B\x08\0".to_vec(), &good()), Code::NotAnImage, "not-an-image"),
        row("an ESP8266's", with(good(), &[(23, 7)]), Code::NotAnImage, "not-an-image"),
        row("a bootloader", bootloader(), Code::NotAnImage, "not-an-image"),
        row("a whole chip", merged(), Code::NotAnImage, "merged-image"),
        row("without its end", good()[..good().len() - 1].to_vec(), Code::Damaged, "truncated"),
        row("half of it", good()[..10_000].to_vec(), Code::Damaged, "truncated"),
        row("no segment", with(good(), &[(1, 0)]), Code::Damaged, "layout"),
        row("many segments", with(good(), &[(1, 17)]), Code::Damaged, "layout"),
        row("an odd segment", with(good(), &[(28, 0x01)]), Code::Damaged, "layout"),
        row("a long segment", with(good(), &[(31, 0x10)]), Code::Damaged, "layout"),
        row("a segment that cannot be mapped", with(good(), &[(25, 0x10)]), Code::Damaged, "layout"),
        row("another checksum", flipped(good(), 33), Code::Damaged, "checksum"),
        row("another digest", flipped(good(), 1), Code::Damaged, "digest"),
        row("a byte more", then(good(), &[0]), Code::TrailingBytes, "layout"),
        row("padded", then(good(), &[0xFF; 5000]), Code::TrailingBytes, "layout"),
        row("Secure Boot v1", then(good(), &v1), Code::TrailingBytes, "signature"),
        row("no digest", build(|build| build.hash_appended = false), Code::Unprotected, "unprotected"),
    ]
}

/// By what it is compared with: the device there, production and the product's settings here.
fn unfit() -> Vec<Row> {
    let good = || image("2.0.0");
    let row = |what, bytes, code, check| (what, Anybody, bytes, Some(code), check);
    let signers = |what, bytes, code, check| (what, TwoKeys, bytes, code, check);
    // Whole blocks, of another image.
    let donor = signed("3.0.0", 0);
    let mut moved = signed("2.0.0", 0);
    let sector = moved.len() - 4096;
    moved[sector..].copy_from_slice(&donor[donor.len() - 4096..]);
    let twice = image::signing::append(&signed("2.0.0", 0), &KEYS[1]).expect("room");
    vec![
        row("another chip's", build(|build| build.chip = Chip::Esp32C3), Code::WrongChip, "wrong-chip"),
        row("an unknown chip's", with(good(), &[(12, 0x77)]), Code::WrongChip, "unknown-chip"),
        row("another flash mode", with(good(), &[(2, 0)]), Code::FlashMode, "flash-mode"),
        row("other pages", with(good(), &[(32 + 180, 15)]), Code::MmuPageSize, "mmu-page-size"),
        row("another project", build(|build| build.project_name = "x".into()), Code::WrongProject, "project"),
        row(
            "larger than the slot",
            build(|build| build.size_bytes = SLOTS[1].size_bytes + 4096),
            Code::TooLarge,
            "too-large",
        ),
        signers("unsigned", good(), Some(Code::Unsigned), "unsigned"),
        signers("another key's", signed("2.0.0", 2), Some(Code::UntrustedKey), "untrusted-key"),
        signers("forged", flipped(signed("2.0.0", 0), 4096 - 110), Some(Code::BadSignature), "signature"),
        signers("of another image", moved, Some(Code::Damaged), "signature"),
        signers("signed", signed("2.0.0", 0), None, ""),
        signers("signed twice", twice.clone(), None, ""),
        signers("signed twice, and once forged", flipped(twice, 4096 - 1216 - 110), None, ""),
        ("signed, where nobody asks", Anybody, signed("2.0.0", 2), None, ""),
        (
            "signed without a digest",
            Anybody,
            image::signing::sign(&build(|build| build.hash_appended = false), &KEYS[0]).expect("sound"),
            None,
            "",
        ),
        ("good", Anybody, good(), None, ""),
    ]
}

fn facts(production: &[u8], trust: Trust) -> Facts {
    let prefix = Prefix::parse(production).expect("good");
    let keys = DIGESTS[..2].iter().copied().map(contract::Sha256);
    Facts {
        chip: prefix.header.chip().map(|chip| chip.name().to_owned()),
        slot: Some(Slot { bytes: SLOTS[1].size_bytes, device: None }),
        trusted_keys: if trust == TwoKeys { keys.collect() } else { vec![] },
        production: Some(Production {
            version: "1.0.0".parse().expect("a version"),
            header: Some(prefix.header),
            descriptor: prefix.descriptor,
        }),
        ..Facts::default()
    }
}

/// What the gate says of a file under its own version's name.
fn judged(bytes: &[u8], facts: &Facts) -> Verdict {
    let descriptor = Prefix::parse(bytes).ok().and_then(|prefix| prefix.descriptor);
    let own = descriptor.as_ref().and_then(AppDescriptor::own_version);
    let version: Option<Version> = own.and_then(|own| own.parse().ok());
    let version = version.filter(Version::is_semver).or_else(|| "2.0.0".parse().ok());
    judge(bytes, &Publication { version, ..Publication::new("p".parse().expect("a product")) }, facts)
}

/// How the agent ends an update to it; `None` if it takes it.
fn ended(bytes: &[u8], trust: Trust) -> Option<Code> {
    let mut bench = if trust == TwoKeys { signed_bench(trusting()) } else { Bench::new() };
    offered(&mut bench, bytes).map(|(_, code)| code.expect("each refusal has a code"))
}

/// Of these the agent knows its own device, and the gate production alone.
const WARNED: [&str; 3] = ["flash-mode", "project", "version-mismatch"];

#[test]
fn what_the_agent_refuses_by_the_file_alone_the_gate_finds() {
    for (what, trust, bytes, code, check) in unsound().into_iter().chain(unfit()) {
        assert_eq!(ended(&bytes, trust), code, "the agent: {what}");
        let verdict = judged(&bytes, &facts(&image("1.0.0"), trust));
        let found = verdict.findings.iter().find(|finding| finding.check.name() == check);
        assert_eq!(found.is_some(), code.is_some(), "the gate: {what}: {verdict:?}");
        assert_eq!(verdict.is_refused(), code.is_some() && !WARNED.contains(&check), "{what}: {verdict:?}");
    }
}

#[test]
fn an_image_under_another_version_s_name_is_refused_by_the_agent_and_warned_of_by_the_gate() {
    let (bytes, mut bench) = (image("2.0.0"), Bench::new());
    bench.update_as("2.1.0", &bytes);
    assert_eq!(bench.outcome().and_then(|(_, code)| code), Some(Code::WrongVersion));
    let asked =
        Publication { version: "2.1.0".parse().ok(), ..Publication::new("p".parse().expect("a product")) };
    let verdict = judge(&bytes, &asked, &facts(&image("1.0.0"), Anybody));
    assert!(verdict.findings.iter().any(|finding| finding.check.name() == "version-mismatch"), "{verdict:?}");
}

#[test]
fn real_images_pass_both() {
    let given = std::env::var_os("UPDRAFT_TEST_IMAGES").map(PathBuf::from);
    let folder = given
        .unwrap_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/images")));
    let Ok(pairs) = std::fs::read_dir(&folder) else { return };
    for pair in pairs {
        let pair = pair.expect("read").path();
        let read = |name: &str| std::fs::read(pair.join(name)).ok();
        let (Some(old), Some(new)) = (read("old.bin"), read("new.bin")) else { continue };
        let verdict = judged(&new, &facts(&old, Anybody));
        let summary = image::verify(&old).expect("good");
        let chip = summary.chip().expect("known");
        let mut flash = Flash::in_memory();
        provision(&mut flash, &old, &summary, None).expect("fits");
        let mut bench = Bench::boot(flash, Settings::new(chip));
        bench.update_to(&new);
        // Without a digest: the one thing that the agent refuses of real images.
        let code = (new[23] == 0).then_some(Code::Unprotected);
        let ended = if bench.restart { None } else { bench.outcome().and_then(|(_, code)| code) };
        assert_eq!(ended, code, "the agent: {}", pair.display());
        let refusals = verdict.findings.iter().filter(|finding| finding.refuses());
        let refusals: Vec<&str> = refusals.map(|finding| finding.check.name()).collect();
        let expected = if code.is_some() { vec!["unprotected"] } else { vec![] };
        assert_eq!(refusals, expected, "the gate: {}", pair.display());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn whatever_stands_in_header_and_descriptor_the_agent_refuses_nothing_that_the_gate_does_not_find(
        changes in proptest::collection::vec((0..288_usize, any::<u8>()), 1..4),
        cut in proptest::option::of(0..20_000_usize),
    ) {
        let mut bytes = with(image("2.0.0"), &changes);
        if let Some(cut) = cut.filter(|cut| cut % 4 == 0) {
            bytes.truncate(cut);
        }
        let code = ended(&bytes, Anybody);
        // Of a name that no URL has, it was never offered.
        prop_assume!(code != Some(Code::BadUrl));
        let verdict = judged(&bytes, &facts(&image("1.0.0"), Anybody));
        let finds = |name: &str| verdict.findings.iter().any(|finding| finding.check.name() == name);
        let is_found = verdict.is_refused() || WARNED.iter().any(|name| finds(name));
        prop_assert!(code.is_none() || is_found, "{:?} by the agent, and {:?}", code, verdict.findings);
        let refusals = verdict.findings.iter().filter(|finding| finding.check.level() == Level::Refuse);
        // What is compared with production and settings, a device may be right to take.
        let unsound = ["not-an-image", "merged-image", "truncated", "checksum", "digest", "layout", "signature", "unprotected", "unknown-chip"];
        let is_unsound = refusals.into_iter().any(|finding| unsound.contains(&finding.check.name()));
        prop_assert!(!is_unsound || code.is_some(), "taken by the agent, and {:?}", verdict.findings);
    }
}
