//! What is signed and what is refused, without any other tool.

use updraft_image::build::Build;
use updraft_image::signature::{Scheme, SignatureError};
use updraft_image::signing::{KeyError, PublicKey, SignError, SigningKey, append, sign};
use updraft_image::{Chip, ImageError, verify};

fn image() -> Vec<u8> {
    Build { size_bytes: 4096, ..Build::new(Chip::Esp32C3, "1.0.0") }.bytes()
}

fn key() -> SigningKey {
    SigningKey::generate(Scheme::EcdsaP256).expect("a key")
}

#[test]
fn a_key_comes_back_from_its_files() {
    for scheme in [Scheme::Rsa3072, Scheme::EcdsaP256] {
        let key = SigningKey::generate(scheme).expect("a key");
        let again = SigningKey::from_pem(&key.to_pem()).expect("the same key");
        assert_eq!(again.public(), key.public());
        assert_eq!(PublicKey::from_pem(&key.public().to_pem()), Ok(key.public()));
        assert_eq!(PublicKey::from_pem(&key.to_pem()), Ok(key.public()));
        assert_eq!(SigningKey::from_pem(&key.public().to_pem()).expect_err("half a key"), KeyError::Public);
        // With Windows' line ends, and with the words that some tools put before a key.
        let edited = format!("some words\n{}", key.to_pem()).replace('\n', "\r\n");
        assert_eq!(PublicKey::from_pem(&edited), Ok(key.public()));
    }
}

#[test]
fn what_is_no_key_is_refused_in_a_sentence() {
    let refusal = |text: &str| PublicKey::from_pem(text).expect_err("no key");
    assert_eq!(refusal(""), KeyError::NotPem);
    assert_eq!(refusal("-----BEGIN CERTIFICATE-----"), KeyError::NotPem);
    assert_eq!(refusal("-----BEGIN ENCRYPTED PRIVATE KEY-----\n"), KeyError::Encrypted);
    for label in ["PUBLIC KEY", "PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY"] {
        let text = format!("-----BEGIN {label}-----\nAAAA\n-----END {label}-----\n");
        assert_eq!(refusal(&text), KeyError::Unsupported, "{label}");
    }
}

#[test]
fn a_signed_image_is_signed_again_only_by_another_key_and_at_most_thrice() {
    let keys = [key(), key(), key(), key()];
    let mut signed = sign(&image(), &keys[0]).expect("signed");
    assert_eq!(sign(&signed, &keys[1]), Err(SignError::AlreadySigned));
    assert_eq!(append(&signed, &keys[0]), Err(SignError::SameKey));
    for (count, key) in (2..).zip(&keys[1..3]) {
        signed = append(&signed, key).expect("one more");
        assert_eq!(verify(&signed).expect("sound").signature_blocks, count);
    }
    assert_eq!(append(&signed, &keys[3]), Err(SignError::Full));
    let unsigned = append(&image(), &keys[0]).expect("the first");
    assert_eq!(verify(&unsigned).expect("sound").signature_blocks, 1);
}

#[test]
fn nothing_is_added_beside_a_signature_that_is_not_good() {
    let mut signed = sign(&image(), &key()).expect("signed");
    let last = signed.len() - 4096 + 110;
    signed[last] ^= 1;
    let refused = SignError::Existing { block: 0, error: SignatureError::Damaged };
    assert_eq!(append(&signed, &key()), Err(refused));
    assert!(refused.to_string().contains("block 1"), "{refused}");
}

#[test]
fn what_is_not_a_sound_image_is_not_signed() {
    let refused = Err(SignError::Image(ImageError::NotAnImage { first_byte: b'h' }));
    assert_eq!(sign(b"hello", &key()), refused);
    let mut corrupt = image();
    corrupt[1000] ^= 1;
    assert!(matches!(sign(&corrupt, &key()), Err(SignError::Image(ImageError::Checksum { .. }))));
}

#[test]
fn a_secret_key_is_not_shown() {
    assert_eq!(format!("{:?}", key()), "SigningKey(EcdsaP256)");
}
