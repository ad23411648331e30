//! What is expected of each theft, and the table that the documentation has of it.
use std::fmt::Write;

/// What was stolen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Thief {
    Broker,
    Bucket,
    Server,
    Database,
    CiToken,
    OneKey,
    Password,
}

/// What is tried with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Attempt {
    NewCode,
    OldSignedCode,
    BlockedCode,
    RelabelledCode,
    OtherProduct,
    ReplayedTrigger,
    ReplayedReport,
    Withheld,
}

/// How new code is brought to a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Delivery {
    /// A URL of the thief's.
    Trigger,
    /// Files of a release, and a channel that points to it.
    Release,
    /// `updraft publish --promote`.
    Publish,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Signature {
    None,
    OneKey,
}

/// What comes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The device refuses it with this code.
    Device(&'static str),
    /// The gate refuses it, by this check.
    Gate(&'static str),
    /// Check update answers this.
    Decision(&'static str),
    /// The server signs no URL for it.
    NotSigned,
    /// Signed code at or above the floor runs, and is shown as the version that it is.
    RunsAsItself,
    /// It names what runs already, or has expired.
    NamesWhatRuns,
    /// It is shown until the device reports again.
    UntilNextReport,
    /// There is no way to try it.
    NoWay,
    /// As with both of these.
    As(Thief, Thief),
    /// It works; what notices it.
    Open(&'static str),
}

use Attempt::{
    BlockedCode, NewCode, OldSignedCode, OtherProduct, RelabelledCode, ReplayedReport, ReplayedTrigger,
    Withheld,
};
use Outcome::{
    As, Decision, Device, Gate, NamesWhatRuns, NoWay, NotSigned, Open, RunsAsItself, UntilNextReport,
};
use Thief::{Broker, Bucket, CiToken, Database, OneKey, Password, Server};

const THIEVES: [Thief; 7] = [Broker, Bucket, Server, Database, CiToken, OneKey, Password];
const ATTEMPTS: [Attempt; 8] = [
    NewCode,
    OldSignedCode,
    BlockedCode,
    RelabelledCode,
    OtherProduct,
    ReplayedTrigger,
    ReplayedReport,
    Withheld,
];
const SILENT: &str =
    "the update is `timed_out`, or the device stays on its version: `updraft devices --state timed_out`";

/// What comes of new code, by how it is brought and who signed it.
pub(super) fn new_code(delivery: Delivery, signature: Signature) -> Outcome {
    match (delivery, signature) {
        (Delivery::Trigger, Signature::None) => Device("unsigned"),
        (Delivery::Trigger, Signature::OneKey) => Device("too_few_signatures"),
        (Delivery::Release, _) => Decision("store_unavailable"),
        (Delivery::Publish, Signature::None) => Gate("unsigned"),
        (Delivery::Publish, Signature::OneKey) => Gate("too-few-signatures"),
    }
}

pub(super) fn expected(thief: Thief, attempt: Attempt) -> Outcome {
    match (thief, attempt) {
        (Server | Broker | Bucket | Database, Withheld) => Open(SILENT),
        (Server, _) => As(Broker, Bucket),
        (_, NewCode) => deliveries(thief).first().map_or(NoWay, |way| new_code(*way, Signature::None)),
        (Broker, OldSignedCode | BlockedCode) | (Database, OldSignedCode) => Device("secure_version"),
        (Broker | Bucket | CiToken, RelabelledCode) => Device("wrong_version"),
        (Bucket, BlockedCode) => Decision("store_unavailable"),
        (Broker | Bucket | CiToken | Database, OtherProduct) => Device("wrong_project"),
        (Broker, ReplayedTrigger) => NamesWhatRuns,
        (Broker | Database, ReplayedReport) => UntilNextReport,
        (Bucket, OldSignedCode) => Decision("newer_than_channel"),
        (Database, BlockedCode) => NotSigned,
        (Database, RelabelledCode) => RunsAsItself,
        (CiToken, OldSignedCode) => Gate("secure-floor"),
        (CiToken, BlockedCode) => Gate("blocked-bytes"),
        (Password, ReplayedReport) => Open("it is that one device's own word, which its password is for"),
        _ => NoWay,
    }
}

fn deliveries(thief: Thief) -> &'static [Delivery] {
    match thief {
        Broker => &[Delivery::Trigger],
        Bucket => &[Delivery::Release],
        Server => &[Delivery::Trigger, Delivery::Release],
        CiToken => &[Delivery::Publish],
        Database | OneKey | Password => &[],
    }
}

fn sentence(outcome: Outcome) -> String {
    match outcome {
        Device(code) => format!("the device refuses it: `{code}`"),
        Gate(check) => format!("the gate refuses it: `{check}`"),
        Decision(word) => format!("it is not offered: `{word}`"),
        NotSigned => "the server signs no URL for it".to_owned(),
        RunsAsItself => {
            "**possible** at or above the floor: it runs, is shown as what it is, and is offered production"
                .to_owned()
        }
        NamesWhatRuns => "it names what runs already, or has expired".to_owned(),
        UntilNextReport => "shown until the device reports again".to_owned(),
        NoWay => "no way".to_owned(),
        As(one, other) => format!("as with {} and {}", name(one), name(other)),
        Open(noticed) => format!("**possible**: {noticed}"),
    }
}

fn name(thief: Thief) -> &'static str {
    match thief {
        Broker => "the broker",
        Bucket => "the bucket",
        Server => "the server",
        Database => "the database",
        CiToken => "a token of CI",
        OneKey => "one of two keys",
        Password => "a device's password",
    }
}

fn title(attempt: Attempt) -> &'static str {
    match attempt {
        NewCode => "new code, unsigned",
        OldSignedCode => "old signed code, below the floor",
        BlockedCode => "blocked code (`--security`)",
        RelabelledCode => "signed code under another version",
        OtherProduct => "another product's code",
        ReplayedTrigger => "an old trigger",
        ReplayedReport => "an old or invented report",
        Withheld => "an update withheld",
    }
}

/// What comes of new code where two were stolen.
fn pair(one: Thief, other: Thief) -> String {
    let has_key = [one, other].contains(&OneKey);
    let signature = if has_key { Signature::OneKey } else { Signature::None };
    let mut ways: Vec<Delivery> = Vec::new();
    for way in [one, other].into_iter().flat_map(deliveries) {
        if !ways.contains(way) {
            ways.push(*way);
        }
    }
    let mut outcomes: Vec<String> = ways.iter().map(|way| sentence(new_code(*way, signature))).collect();
    outcomes.dedup();
    if outcomes.is_empty() { sentence(NoWay) } else { outcomes.join("; ") }
}

/// In Markdown.
pub(super) fn table() -> String {
    let mut text = String::from("| who holds |");
    for attempt in ATTEMPTS {
        write!(text, " {} |", title(attempt)).unwrap();
    }
    writeln!(text, "\n|{}", "---|".repeat(ATTEMPTS.len() + 1)).unwrap();
    for thief in THIEVES {
        write!(text, "| {} |", name(thief)).unwrap();
        for attempt in ATTEMPTS {
            write!(text, " {} |", sentence(expected(thief, attempt))).unwrap();
        }
        text.push('\n');
    }
    text.push_str("\nWho holds two of them tries new code, signed with one key where a key is among them:\n\n| who holds | new code |\n|---|---|\n");
    for (index, one) in THIEVES.into_iter().enumerate() {
        for other in THIEVES.into_iter().skip(index + 1) {
            writeln!(text, "| {} and {} | {} |", name(one), name(other), pair(one, other)).unwrap();
        }
    }
    text
}
