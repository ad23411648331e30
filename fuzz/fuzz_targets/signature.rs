//! No signature sector panics the parser, and none that was not signed is believed.
#![no_main]

use libfuzzer_sys::fuzz_target;
use updraft_image::signature::{
    SIGNATURE_BLOCK_BYTES, SIGNATURE_BLOCKS_MAX, SIGNATURE_SECTOR_BYTES, SignatureError, SignatureSector,
};
use verdict::{SigningVerdict, judge};

#[path = "../../crates/image/src/signature/tests/verdict.rs"]
mod verdict;

fuzz_target!(|bytes: &[u8]| {
    // Shorter inputs mutate better; what is missing was never written.
    let mut sector = [0xFF; SIGNATURE_SECTOR_BYTES];
    let length = bytes.len().min(sector.len());
    sector[..length].copy_from_slice(&bytes[..length]);
    // Mutation would never find a CRC, so each block gets the right one.
    for block in sector.chunks_exact_mut(SIGNATURE_BLOCK_BYTES) {
        let crc = crc32(&block[..1196]);
        block[1196..1200].copy_from_slice(&crc.to_le_bytes());
    }
    let good: Vec<_> = SignatureSector::new(&sector)
        .blocks()
        .filter_map(|(_, block)| block.ok())
        .filter(|block| block.verify().is_ok())
        .collect();
    // Whoever trusts everybody believes a block if and only if one of them is good and all are of one mind.
    match judge(&sector, &|_| true) {
        SigningVerdict::Trusted { key, signed_digest } => {
            assert!(good.iter().any(|block| block.key_digest() == key && block.signed_digest() == signed_digest));
        }
        SigningVerdict::Untrusted { .. } => panic!("everybody is trusted"),
        SigningVerdict::Unusable { .. } | SigningVerdict::Unsigned | SigningVerdict::Forged { .. } => {}
    }
    let nobody = judge(&sector, &|_| false);
    assert!(!matches!(nobody, SigningVerdict::Trusted { .. } | SigningVerdict::Forged { .. }));
});

fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32| (crc >> 1) ^ if crc & 1 == 1 { 0xEDB8_8320 } else { 0 };
    !bytes.iter().fold(u32::MAX, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), |crc, _| step(crc)))
}
