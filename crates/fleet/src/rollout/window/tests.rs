use super::*;

fn window(from: &str, to: &str, tz: &str) -> Window {
    Window::try_from(Written { from: from.into(), to: to.into(), tz: tz.into() }).expect("a window")
}

fn at(text: &str) -> i64 {
    DateTime::parse_from_rfc3339(text).expect("a time").timestamp_millis()
}

/// The minutes of a day, from its first to its last instant, in which it is open.
fn open_minutes(window: &Window, from: &str, to: &str) -> i64 {
    let minutes = (at(from)..at(to)).step_by(60_000);
    i64::try_from(minutes.filter(|at| window.is_open(*at)).count()).expect("few")
}

#[test]
fn it_is_open_from_its_first_minute_until_before_its_last() {
    for (from, to, tz, time, expected) in [
        ("01:00", "05:00", "Europe/Berlin", "2026-01-15T00:00:00Z", true),
        ("01:00", "05:00", "Europe/Berlin", "2026-01-14T23:59:59Z", false),
        ("01:00", "05:00", "Europe/Berlin", "2026-01-15T03:59:59Z", true),
        ("01:00", "05:00", "Europe/Berlin", "2026-01-15T04:00:00Z", false),
        ("01:00", "05:00", "Europe/Berlin", "2026-07-14T23:00:00Z", true),
        ("01:00", "05:00", "Europe/Berlin", "2026-07-15T03:00:00Z", false),
        ("22:00", "02:00", "UTC", "2026-01-15T23:30:00Z", true),
        ("22:00", "02:00", "UTC", "2026-01-15T01:59:00Z", true),
        ("22:00", "02:00", "UTC", "2026-01-15T02:00:00Z", false),
        ("22:00", "24:00", "UTC", "2026-01-15T23:59:00Z", true),
        ("22:00", "24:00", "UTC", "2026-01-15T00:00:00Z", false),
        ("00:00", "12:00", "Asia/Kathmandu", "2026-01-14T18:15:00Z", true),
        ("00:00", "12:00", "Asia/Kathmandu", "2026-01-14T18:14:00Z", false),
    ] {
        assert_eq!(window(from, to, tz).is_open(at(time)), expected, "{from} to {to} {tz} at {time}");
    }
}

#[test]
fn where_clocks_are_set_it_follows_what_they_show() {
    let day_forward = ("2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z");
    let day_back = ("2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z");
    for (from, to, (start, end), minutes) in [
        ("01:00", "05:00", day_forward, 3 * 60),
        ("01:00", "05:00", day_back, 5 * 60),
        ("02:15", "02:45", day_forward, 0),
        ("02:15", "02:45", day_back, 2 * 30),
        ("02:30", "03:30", day_forward, 30),
        ("23:00", "01:00", day_forward, 2 * 60),
        ("05:00", "01:00", day_back, 20 * 60),
    ] {
        let window = window(from, to, "Europe/Berlin");
        assert_eq!(open_minutes(&window, start, end), minutes, "{from} to {to} from {start}");
    }
    // Half an hour, and southwards.
    let lord_howe = window("01:30", "02:30", "Australia/Lord_Howe");
    assert_eq!(open_minutes(&lord_howe, "2026-10-03T13:30:00Z", "2026-10-04T13:00:00Z"), 30);
    assert_eq!(open_minutes(&lord_howe, "2026-04-04T13:00:00Z", "2026-04-05T13:30:00Z"), 90);
}

#[test]
fn when_it_opens_is_said_over_the_skipped_hour_too() {
    let nightly = window("01:00", "05:00", "Europe/Berlin");
    assert_eq!(nightly.opens_at(at("2026-01-15T12:00:30Z")), Some(at("2026-01-16T00:00:00Z")));
    assert_eq!(nightly.opens_at(at("2026-01-15T01:00:00Z")), None);
    let skipped = window("02:15", "02:45", "Europe/Berlin");
    assert_eq!(skipped.opens_at(at("2026-03-28T12:00:00Z")), Some(at("2026-03-30T00:15:00Z")));
}

#[test]
fn what_is_no_window_is_refused_in_words() {
    for (from, to, tz, word) in [
        ("1:00", "05:00", "UTC", "1:00"),
        ("01:00", "25:00", "UTC", "25:00"),
        ("01:00", "05:60", "UTC", "05:60"),
        ("01:00", "24:01", "UTC", "24:01"),
        ("+1:00", "05:00", "UTC", "+1:00"),
        ("0100", "05:00", "UTC", "0100"),
        ("", "05:00", "UTC", "is no time"),
        ("01:00", "05:00", "Berlin", "Berlin"),
        ("01:00", "05:00", "", "time zone"),
        ("01:00", "01:00", "UTC", "always open"),
        ("00:00", "24:00", "UTC", "always open"),
    ] {
        let error =
            Window::try_from(Written { from: from.into(), to: to.into(), tz: tz.into() }).expect_err("none");
        assert!(error.contains(word), "{error}");
    }
}
