//! What lies in a bucket or a folder, by its keys.

use futures_util::{StreamExt, TryStreamExt};
use object_store::aws::AmazonS3;
use object_store::path::Path;

use self::tolerant::{Depth, LISTED_MAX};
use crate::error::StoreError;
use crate::objects::bucket::{Backing, Bucket};
use crate::objects::explain::{Action, explain};
use crate::objects::object::{Found, found, path};

mod tolerant;

/// The names of the folders right below a folder ("" is the top), in no order.
pub(crate) async fn folders(bucket: &Bucket, folder: &str) -> Result<Vec<String>, StoreError> {
    let failed = |error| explain(&bucket.name(), Action::List, folder, error);
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
                    let listing = tolerant::list(s3.as_ref(), folder, Depth::Folders).await;
                    listing.map(|listing| listing.folders).map_err(failed)
                }
                Err(error) => Err(failed(error)),
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

/// Tells of every object of S3 below a folder.
pub(crate) async fn objects(
    bucket: &Bucket,
    s3: &AmazonS3,
    folder: &str,
    note: &mut impl FnMut(Found),
) -> Result<(), StoreError> {
    let listed = match flat(bucket, folder, note).await {
        Err(object_store::Error::InvalidPath { .. }) => {
            let listing = tolerant::list(s3, folder, Depth::All).await;
            listing.map(|listing| listing.objects.into_iter().for_each(note))
        }
        listed => listed,
    };
    listed.map_err(|error| explain(&bucket.name(), Action::List, folder, error))
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
