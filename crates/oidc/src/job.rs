//! The job that a statement is about, and whether that is enough for one of the configuration's entries.

use cause::publisher as causes;
use contract::ProductName;
use serde::{Deserialize, Serialize};

use crate::shown::one_line;
use crate::{Refusal, Scope, TrustedPublisher, shown};

/// The longest name of a publisher, in characters.
const NAME_MAX: usize = 200;
/// The longest number of a run, in characters: GitHub's are eleven digits, and no CI system's needs more than a hash.
const RUN_MAX: usize = 64;

/// The events that only those can cause who may write to the repository. `pull_request` runs the code of whoever
/// opens one. `pull_request_target`, `issue_comment` and `workflow_run` are caused from outside too, and their `ref`
/// is a branch of the repository all the same: a ref alone would not tell them apart.
const EVENTS: [&str; 6] =
    ["push", "workflow_dispatch", "release", "schedule", "repository_dispatch", "merge_group"];

/// Who signed a statement and whom it is about, as GitHub names the claims. It is kept with what was given for it, so that
/// a configuration that changed can be asked again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    #[serde(rename = "iss")]
    issuer: String,
    repository: Option<String>,
    repository_id: Option<String>,
    repository_owner_id: Option<String>,
    #[serde(rename = "ref")]
    git_ref: Option<String>,
    environment: Option<String>,
    event_name: Option<String>,
    run_id: Option<String>,
}

impl Job {
    /// Who vouches for it.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// `owner/name`, or nothing.
    pub fn repository(&self) -> &str {
        self.repository.as_deref().unwrap_or_default()
    }

    /// Who publishes, for the log: `octo/blinky@refs/heads/main run 123`. At most 200 characters, all of them seen. Where
    /// that is too short, repository and ref give way: the run is what tells two jobs apart, and what is revoked by it.
    pub fn name(&self) -> String {
        let run = one_line(self.run_id.as_deref().unwrap_or("?"), RUN_MAX);
        let end = format!(" run {run}");
        let place = format!("{}@{}", self.repository(), self.git_ref.as_deref().unwrap_or_default());
        let room = NAME_MAX - end.chars().count();
        if place.chars().count() <= room {
            return one_line(&place, room) + &end;
        }
        format!("{}…{end}", one_line(&place, room - 1))
    }

    /// What these entries trust this job with. `product` is needed only where that is several. Of entries that fit and
    /// name the same product, what either allows is allowed.
    pub fn scope(
        &self,
        publishers: &[TrustedPublisher],
        product: Option<&ProductName>,
    ) -> Result<Scope, Refusal> {
        let fit = self.fitting(publishers)?;
        let product = self.product(&fit, product)?;
        let fit: Vec<_> = fit.into_iter().filter(|entry| entry.product == *product).collect();
        let mut allow: Vec<String> = fit.iter().flat_map(|entry| entry.allow.iter().cloned()).collect();
        allow.sort_unstable();
        allow.dedup();
        let may_promote = fit.iter().any(|entry| entry.may_promote);
        Ok(Scope { product: product.clone(), may_promote, allow })
    }

    /// The entries that all of it is true of; at least one.
    fn fitting<'a>(&self, publishers: &'a [TrustedPublisher]) -> Result<Vec<&'a TrustedPublisher>, Refusal> {
        let repository = self.repository();
        let same = |entry: &&TrustedPublisher| {
            entry.issuer == self.issuer && entry.repository.eq_ignore_ascii_case(repository)
        };
        let named: Vec<_> = publishers.iter().filter(same).collect();
        if named.is_empty() {
            let cause = causes::UNKNOWN_REPOSITORY.with("repository", shown(repository));
            return Err(Refusal::Untrusted(cause));
        }
        let (fit, misfits): (Vec<_>, Vec<_>) = named
            .into_iter()
            .map(|entry| (entry, self.misfit(entry)))
            .partition(|(_, misfit)| misfit.is_none());
        if fit.is_empty() {
            let mut reasons: Vec<String> = misfits.into_iter().filter_map(|(_, misfit)| misfit).collect();
            reasons.dedup();
            reasons.truncate(5);
            let cause = causes::JOB_NOT_TRUSTED.with("repository", shown(repository));
            return Err(Refusal::Untrusted(cause.with("reasons", reasons.join("; "))));
        }
        Ok(fit.into_iter().map(|(entry, _)| entry).collect())
    }

    /// The one of the entries' products that is asked for.
    fn product<'a>(
        &self,
        fit: &[&'a TrustedPublisher],
        asked: Option<&ProductName>,
    ) -> Result<&'a ProductName, Refusal> {
        let mut products: Vec<&ProductName> = fit.iter().map(|entry| &entry.product).collect();
        products.sort_unstable();
        products.dedup();
        let listed = |entry: cause::Entry| {
            let products: Vec<String> = products.iter().map(ToString::to_string).collect();
            entry.with("repository", shown(self.repository())).with("products", products)
        };
        match (asked, products.as_slice()) {
            (Some(asked), all) => all.iter().find(|product| **product == asked).copied().ok_or_else(|| {
                Refusal::Untrusted(listed(causes::PRODUCT_NOT_TRUSTED).naming("asked", asked))
            }),
            (None, [only]) => Ok(only),
            (None, _) => Err(Refusal::Ambiguous(listed(causes::PRODUCT_NOT_NAMED))),
        }
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
