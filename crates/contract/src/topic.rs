//! The topics. No topic string exists anywhere else.

use core::fmt::{self, Write};
use core::str::FromStr;

use heapless::String;

use crate::DeviceId;

/// A topic has at most so many bytes.
pub const TOPIC_MAX_BYTES: usize = 256;

/// A topic, written without allocating.
pub type TopicString = String<TOPIC_MAX_BYTES>;

/// Where a device reports its version unless the fleet has another topic for it.
pub const DEFAULT_VERSION_TOPIC: &str = "devices/{id}/version";

/// What a topic of the contract is for; all but `Version` are fixed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TopicKind {
    /// Server to device: the signed URL.
    Trigger,
    /// Device to server: `SUCCESS` or `FAILED`.
    Status,
    /// Device to server: what runs.
    Version,
    /// Device to server, retained: `online` or `offline`.
    Presence,
    /// Device to server: how far it is.
    Progress,
    /// Device to server: `url_expired`.
    Request,
    /// Server to device: `clear_quarantine`.
    Control,
}

impl TopicKind {
    /// Every kind that a device publishes.
    pub const FROM_DEVICE: [Self; 5] =
        [Self::Status, Self::Version, Self::Presence, Self::Progress, Self::Request];
    /// Every kind that the server publishes.
    pub const FROM_SERVER: [Self; 2] = [Self::Trigger, Self::Control];

    /// What follows `devices/{id}/`.
    fn suffix(self) -> &'static str {
        match self {
            Self::Trigger => "ota",
            Self::Status => "ota/status",
            Self::Version => "version",
            Self::Presence => "presence",
            Self::Progress => "ota/progress",
            Self::Request => "ota/request",
            Self::Control => "ota/control",
        }
    }
}

/// A topic of the contract: what it is for and whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    /// What it is for.
    pub kind: TopicKind,
    /// Whose it is.
    pub device: DeviceId,
}

impl Topic {
    /// Reads a topic; `None` if the contract knows no such topic or the id is not one.
    pub fn parse(topic: &str, version: &VersionTopic) -> Option<Self> {
        if let Some(device) = version.device(topic) {
            return Some(Self { kind: TopicKind::Version, device });
        }
        let (id, suffix) = topic.strip_prefix("devices/")?.split_once('/')?;
        let kind = TopicKind::FROM_DEVICE
            .into_iter()
            .chain(TopicKind::FROM_SERVER)
            .find(|kind| *kind != TopicKind::Version && kind.suffix() == suffix)?;
        Some(Self { kind, device: id.parse().ok()? })
    }

    /// What stands where the id should, in a topic that is one of a device's otherwise.
    pub fn invalid_id<'a>(topic: &'a str, version: &VersionTopic) -> Option<&'a str> {
        let id = version.level(topic).or_else(|| {
            let (id, suffix) = topic.strip_prefix("devices/")?.split_once('/')?;
            TopicKind::FROM_DEVICE.into_iter().any(|kind| kind.suffix() == suffix).then_some(id)
        })?;
        id.parse::<DeviceId>().is_err().then_some(id)
    }

    /// Writes the topic.
    pub fn write(&self, version: &VersionTopic) -> TopicString {
        let mut topic = TopicString::new();
        let written = if self.kind == TopicKind::Version {
            write!(topic, "{}{}{}", version.before, self.device, version.after)
        } else {
            write!(topic, "devices/{}/{}", self.device, self.kind.suffix())
        };
        written.expect("a template of 128 bytes and an id of 64 fit into 256 bytes");
        topic
    }
}

/// The filter that subscribes to one kind of topic of every device.
pub fn filter(kind: TopicKind, version: &VersionTopic) -> TopicString {
    let mut filter = TopicString::new();
    let written = if kind == TopicKind::Version {
        write!(filter, "{}+{}", version.before, version.after)
    } else {
        write!(filter, "devices/+/{}", kind.suffix())
    };
    written.expect("a template of 128 bytes fits into 256 bytes");
    filter
}

/// Whether everything that a filter matches lies below `devices/`.
pub fn is_below_devices(filter: &str) -> bool {
    filter.starts_with("devices/")
}

/// Whether everything that a filter matches lies below one device's own `devices/{id}/`.
pub fn is_below_device(filter: &str, device: &DeviceId) -> bool {
    let rest = filter.strip_prefix("devices/").and_then(|rest| rest.strip_prefix(device.as_str()));
    rest.is_some_and(|rest| rest.starts_with('/'))
}

/// The template is not a topic with `{id}` as one whole level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidTemplate;

impl fmt::Display for InvalidTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "a version topic has {id} exactly once, as a whole level, holds neither '+' nor '#', \
             is at most 128 bytes long, is none of the other topics and lies below no device's own",
        )
    }
}

impl core::error::Error for InvalidTemplate {}

/// The template of the version topic, `devices/{id}/version` unless the fleet has another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionTopic {
    before: String<128>,
    after: String<128>,
}

impl Default for VersionTopic {
    fn default() -> Self {
        DEFAULT_VERSION_TOPIC.parse().expect("the default template is valid")
    }
}

impl FromStr for VersionTopic {
    type Err = InvalidTemplate;

    fn from_str(template: &str) -> Result<Self, InvalidTemplate> {
        let (before, after) = template.split_once("{id}").ok_or(InvalidTemplate)?;
        let whole_level =
            (before.is_empty() || before.ends_with('/')) && (after.is_empty() || after.starts_with('/'));
        let bad_letter = |c: char| "+#{}$".contains(c) || c.is_control();
        let taken = TopicKind::FROM_DEVICE
            .into_iter()
            .chain(TopicKind::FROM_SERVER)
            .filter(|kind| *kind != TopicKind::Version)
            .any(|kind| before == "devices/" && after.strip_prefix('/') == Some(kind.suffix()));
        // Below `devices/x/` the device x could listen to all the others.
        let below_a_device = before.strip_prefix("devices/").is_some_and(|rest| !rest.is_empty());
        if below_a_device
            || template.len() > 128
            || !whole_level
            || before.contains(bad_letter)
            || after.contains(bad_letter)
            || taken
        {
            return Err(InvalidTemplate);
        }
        let part = |text| String::try_from(text).map_err(|_| InvalidTemplate);
        Ok(Self { before: part(before)?, after: part(after)? })
    }
}

impl VersionTopic {
    /// The level that stands for the id.
    fn level<'a>(&self, topic: &'a str) -> Option<&'a str> {
        let level = topic.strip_prefix(self.before.as_str())?.strip_suffix(self.after.as_str())?;
        (!level.contains('/')).then_some(level)
    }

    fn device(&self, topic: &str) -> Option<DeviceId> {
        self.level(topic)?.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_topic_reads_back_as_it_was_written() {
        let device: DeviceId = "dev.1".parse().expect("valid");
        for template in [DEFAULT_VERSION_TOPIC, "fleet/{id}/fw/version", "{id}"] {
            let version: VersionTopic = template.parse().expect("valid");
            for kind in TopicKind::FROM_DEVICE.into_iter().chain(TopicKind::FROM_SERVER) {
                let topic = Topic { kind, device: device.clone() };
                assert_eq!(Topic::parse(&topic.write(&version), &version), Some(topic), "{template}");
            }
        }
    }

    #[test]
    fn strange_topics_are_none() {
        let version = VersionTopic::default();
        for topic in [
            "",
            "devices",
            "devices/",
            "devices//ota",
            "devices/a",
            "devices/a/b/ota",
            "devices/+/ota",
            "/devices/a/ota",
            "devices/a/ota/",
            "devices/a/ota/other",
            "x/a/ota",
            "devices/a b/ota",
        ] {
            assert_eq!(Topic::parse(topic, &version), None, "{topic}");
        }
    }

    #[test]
    fn what_is_no_id_is_told_from_what_is_no_topic_of_a_device() {
        let version = VersionTopic::default();
        for (topic, id) in [
            ("devices/a b/version", Some("a b")),
            ("devices/-x/ota/status", Some("-x")),
            ("devices//presence", Some("")),
            ("devices/a/version", None),
            ("devices/a b/ota", None),
            ("devices/a/b/version", None),
            ("other/a b/version", None),
        ] {
            assert_eq!(Topic::invalid_id(topic, &version), id, "{topic}");
        }
    }

    #[test]
    fn templates_that_would_shadow_or_match_too_much_are_refused() {
        for bad in [
            "",
            "devices/version",
            "a/x{id}/b",
            "a/{id}x",
            "a/+/{id}",
            "a/#",
            "{id}/{id}",
            "devices/{id}/ota",
            "devices/{id}/presence",
            "devices/fixed/{id}",
            "$share/{id}",
        ] {
            assert!(bad.parse::<VersionTopic>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_filter_is_below_a_device_only_with_its_whole_id() {
        let device: DeviceId = "a".parse().expect("valid");
        for own in ["devices/a/#", "devices/a/ota/+", "devices/a/"] {
            assert!(is_below_device(own, &device), "{own}");
        }
        for other in [
            "devices/ab/#",
            "devices/+/ota",
            "devices/#",
            "#",
            "devices/a",
            "devices/a#",
            "$share/g/devices/a/#",
        ] {
            assert!(!is_below_device(other, &device), "{other}");
        }
    }

    #[test]
    fn the_filter_has_one_wildcard_level() {
        let version = VersionTopic::default();
        assert_eq!(filter(TopicKind::Version, &version).as_str(), "devices/+/version");
        assert_eq!(filter(TopicKind::Status, &version).as_str(), "devices/+/ota/status");
    }
}
