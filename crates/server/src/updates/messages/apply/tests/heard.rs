//! Why an update ended in silence, held against the messages that came.

use fleet::Why;
use proptest::prelude::*;

use super::*;
use crate::updates::service::heard_of;

/// What a device sends, and whether it is heard by it: what can be read, and is no last will.
const SAID: [(TopicKind, &str, bool); 9] = [
    (TopicKind::Version, "1.0.0", true),
    (TopicKind::Version, r#"{"version":"1.0.0","reset":"panic"}"#, true),
    (TopicKind::Version, "{\"firmware\":1}", false),
    (TopicKind::Progress, "half", false),
    (TopicKind::Presence, "online", true),
    (TopicKind::Presence, "offline", false),
    (TopicKind::Request, "url_expired", true),
    (TopicKind::Request, "more", false),
    (TopicKind::Status, "maybe", false),
];

proptest! {
    #[test]
    fn invariant_a_reason_says_when_the_device_was_heard_last(
        said in proptest::collection::vec((0..SAID.len(), any::<bool>(), 0_i64..100_000), 0..20),
    ) {
        let (mut subject, mut now, mut last) = (offered(true), NOW, None);
        for (which, retained, later) in said {
            let (kind, payload, is_heard) = SAID[which];
            now += later;
            subject.apply(&Message { retained, ..message(kind, payload) }, None, None, now);
            if is_heard && !retained {
                last = Some(now);
            }
        }
        prop_assert_eq!(subject.device.last_seen, last);
        let heard = heard_of(&subject.device);
        let at = heard.as_ref().map(|heard| heard.at.clone());
        subject.advance(&Event::Silence(heard), None, now + 1);
        prop_assert_eq!(subject.state(), UpdateState::TimedOut);
        let Some(Why::Cause(cause)) = subject.update.as_ref().and_then(|update| update.why()) else {
            return Err(TestCaseError::fail("it does not say why"));
        };
        let sentence = cause.sentence();
        prop_assert!(!sentence.contains("nothing was heard"), "{}", sentence);
        prop_assert_eq!(sentence.contains("last heard at"), at.is_some(), "{}", sentence);
        prop_assert!(at.is_none_or(|at| sentence.contains(&at)), "{}", sentence);
    }
}
