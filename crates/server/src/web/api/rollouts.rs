//! `/api/v1/rollouts`, and those of a product.

use api::{Ending, NewRollout, Page, PageQuery, Rollout, RolloutDevice, RolloutDeviceQuery, RolloutPreview};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use contract::ProductName;

use crate::updates::Rollouts;
use crate::web::caller::Caller;
use crate::web::extract::{Body, OptionalBody, Path, Query};
use crate::web::guard::Own;
use crate::web::problem::{Answer, Problem};

/// A product's rollouts, the newest first.
#[utoipa::path(get, path = "/api/v1/products/{p}/rollouts", tag = "rollouts", params(("p" = String, Path),
    ("cursor" = Option<String>, Query, description = "`next` of the page before"),
    ("limit" = Option<u32>, Query, description = "Items a page, 1 to 500; 50 if not said")),
    responses((status = 200, body = Page<Rollout>), (status = 404, body = api::Problem)))]
pub(crate) async fn of_product(
    State(rollouts): State<Rollouts>,
    Own(product): Own<ProductName>,
    Query(part): Query<PageQuery>,
) -> Answer<Page<Rollout>> {
    Ok(Json(rollouts.list(Some(&product), part.cursor.as_deref(), part.limit).await?))
}

/// All rollouts, the newest first.
#[utoipa::path(get, path = "/api/v1/rollouts", tag = "rollouts", params(
    ("cursor" = Option<String>, Query, description = "`next` of the page before"),
    ("limit" = Option<u32>, Query, description = "Items a page, 1 to 500; 50 if not said")),
    responses((status = 200, body = Page<Rollout>)))]
pub(crate) async fn list(
    State(rollouts): State<Rollouts>,
    Query(part): Query<PageQuery>,
) -> Answer<Page<Rollout>> {
    Ok(Json(rollouts.list(None, part.cursor.as_deref(), part.limit).await?))
}

/// Begins a rollout of a release. With `dry_run` it only says what it would do, and answers 200.
#[utoipa::path(post, path = "/api/v1/products/{p}/rollouts", tag = "rollouts", params(("p" = String, Path)),
    request_body = NewRollout, responses((status = 201, body = Rollout),
    (status = 200, body = RolloutPreview, description = "What it would do"), (status = 404, body = api::Problem),
    (status = 409, body = api::Problem)))]
pub(crate) async fn start(
    caller: Caller,
    State(rollouts): State<Rollouts>,
    Path(product): Path<ProductName>,
    Body(asked): Body<NewRollout>,
) -> Result<Response, Problem> {
    if asked.dry_run {
        return Ok(Json(rollouts.preview(&product, &asked).await?).into_response());
    }
    let rollout = rollouts.start(caller.by(), &product, &asked).await?;
    Ok((StatusCode::CREATED, Json(rollout)).into_response())
}

/// One rollout.
#[utoipa::path(get, path = "/api/v1/rollouts/{n}", tag = "rollouts", params(("n" = i64, Path)), responses(
    (status = 200, body = Rollout), (status = 404, body = api::Problem)))]
pub(crate) async fn show(State(rollouts): State<Rollouts>, Path(number): Path<i64>) -> Answer<Rollout> {
    Ok(Json(rollouts.show(number).await?))
}

/// Its devices, by id; those in a state by step and id.
#[utoipa::path(get, path = "/api/v1/rollouts/{n}/devices", tag = "rollouts", params(("n" = i64, Path),
    ("state" = Option<String>, Query, description = "`waiting`, `in_flight`, `not_succeeded`, or the state of its update"),
    ("cursor" = Option<String>, Query, description = "`next` of the page before"),
    ("limit" = Option<u32>, Query, description = "Items a page, 1 to 500; 100 if not said")),
    responses((status = 200, body = Page<RolloutDevice>), (status = 404, body = api::Problem)))]
pub(crate) async fn devices(
    State(rollouts): State<Rollouts>,
    Path(number): Path<i64>,
    Query(query): Query<RolloutDeviceQuery>,
) -> Answer<Page<RolloutDevice>> {
    Ok(Json(rollouts.devices(number, &query).await?))
}

/// Stops it for a while.
#[utoipa::path(post, path = "/api/v1/rollouts/{n}/pause", tag = "rollouts", params(("n" = i64, Path)), responses(
    (status = 200, body = Rollout), (status = 404, body = api::Problem),
    (status = 409, body = api::Problem, description = "It has ended")))]
pub(crate) async fn pause(
    caller: Caller,
    State(rollouts): State<Rollouts>,
    Path(number): Path<i64>,
) -> Answer<Rollout> {
    Ok(Json(rollouts.pause(caller.by(), number).await?))
}

/// Goes on with one that is paused.
#[utoipa::path(post, path = "/api/v1/rollouts/{n}/resume", tag = "rollouts", params(("n" = i64, Path)), responses(
    (status = 200, body = Rollout), (status = 404, body = api::Problem),
    (status = 409, body = api::Problem, description = "It has ended")))]
pub(crate) async fn resume(
    caller: Caller,
    State(rollouts): State<Rollouts>,
    Path(number): Path<i64>,
) -> Answer<Rollout> {
    Ok(Json(rollouts.resume(caller.by(), number).await?))
}

/// Ends it for good: nothing more is sent.
#[utoipa::path(post, path = "/api/v1/rollouts/{n}/abort", tag = "rollouts", params(("n" = i64, Path)),
    request_body(content = Ending, description = "May be left out"), responses(
    (status = 200, body = Rollout), (status = 404, body = api::Problem),
    (status = 409, body = api::Problem, description = "It has ended")))]
pub(crate) async fn abort(
    caller: Caller,
    State(rollouts): State<Rollouts>,
    Path(number): Path<i64>,
    OptionalBody(ending): OptionalBody<Ending>,
) -> Answer<Rollout> {
    let ending = ending.unwrap_or_default();
    Ok(Json(rollouts.abort(caller.by(), number, ending.reason.as_deref()).await?))
}
