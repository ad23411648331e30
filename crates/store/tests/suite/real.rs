//! Images as compilers made them pass the gate, or are warned of, as they should.
//!
//! They are not ours to carry: they are taken from `UPDRAFT_TEST_IMAGES`, else from `../shared/images` beside the
//! repository; where neither is, built ones of the same chips, sizes, flash modes and descriptors take their place.

use std::path::PathBuf;

use bytes::Bytes;
use image::Chip;
use image::build::Build;
use updraft_store::{Check, Publication, Verdict};

use crate::gate::patched;
use crate::place::{Place, product, v};

/// What the images of a pair are: chip, flash mode, the descriptor's version, project and ESP-IDF.
type Kind = (Chip, u8, &'static str, &'static str, &'static str);

const ARDUINO_2: Kind = (Chip::Esp32C3, 3, "esp-idf: v4.4.3 6407ecb3f8", "arduino-lib-builder", "v4.4.3");
/// Where the Arduino core leaves the descriptor empty but for ESP-IDF's version.
const EMPTY: Kind = (Chip::Esp32C3, 2, "", "", "4.4.4.20230310");
const ARDUINO_1: Kind =
    (Chip::Esp32, 3, "b1c75d1-dirty", "esp32-arduino-lib-builder", "v3.3.6-16-gcc5440f6a2");

/// Name, what they are, bytes of the old and of the new image, and a part of what is said of the descriptor.
const PAIRS: &[(&str, Kind, u32, u32, &str)] = &[
    ("c3-trivial", EMPTY, 1_195_184, 1_195_184, "an empty descriptor, as some builds"),
    ("c3-small", EMPTY, 1_195_184, 1_195_728, "an empty descriptor, as some builds"),
    ("c3-patch", ARDUINO_2, 1_503_936, 1_503_744, "(\"arduino-lib-builder\")"),
    (
        "s3-patch",
        (Chip::Esp32S3, 0, ARDUINO_2.2, ARDUINO_2.3, ARDUINO_2.4),
        1_364_432,
        1_369_952,
        "(\"arduino-lib-builder\")",
    ),
    ("esp32-patch", ARDUINO_1, 1_286_096, 1_284_976, "(\"esp32-arduino-lib-builder\")"),
    ("esp32-minor", ARDUINO_1, 1_284_976, 1_360_096, "(\"esp32-arduino-lib-builder\")"),
];

fn image(pair: &str, file: &str) -> Bytes {
    let known = PAIRS.iter().find(|(name, ..)| *name == pair).expect("a pair");
    let bytes = if file == "old" { known.2 } else { known.3 };
    let chosen = std::env::var_os("UPDRAFT_TEST_IMAGES").map(PathBuf::from);
    let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/images");
    let folder = chosen.clone().unwrap_or_else(|| beside.into()).join(pair);
    if folder.is_dir() {
        let image = std::fs::read(folder.join(format!("{file}.bin"))).expect("readable");
        assert_eq!(image.len(), bytes as usize, "{pair}/{file}");
        return image.into();
    }
    assert!(chosen.is_none(), "UPDRAFT_TEST_IMAGES: no folder {}", folder.display());
    let (chip, mode, version, project, idf) = known.1;
    // The only two images of one size that are not the same.
    let seed = if (pair, file) == ("c3-trivial", "new") { 2 } else { 1 };
    let build = Build {
        project_name: project.to_owned(),
        idf_version: idf.to_owned(),
        size_bytes: bytes,
        seed,
        behaviour: None,
        ..Build::new(chip, version)
    };
    patched(&build.bytes(), 2, mode)
}

async fn judged(place: &Place, version: Option<&str>, image: &Bytes) -> Verdict {
    let publication = Publication { version: version.map(v), ..Publication::new(product()) };
    place.store.judge(&publication, image).await.expect("judged")
}

/// What was found, but that an image has no digest, which is allowed here.
fn names(verdict: &Verdict) -> Vec<&str> {
    let names = verdict.findings.iter().map(|finding| finding.check.name());
    names.filter(|name| *name != "unprotected").collect()
}

/// Some real images have no digest.
async fn folder() -> Place {
    let place = Place::folder().await;
    place.put("esp32s3/product.json", r#"{"gate":{"allow":["unprotected"]}}"#).await;
    place
}

/// A store in whose production this image is, as 1.0.0.
async fn after(image: &Bytes) -> Place {
    let place = folder().await;
    place.publish("1.0.0", image).await.expect("a real image can be published");
    place.promote("1.0.0").await.expect("promoted");
    place
}

#[tokio::test]
async fn each_real_image_is_published_with_a_word_on_its_descriptor_and_no_other() {
    for (pair, .., says) in PAIRS {
        for file in ["old", "new"] {
            let image = image(pair, file);
            let alone = folder().await;
            let verdict = judged(&alone, Some("1.0.0"), &image).await;
            let is_unprotected = verdict.findings[0].check == Check::Unprotected;
            assert_eq!(is_unprotected, image[23] == 0, "{pair}/{file}: {verdict:?}");
            assert_eq!(names(&verdict), ["descriptor"], "{pair}/{file}: {verdict:?}");
            let sentence = verdict.findings.last().expect("one").cause.sentence();
            assert!(!verdict.is_refused() && sentence.contains(says), "{pair}/{file}: {sentence}");
            // It does not say which version it is.
            let verdict = judged(&alone, None, &image).await;
            assert_eq!(names(&verdict), ["no-version"], "{pair}/{file}: {verdict:?}");
            let sentence = verdict.refusal().expect("refused").sentence();
            assert!(
                sentence.contains(says) && sentence.ends_with("say which version it is"),
                "{pair}/{file}: {sentence}"
            );
        }
    }
}

#[tokio::test]
async fn each_real_image_succeeds_its_old_one_with_no_more_than_that() {
    for (pair, ..) in PAIRS {
        let (old, new) = (image(pair, "old"), image(pair, "new"));
        let place = after(&old).await;
        let verdict = judged(&place, Some("1.1.0"), &new).await;
        assert_eq!(names(&verdict), ["descriptor"], "{pair}: {verdict:?}");
        let sizes: Vec<u64> = verdict.trend.iter().map(|size| size.size).collect();
        assert_eq!(sizes, [old.len() as u64, new.len() as u64], "{pair}");
        place.publish("1.1.0", &new).await.expect("published");
        let verdict = judged(&place, Some("1.2.0"), &old).await;
        assert_eq!(names(&verdict), ["same-bytes", "descriptor"], "{pair}: {verdict:?}");
    }
}

#[tokio::test]
async fn a_real_image_of_another_build_is_refused_or_warned_of() {
    for (before, after_it, expected) in [
        // Another Arduino core, for the same chip.
        (("c3-small", "new"), ("c3-patch", "old"), &["flash-mode", "idf-version", "descriptor"][..]),
        (("c3-patch", "new"), ("s3-patch", "new"), &["wrong-chip", "flash-mode", "descriptor"]),
        (
            ("s3-patch", "new"),
            ("esp32-minor", "new"),
            &["wrong-chip", "flash-mode", "idf-version", "descriptor"],
        ),
        // The new image of one pair is the old one of another.
        (("esp32-patch", "new"), ("esp32-minor", "old"), &["same-bytes", "descriptor"]),
    ] {
        let place = after(&image(before.0, before.1)).await;
        let verdict = judged(&place, Some("1.1.0"), &image(after_it.0, after_it.1)).await;
        assert_eq!(names(&verdict), expected, "{before:?} {after_it:?}: {verdict:?}");
    }
}
