//! What is asked of an image that comes in a body, and why it may be refused.

use axum::Json;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use contract::{ChannelName, Version};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::model::Judgement;
use crate::releases::Upload;
use crate::web::limits::FILE_NAME_MAX_BYTES;
use crate::web::own::Publishing;
use crate::web::problem::Problem;

/// How to publish.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Publication {
    version: Option<Version>,
    promote: Option<ChannelName>,
    notes: Option<String>,
    commit: Option<String>,
    tag: Option<String>,
    dirty: Option<bool>,
    requires: Option<Version>,
    allow: Option<String>,
    file: Option<String>,
}

impl Publication {
    pub(super) fn upload(self) -> Result<Upload, Problem> {
        let text =
            |text: Option<String>| text.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
        Ok(Upload {
            version: self.version,
            notes: text(self.notes),
            commit: text(self.commit),
            tag: text(self.tag),
            dirty: self.dirty,
            requires: self.requires,
            allow: allowed(self.allow.as_deref())?,
            file: file_name(self.file)?,
            promote: self.promote,
        })
    }
}

/// How an image is to be judged.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Question {
    version: Option<Version>,
    allow: Option<String>,
    file: Option<String>,
}

impl Question {
    pub(super) fn upload(self) -> Result<Upload, Problem> {
        let allow = allowed(self.allow.as_deref())?;
        Ok(Upload { version: self.version, allow, file: file_name(self.file)?, ..Upload::default() })
    }
}

impl Publishing for Publication {
    fn promotes(&self) -> bool {
        self.promote.is_some()
    }
}

impl Publishing for Question {}

/// What the person calls the image: it stands in the commands that a sentence tells to run.
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

/// Why an image was not published, with all that the gate found.
#[derive(Serialize, ToSchema)]
pub(crate) struct Refusal {
    #[serde(flatten)]
    pub(super) problem: Problem,
    #[serde(flatten)]
    pub(super) judgement: Judgement,
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = self.problem.status();
        let kind = [(header::CONTENT_TYPE, "application/problem+json"), (header::CACHE_CONTROL, "no-store")];
        (status, kind, Json(self)).into_response()
    }
}
