//! The script, the style and the icon, in the binary. Their names carry a digest, so browsers keep them for good.

use std::sync::LazyLock;

use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};

use crate::web::extract::Path;
use crate::web::problem::Problem;

pub(super) struct Asset {
    pub(super) path: String,
    etag: String,
    content: &'static str,
    kind: &'static str,
}

impl Asset {
    fn new(stem: &str, ending: &str, kind: &'static str, content: &'static str) -> Self {
        let digest = &hex::encode(Sha256::digest(content))[..12];
        Self {
            path: format!("/assets/{stem}-{digest}.{ending}"),
            etag: format!("\"{digest}\""),
            content,
            kind,
        }
    }

    fn serve(&self, headers: &HeaderMap, caching: &'static str) -> Response {
        let common = [
            (header::ETAG, self.etag.as_str()),
            (header::CACHE_CONTROL, caching),
            (header::CONTENT_TYPE, self.kind),
        ];
        if headers.get(header::IF_NONE_MATCH).is_some_and(|tag| tag.as_bytes() == self.etag.as_bytes()) {
            return (StatusCode::NOT_MODIFIED, common).into_response();
        }
        (common, self.content).into_response()
    }
}

pub(super) static STYLE: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("updraft", "css", "text/css; charset=utf-8", include_str!("updraft.css")));
pub(super) static SCRIPT: LazyLock<Asset> = LazyLock::new(|| {
    Asset::new("updraft", "js", "text/javascript; charset=utf-8", include_str!("updraft.js"))
});
pub(super) static ICON: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("icon", "svg", "image/svg+xml", include_str!("logo.svg")));

pub(crate) async fn asset(Path(name): Path<String>, headers: HeaderMap) -> Response {
    let found =
        [&STYLE, &SCRIPT, &ICON].into_iter().find(|asset| asset.path.strip_prefix("/assets/") == Some(&name));
    match found {
        Some(asset) => asset.serve(&headers, "public, max-age=31536000, immutable"),
        None => Problem::nothing_here().into_response(),
    }
}

/// `GET /favicon.ico`, for those who ask for it without reading the page.
pub(crate) async fn favicon(headers: HeaderMap) -> Response {
    ICON.serve(&headers, "public, max-age=86400")
}
