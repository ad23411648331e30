//! The gate, through the store: one image for each thing that it refuses or warns of.

use std::process::Command;

use bytes::Bytes;
use image::build::Build;
use image::signature::Scheme;
use image::signing::{SigningKey, sign};
use image::{Chip, Stamp, stamp};
use serde_json::{Value, json};
use updraft_store::{Attempt, Check, Finding, Level, Publication, Slot, Store, StoreError, Verdict};

use crate::place::{Place, product, production, v};

/// One image, what it is asked to be, and what has to be found.
struct Case {
    name: &'static str,
    image: Bytes,
    version: Option<&'static str>,
    /// What `product.json` says.
    file: Value,
    /// A part of the sentence.
    says: &'static str,
}

fn build(version: &str) -> Build {
    Build { size_bytes: 8192, secure_version: 2, ..Build::new(Chip::Esp32S3, version) }
}

/// An image with one byte of it other, and the sums over it made good again.
pub(crate) fn patched(image: &[u8], at: usize, byte: u8) -> Bytes {
    let mut bytes = image.to_vec();
    bytes[at] = byte;
    let end = bytes.len() - 32;
    let digest: [u8; 32] = {
        use sha2::Digest;
        sha2::Sha256::digest(&bytes[..end]).into()
    };
    bytes[end..].copy_from_slice(&digest);
    bytes.into()
}

/// An image with one byte of its descriptor other, and the sums over it made good again.
fn descriptor_with(image: &[u8], at: usize, byte: u8) -> Bytes {
    let at = at + 32;
    let checksum = image.len() - 33;
    patched(&patched(image, checksum, image[checksum] ^ image[at] ^ byte), at, byte)
}

/// The digest by which a key is known.
fn digest_of(key: &SigningKey) -> String {
    contract::Sha256(key.public().digest()).to_string()
}

/// An image of a library's descriptor, stamped.
fn stamped(version: &str, product: &str) -> Bytes {
    let library = Build { project_name: "arduino-lib-builder".to_owned(), ..build("esp-idf: v4.4.3") };
    let mut bytes = library.bytes();
    stamp(&mut bytes, &Stamp { version, product, secure_version: None }).expect("stamped");
    bytes.into()
}

/// A picture of a flash chip: a bootloader, a partition table, an application at an unusual place, a file system.
fn merged(app: &[u8]) -> Bytes {
    // A program of RAM segments only, as a bootloader is one.
    let mut bootloader = vec![0xE9, 1, 2, 0x2F];
    bootloader.extend(0x4037_4000u32.to_le_bytes());
    bootloader.extend([0xEE, 0, 0, 0]);
    bootloader.extend(Chip::Esp32S3.id().to_le_bytes());
    bootloader.resize(24, 0);
    bootloader.extend(0x4037_4000u32.to_le_bytes());
    bootloader.extend(16u32.to_le_bytes());
    bootloader.extend([0; 16]);
    bootloader.resize(63, 0);
    bootloader.push(0xEF);
    let mut flash = bootloader;
    flash.resize(0x8000, 0xFF);
    for (kind, subtype, offset, size) in
        [(1u8, 2u8, 0x9000u32, 0x6000u32), (1, 0, 0xF000, 0x2000), (0, 0x10, 0x2_0000, 0x10_0000)]
    {
        flash.extend([0xAA, 0x50, kind, subtype]);
        flash.extend(offset.to_le_bytes());
        flash.extend(size.to_le_bytes());
        flash.extend([0; 20]);
    }
    flash.resize(0x2_0000, 0xFF);
    flash.extend(app);
    flash.resize(0x4_0000, 0xFF);
    flash.extend(b"a file system");
    flash.into()
}

/// The product that all cases are published to: 1.0.0 is in production.
async fn furnish(place: &Place) {
    place.publish("1.0.0", &build("1.0.0").bytes().into()).await.expect("published");
    place.promote("1.0.0").await.expect("promoted");
    // Another product's, whose bytes no product may have.
    let lamp: contract::ProductName = "lamp".parse().expect("a product");
    let asked = Publication::new(lamp.clone());
    place.store.publish(&asked, blocked_elsewhere().bytes().into()).await.expect("published");
    place.store.block(&lamp, &v("0.5.0"), "it hangs").await.expect("blocked");
}

fn blocked_elsewhere() -> Build {
    Build { seed: 7, ..build("0.5.0") }
}

async fn verdict(store: &Store, publication: &Publication, image: &Bytes) -> (Verdict, Option<StoreError>) {
    match store.attempt(publication, image.clone()).await.expect("the store answers") {
        Attempt::Published(published) => (published.verdict, None),
        Attempt::Refused(verdict) => {
            let error = store.publish(publication, image.clone()).await.expect_err("refused");
            (*verdict, Some(error))
        }
    }
}

fn unsound_cases(good: &Bytes, key: &SigningKey) -> Vec<Case> {
    let case = |name, image: Bytes, says| Case { name, image, version: Some("1.1.0"), file: json!({}), says };
    let mut checksum = good.to_vec();
    checksum[2000] ^= 1;
    let mut digest = good.to_vec();
    let end = digest.len() - 1;
    digest[end] ^= 1;
    let mut trailing = good.to_vec();
    trailing.extend(b"more");
    let mut forged = sign(good, key).expect("signed");
    let signature = forged.len() - 4096 + 110;
    forged[signature] ^= 1;
    vec![
        case("not-an-image", Bytes::from_static(b"PK\x03\x04 a zip file"), "artifacts of CI systems"),
        case("merged-image", merged(good), "bootloader, partition table at 0x8000"),
        case("truncated", good.slice(..good.len() - 100), "at least 8,060; copy it from the build again"),
        case("checksum", checksum.into(), "copy it from the build again, or build it again"),
        case("digest", digest.into(), "its content; copy it from the build again"),
        case("layout", trailing.into(), "not a signature; publish the firmware.bin as the build left it"),
        case("signature", forged.into(), "no signature of the image is good"),
        case(
            "unprotected",
            Build { hash_appended: false, ..build("1.1.0") }.bytes().into(),
            "neither a SHA-256 digest at its end nor a signature",
        ),
        case("unknown-chip", patched(good, 12, 0x77), "(id 0x0077); a newer Updraft may know it"),
    ]
}

#[allow(clippy::too_many_lines, reason = "a table")]
fn cases() -> Vec<Case> {
    let (good, key) =
        (Bytes::from(build("1.1.0").bytes()), SigningKey::generate(Scheme::EcdsaP256).expect("a key"));
    let case = |name, build: Build, file, says| Case {
        name,
        image: build.bytes().into(),
        version: Some("1.1.0"),
        file,
        says,
    };
    let arduino =
        Build { project_name: "arduino-lib-builder".to_owned(), ..build("esp-idf: v4.4.3 6407ecb3f8") };
    let slot = |bytes: usize| json!({ "slot_bytes": bytes });
    let trusts = |digest: String| json!({ "trusted_keys": [digest] });
    let mut cases = unsound_cases(&good, &key);
    cases.extend([
        case(
            "wrong-chip",
            Build { chip: Chip::Esp32C3, ..build("1.1.0") },
            json!({}),
            "build it for esp32s3",
        ),
        case("too-large", build("1.1.0"), slot(good.len() - 1), "slot_bytes in its product.json"),
        case("unsigned", build("1.1.0"), trusts("7".repeat(64)), "the image is not signed"),
        Case {
            image: sign(&good, &key).expect("signed").into(),
            ..case("untrusted-key", build("1.1.0"), trusts("7".repeat(64)), "the image is signed by the key")
        },
        Case {
            image: sign(&good, &key).expect("signed").into(),
            ..case(
                "too-few-signatures",
                build("1.1.0"),
                json!({ "trusted_keys": [digest_of(&key), "7".repeat(64)], "signatures_required": 2 }),
                "the image is signed by 1 of the keys",
            )
        },
        Case { version: None, ..case("no-version", arduino.clone(), json!({}), "say which version it is") },
        Case { version: None, ..case("no-version", build("1"), json!({}), "ESP-IDF writes that") },
        Case {
            version: None,
            ..case("no-version", build("7e12ab0-dirty"), json!({}), "say which version it is")
        },
        Case { version: None, ..case("no-version", build("1.2.3.4"), json!({}), "say which version it is") },
        Case {
            version: Some("1.2.3.4"),
            ..case("no-version", build("1.2.3.4"), json!({}), "\"1.2.3.4\" is no SemVer version")
        },
        Case {
            version: Some("build-77"),
            ..case("no-version", build("build-77"), json!({}), "a build number as 0.77.0")
        },
        Case {
            image: stamped("1.1.1", "esp32s3"),
            ..case(
                "stamp",
                build("1.1.0"),
                json!({}),
                "is stamped as esp32s3 1.1.1, and it is to be published as esp32s3 1.1.0",
            )
        },
        Case {
            version: Some("1.0.0"),
            ..case(
                "version-taken",
                Build { seed: 9, ..build("1.0.0") },
                json!({}),
                "already published with other bytes",
            )
        },
        case(
            "blocked-bytes",
            blocked_elsewhere(),
            json!({}),
            "these are the bytes of lamp 0.5.0, which is blocked: it hangs",
        ),
        case(
            "secure-floor",
            build("1.1.0"),
            json!({ "secure_version": 3 }),
            "the image's secure version is 2, and esp32s3 takes none below 3",
        ),
        case(
            "secure-version",
            Build { secure_version: 1, ..build("1.1.0") },
            json!({}),
            "the image's secure version is 1, and that of 1.0.0 in production is 2",
        ),
        Case {
            version: Some("0.9.0"),
            ..case(
                "lower-version",
                build("0.9.0"),
                json!({}),
                "production is 1.0.0 already, and 0.9.0 is lower",
            )
        },
        case("same-bytes", build("1.0.0"), json!({}), "these very bytes are published as 1.0.0 already"),
        Case {
            image: descriptor_with(&good, 180, 15),
            ..case(
                "mmu-page-size",
                build("1.1.0"),
                json!({}),
                "pages of 32768 bytes, and 1.0.0 in production for 65536",
            )
        },
        case("nearly-full", build("1.1.0"), slot(good.len() * 100 / 95), "bytes so far: 1.0.0 "),
        Case {
            image: patched(&good, 2, 0),
            ..case("flash-mode", build("1.1.0"), json!({}), "flash mode qio, and 1.0.0 in production has dio")
        },
        case(
            "project",
            Build { project_name: "another".to_owned(), ..build("1.1.0") },
            json!({}),
            "calls its project \"another\", and 1.0.0 in production is of \"updraft-demo\"",
        ),
        Case {
            image: patched(&good, 15, 101),
            ..case("chip-revision", build("1.1.0"), json!({}), "of revision v1.1 and higher, and 1.0.0 in")
        },
        Case {
            image: patched(&patched(&good, 17, 99), 18, 0),
            ..case("chip-revision", build("1.1.0"), json!({}), "of revision v0.0 to v0.99, and 1.0.0 in")
        },
        Case {
            image: descriptor_with(&good, 176, 1),
            ..case("efuse-revision", build("1.1.0"), json!({}), "block has revision v0.1 and higher")
        },
        case(
            "idf-version",
            Build { idf_version: "v6.1".to_owned(), ..build("1.1.0") },
            json!({}),
            "built with ESP-IDF v6.1, and 1.0.0 in production with v5.5.1",
        ),
        case("descriptor", arduino, json!({}), "so nothing in it confirms that it is esp32s3 1.1.0"),
        case(
            "version-mismatch",
            build("1.1.1"),
            json!({}),
            "build it with 1.1.0 as its version, or publish it under the one that it says",
        ),
    ]);
    cases
}

pub(crate) async fn each_refusal_and_each_warning_has_its_name_its_level_and_its_sentence(place: &Place) {
    furnish(place).await;
    let cases = cases();
    let mut names: Vec<&str> = cases.iter().map(|case| case.name).collect();
    names.dedup();
    assert_eq!(names, Check::ALL.map(Check::name), "a case for every check");
    for Case { name, image, version, file, says } in cases {
        place.put("esp32s3/product.json", file.to_string()).await;
        let check = Check::ALL.into_iter().find(|check| check.name() == name).expect("a check");
        let mut publication = Publication { version: version.map(v), ..Publication::new(product()) };
        let (judged, error) = verdict(&place.store, &publication, &image).await;
        let finding = judged.findings.iter().find(|finding| finding.check == check);
        let finding = finding.unwrap_or_else(|| panic!("{name} is not found: {judged:?}"));
        assert!(
            finding.cause.sentence().contains(says) && finding.allowed == (check.level() == Level::Note),
            "{name}: {}",
            finding.cause.sentence()
        );
        let refuses = check.level() == Level::Refuse;
        assert_eq!(error.is_some(), refuses, "{name}: {judged:?}");
        let release = format!("esp32s3/releases/v{}/version.txt", version.unwrap_or("1.1.0"));
        if let Some(error) = error {
            assert!(error.to_string().contains(says), "{name}: {error}");
            // What to do with flags and commands each surface adds.
            assert!(!error.to_string().contains("--") && !error.to_string().contains("updraft "), "{error}");
            assert_eq!(
                place.get(&release).await.is_some(),
                name == "version-taken",
                "{name}: nothing is written"
            );
        } else {
            place.delete(&release).await;
        }
        // A person may overrule it, or not even by the library.
        publication.allow = vec![check];
        let (judged, error) = verdict(&place.store, &publication, &image).await;
        assert_eq!(error.is_none(), check.is_overrulable(), "{name}: {judged:?}");
        let finding = judged.findings.iter().find(|finding| finding.check == check).expect("found again");
        assert_eq!(finding.allowed, check.is_overrulable(), "{name}");
        if error.is_none() {
            place.delete(&release).await;
        }
    }
}

pub(crate) async fn the_command_for_a_merged_image_cuts_the_application_out(place: &Place) {
    let app = build("1.1.0").bytes();
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (name, table, offset) in [("it's merged.bin", true, "0x20000"), ("plain.bin", false, "0x10000")] {
        let mut flash = merged(&app).to_vec();
        if !table {
            // The table is there, but speaks of no application, which lies where it usually does.
            flash[0x8040..0x8060].fill(0xFF);
            flash.copy_within(0x2_0000.., 0x1_0000);
        }
        std::fs::write(folder.path().join(name), &flash).expect("written");
        let publication = Publication { file: Some(name.to_owned()), ..Publication::new(product()) };
        let (judged, error) = verdict(&place.store, &publication, &flash.into()).await;
        let error = error.expect("refused").to_string();
        assert!(error.contains(offset), "{error}");
        assert_eq!(judged.findings.len(), 1, "nothing is said of the bootloader: {judged:?}");
        let command = error.split('`').nth(1).expect("a command");
        let shell = Command::new("sh").arg("-c").arg(command).current_dir(folder.path()).status();
        assert!(shell.expect("sh runs").success());
        assert_eq!(std::fs::read(folder.path().join("firmware.bin")).expect("cut out"), app, "{command}");
    }
}

pub(crate) async fn what_is_published_is_published_again_whatever_became_of_the_product(place: &Place) {
    let images: Vec<Bytes> = ["1.0.0", "1.1.0"].map(|version| build(version).bytes().into()).into();
    place.publish("1.0.0", &images[0]).await.expect("published");
    place.publish("1.1.0", &images[1]).await.expect("published");
    place.promote("1.1.0").await.expect("promoted");
    // The keys, the chip and the slots are others by now.
    let file = json!({"chip": "esp32c3", "slot_bytes": 1000, "trusted_keys": ["7".repeat(64)]});
    place.put("esp32s3/product.json", file.to_string()).await;
    for (version, image) in ["1.0.0", "1.1.0"].into_iter().zip(&images) {
        let again = place.publish(version, image).await.expect("unchanged");
        assert!(again.already_there && again.verdict.findings.is_empty(), "{again:?}");
    }
    let error = place.publish("1.2.0", &build("1.2.0").bytes().into()).await.expect_err("refused");
    let sentence = "the image is for esp32s3, but the devices of esp32s3 are esp32c3; build it for esp32c3, or publish it for \
                    another product; also refused: too-large, unsigned";
    assert_eq!(error.to_string(), sentence);
}

pub(crate) async fn settings_of_the_product_overrule_and_warn_earlier(place: &Place) {
    furnish(place).await;
    let image: Bytes = build("0.9.0").bytes().into();
    let slot = image.len() * 2;
    let file = json!({"slot_bytes": slot, "gate": {"allow": ["lower-version"], "warn_percent": 40}});
    place.put("esp32s3/product.json", file.to_string()).await;
    let published = place.publish("0.9.0", &image).await.expect("published");
    let found: Vec<(&str, bool)> = published
        .verdict
        .findings
        .iter()
        .map(|Finding { check, allowed, .. }| (check.name(), *allowed))
        .collect();
    assert_eq!(found, [("lower-version", true), ("nearly-full", false)]);
    place.put("esp32s3/product.json", r#"{"gate":{"allow":["truncated"]}}"#).await;
    let error = place.publish("0.9.1", &build("0.9.1").bytes().into()).await.expect_err("unreadable");
    assert!(
        error.to_string().contains("truncated cannot be allowed; can be: unprotected, too-large, "),
        "{error}"
    );
}

pub(crate) async fn what_is_known_of_a_build_stands_in_its_metadata(place: &Place) {
    let publication = Publication {
        version: Some(v("1.0.0")),
        commit: Some("abc123".to_owned()),
        tag: Some("v1.0.0".to_owned()),
        dirty: Some(true),
        ..Publication::new(product())
    };
    let own: Bytes = build("1.0.0").bytes().into();
    let release = place.store.publish(&publication, own).await.expect("published").release;
    assert_eq!((release.tag.as_deref(), release.dirty), (Some("v1.0.0"), Some(true)));
    assert_eq!(
        release.built_at,
        Some("2026-11-02T12:00:00Z".parse().expect("a time")),
        "as its descriptor says"
    );
    let age = chrono::Utc::now() - release.published_at.expect("said");
    assert!((0..600).contains(&age.num_seconds()), "{age}");
    let text = place.text("esp32s3/releases/v1.0.0/metadata.json").await;
    let metadata: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!((&metadata["flash_mode"], &metadata["commit"]), (&json!("dio"), &json!("abc123")));
    assert_eq!((&metadata["tag"], &metadata["dirty"]), (&json!("v1.0.0"), &json!(true)));
    // The date in somebody else's descriptor is that of the library, so nobody knows.
    let arduino = Build { project_name: "arduino-lib-builder".to_owned(), ..build("v4") };
    let published = place.publish("1.1.0", &arduino.bytes().into()).await.expect("published");
    assert_eq!(published.release.built_at, None);
    let text = place.text("esp32s3/releases/v1.1.0/metadata.json").await;
    for key in ["built_at", "tag", "dirty", "commit"] {
        assert!(!text.contains(&format!("\"{key}\"")), "{key} is not known: {text}");
    }
}

pub(crate) async fn an_image_that_another_program_deployed_is_compared_with_too(place: &Place) {
    let deployed: Bytes = build("2.0.0").bytes().into();
    place.put("esp32s3/production/firmware.bin", deployed.clone()).await;
    place.put("esp32s3/production/version.txt", "v2.0.0").await;
    let refusals = async |version: &str, image: &Bytes| {
        let publication = Publication { version: Some(v(version)), ..Publication::new(product()) };
        let verdict = place.store.judge(&publication, image).await.expect("judged");
        let refusing = verdict.findings.iter().filter(|finding| finding.refuses());
        refusing.map(|finding| finding.check.name()).collect::<Vec<_>>()
    };
    assert_eq!(refusals("1.9.0", &build("1.9.0").bytes().into()).await, ["lower-version"]);
    assert_eq!(refusals("2.1.0", &deployed).await, ["same-bytes"]);
    let other: Bytes = Build { seed: 2, ..build("2.0.0") }.bytes().into();
    assert_eq!(refusals("2.0.0", &other).await, ["version-taken"]);
    let chip = Build { chip: Chip::Esp32C3, ..build("2.1.0") };
    assert_eq!(refusals("2.1.0", &chip.bytes().into()).await, ["wrong-chip"]);
    assert_eq!(refusals("2.0.0", &deployed).await, [""; 0]);
    place.publish("2.0.0", &deployed).await.expect("what is deployed becomes a release");
    assert_eq!(place.store.channel(&product(), &production()).await.expect("read"), Some(v("2.0.0")));
}

pub(crate) async fn a_recorded_slot_and_a_person_s_number_both_limit_an_image(place: &Place) {
    let slot = |bytes, device: &str| Slot { bytes, device: Some(device.to_owned()) };
    let image: Bytes = build("1.0.0").bytes().into();
    let said = async || {
        let publication = Publication { version: Some(v("1.0.0")), ..Publication::new(product()) };
        let verdict = place.store.judge(&publication, &image).await.expect("judged");
        let too_large = verdict.findings.iter().find(|finding| finding.check == Check::TooLarge);
        (verdict.slot_bytes, too_large.map(|finding| finding.cause.sentence()).unwrap_or_default())
    };
    let product_json = r#"{"slot_bytes":2000,"team":"x"}"#;
    assert_eq!(said().await.0, None);
    assert!(place.store.record_slot(&product(), &slot(1000, "lamp-1")).await.expect("recorded"));
    assert!(!place.store.record_slot(&product(), &slot(1000, "lamp-1")).await.expect("read"), "once");
    assert_eq!(place.text("esp32s3/_slots.json").await, "{\"slot_bytes\":1000,\"device\":\"lamp-1\"}\n");
    let (bytes, sentence) = said().await;
    assert!(bytes == Some(1000) && sentence.contains("the device lamp-1 reports it"), "{sentence}");
    // The smaller counts, and the file that people write is theirs.
    place.put("esp32s3/product.json", product_json).await;
    assert_eq!(said().await.0, Some(1000));
    assert!(place.store.record_slot(&product(), &slot(3000, "lamp-2")).await.expect("recorded"), "it grows");
    let (bytes, sentence) = said().await;
    assert!(bytes == Some(2000) && sentence.contains("slot_bytes in its product.json"), "{sentence}");
    assert_eq!(place.text("esp32s3/product.json").await, product_json);
    // What cannot be read may limit more than anybody knows, until it is written again.
    place.put("esp32s3/_slots.json", "{\"slot_bytes\":").await;
    let error = place.publish("1.0.0", &image).await.expect_err("unreadable").to_string();
    assert!(error.starts_with("esp32s3/_slots.json in ") && error.ends_with("repair that file"), "{error}");
    assert!(place.store.record_slot(&product(), &slot(3000, "lamp-2")).await.expect("repaired"));
    assert_eq!(said().await.0, Some(2000));
}
