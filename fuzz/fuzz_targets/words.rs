//! No bytes from a device make a parser of the contract panic, and what was read is written back as it was.
#![no_main]

use std::cmp::Ordering;

use libfuzzer_sys::fuzz_target;
use updraft_contract::{
    Control, DeviceId, Presence, ProductName, Progress, Report, Request, Status, Topic,
    Version, VersionTopic, is_below_device,
};

fuzz_target!(|bytes: &[u8]| {
    let _ = (Presence::parse(bytes), Presence::said(bytes), Request::parse(bytes), Control::parse(bytes));
    let _ = serde_json::from_slice::<Report>(bytes);
    let _ = serde_json::from_slice::<Progress>(bytes);
    if let Ok(status) = Status::parse(bytes) {
        assert_eq!(Status::parse(status.to_string().as_bytes()), Ok(status));
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let topics = VersionTopic::default();
    if let Some(topic) = Topic::parse(text, &topics) {
        assert_eq!(topic.write(&topics).as_str(), text);
    }
    for version in text.parse().ok().into_iter().chain(Version::said(text)) {
        let again: Version = version.as_str().parse().expect("what was printed is a version");
        assert_eq!((again.as_str(), again.compare(&version)), (version.as_str(), Some(Ordering::Equal)));
    }
    if let Ok(id) = text.parse::<DeviceId>() {
        assert!(!is_below_device("devices/+/ota", &id));
    }
    let _ = (text.parse::<ProductName>(), text.parse::<VersionTopic>());
});
