//! Publishing an image, and judging one.

use std::collections::BTreeMap;

use anyhow::Context;
use bytes::Bytes;
use contract::{ChannelName, ProductName};
use store::{Attempt, Blocked, Publication};

use super::judgement::judgement;
use super::service::Releases;
use super::shown::shown;
use super::upload::Upload;
use crate::error::Error;
use api::{Judgement, PublishDecision, Published, Release};

impl Releases {
    /// Publishes an image and, if asked, promotes it.
    pub async fn publish(
        &self,
        product: &ProductName,
        upload: &Upload,
        image: Bytes,
    ) -> Result<Published, Error> {
        let publication = self.publication(product, upload).await?;
        let mut published = match self.0.store.attempt(&publication, image, &|_| {}).await? {
            Attempt::Published(published) => *published,
            Attempt::Refused(verdict) => {
                let error = verdict.error().context("the gate refuses without a finding")?;
                let error = Box::new(Error::from(error));
                return Err(Error::Gate { error, judgement: Box::new(judgement(product, *verdict)) });
            }
        };
        if let Some(channel) = &upload.promote {
            published = self.promote_published(publication, published, channel.clone()).await?;
        } else {
            self.show_again(product).await;
        }
        let Judgement { findings, slot_bytes, trend, .. } = judgement(product, published.verdict);
        let base = self.0.public_url.as_str().trim_end_matches('/');
        Ok(Published {
            release: self.release_as_shown(product, &published.release, upload.promote.as_ref()),
            decision: if published.already_there {
                PublishDecision::Unchanged
            } else {
                PublishDecision::Published
            },
            url: format!("{base}/releases/{product}#release-{}", published.release.version),
            product: product.clone(),
            promoted: upload.promote.clone(),
            findings,
            slot_bytes,
            trend,
        })
    }

    /// What the gate says of an image, which is not published.
    pub async fn judge(
        &self,
        product: &ProductName,
        upload: &Upload,
        image: Bytes,
    ) -> Result<Judgement, Error> {
        let publication = self.publication(product, upload).await?;
        Ok(judgement(product, self.0.store.judge(&publication, &image).await?))
    }

    async fn publication(&self, product: &ProductName, upload: &Upload) -> Result<Publication, Error> {
        Ok(Publication {
            version: upload.version.clone(),
            notes: upload.notes.clone(),
            commit: upload.commit.clone(),
            tag: upload.tag.clone(),
            dirty: upload.dirty,
            requires: upload.requires.clone(),
            allow: upload.allow.clone(),
            file: upload.file.clone(),
            slot: self.smallest_slot(product).await?,
            ..Publication::new(product.clone())
        })
    }

    /// A release that was just published, as the catalog shows it; if that is not there yet, as far as it is known.
    fn release_as_shown(
        &self,
        product: &ProductName,
        release: &store::Release,
        promoted: Option<&ChannelName>,
    ) -> Release {
        let snapshot = self.0.mirror.product(product);
        if let Some(snapshot) = snapshot
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
