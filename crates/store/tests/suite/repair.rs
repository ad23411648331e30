//! A release that was corrupted after it was published: seen before it is promoted, and repaired by publishing again.

use bytes::Bytes;
use updraft_store::{Attempt, Check, Publication, StoreError};

use crate::place::{Place, assert_refused, product, production, s3_image, v};

const FIRMWARE: &str = "esp32s3/releases/v1.0.0/firmware.bin";
const METADATA: &str = "esp32s3/releases/v1.0.0/metadata.json";

/// Another image with metadata that fits it, over a release whose `version.txt` was marked for the first.
async fn replaced(place: &Place) -> [Bytes; 2] {
    let images = [s3_image("1.0.0", 1), s3_image("1.0.0", 2)];
    place.publish("1.0.0", &images[0]).await.expect("published");
    let metadata = place.text(METADATA).await;
    let digest = |image: &Bytes| {
        use sha2::Digest;
        contract::Sha256(sha2::Sha256::digest(image).into()).to_string()
    };
    place.put(FIRMWARE, images[1].clone()).await;
    place.put(METADATA, metadata.replace(&digest(&images[0]), &digest(&images[1]))).await;
    images
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_other_than_the_published_one_is_not_promoted_until_it_is_repaired() {
    for place in [Place::moto().await, Place::strict().await] {
        let images = replaced(&place).await;
        let error = place.promote("1.0.0").await.expect_err("corrupt");
        assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
        let text = error.to_string();
        assert!(text.contains("sha256") && text.contains("publish that image as 1.0.0 again"), "{text}");
        assert_eq!(place.store.channel(&product(), &production()).await.expect("read"), None);
        assert_refused(place.publish("1.0.0", &images[1]).await, "");
        assert!(place.publish("1.0.0", &images[0]).await.expect("repaired").already_there);
        assert_eq!(place.get(FIRMWARE).await.as_ref(), Some(&images[0]));
        place.promote("1.0.0").await.expect("whole");
    }
}

pub(crate) async fn a_release_that_lost_its_image_gets_it_back_and_no_other(place: &Place) {
    let images = [s3_image("1.0.0", 1), s3_image("1.0.0", 2)];
    place.publish("1.0.0", &images[0]).await.expect("published");
    // What is published again is not compared with what runs.
    place.publish("2.0.0", &s3_image("2.0.0", 1)).await.expect("published");
    place.promote("2.0.0").await.expect("promoted");
    place.delete(FIRMWARE).await;
    let error = place.promote("1.0.0").await.expect_err("it has no image");
    assert!(error.to_string().contains("publish the image of 1.0.0 again"), "{error}");
    let publication = Publication { version: Some(v("1.0.0")), ..Publication::new(product()) };
    let refused = place.store.attempt(&publication, images[1].clone()).await.expect("an answer");
    let Attempt::Refused(verdict) = refused else { panic!("other bytes") };
    assert!(verdict.findings.iter().any(|finding| finding.check == Check::VersionTaken), "{verdict:?}");
    assert!(place.get(FIRMWARE).await.is_none());
    assert!(place.publish("1.0.0", &images[0]).await.expect("repaired").already_there);
    assert_eq!(place.get(FIRMWARE).await.as_ref(), Some(&images[0]));
    place.promote("1.0.0").await.expect("whole");
}

pub(crate) async fn metadata_of_the_release_itself_is_enough_to_repair_it(place: &Place) {
    let image = s3_image("1.0.0", 1);
    place.publish("1.0.0", &image).await.expect("published");
    let metadata = place.text(METADATA).await;
    // As another program publishes it, and loses the image: without a mark.
    for folder in ["1.1.0", "1.2.0"] {
        let said =
            if folder == "1.1.0" { metadata.replace("\"1.0.0\"", "\"1.1.0\"") } else { metadata.clone() };
        place.put(&format!("esp32s3/releases/v{folder}/metadata.json"), said).await;
        place.put(&format!("esp32s3/releases/v{folder}/version.txt"), format!("{folder}\n")).await;
    }
    let allow = |version: &str| Publication {
        version: Some(v(version)),
        allow: vec![Check::SameBytes],
        ..Publication::new(product())
    };
    place.store.publish(&allow("1.1.0"), image.clone()).await.expect("repaired");
    place.promote("1.1.0").await.expect("whole");
    // Metadata of another release says nothing of this one.
    let error = place.store.publish(&allow("1.2.0"), image).await.expect_err("nobody knows");
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
    assert!(error.to_string().contains("nothing says which image it was"), "{error}");
}
