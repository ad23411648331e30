//! What to do about a refusal on the command line: the flags and commands that no sentence of the store or the gate names.

use cause::{Cause, decision, publisher, store as causes};
use contract::ChannelName;
use store::{Check, Level};

/// What to do about a decision or a refusal; `None` if its sentence says all.
pub(crate) fn advice(cause: &Cause) -> Option<String> {
    let [version, product, channel] = ["version", "product", "channel"].map(|name| cause.text(name));
    Some(if cause.is(causes::CHANNEL_IS_HIGHER) {
        let is_production = channel == ChannelName::production().as_str();
        let to = if is_production { String::new() } else { format!(" --channel {channel}") };
        format!("`updraft promote {version} -p {product}{to}` does it, or --allow lower-version")
    } else if cause.is(causes::NO_RELEASE) {
        format!("publish it first, or see `updraft releases -p {product}`")
    } else if cause.is(causes::NO_CONDITIONS) || cause.is(causes::CONDITION_REFUSED) {
        "--server and --token do it, instead of --store".to_owned()
    } else if cause.is(decision::OFFLINE) {
        "--force sends it all the same, --when-online when it comes".to_owned()
    } else if cause.is(decision::QUARANTINED) || cause.is(decision::KEPT_BACK) {
        "its page on the dashboard has a button that clears the quarantine".to_owned()
    } else if cause.is(publisher::OTHER_AUDIENCE) || cause.is(publisher::NO_AUDIENCE) {
        "give that address as --server".to_owned()
    } else {
        return None;
    })
}

/// What to do about what a check found in an image for a product, whoever looked.
pub(crate) fn of_check(check: Check, product: &str) -> Option<String> {
    Some(match check {
        Check::NoVersion => "--version says it".to_owned(),
        Check::Unsigned => "`updraft image sign` signs it".to_owned(),
        Check::UntrustedKey => "`updraft image sign --append` signs it".to_owned(),
        Check::VersionTaken => format!("see `updraft releases -p {product}`"),
        _ if check.is_overrulable() && check.level() == Level::Refuse => {
            format!("--allow {check} overrules this")
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_that_can_be_overruled_is_told_with_its_flag() {
        for check in Check::ALL.into_iter().filter(|check| check.level() == Level::Refuse) {
            let flag = format!("--allow {check} overrules this");
            let is_told = of_check(check, "lamp").is_some_and(|advice| advice == flag);
            assert_eq!(is_told, check.is_overrulable(), "{check}");
        }
    }

    #[test]
    fn who_must_promote_by_hand_is_told_the_command() {
        let higher = |channel: &str| {
            let cause = causes::CHANNEL_IS_HIGHER.with("version", "1.0.1").with("product", "lamp");
            advice(&cause.with("channel", channel)).expect("advice")
        };
        assert_eq!(higher("production"), "`updraft promote 1.0.1 -p lamp` does it, or --allow lower-version");
        assert!(higher("beta").starts_with("`updraft promote 1.0.1 -p lamp --channel beta` does it"));
        let cause = causes::NO_RELEASE.with("version", "1.0.1").with("product", "lamp");
        assert!(advice(&cause).expect("advice").ends_with("see `updraft releases -p lamp`"));
        assert_eq!(advice(&causes::ENDED.cause()), None);
    }
}
