//! Signed URLs of the folder store (section 2 of the contract): `…/firmware/{key}?expires=…&signature=…`.

use std::time::Duration;

use cause::store as causes;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::error::StoreError;

/// The shortest and the longest life of a signed URL, in seconds.
const LIFETIME_S: std::ops::RangeInclusive<u64> = 60..=3600;

const PURPOSE_AND_MAC_DIGITS: usize = 8 + 64;

/// Why a signed URL is not honoured. Answer 403 with this sentence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It was ours, and its time is over.
    #[error("this download link has expired; ask for the update again")]
    Expired,
    /// We did not make it, or something in it was changed.
    #[error("this download link is not valid: its signature does not fit")]
    Tampered,
}

/// Makes sure that a lifetime is one that a signed URL may have.
pub(crate) fn check_lifetime(lifetime: Duration) -> Result<(), StoreError> {
    if LIFETIME_S.contains(&lifetime.as_secs()) && (lifetime.subsec_nanos() == 0 || lifetime.as_secs() < 3600)
    {
        return Ok(());
    }
    let cause = causes::LIFETIME.with("shortest", *LIFETIME_S.start()).with("longest", *LIFETIME_S.end());
    Err(StoreError::Invalid(cause.naming("lifetime", format!("{lifetime:?}"))))
}

/// The signature of a key until `expires` (Unix seconds), as 64 hexadecimal digits, before which stand 8 of what it is for.
pub(crate) fn signature(signing_key: &[u8; 32], key: &str, expires: i64, purpose: Option<u32>) -> String {
    let digits = purpose.map(|purpose| format!("{purpose:08x}")).unwrap_or_default();
    let mac = mac(signing_key, key, &expires.to_string(), &digits).finalize().into_bytes();
    digits + &hex::encode(mac)
}

/// Checks a signature in constant time, and then the time.
pub(crate) fn verify(
    signing_key: &[u8; 32],
    key: &str,
    expires: &str,
    signature: &str,
    now_unix: i64,
) -> Result<Option<u32>, Refused> {
    let mut given = [0; 32];
    let (digits, signature) = match signature.len() {
        PURPOSE_AND_MAC_DIGITS => signature.split_at_checked(8).ok_or(Refused::Tampered)?,
        _ => ("", signature),
    };
    // Only the spelling that we write: upper-case digits would make a second URL of the first.
    let is_lower = !digits.bytes().chain(signature.bytes()).any(|byte| byte.is_ascii_uppercase());
    if !is_lower || hex::decode_to_slice(signature, &mut given).is_err() {
        return Err(Refused::Tampered);
    }
    mac(signing_key, key, expires, digits).verify_slice(&given).map_err(|_| Refused::Tampered)?;
    let expires: i64 = expires.parse().map_err(|_| Refused::Tampered)?;
    if now_unix >= expires { Err(Refused::Expired) } else { Ok(u32::from_str_radix(digits, 16).ok()) }
}

fn mac(signing_key: &[u8; 32], key: &str, expires: &str, purpose: &str) -> Hmac<Sha256> {
    let mut mac = Hmac::new_from_slice(signing_key).expect("HMAC takes keys of any length");
    // The time comes first and holds no new line that we would sign, so no two pairs give one text.
    let what = if purpose.is_empty() { "1".to_owned() } else { format!("for {purpose}") };
    for part in [&*format!("updraft firmware url {what}"), expires, key] {
        mac.update(part.as_bytes());
        mac.update(b"\n");
    }
    mac
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KEY: [u8; 32] = [7; 32];

    #[test]
    fn lifetimes_outside_the_contract_are_refused() {
        for seconds in [60, 300, 3600] {
            assert!(check_lifetime(Duration::from_secs(seconds)).is_ok());
        }
        for millis in [0, 59_999, 3_600_001, 10_000_000] {
            assert!(check_lifetime(Duration::from_millis(millis)).is_err());
        }
    }

    #[test]
    fn a_url_ends_with_its_last_second() {
        let signature = signature(&KEY, "p/production/firmware.bin", 1000, None);
        let at = |now| verify(&KEY, "p/production/firmware.bin", "1000", &signature, now);
        assert_eq!(at(999), Ok(None));
        assert_eq!(at(1000), Err(Refused::Expired));
        assert_eq!(
            verify(&[8; 32], "p/production/firmware.bin", "1000", &signature, 1),
            Err(Refused::Tampered)
        );
        let upper = signature.to_uppercase();
        assert_eq!(verify(&KEY, "p/production/firmware.bin", "1000", &upper, 1), Err(Refused::Tampered));
    }

    proptest! {
        #[test]
        fn nothing_but_what_was_signed_is_honoured(
            key in ".{0,30}", expires in 1i64..4_000_000_000,
            other_key in ".{0,30}", other_expires in "[0-9+ -]{0,11}", flipped in 0usize..64,
            purpose in proptest::option::of(0u32..),
        ) {
            let signed = signature(&KEY, &key, expires, purpose);
            prop_assert_eq!(verify(&KEY, &key, &expires.to_string(), &signed, 0), Ok(purpose));
            if other_key != key {
                prop_assert_eq!(verify(&KEY, &other_key, &expires.to_string(), &signed, 0), Err(Refused::Tampered));
            }
            if other_expires != expires.to_string() {
                prop_assert_eq!(verify(&KEY, &key, &other_expires, &signed, 0), Err(Refused::Tampered));
            }
            // Without what it is for it is another one's, too.
            if purpose.is_some() {
                prop_assert_eq!(verify(&KEY, &key, &expires.to_string(), &signed[8..], 0), Err(Refused::Tampered));
            }
            let mut changed = signed.into_bytes();
            changed[flipped] = if changed[flipped] == b'0' { b'1' } else { b'0' };
            let changed = String::from_utf8(changed).expect("digits");
            prop_assert_eq!(verify(&KEY, &key, &expires.to_string(), &changed, 0), Err(Refused::Tampered));
        }

        #[test]
        fn any_text_is_refused_without_panic(key in ".{0,20}", expires in ".{0,20}", signature in ".{0,80}") {
            prop_assert!(verify(&KEY, &key, &expires, &signature, 0).is_err());
        }
    }
}
