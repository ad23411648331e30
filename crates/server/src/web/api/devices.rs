//! `/api/v1/devices`.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use contract::DeviceId;

use crate::devices::Devices;
use crate::web::caller::Caller;
use crate::web::extract::{Body, Path, Query};
use crate::web::problem::{Answer, Done, Problem};
use api::{Device, DeviceChange, DeviceQuery, NewDevice, NotAdmitted, Page, RegisteredDevice};

/// Devices, by id.
#[utoipa::path(get, path = "/api/v1/devices", tag = "devices", params(
    ("product" = Option<String>, Query, description = "Of this product"),
    ("tag" = Option<String>, Query, description = "With this tag"),
    ("group" = Option<String>, Query, description = "In this group"),
    ("pin" = Option<String>, Query, description = "Pinned to this version, or `hold`; `any`: pinned at all"),
    ("state" = Option<String>, Query, description = "`online`, `offline`, the state of the newest update, `not_succeeded` (failed, rolled_back or timed_out) or `in_flight`"),
    ("identity" = Option<String>, Query, description = "What the bytes are that it runs: release, mislabelled (another than it names), foreign (no release) or unknown"),
    ("q" = Option<String>, Query, description = "Id contains this text"),
    ("cursor" = Option<String>, Query, description = "`next` of the page before"),
    ("limit" = Option<u32>, Query, description = "Items a page, 1 to 500; 100 if not said"),
), responses((status = 200, body = Page<Device>)))]
pub(crate) async fn list(
    State(devices): State<Devices>,
    Query(query): Query<DeviceQuery>,
) -> Answer<Page<Device>> {
    Ok(Json(devices.list(&query).await?))
}

/// Ids that were heard of since the server started and are not admitted, with what is wrong, the newest first: at most 1,000, of
/// the last week.
#[utoipa::path(get, path = "/api/v1/not-admitted", tag = "devices", responses((status = 200, body = Page<NotAdmitted>)))]
pub(crate) async fn not_admitted(State(devices): State<Devices>) -> Answer<Page<NotAdmitted>> {
    Ok(Json(Page { items: devices.not_admitted(), next: None }))
}

/// Registers a device. The answer holds its MQTT password, which is shown once.
#[utoipa::path(post, path = "/api/v1/devices", tag = "devices", request_body = NewDevice, responses(
    (status = 201, body = RegisteredDevice), (status = 409, body = api::Problem, description = "It is registered already")))]
pub(crate) async fn register(
    caller: Caller,
    State(devices): State<Devices>,
    Body(new): Body<NewDevice>,
) -> Result<(StatusCode, Json<RegisteredDevice>), Problem> {
    let registered = devices.register(caller.by(), &new.id, new.product.as_ref()).await?;
    Ok((StatusCode::CREATED, Json(registered)))
}

/// One device.
#[utoipa::path(get, path = "/api/v1/devices/{id}", tag = "devices", params(("id" = String, Path)), responses(
    (status = 200, body = Device), (status = 404, body = api::Problem)))]
pub(crate) async fn show(State(devices): State<Devices>, Path(id): Path<DeviceId>) -> Answer<Device> {
    Ok(Json(devices.show(&id).await?))
}

/// Changes a device's product, tags, group or pin.
#[utoipa::path(patch, path = "/api/v1/devices/{id}", tag = "devices", params(("id" = String, Path)),
    request_body = DeviceChange, responses((status = 200, body = Device), (status = 404, body = api::Problem)))]
pub(crate) async fn change(
    caller: Caller,
    State(devices): State<Devices>,
    Path(id): Path<DeviceId>,
    Body(change): Body<DeviceChange>,
) -> Answer<Device> {
    Ok(Json(devices.change(caller.by(), &id, &change).await?))
}

/// Removes a device, its password, its history and what it left retained.
#[utoipa::path(delete, path = "/api/v1/devices/{id}", tag = "devices", params(("id" = String, Path)), responses(
    (status = 204), (status = 404, body = api::Problem)))]
pub(crate) async fn remove(caller: Caller, State(devices): State<Devices>, Path(id): Path<DeviceId>) -> Done {
    devices.remove(caller.by(), &id).await?;
    Ok(StatusCode::NO_CONTENT)
}
