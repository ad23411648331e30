extern crate std;

use p256::ecdsa::signature::hazmat::{PrehashSigner, PrehashVerifier};
use p256::ecdsa::{Signature, SigningKey, VerifyingKey};
use proptest::prelude::*;

use super::number::Modulus;
use super::*;

/// What the crate `p256` says of a block.
fn theirs(block: &[u8; SIGNATURE_BLOCK_BYTES]) -> Result<(), SignatureError> {
    let big_endian = |offset: usize| {
        let mut pair = [0; 64];
        pair.copy_from_slice(&block[offset..offset + 64]);
        pair[..32].reverse();
        pair[32..].reverse();
        pair
    };
    let mut point = [4; 65];
    point[1..].copy_from_slice(&big_endian(X_OFFSET));
    let key = VerifyingKey::from_sec1_bytes(&point).map_err(|_| SignatureError::BadKey)?;
    let signature = Signature::from_slice(&big_endian(R_OFFSET)).map_err(|_| SignatureError::BadSignature)?;
    key.verify_prehash(&block[DIGEST_OFFSET..36], &signature).map_err(|_| SignatureError::BadSignature)
}

/// A number in the block's byte order.
fn put(block: &mut [u8; SIGNATURE_BLOCK_BYTES], offset: usize, big_endian: &[u8]) {
    for (place, byte) in block[offset..offset + 32].iter_mut().zip(big_endian.iter().rev()) {
        *place = *byte;
    }
}

/// What a key signs, as far as a block holds it for this module.
fn signed(key: &SigningKey, digest: [u8; 32]) -> [u8; SIGNATURE_BLOCK_BYTES] {
    let mut block = [0; SIGNATURE_BLOCK_BYTES];
    block[DIGEST_OFFSET..36].copy_from_slice(&digest);
    let point = key.verifying_key().to_sec1_point(false);
    let signature: Signature = key.sign_prehash(&digest).expect("a signature");
    put(&mut block, X_OFFSET, point.x().expect("not at infinity"));
    put(&mut block, Y_OFFSET, point.y().expect("not at infinity"));
    put(&mut block, R_OFFSET, &signature.to_bytes()[..32]);
    put(&mut block, S_OFFSET, &signature.to_bytes()[32..]);
    block
}

fn key(secret: [u8; 32]) -> Option<SigningKey> {
    SigningKey::from_slice(&secret).ok()
}

/// Numbers at the ends of what 256 bits, the prime and the order allow.
fn edge() -> impl Strategy<Value = [u8; 32]> {
    let number = |modulus: &Modulus, off: i8| {
        let mut words = modulus.n;
        words[0] = words[0].wrapping_add_signed(off.into());
        words
    };
    let words = prop_oneof![
        (-3..4_i8).prop_map(move |off| number(&PRIME, off)),
        (-3..4_i8).prop_map(move |off| number(&ORDER, off)),
        (0..4_u32).prop_map(|low| [low, 0, 0, 0, 0, 0, 0, 0]),
        (0..4_u32).prop_map(|low| [
            u32::MAX - low,
            u32::MAX,
            u32::MAX,
            u32::MAX,
            u32::MAX,
            u32::MAX,
            u32::MAX,
            u32::MAX
        ]),
    ];
    words.prop_map(|words: Number| {
        let mut bytes = [0; 32];
        for (place, word) in bytes.chunks_mut(4).zip(words.iter().rev()) {
            place.copy_from_slice(&word.to_be_bytes());
        }
        bytes
    })
}

fn any_number() -> impl Strategy<Value = [u8; 32]> {
    prop_oneof![any::<[u8; 32]>(), edge()]
}

proptest! {
    #[test]
    fn what_a_key_signed_is_good_and_one_flipped_bit_is_not(
        secret in any_number(), digest in any_number(), bit in DIGEST_OFFSET * 8..(S_OFFSET + 32) * 8,
    ) {
        let Some(key) = key(secret) else { return Ok(()) };
        let mut block = signed(&key, digest);
        prop_assert_eq!((verify(&block), theirs(&block)), (Ok(()), Ok(())));
        block[bit / 8] ^= 1 << (bit % 8);
        prop_assert_eq!(verify(&block), theirs(&block));
    }

    #[test]
    fn any_numbers_are_judged_as_the_crate_p256_does(
        secret in any_number(), digest in any_number(), r in any_number(), s in any_number(), x in any_number(), y in any_number(),
        which in 0..32_u8,
    ) {
        let Some(key) = key(secret) else { return Ok(()) };
        let mut block = signed(&key, digest);
        for (nth, (offset, number)) in [(X_OFFSET, x), (Y_OFFSET, y), (R_OFFSET, r), (S_OFFSET, s)].iter().enumerate() {
            if which >> nth & 1 == 1 {
                put(&mut block, *offset, number);
            }
        }
        if which >> 4 == 1 {
            block[DIGEST_OFFSET..36].copy_from_slice(&[0; 32]);
        }
        prop_assert_eq!(verify(&block), theirs(&block));
    }
}

/// With the base point as key, u·G + v·G meets equal points, opposite ones and infinity on its way.
#[test]
fn points_that_meet_are_added_right() {
    for secret in 1..=16_u8 {
        let mut bytes = [0; 32];
        bytes[31] = secret;
        for key in [key(bytes).expect("a key")] {
            for digest in [[0; 32], [0xFF; 32], bytes] {
                let mut block = signed(&key, digest);
                assert_eq!((verify(&block), theirs(&block)), (Ok(()), Ok(())), "{secret} {digest:?}");
                // The signature of r = s = x of a small multiple is one that anybody can find for some digest.
                for small in 1..=16_u8 {
                    let mut number = [0; 32];
                    number[31] = small;
                    put(&mut block, S_OFFSET, &number);
                    assert_eq!(verify(&block), theirs(&block), "{secret} {small}");
                }
            }
        }
    }
}
