//! An answer to something a person did.

use api::Update;
use maud::{Markup, html};
use serde::{Deserialize, Serialize};

use super::words::{Tone, explained, sentence};
use crate::error::Error;
use crate::web::problem::Problem;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Said {
    pub(crate) tone: Tone,
    pub(crate) title: String,
    pub(crate) text: String,
    /// The form's own name for the place where it is shown.
    #[serde(default)]
    pub(crate) about: String,
    /// The update that it announces: it goes when that one has ended.
    #[serde(default)]
    pub(crate) update: Option<i64>,
}

impl Said {
    pub(crate) fn new(tone: Tone, title: impl Into<String>, text: impl Into<String>) -> Self {
        Self { tone, title: title.into(), text: text.into(), about: String::new(), update: None }
    }

    pub(crate) fn about(mut self, about: &str) -> Self {
        about.clone_into(&mut self.about);
        self
    }

    pub(crate) fn announcing(mut self, update: Option<&Update>) -> Self {
        self.update = update.map(|update| update.id);
        self
    }

    pub(crate) fn failed(error: impl Into<Problem>) -> Self {
        let problem: Problem = error.into();
        let tone = if problem.status.is_server_error() { Tone::Bad } else { Tone::Warn };
        let text = problem.cause.as_ref().map_or_else(|| sentence(&problem.detail), explained);
        Self::new(tone, "Not done", text)
    }

    pub(crate) fn markup(&self) -> Markup {
        html! {
            div class={ "notice " (self.tone.class()) } role="status" data-update=[self.update] {
                strong { (self.title) }
                @if !self.text.is_empty() { span { (self.text) } }
            }
        }
    }
}

/// The answer to a form that either does it or says why not.
pub(super) fn done<T>(result: Result<T, Error>, title: &str, text: &str) -> Said {
    match result {
        Ok(_) => Said::new(Tone::Good, title, text),
        // Nobody knows yet that it failed.
        Err(Error::GoesOn(cause)) => Said::new(Tone::Warn, "Not done yet", explained(&cause)),
        Err(error) => Said::failed(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_on_is_not_said_to_have_failed() {
        let slow = done::<()>(
            Err(Error::GoesOn(cause::service::GOES_ON.with("what", "blocking 1.0.0"))),
            "Blocked",
            "",
        );
        let markup = slow.markup().into_string();
        assert!(
            markup.contains("Not done yet")
                && markup.contains("The store takes its time over blocking 1.0.0."),
            "{markup}"
        );
        let failed = done::<()>(
            Err(Error::Refused(cause::service::DEVICE_EXISTS.with("device", "d1"))),
            "Blocked",
            "",
        )
        .markup()
        .into_string();
        assert!(failed.contains("Not done<"), "{failed}");
    }
}
