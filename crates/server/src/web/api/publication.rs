//! What is asked of an image that comes in a body.

use api::{CheckQuery, FILE_NAME_MAX_BYTES, Publication};

use crate::releases::Upload;
use crate::web::own::Publishing;
use crate::web::problem::Problem;

impl Publishing for Publication {
    fn promotes(&self) -> bool {
        self.promote.is_some()
    }
}

impl Publishing for CheckQuery {}

/// What is to be published, and how.
pub(super) fn upload(asked: Publication) -> Result<Upload, Problem> {
    let text = |text: Option<String>| text.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
    Ok(Upload {
        version: asked.version,
        notes: text(asked.notes),
        commit: text(asked.commit),
        tag: text(asked.tag),
        dirty: asked.dirty,
        requires: asked.requires,
        allow: allowed(asked.allow.as_deref())?,
        file: file_name(asked.file)?,
        promote: asked.promote,
    })
}

/// What is to be judged.
pub(super) fn question(asked: CheckQuery) -> Result<Upload, Problem> {
    let allow = allowed(asked.allow.as_deref())?;
    Ok(Upload { version: asked.version, allow, file: file_name(asked.file)?, ..Upload::default() })
}

/// The name of the image's file, which is repeated in the commands of a sentence.
fn file_name(name: Option<String>) -> Result<Option<String>, Problem> {
    match &name {
        Some(text)
            if text.is_empty() || text.len() > FILE_NAME_MAX_BYTES || text.contains(char::is_control) =>
        {
            Err(Problem::invalid(format!(
                "file: a file's name has 1 to {FILE_NAME_MAX_BYTES} bytes, and no control characters"
            )))
        }
        _ => Ok(name),
    }
}

/// The checks that are overruled, by their names with commas between.
fn allowed(names: Option<&str>) -> Result<Vec<store::Check>, Problem> {
    let names = names.unwrap_or_default().split(',').map(str::trim).filter(|name| !name.is_empty());
    names.map(|name| name.parse().map_err(|error| Problem::invalid(format!("allow: {error}")))).collect()
}
