//! What goes wrong, and the sentence that says so.

use updraft_store::{Options, Store, StoreError};

use crate::place::{Place, product, publish, s3_image, s3_options};
use crate::servers::moto;

async fn sentence(url: &str, options: Options) -> String {
    let store = Store::open(url, options).await.expect("opens");
    let error = store.releases(&product()).await.expect_err("it fails");
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
    let check = store.check().await.expect_err("it fails");
    assert!(matches!(check, StoreError::Unavailable { .. }), "{check:?}");
    error.to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn without_credentials_the_environment_is_named() {
    let mut options = s3_options();
    options.environment.clear();
    // Where the instance's role would be asked for; nobody listens there.
    options.environment.insert("AWS_METADATA_ENDPOINT".to_owned(), "http://127.0.0.1:9".to_owned());
    let text = sentence(&format!("s3://b?endpoint={}", moto()), options).await;
    assert!(text.contains("no AWS credentials were found; set AWS_ACCESS_KEY_ID"), "{text}");
    let mut options = s3_options();
    options.environment.remove("AWS_SECRET_ACCESS_KEY");
    let error = Store::open("s3://b", options).await.expect_err("half of them");
    assert!(error.to_string().contains("set both"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_cannot_be_written_is_named() {
    let place = Place::folder().await;
    let file = place.path().join("esp32s3");
    std::fs::write(&file, "a file in the way").expect("written");
    let error = publish(&place.store, "1.0.0", &s3_image("1.0.0", 1)).await.expect_err("in the way");
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
    assert!(error.to_string().contains(&place.path().display().to_string()), "{error}");
    std::fs::remove_file(file).expect("removed");
    std::fs::remove_dir_all(place.path()).expect("removed");
    let error = place.store.channels(&product()).await.map(drop).and(place.store.check().await);
    assert!(error.is_err());
    let error = Store::open("file:/dev/null/store", Options::default()).await.expect_err("not a folder");
    assert!(error.to_string().contains("/dev/null/store"), "{error}");
}
