//! What `build` promises: sound images that are alike where they should be and differ where they should.

use proptest::prelude::*;
use updraft_image::build::Build;
use updraft_image::{Behaviour, Chip, Region, verify};

fn chips() -> impl Strategy<Value = Chip> {
    proptest::sample::select(&Chip::ALL[..])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_build_is_sound_and_maps_as_a_bootloader_wants_it(
        chip in chips(), seed: u64, size_bytes in 0_u32..400_000, hash_appended: bool, version in "\\PC{0,80}",
    ) {
        let build = Build { size_bytes, seed, hash_appended, ..Build::new(chip, &version) };
        let bytes = build.bytes();
        let summary = verify(&bytes).expect("a sound image");
        prop_assert_eq!(summary.chip(), Some(chip));
        for segment in summary.segments.iter() {
            let region = summary.region(segment).expect("a place the chip has");
            let end = summary.chip().and_then(|chip| chip.region(segment.load_address + segment.length_bytes - 1));
            prop_assert!(end == Some(region) || region == Region::Padding);
            if region.is_flash_mapped() {
                prop_assert_eq!(segment.load_address % 0x1_0000, segment.offset % 0x1_0000);
                prop_assert!((segment.offset + segment.length_bytes) % 0x1_0000 >= 0x24);
            }
        }
        prop_assert!(version.starts_with(summary.demo.expect("a demo segment").version()));
    }

    #[test]
    fn the_size_is_about_what_was_asked_for(chip in chips(), size_bytes in 1024_u32..2_000_000) {
        let length = Build { size_bytes, ..Build::new(chip, "1.0.0") }.bytes().len();
        let off_by = length.abs_diff(size_bytes as usize);
        prop_assert!(off_by <= 256 || (190_000..270_000).contains(&size_bytes), "{length} for {size_bytes}");
    }
}

#[test]
fn the_largest_image_is_built_and_sound() {
    let build = Build { size_bytes: u32::MAX, ..Build::new(Chip::Esp32S3, "1.0.0") };
    let summary = verify(&build.bytes()).expect("a sound image");
    assert!(summary.total_bytes > 15 << 20);
}

#[test]
fn segments_never_overlap_in_memory() {
    for chip in Chip::ALL {
        let bytes = Build { size_bytes: 1_400_000, ..Build::new(chip, "1.0.0") }.bytes();
        let summary = verify(&bytes).expect("a sound image");
        let mut ranges: Vec<_> = summary
            .segments
            .iter()
            .filter(|segment| segment.load_address != 0)
            .map(|segment| (segment.load_address, segment.load_address + segment.length_bytes))
            .collect();
        ranges.sort_unstable();
        assert!(ranges.windows(2).all(|pair| pair[0].1 <= pair[1].0), "{chip}: {ranges:x?}");
        let entry = summary.header.entry_address;
        assert!(ranges.iter().any(|(from, to)| (*from..*to).contains(&entry)), "{chip}: entry outside");
    }
}

#[test]
fn two_versions_share_most_of_their_content_and_differ() {
    let build = |version| Build { size_bytes: 1_000_000, ..Build::new(Chip::Esp32C3, version) }.bytes();
    let (old, new) = (build("1.0.0"), build("1.1.0"));
    assert_eq!(old, build("1.0.0"));
    let windows: std::collections::HashSet<&[u8]> = old.windows(256).collect();
    let shared = new.chunks_exact(256).filter(|chunk| windows.contains(chunk)).count() * 256;
    let share = shared * 100 / new.len();
    assert!((50..97).contains(&share), "{share} %");
    let in_place = old.iter().zip(&new).filter(|(old, new)| old == new).count() * 100 / new.len();
    assert!(in_place < 70, "nothing moved: {in_place} % are where they were");
}

#[test]
fn the_behaviour_is_what_differs_between_two_behaviours() {
    let build = |behaviour| Build { behaviour, ..Build::new(Chip::Esp32S3, "1.0.0") }.bytes();
    let demo = |bytes: &[u8]| verify(bytes).expect("a sound image").demo.map(|demo| demo.behaviour());
    for behaviour in [Behaviour::Healthy, Behaviour::CrashesAtBoot, Behaviour::NeverReachesNetwork] {
        assert_eq!(demo(&build(Some(behaviour))), Some(behaviour));
        assert_eq!(behaviour.name().parse(), Ok(behaviour));
    }
    assert_eq!(demo(&build(None)), None);
}
