//! `/api/v1/audit`: who did what.

use api::{AuditEntry, AuditQuery, Page};
use axum::Json;
use axum::extract::State;

use crate::access::Access;
use crate::web::extract::Query;
use crate::web::problem::Answer;

/// Who did what, in order. `next` continues it: as `after` where that was asked, and else, towards older ones, as `before`.
#[utoipa::path(get, path = "/api/v1/audit", tag = "audit", params(
    ("after" = Option<i64>, Query, description = "The first entries above this id"),
    ("before" = Option<i64>, Query, description = "The last entries below this id; the last of all where neither is said"),
    ("limit" = Option<u32>, Query, description = "Items a page, 1 to 500; 100 if not said"),
    ("actor" = Option<String>, Query, description = "By this user, token or job"),
    ("action" = Option<String>, Query, description = "Of this kind, such as `device.register`"),
    ("subject" = Option<String>, Query, description = "About this device, product, token or user"),
), responses((status = 200, body = Page<AuditEntry>)))]
pub(crate) async fn list(
    State(access): State<Access>,
    Query(query): Query<AuditQuery>,
) -> Answer<Page<AuditEntry>> {
    Ok(Json(access.audit(&query).await?))
}
