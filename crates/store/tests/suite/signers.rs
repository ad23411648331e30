use bytes::Bytes;
use contract::Sha256;
use image::signature::Scheme;
use image::signing::{SigningKey, append, sign};
use updraft_store::StoreError;

use crate::place::{Place, assert_refused, s3_image};

fn key() -> SigningKey {
    SigningKey::generate(Scheme::EcdsaP256).expect("a key")
}

fn digest(key: &SigningKey) -> String {
    Sha256(key.public().digest()).to_string()
}

fn signed(version: &str, keys: &[&SigningKey]) -> Bytes {
    let image = s3_image(version, 1).to_vec();
    keys.iter().fold(image, |image, key| append(&image, key).expect("signed")).into()
}

/// Does to the sector's bytes what a fault would.
fn spoilt(image: &Bytes, block: usize, byte: usize) -> Bytes {
    let mut image = image.to_vec();
    let at = image.len() - 4096 + block * 1216 + byte;
    image[at] ^= 1;
    image.into()
}

async fn trust(place: &Place, keys: &[&SigningKey]) {
    let trusted: Vec<String> = keys.iter().map(|key| digest(key)).collect();
    place.put("esp32s3/product.json", serde_json::json!({ "trusted_keys": trusted }).to_string()).await;
}

async fn signed_by(place: &Place, version: &str) -> serde_json::Value {
    let text = place.text(&format!("esp32s3/releases/v{version}/metadata.json")).await;
    serde_json::from_str::<serde_json::Value>(&text).expect("JSON")["signed_by"].clone()
}

pub(crate) async fn a_product_with_trusted_keys_takes_only_what_one_of_them_signed(place: &Place) {
    let (old, new, unknown) = (key(), key(), key());
    trust(place, &[&old, &new]).await;
    let error = place.publish("1.0.0", &s3_image("1.0.0", 1)).await.expect_err("unsigned");
    assert!(matches!(error, StoreError::Refused(_)), "{error:?}");
    for words in ["not signed", &digest(&old), &digest(&new), "sign it"] {
        assert!(error.to_string().contains(words), "no {words} in: {error}");
    }
    let error = place.publish("1.0.0", &signed("1.0.0", &[&unknown])).await.expect_err("an unknown key");
    assert!(matches!(error, StoreError::Refused(_)), "{error:?}");
    for words in [&digest(&unknown), &digest(&old), "trusted_keys"] {
        assert!(error.to_string().contains(words), "no {words} in: {error}");
    }
    assert!(place.get("esp32s3/releases/v1.0.0/firmware.bin").await.is_none());

    // While keys overlap, either suffices, in whatever place.
    for (version, keys) in [("1.0.0", &[&old][..]), ("1.1.0", &[&unknown, &old, &new]), ("1.2.0", &[&new])] {
        place.publish(version, &signed(version, keys)).await.expect("published");
        let digests: Vec<String> = keys.iter().map(|key| digest(key)).collect();
        assert_eq!(signed_by(place, version).await, serde_json::json!(digests));
    }
    trust(place, &[&new]).await;
    assert_refused(place.publish("1.3.0", &signed("1.3.0", &[&old])).await, "");
}

pub(crate) async fn without_trusted_keys_the_unsigned_and_the_signed_are_published(place: &Place) {
    let unknown = key();
    place.publish("1.0.0", &s3_image("1.0.0", 1)).await.expect("published");
    assert_eq!(signed_by(place, "1.0.0").await, serde_json::json!([]));
    trust(place, &[]).await;
    place.publish("1.1.0", &signed("1.1.0", &[&unknown])).await.expect("published");
    assert_eq!(signed_by(place, "1.1.0").await, serde_json::json!([digest(&unknown)]));
}

pub(crate) async fn signatures_of_which_none_is_good_are_refused_always(place: &Place) {
    let (first, second) = (key(), key());
    let image = sign(&s3_image("1.0.0", 1), &first).expect("signed");
    // A byte of the signature, to which the CRC no longer fits.
    let error = place.publish("1.0.0", &spoilt(&image.into(), 0, 110)).await.expect_err("corrupt");
    assert!(matches!(error, StoreError::Invalid(_)), "{error:?}");
    assert!(error.to_string().contains("no signature of the image is good"), "{error}");

    // One good signature is one, and only that one is spoken of.
    let both = signed("1.0.0", &[&first, &second]);
    let half = spoilt(&both, 0, 110);
    trust(place, &[&first]).await;
    assert_refused(place.publish("1.0.0", &half).await, "");
    trust(place, &[&second]).await;
    place.publish("1.0.0", &half).await.expect("published");
    assert_eq!(signed_by(place, "1.0.0").await, serde_json::json!([digest(&second)]));
}

pub(crate) async fn of_so_many_trusted_keys_as_are_required_each_must_have_signed(place: &Place) {
    let (one, two, unknown) = (key(), key(), key());
    let settings =
        serde_json::json!({ "trusted_keys": [digest(&one), digest(&two)], "signatures_required": 2 });
    place.put("esp32s3/product.json", settings.to_string()).await;
    // The same key in both places counts once.
    let mut twice = signed("1.0.0", &[&one]).to_vec();
    let sector = twice.len() - 4096;
    twice.copy_within(sector..sector + 1216, sector + 1216);
    for image in [signed("1.0.0", &[&one]), signed("1.0.0", &[&unknown, &two]), twice.into()] {
        let words = "signed by 1 of the keys that esp32s3 trusts";
        assert_refused(place.publish("1.0.0", &image).await, words);
    }
    place.publish("1.0.0", &signed("1.0.0", &[&unknown, &two, &one])).await.expect("published");
}
