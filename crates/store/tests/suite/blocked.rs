use std::collections::BTreeMap;

use bytes::Bytes;
use image::Chip;
use image::build::Build;
use updraft_store::{Blocked, StoreError};

use crate::place::{Place, assert_refused, product, v};

const KEY: &str = "esp32s3/rollback/blocked_versions.json";

pub(crate) async fn entries_come_and_go(place: &Place) {
    let store = &place.store;
    let list = async || match store.blocked(&product()).await.expect("read") {
        Blocked::List(list) => list,
        Blocked::Unreadable(why) => panic!("{why}"),
    };
    assert!(list().await.is_empty());
    store.block(&product(), &v("1.1.0"), "Boot loop after OTA").await.expect("blocked");
    store.block(&product(), &v("2.0.0"), "").await.expect("blocked");
    store.block(&product(), &v("1.1.0+x"), "Boot loop after OTA").await.expect("blocked already");
    let expected = BTreeMap::from([(v("1.1.0"), Some("Boot loop after OTA".to_owned())), (v("2.0.0"), None)]);
    assert_eq!(list().await, expected);
    let text: serde_json::Value = serde_json::from_str(&place.text(KEY).await).expect("JSON");
    assert_eq!(
        text,
        serde_json::json!({"blocked_versions": ["1.1.0", "2.0.0"], "reason": {"1.1.0": "Boot loop after OTA"}})
    );
    store.unblock(&product(), &v("1.1.0")).await.expect("unblocked");
    assert_eq!(list().await, BTreeMap::from([(v("2.0.0"), None)]));
    assert!(matches!(store.unblock(&product(), &v("1.1.0")).await, Err(StoreError::NotFound(_))));
}

pub(crate) async fn an_unreadable_list_blocks_everything_and_is_never_written(place: &Place) {
    for text in ["", "{", "[]", "{}", r#"{"blocked_versions":["latest"]}"#] {
        place.put(KEY, text).await;
        let blocked = place.store.blocked(&product()).await.expect("read");
        let why = blocked.cause(&v("0.0.1")).expect("everything is blocked");
        assert!(why.is(cause::store::LIST_UNREADABLE) && why.text("key") == KEY, "{why:?}");
        assert!(why.sentence().starts_with("every version is blocked, because "), "{why}");
        for result in [
            place.store.block(&product(), &v("1.0.0"), "x").await,
            place.store.unblock(&product(), &v("1.0.0")).await,
        ] {
            let error = result.expect_err("unreadable");
            assert!(matches!(error, StoreError::Refused(_)), "{error:?}");
            assert!(error.to_string().contains("repair or remove that file"), "{error}");
        }
        assert_eq!(place.text(KEY).await, text);
    }
    place.put(KEY, vec![b' '; 1024 * 1024 + 1]).await;
    assert!(matches!(place.store.blocked(&product()).await.expect("read"), Blocked::Unreadable(_)));
    place.delete(KEY).await;
    assert_eq!(place.store.blocked(&product()).await.expect("read"), Blocked::List(BTreeMap::new()));
}

pub(crate) async fn a_version_that_is_blocked_for_its_security_raises_the_floor_of_the_gate(place: &Place) {
    let (store, file) = (&place.store, "esp32s3/product.json");
    let image = |version: &str, secure_version: u32| -> Bytes {
        Build { size_bytes: 8192, secure_version, ..Build::new(Chip::Esp32S3, version) }.bytes().into()
    };
    place.publish("1.0.0", &image("1.0.0", 4)).await.expect("published");
    assert!(matches!(
        store.raise_secure_version(&product(), &v("1.1.0")).await,
        Err(StoreError::NotFound(_))
    ));
    place.put(file, r#"{"chip":"esp32s3","ours":[1,{"a":null}]}"#).await;
    for _ in 0..2 {
        assert_eq!(store.raise_secure_version(&product(), &v("1.0.0")).await.expect("raised"), 5);
    }
    let said: serde_json::Value = serde_json::from_str(&place.text(file).await).expect("JSON");
    assert_eq!(said, serde_json::json!({"chip": "esp32s3", "ours": [1, {"a": null}], "secure_version": 5}));
    assert_refused(place.publish("1.1.0", &image("1.1.0", 4)).await, "takes none below 5");
    place.publish("1.1.0", &image("1.1.0", 5)).await.expect("published");
    // Saved by an editor that marks its files: nothing of it is lost.
    let marked = format!("\u{feff}{}\0", r#"{"chip":"esp32s3","slot_bytes":1048576,"ours":2}"#);
    let wide: Vec<u8> =
        [0xFF, 0xFE].into_iter().chain(marked[3..].encode_utf16().flat_map(u16::to_le_bytes)).collect();
    for bytes in [marked.into_bytes(), wide] {
        place.put(file, bytes).await;
        store.raise_secure_version(&product(), &v("1.0.0")).await.expect("raised");
        let said: serde_json::Value = serde_json::from_str(&place.text(file).await).expect("JSON");
        let all =
            serde_json::json!({"chip": "esp32s3", "slot_bytes": 1_048_576, "ours": 2, "secure_version": 5});
        assert_eq!(said, all);
    }
    // What cannot be read is nobody's to write.
    place.put(file, "{").await;
    store.raise_secure_version(&product(), &v("1.1.0")).await.expect_err("unreadable");
    assert_eq!(place.text(file).await, "{");
}
