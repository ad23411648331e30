//! The images in the bucket, known by their digests: what the bytes are that a device reports, and which bytes are blocked.

use std::collections::{BTreeSet, HashMap, HashSet};

use contract::{ProductName, Sha256, Version};
use fleet::{BlockedImage, BlockedImages, Identity, Image};
use sea_orm::sea_query::{Expr, Query as Sql};
use sea_orm::{ConnectionTrait, DbErr, ExprTrait, QueryResult};
use store::{Blocked, Inspection, Release};

use super::connection::{Db, Query, ROWS_PER_STATEMENT, Write};
use super::mirror;
use super::values::Text;
use crate::actor::Actor;

/// What a device says that it runs: digest, product and version. The index `devices_build` is made of the same.
pub(super) const BUILD: &str = "(sha256 || ' ' || COALESCE(product, '') || ' ' || version)";
/// Maximum number of builds that are told apart when the fleet is looked through.
const BUILDS_MAX: i64 = 10_000;

/// Who says what of which bytes, for a set of digests.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// By what a device may report.
    releases: HashMap<Sha256, Vec<(ProductName, Version, Sha256)>>,
    /// Products of which each image was read.
    read: HashSet<ProductName>,
    /// Releases of which nobody can say the digest: what was said of them is not what their bytes are.
    unknown: HashSet<(ProductName, Version)>,
}

impl Known {
    /// What the bytes are that a device runs.
    pub(crate) fn image(
        &self,
        product: Option<&ProductName>,
        version: &Version,
        reported: Option<Sha256>,
    ) -> Image {
        let Some(reported) = reported else { return Image::default() };
        let releases = self.releases.get(&reported).map_or(&[][..], Vec::as_slice);
        let is_complete = product.is_some_and(|product| {
            self.read.contains(product) && !self.unknown.contains(&(product.clone(), version.clone()))
        });
        Image::of(reported, product, version, releases, is_complete)
    }
}

const COLUMNS: [&str; 3] = ["sha256", "appended_sha256", "elf_sha256"];

/// What is known of what devices report.
pub(crate) async fn known(
    query: &impl Query,
    reported: impl Iterator<Item = Sha256>,
) -> Result<Known, DbErr> {
    let reported: BTreeSet<Sha256> = reported.collect();
    let mut known = Known::default();
    if reported.is_empty() {
        return Ok(known);
    }
    let reported: Vec<Sha256> = reported.into_iter().collect();
    for some in reported.chunks(ROWS_PER_STATEMENT) {
        for column in COLUMNS {
            let mut select = Sql::select();
            select.columns(["product", "version", "sha256", column]).from("images");
            select.and_where(Expr::col(column).is_in(some.iter().map(|one| Text(*one))));
            for row in query.connection().query_all(&select).await? {
                let named: Text<Sha256> = row.try_get("", column)?;
                known.releases.entry(named.0).or_default().push((
                    row.try_get::<Text<ProductName>>("", "product")?.0,
                    row.try_get::<Text<Version>>("", "version")?.0,
                    row.try_get::<Text<Sha256>>("", "sha256")?.0,
                ));
            }
        }
    }
    for releases in known.releases.values_mut() {
        releases.sort_by(|(one, left, _), (other, right, _)| (one, right).cmp(&(other, left)));
        releases.dedup();
    }
    let read = "SELECT product FROM mirror_products WHERE blocked IS NOT NULL \
                AND product NOT IN (SELECT product FROM images WHERE content = '')";
    for row in query.rows(read, vec![]).await? {
        known.read.insert(row.try_get::<Text<ProductName>>("", "product")?.0);
    }
    let unknown = "SELECT product, version FROM images WHERE sha256 IS NULL";
    for row in query.rows(unknown, vec![]).await? {
        known.unknown.insert(release(&row)?);
    }
    Ok(known)
}

/// By which digests devices may name images of these, that of the bytes first; none for one that was not read yet.
pub(crate) async fn names(
    query: &impl Query,
    images: impl Iterator<Item = Sha256>,
) -> Result<HashMap<Sha256, Vec<Sha256>>, DbErr> {
    let mut names: HashMap<Sha256, Vec<Sha256>> = images.map(|sha256| (sha256, vec![sha256])).collect();
    let asked: Vec<Sha256> = names.keys().copied().collect();
    for some in asked.chunks(ROWS_PER_STATEMENT) {
        let mut select = Sql::select();
        select.columns(COLUMNS).column("content").from("images");
        select.and_where(Expr::col("sha256").is_in(some.iter().map(|one| Text(*one))));
        for row in query.connection().query_all(&select).await? {
            let sha256 = row.try_get::<Text<Sha256>>("", "sha256")?.0;
            if row.try_get::<String>("", "content")?.is_empty() {
                names.remove(&sha256);
            }
            let Some(names) = names.get_mut(&sha256) else { continue };
            for column in &COLUMNS[1..] {
                names.extend(row.try_get::<Option<Text<Sha256>>>("", column)?.map(|name| name.0));
            }
        }
    }
    Ok(names)
}

fn release(row: &QueryResult) -> Result<(ProductName, Version), DbErr> {
    let product = row.try_get::<Text<ProductName>>("", "product")?.0;
    Ok((product, row.try_get::<Text<Version>>("", "version")?.0))
}

/// What is blocked in the bucket by its bytes.
pub(crate) async fn blocked(query: &impl Query) -> Result<BlockedImages, DbErr> {
    let mut images = BlockedImages::new();
    for (product, list) in mirror::blocked_lists(query).await? {
        let Blocked::List(list) = list else { continue };
        let sql = "SELECT product, version, sha256 FROM images WHERE product = $1 AND sha256 IS NOT NULL";
        for row in query.rows(sql, vec![product.as_str().into()]).await? {
            let (product, version) = release(&row)?;
            if let Some(why) = list.get(&version).cloned() {
                let sha256 = row.try_get::<Text<Sha256>>("", "sha256")?.0;
                images.insert(sha256, BlockedImage { product, version, why });
            }
        }
    }
    Ok(images)
}

/// The keys under which images with these bytes lie.
pub(crate) async fn keys(query: &impl Query, images: &BlockedImages) -> Result<Vec<(String, Sha256)>, DbErr> {
    let (mut keys, images) = (Vec::new(), images.keys().copied().collect::<Vec<_>>());
    for some in images.chunks(ROWS_PER_STATEMENT) {
        let mut select = Sql::select();
        select.columns(["object_key", "sha256"]).from("images");
        select.and_where(Expr::col("sha256").is_in(some.iter().map(|one| Text(*one))));
        for row in query.connection().query_all(&select).await? {
            keys.push((row.try_get("", "object_key")?, row.try_get::<Text<Sha256>>("", "sha256")?.0));
        }
    }
    Ok(keys)
}

/// An image that was not read yet, with what is said of it.
#[derive(Debug)]
pub(crate) struct Unread {
    pub(crate) key: String,
    pub(crate) product: ProductName,
    pub(crate) version: Version,
    pub(crate) sha256: Option<Sha256>,
}

/// Images that were not read yet, the last published first.
pub(crate) async fn unread(query: &impl Query) -> Result<Vec<Unread>, DbErr> {
    let sql = "SELECT object_key, product, version, sha256 FROM images WHERE verdict IS NULL ORDER BY object_key DESC";
    let rows = query.rows(sql, vec![]).await?;
    let unread = |row: &QueryResult| {
        let (product, version) = release(row)?;
        let sha256 = row.try_get::<Option<Text<Sha256>>>("", "sha256")?.map(|said| said.0);
        Ok(Unread { key: row.try_get("", "object_key")?, product, version, sha256 })
    };
    rows.iter().map(unread).collect()
}

/// What was found in an object when it was read last, whatever it holds by now.
pub(crate) async fn inspection(query: &impl Query, key: &str) -> Result<Option<Inspection>, DbErr> {
    let sql = "SELECT verdict FROM images WHERE object_key = $1 AND verdict <> ''";
    let row = query.row(sql, vec![key.into()]).await?;
    // One that another version wrote is read once more.
    Ok(row.and_then(|row| row.try_get::<Text<Inspection>>("", "verdict").ok()).map(|read| read.0))
}

impl Db {
    /// Notes that an image has gone: what was said of it counts.
    pub(crate) async fn note_gone(&self, key: &str) -> Result<(), DbErr> {
        let write = self.write(&Actor::SERVER).await?;
        let sql = "UPDATE images SET content = 'gone', verdict = '' WHERE object_key = $1";
        write.execute(sql, vec![key.into()]).await?;
        write.commit().await
    }

    /// Notes what was read of an image. Where its bytes are not what was said, nobody knows what it is.
    pub(crate) async fn note_inspection(&self, unread: &Unread, read: &Inspection) -> Result<(), DbErr> {
        let write = self.write(&Actor::SERVER).await?;
        let Unread { key, product, version, sha256 } = unread;
        write.note_image(key, product, version, *sha256, &read.content).await?;
        let sql = "UPDATE images SET content = $2, sha256 = CASE WHEN COALESCE(sha256, $3) = $3 THEN $3 END, \
                   appended_sha256 = CASE WHEN COALESCE(sha256, $3) = $3 THEN $4 END, \
                   elf_sha256 = CASE WHEN COALESCE(sha256, $3) = $3 THEN $5 END, verdict = $6 WHERE object_key = $1";
        let text = |digest: Option<Sha256>| digest.map(Text).into();
        // Where the storage names no content, it is read once.
        let content = if read.content.is_empty() { "read" } else { &read.content };
        let sha256 = Text(read.sha256).into();
        let verdict = Text(read.clone()).into();
        let values =
            vec![key.as_str().into(), content.into(), sha256, text(read.appended), text(read.elf), verdict];
        write.execute(sql, values).await?;
        write.commit().await
    }
}

impl Write {
    /// Makes known what lies in the bucket. What was read of the same content stays.
    pub(super) async fn note_images<'a>(
        &self,
        product: &ProductName,
        releases: impl Iterator<Item = &'a Release>,
    ) -> Result<(), DbErr> {
        for release in releases {
            let Release { key, version, sha256, content, .. } = release;
            self.note_image(key, product, version, *sha256, content).await?;
        }
        Ok(())
    }

    async fn note_image(
        &self,
        key: &str,
        product: &ProductName,
        version: &Version,
        said: Option<Sha256>,
        content: &str,
    ) -> Result<(), DbErr> {
        let sql = "INSERT INTO images (object_key, product, version, sha256) VALUES ($1, $2, $3, $4) \
                   ON CONFLICT (object_key) DO UPDATE SET version = excluded.version, sha256 = excluded.sha256, content = '', \
                   appended_sha256 = NULL, elf_sha256 = NULL, verdict = NULL \
                   WHERE images.content <> $5 OR images.version <> excluded.version";
        let (version, said) = (version.as_str().into(), said.map(Text).into());
        self.execute(sql, vec![key.into(), product.as_str().into(), version, said, content.into()]).await?;
        Ok(())
    }
}

/// What devices say that they run, each once.
#[derive(Debug)]
pub(crate) struct Build {
    /// As the index has it.
    pub(crate) key: String,
    pub(crate) product: Option<ProductName>,
    pub(crate) image: Image,
}

pub(super) fn distinct_builds() -> String {
    format!(
        "WITH RECURSIVE builds(build) AS (SELECT MIN({BUILD}) FROM devices UNION ALL \
         SELECT (SELECT MIN({BUILD}) FROM devices WHERE {BUILD} > builds.build) FROM builds \
         WHERE builds.build IS NOT NULL) SELECT build FROM builds WHERE build IS NOT NULL LIMIT {BUILDS_MAX}"
    )
}

/// What devices say that they run, and what that is. One step in an index for each.
pub(crate) async fn builds(query: &impl Query) -> Result<Vec<Build>, DbErr> {
    let mut said = Vec::new();
    for row in query.rows(&distinct_builds(), vec![]).await? {
        let key: String = row.try_get("", "build")?;
        said.extend(parsed(&key).map(|(sha256, product, version)| (key, sha256, product, version)));
    }
    if i64::try_from(said.len()).is_ok_and(|builds| builds >= BUILDS_MAX) {
        tracing::warn!(
            "devices run more than {BUILDS_MAX} different builds: those behind them are in no figure of identity"
        );
    }
    let known = known(query, said.iter().map(|(_, sha256, ..)| *sha256)).await?;
    let build = |(key, sha256, product, version): (String, Sha256, Option<ProductName>, Version)| {
        let image = known.image(product.as_ref(), &version, Some(sha256));
        Build { key, product, image }
    };
    Ok(said.into_iter().map(build).collect())
}

/// How many devices run something else than they name: by product, and by what it is.
pub(super) async fn counted(query: &impl Query) -> Result<Vec<(Option<ProductName>, Identity, u64)>, DbErr> {
    let builds = builds(query).await?.into_iter().filter(|build| build.image.identity.is_wrong());
    let mut wrong: HashMap<String, Build> = builds.map(|build| (build.key.clone(), build)).collect();
    let (keys, mut counted) = (wrong.keys().cloned().collect::<Vec<_>>(), Vec::new());
    for some in keys.chunks(ROWS_PER_STATEMENT) {
        let mut select = Sql::select();
        let build = || Expr::cust(BUILD);
        select.expr_as(build(), "build").expr_as(Expr::cust("COUNT(*)"), "devices").from("devices");
        select.and_where(build().is_in(some)).add_group_by([build()]);
        for row in query.connection().query_all(&select).await? {
            let build = wrong.remove(&row.try_get::<String>("", "build")?);
            let devices = row.try_get::<i64>("", "devices")?.unsigned_abs();
            counted.extend(build.map(|build| (build.product, build.image.identity, devices)));
        }
    }
    Ok(counted)
}

/// The builds of an identity; of releases, which most are, all others.
pub(crate) async fn builds_like(query: &impl Query, identity: Identity) -> Result<Vec<String>, DbErr> {
    let is_wanted = |is: Identity| (is == identity) != (identity == Identity::Release);
    let builds = builds(query).await?.into_iter();
    Ok(builds.filter(|build| is_wanted(build.image.identity)).map(|build| build.key).collect())
}

fn parsed(build: &str) -> Option<(Sha256, Option<ProductName>, Version)> {
    let mut parts = build.splitn(3, ' ');
    let (sha256, product, version) = (parts.next()?, parts.next()?, parts.next()?);
    Some((Sha256::from_hex(sha256)?, product.parse().ok(), version.parse().ok()?))
}
