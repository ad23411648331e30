//! What lies in a bucket or a folder, by its keys.

use std::io;
use std::path::PathBuf;

use futures_util::{StreamExt, TryStreamExt};
use object_store::aws::AmazonS3;

use self::tolerant::LISTED_MAX;
use crate::error::StoreError;
use crate::objects::bucket::{Backing, Bucket};
use crate::objects::explain::{Action, explain, explain_io};
use crate::objects::object::{Found, found, path};
use crate::tasks::off_the_async_threads;

mod tolerant;

/// The names of the folders right below a folder ("" is the top), in no order.
pub(crate) async fn folders(bucket: &Bucket, folder: &str) -> Result<Vec<String>, StoreError> {
    let failed = |error| explain(&bucket.name(), Action::List, folder, error);
    match &bucket.backing {
        // Not through the object store: it gives up at the first file name that is not UTF-8.
        Backing::Folder(root) => local_folders(bucket, folder, root.join(folder)).await,
        Backing::S3 { s3, .. } => {
            let prefix = path(folder)?;
            let prefix = (!folder.is_empty()).then_some(&prefix);
            match bucket.objects.list_with_delimiter(prefix).await {
                Ok(list) => {
                    let names = list.common_prefixes.iter().filter_map(|path| path.filename());
                    Ok(names.map(str::to_owned).take(LISTED_MAX).collect())
                }
                Err(object_store::Error::InvalidPath { .. }) => {
                    let listing = tolerant::list(s3.as_ref(), folder, Some("/")).await;
                    listing.map(|listing| listing.folders).map_err(failed)
                }
                Err(error) => Err(failed(error)),
            }
        }
    }
}

async fn local_folders(bucket: &Bucket, folder: &str, path: PathBuf) -> Result<Vec<String>, StoreError> {
    let names = off_the_async_threads(move || -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(path)? {
            let entry = entry?;
            if let Ok(name) = entry.file_name().into_string()
                && names.len() < LISTED_MAX
                && entry.path().is_dir()
            {
                names.push(name);
            }
        }
        Ok(names)
    });
    match names.await? {
        Err(error) if error.kind() == io::ErrorKind::NotFound && !folder.is_empty() => Ok(Vec::new()),
        names => names.map_err(|error| explain_io(&bucket.name(), Action::List, folder, error)),
    }
}

/// Tells of every object of S3 below a folder. None is kept: most may be nothing of ours.
pub(crate) async fn objects(
    bucket: &Bucket,
    s3: &AmazonS3,
    folder: &str,
    note: &mut impl FnMut(Found),
) -> Result<(), StoreError> {
    let prefix = path(folder)?;
    let mut objects = bucket.objects.list(Some(&prefix)).take(LISTED_MAX);
    let mut seen = 0;
    let listed = loop {
        match objects.try_next().await {
            Ok(Some(meta)) => note(found(&meta)),
            Ok(None) => break Ok(()),
            Err(object_store::Error::InvalidPath { .. }) => {
                let listing = tolerant::list(s3, folder, None).await;
                break listing.map(|listing| listing.objects.into_iter().for_each(&mut *note));
            }
            Err(error) => break Err(error),
        }
        seen += 1;
    };
    if seen == LISTED_MAX {
        tracing::warn!(store.key = folder, "there are so many objects that not all were looked at");
    }
    listed.map_err(|error| explain(&bucket.name(), Action::List, folder, error))
}
