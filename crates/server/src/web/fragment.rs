//! Asking for a part of a page.

use axum::http::HeaderName;

/// Asks for the changing parts of a page only.
pub(crate) const FRAGMENT: HeaderName = HeaderName::from_static("x-updraft-fragment");
