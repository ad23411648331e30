//! What can be done to a device, its update and releases.

use api::{CheckRequest, DeviceChange};
use axum::extract::State;
use axum::response::Response;
use contract::{ChannelName, DeviceId, ProductName, Version};

use super::visit::{Said, Visit, done};
use super::words;
use super::words::{Tone, explained};
use crate::devices::Devices;
use crate::releases::Releases;
use crate::updates::{How, Updates};
use crate::web::extract::{Fields, Path};
use crate::web::problem::Problem;

pub(crate) async fn check(
    State(updates): State<Updates>,
    visit: Visit,
    Path(id): Path<DeviceId>,
    fields: Fields,
) -> Response {
    let to = if fields.text("back") == Some("list") { "/".to_owned() } else { format!("/devices/{id}") };
    let asked = |field| fields.text(field) == Some("true");
    let request =
        CheckRequest { force: asked("force"), when_online: asked("when_online"), ..CheckRequest::default() };
    let checked = async { updates.check(visit.by(), &id, How::of(&request)?).await };
    let said = match checked.await {
        Ok(answer) => {
            let (title, tone) = words::decision(&answer.decision);
            Said::new(tone, title, answer.cause.as_ref().map(explained).unwrap_or_default())
                .announcing(answer.update.as_ref())
        }
        Err(error) => Said::failed(error),
    };
    visit.answer(&said.about(&id), &to)
}

/// Its group and its pin; an empty field is none.
pub(crate) async fn change(
    State(devices): State<Devices>,
    visit: Visit,
    Path(id): Path<DeviceId>,
    fields: Fields,
) -> Response {
    let said = |field| fields.text(field).map(str::to_owned);
    let change = DeviceChange {
        group: Some(said("group")),
        pin: Some(said("pin")),
        pin_reason: said("reason"),
        ..DeviceChange::default()
    };
    let changed = devices.change(visit.by(), &id, &change).await.map(drop);
    let said = done(changed, "Saved", "It counts from the next check update on.");
    visit.answer(&said.about("kept"), &format!("/devices/{id}"))
}

pub(crate) async fn cancel(
    State(updates): State<Updates>,
    visit: Visit,
    Path(number): Path<i64>,
) -> Response {
    match updates.cancel(visit.by(), number).await {
        Ok(update) => {
            let text = format!(
                "{} is no longer offered. If the device has the image already, it may still install it.",
                update.to
            );
            visit.answer(
                &Said::new(Tone::Info, "Cancelled", text).about(&update.device),
                &format!("/devices/{}", update.device),
            )
        }
        Err(error) => visit.answer(&Said::failed(error).about("all"), "/"),
    }
}

pub(crate) async fn clear_quarantine(
    State(updates): State<Updates>,
    visit: Visit,
    Path(id): Path<DeviceId>,
) -> Response {
    let said = done(
        updates.clear_quarantine(visit.by(), &id).await,
        "Quarantine cleared",
        "Every image may be offered to this device again.",
    );
    visit.answer(&said.about("quarantine"), &format!("/devices/{id}"))
}

pub(crate) async fn remove(
    State(devices): State<Devices>,
    visit: Visit,
    Path(id): Path<DeviceId>,
) -> Response {
    match devices.remove(visit.by(), &id).await {
        Ok(()) => visit.go(&Said::new(Tone::Good, "Removed", format!("{id} is gone.")).about("all"), "/"),
        Err(error) => visit.answer(&Said::failed(error).about("quarantine"), &format!("/devices/{id}")),
    }
}

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
            releases.promote(visit.by(), &product, &version, &channel).await,
            &format!("{version} is in {channel}"),
            "Check update offers it to devices from now on.",
        ))
    };
    answer(&visit, &product, promoted.await)
}

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
        let security = fields.text("security").is_some();
        let then = if security {
            "It is not offered to any device again. What is signed stays signed: publish the next release with a higher secure version."
        } else {
            "It is not offered to any device again."
        };
        let raised = async {
            if security {
                releases.raise_secure_version(visit.by(), &product, &version).await
            } else {
                Ok(())
            }
        };
        let blocked = match raised.await {
            Ok(()) => releases.block(visit.by(), &product, &version, reason).await,
            Err(error) => Err(error),
        };
        Ok(done(blocked, &format!("{version} is blocked"), then))
    };
    answer(&visit, &product, blocked.await)
}

pub(crate) async fn unblock(
    State(releases): State<Releases>,
    visit: Visit,
    Path(product): Path<ProductName>,
    fields: Fields,
) -> Response {
    let unblocked = async {
        let version: Version = fields.valid("version")?;
        Ok(done(
            releases.unblock(visit.by(), &product, &version).await,
            &format!("{version} is not blocked any more"),
            "It may be promoted and offered again.",
        ))
    };
    answer(&visit, &product, unblocked.await)
}

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
