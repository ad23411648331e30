//! What lies in the store: products, channels and releases, by their names. Whatever else lies there is passed over.

use std::collections::BTreeMap;

use contract::{ProductName, Version};
use futures_util::{StreamExt, TryStreamExt};
use object_store::path::Path;

use crate::StoreError;
use crate::objects::bucket::{Backing, Bucket, Found, found, path};
use crate::objects::explain::{Action, explain};
use crate::objects::listing::tolerant::{self, Depth};
use crate::releases::layout::{self, FIRMWARE, METADATA, VERSION};

/// The most objects or names that are looked at in one listing; a bucket that has more is not ours to walk.
pub(crate) const LISTED_MAX: usize = 200_000;

/// Which files of a release are there.
#[derive(Debug, Default)]
pub(crate) struct Files {
    pub(crate) firmware: Option<Found>,
    pub(crate) version: Option<Found>,
    pub(crate) metadata: Option<Found>,
}

/// The names of the folders right below a folder ("" is the top), in no order.
pub(crate) async fn folders(bucket: &Bucket, folder: &str) -> Result<Vec<String>, StoreError> {
    match &bucket.backing {
        // Not through the object store: it gives up at the first file name that is not UTF-8.
        Backing::Folder(root) => local_folders(bucket, &root.join(folder), folder).await,
        Backing::S3 { s3, .. } => {
            let prefix = path(folder)?;
            let prefix = (!folder.is_empty()).then_some(&prefix);
            match bucket.objects.list_with_delimiter(prefix).await {
                Ok(list) => {
                    let names = list.common_prefixes.iter().filter_map(|path| path.filename());
                    Ok(names.map(str::to_owned).take(LISTED_MAX).collect())
                }
                Err(object_store::Error::InvalidPath { .. }) => {
                    tolerant::list(s3.as_ref(), folder, Depth::Folders)
                        .await
                        .map(|listing| listing.folders)
                        .map_err(|error| explain(&bucket.name(), Action::List, folder, error))
                }
                Err(error) => Err(explain(&bucket.name(), Action::List, folder, error)),
            }
        }
    }
}

async fn local_folders(
    bucket: &Bucket,
    path: &std::path::Path,
    folder: &str,
) -> Result<Vec<String>, StoreError> {
    let unavailable = |error| {
        let error = object_store::Error::Generic { store: "folder", source: Box::new(error) };
        explain(&bucket.name(), Action::List, folder, error)
    };
    let mut entries = match tokio::fs::read_dir(path).await {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !folder.is_empty() => {
            return Ok(Vec::new());
        }
        Err(error) => return Err(unavailable(error)),
    };
    let mut names = Vec::new();
    while let Some(entry) = entries.next_entry().await.map_err(unavailable)? {
        if let Ok(name) = entry.file_name().into_string()
            && names.len() < LISTED_MAX
            && entry.path().is_dir()
        {
            names.push(name);
        }
    }
    Ok(names)
}

/// The releases of a product and which of their files are there, complete or not.
pub(crate) async fn releases(
    bucket: &Bucket,
    product: &ProductName,
) -> Result<BTreeMap<String, (Version, Files)>, StoreError> {
    let folder = layout::releases(product);
    let mut releases: BTreeMap<String, (Version, Files)> = BTreeMap::new();
    let mut note = |found: Found| {
        let Some((name, file)) =
            found.key.strip_prefix(&folder).and_then(|rest| rest.strip_prefix('/')?.split_once('/'))
        else {
            return;
        };
        let Some(version) = layout::release_folder(name) else { return };
        let files = &mut releases.entry(name.to_owned()).or_insert_with(|| (version, Files::default())).1;
        match file {
            FIRMWARE => files.firmware = Some(found),
            VERSION => files.version = Some(found),
            METADATA => files.metadata = Some(found),
            _ => {}
        }
    };
    match &bucket.backing {
        Backing::Folder(_) => {
            for name in folders(bucket, &folder).await? {
                if layout::release_folder(&name).is_none() {
                    continue;
                }
                for file in [FIRMWARE, VERSION, METADATA] {
                    bucket.find(&format!("{folder}/{name}/{file}")).await?.into_iter().for_each(&mut note);
                }
            }
        }
        Backing::S3 { s3, .. } => match flat(bucket, &folder, &mut note).await {
            Ok(()) => {}
            Err(object_store::Error::InvalidPath { .. }) => {
                tolerant::list(s3.as_ref(), &folder, Depth::All)
                    .await
                    .map_err(|error| explain(&bucket.name(), Action::List, &folder, error))?
                    .objects
                    .into_iter()
                    .for_each(&mut note);
            }
            Err(error) => return Err(explain(&bucket.name(), Action::List, &folder, error)),
        },
    }
    Ok(releases)
}

/// The complete releases of a product and the sizes of their images, highest version first: nothing of them is read, and
/// the number of requests does not grow with them (but for the pages of a long list).
pub(crate) async fn sizes(bucket: &Bucket, product: &ProductName) -> Result<Vec<(Version, u64)>, StoreError> {
    let mut sizes: Vec<(Version, u64)> = Vec::new();
    match &bucket.backing {
        Backing::Folder(root) => {
            let folder = layout::releases(product);
            for name in folders(bucket, &folder).await? {
                let Some(version) = layout::release_folder(&name) else { continue };
                let path = root.join(&folder).join(name);
                let firmware = tokio::fs::metadata(path.join(FIRMWARE)).await;
                if let (Ok(firmware), true) = (firmware, path.join(VERSION).is_file()) {
                    sizes.push((version, firmware.len()));
                }
            }
        }
        Backing::S3 { .. } => {
            let listed = releases(bucket, product).await?.into_values();
            let complete = listed.filter(|(_, files)| files.version.is_some());
            sizes.extend(complete.filter_map(|(version, files)| Some((version, files.firmware?.size))));
        }
    }
    sizes.sort_by(|(left, _), (right, _)| right.cmp(left).then_with(|| right.as_str().cmp(left.as_str())));
    Ok(sizes)
}

/// Tells of every object below a folder. None is kept: most may be nothing of ours.
async fn flat(bucket: &Bucket, folder: &str, note: &mut impl FnMut(Found)) -> object_store::Result<()> {
    let prefix = Path::parse(folder)?;
    let mut objects = bucket.objects.list(Some(&prefix)).take(LISTED_MAX);
    let mut seen = 0;
    while let Some(meta) = objects.try_next().await? {
        note(found(&meta));
        seen += 1;
    }
    if seen == LISTED_MAX {
        tracing::warn!(store.key = folder, "there are so many objects that not all were looked at");
    }
    Ok(())
}
