//! What can be done to a device and its update.

use axum::extract::State;
use axum::response::Response;
use contract::DeviceId;

use super::advice::explained;
use super::form::Fields;
use super::said::{Said, done};
use super::tone::Tone;
use super::visit::Visit;
use super::words;
use crate::devices::Devices;
use crate::updates::Updates;
use crate::web::extract::Path;

/// `POST /devices/{id}/check`.
pub(crate) async fn check(
    State(updates): State<Updates>,
    visit: Visit,
    Path(id): Path<DeviceId>,
    fields: Fields,
) -> Response {
    let to = if fields.text("back") == Some("list") { "/".to_owned() } else { format!("/devices/{id}") };
    let said = match updates.check(&id, fields.text("force") == Some("true")).await {
        Ok(answer) => {
            let (title, tone) = words::decision(&answer.decision);
            Said::new(tone, title, answer.cause.as_ref().map(explained).unwrap_or_default())
                .announcing(answer.update.as_ref())
        }
        Err(error) => Said::failed(error),
    };
    visit.answer(&said.about(&id), &to)
}

/// `POST /updates/{id}/cancel`.
pub(crate) async fn cancel(
    State(updates): State<Updates>,
    visit: Visit,
    Path(number): Path<i64>,
) -> Response {
    match updates.cancel(number).await {
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

/// `POST /devices/{id}/clear-quarantine`.
pub(crate) async fn clear_quarantine(
    State(updates): State<Updates>,
    visit: Visit,
    Path(id): Path<DeviceId>,
) -> Response {
    let said = done(
        updates.clear_quarantine(&id).await,
        "Quarantine cleared",
        "Every image may be offered to this device again.",
    );
    visit.answer(&said.about("quarantine"), &format!("/devices/{id}"))
}

/// `POST /devices/{id}/remove`.
pub(crate) async fn remove(
    State(devices): State<Devices>,
    visit: Visit,
    Path(id): Path<DeviceId>,
) -> Response {
    match devices.remove(&id).await {
        Ok(()) => visit.go(&Said::new(Tone::Good, "Removed", format!("{id} is gone.")).about("all"), "/"),
        Err(error) => visit.answer(&Said::failed(error).about("quarantine"), &format!("/devices/{id}")),
    }
}
