//! The mirror of the bucket: what each product had when it was read last, for showing.
//!
//! A reading has a number from when it began, and is written in one transaction, unless one that began later is there: so no
//! older answer covers a newer one, whichever server reads, and whichever is answered first.

use std::collections::{BTreeSet, HashMap};

use cause::{Cause, service as causes};
use contract::{ChannelName, ProductName, Version};
use sea_orm::sea_query::Query as Sql;
use sea_orm::{ConnectionTrait, DbErr, QueryResult};
use store::{Blocked, Release};

use super::connection::{Db, Query, ROWS_PER_STATEMENT, Write};
use super::values::Text;
use crate::actor::Actor;

/// What the bucket had of one product.
#[derive(Debug, Clone)]
#[cfg_attr(test, derive(PartialEq))]
pub(crate) struct Snapshot {
    /// Highest version first.
    pub(crate) releases: Vec<Release>,
    pub(crate) channels: Vec<(ChannelName, Option<Version>)>,
    pub(crate) blocked: Blocked,
    /// What lies in channels that point to a version of which there is no release.
    pub(crate) deployed: Vec<Release>,
}

/// What is known of one product.
#[derive(Debug, Default)]
pub(crate) struct Mirrored {
    pub(crate) snapshot: Option<Snapshot>,
    /// Why it could not be read last.
    pub(crate) error: Option<Cause>,
    /// Whether this server wrote to it since it was read.
    pub(crate) is_expected: bool,
}

impl Snapshot {
    /// In order, whatever the order was. Of several folders with the same version, the one named after it alone counts.
    pub(crate) fn new(
        mut releases: Vec<Release>,
        mut channels: Vec<(ChannelName, Option<Version>)>,
        blocked: Blocked,
    ) -> Self {
        releases.sort_by(|a, b| {
            let versions = b.version.cmp(&a.version).then_with(|| b.version.as_str().cmp(a.version.as_str()));
            versions.then_with(|| a.key.len().cmp(&b.key.len()))
        });
        releases.dedup_by(|next, kept| next.version.as_str() == kept.version.as_str());
        channels.sort_by(|(left, _), (right, _)| left.cmp(right));
        Self { releases, channels, blocked, deployed: Vec::new() }
    }

    /// What versions are spelled like counts, too: they are equal whatever they were built from.
    fn is_same(&self, other: &Self) -> bool {
        let shown = |one: &Self| format!("{:?} {:?} {:?}", one.releases, one.channels, one.blocked);
        shown(self) == shown(other)
    }

    /// The release of a version: of several spellings (`1.0.0+a`, `1.0.0+b`) the one that was asked for, if it is there.
    pub(crate) fn release(&self, version: &Version) -> Option<&Release> {
        let same = || self.releases.iter().filter(|release| release.version == *version);
        same().find(|release| release.version.as_str() == version.as_str()).or_else(|| same().next())
    }
}

impl Mirrored {
    /// Whether it lies in the bucket, for all that is known.
    pub(crate) fn is_there(&self) -> bool {
        self.snapshot.is_some() || self.error.is_some()
    }

    fn decode(rows: Vec<QueryResult>) -> Result<Self, DbErr> {
        let (mut mirrored, mut releases, mut channels) = (Self::default(), vec![], vec![]);
        let mut blocked = None;
        for row in rows {
            match row.try_get::<i64>("", "part")? {
                2 => releases.push(row.try_get::<Text<Release>>("", "value")?.0),
                3 => {
                    let version = row.try_get::<Option<Text<Version>>>("", "value")?;
                    let channel = row.try_get::<Text<ChannelName>>("", "name")?.0;
                    channels.push((channel, version.map(|version| version.0)));
                }
                expected => {
                    mirrored.is_expected = expected > 0;
                    blocked = row.try_get::<Option<Text<Blocked>>>("", "name")?;
                    mirrored.error = row.try_get::<Option<Text<Cause>>>("", "value")?.map(|error| error.0);
                }
            }
        }
        mirrored.snapshot = blocked.map(|Text(blocked)| Snapshot::new(releases, channels, blocked));
        Ok(mirrored)
    }
}

/// Which of a product's releases are asked for: each has to be decoded.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Wanted<'a> {
    All,
    /// Those of a version, however it is spelled.
    One(&'a Version),
    None,
}

/// In one statement, so that it is of one reading. What cannot be decoded counts as not read: the next reading replaces it.
pub(crate) async fn of_product(
    query: &impl Query,
    product: &ProductName,
    releases: Wanted<'_>,
) -> Result<Mirrored, DbErr> {
    let mut values = vec![product.as_str().into()];
    let releases = match releases {
        Wanted::All => "",
        Wanted::One(version) => {
            let precedence = version.as_str().split('+').next().unwrap_or_default();
            values.extend([precedence.into(), format!("{precedence}+%").into()]);
            " AND (version = $2 OR version LIKE $3)"
        }
        Wanted::None => " AND FALSE",
    };
    let sql = format!(
        "SELECT expected AS part, blocked AS name, error AS value FROM mirror_products WHERE product = $1 \
         UNION ALL SELECT 2, version, details FROM mirror_releases WHERE product = $1{releases} \
         UNION ALL SELECT 3, channel, version FROM mirror_channels WHERE product = $1"
    );
    let rows = query.rows(&sql, values).await?;
    Ok(Mirrored::decode(rows).unwrap_or_else(|error| {
        tracing::warn!(%product, "what the store held is read again: {error}");
        Mirrored { error: Some(causes::STORE_NOT_READ.cause()), ..Mirrored::default() }
    }))
}

/// A product that was read.
pub(crate) struct Shown {
    pub(crate) name: ProductName,
    pub(crate) production: Option<Version>,
    /// Why it, or the bucket, could not be read since.
    pub(crate) error: Option<Cause>,
}

/// The products that were read, by name.
pub(crate) async fn products(query: &impl Query) -> Result<Vec<Shown>, DbErr> {
    let sql = "SELECT p.product AS product, c.version AS version, COALESCE(p.error, m.error) AS error FROM mirror m \
               CROSS JOIN mirror_products p LEFT JOIN mirror_channels c ON c.product = p.product AND c.channel = $1 \
               WHERE p.blocked IS NOT NULL ORDER BY p.product";
    let rows = query.rows(sql, vec![ChannelName::production().as_str().into()]).await?;
    let read = |row: &QueryResult| {
        Ok(Shown {
            name: row.try_get::<Text<ProductName>>("", "product")?.0,
            production: row.try_get::<Option<Text<Version>>>("", "version")?.map(|version| version.0),
            error: row.try_get::<Option<Text<Cause>>>("", "error")?.map(|error| error.0),
        })
    };
    Ok(decodable(&rows, read))
}

/// What is blocked, where something is.
pub(crate) async fn blocked_lists(query: &impl Query) -> Result<Vec<(ProductName, Blocked)>, DbErr> {
    let rows =
        query.rows("SELECT product, blocked FROM mirror_products WHERE blocked IS NOT NULL", vec![]).await?;
    let read = |row: &QueryResult| {
        let name = row.try_get::<Text<ProductName>>("", "product")?.0;
        Ok((name, row.try_get::<Text<Blocked>>("", "blocked")?.0))
    };
    let is_empty = |blocked: &Blocked| matches!(blocked, Blocked::List(list) if list.is_empty());
    Ok(decodable(&rows, read).into_iter().filter(|(_, blocked)| !is_empty(blocked)).collect())
}

/// A row that cannot be decoded stops no other.
fn decodable<T>(rows: &[QueryResult], read: impl Fn(&QueryResult) -> Result<T, DbErr>) -> Vec<T> {
    let logged = |error: &DbErr| tracing::error!(%error, "a product is left out of the list");
    rows.iter().filter_map(|row| read(row).inspect_err(logged).ok()).collect()
}

/// The product, if it was read and there is no other, read or not.
pub(crate) async fn only_product(query: &impl Query) -> Result<Option<ProductName>, DbErr> {
    let sql =
        "SELECT product, blocked FROM mirror_products WHERE blocked IS NOT NULL OR error IS NOT NULL LIMIT 2";
    let rows = query.rows(sql, vec![]).await?;
    let [only] = &rows[..] else { return Ok(None) };
    let is_read = only.try_get::<Option<String>>("", "blocked")?.is_some();
    let name = |row: &QueryResult| Ok(row.try_get::<Text<ProductName>>("", "product")?.0);
    Ok(if is_read { decodable(&rows, name).pop() } else { None })
}

/// Why the bucket could not be listed last.
pub(crate) async fn listing_error(query: &impl Query) -> Result<Option<Cause>, DbErr> {
    let row = query.row("SELECT error FROM mirror", vec![]).await?;
    let error = row.map(|row| row.try_get::<Option<Text<Cause>>>("", "error")).transpose()?;
    Ok(error.flatten().map(|error| error.0))
}

impl Db {
    /// Forgets what was read in another bucket than the one of this address.
    pub(crate) async fn mirror_of(&self, store: &str) -> Result<(), DbErr> {
        let write = self.write(&Actor::SERVER).await?;
        let sql = "UPDATE mirror SET store = $1, error = $2 WHERE store <> $1";
        let unread = Text(causes::STORE_NOT_READ.cause());
        if write.execute(sql, vec![store.into(), unread.into()]).await? > 0 {
            write.execute("DELETE FROM mirror_products", vec![]).await?;
            write.execute("DELETE FROM images", vec![]).await?;
        }
        write.commit().await
    }

    /// Whether this server is to read all of the bucket now, where none has begun to for so long. A time further in the future than
    /// that is some other clock's, and not believed.
    pub(crate) async fn claim_pass(&self, now: i64, every_ms: i64) -> Result<bool, DbErr> {
        let write = self.write(&Actor::SERVER).await?;
        let sql = "UPDATE mirror SET claimed_at = $1 WHERE claimed_at <= $2 OR claimed_at > $3";
        let (old, future) = (now.saturating_sub(every_ms), now.saturating_add(every_ms));
        let claimed = write.execute(sql, vec![now.into(), old.into(), future.into()]).await?;
        write.commit().await?;
        Ok(claimed > 0)
    }

    /// The number of a reading that begins.
    pub(crate) async fn begin_reading(&self) -> Result<i64, DbErr> {
        let write = self.write(&Actor::SERVER).await?;
        let sql = "UPDATE mirror SET readings = readings + 1 RETURNING readings";
        let row = write.row(sql, vec![]).await?;
        let row = row.ok_or_else(|| DbErr::RecordNotFound("the row of the mirror".to_owned()))?;
        let number = row.try_get_by_index(0)?;
        write.commit().await?;
        Ok(number)
    }

    /// Notes what the bucket lists, and answers that and what was there before.
    pub(crate) async fn note_listed(&self, names: &[ProductName]) -> Result<Vec<ProductName>, DbErr> {
        let known = "SELECT product FROM mirror_products WHERE blocked IS NOT NULL OR error IS NOT NULL";
        let known = self.rows(known, vec![]).await?;
        let name = |row: &QueryResult| Ok(row.try_get::<Text<ProductName>>("", "product")?.0);
        let mut all: BTreeSet<ProductName> = decodable(&known, name).into_iter().collect();
        let write = self.write(&Actor::SERVER).await?;
        write.execute("UPDATE mirror SET error = NULL WHERE error IS NOT NULL", vec![]).await?;
        for name in names {
            if all.insert(name.clone()) {
                let sql = "INSERT INTO mirror_products (product, reading, error) VALUES ($1, 0, $2) ON CONFLICT (product) \
                           DO UPDATE SET error = excluded.error WHERE mirror_products.blocked IS NULL";
                let unread = Text(causes::STORE_NOT_READ.cause());
                write.execute(sql, vec![name.as_str().into(), unread.into()]).await?;
            }
        }
        write.commit().await?;
        Ok(all.into_iter().collect())
    }

    /// Notes why the bucket could not be listed.
    pub(crate) async fn note_unlisted(&self, why: &Cause) -> Result<(), DbErr> {
        let write = self.write(&Actor::SERVER).await?;
        write.execute("UPDATE mirror SET error = $1", vec![Text(why.clone()).into()]).await?;
        write.commit().await
    }

    /// Notes that this server wrote to a product, and why what it has now is not known.
    pub(crate) async fn note_expected(&self, product: &ProductName, why: &Cause) -> Result<(), DbErr> {
        let write = self.write(&Actor::SERVER).await?;
        let sql = "INSERT INTO mirror_products (product, reading, expected, error) VALUES ($1, 0, 1, $2) \
                   ON CONFLICT (product) DO UPDATE SET expected = 1, error = excluded.error";
        write.execute(sql, vec![product.as_str().into(), Text(why.clone()).into()]).await?;
        write.commit().await
    }

    /// Notes why a reading failed, of a product that is known to lie in the bucket: others could have any name.
    pub(crate) async fn note_failed(
        &self,
        product: &ProductName,
        number: i64,
        why: &Cause,
    ) -> Result<(), DbErr> {
        let write = self.write(&Actor::SERVER).await?;
        let sql = "UPDATE mirror_products SET error = $3 WHERE product = $1 AND reading < $2 \
                   AND (error IS NOT NULL OR blocked IS NOT NULL)";
        write.execute(sql, vec![product.as_str().into(), number.into(), Text(why.clone()).into()]).await?;
        write.commit().await
    }

    /// Writes what a reading found, `None` if the product is not there. Answers whether that is something else than before.
    pub(crate) async fn write_reading(
        &self,
        product: &ProductName,
        number: i64,
        found: Option<&Snapshot>,
    ) -> Result<bool, DbErr> {
        let write = self.write(&Actor::SERVER).await?;
        let name = || product.as_str().into();
        if found.is_some() {
            let sql = "INSERT INTO mirror_products (product, reading) VALUES ($1, 0) ON CONFLICT (product) DO NOTHING";
            write.execute(sql, vec![name()]).await?;
        }
        let blocked = found.map(|found| Text(found.blocked.clone()));
        // Locks it, too.
        let sql = "UPDATE mirror_products SET reading = $2, expected = 0, error = NULL WHERE product = $1 AND reading < $2";
        if write.execute(sql, vec![name(), number.into()]).await? == 0 {
            return Ok(false);
        }
        let before = of_product(&write, product, Wanted::All).await?;
        let is_changed = match (&before.snapshot, found) {
            // With an error, what is there could not be decoded.
            (None, None) => before.error.is_some(),
            (Some(before), Some(found)) => !before.is_same(found),
            _ => true,
        };
        if is_changed {
            let sql = "UPDATE mirror_products SET blocked = $2 WHERE product = $1";
            write.execute(sql, vec![name(), blocked.into()]).await?;
            write.replace_files(product, found).await?;
        }
        if let Some(found) = found {
            let before = before.snapshot.map(|before| before.releases).unwrap_or_default();
            let before: HashMap<&str, &Release> =
                before.iter().map(|release| (release.key.as_str(), release)).collect();
            let is_new = |release: &&Release| before.get(release.key.as_str()) != Some(release);
            write.note_images(product, found.releases.iter().filter(is_new).chain(&found.deployed)).await?;
        }
        write.commit().await?;
        Ok(is_changed)
    }
}

impl Write {
    async fn replace_files(&self, product: &ProductName, found: Option<&Snapshot>) -> Result<(), DbErr> {
        for sql in [
            "DELETE FROM mirror_releases WHERE product = $1",
            "DELETE FROM mirror_channels WHERE product = $1",
        ] {
            self.execute(sql, vec![product.as_str().into()]).await?;
        }
        let Some(found) = found else { return Ok(()) };
        let name = || product.as_str().into();
        for releases in found.releases.chunks(ROWS_PER_STATEMENT) {
            let mut insert = Sql::insert();
            insert.into_table("mirror_releases").columns(["product", "version", "details"]);
            for release in releases {
                let details = Text(release.clone()).into();
                insert.values_panic([name(), release.version.as_str().into(), details]);
            }
            self.connection().execute(&insert).await?;
        }
        for (channel, version) in &found.channels {
            let sql = "INSERT INTO mirror_channels (product, channel, version) VALUES ($1, $2, $3)";
            let version = version.clone().map(Text);
            self.execute(sql, vec![product.as_str().into(), channel.as_str().into(), version.into()]).await?;
        }
        Ok(())
    }
}
