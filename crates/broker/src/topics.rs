//! Who may publish and subscribe to which topics. Pure; anything not named here is refused.

use contract::{DeviceId, Topic, TopicKind, VersionTopic};

use crate::limits::MAX_KEPT_BYTES;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Identity {
    Server,
    /// Whoever has an API token.
    Reader,
    Device(DeviceId),
}

/// The user name of whoever connects with an API token for a password. '_' is in no device id.
pub(crate) const READER: &str = "_token";

impl Identity {
    /// A device publishes on its own topics only; the server on every topic of the contract.
    /// `None` for every other.
    pub(crate) fn may_publish(&self, topic: &str, version: &VersionTopic) -> Option<Topic> {
        let topic = Topic::parse(topic, version)?;
        let may = match self {
            Self::Server => true,
            Self::Reader => false,
            Self::Device(id) => topic.device == *id && is_from_device(topic.kind),
        };
        may.then_some(topic)
    }

    /// A device subscribes to its own trigger and control topics, by name or by a wildcard inside its own
    /// `devices/{id}/`; nothing else, and neither `$share` nor `$SYS`.
    /// A token listens to what devices say, by whatever filter below `devices/`; [`may_be_read`] sees to the rest.
    pub(crate) fn may_subscribe(&self, filter: &str, version: &VersionTopic) -> bool {
        if !is_filter(filter) {
            return false;
        }
        match self {
            Self::Server => {
                let of_contract = |kind| contract::filter(kind, version).as_str() == filter;
                TopicKind::FROM_DEVICE.into_iter().chain(TopicKind::FROM_SERVER).any(of_contract)
                    || Topic::parse(filter, version).is_some()
            }
            Self::Reader => {
                let of_server = |kind| contract::filter(kind, version).as_str() == filter;
                match Topic::parse(filter, version) {
                    Some(topic) => is_from_device(topic.kind),
                    None if TopicKind::FROM_SERVER.into_iter().any(of_server) => false,
                    None => {
                        contract::is_below_devices(filter)
                            || contract::filter(TopicKind::Version, version).as_str() == filter
                    }
                }
            }
            Self::Device(id) => {
                if filter.contains(['+', '#']) {
                    return contract::is_below_device(filter, id);
                }
                Topic::parse(filter, version)
                    .is_some_and(|topic| topic.device == *id && TopicKind::FROM_SERVER.contains(&topic.kind))
            }
        }
    }
}

/// Whether a token may hear a message, whatever it subscribed to: what a device says, unless the device repeats a URL
/// there. Signed URLs are secrets, also as JSON escapes them.
pub(crate) fn may_be_read(kind: TopicKind, payload: &[u8]) -> bool {
    if !is_from_device(kind) || payload.len() > MAX_KEPT_BYTES {
        return false;
    }
    let text = String::from_utf8_lossy(payload).replace('\\', "").to_ascii_lowercase();
    let marks = ["//", "http:", "https:", "u002f", "signature=", "x-amz-", "/firmware/", "/d/"];
    !marks.iter().any(|mark| text.contains(mark))
}

fn is_from_device(kind: TopicKind) -> bool {
    TopicKind::FROM_DEVICE.contains(&kind)
}

/// Whether a message on such a topic may be retained: only what says how a device is, never an event,
/// which would come again with every new subscription.
pub(crate) fn may_be_retained(kind: TopicKind) -> bool {
    matches!(kind, TopicKind::Version | TopicKind::Presence)
}

/// Whether '+' and '#' are whole levels, and '#' the last one.
fn is_filter(filter: &str) -> bool {
    let mut levels = filter.split('/').rev().enumerate();
    let is_level = |(n, level): (usize, &str)| match level {
        "+" => true,
        "#" => n == 0,
        _ => !level.contains(['+', '#', '\0']),
    };
    !filter.is_empty() && levels.all(is_level)
}

/// Whether a filter matches a topic, which has no wildcard.
pub(crate) fn matches(filter: &str, topic: &str) -> bool {
    let mut levels = topic.split('/');
    for wanted in filter.split('/') {
        if wanted == "#" {
            return true;
        }
        if levels.next().is_none_or(|level| wanted != "+" && wanted != level) {
            return false;
        }
    }
    levels.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(id: &str) -> Identity {
        Identity::Device(id.parse().expect("valid"))
    }

    #[test]
    fn a_device_publishes_only_for_itself() {
        let version = VersionTopic::default();
        for good in ["ota/status", "version", "presence", "ota/progress", "ota/request"] {
            assert!(device("a").may_publish(&format!("devices/a/{good}"), &version).is_some(), "{good}");
            assert!(device("a").may_publish(&format!("devices/b/{good}"), &version).is_none(), "{good}");
        }
        for bad in
            ["devices/a/ota", "devices/a/ota/control", "devices/a", "x", "$SYS/a", "devices/a/else", ""]
        {
            assert!(device("a").may_publish(bad, &version).is_none(), "{bad}");
        }
    }

    #[test]
    fn a_configured_version_topic_replaces_the_default() {
        let version: VersionTopic = "fleet/{id}/fw".parse().expect("valid");
        assert!(device("a").may_publish("fleet/a/fw", &version).is_some());
        assert!(device("a").may_publish("fleet/b/fw", &version).is_none());
        assert!(device("a").may_publish("devices/a/version", &version).is_none());
        assert!(Identity::Server.may_subscribe("fleet/+/fw", &version));
    }

    #[test]
    fn a_device_subscribes_only_to_its_own() {
        let version = VersionTopic::default();
        let good = [
            "devices/a/ota",
            "devices/a/ota/control",
            "devices/a/#",
            "devices/a/ota/#",
            "devices/a/+",
            "devices/a/+/control",
        ];
        for filter in good {
            assert!(device("a").may_subscribe(filter, &version), "{filter}");
        }
        let bad = [
            "#",
            "+/a/ota",
            "devices/#",
            "devices/+/ota",
            "devices/+/#",
            "devices/b/ota",
            "devices/b/#",
            "devices/ab/#",
            "devices/a",
            "devices/a#",
            "devices/a/version",
            "$SYS/#",
            "$share/g/devices/a/ota",
            "$share/g/devices/a/#",
            "$share/g/#",
            "",
        ];
        for filter in bad {
            assert!(!device("a").may_subscribe(filter, &version), "{filter}");
        }
    }

    #[test]
    fn the_server_keeps_to_the_contract_too() {
        let version = VersionTopic::default();
        for filter in ["devices/+/version", "devices/+/ota/status", "devices/a/ota/control"] {
            assert!(Identity::Server.may_subscribe(filter, &version), "{filter}");
        }
        for filter in ["#", "$SYS/#", "devices/#"] {
            assert!(!Identity::Server.may_subscribe(filter, &version), "{filter}");
        }
        assert!(Identity::Server.may_publish("devices/a/ota", &version).is_some());
        assert!(Identity::Server.may_publish("other", &version).is_none());
    }

    #[test]
    fn a_token_reads_what_devices_say_and_nothing_else() {
        let version = VersionTopic::default();
        let good = [
            "devices/#",
            "devices/+/#",
            "devices/a/#",
            "devices/+/version",
            "devices/+/presence",
            "devices/+/ota/status",
            "devices/a/ota/progress",
        ];
        for filter in good {
            assert!(Identity::Reader.may_subscribe(filter, &version), "{filter}");
        }
        let bad = [
            "#",
            "+/a/ota",
            "devices/+/ota",
            "devices/a/ota",
            "devices/+/ota/control",
            "$SYS/#",
            "$share/g/devices/#",
        ];
        for filter in bad {
            assert!(!Identity::Reader.may_subscribe(filter, &version), "{filter}");
        }
        for topic in ["devices/a/version", "devices/a/ota", "devices/_token/version"] {
            assert!(Identity::Reader.may_publish(topic, &version).is_none(), "{topic}");
        }
        assert!(may_be_read(TopicKind::Status, b"FAILED no route to host"));
        assert!(!may_be_read(TopicKind::Trigger, b"anything"));
        assert!(!may_be_read(TopicKind::Control, b"force"));
        for url in [
            "FAILED no route to https://b.s3/x?X-Amz-Signature=abc",
            "404 /firmware/p?signature=a",
            "//h/d/x",
            r#"{"error":"no route to https:\/\/h\/d\/TOKEN"}"#,
            r#"{"error":"404 \/d\/TOKEN"}"#,
            r#"{"error":"404 \u002Fd\u002FTOKEN"}"#,
            "https:h",
        ] {
            assert!(!may_be_read(TopicKind::Status, url.as_bytes()), "{url}");
        }
        assert!(!may_be_read(TopicKind::Status, &[b'x'; MAX_KEPT_BYTES + 1]));
        assert!(READER.parse::<DeviceId>().is_err());
    }

    #[test]
    fn events_are_never_retained() {
        for kind in [TopicKind::Version, TopicKind::Presence] {
            assert!(may_be_retained(kind), "{kind:?}");
        }
        for kind in [TopicKind::Status, TopicKind::Request, TopicKind::Progress, TopicKind::Trigger] {
            assert!(!may_be_retained(kind), "{kind:?}");
        }
    }

    #[test]
    fn filters_match_whole_levels() {
        for (filter, topic) in [
            ("devices/a/#", "devices/a/ota"),
            ("devices/a/ota/#", "devices/a/ota"),
            ("devices/+/version", "devices/a/version"),
            ("devices/a/+", "devices/a/ota"),
            ("devices/a/ota", "devices/a/ota"),
        ] {
            assert!(matches(filter, topic), "{filter} {topic}");
        }
        for (filter, topic) in [
            ("devices/a/+", "devices/a/ota/status"),
            ("devices/a/+", "devices/a"),
            ("devices/a/ota", "devices/a/ota/status"),
            ("devices/ab/#", "devices/a/ota"),
            ("devices/a/ota/+", "devices/a/ota"),
        ] {
            assert!(!matches(filter, topic), "{filter} {topic}");
        }
        for bad in ["", "devices/a#", "devices/#/a", "devices/a+/ota", "devices/a/#/"] {
            assert!(!is_filter(bad), "{bad}");
        }
    }
}
