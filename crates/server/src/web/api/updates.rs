//! `/api/v1/updates`, and what devices are offered.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use contract::DeviceId;

use crate::updates::{How, Updates};
use crate::web::caller::Caller;
use crate::web::extract::{OptionalBody, Path, Query};
use crate::web::problem::{Answer, Done, Problem};
use api::{CheckAnswer, CheckRequest, Page, PageQuery, Update, UpdateEvent};

/// Decides whether the device gets an update, and triggers it. 200 for every decision.
#[utoipa::path(post, path = "/api/v1/devices/{id}/check-update", tag = "devices", params(("id" = String, Path)),
    request_body(content = CheckRequest, description = "May be left out"),
    responses((status = 200, body = CheckAnswer), (status = 404, body = api::Problem)))]
pub(crate) async fn check(
    caller: Caller,
    State(updates): State<Updates>,
    Path(id): Path<DeviceId>,
    OptionalBody(request): OptionalBody<CheckRequest>,
) -> Answer<CheckAnswer> {
    let how = How::of(&request.unwrap_or_default())?;
    Ok(Json(updates.check(caller.by(), &id, how).await?))
}

/// Lets images be offered again that failed twice on this device.
#[utoipa::path(post, path = "/api/v1/devices/{id}/clear-quarantine", tag = "devices", params(("id" = String, Path)),
    responses((status = 204), (status = 404, body = api::Problem)))]
pub(crate) async fn clear_quarantine(
    caller: Caller,
    State(updates): State<Updates>,
    Path(id): Path<DeviceId>,
) -> Done {
    updates.clear_quarantine(caller.by(), &id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A device's updates, newest first.
#[utoipa::path(get, path = "/api/v1/devices/{id}/updates", tag = "devices", params(("id" = String, Path),
    ("cursor" = Option<String>, Query, description = "`next` of the page before"),
    ("limit" = Option<u32>, Query, description = "Items a page, 1 to 500; 50 if not said")),
    responses((status = 200, body = Page<Update>), (status = 404, body = api::Problem)))]
pub(crate) async fn list(
    State(updates): State<Updates>,
    Path(id): Path<DeviceId>,
    Query(part): Query<PageQuery>,
) -> Answer<Page<Update>> {
    let limit = part.limit.unwrap_or(50);
    if !(1..=500).contains(&limit) {
        return Err(Problem::invalid("limit is 1 to 500"));
    }
    Ok(Json(updates.of_device(&id, part.cursor.as_deref(), limit).await?))
}

/// What happened to a device's update, in order. Older than `fleet.history_days`, only the update itself is kept.
#[utoipa::path(get, path = "/api/v1/devices/{id}/updates/{n}/events", tag = "devices",
    params(("id" = String, Path), ("n" = i64, Path),
    ("cursor" = Option<String>, Query, description = "`next` of the page before"),
    ("limit" = Option<u32>, Query, description = "Items a page, 1 to 500; 100 if not said")),
    responses((status = 200, body = Page<UpdateEvent>), (status = 404, body = api::Problem)))]
pub(crate) async fn events(
    State(updates): State<Updates>,
    Path((id, number)): Path<(DeviceId, i64)>,
    Query(part): Query<PageQuery>,
) -> Answer<Page<UpdateEvent>> {
    Ok(Json(updates.events(&id, number, part.cursor.as_deref(), part.limit).await?))
}

/// Stops an update. A device that has the image already may still install it.
#[utoipa::path(post, path = "/api/v1/updates/{n}/cancel", tag = "devices", params(("n" = i64, Path)), responses(
    (status = 200, body = Update),
    (status = 404, body = api::Problem), (status = 409, body = api::Problem, description = "It has ended already")))]
pub(crate) async fn cancel(
    caller: Caller,
    State(updates): State<Updates>,
    Path(number): Path<i64>,
) -> Answer<Update> {
    Ok(Json(updates.cancel(caller.by(), number).await?))
}
