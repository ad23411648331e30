//! `/api/v1/devices` and `/api/v1/updates`.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use contract::DeviceId;

use super::extract::{Body, OptionalBody, Path, Query};
use super::problem::Problem;
use crate::model::{
    CheckAnswer, CheckRequest, Device, DeviceChange, DeviceQuery, NewDevice, Page, PageQuery,
    RegisteredDevice, Update,
};
use crate::router::Web;

/// Devices, by id.
#[utoipa::path(get, path = "/api/v1/devices", tag = "devices", params(
    ("product" = Option<String>, Query, description = "Of this product"),
    ("tag" = Option<String>, Query, description = "With this tag"),
    ("state" = Option<String>, Query, description = "`online`, `offline`, or the state of the newest update"),
    ("q" = Option<String>, Query, description = "Id contains this text"),
    ("cursor" = Option<String>, Query, description = "`next` of the page before"),
    ("limit" = Option<u32>, Query, description = "Items a page, 1 to 500; 100 if not said"),
), responses((status = 200, body = Page<Device>), (status = 400, body = api::Problem), (status = 401, body = api::Problem)))]
pub(crate) async fn list(
    State(web): State<Web>,
    Query(query): Query<DeviceQuery>,
) -> Result<Json<Page<Device>>, Problem> {
    Ok(Json(web.app.devices(&query).await?))
}

/// Registers a device. The answer holds its MQTT password, which is shown once.
#[utoipa::path(post, path = "/api/v1/devices", tag = "devices", request_body = NewDevice, responses(
    (status = 201, body = RegisteredDevice), (status = 400, body = api::Problem), (status = 401, body = api::Problem),
    (status = 403, body = api::Problem), (status = 409, body = api::Problem, description = "It is registered already")))]
pub(crate) async fn register(
    State(web): State<Web>,
    Body(new): Body<NewDevice>,
) -> Result<(StatusCode, Json<RegisteredDevice>), Problem> {
    let registered = web.app.register_device(&new.id, new.product.as_ref()).await?;
    Ok((StatusCode::CREATED, Json(registered)))
}

/// One device.
#[utoipa::path(get, path = "/api/v1/devices/{id}", tag = "devices", params(("id" = String, Path)), responses(
    (status = 200, body = Device), (status = 401, body = api::Problem), (status = 404, body = api::Problem)))]
pub(crate) async fn show(State(web): State<Web>, Path(id): Path<DeviceId>) -> Result<Json<Device>, Problem> {
    Ok(Json(web.app.device(&id).await?))
}

/// Changes a device's product or tags.
#[utoipa::path(patch, path = "/api/v1/devices/{id}", tag = "devices", params(("id" = String, Path)),
    request_body = DeviceChange, responses((status = 200, body = Device), (status = 400, body = api::Problem),
    (status = 401, body = api::Problem), (status = 403, body = api::Problem), (status = 404, body = api::Problem)))]
pub(crate) async fn change(
    State(web): State<Web>,
    Path(id): Path<DeviceId>,
    Body(change): Body<DeviceChange>,
) -> Result<Json<Device>, Problem> {
    Ok(Json(web.app.change_device(&id, change.product.as_ref(), change.tags.as_deref()).await?))
}

/// Removes a device, its password, its history and what it left retained.
#[utoipa::path(delete, path = "/api/v1/devices/{id}", tag = "devices", params(("id" = String, Path)), responses(
    (status = 204), (status = 401, body = api::Problem), (status = 403, body = api::Problem), (status = 404, body = api::Problem)))]
pub(crate) async fn remove(State(web): State<Web>, Path(id): Path<DeviceId>) -> Result<StatusCode, Problem> {
    web.app.remove_device(&id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Decides whether the device gets an update, and triggers it. 200 for every decision.
#[utoipa::path(post, path = "/api/v1/devices/{id}/check-update", tag = "devices", params(("id" = String, Path)),
    request_body(content = CheckRequest, description = "May be left out"),
    responses((status = 200, body = CheckAnswer), (status = 401, body = api::Problem), (status = 403, body = api::Problem),
    (status = 404, body = api::Problem)))]
pub(crate) async fn check_update(
    State(web): State<Web>,
    Path(id): Path<DeviceId>,
    OptionalBody(request): OptionalBody<CheckRequest>,
) -> Result<Json<CheckAnswer>, Problem> {
    Ok(Json(web.app.check_update(&id, request.unwrap_or_default().force).await?))
}

/// Lets images be offered again that failed twice on this device.
#[utoipa::path(post, path = "/api/v1/devices/{id}/clear-quarantine", tag = "devices", params(("id" = String, Path)),
    responses((status = 204), (status = 401, body = api::Problem), (status = 403, body = api::Problem),
    (status = 404, body = api::Problem)))]
pub(crate) async fn clear_quarantine(
    State(web): State<Web>,
    Path(id): Path<DeviceId>,
) -> Result<StatusCode, Problem> {
    web.app.clear_quarantine(&id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A device's updates, newest first.
#[utoipa::path(get, path = "/api/v1/devices/{id}/updates", tag = "devices", params(("id" = String, Path),
    ("cursor" = Option<String>, Query, description = "`next` of the page before"),
    ("limit" = Option<u32>, Query, description = "Items a page, 1 to 500; 50 if not said")),
    responses((status = 200, body = Page<Update>), (status = 401, body = api::Problem), (status = 404, body = api::Problem)))]
pub(crate) async fn updates(
    State(web): State<Web>,
    Path(id): Path<DeviceId>,
    Query(part): Query<PageQuery>,
) -> Result<Json<Page<Update>>, Problem> {
    let limit = part.limit.unwrap_or(50);
    if !(1..=500).contains(&limit) {
        return Err(Problem::invalid("limit is 1 to 500"));
    }
    Ok(Json(web.app.updates(&id, part.cursor.as_deref(), limit).await?))
}

/// Stops an update. A device that has the image already may still install it.
#[utoipa::path(post, path = "/api/v1/updates/{n}/cancel", tag = "devices", params(("n" = i64, Path)), responses(
    (status = 200, body = Update), (status = 401, body = api::Problem), (status = 403, body = api::Problem),
    (status = 404, body = api::Problem), (status = 409, body = api::Problem, description = "It has ended already")))]
pub(crate) async fn cancel(State(web): State<Web>, Path(number): Path<i64>) -> Result<Json<Update>, Problem> {
    Ok(Json(web.app.cancel_update(number).await?))
}
