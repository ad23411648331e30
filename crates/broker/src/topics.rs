//! Who may publish and subscribe to which topics. Pure; anything not named here is refused.

use contract::{DeviceId, Topic, TopicKind, VersionTopic};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Identity {
    Server,
    Device(DeviceId),
}

impl Identity {
    /// A device publishes on its own topics only; the server on every topic of the contract.
    pub(crate) fn may_publish(&self, topic: &str, version: &VersionTopic) -> bool {
        let Some(topic) = Topic::parse(topic, version) else { return false };
        match self {
            Self::Server => true,
            Self::Device(id) => topic.device == *id && TopicKind::FROM_DEVICE.contains(&topic.kind),
        }
    }

    /// A device subscribes to its own trigger and control topics, by name or by a wildcard inside its own
    /// `devices/{id}/`; nothing else, and neither `$share` nor `$SYS`.
    pub(crate) fn may_subscribe(&self, filter: &str, version: &VersionTopic) -> bool {
        match self {
            Self::Server => {
                let of_contract = |kind| contract::filter(kind, version).as_str() == filter;
                TopicKind::FROM_DEVICE.into_iter().chain(TopicKind::FROM_SERVER).any(of_contract)
                    || Topic::parse(filter, version).is_some()
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

/// Whether a message on this topic may be retained: only what says how a device is, never an event,
/// which would come again with every new subscription.
pub(crate) fn may_be_retained(topic: &str, version: &VersionTopic) -> bool {
    Topic::parse(topic, version)
        .is_some_and(|topic| matches!(topic.kind, TopicKind::Version | TopicKind::Presence))
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
            assert!(device("a").may_publish(&format!("devices/a/{good}"), &version), "{good}");
            assert!(!device("a").may_publish(&format!("devices/b/{good}"), &version), "{good}");
        }
        for bad in
            ["devices/a/ota", "devices/a/ota/control", "devices/a", "x", "$SYS/a", "devices/a/else", ""]
        {
            assert!(!device("a").may_publish(bad, &version), "{bad}");
        }
    }

    #[test]
    fn a_configured_version_topic_replaces_the_default() {
        let version: VersionTopic = "fleet/{id}/fw".parse().expect("valid");
        assert!(device("a").may_publish("fleet/a/fw", &version));
        assert!(!device("a").may_publish("fleet/b/fw", &version));
        assert!(!device("a").may_publish("devices/a/version", &version));
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
        assert!(Identity::Server.may_publish("devices/a/ota", &version));
        assert!(!Identity::Server.may_publish("other", &version));
    }

    #[test]
    fn events_are_never_retained() {
        let version = VersionTopic::default();
        assert!(may_be_retained("devices/a/version", &version));
        assert!(may_be_retained("devices/a/presence", &version));
        assert!(!may_be_retained("devices/a/ota/status", &version));
        assert!(!may_be_retained("devices/a/ota/request", &version));
    }
}
