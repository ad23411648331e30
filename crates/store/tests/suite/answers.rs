//! That whoever publishes and promotes an image as long as they get holds up nobody else.

use std::time::Duration;

use bytes::Bytes;
use contract::Sha256;
use image::Chip;
use image::build::Build;
use rustix::time::{ClockId, clock_gettime};
use sha2::Digest;
use updraft_store::Publication;

use crate::place::{Place, product, production, v};

/// The processor time of this thread: what other programs do does not count.
fn spent() -> Duration {
    let spent = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(spent.tv_sec).expect("a time"), u32::try_from(spent.tv_nsec).expect("a part"))
}

/// One thread does all: while it does one thing, nothing else is answered.
#[tokio::test]
async fn nobody_waits_while_an_image_is_hashed_and_compared() {
    let place = Place::folder().await;
    place.put("esp32s3/product.json", r#"{"chip":"esp32s3"}"#).await;
    let image: Bytes =
        Build { size_bytes: 15 * 1024 * 1024, ..Build::new(Chip::Esp32S3, "1.0.0") }.bytes().into();
    let began = spent();
    let digest: [u8; 32] = sha2::Sha256::digest(&image).into();
    let hashing = spent().saturating_sub(began);
    let publication = Publication { version: Some(v("1.0.0")), ..Publication::new(product()) };
    for is_there in [false, true] {
        let (store, publication, image) = (place.store.clone(), publication.clone(), image.clone());
        let work = tokio::spawn(async move {
            let published = store.publish(&publication, image).await.expect("published");
            store.promote(&product(), &v("1.0.0"), &production()).await.expect("promoted");
            published
        });
        let (mut longest, mut last) = (Duration::ZERO, spent());
        while !work.is_finished() {
            tokio::task::yield_now().await;
            longest = longest.max(spent().saturating_sub(last));
            last = spent();
        }
        let published = work.await.expect("no panic");
        assert_eq!(published.already_there, is_there);
        assert_eq!(published.release.sha256, Some(Sha256(digest)));
        assert!(
            longest < hashing / 2,
            "hashing takes {hashing:?}, and nothing else was done for {longest:?}"
        );
    }
}
