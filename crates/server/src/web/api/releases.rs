//! `/api/v1/products`: releases, channels and the blocked list.

use api::{
    BlockedList, Blocking, Channel, CheckQuery, FILE_NAME_MAX_BYTES, Judgement, Page, Product, Promotion,
    Published, Refusal, Release,
};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use contract::{ChannelName, ProductName, Version};
use store::Publication;

use crate::error::Error;
use crate::releases::Releases;
use crate::web::caller::Caller;
use crate::web::extract::{Body, OptionalBody, Path};
use crate::web::guard::{Own, Permitted, Publishing};
use crate::web::limits::{Uploads, image_of};
use crate::web::problem::{Answer, Done, Problem};

/// Products, by name.
#[utoipa::path(get, path = "/api/v1/products", tag = "releases", responses((status = 200, body = Page<Product>)))]
pub(crate) async fn products(State(releases): State<Releases>) -> Answer<Page<Product>> {
    Ok(Json(Page { items: releases.products().await?, next: None }))
}

/// Releases, highest version first.
#[utoipa::path(get, path = "/api/v1/products/{p}/releases", tag = "releases", params(("p" = String, Path)), responses(
    (status = 200, body = Page<Release>), (status = 404, body = api::Problem)))]
pub(crate) async fn list(
    State(releases): State<Releases>,
    Own(product): Own<ProductName>,
) -> Answer<Page<Release>> {
    Ok(Json(Page { items: releases.list(&product).await?, next: None }))
}

/// Publishes the image in the body. The same bytes again change nothing; what the gate refuses is not published.
#[utoipa::path(post, path = "/api/v1/products/{p}/releases", tag = "releases", params(
    ("p" = String, Path),
    ("version" = Option<String>, Query, description = "SemVer; may be left out if the image says its own"),
    ("promote" = Option<String>, Query, description = "Also point this channel to it"),
    ("notes" = Option<String>, Query, description = "Release notes"),
    ("commit" = Option<String>, Query, description = "Git commit it was built from"),
    ("tag" = Option<String>, Query, description = "Git tag at that commit"),
    ("dirty" = Option<bool>, Query, description = "Whether what was built differed from that commit"),
    ("requires" = Option<String>, Query, description = "The lowest version that may update to this one directly"),
    ("allow" = Option<String>, Query, description = "Checks of the gate to overrule, with commas between"),
    ("file" = Option<String>, Query, description = "The image's file, as the sentences of the gate are to call it"),
), request_body(content = Vec<u8>, content_type = "application/octet-stream"), responses(
    (status = 201, body = Published), (status = 400, body = Refusal), (status = 408, body = api::Problem), (status = 409, body = Refusal)))]
pub(crate) async fn publish(
    caller: Caller,
    State(releases): State<Releases>,
    State(uploads): State<Uploads>,
    Own(product): Own<ProductName>,
    Permitted(publication): Permitted<api::Publication>,
    request: axum::extract::Request,
) -> Result<Response, Problem> {
    let promote = publication.promote.clone();
    let publication = asked_for(product, publication)?;
    let image = image_of(&uploads, request).await?;
    match releases.publish(caller.by(), publication, promote, image).await {
        Ok(published) => Ok((StatusCode::CREATED, Json(published)).into_response()),
        Err(Error::Gate { error, judgement }) => Ok(Problem::from(*error).refusing(*judgement)),
        Err(error) => Err(error.into()),
    }
}

/// What the gate says of the image in the body. Nothing is published, and 200 also means `refused`.
#[utoipa::path(post, path = "/api/v1/products/{p}/releases/check", tag = "releases", params(
    ("p" = String, Path),
    ("version" = Option<String>, Query, description = "SemVer; may be left out if the image says its own"),
    ("allow" = Option<String>, Query, description = "Checks of the gate to overrule, with commas between"),
    ("file" = Option<String>, Query, description = "The image's file, as the sentences of the gate are to call it"),
), request_body(content = Vec<u8>, content_type = "application/octet-stream"), responses(
    (status = 200, body = Judgement), (status = 408, body = api::Problem)))]
pub(crate) async fn check(
    State(releases): State<Releases>,
    State(uploads): State<Uploads>,
    Own(product): Own<ProductName>,
    Permitted(asked): Permitted<CheckQuery>,
    request: axum::extract::Request,
) -> Answer<Judgement> {
    let (allow, file) = (allowed(asked.allow.as_deref())?, file_name(asked.file)?);
    let publication = Publication { version: asked.version, allow, file, ..Publication::new(product) };
    let image = image_of(&uploads, request).await?;
    Ok(Json(releases.judge(publication, image).await?))
}

/// One release.
#[utoipa::path(get, path = "/api/v1/products/{p}/releases/{version}", tag = "releases",
    params(("p" = String, Path), ("version" = String, Path)), responses((status = 200, body = Release), (status = 404, body = api::Problem)))]
pub(crate) async fn show(
    State(releases): State<Releases>,
    Own((product, version)): Own<(ProductName, Version)>,
) -> Answer<Release> {
    Ok(Json(releases.show(&product, &version).await?))
}

/// Channels, and what they point to.
#[utoipa::path(get, path = "/api/v1/products/{p}/channels", tag = "releases", params(("p" = String, Path)), responses(
    (status = 200, body = Page<Channel>), (status = 404, body = api::Problem)))]
pub(crate) async fn channels(
    State(releases): State<Releases>,
    Own(product): Own<ProductName>,
) -> Answer<Page<Channel>> {
    Ok(Json(Page { items: releases.channels(&product).await?, next: None }))
}

/// Promotes a release into a channel. A blocked one is refused.
#[utoipa::path(put, path = "/api/v1/products/{p}/channels/{c}", tag = "releases",
    params(("p" = String, Path), ("c" = String, Path)), request_body = Promotion,
    responses((status = 200, body = Channel), (status = 404, body = api::Problem), (status = 409, body = api::Problem)))]
pub(crate) async fn promote(
    caller: Caller,
    State(releases): State<Releases>,
    Own((product, channel)): Own<(ProductName, ChannelName)>,
    Body(promotion): Body<Promotion>,
) -> Answer<Channel> {
    Ok(Json(releases.promote(caller.by(), &product, &promotion.version, &channel).await?))
}

/// The blocked list, and whether it can be read at all.
#[utoipa::path(get, path = "/api/v1/products/{p}/blocked", tag = "releases", params(("p" = String, Path)), responses(
    (status = 200, body = BlockedList), (status = 404, body = api::Problem)))]
pub(crate) async fn blocked(
    State(releases): State<Releases>,
    Own(product): Own<ProductName>,
) -> Answer<BlockedList> {
    Ok(Json(releases.blocked(&product).await?))
}

/// Blocks a version, published or not: it is never offered again.
#[utoipa::path(put, path = "/api/v1/products/{p}/blocked/{version}", tag = "releases",
    params(("p" = String, Path), ("version" = String, Path)), request_body = Blocking,
    responses((status = 204), (status = 404, body = api::Problem), (status = 409, body = api::Problem)))]
pub(crate) async fn block(
    caller: Caller,
    State(releases): State<Releases>,
    Path((product, version)): Path<(ProductName, Version)>,
    OptionalBody(blocking): OptionalBody<Blocking>,
) -> Done {
    let Blocking { reason, security } = blocking.unwrap_or_default();
    releases.block(caller.by(), &product, &version, reason.trim()).await?;
    // Of a version that is not published nobody knows what is above it: it is blocked all the same.
    if security {
        releases.raise_secure_version(caller.by(), &product, &version).await?;
    }
    Ok(StatusCode::NO_CONTENT)
}

/// Unblocks a version.
#[utoipa::path(delete, path = "/api/v1/products/{p}/blocked/{version}", tag = "releases",
    params(("p" = String, Path), ("version" = String, Path)), responses((status = 204), (status = 404, body = api::Problem), (status = 409, body = api::Problem)))]
pub(crate) async fn unblock(
    caller: Caller,
    State(releases): State<Releases>,
    Path((product, version)): Path<(ProductName, Version)>,
) -> Done {
    releases.unblock(caller.by(), &product, &version).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Looks at the bucket now instead of at the next interval, after another program changed it.
#[utoipa::path(post, path = "/api/v1/products/{p}/refresh", tag = "releases", params(("p" = String, Path)), responses(
    (status = 204), (status = 404, body = api::Problem)))]
pub(crate) async fn refresh(State(releases): State<Releases>, Own(product): Own<ProductName>) -> Done {
    releases.refresh(&product).await?;
    Ok(StatusCode::NO_CONTENT)
}

impl Publishing for api::Publication {
    fn promotes(&self) -> bool {
        self.promote.is_some()
    }
}

impl Publishing for CheckQuery {}

fn asked_for(product: ProductName, asked: api::Publication) -> Result<Publication, Problem> {
    let text = |text: Option<String>| text.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
    Ok(Publication {
        version: asked.version,
        notes: text(asked.notes),
        commit: text(asked.commit),
        tag: text(asked.tag),
        dirty: asked.dirty,
        requires: asked.requires,
        allow: allowed(asked.allow.as_deref())?,
        file: file_name(asked.file)?,
        ..Publication::new(product)
    })
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
