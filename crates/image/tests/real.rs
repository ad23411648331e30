//! Images as compilers made them are sound, and say the same in one piece, in pieces, and from a slot.
//!
//! They are not ours to carry, so they are taken from `../shared/images` beside the repository where that exists;
//! elsewhere built images of the same chips and sizes take their place.

use std::path::{Path, PathBuf};

use updraft_image::build::Build;
use updraft_image::{Chip, PREFIX_BYTES, Prefix, Stamp, Verifier, stamp, verify};

fn images() -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/images");
    let mut found: Vec<PathBuf> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .filter_map(|pair| std::fs::read_dir(pair.ok()?.path()).ok())
        .flatten()
        .filter_map(|file| Some(file.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "bin"))
        .collect();
    found.sort();
    if found.is_empty() {
        let like = [(Chip::Esp32C3, 1_503_744), (Chip::Esp32S3, 1_369_952), (Chip::Esp32, 1_360_096)];
        return like
            .map(|(chip, size_bytes)| {
                (chip.to_string(), Build { size_bytes, ..Build::new(chip, "1.0.0") }.bytes())
            })
            .to_vec();
    }
    found
        .into_iter()
        .map(|path| (path.display().to_string(), std::fs::read(path).expect("readable")))
        .collect()
}

#[test]
fn every_real_image_is_sound() {
    for (name, bytes) in images() {
        let summary = verify(&bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(summary.total_bytes as usize, bytes.len(), "{name}");
        let prefix = Prefix::parse(&bytes[..PREFIX_BYTES]).expect("a prefix");
        assert_eq!((prefix.header, prefix.descriptor), (summary.header, summary.descriptor), "{name}");
        for segment in summary.segments.iter() {
            assert!(summary.region(segment).is_some(), "{name}: {segment:x?} lies nowhere");
        }
    }
}

#[test]
fn a_real_image_is_the_same_from_a_slot() {
    for (name, bytes) in images() {
        let mut slot = bytes.clone();
        slot.resize(0x19_0000, 0xFF);
        let mut verifier = Verifier::in_slot();
        for read in slot.chunks(4096) {
            verifier.push(read).unwrap_or_else(|error| panic!("{name}: {error}"));
        }
        assert_eq!(verifier.finish(), verify(&bytes), "{name}");
    }
}

#[test]
fn every_real_image_of_a_library_s_descriptor_takes_a_stamp() {
    for (name, bytes) in images() {
        let before = verify(&bytes).expect("sound").descriptor.expect("a descriptor");
        let product = if before.is_apps_own() { before.project_name() } else { "lamp" };
        let mut stamped = bytes.clone();
        stamp(&mut stamped, &Stamp { version: "1.2.0", product, secure_version: Some(7) })
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        let after = verify(&stamped).unwrap_or_else(|error| panic!("{name}: {error}"));
        let found = after.descriptor.expect("a descriptor");
        assert_eq!((found.own_version(), found.project_name()), (Some("1.2.0"), product), "{name}");
        assert_eq!((after.total_bytes as usize, found.secure_version()), (bytes.len(), 7), "{name}");
    }
}
