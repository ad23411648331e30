use updraft_store::StoreError;

use crate::place::{Place, assert_refused, product, production, s3_image, v};

pub(crate) async fn promoting_copies_the_release_and_is_idempotent(place: &Place) {
    let store = &place.store;
    let (first, second) = (s3_image("1.0.0", 1), s3_image("1.1.0", 1));
    place.publish("1.0.0", &first).await.expect("published");
    place.publish("1.1.0", &second).await.expect("published");
    assert_eq!(store.channel(&product(), &production()).await.expect("read"), None);
    for (version, image) in [("1.0.0", &first), ("1.1.0", &second), ("1.1.0", &second), ("1.0.0", &first)] {
        place.promote(version).await.expect("promoted");
        assert_eq!(store.channel(&product(), &production()).await.expect("read"), Some(v(version)));
        assert_eq!(place.get("esp32s3/production/firmware.bin").await.as_ref(), Some(image));
        assert_eq!(place.text("esp32s3/production/version.txt").await, format!("{version}\n"));
        assert_eq!(
            place.get("esp32s3/production/metadata.json").await,
            place.get(&format!("esp32s3/releases/v{version}/metadata.json")).await
        );
        let artifact =
            store.artifact(&product(), &production(), &v(version)).await.expect("read").expect("there");
        assert_eq!(artifact.key, format!("esp32s3/releases/v{version}/firmware.bin"));
        assert_eq!(artifact.size, image.len() as u64);
        assert!(artifact.sha256.is_some());
    }
    store.promote(&product(), &v("1.1.0"), &"beta".parse().expect("a channel")).await.expect("promoted");
    let channels = store.channels(&product()).await.expect("listed");
    let channels: Vec<_> = channels.iter().map(|(name, version)| (name.as_str(), version.clone())).collect();
    assert_eq!(channels, [("beta", Some(v("1.1.0"))), ("production", Some(v("1.0.0")))]);
}

pub(crate) async fn unknown_metadata_keys_survive(place: &Place) {
    place.publish("1.0.0", &s3_image("1.0.0", 1)).await.expect("published");
    let key = "esp32s3/releases/v1.0.0/metadata.json";
    let mut metadata: serde_json::Value = serde_json::from_str(&place.text(key).await).expect("JSON");
    metadata["build_number"] = 4711.into();
    metadata["team"] = serde_json::json!({"name": "sensors"});
    place.put(key, metadata.to_string()).await;
    place.promote("1.0.0").await.expect("promoted");
    let copied = place.text("esp32s3/production/metadata.json").await;
    assert_eq!(serde_json::from_str::<serde_json::Value>(&copied).expect("JSON"), metadata);
}

pub(crate) async fn blocked_and_unknown_versions_are_refused(place: &Place) {
    place.publish("1.0.0", &s3_image("1.0.0", 1)).await.expect("published");
    place.store.block(&product(), &v("1.0.0"), "Boot loop after OTA").await.expect("blocked");
    assert_refused(place.promote("1.0.0").await, "Boot loop after OTA");
    let error = place.promote("9.9.9").await.expect_err("unknown");
    assert!(matches!(error, StoreError::NotFound(_)), "{error:?}");
    place.put("esp32s3/rollback/blocked_versions.json", "{").await;
    assert_refused(place.promote("1.0.0").await, "");
    assert_eq!(place.store.channel(&product(), &production()).await.expect("read"), None);
    assert!(place.get("esp32s3/production/firmware.bin").await.is_none());
}

pub(crate) async fn a_channel_that_differs_from_its_release_offers_nothing(place: &Place) {
    let artifact = async || place.store.artifact(&product(), &production(), &v("1.0.0")).await;
    place.publish("1.0.0", &s3_image("1.0.0", 1)).await.expect("published");
    place.promote("1.0.0").await.expect("promoted");
    assert!(artifact().await.expect("read").is_some());
    place.put("esp32s3/production/firmware.bin", vec![0xE9; 77]).await;
    let error = artifact().await.expect_err("other size");
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
    assert!(error.to_string().contains("differ"), "{error}");
    place.promote("1.0.0").await.expect("promoted again");
    assert!(artifact().await.expect("read").is_some());
    let other = s3_image("1.0.0", 2);
    let digest = {
        use sha2::Digest;
        contract::Sha256(sha2::Sha256::digest(&other).into())
    };
    place.put("esp32s3/production/firmware.bin", other.clone()).await;
    place.put("esp32s3/production/metadata.json", format!("{{\"sha256\":\"{digest}\"}}")).await;
    assert!(artifact().await.is_err(), "same size, other digest");
}

pub(crate) async fn a_corrupt_release_is_not_promoted(place: &Place) {
    place.publish("1.0.0", &s3_image("1.0.0", 1)).await.expect("published");
    place.put("esp32s3/releases/v1.0.0/firmware.bin", s3_image("1.0.0", 2)).await;
    let error = place.promote("1.0.0").await.expect_err("corrupt");
    assert!(error.to_string().contains("sha256"), "{error}");
    place.delete("esp32s3/releases/v1.0.0/firmware.bin").await;
    assert!(place.promote("1.0.0").await.is_err());
    assert_eq!(place.store.channel(&product(), &production()).await.expect("read"), None);
}

pub(crate) async fn blocked_bytes_are_promoted_under_no_name(place: &Place) {
    let image = s3_image("1.0.0", 1);
    place.publish("1.0.0", &image).await.expect("published");
    place.store.block(&product(), &v("1.0.0"), "it hangs").await.expect("blocked");
    // As another program may put them there.
    place.put("esp32s3/releases/v2.0.0/firmware.bin", image).await;
    place.put("esp32s3/releases/v2.0.0/version.txt", "2.0.0").await;
    let error = place.promote("2.0.0").await.expect_err("refused");
    assert!(matches!(&error, StoreError::Refused(cause) if cause.code == "blocked_bytes"), "{error:?}");
    assert_eq!(place.store.channel(&product(), &production()).await.expect("read"), None);
    place.store.unblock(&product(), &v("1.0.0")).await.expect("unblocked");
    place.promote("2.0.0").await.expect("promoted");
}

pub(crate) async fn metadata_of_the_last_image_does_not_stay(place: &Place) {
    place.publish("1.0.0", &s3_image("1.0.0", 1)).await.expect("published");
    place.promote("1.0.0").await.expect("promoted");
    let image = s3_image("2.0.0", 1);
    place.put("esp32s3/releases/v2.0.0/firmware.bin", image.clone()).await;
    place.put("esp32s3/releases/v2.0.0/version.txt", "v2.0.0").await;
    place.promote("2.0.0").await.expect("promoted");
    let text = place.text("esp32s3/production/metadata.json").await;
    let metadata: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!((&metadata["version"], &metadata["chip"]), (&"2.0.0".into(), &"esp32s3".into()));
    assert_eq!(metadata["size"], image.len());
}
