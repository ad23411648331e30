//! The audit is sealed while the server runs, and held against its seals when somebody asks.

use serde::Serialize;

use super::service::Access;
use crate::actor::Actor;
use crate::clock::time;
use crate::db::audit_seal::{self, Model as Seal};
use crate::error::Error;

/// Maximum number of entries under one seal, and of seals that are read at a time.
const ENTRIES_MAX: u64 = 10_000;
const SEALS: u64 = 1000;
/// Maximum number of broken seals that are told one by one.
const BROKEN_MAX: usize = 100;

/// A seal that was noted somewhere else: its number and its digest.
pub type SealHead = (i64, String);

/// What the seals say of the audit.
#[derive(Debug, Default, Serialize)]
pub struct Verified {
    /// Seals that hold.
    pub seals: u64,
    /// Entries under them.
    pub entries: u64,
    /// Entries after the newest seal.
    pub unsealed: u64,
    /// Seals that do not hold.
    pub broken: u64,
    /// The first hundred of them.
    pub first_broken: Vec<BrokenSeal>,
    /// The newest seal, `N:DIGEST`.
    pub head: Option<String>,
    /// Whether the seal that was noted is there.
    pub is_noted_there: Option<bool>,
}

/// A seal that does not hold.
#[derive(Debug, Serialize)]
pub struct BrokenSeal {
    /// Its number.
    pub seal: i64,
    /// When it was made.
    pub at: chrono::DateTime<chrono::Utc>,
    /// Ids of entries: it is of those above this one,
    pub above: i64,
    /// up to this one.
    pub up_to: i64,
    /// How many were sealed.
    pub sealed: i64,
    /// How many are there.
    pub found: i64,
}

impl Verified {
    /// Whether nothing was found.
    pub fn holds(&self) -> bool {
        self.broken == 0 && self.is_noted_there != Some(false)
    }
}

impl Access {
    /// Seals what was audited since the last seal, as much as one takes. Answers whether there may be more.
    pub(crate) async fn seal_audit(&self, now: i64) -> Result<bool, Error> {
        // What is committed later has higher ids, so that nothing comes in below.
        let before = audit_seal::newest(&self.db).await?;
        let made = audit_seal::made(&self.db, before.as_ref(), i64::MAX, ENTRIES_MAX, now).await?;
        let Some(seal) = made else { return Ok(false) };
        let write = self.db.write(&Actor::SERVER).await?;
        if write.insert_seal(&seal).await? {
            write.commit().await?;
            tracing::info!(seal = seal.id, digest = %seal.digest, entries = seal.entries, "audit sealed");
        }
        Ok(seal.entries.cast_unsigned() == ENTRIES_MAX)
    }

    /// Holds all entries against their seals, and the seals against one that was noted.
    #[crate::boxed]
    pub async fn verify_audit(&self, noted: Option<&SealHead>) -> anyhow::Result<Verified> {
        let mut verified = Verified { is_noted_there: noted.map(|_| false), ..Verified::default() };
        let mut before: Option<Seal> = None;
        loop {
            let number = before.as_ref().map_or(i64::MIN, |before| before.id);
            let seals = audit_seal::above(&self.db, number, SEALS).await?;
            if seals.is_empty() {
                break;
            }
            for seal in seals {
                let made = audit_seal::made(&self.db, before.as_ref(), seal.up_to, u64::MAX, seal.at).await?;
                if made.as_ref() == Some(&seal) {
                    verified.seals += 1;
                    verified.entries += seal.entries.unsigned_abs();
                } else {
                    verified.note_broken(&seal, before.as_ref(), made.map_or(0, |made| made.entries));
                }
                if noted.is_some_and(|(number, digest)| (*number, digest) == (seal.id, &seal.digest)) {
                    verified.is_noted_there = Some(true);
                }
                before = Some(seal);
            }
        }
        verified.unsealed = audit_seal::unsealed(&self.db, before.as_ref()).await?;
        verified.head = before.map(|seal| format!("{}:{}", seal.id, seal.digest));
        Ok(verified)
    }
}

impl Verified {
    fn note_broken(&mut self, seal: &Seal, before: Option<&Seal>, found: i64) {
        self.broken += 1;
        if self.first_broken.len() < BROKEN_MAX {
            self.first_broken.push(BrokenSeal {
                seal: seal.id,
                at: time(seal.at),
                above: before.map_or(0, |before| before.up_to),
                up_to: seal.up_to,
                sealed: seal.entries,
                found,
            });
        }
    }
}
