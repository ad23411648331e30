//! What a statement claims, and whether that is enough for one of the configuration's entries.

use chrono::{DateTime, Utc};
use contract::ProductName;
use serde::Deserialize;

use super::{one_line, shown};
use crate::app::{AppError, Scope};
use crate::config::TrustedPublisher;

/// How far two clocks may be apart.
const LEEWAY_S: i64 = 60;
/// How old a statement may be. Shorter than the life of the token that it is traded for, whose row in the database
/// is what keeps it from being taken twice.
const AGE_MAX_S: i64 = 15 * 60;
/// The longest name of a publisher, in characters.
const NAME_MAX: usize = 200;

/// The events that only those can cause who may write to the repository. `pull_request` runs the code of whoever
/// opens one. `pull_request_target`, `issue_comment` and `workflow_run` are caused from outside too, and their `ref`
/// is a branch of the repository all the same: a ref alone would not tell them apart.
const EVENTS: [&str; 6] =
    ["push", "workflow_dispatch", "release", "schedule", "repository_dispatch", "merge_group"];

/// As GitHub names them; others are not looked at.
#[derive(Debug, Deserialize)]
pub(super) struct Claims {
    pub(super) iss: String,
    aud: Option<Audience>,
    exp: Option<serde_json::Number>,
    nbf: Option<serde_json::Number>,
    iat: Option<serde_json::Number>,
    repository: Option<String>,
    repository_id: Option<String>,
    repository_owner_id: Option<String>,
    #[serde(rename = "ref")]
    git_ref: Option<String>,
    environment: Option<String>,
    event_name: Option<String>,
    run_id: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

impl Claims {
    /// `owner/name`, or nothing.
    pub(super) fn repository(&self) -> &str {
        self.repository.as_deref().unwrap_or_default()
    }

    /// Who publishes, for the log: `octo/blinky@refs/heads/main run 123`.
    pub(super) fn name(&self) -> String {
        let place = self.git_ref.as_deref().unwrap_or_default();
        let run = self.run_id.as_deref().unwrap_or("?");
        one_line(&format!("{}@{place} run {run}", self.repository()), NAME_MAX)
    }

    /// Whether it was made for this server, which is told by its address.
    pub(super) fn are_for(&self, server: &str) -> Result<(), AppError> {
        let audiences: &[String] = match &self.aud {
            Some(Audience::One(one)) => std::slice::from_ref(one),
            Some(Audience::Several(several)) => several,
            None => &[],
        };
        if audiences.iter().any(|audience| audience == server) {
            return Ok(());
        }
        let said = match audiences.first() {
            Some(first) => format!("is for the audience (aud) {}", shown(first)),
            None => "names no audience (aud)".to_owned(),
        };
        Err(AppError::Unproven(format!(
            "The token {said}, and this server takes tokens for {server} only: give that address as --server. It is the \
             server's http.public_url."
        )))
    }

    /// Whether it holds now.
    pub(super) fn hold_at(&self, now: DateTime<Utc>) -> Result<(), AppError> {
        let at = now.timestamp();
        let refuse = |why: String| Err(AppError::Unproven(why));
        let Some(end) = seconds(self.exp.as_ref()) else {
            return refuse("The token has no time of expiry (exp).".to_owned());
        };
        let Some(issued) = seconds(self.iat.as_ref()) else {
            return refuse("The token does not say when it was issued (iat).".to_owned());
        };
        let clock = |s| format!("{}, and it is {} here", time(s), time(at));
        if end.saturating_add(LEEWAY_S) <= at {
            return refuse(format!(
                "The token has expired: it ended (exp) at {}. Ask the CI system for a new one.",
                clock(end)
            ));
        }
        let begins = if self.nbf.is_some() { seconds(self.nbf.as_ref()) } else { Some(issued) };
        let Some(begins) = begins else {
            return refuse("The token's begin (nbf) cannot be read.".to_owned());
        };
        let begins = begins.max(issued);
        if begins.saturating_sub(LEEWAY_S) > at {
            return refuse(format!(
                "The token is not yet valid: it begins (nbf, iat) at {}. One of the two clocks is wrong.",
                clock(begins)
            ));
        }
        if issued.saturating_add(AGE_MAX_S + LEEWAY_S) <= at {
            return refuse(format!(
                "The token is too old: it was issued (iat) at {}, and at most {} minutes are taken. Ask the CI system for \
                 a new one.",
                clock(issued),
                AGE_MAX_S / 60
            ));
        }
        Ok(())
    }

    /// What the configuration trusts this publisher with.
    pub(super) fn scope(
        &self,
        publishers: &[TrustedPublisher],
        product: Option<&ProductName>,
    ) -> Result<Scope, AppError> {
        let forbidden = |why: String| Err(AppError::Forbidden(why));
        let repository = self.repository();
        let same = |entry: &&TrustedPublisher| {
            entry.issuer == self.iss && entry.repository.eq_ignore_ascii_case(repository)
        };
        let named: Vec<_> = publishers.iter().filter(same).collect();
        if named.is_empty() {
            return forbidden(format!(
                "The token is of a job in the repository {}, which no [[trusted_publisher]] of this server names.",
                shown(repository)
            ));
        }
        let (fit, misfits): (Vec<_>, Vec<_>) = named
            .into_iter()
            .map(|entry| (entry, self.misfit(entry)))
            .partition(|(_, misfit)| misfit.is_none());
        if fit.is_empty() {
            let mut reasons: Vec<String> = misfits.into_iter().filter_map(|(_, misfit)| misfit).collect();
            reasons.dedup();
            reasons.truncate(5);
            return forbidden(format!(
                "{} may not publish with this job: {}.",
                shown(repository),
                reasons.join("; ")
            ));
        }
        let mut products: Vec<_> = fit.iter().map(|(entry, _)| &entry.product).collect();
        products.sort_unstable();
        products.dedup();
        let listed = || products.iter().map(|product| product.as_str()).collect::<Vec<_>>().join(", ");
        let chosen = match (product, products.as_slice()) {
            (Some(product), products) if products.contains(&product) => product,
            (Some(product), _) => {
                return forbidden(format!(
                    "{} is trusted with {}, and not with {product}.",
                    shown(repository),
                    listed()
                ));
            }
            (None, [only]) => *only,
            (None, _) => {
                return Err(AppError::Invalid(format!(
                    "{} is trusted with several products: say which of {} is meant (\"product\").",
                    shown(repository),
                    listed()
                )));
            }
        };
        let may_promote = fit.iter().any(|(entry, _)| entry.product == *chosen && entry.may_promote);
        Ok(Scope { product: chosen.clone(), may_promote })
    }

    /// Which claim keeps the statement from fitting an entry of its repository.
    fn misfit(&self, entry: &TrustedPublisher) -> Option<String> {
        let says = |name: &str, claim: Option<&String>| match claim {
            Some(claim) => format!("the token's {name} is {}", shown(claim)),
            None => format!("the token has no {name}"),
        };
        for (name, expected, claim) in [
            ("repository_id", &entry.repository_id, &self.repository_id),
            ("repository_owner_id", &entry.repository_owner_id, &self.repository_owner_id),
        ] {
            if let Some(expected) = expected.as_ref().filter(|expected| Some(*expected) != claim.as_ref()) {
                let said = says(name, claim.as_ref());
                return Some(format!("{said}, and its [[trusted_publisher]] expects {expected}"));
            }
        }
        if let Some(expected) = &entry.environment {
            let claim = self.environment.as_ref();
            // GitHub has no two environments that differ in case only.
            if !claim.is_some_and(|claim| claim.eq_ignore_ascii_case(expected)) {
                let said = says("environment", claim);
                return Some(format!("{said}, and its [[trusted_publisher]] expects \"{expected}\""));
            }
        }
        if let Some(expected) = &entry.git_ref {
            let claim = self.git_ref.as_ref();
            if !claim.is_some_and(|claim| expected.matches(claim)) {
                let said = says("ref", claim);
                return Some(format!(
                    "{said}, and its [[trusted_publisher]] expects \"{}\"",
                    expected.as_str()
                ));
            }
        }
        let event = self.event_name.as_ref();
        if !event.is_some_and(|event| EVENTS.contains(&event.as_str())) {
            let said = says("event_name", event);
            return Some(format!(
                "{said}, and a [[trusted_publisher]] takes {} only, since others can be caused from outside",
                EVENTS.join(", ")
            ));
        }
        None
    }
}

/// Seconds since 1970; a fraction of one is dropped.
fn seconds(number: Option<&serde_json::Number>) -> Option<i64> {
    let number = number?;
    number.as_i64().or_else(|| {
        let seconds = number.as_f64().filter(|seconds| seconds.abs() < 1e12)?;
        #[expect(clippy::cast_possible_truncation, reason = "was compared with its bounds")]
        Some(seconds.floor() as i64)
    })
}

fn time(seconds: i64) -> String {
    match DateTime::from_timestamp(seconds, 0) {
        Some(time) => time.format("%Y-%m-%dT%H:%M:%SZ").to_string(),
        None => format!("{seconds} seconds after 1970"),
    }
}
