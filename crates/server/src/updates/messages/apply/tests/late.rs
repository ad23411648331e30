//! What comes late: a last will, and what was said before an offer.

use super::*;

#[test]
fn what_a_device_says_after_its_last_will_makes_it_online_until_it_is_silent() {
    let present = |subject: &mut Subject, kind, payload: &str, retained| {
        subject.apply(&Message { retained, ..message(kind, payload) }, None, Some(7), NOW);
        subject.device.online_epoch == 7
    };
    for (kind, payload) in [
        (TopicKind::Version, "1.0.0"),
        (TopicKind::Status, "FAILED no space"),
        (TopicKind::Progress, r#"{"phase":"download"}"#),
        (TopicKind::Request, "url_expired"),
    ] {
        for (will, retained) in [("offline", false), ("OFFLINE\0", false), ("Offline", true)] {
            let mut subject = offered(true);
            assert!(present(&mut subject, TopicKind::Presence, "online", false));
            assert!(!present(&mut subject, TopicKind::Presence, will, retained), "{will}");
            assert!(!present(&mut subject, TopicKind::Version, "1.0.0", true), "that is older");
            assert!(present(&mut subject, kind, payload, false), "{kind:?}");
            assert_eq!(
                subject.device.presence,
                Some(Text(KnownPresence::Contradicted)),
                "so silence decides"
            );
            assert!(present(&mut subject, TopicKind::Presence, "offline", true), "the same will, kept");
            assert!(!present(&mut subject, TopicKind::Presence, "offline", false), "another will");
            assert!(present(&mut subject, TopicKind::Presence, "ONLINE", false));
            assert!(
                !present(&mut subject, TopicKind::Presence, "offline", true),
                "said while no server listened"
            );
        }
    }
    let mut subject = offered(true);
    present(&mut subject, TopicKind::Presence, "offline", false);
    assert!(!present(&mut subject, TopicKind::Version, "{", false), "what cannot be read changes nothing");
}

#[test]
fn what_came_before_the_offer_says_nothing_of_it() {
    let failed = r#"{"version":"1.0.0","last":{"to":"1.1.0","result":"FAILED","reason":"no space"}}"#;
    for (kind, payload) in [
        (TopicKind::Status, "FAILED no space"),
        (TopicKind::Status, "SUCCESS"),
        (TopicKind::Progress, r#"{"phase":"restart"}"#),
        (TopicKind::Request, "url_expired"),
        (TopicKind::Version, failed),
    ] {
        for plain in [true, false] {
            let mut subject = offered(plain);
            subject.update.as_mut().expect("an update").created_at = NOW - 100;
            subject.waited_ms = 101;
            assert_eq!(subject.tell(kind, payload), UpdateState::Offered, "{kind:?}");
            assert_eq!(subject.update.as_ref().map(|update| update.url_requests), Some(0));
            subject.waited_ms = 100;
            subject.tell(kind, payload);
            let update = subject.update.as_ref().expect("an update");
            assert!(*update.state != UpdateState::Offered || update.url_requests == 1, "{kind:?} {plain}");
        }
    }
    // Offered before the clock was set back.
    let mut subject = offered(true);
    subject.update.as_mut().expect("an update").created_at = NOW + 60_000;
    subject.waited_ms = 5;
    assert_eq!(subject.tell(TopicKind::Status, "FAILED no space"), UpdateState::Failed);
}
