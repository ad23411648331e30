mod heard;
mod late;

use bytes::Bytes;
use contract::Version;

use super::*;
use crate::db::Text;

const NOW: i64 = 1_000_000;

fn version(text: &str) -> Version {
    text.parse().expect("a version")
}

/// A device that runs 1.0.0 and was offered 1.1.0. A plain one reports bare versions.
fn offered(plain: bool) -> Subject {
    let id: contract::DeviceId = "d1".parse().expect("an id");
    let mut subject = Subject::new(Locked::in_a_test(DeviceRow::new(id.clone(), 0)));
    subject.device.version = Some(version("1.0.0").into());
    subject.device.report = (!plain).then(|| DeviceReport::default().into());
    let (product, key) = ("p".parse().expect("a product"), "p/releases/v1.1.0/firmware.bin".to_owned());
    subject.update = Some(Locked::in_a_test(UpdateRow {
        id: 1,
        from_version: Some("1.0.0".to_owned()),
        sha256: Some(Text(Sha256([7; 32]))),
        bytes: 100,
        triggered_at: Some(0),
        ..UpdateRow::offered(id, product, version("1.1.0"), key, 0)
    }));
    subject
}

fn message(kind: TopicKind, payload: &str) -> Message {
    Message {
        kind,
        device: "d1".parse().expect("an id"),
        payload: Bytes::copy_from_slice(payload.as_bytes()),
        retained: false,
        received: std::time::Instant::now(),
    }
}

impl Subject {
    fn tell(&mut self, kind: TopicKind, payload: &str) -> UpdateState {
        self.apply(&message(kind, payload), None, None, NOW);
        self.state()
    }

    fn replay(&mut self, kind: TopicKind, payload: &str) -> UpdateState {
        self.apply(&Message { retained: true, ..message(kind, payload) }, None, None, NOW);
        self.state()
    }

    fn state(&self) -> UpdateState {
        *self.update.as_ref().expect("an update").state
    }

    fn reason(&self) -> String {
        match self.update.as_ref().expect("an update").why() {
            Some(fleet::Why::Device(said)) => said,
            other => panic!("the device said why: {other:?}"),
        }
    }

    fn runs(&self) -> &str {
        self.device.version.as_ref().expect("a version").as_str()
    }

    fn at_fault(&self) -> bool {
        self.update.as_ref().expect("an update").image_at_fault
    }
}

#[test]
fn a_plain_devices_success_is_believed_and_is_its_version() {
    let mut subject = offered(true);
    assert_eq!(subject.tell(TopicKind::Status, "SUCCESS"), UpdateState::Succeeded);
    assert_eq!(subject.runs(), "1.1.0");
    assert_eq!(subject.device.sha256, None, "it never said one");
    assert_eq!(subject.update.as_ref().and_then(|update| update.finished_at), Some(NOW));
}

#[test]
fn the_old_version_reported_afterwards_takes_success_back() {
    let mut subject = offered(true);
    subject.tell(TopicKind::Status, "SUCCESS");
    assert_eq!(subject.tell(TopicKind::Version, "1.0.0"), UpdateState::RolledBack);
    assert_eq!(subject.runs(), "1.0.0");
    assert!(subject.at_fault());
    // It came up after all.
    assert_eq!(subject.tell(TopicKind::Version, "1.1.0"), UpdateState::Succeeded);
    assert!(!subject.at_fault());
}

#[test]
fn a_retained_old_version_takes_nothing_back() {
    let mut subject = offered(true);
    subject.tell(TopicKind::Status, "SUCCESS");
    assert_eq!(subject.replay(TopicKind::Version, "1.0.0"), UpdateState::Succeeded);
    assert_eq!(subject.runs(), "1.1.0");
    assert_eq!(subject.device.last_seen, Some(NOW), "heard when it said SUCCESS");
}

#[test]
fn a_retained_report_that_was_seen_before_says_nothing_new() {
    let mut subject = offered(true);
    subject.tell(TopicKind::Version, "1.0.0");
    subject.device.version = Some(version("1.3.0").into());
    subject.replay(TopicKind::Version, "1.0.0");
    assert_eq!(subject.runs(), "1.3.0");
    subject.replay(TopicKind::Version, "1.2.0");
    assert_eq!(subject.runs(), "1.2.0", "it was published while the server was away");
}

#[test]
fn a_json_device_has_succeeded_only_when_it_reports_the_target() {
    let mut subject = offered(false);
    assert_eq!(subject.tell(TopicKind::Status, "SUCCESS"), UpdateState::Restarting);
    assert_eq!(subject.runs(), "1.0.0");
    let pending = r#"{"version":"1.1.0","state":"pending_verify"}"#;
    assert_eq!(subject.tell(TopicKind::Version, pending), UpdateState::Restarting);
    let valid = r#"{"version":"1.1.0","state":"valid","chip":"esp32s3","slot_bytes":1500000}"#;
    assert_eq!(subject.tell(TopicKind::Version, valid), UpdateState::Succeeded);
    assert_eq!(subject.device.report.as_ref().and_then(|report| report.slot_bytes), Some(1_500_000));
}

#[test]
fn a_json_device_that_knows_no_version_proves_success_by_the_targets_hash() {
    let mut subject = offered(false);
    let success = |byte: u8| format!("SUCCESS sha256 {}", Sha256([byte; 32]));
    assert_eq!(subject.tell(TopicKind::Status, &success(8)), UpdateState::Restarting);
    assert_eq!(subject.tell(TopicKind::Status, &success(7)), UpdateState::Succeeded);
    assert_eq!(subject.runs(), "1.1.0");
}

#[test]
fn a_report_completes_an_update_whose_success_was_lost_and_revises_its_end() {
    for end in [UpdateState::Offered, UpdateState::TimedOut, UpdateState::Failed, UpdateState::RolledBack] {
        let mut subject = offered(false);
        subject.update.as_mut().expect("an update").state = end.into();
        let state = subject.tell(TopicKind::Version, r#"{"version":"1.1.0"}"#);
        assert_eq!(state, UpdateState::Succeeded, "{end:?}");
    }
}

#[test]
fn the_last_outcome_completes_an_update_unless_it_is_an_old_story() {
    let report = r#"{"version":"1.0.0","last":{"to":"1.1.0","result":"FAILED","reason":"wrong digest"}}"#;
    let mut subject = offered(false);
    assert_eq!(subject.tell(TopicKind::Version, report), UpdateState::Failed);
    assert_eq!(subject.reason(), "wrong digest");
    assert!(subject.at_fault());

    let mut again = offered(false);
    again.update.as_mut().expect("an update").outcome_before = subject.device.last_outcome.clone();
    assert_eq!(again.tell(TopicKind::Version, report), UpdateState::Offered);
    // Once it has restarted into the new image, the same words tell of this attempt.
    again.tell(TopicKind::Progress, r#"{"phase":"restart"}"#);
    assert_eq!(again.replay(TopicKind::Version, &format!("{report} ")), UpdateState::Restarting);
    assert_eq!(again.tell(TopicKind::Version, report), UpdateState::RolledBack);
}

#[test]
fn the_way_back_from_new_connection_settings_is_kept_without_urls() {
    let mut subject = offered(false);
    let said =
        r#"{"version":"1.0.0","returned":"no broker at mqtt://u:secret@host/ within 600 s [move_failed]"}"#;
    subject.tell(TopicKind::Version, said);
    let returned =
        |subject: &Subject| subject.device.report.as_ref().and_then(|report| report.returned.clone());
    assert_eq!(returned(&subject).as_deref(), Some("no broker at mqtt:(URL) within 600 s [move_failed]"));
    subject.tell(TopicKind::Version, r#"{"version":"1.0.0","returned":7}"#);
    assert_eq!(returned(&subject), None, "and the report is heard");
}

const FALLEN: &str = r#"{"version":"1.0.0","reset":"panic","lacks":["signatures"],"last":{"to":"1.1.0","result":"FAILED","reason":"it crashed 5 times [crash_loop]"}}"#;

#[test]
fn a_crash_loop_takes_success_back_once_and_not_from_what_the_broker_kept() {
    let mut subject = offered(false);
    subject.tell(TopicKind::Version, r#"{"version":"1.1.0","state":"valid"}"#);
    assert_eq!(subject.replay(TopicKind::Version, FALLEN), UpdateState::Succeeded);
    assert_eq!(subject.tell(TopicKind::Version, FALLEN), UpdateState::RolledBack);
    assert_eq!(subject.reason(), "it crashed 5 times [crash_loop]", "stored as it came");
    assert!(subject.at_fault());
    assert_eq!(subject.runs(), "1.0.0");
    assert_eq!(
        subject.device.report.as_ref().map(|report| report.lacks.clone()),
        Some(vec!["signatures".into()])
    );
    let ended = subject.update.clone();
    subject.apply(&message(TopicKind::Version, FALLEN), None, None, NOW + 1);
    assert_eq!(subject.update, ended, "told again");

    // The next update of the same image ends in the same words.
    let mut again = offered(false);
    again.update.as_mut().expect("an update").outcome_before = subject.device.last_outcome.clone();
    assert_eq!(again.tell(TopicKind::Version, FALLEN), UpdateState::Offered);
    again.tell(TopicKind::Version, r#"{"version":"1.1.0","state":"valid"}"#);
    assert_eq!(again.tell(TopicKind::Version, FALLEN), UpdateState::RolledBack);
    assert_eq!(again.reason(), "it crashed 5 times [crash_loop]");
    assert!(again.at_fault());
}

#[test]
fn a_code_outlives_the_url_that_is_taken_out_of_the_words() {
    let mut subject = offered(false);
    // Each // grows to (URL), far beyond what a reason may have.
    let words = "// ".repeat(55);
    assert_eq!(
        subject.tell(TopicKind::Status, &format!("FAILED {words}[server_error]")),
        UpdateState::Failed
    );
    assert!(
        subject.reason().ends_with(" [server_error]") && !subject.reason().contains("//"),
        "{}",
        subject.reason()
    );
    assert!(!subject.at_fault());
}

#[test]
fn progress_moves_the_update_and_starts_the_clock_anew() {
    let mut subject = offered(false);
    let progress = r#"{"phase":"download","done":524288,"total":1500000}"#;
    assert_eq!(subject.tell(TopicKind::Progress, progress), UpdateState::Downloading);
    let update = subject.update.as_ref().expect("an update");
    assert_eq!((update.done, update.heard_at), (524_288, NOW));
    let restart = r#"{"phase":"restart"}"#;
    assert_eq!(subject.tell(TopicKind::Progress, restart), UpdateState::Restarting);
    assert_eq!(subject.tell(TopicKind::Status, "FAILED self-test"), UpdateState::RolledBack);
    assert_eq!(subject.tell(TopicKind::Progress, progress), UpdateState::RolledBack);
}

#[test]
fn history_has_what_changed_and_each_quarter_and_is_bounded() {
    let mut subject = offered(false);
    for done in 0..=100 {
        subject.tell(TopicKind::Progress, &format!(r#"{{"phase":"download","done":{done},"total":100}}"#));
    }
    subject.tell(TopicKind::Progress, r#"{"phase":"restart"}"#);
    subject.tell(TopicKind::Status, "FAILED self-test");
    subject.tell(TopicKind::Status, "FAILED self-test");
    let update = subject.update.as_mut().expect("an update");
    let noted: Vec<_> = update
        .events
        .iter()
        .map(|e| (e.kind.as_str(), e.from_state.map(|s| s.0), e.to_state.0, e.done))
        .collect();
    let (offered, downloading) = (Some(UpdateState::Offered), UpdateState::Downloading);
    assert_eq!(
        noted,
        [
            ("progress", offered, downloading, 0),
            ("progress", Some(downloading), downloading, 25),
            ("progress", Some(downloading), downloading, 50),
            ("progress", Some(downloading), downloading, 75),
            ("progress", Some(downloading), downloading, 100),
            ("progress", Some(downloading), UpdateState::Restarting, 0),
            ("status", Some(UpdateState::Restarting), UpdateState::RolledBack, 0),
        ]
    );
    assert_eq!(update.events.last().expect("an event").reason, "self-test");
    for _ in 0..1000 {
        subject.device.returns = 0;
        subject.tell(TopicKind::Version, r#"{"version":"1.1.0","state":"valid"}"#);
        subject.tell(TopicKind::Version, r#"{"version":"1.0.0","state":"valid"}"#);
    }
    assert_eq!(subject.update.expect("an update").events.len(), 500);
}

#[test]
fn what_cannot_be_read_is_counted_and_changes_nothing_else() {
    let mut subject = offered(true);
    let before = subject.clone();
    for (kind, payload) in [
        (TopicKind::Version, " \n"),
        (TopicKind::Version, "{\"version\":"),
        (TopicKind::Status, "ok"),
        (TopicKind::Presence, "maybe"),
        (TopicKind::Progress, "{}"),
        (TopicKind::Request, "please"),
    ] {
        subject.tell(kind, payload);
    }
    assert_eq!(subject.device.unreadable_count, 6);
    assert_eq!(
        subject.device.unreadable_last.as_deref(),
        Some("the only request is url_expired; it began with \"please\"")
    );
    assert_eq!(subject.update, before.update);
    assert_eq!(subject.runs(), "1.0.0");
    assert_eq!(subject.device.last_seen, None);
}

#[test]
fn a_replayed_status_is_of_an_attempt_that_is_over() {
    let mut subject = offered(true);
    let before = subject.clone();
    assert_eq!(subject.replay(TopicKind::Status, "SUCCESS"), UpdateState::Offered);
    assert_eq!((subject.device, subject.update), (before.device, before.update));
}

#[test]
fn a_url_is_signed_again_five_times_and_not_for_an_update_that_is_over() {
    let mut subject = offered(true);
    let wants_trigger = |subject: &mut Subject| {
        subject.update.as_mut().expect("an update").triggered_at = Some(0);
        subject.tell(TopicKind::Request, "url_expired");
        subject.update.as_ref().expect("an update").triggered_at.is_none()
    };
    for _ in 0..5 {
        assert!(wants_trigger(&mut subject));
    }
    assert!(!wants_trigger(&mut subject));

    let mut cancelled = offered(true);
    cancelled.update.as_mut().expect("an update").state = UpdateState::Cancelled.into();
    assert!(!wants_trigger(&mut cancelled));
}

#[test]
fn signed_urls_never_stay_in_a_reason() {
    let mut subject = offered(true);
    subject.tell(TopicKind::Status, "FAILED 403 for https://b.example/f?X-Amz-Signature=1 (expired)");
    assert_eq!(subject.reason(), "403 for (URL) (expired)");
    assert!(!subject.at_fault());
}

#[test]
fn a_power_cut_is_not_the_images_fault() {
    let mut subject = offered(false);
    subject.tell(TopicKind::Progress, r#"{"phase":"restart"}"#);
    let report = r#"{"version":"1.0.0","reset":"power_on","last":{"to":"1.1.0","result":"FAILED","reason":"rolled back"}}"#;
    assert_eq!(subject.tell(TopicKind::Version, report), UpdateState::RolledBack);
    assert!(!subject.at_fault());
}

#[test]
fn the_registered_product_wins_over_the_reported_one() {
    let mut subject = offered(false);
    subject.device.product = Some(Text("mine".parse().expect("a product")));
    subject.device.product_is_set = true;
    subject.tell(TopicKind::Version, r#"{"version":"1.0.0","product":"other"}"#);
    assert_eq!(subject.device.product.as_ref().map(|product| product.as_str()), Some("mine"));
    subject.device.product_is_set = false;
    subject.tell(TopicKind::Version, r#"{"version":"1.0.0","product":"other"}"#);
    assert_eq!(subject.device.product.as_ref().map(|product| product.as_str()), Some("other"));
}

#[test]
fn presence_is_believed_also_when_it_was_kept() {
    let mut subject = offered(true);
    subject.replay(TopicKind::Presence, "online");
    assert_eq!(subject.device.presence, Some(Text(KnownPresence::Online)));
    assert_eq!(subject.device.last_seen, None);
    subject.tell(TopicKind::Presence, "online");
    assert_eq!(subject.device.last_seen, Some(NOW));
    subject.tell(TopicKind::Presence, "offline");
    assert_eq!(subject.device.presence, Some(Text(KnownPresence::Offline)));
}

#[test]
fn a_third_version_ends_what_was_believed_at_once_and_accuses_nobody() {
    let mut subject = offered(true);
    assert_eq!(subject.tell(TopicKind::Status, "SUCCESS"), UpdateState::Succeeded);
    assert!(subject.update.as_ref().expect("an update").believed);
    assert_eq!(subject.replay(TopicKind::Version, "1.0.9"), UpdateState::Succeeded, "kept from before");
    assert_eq!(subject.tell(TopicKind::Version, "1.0.9"), UpdateState::Failed);
    assert!(!subject.at_fault());
    assert_eq!(subject.runs(), "1.0.9");
    // Said after the report, it is not believed.
    let mut subject = offered(true);
    subject.tell(TopicKind::Version, "1.0.9");
    assert_eq!(subject.tell(TopicKind::Status, "SUCCESS"), UpdateState::Failed);
    assert_eq!(subject.runs(), "1.0.9");
}

#[test]
fn a_report_of_the_target_confirms_what_was_believed() {
    let mut subject = offered(true);
    subject.tell(TopicKind::Status, "SUCCESS");
    assert_eq!(subject.tell(TopicKind::Version, "1.1.0"), UpdateState::Succeeded);
    assert!(!subject.update.as_ref().expect("an update").believed);
    assert_eq!(subject.tell(TopicKind::Version, "2.0.0-dev"), UpdateState::Succeeded, "by somebody, since");
    let mut subject = offered(true);
    subject.tell(TopicKind::Status, &format!("SUCCESS sha256 {}", Sha256([7; 32])));
    assert!(!subject.update.as_ref().expect("an update").believed, "its bytes have shown it");
}

#[test]
fn two_devices_with_one_id_decide_nothing() {
    let mut subject = offered(true);
    subject.tell(TopicKind::Status, "SUCCESS");
    for round in 0..2 {
        assert!(!subject.device.are_twins(NOW), "{round}");
        subject.tell(TopicKind::Version, "1.0.0");
        subject.tell(TopicKind::Version, "1.1.0");
    }
    assert!(subject.device.are_twins(NOW));
    let state = subject.state();
    for version in ["1.0.0", "1.1.0", "1.0.0"] {
        assert_eq!(subject.tell(TopicKind::Version, version), state);
        assert_eq!(subject.runs(), version, "what is said is shown");
    }
    assert_eq!(subject.tell(TopicKind::Status, "FAILED it crashed"), state);
    assert!(!subject.device.are_twins(NOW + 3_600_000), "nothing came back for an hour");
    assert!(!subject.device.are_twins(NOW - 1), "a clock that was set back");
}

#[test]
fn one_device_that_is_rolled_back_is_no_twin() {
    let mut subject = offered(false);
    for said in ["1.0.0", "1.1.0", "1.0.0", "1.0.0"] {
        subject.tell(TopicKind::Version, said);
    }
    assert_eq!(subject.device.returns, 1);
}

#[test]
fn a_device_is_left_alone_as_long_as_it_says_and_for_seven_days_at_most() {
    let put_off = |subject: &mut Subject, now: i64, text: &str| {
        subject.apply(&message(TopicKind::Status, text), None, None, now);
        let update = subject.update.as_ref().expect("an update");
        (*update.state, update.deferred_until)
    };
    let mut subject = offered(true);
    let until = put_off(&mut subject, NOW, "DEFERRED 600 the lamp is lit");
    assert_eq!(until, (UpdateState::Deferred, Some(NOW + 600_000)));
    assert_eq!(subject.reason(), "the lamp is lit");
    assert_eq!(
        put_off(&mut subject, NOW, "DEFERRED 0").1,
        Some(NOW + 30_000),
        "it is not asked all the time"
    );
    let days = |days: i64| NOW + days * 86_400_000;
    assert_eq!(put_off(&mut subject, days(6), "DEFERRED 604800").1, Some(days(7)));
    let last = put_off(&mut subject, days(7), "DEFERRED 600");
    assert_eq!(last, (UpdateState::Deferred, Some(days(7))), "it is asked now");
    // What was never sent was not put off, and force does not ask.
    for change in [|row: &mut UpdateRow| row.triggered_at = None, |row: &mut UpdateRow| row.forced = true] {
        let mut subject = offered(true);
        change(subject.update.as_mut().expect("an update"));
        assert_eq!(put_off(&mut subject, NOW, "DEFERRED 600"), (UpdateState::Offered, None));
    }
}
