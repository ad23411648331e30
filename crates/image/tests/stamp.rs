//! What `stamp` promises: the image says itself what it is, and everything else stays as it was.

use proptest::prelude::*;
use updraft_image::build::Build;
use updraft_image::signature::Scheme;
use updraft_image::signing::{SigningKey, sign};
use updraft_image::{AppDescriptor, Chip, STAMP_TEXT_MAX_BYTES, Stamp, StampError, stamp, verify};

const STAMP: Stamp<'_> = Stamp { version: "1.2.0", product: "lamp", secure_version: Some(3) };

/// An image as Arduino builds them.
fn arduino() -> Vec<u8> {
    Build { project_name: "arduino-lib-builder".into(), ..Build::new(Chip::Esp32S3, "esp-idf: v4.4.3") }
        .bytes()
}

fn descriptor(image: &[u8]) -> AppDescriptor {
    verify(image).expect("a sound image").descriptor.expect("a descriptor")
}

#[test]
fn a_stamped_image_says_itself_what_it_is() {
    let mut image = arduino();
    assert_eq!((descriptor(&image).is_stamped(), descriptor(&image).own_version()), (false, None));
    stamp(&mut image, &STAMP).expect("stamped");
    let found = descriptor(&image);
    assert!(found.is_stamped() && found.is_apps_own());
    assert_eq!(
        (found.own_version(), found.project_name(), found.secure_version()),
        (Some("1.2.0"), "lamp", 3)
    );
}

#[test]
fn a_stamp_changes_its_fields_checksum_and_digest_alone() {
    let (before, mut image) = (arduino(), arduino());
    stamp(&mut image, &STAMP).expect("stamped");
    let changed: Vec<usize> = (0..image.len()).filter(|at| image[*at] != before[*at]).collect();
    let end = image.len() - 33;
    let of_the_stamp = |at: &usize| {
        let field = at.checked_sub(0x20);
        field.is_some_and(|at| (4..8).contains(&at) || (16..80).contains(&at) || (240..256).contains(&at))
    };
    assert!(changed.iter().all(|at| of_the_stamp(at) || *at >= end), "{changed:x?}");
}

#[test]
fn the_same_stamp_again_changes_nothing_and_another_replaces_it() {
    let mut image = arduino();
    stamp(&mut image, &STAMP).expect("stamped");
    let once = image.clone();
    stamp(&mut image, &STAMP).expect("stamped");
    assert!(image == once, "the same bytes");
    stamp(&mut image, &Stamp { secure_version: None, ..STAMP }).expect("stamped");
    assert!(image == once, "the secure version stays");
    stamp(&mut image, &Stamp { version: "1", product: "l", secure_version: Some(4) }).expect("stamped");
    let found = descriptor(&image);
    assert_eq!((found.own_version(), found.project_name(), found.secure_version()), (Some("1"), "l", 4));
    stamp(&mut image, &STAMP).expect("stamped");
    assert!(image == once, "nothing of the other is left");
}

#[test]
fn what_cannot_be_stamped_is_refused_and_left_as_it_was() {
    let key = SigningKey::generate(Scheme::EcdsaP256).expect("a key");
    let signed = sign(&arduino(), &key).expect("sound");
    let mut corrupt = arduino();
    corrupt[5000] ^= 1;
    let mut bare = arduino();
    // Without the descriptor's magic, and with the checksum that then holds.
    bare.truncate(bare.len() - 32);
    (bare[23], bare[0x20]) = (0, 0);
    *bare.last_mut().expect("a checksum") ^= 0x32;
    let own = Build::new(Chip::Esp32S3, "1.2.0").bytes();
    let long = "1.2.0-0123456789012345678901234567";
    for (image, stamped, refusal) in [
        (signed, STAMP, Some(StampError::Signed)),
        (corrupt, STAMP, None),
        (bare, STAMP, Some(StampError::NoDescriptor)),
        (own, STAMP, Some(StampError::OtherProject)),
        (arduino(), Stamp { version: long, ..STAMP }, Some(StampError::LongVersion)),
        (arduino(), Stamp { product: long, ..STAMP }, Some(StampError::LongProduct)),
    ] {
        let mut touched = image.clone();
        let error = stamp(&mut touched, &stamped).expect_err("refused");
        assert!(refusal.is_none_or(|refusal| refusal == error), "{error:?}");
        assert!(touched == image, "{error:?}");
    }
}

#[test]
fn an_image_of_the_project_itself_takes_a_stamp() {
    let mut image = Build::new(Chip::Esp32C3, "0.0.0-unknown").bytes();
    stamp(&mut image, &Stamp { product: "updraft-demo", ..STAMP }).expect("its own project");
    assert_eq!(descriptor(&image).own_version(), Some("1.2.0"));
}

proptest! {
    #[test]
    fn every_stamped_image_is_sound(
        version in "[ -~]{0,31}", product in "[a-z0-9-]{1,31}", secure: Option<u32>, hash_appended: bool, size in 1000_u32..90_000,
    ) {
        let build = Build {
            hash_appended, size_bytes: size, project_name: String::new(), ..Build::new(Chip::Esp32C6, "1.0.0")
        };
        let mut image = build.bytes();
        stamp(&mut image, &Stamp { version: &version, product: &product, secure_version: secure }).expect("stamped");
        let found = descriptor(&image);
        prop_assert_eq!((found.version(), found.project_name()), (&version[..], &product[..]));
        prop_assert_eq!(found.secure_version(), secure.unwrap_or(0));
        prop_assert!(version.len() <= STAMP_TEXT_MAX_BYTES);
    }
}
