//! The fleet: who is there, what it runs, and what happens to it.

use std::collections::BTreeMap;
use std::collections::HashMap;

use axum::extract::Query;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use contract::{DeviceId, ProductName, Topic, TopicKind, Version};
use maud::{Markup, html};
use serde::Deserialize;

use super::form::Fields;
use super::{PageError, Said, Section, Tone, Visit, copyable, empty, icon, progress, words};
use crate::api::problem::Problem;
use crate::config::BrokerConfig;
use crate::model::{Counts, Device, DeviceQuery, Page, Product, RegisteredDevice, UpdateState};
use crate::session::Right;

/// Rows a page.
const ROWS: u32 = 50;
/// As many devices are checked without asking.
const UNASKED: usize = 10;

/// What the form above the table says; empty fields are absent.
#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct Filter {
    #[serde(default)]
    pub(crate) q: String,
    #[serde(default)]
    pub(crate) product: String,
    #[serde(default)]
    pub(crate) state: String,
    #[serde(default)]
    pub(crate) cursor: String,
}

impl Filter {
    fn is_empty(&self) -> bool {
        self.q.is_empty() && self.product.is_empty() && self.state.is_empty()
    }

    fn query(&self) -> Result<DeviceQuery, Problem> {
        let text = |text: &str| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
        let product = match self.product.as_str() {
            "" => None,
            name => Some(name.parse::<ProductName>().map_err(|error| Problem::invalid(error.to_string()))?),
        };
        Ok(DeviceQuery {
            product,
            tag: None,
            state: text(&self.state),
            q: text(&self.q),
            cursor: text(&self.cursor),
            limit: Some(ROWS),
        })
    }

    /// This page's address with another state or cursor.
    fn href(&self, state: &str, cursor: &str) -> String {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        for (key, value) in
            [("q", self.q.as_str()), ("product", &self.product), ("state", state), ("cursor", cursor)]
        {
            if !value.is_empty() {
                query.append_pair(key, value);
            }
        }
        let query = query.finish();
        if query.is_empty() { "/".to_owned() } else { format!("/?{query}") }
    }
}

/// `GET /`.
pub(crate) async fn page(visit: Visit, Query(filter): Query<Filter>) -> Result<Response, PageError> {
    let query = filter.query()?;
    let app = &visit.web.app;
    let devices = app.devices(&query).await?;
    let counts = app.counts(query.product.as_ref()).await?;
    // The table is worth showing without them: they come from the bucket.
    let products = app.products().await.unwrap_or_default();
    let content = view(&visit, &filter, &devices, &counts, &products);
    Ok(visit.page("Devices", Section::Devices, content).await)
}

fn view(
    visit: &Visit,
    filter: &Filter,
    devices: &Page<Device>,
    counts: &Counts,
    products: &[Product],
) -> Markup {
    let operates = visit.may(Right::Operate);
    html! {
        div.head {
            div {
                h1 { "Devices" }
                @if !products.is_empty() { p.sub { @if products.len() == 1 { (products[0].name) } @else { (words::counted(products.len() as u64, "product")) } } }
            }
            @if operates {
                div.actions {
                    @if !devices.items.is_empty() { (check_all_form(filter, devices)) }
                    button.primary type="button" data-open="add-device" { (icon::plus()) "Add device" }
                }
            }
        }
        (visit.said_about("all"))
        (tiles(filter, counts))
        @if counts.devices == 0 && filter.is_empty() {
            (nothing_yet(operates))
        } @else {
            (filters(filter, products))
            @if devices.items.is_empty() {
                div.empty.small {
                    h2 { "No device fits" }
                    p { "Nothing matches this search. " a href="/" { "Show all devices" } }
                }
            } @else {
                (table(visit, filter, &devices.items, products))
                nav.pager aria-label="Pages" {
                    @if !filter.cursor.is_empty() { a.button href=(filter.href(&filter.state, "")) { "First page" } }
                    @if let Some(next) = &devices.next { a.button href=(filter.href(&filter.state, next)) rel="next" { "Next page" } }
                }
            }
        }
        @if operates {
            (add_dialog(products))
            @if asks(devices) { (check_all_dialog(filter, devices)) }
        }
    }
}

fn tiles(filter: &Filter, counts: &Counts) -> Markup {
    let of = |states: &[UpdateState]| states.iter().filter_map(|state| counts.newest.get(state)).sum::<u64>();
    let updating = of(&[UpdateState::Offered, UpdateState::Downloading, UpdateState::Restarting]);
    let failed = of(&[UpdateState::Failed, UpdateState::RolledBack, UpdateState::TimedOut]);
    let inside = |count: u64, label: &str| html! { span.figure { (words::grouped(count)) } span.label { span.dot {} (label) } };
    let link = |state: &str, class: &str, count: u64, label: &str| {
        html! { a.tile.(class) href=(filter.href(state, "")) aria-current=[(filter.state == state).then_some("true")] { (inside(count, label)) } }
    };
    let tile = |class: &str, count: u64, label: &str| html! { div.tile.(class) { (inside(count, label)) } };
    html! {
        div.tiles {
            (link("", "quiet", counts.devices, "All devices"))
            (link("online", "good", counts.online, "Online"))
            (tile(if updating > 0 { "info moving" } else { "quiet" }, updating, "Updating"))
            (tile(if failed > 0 { "bad" } else { "quiet" }, failed, "Last update failed"))
        }
    }
}

fn filters(filter: &Filter, products: &[Product]) -> Markup {
    let states = [
        ("", "Any state"),
        ("online", "Online"),
        ("offline", "Offline"),
        ("downloading", "Downloading"),
        ("restarting", "Restarting"),
        ("succeeded", "Succeeded"),
        ("failed", "Failed"),
        ("rolled_back", "Rolled back"),
        ("timed_out", "Timed out"),
    ];
    html! {
        form.filters method="get" action="/" role="search" data-auto {
            label.search { (icon::search()) input type="search" name="q" value=(filter.q) placeholder="Search by id" aria-label="Search by id" autocapitalize="none" spellcheck="false"; }
            @if products.len() > 1 || !filter.product.is_empty() {
                select name="product" aria-label="Product" {
                    option value="" { "All products" }
                    @for product in products { option value=(product.name) selected[filter.product == product.name.as_str()] { (product.name) } }
                }
            }
            select name="state" aria-label="State" {
                @for (value, label) in states { option value=(value) selected[filter.state == value] { (label) } }
            }
            button type="submit" { "Show" }
        }
    }
}

fn table(visit: &Visit, filter: &Filter, devices: &[Device], products: &[Product]) -> Markup {
    let production: HashMap<_, _> = products.iter().map(|p| (&p.name, p.production.as_ref())).collect();
    let show_product = products.len() > 1 && filter.product.is_empty();
    html! {
        div.card.flush {
            table.devices {
                thead { tr {
                    th { "Device" }
                    th { "Version" }
                    th { "Connection" }
                    th { "Last update" }
                    @if visit.may(Right::Operate) { th.end { span.hidden { "Actions" } } }
                } }
                tbody {
                    @for device in devices {
                        @let available = device.product.as_ref().and_then(|p| production.get(p).copied().flatten());
                        (row(visit, device, available, show_product))
                    }
                }
            }
        }
    }
}

fn row(visit: &Visit, device: &Device, production: Option<&Version>, show_product: bool) -> Markup {
    let available =
        production.filter(|wanted| device.version.as_ref().is_some_and(|running| running < *wanted));
    let moving = device.update.as_ref().is_some_and(progress::in_flight);
    let idle = if moving {
        Some("An update is on its way")
    } else if !device.online && device.last_seen.is_none() {
        Some("It was never seen, so nobody knows what it runs")
    } else {
        None
    };
    html! {
        tr id={ "row-" (device.id) } {
            td.name {
                a.id href={ "/devices/" (device.id) } { (device.id) }
                @let unsigned = words::takes_unsigned(&device.lacks);
                @if show_product || unsigned || !device.tags.is_empty() {
                    div.small {
                        @if unsigned { span.tag.unsigned title=(words::lack("signatures").1) { "takes unsigned" } }
                        @if show_product { @if let Some(product) = &device.product { span { (product) } } @else { span { "no product" } } }
                        @for tag in &device.tags { span.tag { (tag) } }
                    }
                }
            }
            td data-label="Version" {
                div.line {
                    @if let Some(version) = &device.version { span.version.strong { (version) } } @else { span.small { "not reported" } }
                    @if let Some(wanted) = available { span.hint title={ (wanted) " is in production" } { (icon::rising()) (wanted) } }
                }
            }
            td data-label="Connection" { (presence(device)) }
            td.last data-label="Last update" {
                @if let Some(update) = &device.update { (progress::brief(update)) } @else { span.small { "never" } }
                (visit.said_about_device(device))
            }
            @if visit.may(Right::Operate) {
                td.end {
                    form method="post" action={ "/devices/" (device.id) "/check" } data-answer={ "said-" (device.id) } {
                        input type="hidden" name="back" value="list";
                        button type="submit" aria-label={ "Check update for " (device.id) } disabled[idle.is_some()] title=[idle] { "Check update" }
                    }
                }
            }
        }
    }
}

/// Online, or when it was last heard.
pub(crate) fn presence(device: &Device) -> Markup {
    html! {
        span class={ "presence " (if device.online { "good" } else { "quiet" }) } {
            span.dot {}
            @if device.online { "Online" }
            @else if let Some(seen) = device.last_seen { span { "Seen " (words::ago(seen)) } }
            @else { "Never seen" }
        }
    }
}

/// At once for a few devices; for many there is [`check_all_dialog`].
fn check_all_form(filter: &Filter, devices: &Page<Device>) -> Markup {
    let label = html! { (icon::again()) "Check all " span.number { (devices.items.len()) } @if asks(devices) { "…" } };
    html! {
        @if asks(devices) { button type="button" data-open="check-all" title="Checks each device in this list" { (label) } }
        @else {
            form method="post" action="/devices/check" data-answer="said-all" {
                (listed(filter, devices))
                button type="submit" title="Checks each device in this list" { (label) }
            }
        }
    }
}

fn asks(devices: &Page<Device>) -> bool {
    devices.items.len() > UNASKED
}

fn check_all_dialog(filter: &Filter, devices: &Page<Device>) -> Markup {
    let all = words::counted(devices.items.len() as u64, "device");
    html! {
        dialog #check-all aria-labelledby="check-all-title" {
            form.stack method="post" action="/devices/check" data-answer="said-all" {
                div.title { h2 #check-all-title { "Check update for " (all) "?" } button.ghost.icon type="button" data-close aria-label="Close" { (icon::close()) } }
                p.lead { "Each device of this page that runs an older version than production points to is offered the update at once." }
                (listed(filter, devices))
                div.buttons { button type="button" data-close autofocus { "Cancel" } button.primary type="submit" { "Check " (all) } }
            }
        }
    }
}

fn listed(filter: &Filter, devices: &Page<Device>) -> Markup {
    html! {
        input type="hidden" name="to" value=(filter.href(&filter.state, &filter.cursor));
        @for device in &devices.items { input type="hidden" name="id" value=(device.id); }
    }
}

fn nothing_yet(operates: bool) -> Markup {
    let text = if operates {
        "Add the first one here, or on the server with the command below. Its MQTT password is shown once."
    } else {
        "Devices appear here once somebody adds them."
    };
    empty(
        &icon::chip(),
        "No devices yet",
        text,
        operates.then_some("updraft device add esp-01 --product esp32s3"),
    )
}

fn add_dialog(products: &[Product]) -> Markup {
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
pub(crate) async fn add(visit: Visit, fields: Fields) -> Response {
    match register(&visit, &fields).await {
        Ok(device) if visit.fragment => {
            let answer = html! {
                (credentials(&visit, &device))
                div.buttons { button type="button" data-another { "Add another" } button.primary type="button" data-close { "Close" } }
            };
            answer.into_response()
        }
        Ok(device) => {
            let content = html! { div.head { h1 { "Device added" } } (credentials(&visit, &device)) p { a.button href={ "/devices/" (device.id) } { "Go to the device" } } };
            visit.page("Device added", Section::Devices, content).await
        }
        Err(problem) => visit.answer(&Said::failed(problem).about("all"), "/"),
    }
}

async fn register(visit: &Visit, fields: &Fields) -> Result<RegisteredDevice, Problem> {
    let id: DeviceId = fields.valid("id")?;
    let product: Option<ProductName> = fields.optional("product")?;
    Ok(visit.web.app.register_device(&id, product.as_ref()).await?)
}

/// Everything that a device has to be told; its form gives way to it.
fn credentials(visit: &Visit, device: &RegisteredDevice) -> Markup {
    let versions = &visit.web.app.config().mqtt.version_topic;
    let topic = |kind| Topic { kind, device: device.id.clone() }.write(versions);
    html! {
        div.notice.good role="status" {
            strong tabindex="-1" data-told { (device.id) " is registered" }
            span { "Copy the password now: it is shown this once and kept nowhere in the clear." }
            dl.credentials {
                @if let Some(broker) = broker(visit) { dt { "MQTT broker" } dd { (copyable(&broker)) } }
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
fn broker(visit: &Visit) -> Option<String> {
    let mqtt = &visit.web.app.config().mqtt;
    match &mqtt.url {
        BrokerConfig::Embedded if mqtt.listen.port() == 0 => None,
        BrokerConfig::Embedded if mqtt.listen.ip().is_unspecified() => {
            Some(format!("mqtt://{}:{}", visit.web.app.public_url().host_str()?, mqtt.listen.port()))
        }
        BrokerConfig::Embedded => Some(format!("mqtt://{}", mqtt.listen)),
        BrokerConfig::External(url) => {
            let url: url::Url = url.expose().parse().ok()?;
            let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
            Some(format!("{}://{}{port}", url.scheme(), url.host_str()?))
        }
    }
}

/// `POST /devices/check`: each device of the list, one after the other.
pub(crate) async fn check_all(visit: Visit, fields: Fields) -> Response {
    let to = fields.text("to").filter(|to| *to == "/" || to.starts_with("/?")).unwrap_or("/").to_owned();
    let mut decisions: BTreeMap<String, u64> = BTreeMap::new();
    let mut offered: BTreeMap<Version, u64> = BTreeMap::new();
    let mut stopped = None;
    for id in fields.all("id").take(ROWS as usize) {
        let Ok(id) = id.parse::<DeviceId>() else { continue };
        match visit.web.app.check_update(&id, false).await {
            Ok(answer) => {
                match &answer.version {
                    Some(version) if answer.decision == "offered" => {
                        *offered.entry(version.clone()).or_default() += 1;
                    }
                    _ => *decisions.entry(answer.decision.clone()).or_default() += 1,
                }
                // It would be the same sentence for all the others, each after a wait.
                if answer.decision == "store_unavailable" {
                    stopped = Some(answer.reason);
                    break;
                }
            }
            // Removed in the meantime.
            Err(crate::app::AppError::NotFound(_)) => {}
            Err(error) => {
                stopped = Some(Problem::from(error).detail);
                break;
            }
        }
    }
    visit.answer(&summary(&offered, &decisions, stopped.as_deref()).about("all"), &to)
}

/// What was begun comes first, then the other decisions with how many devices each was made for.
fn summary(
    offered: &BTreeMap<Version, u64>,
    decisions: &BTreeMap<String, u64>,
    stopped: Option<&str>,
) -> Said {
    let total: u64 = offered.values().chain(decisions.values()).sum();
    let mut sentences: Vec<_> = offered
        .iter()
        .map(|(version, count)| format!("{version} was offered to {}.", words::counted(*count, "device")))
        .collect();
    let others: Vec<_> =
        decisions.iter().map(|(word, count)| format!("{count} {}", words::decision_counted(word))).collect();
    if !others.is_empty() {
        sentences.push(format!("{}.", others.join(", ")));
    }
    if let Some(why) = stopped {
        sentences.push(format!("Stopped there: {}", super::sentence(why)));
    }
    let tone = if stopped.is_some() {
        Tone::Bad
    } else if !offered.is_empty() {
        Tone::Good
    } else {
        Tone::Info
    };
    Said::new(tone, format!("Checked {}", words::counted(total, "device")), sentences.join(" "))
}

/// A filter that cannot be read is the visitor's slip, not a page that does not exist.
impl From<axum::extract::rejection::QueryRejection> for PageError {
    fn from(_: axum::extract::rejection::QueryRejection) -> Self {
        Problem::new(StatusCode::BAD_REQUEST, "this address is malformed").into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_begins_with_what_was_offered() {
        let decisions = [("blocked".to_owned(), 1), ("up_to_date".to_owned(), 1)].into();
        let v = |version: &str| version.parse::<Version>().expect("a version");
        let offered = [(v("1.2.0"), 3), (v("2.0.0"), 1)].into();
        let said = summary(&offered, &decisions, None);
        assert_eq!(
            said.text,
            "1.2.0 was offered to 3 devices. 2.0.0 was offered to 1 device. 1 blocked, 1 up to date."
        );
        assert_eq!(said.title, "Checked 6 devices");
        let stopped = summary(&[].into(), &[("store_unavailable".to_owned(), 1)].into(), Some("no answer"));
        assert_eq!(stopped.text, "1 store unavailable. Stopped there: No answer.");
    }

    #[test]
    fn filters_keep_what_was_typed() {
        let filter = Filter { q: "a&b".into(), ..Filter::default() };
        assert_eq!(filter.href("online", ""), "/?q=a%26b&state=online");
        assert_eq!(Filter::default().href("", ""), "/");
    }
}
