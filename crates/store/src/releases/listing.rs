//! The releases that lie in the store, by their names. Whatever else lies there is passed over.

use std::collections::BTreeMap;

use crate::error::StoreError;
use crate::objects::bucket::{Backing, Bucket};
use crate::objects::listing::{folders, objects};
use crate::objects::object::Found;
use crate::releases::layout::{self, FIRMWARE, METADATA, VERSION};
use contract::{ProductName, Version};

#[derive(Debug, Default)]
pub(crate) struct Files {
    pub(crate) firmware: Option<Found>,
    pub(crate) version: Option<Found>,
    pub(crate) metadata: Option<Found>,
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
        Backing::S3 { s3, .. } => objects(bucket, s3, &folder, &mut note).await?,
    }
    Ok(releases)
}

/// The complete releases of a product and the sizes of their images, highest version first: nothing of them is read, and
/// the number of requests does not grow with them (but for the pages of a long list).
pub(crate) async fn sizes(bucket: &Bucket, product: &ProductName) -> Result<Vec<(Version, u64)>, StoreError> {
    let mut sizes: Vec<(Version, u64)> = Vec::new();
    if let Backing::Folder(root) = &bucket.backing {
        let folder = layout::releases(product);
        for name in folders(bucket, &folder).await? {
            let Some(version) = layout::release_folder(&name) else { continue };
            let path = root.join(&folder).join(name);
            let firmware = tokio::fs::metadata(path.join(FIRMWARE)).await;
            if let (Ok(firmware), true) = (firmware, path.join(VERSION).is_file()) {
                sizes.push((version, firmware.len()));
            }
        }
    } else {
        let listed = releases(bucket, product).await?.into_values();
        let complete = listed.filter(|(_, files)| files.version.is_some());
        sizes.extend(complete.filter_map(|(version, files)| Some((version, files.firmware?.size))));
    }
    sizes.sort_by(|(left, _), (right, _)| right.cmp(left).then_with(|| right.as_str().cmp(left.as_str())));
    Ok(sizes)
}
