//! Adding a device, and showing its password the only time.

use std::sync::Arc;

use api::{Product, RegisteredDevice};
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use contract::{DeviceId, ProductName, Topic, TopicKind};
use maud::{Markup, html};

use super::document::copyable;
use super::icon;
use super::visit::{Said, Section, Visit};
use crate::actor::Actor;
use crate::config::{BrokerConfig, MqttConfig};
use crate::devices::Devices;
use crate::web::cookies::Cookies;
use crate::web::extract::Fields;
use crate::web::problem::Problem;

pub(super) fn add_dialog(products: &[Product]) -> Markup {
    html! {
        dialog #add-device aria-labelledby="add-title" {
            form.stack method="post" action="/devices" data-answer="said-add" {
                div.title { h2 #add-title { "Add a device" } button.ghost.icon type="button" data-close aria-label="Close" { (icon::close()) } }
                div.stack.asking {
                    p.lead { "It gets an MQTT user name, which is its id, and a password of its own." }
                    label { span { "Device id" } input name="id" autofocus required maxlength="64" pattern="[A-Za-z0-9][A-Za-z0-9._:\\-]{0,63}" title="1 to 64 letters, digits, . _ : or -" placeholder="greenhouse-07" autocapitalize="none" spellcheck="false" autocomplete="off"; }
                    label { span { "Product" } input name="product" list="products" maxlength="63" pattern="[a-z0-9][a-z0-9_\\-]{0,62}" title="lower-case letters, digits, _ or -" placeholder=(products.first().map_or("esp32s3", |p| p.name.as_str())) autocapitalize="none" spellcheck="false" autocomplete="off"; }
                    datalist #products { @for product in products { option value=(product.name) {} } }
                    p.small { "Left empty: the default product, or the only one there is." }
                }
                div #said-add data-keep aria-live="polite" {}
                div.buttons.asking { button type="button" data-close { "Cancel" } button.primary type="submit" { "Add device" } }
            }
        }
    }
}

/// `POST /devices`: the only time the password is seen.
pub(crate) async fn add(
    State(devices): State<Devices>,
    State(mqtt): State<Arc<MqttConfig>>,
    State(cookies): State<Cookies>,
    visit: Visit,
    fields: Fields,
) -> Response {
    let broker = broker(&mqtt, &cookies);
    let credentials = |device| credentials(device, &mqtt, broker.as_deref());
    match register(&devices, visit.by(), &fields).await {
        Ok(device) if visit.fragment => {
            let answer = html! {
                (credentials(&device))
                div.buttons { button type="button" data-another { "Add another" } button.primary type="button" data-close { "Close" } }
            };
            answer.into_response()
        }
        Ok(device) => {
            let content = html! { div.head { h1 { "Device added" } } (credentials(&device)) p { a.button href={ "/devices/" (device.id) } { "Go to the device" } } };
            visit.page("Device added", Section::Devices, content).await
        }
        Err(problem) => visit.answer(&Said::failed(problem).about("all"), "/"),
    }
}

async fn register(devices: &Devices, by: &Actor, fields: &Fields) -> Result<RegisteredDevice, Problem> {
    let id: DeviceId = fields.valid("id")?;
    let product: Option<ProductName> = fields.optional("product")?;
    Ok(devices.register(by, &id, product.as_ref()).await?)
}

/// Everything that a device has to know; its form gives way to it.
fn credentials(device: &RegisteredDevice, mqtt: &MqttConfig, broker: Option<&str>) -> Markup {
    let topic = |kind| Topic { kind, device: device.id.clone() }.write(&mqtt.version_topic);
    html! {
        div.notice.good role="status" {
            strong tabindex="-1" data-announced { (device.id) " is registered" }
            span { "Copy the password now: it is shown this once and kept nowhere in the clear." }
            dl.credentials {
                @if let Some(broker) = broker { dt { "MQTT broker" } dd { (copyable(broker)) } }
                dt { "MQTT user name" } dd { (copyable(&device.mqtt_username)) }
                dt { "MQTT password" } dd { (copyable(&device.mqtt_password)) }
                dt { "Topic on which it is offered updates" } dd { (copyable(&topic(TopicKind::Trigger))) }
                dt { "Topic to which it reports how they ended" } dd { (copyable(&topic(TopicKind::Status))) }
                dt { "Topic to which it reports what it runs" } dd { (copyable(&topic(TopicKind::Version))) }
            }
        }
    }
}

/// Where devices reach the broker, as far as this server knows, and without the password that it has itself.
fn broker(mqtt: &MqttConfig, cookies: &Cookies) -> Option<String> {
    match &mqtt.url {
        BrokerConfig::Embedded if mqtt.listen.port() == 0 => None,
        BrokerConfig::Embedded if mqtt.listen.ip().is_unspecified() => {
            Some(format!("mqtt://{}:{}", cookies.host()?, mqtt.listen.port()))
        }
        BrokerConfig::Embedded => Some(format!("mqtt://{}", mqtt.listen)),
        BrokerConfig::External(url) => {
            let url: url::Url = url.expose().parse().ok()?;
            let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
            Some(format!("{}://{}{port}", url.scheme(), url.host_str()?))
        }
    }
}
