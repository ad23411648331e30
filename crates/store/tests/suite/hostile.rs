//! A bucket in which somebody has put what nobody expects: what is corrupt is passed over or named, and hides nothing else.

use updraft_store::{Publication, StoreError};

use crate::place::{Place, product, production, s3_image, v};

const DEEP: usize = 100_000;

fn deep() -> String {
    format!("{}{}", "[".repeat(DEEP), "]".repeat(DEEP))
}

pub(crate) async fn a_corrupt_product_hides_no_other_and_a_corrupt_release_no_other(place: &Place) {
    let good = s3_image("1.0.0", 1);
    place.publish("1.0.0", &good).await.expect("published");
    place.promote("1.0.0").await.expect("promoted");
    place.put("esp32s3/releases/v1.1.0/firmware.bin", s3_image("1.1.0", 1)).await;
    place.put("esp32s3/releases/v1.1.0/version.txt", "1.1.0").await;
    for (number, metadata) in [
        deep(),
        r#"{"version":"1.1.0","size":1e999,"sha256":7}"#.to_owned(),
        r#"{"size":-1,"requires":{},"notes":[],"dirty":"yes","built_at":"+9999999-01-01T00:00:00Z"}"#
            .to_owned(),
        format!(r#"{{"size":{}}}"#, "9".repeat(400)),
        format!(r#"{{"notes":"{}"}}"#, "n".repeat(1_000_000)),
    ]
    .into_iter()
    .enumerate()
    {
        place.put("esp32s3/releases/v1.1.0/metadata.json", metadata).await;
        let listed = place.store.releases(&product()).await.expect("listed");
        assert_eq!(listed.len(), 2, "metadata {number}");
        let notes = listed[0].notes.as_ref().map_or(0, String::len);
        assert!(notes <= updraft_store::NOTES_MAX_BYTES, "metadata {number}: notes of {notes} bytes");
        assert_eq!(listed[0].chip.as_deref(), Some("esp32s3"), "metadata {number}");
    }
    let bad: contract::ProductName = "bad".parse().expect("a product");
    for (key, text) in [
        ("bad/product.json", deep()),
        ("bad/rollback/blocked_versions.json", deep()),
        ("bad/production/version.txt", "\u{0}\u{ff}".to_owned()),
        ("bad/releases/v1.0.0/version.txt", "1.0.0".to_owned()),
    ] {
        place.put(key, text).await;
    }
    let store = place.again().await;
    assert_eq!(store.products().await.expect("listed"), [bad.clone(), product()]);
    let publication = Publication { version: Some(v("1.0.0")), ..Publication::new(bad.clone()) };
    let judged = store.judge(&publication, &good).await;
    assert!(matches!(judged, Err(StoreError::Unavailable { .. })), "{judged:?}");
    assert!(store.blocked(&bad).await.expect("read").cause(&v("1.0.0")).is_some());
    assert_eq!(store.channels(&bad).await.expect("listed"), [(production(), None)]);
    assert!(store.releases(&bad).await.expect("listed").is_empty());
    assert_eq!(store.channel(&product(), &production()).await.expect("read"), Some(v("1.0.0")));
    assert!(store.artifact(&product(), &production(), &v("1.0.0")).await.expect("read").is_some());
}
