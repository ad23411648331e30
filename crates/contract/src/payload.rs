//! The small payloads: status, presence, progress, requests and controls.

use core::fmt;

use heapless::String;
use serde::{Deserialize, Serialize};

/// A reason has at most so many bytes of UTF-8; a longer one is cut at a character.
pub const REASON_MAX_BYTES: usize = 200;

/// A reason in words, as a device gives it: control characters replaced by spaces, at most 200 bytes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(transparent)]
pub struct Reason(String<REASON_MAX_BYTES>);

impl Reason {
    /// Replaces control characters by spaces, takes white space off both ends and cuts at 200 bytes; never fails.
    pub fn new(text: &str) -> Self {
        let mut reason = String::new();
        let letters = text.chars().map(|c| if c.is_control() { ' ' } else { c });
        for c in letters.skip_while(|c| c.is_whitespace()) {
            if reason.push(c).is_err() {
                break;
            }
        }
        reason.truncate(reason.trim_end().len());
        Self(reason)
    }

    /// Appends text, control characters as spaces; what does not fit is dropped.
    pub fn push_str(&mut self, text: &str) {
        for c in text.chars() {
            if !self.push(c) {
                break;
            }
        }
    }

    /// Appends a character, a space for a control character; `false` if it does not fit, and was dropped.
    #[inline(never)]
    pub fn push(&mut self, c: char) -> bool {
        self.0.push(if c.is_control() { ' ' } else { c }).is_ok()
    }

    /// Cuts to at most so many bytes, at a character, and takes spaces off the end.
    pub(crate) fn truncate(&mut self, bytes: usize) {
        while self.0.len() > bytes || self.0.ends_with(' ') {
            self.0.pop();
        }
    }

    /// The reason as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Write for Reason {
    /// Appends what fits and drops the rest, so that formatting a long error never fails.
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.push_str(text);
        Ok(())
    }
}

impl<'de> Deserialize<'de> for Reason {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl serde::de::Visitor<'_> for Text {
            type Value = Reason;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a reason in words")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Reason, E> {
                Ok(Reason::new(text))
            }
        }
        deserializer.deserialize_str(Text)
    }
}

/// A payload that is none of those the contract knows. `Display` says what would have been.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvalidPayload {
    /// Not `SUCCESS` or `FAILED`.
    Status,
    /// Not `online` or `offline`.
    Presence,
    /// Not a progress object.
    Progress,
    /// Not `url_expired`.
    Request,
    /// Not `clear_quarantine`.
    Control,
    /// Neither a version nor a report.
    Report,
}

impl fmt::Display for InvalidPayload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Status => {
                "a status is SUCCESS or FAILED, optionally followed by a space and a reason, or DEFERRED, seconds, and a reason"
            }
            Self::Presence => "presence is online or offline",
            Self::Progress => {
                r#"progress is {"phase":"download"|"verify"|"restart","done":bytes,"total":bytes}"#
            }
            Self::Request => "the only request is url_expired",
            Self::Control => "a control is clear_quarantine or force",
            Self::Report => "a report is a version such as 1.2.0, or a JSON object with one as \"version\"",
        })
    }
}

impl core::error::Error for InvalidPayload {}

/// How an attempt ended, as the device says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Outcome {
    /// The new image runs and was confirmed.
    Success,
    /// The old image runs.
    Failed,
}

impl Outcome {
    /// `SUCCESS` or `FAILED`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Success => "SUCCESS",
            Self::Failed => "FAILED",
        }
    }
}

/// A device may be left alone for so long in all, in seconds.
pub const DEFERRED_MAX_S: u32 = 7 * 24 * 3600;

/// What a device says on `devices/{id}/ota/status`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StatusMessage {
    /// How the attempt ended.
    Ended(Status),
    /// Not now: `DEFERRED <seconds> [reason]`.
    Deferred(Deferred),
}

impl StatusMessage {
    /// Parses either.
    pub fn parse(payload: &[u8]) -> Result<Self, InvalidPayload> {
        Deferred::parse(payload).map(Self::Deferred).or_else(|_| Status::parse(payload).map(Self::Ended))
    }
}

/// A device that is not to be updated now: its battery is low, it is in use, or nobody has agreed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deferred {
    /// For how long it is to be left alone, at most [`DEFERRED_MAX_S`].
    pub seconds: u32,
    /// In words; empty if the device gave none.
    pub reason: Reason,
}

impl Deferred {
    fn parse(payload: &[u8]) -> Result<Self, InvalidPayload> {
        let (word, rest) = first_word(trimmed(payload));
        if !word.eq_ignore_ascii_case(b"DEFERRED") {
            return Err(InvalidPayload::Status);
        }
        let (seconds, rest) = first_word(rest.trim_ascii_start());
        let digits = core::str::from_utf8(seconds).map_err(|_| InvalidPayload::Status)?;
        let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        // One with more digits than fit is longer than is allowed, too.
        let seconds = digits.parse().unwrap_or(DEFERRED_MAX_S).min(DEFERRED_MAX_S);
        is_number.then(|| Self { seconds, reason: reason(rest) }).ok_or(InvalidPayload::Status)
    }
}

impl fmt::Display for Deferred {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DEFERRED {}", self.seconds)?;
        if !self.reason.as_str().is_empty() {
            write!(f, " {}", self.reason)?;
        }
        Ok(())
    }
}

/// Up to white space or a colon, and what follows that.
fn first_word(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text.iter().position(|byte| !byte.is_ascii_alphanumeric() && *byte != b'_');
    let (word, rest) = text.split_at_checked(end.unwrap_or(text.len())).unwrap_or((text, b""));
    (word, rest.strip_prefix(b":").unwrap_or(rest))
}

/// The words behind, whatever bytes they have: they may have been cut in the middle of a character.
fn reason(words: &[u8]) -> Reason {
    let mut reason = Reason::default();
    for chunk in words.utf8_chunks() {
        let is_blank = |c: char| c.is_whitespace() || c.is_control();
        let valid = chunk.valid();
        reason.push_str(if reason.0.is_empty() { valid.trim_start_matches(is_blank) } else { valid });
        reason.push_str(if chunk.invalid().is_empty() { "" } else { "\u{FFFD}" });
    }
    reason.truncate(REASON_MAX_BYTES);
    reason
}

/// `devices/{id}/ota/status`: the outcome and, optionally, why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// How the attempt ended.
    pub outcome: Outcome,
    /// In words; empty if the device gave none.
    pub reason: Reason,
}

impl Status {
    /// Parses `SUCCESS`, `FAILED` or either with a reason behind it, in either case. The first word decides, whatever
    /// bytes follow: a reason may have been cut in the middle of a character.
    pub fn parse(payload: &[u8]) -> Result<Self, InvalidPayload> {
        let (word, rest) = first_word(trimmed(payload));
        let is = |outcome: &Outcome| word.eq_ignore_ascii_case(outcome.as_str().as_bytes());
        let outcomes = [Outcome::Success, Outcome::Failed];
        let outcome = outcomes.into_iter().find(is).ok_or(InvalidPayload::Status)?;
        Ok(Self { outcome, reason: reason(rest) })
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.outcome.as_str())?;
        if !self.reason.as_str().is_empty() {
            write!(f, " {}", self.reason)?;
        }
        Ok(())
    }
}

macro_rules! word {
    ($(#[$doc:meta])* $name:ident, $error:expr, { $($(#[$vdoc:meta])* $variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name {
            $($(#[$vdoc])* $variant),+
        }

        impl $name {
            /// Parses the exact word; surrounding white space is tolerated.
            pub fn parse(payload: &[u8]) -> Result<Self, InvalidPayload> {
                match payload.trim_ascii() {
                    $(word if word == $text.as_bytes() => Ok(Self::$variant),)+
                    _ => Err($error),
                }
            }

            /// The word on the wire.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text),+
                }
            }
        }
    };
}

word! {
    /// `devices/{id}/presence`, retained and the last will.
    Presence, InvalidPayload::Presence, {
        /// Connected.
        Online = "online",
        /// Gone.
        Offline = "offline",
    }
}

word! {
    /// `devices/{id}/ota/request`.
    Request, InvalidPayload::Request, {
        /// Sign the same artifact again, please.
        UrlExpired = "url_expired",
    }
}

word! {
    /// `devices/{id}/ota/control`.
    Control, InvalidPayload::Control, {
        /// Forget which images failed on this device.
        ClearQuarantine = "clear_quarantine",
        /// The next trigger is not to be deferred.
        Force = "force",
    }
}

impl Presence {
    /// Reads the word in any case, with what C programs leave around it.
    pub fn said(payload: &[u8]) -> Result<Self, InvalidPayload> {
        let is = |presence: &Self| trimmed(payload).eq_ignore_ascii_case(presence.as_str().as_bytes());
        [Self::Online, Self::Offline].into_iter().find(is).ok_or(InvalidPayload::Presence)
    }
}

impl Request {
    /// Reads the word in any case, with what C programs leave around it.
    pub fn said(payload: &[u8]) -> Result<Self, InvalidPayload> {
        let is = trimmed(payload).eq_ignore_ascii_case(Self::UrlExpired.as_str().as_bytes());
        is.then_some(Self::UrlExpired).ok_or(InvalidPayload::Request)
    }
}

/// What a C program meant to send: up to the first NUL, without white space around it and one pair of quotes.
pub fn trimmed(payload: &[u8]) -> &[u8] {
    match payload.split(|byte| *byte == 0).next().unwrap_or_default().trim_ascii() {
        [b'"', inner @ .., b'"'] => inner.trim_ascii(),
        text => text,
    }
}

/// What the device is doing with an update.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Fetching and writing the image.
    Download,
    /// Reading the slot back and checking it.
    Verify,
    /// About to restart into it.
    Restart,
}

impl Phase {
    /// `download`, `verify` or `restart`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Download => "download",
            Self::Verify => "verify",
            Self::Restart => "restart",
        }
    }
}

/// `devices/{id}/ota/progress`: at most one a second. Unknown keys are ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// What is being done.
    pub phase: Phase,
    /// Bytes done of this phase.
    #[serde(default)]
    pub done: u32,
    /// Bytes in all; 0 if not known.
    #[serde(default)]
    pub total: u32,
}

#[cfg(test)]
mod tests {
    use super::*;
    extern crate std;
    use std::string::ToString;

    #[test]
    fn a_status_is_one_of_two_words_with_an_optional_reason() {
        let parse = |text: &str| Status::parse(text.as_bytes());
        assert_eq!(parse("SUCCESS").expect("valid").outcome, Outcome::Success);
        assert_eq!(parse(" FAILED \n").expect("valid").reason.as_str(), "");
        let status = parse("FAILED digest does not match\n").expect("valid");
        assert_eq!(status.to_string(), "FAILED digest does not match");
        for bad in ["", "SUCCESSFUL", "FAILED_NOT", "OK", "\0", "\"\"", ": FAILED"] {
            assert_eq!(parse(bad), Err(InvalidPayload::Status), "{bad:?}");
        }
    }

    #[test]
    fn not_now_has_seconds_at_most_seven_days_and_maybe_a_reason() {
        let said = |text: &str| match StatusMessage::parse(text.as_bytes()) {
            Ok(StatusMessage::Deferred(deferred)) => Some(deferred.to_string()),
            Ok(StatusMessage::Ended(_)) => None,
            Err(error) => Some(error.to_string()),
        };
        for (sent, is) in [
            ("DEFERRED 600", "DEFERRED 600"),
            ("deferred 600 the lamp is lit\0", "DEFERRED 600 the lamp is lit"),
            ("DEFERRED: 600: in use", "DEFERRED 600 in use"),
            ("\"DEFERRED 0\"\r\n", "DEFERRED 0"),
            ("DEFERRED 99999999999999999999 low battery", "DEFERRED 604800 low battery"),
        ] {
            assert_eq!(said(sent).as_deref(), Some(is), "{sent:?}");
        }
        for bad in ["DEFERRED", "DEFERRED soon", "DEFERRED -1", "DEFERRED +1", "DEFERRED 10m"] {
            assert_eq!(said(bad), Some(InvalidPayload::Status.to_string()), "{bad:?}");
        }
        assert!(matches!(StatusMessage::parse(b"FAILED it is deferred"), Ok(StatusMessage::Ended(_))));
    }

    #[test]
    fn words_are_read_as_c_programs_send_them() {
        let printed = |text: &[u8]| Status::parse(text).map(|status| status.to_string());
        for (sent, is) in [
            (&b"SUCCESS\0"[..], "SUCCESS"),
            (b"success\r\n\0\0", "SUCCESS"),
            (b"\"SUCCESS\"", "SUCCESS"),
            (b"SUCCESS: all well", "SUCCESS all well"),
            (b"Failed:no space\0", "FAILED no space"),
            (b"FAILED expected \"a\"", "FAILED expected \"a\""),
            (b"FAILED \xff", "FAILED \u{FFFD}"),
            (b"FAILED \x04h", "FAILED h"),
            (b"FAILED zu gro\xc3", "FAILED zu gro\u{FFFD}"),
            (b"SUCCESS\0\xa5 of a buffer that was used before", "SUCCESS"),
            (b"\"FAILED\"\0x", "FAILED"),
            (b"FAILED no space\0\xff", "FAILED no space"),
            (b"FAILED\xff\xfe", "FAILED \u{FFFD}\u{FFFD}"),
            (b"FAILED, no space", "FAILED , no space"),
            (b"FAILED(-3)", "FAILED (-3)"),
        ] {
            assert_eq!(printed(sent).as_deref(), Ok(is));
        }
        for online in [&b"online\0"[..], b"ONLINE", b"\"Online\"\n"] {
            assert_eq!(Presence::said(online), Ok(Presence::Online));
        }
        assert_eq!(Presence::said(b"away"), Err(InvalidPayload::Presence));
        assert_eq!(Request::said(b"URL_EXPIRED\r\n\0\xff"), Ok(Request::UrlExpired));
        assert_eq!(Request::said(b"url_expired please"), Err(InvalidPayload::Request));
        assert_eq!(trimmed(b" {\"phase\":\"verify\"}\0\0"), b"{\"phase\":\"verify\"}");
    }

    #[test]
    fn a_long_reason_is_cut_at_a_character() {
        let reason = Reason::new(&"ü".repeat(500));
        assert_eq!(reason.as_str().len(), 200);
        assert_eq!(Reason::new("a\x1b[31m\nb").as_str(), "a [31m b");
        assert_eq!(Reason::new("\0 a \x01\0").as_str(), "a", "what is printed reads back the same");
    }

    #[test]
    fn words_are_exact() {
        assert_eq!(Presence::parse(b"online\n"), Ok(Presence::Online));
        assert_eq!(Presence::parse(b"Online"), Err(InvalidPayload::Presence));
        assert_eq!(Request::parse(b"url_expired"), Ok(Request::UrlExpired));
        assert_eq!(Control::parse(b""), Err(InvalidPayload::Control));
    }
}
