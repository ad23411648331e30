use alloc::vec;
use alloc::vec::Vec;
use std::string::ToString;

use proptest::prelude::*;

use super::*;
use crate::build::Build;
use crate::signature::SignatureError;
use crate::{Behaviour, Chip, PREFIX_BYTES, Prefix};

fn small() -> Build {
    Build { size_bytes: 4096, ..Build::new(Chip::Esp32S3, "1.2.0") }
}

/// The verdict on bytes that come in pieces that end at these places.
fn in_pieces(mut verifier: Verifier, bytes: &[u8], cuts: &[usize]) -> Result<Summary, ImageError> {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
    cuts.push(bytes.len());
    cuts.sort_unstable();
    let mut from = 0;
    for to in cuts {
        verifier.push(&bytes[from..to])?;
        from = to;
    }
    verifier.finish()
}

/// An image with checksum and digest made right again after its content was changed.
fn mended(mut bytes: Vec<u8>, change: impl FnOnce(&mut [u8])) -> Vec<u8> {
    let summary = verify(&bytes).expect("a sound image to begin with");
    change(&mut bytes);
    let end = bytes.len() - 32;
    let sum = |sum: u8, segment: &Segment| {
        let data = &bytes[segment.offset as usize..][..segment.length_bytes as usize];
        data.iter().fold(sum, |sum, byte| sum ^ byte)
    };
    let checksum = summary.segments.iter().fold(CHECKSUM_SEED, sum);
    bytes[end - 1] = checksum;
    let digest = Sha256::digest(&bytes[..end]);
    bytes[end..].copy_from_slice(&digest);
    bytes
}

/// A sector as `espsecure sign-data` lays it out, with the digest that binds it to the image before it.
fn signed(mut bytes: Vec<u8>, blocks: usize) -> Vec<u8> {
    bytes.resize(bytes.len().next_multiple_of(4096), 0xFF);
    let digest = Sha256::digest(&bytes);
    let mut sector = vec![0xFF; 4096];
    for block in sector.chunks_exact_mut(1216).take(blocks) {
        block[..4].copy_from_slice(&[0xE7, 2, 0, 0]);
        block[4..36].copy_from_slice(&digest);
    }
    bytes.extend(sector);
    bytes
}

#[test]
fn what_was_built_is_what_is_read() {
    let bytes = Build { behaviour: Some(Behaviour::CrashesAtBoot), secure_version: 7, ..small() }.bytes();
    let summary = verify(&bytes).expect("a sound image");
    let descriptor = summary.descriptor.expect("a descriptor");
    assert_eq!(summary.chip(), Some(Chip::Esp32S3));
    assert_eq!((descriptor.version(), descriptor.project_name()), ("1.2.0", "updraft-demo"));
    assert_eq!(descriptor.idf_version(), "v5.5.1");
    assert_eq!(descriptor.secure_version(), 7);
    assert!(descriptor.is_apps_own());
    let demo = summary.demo.expect("a demo segment");
    assert_eq!((demo.version(), demo.behaviour()), ("1.2.0", Behaviour::CrashesAtBoot));
    assert_eq!(summary.total_bytes as usize, bytes.len());
    assert_eq!(summary.sha256, <[u8; 32]>::from(Sha256::digest(&bytes)));
    assert_eq!(Prefix::parse(&bytes[..PREFIX_BYTES]).expect("a prefix").descriptor, Some(descriptor));
}

#[test]
fn every_flipped_bit_is_refused() {
    let bytes = Build { size_bytes: 1024, ..small() }.bytes();
    for index in 0..bytes.len() {
        for bit in 0..8 {
            let mut corrupt = bytes.clone();
            corrupt[index] ^= 1 << bit;
            assert!(verify(&corrupt).is_err(), "bit {bit} of byte {index}");
        }
    }
}

#[test]
fn every_shortened_image_is_refused_as_cut_short() {
    let bytes = small().bytes();
    for length in 0..bytes.len() {
        match verify(&bytes[..length]) {
            Err(ImageError::Truncated { bytes, at_least }) => {
                assert!(bytes as usize == length && at_least > bytes, "{length}");
            }
            other => panic!("{length}: {other:?}"),
        }
    }
}

#[test]
fn a_corrupt_image_is_refused_by_checksum_or_by_digest() {
    let mut bytes = small().bytes();
    bytes[1000] ^= 1;
    assert!(matches!(verify(&bytes), Err(ImageError::Checksum { .. })));
    // Two changes that cancel out in the XOR.
    bytes[1004] ^= 1;
    assert_eq!(verify(&bytes), Err(ImageError::Digest));
}

#[test]
fn an_image_without_a_digest_is_sound() {
    let bytes = Build { hash_appended: false, ..small() }.bytes();
    let summary = verify(&bytes).expect("a sound image");
    assert!(!summary.header.hash_appended);
    assert_eq!(summary.total_bytes as usize, bytes.len());
}

#[test]
fn a_file_that_is_no_image_is_recognised_by_its_first_byte() {
    assert_eq!(verify(b"PK\x03\x04"), Err(ImageError::NotAnImage { first_byte: 0x50 }));
    let sentence = "this is not an ESP32 application image: it begins with 0x50, not 0xE9";
    assert_eq!(ImageError::NotAnImage { first_byte: 0x50 }.to_string(), sentence);
    assert_eq!(
        verify(&[]).expect_err("empty").to_string(),
        "this is not an ESP32 application image: it is empty"
    );
    assert_eq!(verify(&[0xFF; 3]), Err(ImageError::NotAnImage { first_byte: 0xFF }));
    assert_eq!(verify(&vec![0xFF; 0x2_0000]), Err(ImageError::NotAnImage { first_byte: 0xFF }));
}

#[test]
fn an_image_for_the_esp8266_is_recognised() {
    let mut bytes = small().bytes();
    bytes[23] = 0x40;
    assert_eq!(verify(&bytes), Err(ImageError::NotForEsp32 { hash_appended: 0x40 }));
}

#[test]
fn claims_no_image_can_keep_are_refused_before_they_are_followed() {
    let sound = small().bytes();
    for count in [0, 17, 255] {
        let mut bytes = sound.clone();
        bytes[1] = count;
        assert_eq!(verify(&bytes[..HEADER_BYTES]), Err(ImageError::SegmentCount { count }));
    }
    for length_bytes in [u32::MAX, 0x8000_0000, 0x0100_0000, 1, 2, 3] {
        let mut bytes = sound.clone();
        bytes[28..32].copy_from_slice(&length_bytes.to_le_bytes());
        assert_eq!(verify(&bytes[..32]), Err(ImageError::SegmentLength { index: 0, length_bytes }));
    }
    let mut bytes = sound;
    bytes[28..32].copy_from_slice(&(IMAGE_MAX_BYTES - 4).to_le_bytes());
    assert_eq!(verify(&bytes[..32]), Err(ImageError::TooLarge));
}

#[test]
fn an_endless_stream_is_refused_at_the_largest_size() {
    // A segment as long as can be, so that the image could still be sound at the bound.
    let mut bytes = small().bytes();
    bytes[28..32].copy_from_slice(&(IMAGE_MAX_BYTES - 32).to_le_bytes());
    bytes.resize(IMAGE_MAX_BYTES as usize, 0);
    let mut verifier = Verifier::new();
    assert_eq!(verifier.push(&bytes), Ok(()));
    assert_eq!(verifier.push(&[0]), Err(ImageError::TooLarge));
    assert_eq!(verifier.push(&[0]), Err(ImageError::TooLarge));
    assert!(!verifier.wants_more());
}

#[test]
fn a_program_for_ram_is_no_application() {
    // The first segment goes to DRAM, as a bootloader's does.
    let bytes = mended(small().bytes(), |bytes| {
        bytes[24..28].copy_from_slice(&0x3FCD_5820_u32.to_le_bytes());
    });
    assert_eq!(verify(&bytes), Err(ImageError::NotAnApplication));
}

#[test]
fn a_segment_that_the_cache_cannot_map_is_refused() {
    let bytes = mended(small().bytes(), |bytes| {
        bytes[24..28].copy_from_slice(&0x3C00_0040_u32.to_le_bytes());
    });
    let misaligned = ImageError::SegmentMisaligned { index: 0, offset: 0x20, load_address: 0x3C00_0040 };
    assert_eq!(verify(&bytes), Err(misaligned));
}

#[test]
fn an_image_for_a_chip_we_do_not_know_is_sound() {
    let bytes = mended(small().bytes(), |bytes| bytes[12..14].copy_from_slice(&0x1234_u16.to_le_bytes()));
    let summary = verify(&bytes).expect("a sound image");
    assert_eq!((summary.chip(), summary.header.chip_id), (None, 0x1234));
}

#[test]
fn trailing_bytes_are_refused_unless_they_are_a_signature_sector() {
    let bytes = small().bytes();
    let refused = Err(ImageError::TrailingBytes { end: bytes.len() as u32 });
    let with = |extra: &[u8]| verify(&[&bytes, extra].concat());
    assert_eq!(with(&[0]), refused);
    assert_eq!(with(&[0xFF]), refused);
    assert_eq!(with(&[0xFF; 8192]), refused);
    assert_eq!(with(&vec![0xFF; 0x2_0000]), refused);
    let padded = bytes.len().next_multiple_of(4096);
    assert_eq!(with(&vec![0xFF; padded - bytes.len()]), refused);
    let signed = signed(bytes.clone(), 1);
    assert!(matches!(verify(&signed[..signed.len() - 1]), Err(ImageError::Truncated { .. })));
    assert_eq!(verify(&[&signed, &[0xE7][..]].concat()), refused);
    let mut spoilt = signed.clone();
    spoilt[bytes.len()] = 0;
    assert_eq!(verify(&spoilt), refused);
}

#[test]
fn a_signature_sector_is_seen_and_belongs_to_the_identity() {
    for blocks in 1..=3 {
        let image = small().bytes();
        let bytes = signed(image.clone(), blocks);
        let summary = verify(&bytes).expect("a sound image");
        assert_eq!(usize::from(summary.signature_blocks), blocks);
        assert_eq!(summary.structural_bytes as usize, image.len());
        assert_eq!(summary.total_bytes as usize, bytes.len());
        assert_eq!(summary.sha256, <[u8; 32]>::from(Sha256::digest(&bytes)));
    }
}

#[test]
fn the_verifier_says_what_blocks_sign_and_where_they_are() {
    let image = small().bytes();
    let bytes = signed(image.clone(), 2);
    let summary = verify(&bytes).expect("a sound image");
    let offset = image.len().next_multiple_of(4096);
    assert_eq!(summary.signature_offset(), Some(offset as u32));
    assert_eq!(summary.signed_digest, Some(Sha256::digest(&bytes[..offset]).into()));
    let summary = verify(&image).expect("a sound image");
    assert_eq!((summary.signature_offset(), summary.signed_digest), (None, None));
}

#[test]
fn an_image_that_only_a_checksum_protects_is_recognised() {
    for (hash_appended, blocks, expected) in
        [(true, 0, true), (false, 1, true), (true, 1, true), (false, 0, false)]
    {
        let bytes = Build { hash_appended, ..small() }.bytes();
        let bytes = if blocks > 0 { signed(bytes, blocks) } else { bytes };
        assert_eq!(verify(&bytes).expect("a sound image").is_protected(), expected);
    }
}

#[test]
fn a_signature_block_for_another_image_is_refused_wherever_it_stands() {
    for block in 0..3_u8 {
        let mut bytes = signed(small().bytes(), 3);
        let sector = bytes.len() - 4096;
        bytes[sector + usize::from(block) * 1216 + 20] ^= 1;
        let refused = Err(ImageError::Signature { block, error: SignatureError::OtherDigest });
        assert_eq!(verify(&bytes), refused);
        // In a slot the first one may be an older image's, and is not looked at further.
        let in_slot = in_pieces(Verifier::in_slot(), &bytes, &[]);
        if block == 0 {
            assert_eq!(in_slot.expect("an unsigned image").signed_digest, None);
        } else {
            assert_eq!(in_slot, refused);
        }
    }
    // Also behind a place that was left empty.
    let mut bytes = signed(small().bytes(), 3);
    let sector = bytes.len() - 4096;
    bytes[sector + 1216..sector + 2432].fill(0xFF);
    assert_eq!(verify(&bytes).expect("a sound image").signature_blocks, 2);
    bytes[sector + 2432 + 35] ^= 1;
    assert_eq!(verify(&bytes), Err(ImageError::Signature { block: 2, error: SignatureError::OtherDigest }));
}

#[test]
fn a_signature_over_sha384_is_refused_by_name() {
    let mut bytes = signed(small().bytes(), 1);
    let sector = bytes.len() - 4096;
    bytes[sector + 1..sector + 3].copy_from_slice(&[3, 1]);
    bytes[sector + 4..sector + 52].fill(0x5A);
    let error = verify(&bytes).expect_err("refused");
    assert_eq!(error, ImageError::Signature { block: 0, error: SignatureError::P384 });
    assert!(error.to_string().contains("P-384"), "{error}");
}

#[test]
fn a_picture_of_the_whole_flash_is_recognised() {
    let bootloader = small().bytes();
    let found = Err(ImageError::MergedFlashImage { partition_table: 0x8000 });
    // From 0 on newer chips, from 0x1000 on the ESP32, with a signed bootloader, and with none of the rest.
    for (start, content) in
        [(0, bootloader.clone()), (0x1000, bootloader.clone()), (0, signed(bootloader, 1))]
    {
        let mut flash = vec![0xFF; 0x1_0000];
        flash[start..start + content.len()].copy_from_slice(&content);
        flash[0x8000..0x8002].copy_from_slice(&PARTITION_MAGIC);
        assert_eq!(verify(&flash), found);
        assert_eq!(verify(&flash[..0x8002]), found);
        assert!(verify(&flash[..0x8001]).is_err_and(|error| Err(error) != found));
    }
}

#[test]
fn a_bootloader_in_front_of_a_partition_table_is_recognised_too() {
    let mut flash = mended(small().bytes(), |bytes| {
        bytes[24..28].copy_from_slice(&0x3FCD_5820_u32.to_le_bytes());
    });
    flash.resize(0x1_0000, 0xFF);
    flash[0xF000..0xF002].copy_from_slice(&PARTITION_MAGIC);
    assert_eq!(verify(&flash), Err(ImageError::MergedFlashImage { partition_table: 0xF000 }));
}

#[test]
fn a_slot_is_read_as_far_as_its_image_goes() {
    for image in [small().bytes(), signed(small().bytes(), 2)] {
        let expected = verify(&image).expect("a sound image");
        for filler in [0xFF, 0x00, 0xE7] {
            let mut slot = image.clone();
            slot.resize(64 * 1024, filler);
            let mut verifier = Verifier::in_slot();
            let mut reads = 0;
            for read in slot.chunks(4096) {
                reads += 1;
                verifier.push(read).expect("sound");
                if !verifier.wants_more() {
                    break;
                }
            }
            assert!(reads <= 3, "{reads}");
            assert_eq!(verifier.finish(), Ok(expected.clone()));
        }
    }
}

#[test]
fn a_signature_left_behind_by_another_image_is_not_this_ones() {
    let other = signed(Build { seed: 2, ..small() }.bytes(), 1);
    let image = small().bytes();
    let mut slot = image.clone();
    slot.resize(image.len().next_multiple_of(4096), 0xFF);
    slot.extend(&other[other.len() - 4096..]);
    let mut verifier = Verifier::in_slot();
    verifier.push(&slot).expect("sound");
    assert_eq!(verifier.finish(), verify(&image));
}

#[test]
fn an_empty_slot_is_refused_at_its_first_byte() {
    assert_eq!(Verifier::in_slot().push(&[0xFF]), Err(ImageError::NotAnImage { first_byte: 0xFF }));
}

#[test]
fn header_and_descriptor_are_there_before_the_end() {
    let bytes = small().bytes();
    let mut verifier = Verifier::new();
    verifier.push(&bytes[..23]).expect("so far");
    assert_eq!(verifier.header(), None);
    verifier.push(&bytes[23..24]).expect("so far");
    assert_eq!(verifier.header().and_then(Header::chip), Some(Chip::Esp32S3));
}

#[test]
fn the_demo_segment_is_found_in_flash_by_reading_headers_only() {
    let bytes = Build { behaviour: Some(Behaviour::NeverReachesNetwork), ..small() }.bytes();
    let mut reads = 0;
    let demo = Demo::find(|offset, buffer| {
        reads += 1;
        let source = bytes.get(offset as usize..offset as usize + buffer.len()).ok_or(())?;
        buffer.copy_from_slice(source);
        Ok::<_, ()>(())
    });
    let demo = demo.expect("reads inside").expect("a demo segment");
    assert_eq!((demo.version(), demo.behaviour()), ("1.2.0", Behaviour::NeverReachesNetwork));
    assert!(reads <= 34);
    let plain = Build { behaviour: None, ..small() }.bytes();
    assert_eq!(verify(&plain).expect("a sound image").demo, None);
}

#[test]
fn the_verifier_fits_a_small_stack() {
    // On a 32-bit chip; hosts have wider pointers, but there is none inside.
    assert!(size_of::<Verifier>() <= 1200, "{}", size_of::<Verifier>());
    assert!(size_of::<Summary>() <= 700, "{}", size_of::<Summary>());
}

/// Bytes that get far into the parser: sound images, corrupt in some places, cut or continued.
fn nearly_images() -> impl Strategy<Value = Vec<u8>> {
    let damage = proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 0..3);
    let tail = prop_oneof![
        Just(0), // as it is
        Just(1), // a signature
        Just(2), // a whole flash
        Just(3)  // rubbish
    ];
    (
        any::<u64>(),
        600_u32..9000,
        any::<bool>(),
        tail,
        damage,
        any::<proptest::sample::Index>(),
        any::<bool>(),
    )
        .prop_map(|(seed, size_bytes, hash_appended, tail, damage, cut, is_cut)| {
            let build = Build { size_bytes, seed, hash_appended, ..Build::new(Chip::Esp32C3, "1.0.0") };
            let mut bytes = build.bytes();
            match tail {
                1 => bytes = signed(bytes, (seed % 4) as usize),
                2 => {
                    bytes.resize(0xA000, 0xFF);
                    bytes[0x8000..0x8002].copy_from_slice(&PARTITION_MAGIC);
                }
                3 => bytes.extend((0..seed % 10_000).map(|byte| byte as u8)),
                _ => {}
            }
            for (index, value) in damage {
                let at = index.index(bytes.len());
                bytes[at] = value;
            }
            if is_cut {
                bytes.truncate(cut.index(bytes.len()));
            }
            bytes
        })
}

proptest! {
    #[test]
    fn pieces_never_matter(bytes in nearly_images(), cuts in proptest::collection::vec(any::<usize>(), 0..40)) {
        prop_assert_eq!(in_pieces(Verifier::new(), &bytes, &cuts), verify(&bytes));
        let whole = in_pieces(Verifier::in_slot(), &bytes, &[]);
        prop_assert_eq!(in_pieces(Verifier::in_slot(), &bytes, &cuts), whole);
    }

    #[test]
    fn single_bytes_are_pieces_too(bytes in nearly_images()) {
        let cuts: Vec<usize> = (0..bytes.len()).collect();
        prop_assert_eq!(in_pieces(Verifier::new(), &bytes, &cuts), verify(&bytes));
    }

    #[test]
    fn no_bytes_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..2000), is_image: bool, count in 1_u8..17) {
        if is_image && bytes.len() > 24 {
            (bytes[0], bytes[1], bytes[23]) = (MAGIC, count, bytes[23] & 1);
        }
        let _ = verify(&bytes);
        let _ = in_pieces(Verifier::in_slot(), &bytes, &[]);
        let _ = Prefix::parse(&bytes);
        let _ = Demo::find(|offset, buffer| {
            let source = bytes.get(offset as usize..).and_then(|rest| rest.get(..buffer.len())).ok_or(())?;
            buffer.copy_from_slice(source);
            Ok::<_, ()>(())
        });
    }

    #[test]
    fn what_is_accepted_is_its_own_length_and_hash(bytes in nearly_images()) {
        if let Ok(summary) = verify(&bytes) {
            prop_assert_eq!(summary.total_bytes as usize, bytes.len());
            prop_assert_eq!(summary.sha256, <[u8; 32]>::from(Sha256::digest(&bytes)));
            prop_assert_eq!(summary.segments.len(), usize::from(summary.header.segment_count));
        }
    }
}
