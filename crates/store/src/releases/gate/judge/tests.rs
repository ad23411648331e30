use std::fmt::Write as _;

use cause::gate;
use image::Chip;
use image::build::Build;
use proptest::prelude::*;

use super::*;
use crate::{GateSettings, Production, Slot};

fn asked(version: Option<&str>) -> Publication {
    let version = version.map(|version| version.parse().expect("a version"));
    Publication { version, ..Publication::new("esp32s3".parse().expect("a product")) }
}

/// A product of which everything is known, and every part of that speaks against most images.
fn strict() -> Facts {
    let was = Build { secure_version: 3, ..Build::new(Chip::Esp32S3, "2.0.0") }.bytes();
    let prefix = image::Prefix::parse(&was).expect("an image");
    let version: Version = "2.0.0".parse().expect("a version");
    Facts {
        chip: Some("esp32s3".to_owned()),
        slot: Some(Slot { bytes: 1000, device: Some("d1".to_owned()) }),
        trusted_keys: vec![Sha256([7; 32])],
        signatures_required: 1,
        secure_version: 1,
        settings: GateSettings::default(),
        production: Some(Production {
            version: version.clone(),
            header: Some(prefix.header),
            descriptor: prefix.descriptor,
        }),
        sizes: vec![(version.clone(), 900)],
        twins: vec![version.clone()],
        blocked: Some(cause::store::BLOCKED_BYTES.naming("version", &version).naming("product", "p")),
        taken: Taken::OtherBytes(version),
    }
}

#[test]
fn every_refusal_is_found_and_named_in_one_sentence() {
    let image = Build::new(Chip::Esp32C3, "1.0.0").bytes();
    let verdict = judge(&image, &asked(Some("1.0.0")), &strict());
    let names: Vec<&str> = verdict.findings.iter().map(|finding| finding.check.name()).collect();
    let refusals = [
        "wrong-chip",
        "too-large",
        "unsigned",
        "version-taken",
        "blocked-bytes",
        "secure-floor",
        "secure-version",
        "lower-version",
        "same-bytes",
    ];
    assert_eq!(names, refusals);
    let first = &verdict.findings[0].cause;
    assert!(first.is(gate::WRONG_CHIP), "{first:?}");
    assert_eq!(
        ["image", "product", "expected"].map(|name| first.text(name)),
        ["esp32c3", "esp32s3", "esp32s3"]
    );
    let refusal = verdict.refusal().expect("refused");
    assert_eq!(refusal.text("also"), refusals[1..].join(", "));
    let sentence = refusal.sentence();
    assert!(
        sentence.starts_with("the image is for esp32c3, but the devices of esp32s3 are esp32s3;"),
        "{sentence}"
    );
    assert!(sentence.contains("; also refused: too-large, unsigned, "), "{sentence}");
}

#[test]
fn a_corrupt_image_is_told_what_else_is_wrong_with_it() {
    let image = Build::new(Chip::Esp32C3, "1.0.0").bytes();
    let verdict = judge(&image[..image.len() - 64], &asked(Some("1.0.0")), &strict());
    let names: Vec<&str> = verdict.findings.iter().map(|finding| finding.check.name()).collect();
    assert!(names.starts_with(&["truncated", "wrong-chip", "too-large"]), "{names:?}");
    assert!(!names.contains(&"unsigned"), "what was cut off may have been the signature: {names:?}");
}

#[test]
fn what_must_not_be_overruled_is_not_even_where_it_is_asked() {
    let image = Build::new(Chip::Esp32C3, "1.0.0").bytes();
    let everything = Publication { allow: Check::ALL.to_vec(), ..asked(Some("1.0.0")) };
    let verdict = judge(&image, &everything, &strict());
    let refused: Vec<&str> = verdict
        .findings
        .iter()
        .filter(|finding| finding.refuses())
        .map(|finding| finding.check.name())
        .collect();
    assert_eq!(refused, ["wrong-chip", "unsigned", "version-taken", "blocked-bytes", "secure-floor"]);
}

#[test]
fn bytes_that_are_published_as_this_version_pass_whatever_became_of_the_product() {
    let image = Build::new(Chip::Esp32C3, "1.0.0").bytes();
    let taken = Taken::SameBytes("1.0.0".parse().expect("a version"));
    let verdict = judge(&image, &asked(None), &Facts { taken: taken.clone(), ..strict() });
    assert_eq!(verdict.findings, []);
    // But not what is no image: a bucket may hold anything.
    assert!(judge(b"junk", &asked(Some("1.0.0")), &Facts { taken, ..strict() }).is_refused());
}

#[test]
fn a_trend_shows_the_five_releases_below_and_the_image_last() {
    let image = Build::new(Chip::Esp32S3, "1.6.0").bytes();
    let sizes = (0..10u64).rev().map(|minor| (format!("1.{minor}.0").parse().expect("a version"), minor));
    let facts = Facts { sizes: sizes.collect(), ..Facts::default() };
    let verdict = judge(&image, &asked(None), &facts);
    let shown = verdict.trend.iter().fold(String::new(), |mut text, SizeOf { version, size }| {
        let _ = write!(text, "{}:{size} ", version.as_ref().expect("a version"));
        text
    });
    assert_eq!(shown.trim(), format!("1.1.0:1 1.2.0:2 1.3.0:3 1.4.0:4 1.5.0:5 1.6.0:{}", image.len()));
}

proptest! {
    #[test]
    fn any_bytes_are_judged_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..700), known in any::<bool>()) {
        let facts = if known { strict() } else { Facts::default() };
        let verdict = judge(&bytes, &asked(Some("1.0.0")), &facts);
        prop_assert!(verdict.is_refused());
        prop_assert!(verdict.refusal().is_some() && verdict.error().is_some());
    }

    #[test]
    fn any_corruption_of_an_image_or_of_a_merged_one_is_judged_without_panic(
        at in 0usize..40_000, with in proptest::collection::vec(any::<u8>(), 1..80), cut in 0usize..80_000, merged in any::<bool>(),
        version in proptest::option::of("[1-9][0-9]{0,2}\\.[0-9]\\.[0-9](-[a-z]{1,5})?"),
    ) {
        let mut bytes = Build { size_bytes: 4096, ..Build::new(Chip::Esp32S3, "1.0.0") }.bytes();
        if merged {
            let app = std::mem::replace(&mut bytes, vec![0xFF; 0x1_0000]);
            bytes[0x8000..0x8020].copy_from_slice(&{
                let mut entry = [0; 32];
                entry[..8].copy_from_slice(&[0xAA, 0x50, 0, 0x10, 0, 0, 1, 0]);
                entry
            });
            bytes.extend(app);
        }
        for (place, byte) in with.iter().enumerate() {
            if let Some(target) = bytes.get_mut(at + place) {
                *target = *byte;
            }
        }
        bytes.truncate(cut.max(1));
        for facts in [Facts::default(), strict()] {
            let verdict = judge(&bytes, &asked(version.as_deref()), &facts);
            prop_assert_eq!(verdict.is_refused(), verdict.error().is_some());
            prop_assert!(verdict.findings.windows(2).all(|pair| pair[0].check < pair[1].check));
        }
    }

    #[test]
    fn any_word_is_no_check_or_one_that_may_be_allowed(word in ".{0,30}") {
        match word.parse::<Check>() {
            Ok(check) => prop_assert!(check.is_overrulable()),
            Err(error) => prop_assert!(error.to_string().contains("lower-version")),
        }
    }
}

#[test]
fn an_image_for_larger_slots_can_be_allowed_and_one_for_no_chip_cannot() {
    let image = Build::new(Chip::Esp32S3, "1.0.0").bytes();
    let slot = Some(Slot { bytes: 1000, device: Some("d1".to_owned()) });
    let facts = Facts { slot, ..Facts::default() };
    let asked = Publication { allow: vec![Check::TooLarge], ..asked(Some("1.0.0")) };
    assert!(judge(&image, &Publication { allow: vec![], ..asked.clone() }, &facts).is_refused());
    let verdict = judge(&image, &asked, &facts);
    assert_eq!(verdict.refusal(), None);
    assert!(verdict.findings.iter().any(|finding| finding.check == Check::TooLarge && finding.allowed));
    let verdict =
        judge_sound(&image, &Soundness::new(&image, Err(ImageError::TooLarge), None), &asked, &facts);
    assert_eq!(verdict.findings[0].check, Check::Layout);
    assert!(verdict.is_refused() && !verdict.findings[0].check.is_overrulable());
}
