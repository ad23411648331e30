//! Two jobs that promote what each has published: the first is stopped before each of its operations, the second then
//! before each of its own, and either goes on or is killed there.

use bytes::Bytes;
use contract::ChannelName;
use futures_util::future::join_all;
use tokio::task::JoinHandle;
use updraft_store::{Check, Publication, Published, StoreError};

use crate::place::{Place, product, s3_image, v};
use crate::stops::{After, Stopped, try_all};

/// More operations than a promoter has.
const STOPS_MAX: usize = 40;

/// What a channel holds.
const FILES: [&str; 3] = ["firmware.bin", "metadata.json", "version.txt"];

/// A release that its job goes on to promote.
#[derive(Debug, Clone)]
struct Job {
    published: Published,
    /// Its [`FILES`].
    files: Vec<Bytes>,
}

impl Job {
    async fn new(place: &Place, version: &str, seed: u64) -> Self {
        let image = s3_image(version, seed);
        let published = place.publish(version, &image).await.expect("published");
        let files = FILES.map(|file| format!("esp32s3/releases/v{version}/{file}"));
        let files = join_all(files.iter().map(async |key| place.get(key).await.expect("published"))).await;
        Self { published, files }
    }

    fn version(&self) -> &str {
        self.published.release.version.as_str()
    }

    fn start(&self, job: &Stopped, channel: &ChannelName) -> JoinHandle<Result<(), StoreError>> {
        let (published, channel) = (self.published.clone(), channel.clone());
        job.start(|store| async move {
            store.promote_published(&Publication::new(product()), &published, &channel).await.map(|_| ())
        })
    }

    async fn again(&self, place: &Place, channel: &ChannelName) -> Result<(), StoreError> {
        place
            .store
            .promote_published(&Publication::new(product()), &self.published, channel)
            .await
            .map(|_| ())
    }
}

/// What all pairs begin with.
struct Jobs {
    deployed: Job,
    lower: Job,
    higher: Job,
}

impl Jobs {
    async fn new(place: &Place) -> Self {
        place.put("esp32s3/product.json", r#"{"chip":"esp32s3"}"#).await;
        // Images of one size, so that nothing but their bytes tells them apart.
        let deployed = Job::new(place, "1.0.0", 1).await;
        let lower = Job::new(place, "1.0.1", 2).await;
        Self { deployed, lower, higher: Job::new(place, "1.0.2", 3).await }
    }

    fn of(&self, version: &str) -> &Job {
        let all = [&self.deployed, &self.lower, &self.higher];
        all.into_iter().find(|job| job.version() == version).expect("one of ours")
    }

    /// Which version the channel names; that nothing is offered of it unless it holds that one's image.
    async fn named(&self, place: &Place, channel: &ChannelName) -> String {
        let text = place.text(&format!("esp32s3/{channel}/version.txt")).await;
        let named = text.trim();
        let image = place.get(&format!("esp32s3/{channel}/firmware.bin")).await.expect("there");
        let offered = place.store.artifact(&product(), channel, &v(named)).await;
        assert_eq!(offered.is_ok(), image == self.of(named).files[0], "{channel} {named}: {offered:?}");
        named.to_owned()
    }

    /// That image and metadata of the channel are those of the version that it names, which is told.
    async fn whole(&self, place: &Place, channel: &ChannelName) -> String {
        let named = self.named(place, channel).await;
        for (file, released) in FILES.iter().zip(&self.of(&named).files) {
            let deployed = place.get(&format!("esp32s3/{channel}/{file}")).await;
            assert!(deployed.as_ref() == Some(released), "{channel}: {file} is not that of {named}");
        }
        named
    }
}

/// Tries one pair of stops; whether each job had ended before its own.
async fn try_stops(
    place: &Place,
    jobs: &Jobs,
    order: [&Job; 2],
    stops: [usize; 2],
    fates: [After; 2],
) -> [bool; 2] {
    let number = |fate| u8::from(fate == After::Killed);
    let name = format!(
        "c{}-{}-{}-{}{}",
        u8::from(order[0].version() == jobs.higher.version()),
        stops[0],
        stops[1],
        number(fates[0]),
        number(fates[1])
    );
    let channel: ChannelName = name.parse().expect("a channel");
    for (file, released) in FILES.iter().zip(&jobs.deployed.files) {
        place.put(&format!("esp32s3/{channel}/{file}"), released.clone()).await;
    }
    let [first, second] = [Stopped::new(place).await, Stopped::new(place).await];
    first.permit(stops[0]);
    let first_run = order[0].start(&first, &channel);
    let first_ended = first.stops_at(stops[0]).await;
    second.permit(stops[1]);
    let second_run = order[1].start(&second, &channel);
    // In a folder the first one has the lock, and the second does nothing meanwhile.
    if place.is_s3() || first_ended {
        second.stops_at(stops[1]).await;
    }
    first.goes_on_or_dies(fates[0]);
    let first_said = first_run.await.expect("no panic");
    let second_ended = second.stops_at(stops[1]).await;
    second.goes_on_or_dies(fates[1]);
    let second_said = second_run.await.expect("no panic");
    let said = if order[0].version() == jobs.higher.version() {
        [second_said, first_said]
    } else {
        [first_said, second_said]
    };
    judge(place, jobs, &channel, &said, fates.contains(&After::Killed)).await;
    [first_ended, second_ended]
}

/// What must be so after both have ended; `said` by the lower one and by the higher one.
async fn judge(
    place: &Place,
    jobs: &Jobs,
    channel: &ChannelName,
    said: &[Result<(), StoreError>; 2],
    is_killed: bool,
) {
    let higher = jobs.higher.version();
    if is_killed {
        let named = jobs.named(place, channel).await;
        assert!(said[1].is_err() || named == higher, "{channel}: {said:?}");
        // Either command puts it right, the lower one's too.
        let again = jobs.lower.again(place, channel).await;
        let named = jobs.whole(place, channel).await;
        assert_eq!(again.is_ok(), named == "1.0.1", "{channel} names {named}: {again:?}");
        jobs.higher.again(place, channel).await.expect("it is the higher one");
    } else {
        assert!(said[1].is_ok(), "{channel}: {said:?}");
        if let Err(error) = &said[0] {
            assert_higher_is_told(error, channel);
        }
    }
    assert_eq!(jobs.whole(place, channel).await, higher, "{channel}: {said:?}");
    assert_higher_is_told(&jobs.lower.again(place, channel).await.expect_err("lower"), channel);
}

fn assert_higher_is_told(error: &StoreError, channel: &ChannelName) {
    assert!(matches!(error, StoreError::Refused(_)), "{error:?}");
    let cause = error.cause();
    assert!(cause.is(cause::store::CHANNEL_IS_HIGHER), "{cause:?}");
    let named = ["version", "product", "channel", "higher"].map(|name| cause.text(name));
    assert_eq!(named, ["1.0.1", "esp32s3", channel.as_str(), "1.0.2"]);
}

/// Every stop of the second for one of the first, in both orders; how many there were, and whether the first ended before
/// its own.
async fn try_first(place: Place, first: usize) -> (usize, bool) {
    use After::{GoesOn, Killed};
    let jobs = Jobs::new(&place).await;
    let (mut tried, mut has_ended) = (0, false);
    for order in [[&jobs.lower, &jobs.higher], [&jobs.higher, &jobs.lower]] {
        let mut seconds = 0..STOPS_MAX;
        loop {
            let second = seconds.next().expect("it ends");
            let all = [[GoesOn, GoesOn], [Killed, GoesOn], [GoesOn, Killed], [Killed, Killed]];
            // Each fate with each stop of either.
            let fates = all[(first + second) % all.len()];
            let ended = try_stops(&place, &jobs, order, [first, second], fates).await;
            tried += 1;
            if ended[1] {
                has_ended |= ended[0];
                break;
            }
        }
    }
    (tried, has_ended)
}

#[tokio::test(flavor = "multi_thread")]
async fn stopped_anywhere_in_a_bucket_the_higher_version_ends_in_the_channel_whole() {
    try_all(async |first| try_first(Place::memory().await, first).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stopped_anywhere_in_a_folder_the_higher_version_ends_in_the_channel_whole() {
    try_all(async |first| try_first(Place::folder().await, first).await).await;
}

/// What a job leaves that was killed after it had copied its image over a higher version's.
pub(crate) async fn a_channel_that_holds_another_image_offers_nothing_until_a_late_job_mends_it(
    place: &Place,
) {
    let jobs = Jobs::new(place).await;
    let channel = ChannelName::production();
    place.promote("1.0.2").await.expect("promoted");
    assert_eq!(jobs.whole(place, &channel).await, "1.0.2");
    for files in [&["firmware.bin"][..], &["firmware.bin", "metadata.json"], &["metadata.json"]] {
        for file in files {
            let lower = place.get(&format!("esp32s3/releases/v1.0.1/{file}")).await.expect("published");
            place.put(&format!("esp32s3/production/{file}"), lower).await;
        }
        jobs.named(place, &channel).await;
        assert_higher_is_told(&jobs.lower.again(place, &channel).await.expect_err("lower"), &channel);
        assert_eq!(jobs.whole(place, &channel).await, "1.0.2");
    }
    // A version that another program put there, which is no release.
    for (file, bytes) in [("firmware.bin", s3_image("3.0.0", 9)), ("version.txt", "3.0.0\n".into())] {
        place.put(&format!("esp32s3/production/{file}"), bytes).await;
    }
    let error = jobs.lower.again(place, &channel).await.expect_err("lower");
    assert!(error.to_string().contains("points to 3.0.0, which is higher"), "{error}");
    let left = place.get("esp32s3/production/firmware.bin").await;
    assert_eq!(left, Some(s3_image("3.0.0", 9)), "as the other program left it");
    // Allowed for the product, as it is for the gate.
    place.put("esp32s3/product.json", r#"{"chip":"esp32s3","gate":{"allow":["lower-version"]}}"#).await;
    jobs.lower.again(place, &channel).await.expect("allowed");
    assert_eq!(jobs.whole(place, &channel).await, "1.0.1");
    place.promote("1.0.0").await.expect("a person may go lower");
    assert_eq!(jobs.whole(place, &channel).await, "1.0.0");
    place.put("esp32s3/product.json", r#"{"chip":"esp32s3"}"#).await;
    jobs.higher.again(place, &channel).await.expect("higher");
    let allowed = Publication { allow: vec![Check::LowerVersion], ..Publication::new(product()) };
    place.store.promote_published(&allowed, &jobs.lower.published, &channel).await.expect("allowed");
    assert_eq!(jobs.whole(place, &channel).await, "1.0.1");
}

/// The channel points to a release whose image is lost: neither is that what a lower one's job is told, nor does it keep out
/// one that may go lower.
pub(crate) async fn a_corrupt_higher_release_hides_no_reason_and_hinders_no_permission(place: &Place) {
    let jobs = Jobs::new(place).await;
    let channel = ChannelName::production();
    place.promote("1.0.2").await.expect("promoted");
    place.put("esp32s3/releases/v1.0.2/firmware.bin", "lost").await;
    assert_higher_is_told(&jobs.lower.again(place, &channel).await.expect_err("lower"), &channel);
    place.put("esp32s3/product.json", r#"{"chip":"esp32s3","gate":{"allow":["lower-version"]}}"#).await;
    jobs.lower.again(place, &channel).await.expect("allowed");
    assert_eq!(jobs.whole(place, &channel).await, "1.0.1");
}
