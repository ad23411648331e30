use proptest::prelude::*;

use sha2::{Digest, Sha256};

use super::*;
use verdict::{SigningVerdict, judge};

mod verdict;

type Block = [u8; SIGNATURE_BLOCK_BYTES];

// Of `updraft\n`, padded with 0xFF to 4096 bytes, as espsecure 5.6.0 signed it with keys of every kind that it makes.
// The second RSA key's exponent is 101, whose bits lead through the whole of the power.
const RSA: &Block = include_bytes!("../../tests/data/rsa3072.block");
const RSA_E101: &Block = include_bytes!("../../tests/data/rsa3072-e101.block");
const P256: &Block = include_bytes!("../../tests/data/p256.block");
const P384: &Block = include_bytes!("../../tests/data/p384.block");
const P192: &Block = include_bytes!("../../tests/data/p192.block");

fn verdict(block: &Block) -> Result<(), SignatureError> {
    SignatureBlock::parse(block)?.verify()
}

/// The block with its CRC made right again after a change.
fn mended(block: &Block, change: impl FnOnce(&mut Block)) -> Block {
    let mut block = *block;
    change(&mut block);
    let crc = crc32(&block[..CRC_OFFSET]);
    block[CRC_OFFSET..CRC_OFFSET + 4].copy_from_slice(&crc.to_le_bytes());
    block
}

/// A number of the block's, added to.
fn add(block: &mut Block, offset: usize, words: usize, addend: impl Fn(usize) -> u32) {
    let mut carry = 0;
    for index in 0..words {
        let at = offset + 4 * index;
        let sum = u64::from(u32_at(block, at)) + u64::from(addend(index)) + carry;
        block[at..at + 4].copy_from_slice(&sum.to_le_bytes()[..4]);
        carry = sum >> 32;
    }
}

/// What the flip of any byte gives, also where the CRC is made to fit.
fn every_flip_is_refused(block: &Block) {
    for index in 0..SIGNATURE_BLOCK_BYTES {
        let flip = 1 << (index % 8);
        let mut flipped = *block;
        flipped[index] ^= flip;
        assert!(SignatureBlock::parse(&flipped).is_err(), "byte {index}");
        if index < CRC_OFFSET {
            let flipped = mended(block, |block| block[index] ^= flip);
            assert!(verdict(&flipped).is_err(), "byte {index}, CRC mended");
        }
    }
}

#[test]
fn what_espsecure_signed_is_verified() {
    let mut padded = [0xFF; 4096];
    padded[..8].copy_from_slice(b"updraft\n");
    let digest = <[u8; 32]>::from(Sha256::digest(padded));
    for (bytes, scheme) in [(RSA, Scheme::Rsa3072), (RSA_E101, Scheme::Rsa3072), (P256, Scheme::EcdsaP256)] {
        let block = SignatureBlock::parse(bytes).expect("a block");
        assert_eq!((block.scheme(), block.signed_digest()), (scheme, digest));
        assert_eq!(block.verify(), Ok(()), "{scheme}");
    }
}

#[test]
fn keys_have_the_digests_that_espsecure_prints() {
    let printed = [
        (RSA, "feccf6e9b268645e2cb6f307d2b4a1ed46e3bfe5aafd563285a17ed17fc94343"),
        (RSA_E101, "36b0c2cb71903da4ad10a4c36a47865f7237a256a381a9b9d457fcda8190835b"),
        (P256, "debea4513ea579deb31e4317a94aa17395ae50a5c03790a4b57d0629d60ab770"),
    ];
    for (bytes, expected) in printed {
        let digest = SignatureBlock::parse(bytes).expect("a block").key_digest();
        let pair = |index: usize| u8::from_str_radix(&expected[2 * index..][..2], 16).expect("hexadecimal");
        assert_eq!(digest, core::array::from_fn(pair));
    }
}

#[test]
fn curves_that_are_not_supported_are_refused_by_name() {
    assert_eq!(SignatureBlock::parse(P384), Err(SignatureError::P384));
    assert_eq!(SignatureBlock::parse(P192), Err(SignatureError::P192));
    let curve = mended(P256, |block| block[36] = 7);
    assert_eq!(SignatureBlock::parse(&curve), Err(SignatureError::UnknownCurve { curve: 7 }));
    for version in [0, 1, 4, 255] {
        let block = mended(RSA, |block| block[1] = version);
        assert_eq!(SignatureBlock::parse(&block), Err(SignatureError::UnknownVersion { version }));
    }
    let block = mended(P256, |block| block[2] = 2);
    assert_eq!(SignatureBlock::parse(&block), Err(SignatureError::UnknownVersion { version: 3 }));
    assert_eq!(SignatureBlock::parse(&[0; _]), Err(SignatureError::NotABlock { first_byte: 0 }));
}

#[test]
fn every_flipped_byte_of_an_rsa_block_is_refused() {
    every_flip_is_refused(RSA);
}

#[test]
fn every_flipped_byte_of_an_ecdsa_block_is_refused() {
    every_flip_is_refused(P256);
}

#[test]
fn montgomery_constants_that_are_not_the_moduluss_own_are_refused() {
    let n = |index: usize| u32_at(RSA, 36 + 4 * index);
    let forgeries = [
        // R + 1, R = 0, R = 1, R + N where that fits.
        mended(RSA, |block| add(block, 424, 96, |index| u32::from(index == 0))),
        mended(RSA, |block| block[424..808].fill(0)),
        mended(RSA, |block| {
            block[424..808].fill(0);
            block[424] = 1;
        }),
        mended(RSA, |block| add(block, 424, 96, n)),
        mended(RSA, |block| block[424..808].fill(0xFF)),
        // M′ of other moduli.
        mended(RSA, |block| block[808..812].fill(0)),
        mended(RSA, |block| add(block, 808, 1, |_| 2)),
        // Even, short, none at all.
        mended(RSA, |block| block[36] &= 0xFE),
        mended(RSA, |block| block[419] &= 0x7F),
        mended(RSA, |block| block[36..420].fill(0)),
    ];
    for (index, forgery) in forgeries.iter().enumerate() {
        assert_eq!(verdict(forgery), Err(SignatureError::BadKey), "forgery {index}");
    }
}

#[test]
fn exponents_that_no_key_has_are_refused() {
    for e in [0_u32, 1, 2, 65_536, u32::MAX - 1] {
        let block = mended(RSA, |block| block[420..424].copy_from_slice(&e.to_le_bytes()));
        assert_eq!(verdict(&block), Err(SignatureError::BadKey), "{e}");
    }
    for e in [3_u32, 5, 65_539, u32::MAX] {
        let block = mended(RSA, |block| block[420..424].copy_from_slice(&e.to_le_bytes()));
        assert_eq!(verdict(&block), Err(SignatureError::BadSignature), "{e}");
    }
}

#[test]
fn a_signature_that_is_no_number_below_the_modulus_is_refused() {
    // The same residue, if it fits into 3072 bits; else some other number: refused either way.
    let n = |index: usize| u32_at(RSA, 36 + 4 * index);
    let raised = mended(RSA, |block| add(block, 812, 96, n));
    let modulus = mended(RSA, |block| block.copy_within(36..420, 812));
    let highest = mended(RSA, |block| block[812..1196].fill(0xFF));
    let zero = mended(RSA, |block| block[812..1196].fill(0));
    let one = mended(RSA, |block| {
        block[812..1196].fill(0);
        block[812] = 1;
    });
    for forgery in [raised, modulus, highest, zero, one] {
        assert_eq!(verdict(&forgery), Err(SignatureError::BadSignature));
    }
}

#[test]
fn points_and_scalars_outside_the_curve_are_refused() {
    let bad = |from: usize, to: usize, byte: u8| verdict(&mended(P256, |block| block[from..to].fill(byte)));
    for byte in [0, 1, 0xFF] {
        assert_eq!(bad(37, 101, byte), Err(SignatureError::BadKey), "X, Y of {byte}");
        assert_eq!(bad(101, 133, byte), Err(SignatureError::BadSignature), "r of {byte}");
        assert_eq!(bad(133, 165, byte), Err(SignatureError::BadSignature), "s of {byte}");
    }
}

fn sector(blocks: [Option<&Block>; 3]) -> [u8; SIGNATURE_SECTOR_BYTES] {
    let mut sector = [0xFF; SIGNATURE_SECTOR_BYTES];
    for (place, block) in sector.chunks_exact_mut(SIGNATURE_BLOCK_BYTES).zip(blocks) {
        if let Some(block) = block {
            place.copy_from_slice(block);
        }
    }
    sector
}

fn key(block: &Block) -> [u8; 32] {
    SignatureBlock::parse(block).expect("a block").key_digest()
}

#[test]
fn any_block_by_any_trusted_key_suffices() {
    let signed_digest = SignatureBlock::parse(RSA).expect("a block").signed_digest();
    let corrupt = &{
        let mut block = *RSA;
        block[500] ^= 1;
        block
    };
    for blocks in [
        [Some(P256), None, None],
        [Some(RSA), Some(P256), None],
        [Some(RSA), Some(RSA_E101), Some(P256)],
        [Some(corrupt), Some(P256), None],
        [Some(RSA), None, Some(P256)],
    ] {
        let sector = sector(blocks);
        let verdict = judge(&sector, &|digest| *digest == key(P256));
        assert_eq!(verdict, SigningVerdict::Trusted { key: key(P256), signed_digest });
    }
}

#[test]
fn an_untrusted_signer_differs_from_no_signer() {
    assert_eq!(judge(&[0xFF; _], &|_| true), SigningVerdict::Unsigned);
    assert_eq!(judge(&[0; _], &|_| true), SigningVerdict::Unsigned);
    let sector = sector([Some(RSA), Some(P256), None]);
    match judge(&sector, &|_| false) {
        SigningVerdict::Untrusted { signers } => assert_eq!(signers[..], [key(RSA), key(P256)]),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_trusted_keys_name_on_a_forgery_is_not_enough() {
    for block in [RSA, P256] {
        let forged = mended(block, |block| block[4] ^= 1);
        let verdict = judge(&sector([Some(&forged), None, None]), &|_| true);
        let error = SignatureError::BadSignature;
        assert_eq!(verdict, SigningVerdict::Forged { key: key(block), error });
        // The same key's good signature in another block is for something else.
        let verdict = judge(&sector([Some(&forged), Some(block), None]), &|_| true);
        assert_eq!(verdict, SigningVerdict::Unusable { error: SignatureError::OtherDigest });
    }
}

#[test]
fn a_sector_without_a_usable_block_says_why() {
    let verdict = |block| judge(&sector([Some(block), None, None]), &|_| true);
    assert_eq!(verdict(P384), SigningVerdict::Unusable { error: SignatureError::P384 });
    let mut corrupt = *P256;
    corrupt[1000] = 1;
    assert_eq!(verdict(&corrupt), SigningVerdict::Unusable { error: SignatureError::Damaged });
}

#[test]
fn the_verdict_fits_a_small_stack() {
    assert!(size_of::<SigningVerdict>() <= 128, "{}", size_of::<SigningVerdict>());
    assert!(size_of::<SignatureBlock<'_>>() <= 16, "{}", size_of::<SignatureBlock<'_>>());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_block_panics(bytes in proptest::collection::vec(any::<u8>(), SIGNATURE_BLOCK_BYTES), version in 0_u8..5,
                       curve in 0_u8..4, from in 0..SIGNATURE_BLOCK_BYTES, length in 0..SIGNATURE_BLOCK_BYTES) {
        // Parts of real blocks, and all of them at random, with a right head and a right CRC.
        for base in [RSA, P256, &[0; SIGNATURE_BLOCK_BYTES]] {
            let block = mended(base, |block| {
                let to = (from + length).min(SIGNATURE_BLOCK_BYTES - 16);
                let from = from.min(to);
                block[from..to].copy_from_slice(&bytes[from..to]);
                (block[0], block[1], block[2], block[3]) = (BLOCK_MAGIC, version, 0, 0);
                if version == VERSION_ECDSA {
                    block[36] = curve;
                    block[P256_END..CRC_OFFSET].fill(0);
                }
                block[CRC_OFFSET + 4..].fill(0);
            });
            let changed = block != *base;
            let verdict = verdict(&block);
            prop_assert!(!(changed && verdict.is_ok()));
        }
    }

    #[test]
    fn no_sector_panics(mut bytes in proptest::collection::vec(any::<u8>(), SIGNATURE_SECTOR_BYTES), begins: [bool; 3]) {
        for (place, begins) in begins.into_iter().enumerate() {
            if begins {
                bytes[place * SIGNATURE_BLOCK_BYTES] = BLOCK_MAGIC;
            }
        }
        let sector: &[u8; SIGNATURE_SECTOR_BYTES] = bytes.as_slice().try_into().expect("4096 bytes");
        let is_accepted = matches!(judge(sector, &|_| true), SigningVerdict::Trusted { .. });
        prop_assert!(!is_accepted);
    }
}
