//! `/api/v1/products`: releases, channels and the blocked list.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use contract::{ChannelName, ProductName, Version};
use serde::Deserialize;
use utoipa::ToSchema;

use super::extract::{Body, Image, OptionalBody, Path, Query};
use super::problem::Problem;
use crate::model::{BlockedList, Channel, Page, Product, Release};
use crate::router::Web;

/// Products, by name.
#[utoipa::path(get, path = "/api/v1/products", tag = "releases", responses(
    (status = 200, body = Page<Product>), (status = 401, body = Problem)))]
pub(crate) async fn products(State(web): State<Web>) -> Result<Json<Page<Product>>, Problem> {
    Ok(Json(Page { items: web.app.products().await?, next: None }))
}

/// Releases, highest version first.
#[utoipa::path(get, path = "/api/v1/products/{p}/releases", tag = "releases", params(("p" = String, Path)), responses(
    (status = 200, body = Page<Release>), (status = 401, body = Problem), (status = 404, body = Problem),
    (status = 503, body = Problem)))]
pub(crate) async fn list(
    State(web): State<Web>,
    Path(product): Path<ProductName>,
) -> Result<Json<Page<Release>>, Problem> {
    Ok(Json(Page { items: web.app.releases(&product).await?, next: None }))
}

/// How to publish.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Publication {
    version: Option<Version>,
    promote: Option<ChannelName>,
    notes: Option<String>,
}

/// Publishes the image in the body. The same bytes again change nothing; other bytes under a published version are refused.
#[utoipa::path(post, path = "/api/v1/products/{p}/releases", tag = "releases", params(
    ("p" = String, Path),
    ("version" = Option<String>, Query, description = "SemVer; may be left out if the image says its own"),
    ("promote" = Option<String>, Query, description = "Also point this channel to it"),
    ("notes" = Option<String>, Query, description = "Release notes"),
), request_body(content = Vec<u8>, content_type = "application/octet-stream"), responses(
    (status = 201, body = Release), (status = 400, body = Problem), (status = 401, body = Problem),
    (status = 403, body = Problem), (status = 409, body = Problem), (status = 413, body = Problem),
    (status = 503, body = Problem)))]
pub(crate) async fn publish(
    State(web): State<Web>,
    Path(product): Path<ProductName>,
    Query(publication): Query<Publication>,
    request: axum::extract::Request,
) -> Result<(StatusCode, Json<Release>), Problem> {
    // Images are held whole; more of them at a time wait here, before their bodies are read.
    let _turn = web
        .uploads
        .acquire()
        .await
        .map_err(|_| Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the server stops"))?;
    let Image(image) = <Image as axum::extract::FromRequest<Web>>::from_request(request, &web).await?;
    if image.is_empty() {
        return Err(Problem::invalid("the body is empty; it is the image, as raw bytes"));
    }
    let Publication { version, promote, notes } = publication;
    let notes = notes.as_deref().map(str::trim).filter(|notes| !notes.is_empty());
    let release = web.app.publish(&product, version.as_ref(), notes, promote.as_ref(), image).await?;
    Ok((StatusCode::CREATED, Json(release)))
}

/// One release.
#[utoipa::path(get, path = "/api/v1/products/{p}/releases/{version}", tag = "releases",
    params(("p" = String, Path), ("version" = String, Path)), responses((status = 200, body = Release),
    (status = 401, body = Problem), (status = 404, body = Problem), (status = 503, body = Problem)))]
pub(crate) async fn show(
    State(web): State<Web>,
    Path((product, version)): Path<(ProductName, Version)>,
) -> Result<Json<Release>, Problem> {
    Ok(Json(web.app.release(&product, &version).await?))
}

/// Channels, and what they point to.
#[utoipa::path(get, path = "/api/v1/products/{p}/channels", tag = "releases", params(("p" = String, Path)), responses(
    (status = 200, body = Page<Channel>), (status = 401, body = Problem), (status = 404, body = Problem),
    (status = 503, body = Problem)))]
pub(crate) async fn channels(
    State(web): State<Web>,
    Path(product): Path<ProductName>,
) -> Result<Json<Page<Channel>>, Problem> {
    Ok(Json(Page { items: web.app.channels(&product).await?, next: None }))
}

/// Where a channel shall point.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Promotion {
    /// A published version.
    #[schema(value_type = String)]
    version: Version,
}

/// Promotes a release into a channel. A blocked one is refused.
#[utoipa::path(put, path = "/api/v1/products/{p}/channels/{c}", tag = "releases",
    params(("p" = String, Path), ("c" = String, Path)), request_body = Promotion,
    responses((status = 200, body = Channel), (status = 400, body = Problem), (status = 401, body = Problem),
    (status = 403, body = Problem), (status = 404, body = Problem), (status = 409, body = Problem)))]
pub(crate) async fn promote(
    State(web): State<Web>,
    Path((product, channel)): Path<(ProductName, ChannelName)>,
    Body(promotion): Body<Promotion>,
) -> Result<Json<Channel>, Problem> {
    Ok(Json(web.app.promote(&product, &promotion.version, &channel).await?))
}

/// The blocked list, and whether it can be read at all.
#[utoipa::path(get, path = "/api/v1/products/{p}/blocked", tag = "releases", params(("p" = String, Path)), responses(
    (status = 200, body = BlockedList), (status = 401, body = Problem), (status = 404, body = Problem),
    (status = 503, body = Problem)))]
pub(crate) async fn blocked(
    State(web): State<Web>,
    Path(product): Path<ProductName>,
) -> Result<Json<BlockedList>, Problem> {
    Ok(Json(web.app.blocked(&product).await?))
}

/// Why a version is blocked.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Blocking {
    /// Shown wherever the version is refused.
    reason: String,
}

/// Blocks a version, published or not: it is never offered again.
#[utoipa::path(put, path = "/api/v1/products/{p}/blocked/{version}", tag = "releases",
    params(("p" = String, Path), ("version" = String, Path)), request_body = Blocking,
    responses((status = 204), (status = 400, body = Problem), (status = 401, body = Problem),
    (status = 403, body = Problem), (status = 404, body = Problem), (status = 409, body = Problem)))]
pub(crate) async fn block(
    State(web): State<Web>,
    Path((product, version)): Path<(ProductName, Version)>,
    OptionalBody(blocking): OptionalBody<Blocking>,
) -> Result<StatusCode, Problem> {
    let reason = blocking.unwrap_or_default().reason;
    web.app.block(&product, &version, reason.trim()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Unblocks a version.
#[utoipa::path(delete, path = "/api/v1/products/{p}/blocked/{version}", tag = "releases",
    params(("p" = String, Path), ("version" = String, Path)), responses((status = 204), (status = 401, body = Problem),
    (status = 403, body = Problem), (status = 404, body = Problem), (status = 409, body = Problem)))]
pub(crate) async fn unblock(
    State(web): State<Web>,
    Path((product, version)): Path<(ProductName, Version)>,
) -> Result<StatusCode, Problem> {
    web.app.unblock(&product, &version).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Looks at the bucket now instead of at the next interval, after another program changed it.
#[utoipa::path(post, path = "/api/v1/products/{p}/refresh", tag = "releases", params(("p" = String, Path)), responses(
    (status = 204), (status = 401, body = Problem), (status = 403, body = Problem), (status = 404, body = Problem)))]
pub(crate) async fn refresh(
    State(web): State<Web>,
    Path(product): Path<ProductName>,
) -> Result<StatusCode, Problem> {
    web.app.refresh(&product).await?;
    Ok(StatusCode::NO_CONTENT)
}
