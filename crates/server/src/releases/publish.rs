//! Publishing an image, and judging one.

use std::collections::BTreeMap;

use anyhow::Context;
use api::{Finding, GateDecision, Judgement, Level, PublishDecision, Published, Release, SizeOf};
use bytes::Bytes;
use contract::{ChannelName, ProductName};
use serde_json::{Value, json};
use store::{Attempt, Blocked, Publication, Verdict};

use super::audited::Act;
use super::promote::completed;
use super::service::Releases;
use super::snapshot::shown;
use crate::actor::Actor;
use crate::db::Action;
use crate::db::mirror::{self, Wanted};
use crate::error::Error;

impl Releases {
    /// Publishes an image and, if a channel is named, promotes it.
    #[crate::boxed]
    pub async fn publish(
        &self,
        by: &Actor,
        publication: Publication,
        promote: Option<ChannelName>,
        image: Bytes,
    ) -> Result<Published, Error> {
        let (releases, by) = (self.clone(), by.clone());
        completed(Box::pin(async move { releases.publish_attended(&by, publication, promote, image).await }))
            .await
    }

    async fn publish_attended(
        &self,
        by: &Actor,
        publication: Publication,
        promote: Option<ChannelName>,
        image: Bytes,
    ) -> Result<Published, Error> {
        let publication = self.with_slot(publication).await?;
        let product = &publication.product.clone();
        let mut detail = json!({ "version": publication.version });
        if !publication.allow.is_empty() {
            detail["allow"] = publication.allow.iter().map(|check| check.name()).collect();
        }
        let act = Act { action: Action::RELEASE_PUBLISH, product: product.clone(), detail };
        let attempt = Box::pin(async { Ok(self.0.store.attempt(&publication, image).await?) });
        let attempt = self.audited(by, act, attempt, ended).await;
        if attempt.is_err() {
            self.show_again(product).await;
        }
        let mut published = match attempt? {
            Attempt::Published(published) => *published,
            Attempt::Refused(verdict) => {
                let error = verdict.error().context("the gate refuses without a finding")?;
                let error = Box::new(Error::from(error));
                return Err(Error::Gate { error, judgement: Box::new(judgement(product, *verdict)) });
            }
        };
        if let Some(channel) = &promote {
            published = self.promote_published(by, publication, published, channel.clone()).await?;
        } else {
            self.show_again(product).await;
        }
        let Judgement { findings, slot_bytes, trend, .. } = judgement(product, published.verdict);
        let base = self.0.public_url.as_str().trim_end_matches('/');
        Ok(Published {
            release: self.release_as_shown(product, &published.release, promote.as_ref()).await,
            decision: if published.already_there {
                PublishDecision::Unchanged
            } else {
                PublishDecision::Published
            },
            url: format!("{base}/releases/{product}#release-{}", published.release.version),
            product: product.clone(),
            promoted: promote,
            findings,
            slot_bytes,
            trend,
        })
    }

    /// What the gate says of an image, which is not published.
    #[crate::boxed]
    pub async fn judge(&self, publication: Publication, image: Bytes) -> Result<Judgement, Error> {
        let publication = self.with_slot(publication).await?;
        Ok(judgement(&publication.product, self.0.store.judge(&publication, &image).await?))
    }

    async fn with_slot(&self, publication: Publication) -> Result<Publication, Error> {
        Ok(Publication { slot: self.smallest_slot(&publication.product).await?, ..publication })
    }

    /// A release that was just published, as the catalog shows it; if that is not there yet, as far as it is known.
    async fn release_as_shown(
        &self,
        product: &ProductName,
        release: &store::Release,
        promoted: Option<&ChannelName>,
    ) -> Release {
        // It is published, whatever the database says.
        let wanted = Wanted::One(&release.version);
        let known = mirror::of_product(&self.0.db, product, wanted).await;
        let snapshot = known.ok().and_then(|known| known.snapshot);
        if let Some(snapshot) = &snapshot
            && let Some(known) = snapshot.release(&release.version)
            && known.version.as_str() == release.version.as_str()
            && known.sha256 == release.sha256
        {
            return shown(&snapshot.channels, &snapshot.blocked, known);
        }
        let channels = promoted.map(|channel| (channel.clone(), Some(release.version.clone())));
        let blocked = Blocked::List(BTreeMap::new());
        shown(&channels.into_iter().collect::<Vec<_>>(), &blocked, release)
    }
}

fn ended(attempt: &Attempt) -> (Value, Value) {
    let more = match attempt {
        Attempt::Published(published) => json!({
            "outcome": if published.already_there { "unchanged" } else { "done" },
            "version": published.release.version,
            "sha256": published.release.sha256.map(|sha256| sha256.to_hex().to_string()),
        }),
        Attempt::Refused(verdict) => json!({ "outcome": verdict.refusal().map(|cause| cause.code) }),
    };
    (Value::Null, more)
}

/// What the gate says, as the API has it.
pub fn judgement(product: &ProductName, verdict: Verdict) -> Judgement {
    let decision = if verdict.is_refused() { GateDecision::Refused } else { GateDecision::Pass };
    let finding = |finding: store::Finding| Finding {
        check: finding.check.name().to_owned(),
        level: match finding.check.level() {
            store::Level::Refuse => Level::Refuse.into(),
            store::Level::Warn | store::Level::Note => Level::Warn.into(),
        },
        allowed: finding.allowed,
        overrulable: finding.check.is_overrulable(),
        sentence: finding.cause.sentence(),
        cause: Some(finding.cause),
    };
    let size = |store::SizeOf { version, size }| SizeOf { version, size };
    Judgement {
        decision,
        refusal: verdict.refusal().map(|cause| cause.sentence()),
        product: product.clone(),
        version: verdict.version,
        size: verdict.size,
        sha256: verdict.sha256,
        chip: verdict.chip.map(str::to_owned),
        findings: verdict.findings.into_iter().map(finding).collect(),
        slot_bytes: verdict.slot_bytes,
        trend: verdict.trend.into_iter().map(size).collect(),
    }
}
