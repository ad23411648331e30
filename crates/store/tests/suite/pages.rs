//! The tables of the documentation say what the code does.

use std::collections::BTreeSet;

use bytes::Bytes;
use image::Chip;
use image::build::Build;
use image::signature::Scheme;
use image::signing::{SigningKey, sign};
use serde_json::{Map, Value};
use updraft_store::{Check, Publication};

use crate::place::{Place, product, v};

/// The cells of the table that begins with this head.
fn table<'a>(page: &'a str, head: &str) -> Vec<Vec<&'a str>> {
    let (_, rest) = page.split_once(head).unwrap_or_else(|| panic!("a table begins with {head:?}"));
    let rows = rest.lines().skip(2).take_while(|line| line.starts_with('|'));
    rows.map(|row| row.trim_matches('|').split(" | ").map(|cell| cell.trim().trim_matches('`')).collect())
        .collect()
}

#[test]
fn the_page_on_the_gate_has_each_check_with_its_level_and_whether_it_can_be_overruled() {
    let rows = table(include_str!("../../../../docs/gate.md"), "| name | does | overrule |");
    let documented: Vec<(&str, &str, bool)> = rows
        .iter()
        .map(|cells| {
            let word = cells[2].split([':', ' ']).next();
            assert!(matches!(word, Some("yes" | "never")), "{cells:?}");
            (cells[0], cells[1], word == Some("yes"))
        })
        .collect();
    let is = Check::ALL.map(|check| (check.name(), check.level().name(), check.is_overrulable()));
    assert_eq!(documented, is);
}

/// The keys of the metadata that is written for an image.
async fn metadata(place: &Place, publication: &Publication, image: Bytes) -> BTreeSet<String> {
    let published = place.store.publish(publication, image).await.expect("published");
    let key = format!("esp32s3/releases/v{}/metadata.json", published.release.version);
    let metadata: Map<String, Value> = serde_json::from_str(&place.text(&key).await).expect("an object");
    metadata.into_iter().map(|(key, _)| key).collect()
}

#[tokio::test]
async fn the_page_on_the_layout_has_each_field_of_metadata_and_whether_it_is_always_there() {
    let rows = table(include_str!("../../../../docs/store-layout.md"), "| field | is there |");
    let documented = |is_wanted: &dyn Fn(&str) -> bool| -> BTreeSet<String> {
        rows.iter().filter(|cells| is_wanted(cells[1])).map(|cells| cells[0].to_owned()).collect()
    };
    let place = Place::folder().await;
    let all = Publication {
        version: Some(v("1.0.0")),
        notes: Some("What is new.".to_owned()),
        commit: Some("abc123".to_owned()),
        tag: Some("v1.0.0".to_owned()),
        dirty: Some(false),
        requires: Some(v("0.9.0")),
        ..Publication::new(product())
    };
    let image = Build::new(Chip::Esp32S3, "1.0.0").bytes();
    let signed = sign(&image, &SigningKey::generate(Scheme::EcdsaP256).expect("a key")).expect("signed");
    assert_eq!(metadata(&place, &all, signed.into()).await, documented(&|_| true));
    // Of an Arduino image, published by hand, of which nothing else is known.
    let bare = Publication { version: Some(v("1.1.0")), ..Publication::new(product()) };
    let arduino = Build { project_name: "arduino-lib-builder".to_owned(), ..Build::new(Chip::Esp32S3, "x") };
    let written = metadata(&place, &bare, arduino.bytes().into()).await;
    let of_the_image = |when: &str| when == "always" || when.starts_with("if the image has");
    assert_eq!(written, documented(&of_the_image));
}

#[tokio::test]
async fn the_page_on_the_layout_has_each_field_of_product_json() {
    let rows = table(include_str!("../../../../docs/store-layout.md"), "| field | meaning |");
    let fields: Vec<&str> = rows.iter().map(|cells| cells[0]).collect();
    assert_eq!(
        fields,
        ["chip", "slot_bytes", "gate", "trusted_keys", "signatures_required", "secure_version"]
    );
    let place = Place::folder().await;
    let image: Bytes = Build::new(Chip::Esp32C3, "1.0.0").bytes().into();
    for field in fields {
        // None of them may be lost to a slip of the pen.
        place.put("esp32s3/product.json", format!("{{\"{}\": null}}", field.to_uppercase())).await;
        let error = place.publish("1.0.0", &image).await.expect_err("another spelling").to_string();
        assert!(error.contains(&format!("is written {field:?}")), "{error}");
    }
    for chip in ["esp32s3", "ESP32-S3"] {
        place.put("esp32s3/product.json", format!("{{\"chip\": {chip:?}}}")).await;
        let error = place.publish("1.0.0", &image).await.expect_err("another chip").to_string();
        assert!(
            error.contains("the image is for esp32c3, but the devices of esp32s3 are esp32s3"),
            "{error}"
        );
    }
}
