use std::collections::BTreeMap;

use updraft_store::{Blocked, StoreError};

use crate::place::{Place, product, v};

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
