//! Whether a bucket's server compares before it writes (`If-None-Match`, `If-Match`), and in which form it takes a tag. Some compatible
//! ones compare nothing, some refuse the very tag that they gave.
//!
//! Amazon's compares. Any other is asked before the first write, by writes to [`PROBE`] that must be refused and one that must not.
//! What it was found to do may turn out to be wrong: a write whose condition is true is refused, and nobody else has written.
//! Where conditions cannot be relied on one process alone may write, which says so when it opens the store ([`Writers::One`]).

use bytes::Bytes;
use cause::store as causes;
use object_store::{Error, PutMode, UpdateVersion};

use crate::error::StoreError;
use crate::objects::bucket::{Backing, Bucket, Conditions, Writers};
use crate::objects::explain::{Action, explain};
use crate::objects::object::Tag;
use crate::objects::s3_error::Said;
use crate::objects::tag::TagForm;

/// Where it is tried out. It stays there, as Updraft deletes nothing.
const PROBE: &str = "updraft-probe";
const PROBE_TEXT: &str =
    "Updraft found out here whether this bucket keeps conditional writes. It may be deleted.\n";
/// An ETag that no object has.
const NO_TAG: &str = "\"00000000000000000000000000000000\"";
/// In this order they are tried.
const FORMS: [TagForm; 3] = [TagForm::Quoted, TagForm::Bare, TagForm::Weak];
/// Maximum attempts with one form while other processes try it out at the same time.
const PROBES_MAX: u32 = 5;

/// What came of a write with a condition.
#[derive(PartialEq, Eq)]
enum Answer {
    Written,
    /// Because of the condition.
    Refused,
    /// The server does not know this condition, or not in this form.
    Unknown,
}

impl Bucket {
    /// Finds out once, for a write.
    pub(crate) async fn conditions(&self) -> Result<Conditions, StoreError> {
        let is_amazon = matches!(&self.backing, Backing::S3 { location, .. } if location.is_amazon());
        let mut known = self.known_conditions.lock().await;
        let found = match *known {
            Some(found) => found,
            None if is_amazon => Conditions::Kept(TagForm::AsRead),
            None => {
                let found = self.probe().await?;
                self.warn(found);
                *known.insert(found)
            }
        };
        drop(known);
        self.allowed(found)
    }

    /// A write whose condition is true was refused twice, and nobody else has written: from now on nobody relies on conditions here.
    pub(crate) async fn distrust(&self) -> StoreError {
        let found = Conditions::Unreliable(causes::CONDITION_REFUSED);
        *self.known_conditions.lock().await = Some(found);
        self.warn(found);
        StoreError::Refused(causes::CONDITION_REFUSED.naming("place", self.name()))
    }

    fn allowed(&self, found: Conditions) -> Result<Conditions, StoreError> {
        match (found, self.writers) {
            (Conditions::Unreliable(why), Writers::Many) => {
                Err(StoreError::Refused(why.naming("place", self.name())))
            }
            (found, _) => Ok(found),
        }
    }

    fn warn(&self, found: Conditions) {
        if let (Conditions::Unreliable(why), Writers::One) = (found, self.writers) {
            tracing::warn!("{}", why.naming("place", self.name()));
        }
    }

    async fn probe(&self) -> Result<Conditions, StoreError> {
        // The first may be written, as there was none: only the second must not.
        let creates_once = self.probe_with(PutMode::Create).await? == Answer::Refused
            || self.probe_with(PutMode::Create).await? == Answer::Refused;
        let mut why = causes::NO_CONDITIONS;
        for form in FORMS.into_iter().filter(|_| creates_once) {
            if self.probe_with(same(&Tag(NO_TAG.to_owned()), form)).await? != Answer::Refused {
                continue;
            }
            why = causes::CONDITION_REFUSED;
            if self.takes(form).await? {
                return Ok(Conditions::Kept(form));
            }
        }
        Ok(Conditions::Unreliable(why))
    }

    /// Whether the object's own tag is taken in this form.
    async fn takes(&self, form: TagForm) -> Result<bool, StoreError> {
        let mut tag = self.probe_tag().await?;
        for _ in 0..PROBES_MAX {
            let Some(before) = tag else { return Ok(false) };
            if self.probe_with(same(&before, form)).await? == Answer::Written {
                return Ok(true);
            }
            tag = self.probe_tag().await?;
            if tag.as_ref() == Some(&before) {
                return Ok(false);
            }
        }
        Ok(false)
    }

    /// `None` if nothing is there, or it has no tag.
    async fn probe_tag(&self) -> Result<Option<Tag>, StoreError> {
        Ok(self.find(PROBE).await?.map(|found| found.tag).filter(|tag| !tag.quoted().is_empty()))
    }

    async fn probe_with(&self, mode: PutMode) -> Result<Answer, StoreError> {
        match self.upload(PROBE, Bytes::from_static(PROBE_TEXT.as_bytes()), mode, None).await {
            Ok(_) => Ok(Answer::Written),
            Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) => Ok(Answer::Refused),
            Err(error) if Said::of(&error).is_unknown_header() => Ok(Answer::Unknown),
            Err(error) => Err(explain(&self.name(), Action::Write, PROBE, error)),
        }
    }
}

/// A write over what has this tag.
pub(crate) fn same(tag: &Tag, form: TagForm) -> PutMode {
    PutMode::Update(UpdateVersion { e_tag: Some(tag.in_form(form)), version: None })
}
