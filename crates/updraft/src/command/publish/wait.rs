//! `updraft publish --wait`: after publishing, waits until a rollout of the release has its verdict.
//!
//! Only the list of the product's rollouts is asked: it is what a job's token of one product may read, and it shows when a
//! newer rollout of the same version takes an older one's place.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::bail;
use api::{Rollout, RolloutState};
use contract::{ProductName, Version};
use reqwest::StatusCode;
use serde::Deserialize;
use serde::de::IgnoredAny;
use tokio::time::{Instant, sleep};

use crate::api_client::{ApiClient, Later};
use crate::command::publish::timeout::Timeout;
use crate::command::verdict::{self as rollout, Verdict};
use crate::failure::{self, Failure};

/// How long nothing is asked: at first, and at most.
const PAUSE: Duration = Duration::from_secs(2);
const PAUSE_MAX: Duration = Duration::from_secs(10);
/// How long one look at the rollouts may take.
const LOOK: Duration = Duration::from_secs(30);
/// More pages than any product has.
const PAGES_MAX: usize = 100;

/// A product's rollouts, as they were before anything was published.
pub(super) struct Watch<'a> {
    server: &'a ApiClient,
    product: &'a ProductName,
    timeout: Timeout,
    /// Those that had ended.
    ended: BTreeSet<u64>,
}

pub(super) struct Outcome {
    /// The newest rollout of the release, if there was one.
    pub(super) rollout: Option<Rollout>,
    pub(super) failure: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Item {
    Rollout(Box<Rollout>),
    /// Nothing that is understood.
    Other(#[allow(dead_code, reason = "ignored")] IgnoredAny),
}

/// The newest rollout of a version, and how the last look at it went.
#[derive(Default)]
struct Seen {
    rollout: Option<Rollout>,
    error: Option<String>,
    /// The line that was said last.
    said: String,
}

impl<'a> Watch<'a> {
    /// Looks before anything is sent: a server without rollouts has no verdict to wait for.
    pub(super) async fn open(
        server: &'a ApiClient,
        product: &'a ProductName,
        timeout: Timeout,
    ) -> anyhow::Result<Self> {
        let mut watch = Self { server, product, timeout, ended: BTreeSet::new() };
        let error = match watch.rollouts(Later::Wait).await {
            Ok(rollouts) => {
                let ended = rollouts.filter(|rollout| rollout::verdict(rollout) != Verdict::Open);
                watch.ended = ended.map(|rollout| rollout.id).collect();
                return Ok(watch);
            }
            Err(error) => error,
        };
        // A token of one product gets 403 for a path that it does not know.
        let is_absent =
            matches!(failure::status(&error), Some(StatusCode::NOT_FOUND | StatusCode::FORBIDDEN));
        if is_absent && !server.has_path("/api/v1/products/{}/rollouts").await? {
            bail!(
                "This server has no rollouts, so there is no verdict to wait for: leave --wait out. Nothing was published."
            );
        }
        match failure::status(&error) {
            // A product begins with its first publish.
            Some(StatusCode::NOT_FOUND) => Ok(watch),
            _ => Err(error.context(format!(
                "nothing was published, since --wait cannot see the rollouts of {product}"
            ))),
        }
    }

    /// Waits. `was_there`: the release had been published before, so an old verdict is its verdict.
    pub(super) async fn outcome(&self, version: &Version, was_there: bool) -> Outcome {
        let release = format!("{} {version}", self.product);
        let deadline = Instant::now() + self.timeout.0;
        let (mut seen, mut pause) = (Seen::default(), PAUSE);
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            // The last look is no shorter than it takes.
            match tokio::time::timeout(left.clamp(PAUSE_MAX, LOOK), self.newest(version, was_there)).await {
                Ok(Ok(found)) => {
                    let is_news = found.as_ref().map(progress) != seen.rollout.as_ref().map(progress);
                    pause = if is_news { PAUSE } else { pause };
                    (seen.rollout, seen.error) = (found, None);
                }
                Ok(Err(error)) => match error.chain().find_map(|cause| cause.downcast_ref::<Failure>()) {
                    Some(failure) if failure.may_pass() => seen.error = Some(format!("{error:#}")),
                    _ => {
                        return seen.ended(Some(format!(
                            "{release} is published, and its rollouts cannot be seen: {error:#}"
                        )));
                    }
                },
                Err(_) => seen.error = Some("The server does not answer.".to_owned()),
            }
            seen.tell(&release, self.timeout);
            match seen.rollout.as_ref().map(rollout::verdict) {
                Some(Verdict::Good) => return seen.ended(None),
                Some(Verdict::Bad(why)) => {
                    return seen.ended(Some(format!("{release} is published, and {why}.")));
                }
                Some(Verdict::Open) | None => {}
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let how = seen.line(&release);
                return seen.ended(Some(format!(
                    "{release} is published, and there is no verdict after {}: {how}",
                    self.timeout
                )));
            }
            sleep(pause.min(left)).await;
            pause = (pause * 3 / 2).min(PAUSE_MAX);
        }
    }

    /// The newest rollout of exactly this version.
    async fn newest(&self, version: &Version, was_there: bool) -> anyhow::Result<Option<Rollout>> {
        // `==` is of precedence, for which 1.0.0+a is 1.0.0+b.
        let is_of_it = |rollout: &Rollout| rollout.version.as_str() == version.as_str();
        let counts = |rollout: &Rollout| was_there || !self.ended.contains(&rollout.id);
        let rollouts = self.rollouts(Later::Say).await?;
        Ok(rollouts.filter(|rollout| is_of_it(rollout) && counts(rollout)).max_by_key(|rollout| rollout.id))
    }

    /// The product's rollouts, those that are understood.
    async fn rollouts(&self, later: Later) -> anyhow::Result<impl Iterator<Item = Rollout> + use<>> {
        let path = ["products", self.product, "rollouts"];
        let items: Vec<Item> = self.server.pages(later, PAGES_MAX, &path, &()).await?;
        Ok(items.into_iter().filter_map(|item| match item {
            Item::Rollout(rollout) => Some(*rollout),
            Item::Other(_) => None,
        }))
    }
}

/// What is news enough to ask again soon; counts alone change all the time.
fn progress(rollout: &Rollout) -> (u64, &RolloutState) {
    (rollout.id, &rollout.state)
}

impl Seen {
    /// Says how it stands, if that is another than before.
    fn tell(&mut self, release: &str, timeout: Timeout) {
        let mut line = self.line(release);
        if self.rollout.is_none() && self.error.is_none() {
            line = format!("{line} Waiting for one, for at most {timeout}.");
        }
        if line != self.said {
            eprintln!("{line}");
            self.said = line;
        }
    }

    fn line(&self, release: &str) -> String {
        let line = match &self.rollout {
            Some(rollout) => format!("{}.", rollout::line(rollout)),
            None => format!("no rollout of {release} has begun."),
        };
        match &self.error {
            Some(error) => format!("{line} That was the last that was heard: {error}"),
            None => line,
        }
    }

    fn ended(self, failure: Option<String>) -> Outcome {
        Outcome { rollout: self.rollout, failure }
    }
}
