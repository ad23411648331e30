extern crate std;
use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::ToString;
use alloc::vec;

use proptest::prelude::*;

use super::*;

fn version(text: &str) -> Version {
    text.parse().expect("a version")
}

fn artifact(text: &str) -> Artifact {
    Artifact {
        version: version(text),
        key: format!("esp32s3/releases/v{text}/firmware.bin"),
        size: 1000,
        sha256: Some(Sha256([text.as_bytes()[0]; 32])),
        chip: Some("chip-a".to_owned()),
        chip_revisions: Some([100, 399]),
        requires: None,
    }
}

fn device(running: &str) -> DeviceView {
    DeviceView {
        version: Some(version(running)),
        image: Image::default(),
        chip: Some("chip-a".to_owned()),
        chip_revision: Some(301),
        slot_bytes: Some(2000),
        in_progress: None,
        reach: Reach::Online,
        quarantined: vec![],
        refused: vec![],
        kept: None,
    }
}

#[test]
fn a_device_that_is_kept_back_hears_by_whom_and_why() {
    let pinned = |to: Option<&str>| Kept::Pinned {
        to: to.map(version),
        by: "ann".to_owned(),
        why: Some("a test".to_owned()),
    };
    for (kept, word, sentence) in [
        (pinned(None), "held", "ann keeps the device as it is: a test"),
        (pinned(Some("1.0.5")), "held", "ann pinned the device to 1.0.5: a test"),
        (pinned(Some("1.1.0")), "offered", "1.1.0 was offered to the device."),
        (
            Kept::Twins,
            "held",
            "Two devices use this id: what they report goes to and fro. Give one of them another id and password; an hour later this one can be updated.",
        ),
        (
            Kept::OtherName(Sha256([b'1'; 32])),
            "held",
            "The device installed 1.1.0, and reports 1.0.0 since: the image calls itself so, or another one was installed. Build it with the version under which it is published.",
        ),
        (Kept::OtherName(Sha256([b'2'; 32])), "offered", "1.1.0 was offered to the device."),
    ] {
        let device = DeviceView { kept: Some(kept), ..device("1.0.0") };
        let decision = decide(&device, &StoreView::Channel(channel("1.1.0", &[])));
        assert_eq!((decision.as_str(), decision.cause().sentence().as_str()), (word, sentence));
        assert_eq!(word_of(&device, "1.0.0"), "up_to_date");
        assert_eq!(word_of(&device, "0.9.0"), "newer_than_channel");
    }
}

fn word_of(device: &DeviceView, target: &str) -> &'static str {
    word(device, channel(target, &[]))
}

fn channel(target: &str, blocked: &[&str]) -> ChannelView {
    ChannelView {
        channel: ChannelName::production(),
        target: Some(artifact(target)),
        blocked: Blocked::Versions(blocked.iter().map(|v| (version(v), Some("bad".to_owned()))).collect()),
        blocked_images: BlockedImages::new(),
        releases: vec![],
    }
}

fn word(device: &DeviceView, view: ChannelView) -> &'static str {
    decide(device, &StoreView::Channel(view)).as_str()
}

#[test]
fn what_cannot_be_compared_is_offered_where_it_is_different() {
    for (running, target, expected) in [
        ("build-77", "1.2.0", "offered"),
        ("build-77", "build-76", "offered"),
        ("build-77", "build-77", "up_to_date"),
        ("9.9.9", "build-77", "offered"),
        ("v1.2", "1.2.0", "up_to_date"),
        ("1.2.3.4", "1.2.4", "offered"),
        ("1.2.3.4", "1.2.3", "newer_than_channel"),
        ("2024.10.01", "2024.9.30", "newer_than_channel"),
        ("1.2.0-3-gabc1234", "1.2.0", "newer_than_channel"),
        ("1.2.0-3-gabc1234", "1.2.0-12-gdef1234", "offered"),
        ("1.2.0-3-gabc1234", "1.2.0-3-gdef1234", "offered"),
    ] {
        assert_eq!(word(&device(running), channel(target, &[])), expected, "{running} to {target}");
    }
    let mut view = channel("1.2.0", &["build-77"]);
    view.target.as_mut().expect("there").requires = Some(version("1.0.0"));
    view.releases = vec![artifact("1.0.0"), artifact("1.2.0")];
    assert_eq!(
        word(&device("build-77"), view.clone()),
        "no_release",
        "nobody knows that it is 1.0.0 at least"
    );
    assert_eq!(word(&device("1.0"), view), "offered");
    assert_eq!(word(&device("1.0.0"), channel("build-77", &["build-77"])), "blocked");
}

#[test]
fn a_chip_whose_revision_the_image_excludes_is_not_offered_it() {
    let mut view = channel("1.2.0", &[]);
    let mut decided = |image: Option<[u16; 2]>, chip_revision: Option<u16>| {
        view.target.iter_mut().for_each(|target| target.chip_revisions = image);
        decide(&DeviceView { chip_revision, ..device("1.0.0") }, &StoreView::Channel(view.clone()))
    };
    for (image, chip) in [
        (Some([100, 399]), Some(100)),
        (Some([100, 399]), Some(399)),
        (Some([0, u16::MAX]), Some(0)),
        (Some([100, 399]), None),
        (None, Some(0)),
    ] {
        assert_eq!(decided(image, chip).as_str(), "offered", "{image:?} on {chip:?}");
    }
    for (image, chip, words) in [
        ([100, 399], 99, "revision v1.0 to v3.99, and the device's is v0.99."),
        ([100, 399], 400, "revision v1.0 to v3.99, and the device's is v4.0."),
        ([301, u16::MAX], 300, "revision v3.1 and higher, and the device's is v3.0."),
    ] {
        let decision = decided(Some(image), Some(chip));
        assert_eq!(decision.as_str(), "wrong_chip");
        assert!(decision.cause().sentence().ends_with(words), "{}", decision.cause());
    }
}

#[test]
fn the_first_match_wins_in_the_order_of_the_contract() {
    // Each row undoes the cause of the row before it; everything else that could refuse stays true.
    let mut device = device("1.0.0");
    device.version = None;
    device.in_progress = Some(version("9.0.0"));
    device.chip = Some("chip-b".to_owned());
    device.chip_revision = Some(0);
    device.slot_bytes = Some(10);
    device.reach = Reach::Silent;
    device.quarantined = vec![artifact("1.2.0").sha256.expect("known")];
    device.refused = vec![(artifact("1.2.0").sha256.expect("known"), Code::WrongProject)];
    let unavailable = StoreView::Unavailable(causes::STORE_TIMEOUT.with("seconds", 5u64));
    assert_eq!(decide(&device, &unavailable).as_str(), "unknown_version");
    device.version = Some(version("1.0.0"));
    assert_eq!(decide(&device, &unavailable).as_str(), "in_progress");
    device.in_progress = None;
    assert_eq!(decide(&device, &unavailable).as_str(), "store_unavailable");
    let mut view = channel("1.2.0", &[]);
    view.blocked = Blocked::Unreadable(causes::STORE_TIMEOUT.with("seconds", 5u64));
    let target = view.target.take();
    assert_eq!(word(&device, view.clone()), "no_release");
    view.target = target;
    device.version = Some(version("1.2.0"));
    assert_eq!(word(&device, view.clone()), "blocked");
    view.blocked = Blocked::Versions(BTreeMap::from([(version("1.2.0"), Some("bad".to_owned()))]));
    assert_eq!(word(&device, view.clone()), "up_to_date");
    device.version = Some(version("1.3.0"));
    assert_eq!(word(&device, view.clone()), "newer_than_channel");
    device.version = Some(version("1.0.0"));
    assert_eq!(word(&device, view.clone()), "held");
    device.refused.clear();
    assert_eq!(word(&device, view.clone()), "blocked");
    view.blocked = Blocked::Versions(BTreeMap::new());
    assert_eq!(word(&device, view.clone()), "wrong_chip");
    device.chip = None;
    assert_eq!(word(&device, view.clone()), "wrong_chip", "by its revision");
    device.chip_revision = None;
    assert_eq!(word(&device, view.clone()), "too_large");
    device.slot_bytes = None;
    assert_eq!(word(&device, view.clone()), "quarantined");
    device.quarantined.clear();
    assert_eq!(word(&device, view.clone()), "offline");
    device.reach = Reach::Forced;
    assert_eq!(word(&device, view), "offered");
}

#[test]
fn a_device_on_a_blocked_version_is_taken_down() {
    assert_eq!(word(&device("1.1.0"), channel("1.0.0", &[])), "newer_than_channel");
    assert_eq!(word(&device("1.1.0"), channel("1.0.0", &["1.1.0"])), "offered");
    assert_eq!(word(&device("1.1.0"), channel("1.0.0", &["1.1.0", "1.0.0"])), "blocked");
}

#[test]
fn blocking_ignores_build_metadata() {
    assert_eq!(word(&device("1.0.0"), channel("1.1.0+build.7", &["1.1.0"])), "blocked");
    assert_eq!(word(&device("1.1.0+a"), channel("1.1.0+b", &[])), "up_to_date");
}

#[test]
fn an_unmet_requirement_offers_the_highest_allowed_step() {
    let mut view = channel("2.0.0", &["1.5.0"]);
    view.target.as_mut().expect("there").requires = Some(version("1.2.0"));
    let mut steps = vec![
        artifact("1.1.0"),
        artifact("1.2.0"),
        artifact("1.3.0"),
        artifact("1.4.0"),
        artifact("1.5.0"),
        artifact("1.6.0-rc.1"),
        artifact("2.0.0"),
        artifact("3.0.0"),
    ];
    steps[3].requires = Some(version("1.2.0"));
    view.releases = steps;
    let offered = decide(&device("1.0.0"), &StoreView::Channel(view.clone()));
    assert_eq!(
        offered.version(),
        Some(&version("1.3.0")),
        "1.4.0 requires more, 1.5.0 is blocked, 1.6.0 is a pre-release"
    );
    let offered = decide(&device("1.2.0"), &StoreView::Channel(view.clone()));
    assert_eq!(offered.version(), Some(&version("2.0.0")));
    view.releases.clear();
    let refused = decide(&device("1.0.0"), &StoreView::Channel(view));
    assert_eq!(refused.as_str(), "no_release");
    assert_eq!(refused.cause().text("requires"), "1.2.0");
}

#[test]
fn what_is_not_known_does_not_refuse() {
    let mut plain = device("1.0.0");
    plain.chip = None;
    plain.slot_bytes = None;
    let mut view = channel("1.1.0", &[]);
    let target = view.target.as_mut().expect("there");
    target.sha256 = None;
    target.chip = None;
    assert_eq!(word(&plain, view), "offered");
}

fn any_version() -> impl Strategy<Value = Version> {
    (0u8..3, 0u8..3).prop_map(|(minor, patch)| version(&format!("1.{minor}.{patch}")))
}

proptest! {
    #[test]
    fn invariant_a_blocked_version_is_never_offered(
        running in any_version(),
        target in any_version(),
        blocked in proptest::collection::vec(any_version(), 0..5),
        requires in proptest::option::of(any_version()),
        releases in proptest::collection::vec(any_version(), 0..6),
    ) {
        let names: Vec<String> = blocked.iter().map(ToString::to_string).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut view = channel(target.as_str(), &names);
        view.target.as_mut().expect("there").requires = requires.clone();
        view.releases = releases.iter().map(|v| artifact(v.as_str())).collect();
        if let Decision::Offered(offered) = decide(&device(running.as_str()), &StoreView::Channel(view)) {
            prop_assert!(!blocked.contains(&offered.version));
            prop_assert!(offered.version != running);
            prop_assert!(offered.version > running || blocked.contains(&running));
            prop_assert!(offered.requires.is_none_or(|lowest| lowest <= running));
        }
    }
}

fn image(identity: Identity, of: &str) -> Image {
    let release = (identity != Identity::Foreign).then(|| ("p".parse().expect("a product"), version(of)));
    Image { identity, sha256: artifact(of).sha256, release }
}

/// What a device is answered that names the first version and has the bytes of the second, where production is 2.0.0.
fn answer(named: &str, identity: Identity, of: &str, blocked: &[&str]) -> &'static str {
    let device = DeviceView { image: image(identity, of), ..device(named) };
    let mut view = channel("2.0.0", blocked);
    for blocked in blocked {
        let (product, version) = ("p".parse().expect("a product"), version(blocked));
        let sha256 = artifact(blocked).sha256.expect("known");
        view.blocked_images.insert(sha256, BlockedImage { product, version, why: None });
    }
    word(&device, view)
}

#[test]
fn bytes_decide_what_runs_and_not_the_name() {
    use Identity::{Foreign, Mislabelled, Release};
    assert_eq!(answer("2.0.0", Release, "2.0.0", &[]), "up_to_date");
    assert_eq!(answer("2.0.0", Mislabelled, "1.0.0", &[]), "offered");
    assert_eq!(answer("9.9.8", Mislabelled, "1.0.0", &[]), "offered");
    assert_eq!(answer("1.0.0", Mislabelled, "2.0.0", &[]), "up_to_date");
    assert_eq!(answer("2.0.0", Foreign, "7.0.0", &[]), "offered");
    assert_eq!(answer("9.0.0", Foreign, "7.0.0", &[]), "offered");
    assert_eq!(answer("3.0.0", Release, "3.0.0", &[]), "newer_than_channel");
    // The digest of a release that was not read yet.
    assert_eq!(answer("2.0.0", Foreign, "2.0.0", &[]), "up_to_date");
}

#[test]
fn blocked_bytes_are_blocked_under_every_name() {
    use Identity::{Mislabelled, Release};
    // It runs 3.0.0, which is blocked under another name.
    let device = DeviceView { image: image(Release, "3.0.0"), ..device("3.0.0") };
    let mut view = channel("2.0.0", &[]);
    let same =
        BlockedImage { product: "q".parse().expect("a product"), version: version("8.0.0"), why: None };
    view.blocked_images.insert(artifact("3.0.0").sha256.expect("known"), same.clone());
    assert_eq!(word(&device, view), "offered");
    let mut view = channel("2.0.0", &[]);
    view.blocked_images.insert(artifact("2.0.0").sha256.expect("known"), same);
    let lower = DeviceView { image: image(Release, "1.0.0"), ..self::device("1.0.0") };
    let decision = decide(&lower, &StoreView::Channel(view));
    assert_eq!(decision.as_str(), "blocked");
    assert_eq!(decision.cause().sentence(), "2.0.0 has the bytes of q 8.0.0, which is blocked");
    assert_eq!(answer("9.0.0", Mislabelled, "1.0.0", &["1.0.0"]), "offered");
}
