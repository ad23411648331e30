//! States, decisions, causes, sizes and times in words.

use api::{Device, Identity, Update, UpdateState, Word};
use cause::{Cause, decision};
use chrono::{DateTime, Utc};
use contract::Lack;
use maud::{Markup, html};
use serde::{Deserialize, Serialize};

pub(crate) use store::grouped;

/// A sentence as people write it: a capital first and a full stop last.
pub(crate) fn sentence(text: &str) -> String {
    let text = text.trim();
    let mut chars = text.chars();
    let Some(first) = chars.next() else { return String::new() };
    let mut out: String = first.to_uppercase().chain(chars).collect();
    if !out.ends_with(['.', '!', '?', '"']) {
        out.push('.');
    }
    out
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Tone {
    Good,
    Info,
    Warn,
    Bad,
    Quiet,
}

impl Tone {
    pub(crate) fn class(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Bad => "bad",
            Self::Quiet => "quiet",
        }
    }
}

pub(crate) fn state(state: &Word<UpdateState>) -> (&'static str, Tone) {
    match state.known() {
        Some(UpdateState::Offered) => ("Offered", Tone::Info),
        Some(UpdateState::Deferred) => ("Put off", Tone::Info),
        Some(UpdateState::Downloading) => ("Downloading", Tone::Info),
        Some(UpdateState::Restarting) => ("Restarting", Tone::Info),
        Some(UpdateState::Succeeded) => ("Succeeded", Tone::Good),
        Some(UpdateState::Failed) => ("Failed", Tone::Bad),
        Some(UpdateState::RolledBack) => ("Rolled back", Tone::Bad),
        Some(UpdateState::TimedOut) => ("Timed out", Tone::Warn),
        Some(UpdateState::Cancelled) => ("Cancelled", Tone::Quiet),
        None => ("Unknown", Tone::Quiet),
    }
}

/// What is to be said of a device that runs something else than it names: a word, and what to do.
pub(crate) fn wrong_image(device: &Device) -> Option<(&'static str, String)> {
    match (device.identity.known()?, &device.image) {
        (Identity::Mislabelled, Some(image)) => Some((
            "mislabelled",
            format!(
                "The device says another version than it runs: its bytes are {} {}. Check update sends it what is in production; build that image with the version that it is.",
                image.product, image.version
            ),
        )),
        (Identity::Foreign, _) => Some((
            "foreign image",
            "What the device runs is no release: nobody published these bytes. Check update sends it what is in production."
                .to_owned(),
        )),
        _ => None,
    }
}

/// What is to be done about two devices with one id.
pub(crate) const TWINS: &str = "Two devices use this id: the versions that they report go to and fro, so nothing is concluded from them. Give one of them another id and password.";

/// For what an update waits, or on what its success stands.
pub(crate) fn waits(update: &Update) -> Option<Markup> {
    Some(match (update.deferred_until, update.expires_at, update.waiting, update.unconfirmed) {
        (Some(until), ..) => html! { "The device asked to be left alone until " (moment(until)) "." },
        (_, Some(until), ..) => {
            html! { "It is kept for the device until " (moment(until)) ", and sent when it comes." }
        }
        (.., true, _) => html! { "The trigger is sent as soon as the device listens." },
        (.., true) => html! { "The device says so; it has not reported the version since." },
        _ => return None,
    })
}

/// Why an update ended as it did, and the code behind it. The badge above it says already that it was rolled back.
pub(crate) fn reason(update: &Update) -> Markup {
    let doubled = if update.state == UpdateState::RolledBack { "rolled back: " } else { "" };
    let said = update.reason.as_deref().map(|said| said.strip_prefix(doubled).unwrap_or(said));
    html! {
        @if said.is_some() || update.code.is_some() {
            p.reason {
                @if let Some(said) = said { (sentence(said)) " " }
                @if let Some(code) = &update.code { code.why { (code) } }
            }
        }
    }
}

/// What it means that a device does without a protection, and how loudly to say it.
pub(crate) fn lack(word: &str) -> (Tone, String) {
    let (tone, text) = match Lack::ALL.into_iter().find(|lack| lack.as_str() == word) {
        Some(Lack::Signatures) => {
            (Tone::Bad, "Takes unsigned images: no trusted keys are compiled into its firmware.")
        }
        Some(Lack::Record) => (
            Tone::Warn,
            "Keeps no record: it forgets at each restart which images failed and how its last update ended.",
        ),
        Some(Lack::CrashLoops) => (
            Tone::Warn,
            "Does not see crash loops: an image that crashes again and again after it was confirmed stays.",
        ),
        Some(Lack::Updates) => (
            Tone::Bad,
            "Refuses every update: its flash is encrypted, and its firmware cannot write through that.",
        ),
        None => {
            return (
                Tone::Warn,
                format!("Does without a protection that this server does not know: {word}."),
            );
        }
    };
    (tone, text.to_owned())
}

pub(crate) fn takes_unsigned(lacks: &[String]) -> bool {
    lacks.iter().any(|word| word == Lack::Signatures.as_str())
}

pub(crate) fn chip(tone: Tone, text: &str) -> Markup {
    html! { span class={ "chip " (tone.class()) } { (text) } }
}

/// A decision as a headline; the sentence that explains it comes with the answer.
pub(crate) fn decision(word: &str) -> (&'static str, Tone) {
    match word {
        "offered" => ("Update offered", Tone::Good),
        "up_to_date" => ("Up to date", Tone::Good),
        "in_progress" => ("Already updating", Tone::Info),
        "newer_than_channel" => ("Newer than production", Tone::Info),
        "unknown_version" => ("Version not known yet", Tone::Warn),
        "store_unavailable" => ("Store not available", Tone::Bad),
        "no_release" => ("Nothing in production", Tone::Warn),
        "blocked" => ("Blocked", Tone::Bad),
        "held" => ("Held back", Tone::Warn),
        "wrong_chip" => ("Wrong chip", Tone::Bad),
        "too_large" => ("Image too large", Tone::Bad),
        "quarantined" => ("In quarantine", Tone::Warn),
        "offline" => ("Device is offline", Tone::Warn),
        _ => ("Answered", Tone::Info),
    }
}

/// Decisions as counted in a summary: "3 offered, 1 up to date".
pub(crate) fn decision_counted(word: &str) -> String {
    word.replace('_', " ")
}

/// A size as people say it; the exact one is in the title.
pub(crate) fn size(bytes: u64) -> Markup {
    html! { span.number title={ (grouped(bytes)) " bytes" } { (size_text(bytes)) } }
}

/// `1.43 MB`, `312 KB`, `17 bytes`.
#[allow(clippy::cast_precision_loss, reason = "three digits are shown")]
pub(crate) fn size_text(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} bytes"),
        1_000..1_000_000 => format!("{:.0} KB", bytes as f64 / 1e3),
        _ => format!("{:.2} MB", bytes as f64 / 1e6),
    }
}

/// How long ago, with the exact time in the title.
pub(crate) fn ago(time: DateTime<Utc>) -> Markup {
    time_shown(time, &ago_text(Utc::now().signed_duration_since(time).num_seconds(), time))
}

/// The time of day, of what happened in quick succession; its date when one points at it.
pub(crate) fn clock(time: DateTime<Utc>) -> Markup {
    time_shown(time, &time.format("%H:%M:%S").to_string())
}

/// For times that may be days away.
fn moment(time: DateTime<Utc>) -> Markup {
    time_shown(time, &time.format("%Y-%m-%d %H:%M UTC").to_string())
}

fn time_shown(time: DateTime<Utc>, text: &str) -> Markup {
    html! {
        time datetime=(time.to_rfc3339_opts(chrono::SecondsFormat::Secs, true)) title=(time.format("%Y-%m-%d %H:%M:%S UTC")) { (text) }
    }
}

fn ago_text(seconds: i64, time: DateTime<Utc>) -> String {
    match seconds {
        ..10 => "just now".to_owned(),
        10..60 => format!("{seconds} s ago"),
        60..3_600 => format!("{} min ago", seconds / 60),
        3_600..86_400 => format!("{} h ago", seconds / 3_600),
        86_400..172_800 => "yesterday".to_owned(),
        172_800..2_592_000 => format!("{} days ago", seconds / 86_400),
        _ => time.format("%-d %b %Y").to_string(),
    }
}

/// `2.4 s`, `1 min 20 s`, `3 h 5 min`.
#[allow(clippy::cast_precision_loss, reason = "one decimal is shown")]
pub(crate) fn duration(from: DateTime<Utc>, to: DateTime<Utc>) -> String {
    let ms = to.signed_duration_since(from).num_milliseconds().max(0);
    match ms / 1000 {
        0..60 => format!("{:.1} s", ms as f64 / 1e3),
        seconds @ 60..3_600 => format!("{} min {} s", seconds / 60, seconds % 60),
        seconds => format!("{} h {} min", seconds / 3_600, seconds % 3_600 / 60),
    }
}

/// "1 device", "5 devices".
pub(crate) fn counted(count: u64, one: &str) -> String {
    if count == 1 { format!("1 {one}") } else { format!("{} {one}s", grouped(count)) }
}

/// What is the case, and what to do about it here.
pub(crate) fn explained(cause: &Cause) -> String {
    let said = sentence(&cause.sentence());
    match advice(cause) {
        Some(advice) => format!("{said} {advice}"),
        None => said,
    }
}

fn advice(cause: &Cause) -> Option<&'static str> {
    let buttons = [
        (decision::QUARANTINED, "“Clear quarantine” lets it be tried again."),
        (
            decision::KEPT_BACK,
            "Publish another image, or let this one be tried again with “Clear quarantine”.",
        ),
        (
            decision::OFFLINE,
            "“Send anyway” sends it all the same, “Send when it comes” keeps it for the device.",
        ),
        (cause::store::CHANNEL_IS_HIGHER, "“Promote” on its row does it."),
    ];
    buttons.into_iter().find(|(entry, _)| cause.is(*entry)).map(|(_, advice)| advice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_times_and_counts_read_well() {
        assert_eq!(size_text(999), "999 bytes");
        assert_eq!(size_text(1_430_528), "1.43 MB");
        assert_eq!(grouped(1_430_528), "1,430,528");
        assert_eq!(grouped(12), "12");
        let t = |s: &str| s.parse::<DateTime<Utc>>().expect("a time");
        assert_eq!(duration(t("2026-01-01T00:00:00Z"), t("2026-01-01T00:01:20Z")), "1 min 20 s");
        assert_eq!(duration(t("2026-01-01T00:00:00Z"), t("2026-01-01T00:00:02.4Z")), "2.4 s");
        assert_eq!(ago_text(59, t("2026-01-01T00:00:00Z")), "59 s ago");
        assert_eq!(counted(1, "device"), "1 device");
    }

    #[test]
    fn every_lack_has_its_own_sentence_and_unsigned_images_the_loudest() {
        let said: std::collections::HashSet<_> = Lack::ALL.map(|known| lack(known.as_str()).1).into();
        assert_eq!(said.len(), Lack::ALL.len());
        assert!(said.iter().all(|text| text.ends_with('.') && !text.contains("does not know")));
        assert_eq!(lack("signatures").0.class(), Tone::Bad.class());
        assert!(lack("gravity").1.ends_with("does not know: gravity."));
        assert!(
            takes_unsigned(&["record".into(), "signatures".into()]) && !takes_unsigned(&["record".into()])
        );
    }

    #[test]
    fn every_decision_has_its_own_headline() {
        let words = [
            "unknown_version",
            "in_progress",
            "store_unavailable",
            "no_release",
            "blocked",
            "up_to_date",
            "newer_than_channel",
            "held",
            "wrong_chip",
            "too_large",
            "quarantined",
            "offline",
            "offered",
        ];
        let titles: std::collections::HashSet<_> = words.iter().map(|word| decision(word).0).collect();
        assert_eq!(titles.len(), words.len());
        assert!(!titles.contains("Answered"));
    }

    #[test]
    fn a_cause_is_said_with_the_button_that_helps() {
        let said = explained(&decision::OFFLINE.with("version", "1.1.0"));
        assert!(said.ends_with("nothing is queued. “Send anyway” sends it all the same, “Send when it comes” keeps it for the device."), "{said}");
        let said = explained(&decision::UP_TO_DATE.with("version", "1.1.0"));
        assert_eq!(said, "The device already runs 1.1.0.");
    }
}
