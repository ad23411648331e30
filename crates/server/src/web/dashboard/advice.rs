//! Causes as the dashboard says them: the sentence, and which button does something about it.

use cause::{Cause, decision, store};

use super::sentence::sentence;

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
        (decision::OFFLINE, "“Send anyway” sends it all the same."),
        (store::CHANNEL_IS_HIGHER, "“Promote” on its row does it."),
    ];
    buttons.into_iter().find(|(entry, _)| cause.is(*entry)).map(|(_, advice)| advice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_said_with_the_button_that_helps() {
        let said = explained(&decision::OFFLINE.with("version", "1.1.0"));
        assert!(said.ends_with("was not sent. “Send anyway” sends it all the same."), "{said}");
        let said = explained(&decision::UP_TO_DATE.with("version", "1.1.0"));
        assert_eq!(said, "The device already runs 1.1.0.");
    }
}
