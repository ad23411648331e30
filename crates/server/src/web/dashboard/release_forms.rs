//! What can be done to releases: promote, block, unblock, read again.

use axum::extract::State;
use axum::response::Response;
use contract::{ChannelName, ProductName, Version};

use super::form::Fields;
use super::said::{Said, done};
use super::visit::Visit;
use crate::releases::Releases;
use crate::web::extract::Path;
use crate::web::problem::Problem;

/// `POST /releases/{product}/promote`.
pub(crate) async fn promote(
    State(releases): State<Releases>,
    visit: Visit,
    Path(product): Path<ProductName>,
    fields: Fields,
) -> Response {
    let promoted = async {
        let version: Version = fields.valid("version")?;
        let channel = fields.optional("channel")?.unwrap_or_else(ChannelName::production);
        Ok(done(
            releases.promote(&product, &version, &channel).await,
            &format!("{version} is in {channel}"),
            "Check update offers it to devices from now on.",
        ))
    };
    answer(&visit, &product, promoted.await)
}

/// `POST /releases/{product}/block`.
pub(crate) async fn block(
    State(releases): State<Releases>,
    visit: Visit,
    Path(product): Path<ProductName>,
    fields: Fields,
) -> Response {
    let blocked = async {
        let version: Version = fields.valid("version")?;
        let reason = fields.text("reason").ok_or_else(|| {
            Problem::invalid("say why: the reason is shown wherever the version is refused")
        })?;
        Ok(done(
            releases.block(&product, &version, reason).await,
            &format!("{version} is blocked"),
            "It is not offered to any device again.",
        ))
    };
    answer(&visit, &product, blocked.await)
}

/// `POST /releases/{product}/unblock`.
pub(crate) async fn unblock(
    State(releases): State<Releases>,
    visit: Visit,
    Path(product): Path<ProductName>,
    fields: Fields,
) -> Response {
    let unblocked = async {
        let version: Version = fields.valid("version")?;
        Ok(done(
            releases.unblock(&product, &version).await,
            &format!("{version} is not blocked any more"),
            "It may be promoted and offered again.",
        ))
    };
    answer(&visit, &product, unblocked.await)
}

/// `POST /releases/{product}/refresh`.
pub(crate) async fn refresh(
    State(releases): State<Releases>,
    visit: Visit,
    Path(product): Path<ProductName>,
) -> Response {
    let said = done(releases.refresh(&product).await, "Looked again", "This is what the bucket holds now.");
    answer(&visit, &product, Ok(said))
}

fn answer(visit: &Visit, product: &ProductName, result: Result<Said, Problem>) -> Response {
    let said = result.unwrap_or_else(Said::failed);
    visit.answer(&said.about("releases"), &format!("/releases/{product}"))
}
