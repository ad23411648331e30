//! Publishing again what is published, and what looks like it and is not.

use updraft_store::{Check, Publication};

use crate::place::{Place, assert_refused, product, production, s3_image, v};

fn publication(version: &str) -> Publication {
    Publication { version: Some(v(version)), ..Publication::new(product()) }
}

#[tokio::test]
async fn metadata_copied_from_another_release_gives_no_right_to_replace_an_image() {
    let place = Place::folder().await;
    let (old, other) = (s3_image("1.0.0", 1), s3_image("1.1.0", 2));
    place.publish("1.0.0", &old).await.expect("published");
    let said = place.get("esp32s3/releases/v1.0.0/metadata.json").await.expect("written");
    for (name, bytes) in
        [("firmware.bin", other.clone()), ("metadata.json", said), ("version.txt", "1.1.0\n".into())]
    {
        place.put(&format!("esp32s3/releases/v1.1.0/{name}"), bytes).await;
    }
    assert_refused(place.publish("1.1.0", &old).await, "");
    assert_eq!(place.get("esp32s3/releases/v1.1.0/firmware.bin").await, Some(other));
}

#[tokio::test]
async fn a_job_that_is_run_again_late_does_not_roll_production_back() {
    let place = Place::folder().await;
    let (old, new) = (s3_image("1.0.0", 1), s3_image("1.1.0", 2));
    place.publish("1.0.0", &old).await.expect("published");
    place.publish("1.1.0", &new).await.expect("published");
    place.promote("1.1.0").await.expect("promoted");
    let mut late = publication("1.0.0");
    let published = place.store.publish(&late, old.clone()).await.expect("unchanged");
    assert!(published.already_there);
    let refused = place.store.promote_published(&late, &published, &production()).await.expect_err("lower");
    assert!(refused.to_string().contains("points to 1.1.0"), "{refused}");
    assert_eq!(place.text("esp32s3/production/version.txt").await, "1.1.0\n");
    late.allow = vec![Check::LowerVersion];
    place.store.promote_published(&late, &published, &production()).await.expect("allowed");
    assert_eq!(place.text("esp32s3/production/version.txt").await, "1.0.0\n");
    // A job that was killed between the two is run again.
    let killed = publication("1.1.0");
    let published = place.store.publish(&killed, new).await.expect("unchanged");
    place.store.promote_published(&killed, &published, &production()).await.expect("promoted");
    assert_eq!(place.text("esp32s3/production/version.txt").await, "1.1.0\n");
}
