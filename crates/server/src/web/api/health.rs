//! Whether the server lives, whether it can work, and its figures.

use std::collections::HashMap;
use std::fmt::Write;
use std::sync::Arc;

use api::Identity;
use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use contract::Code;
use listen::Connections;

use crate::devices::{Counts, Devices};
use crate::health::Health;
use crate::updates::{Messages, Rollouts, Updates};
use crate::web::limits::Streams;
use crate::web::problem::{Answer, Problem};

fn works(warnings: Vec<String>) -> Json<api::Health> {
    Json(api::Health { status: "ok".to_owned(), version: env!("CARGO_PKG_VERSION").to_owned(), warnings })
}

/// The process lives.
#[utoipa::path(get, path = "/healthz", tag = "health", responses((status = 200, body = api::Health)))]
pub(crate) async fn healthz() -> Json<api::Health> {
    works(Vec::new())
}

/// Database, store and broker answer. What works and may not be as it should is said with it.
#[utoipa::path(get, path = "/readyz", tag = "health", responses(
    (status = 200, body = api::Health), (status = 503, body = api::Problem)))]
pub(crate) async fn readyz(
    State(health): State<Health>,
    State(updates): State<Updates>,
) -> Answer<api::Health> {
    let problems = health.problems().await;
    let warnings = updates.warning().map(|cause| cause.sentence()).into_iter().collect();
    if problems.is_empty() { Ok(works(warnings)) } else { Err(Problem::later(problems.join("; "))) }
}

/// `GET /metrics`: Prometheus text, version 0.0.4.
pub(crate) async fn metrics(
    State(devices): State<Devices>,
    State(updates): State<Updates>,
    State(rollouts): State<Rollouts>,
    State(messages): State<Messages>,
    State(health): State<Health>,
    State(streams): State<Streams>,
    State(listeners): State<Arc<[Connections]>>,
) -> Result<Response, Problem> {
    let figures = Figures {
        counts: devices.counts(None).await?,
        codes: updates.newest_codes().await?,
        rollouts: rollouts.active().await?,
        messages: messages.taken(),
        problems: health.problems().await.len(),
        streams: streams.count(),
        connections: listeners
            .iter()
            .map(|listener| (listener.listener(), listener.open() as u64, listener.refused()))
            .collect(),
    };
    let text = exposition(&figures);
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response())
}

struct Figures {
    counts: Counts,
    codes: HashMap<Code, u64>,
    /// Running ones, and paused ones.
    rollouts: (u64, u64),
    messages: u64,
    problems: usize,
    streams: usize,
    /// By listener: open ones, and refused ones.
    connections: Vec<(&'static str, u64, u64)>,
}

fn exposition(figures: &Figures) -> String {
    let Figures { counts, codes, rollouts, messages, problems, streams, connections } = figures;
    let mut text = String::new();
    let mut line = |name: &str, kind: &str, help: &str, values: &[(String, u64)]| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
        for (labels, value) in values {
            let _ = writeln!(text, "{name}{labels} {value}");
        }
    };
    let plain = |value: u64| vec![(String::new(), value)];
    line("updraft_devices", "gauge", "Devices known.", &plain(counts.devices));
    line("updraft_devices_online", "gauge", "Devices that can be reached now.", &plain(counts.online));
    let newest: Vec<_> = counts
        .newest
        .iter()
        .map(|(state, count)| (format!("{{state=\"{}\"}}", state.as_str()), *count))
        .collect();
    line(
        "updraft_devices_by_newest_update",
        "gauge",
        "Devices by the state of their newest update.",
        &newest,
    );
    let identities: Vec<_> = [Identity::Mislabelled, Identity::Foreign]
        .into_iter()
        .map(|of| (format!("{{identity=\"{of}\"}}"), counts.identities.get(&of).copied().unwrap_or_default()))
        .collect();
    line(
        "updraft_devices_by_identity",
        "gauge",
        "Devices whose image is another release than they name, or none.",
        &identities,
    );
    // In the contract's order, and only the contract's: a device cannot make a label.
    let coded: Vec<_> = Code::ALL
        .iter()
        .filter_map(|code| Some((format!("{{code=\"{code}\"}}"), *codes.get(code)?)))
        .collect();
    line(
        "updraft_devices_by_newest_update_code",
        "gauge",
        "Devices whose newest update failed or was rolled back, by the code that the device gave.",
        &coded,
    );
    let active = [("running", rollouts.0), ("paused", rollouts.1)];
    let active = active.map(|(state, count)| (format!("{{state=\"{state}\"}}"), count));
    line("updraft_rollouts", "gauge", "Rollouts that have not ended.", &active);
    line("updraft_messages_total", "counter", "Messages taken from devices.", &plain(*messages));
    line("updraft_problems", "gauge", "Things that do not answer: store, broker.", &plain(*problems as u64));
    line("updraft_event_streams", "gauge", "Open streams of events.", &plain(*streams as u64));
    let by_listener = |value: fn(&(&str, u64, u64)) -> u64| {
        let values = connections.iter().map(|of| (format!("{{listener=\"{}\"}}", of.0), value(of)));
        values.collect::<Vec<_>>()
    };
    line("updraft_connections", "gauge", "Open connections.", &by_listener(|of| of.1));
    let help = "Connections that were refused, or closed to make room for others.";
    line("updraft_connections_refused_total", "counter", help, &by_listener(|of| of.2));
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::UpdateState;

    #[test]
    fn metrics_are_prometheus_text() {
        let identities = [(Identity::Foreign, 2)].into();
        let newest = [(UpdateState::RolledBack, 1)].into();
        let counts = Counts { devices: 3, online: 2, newest, identities };
        let codes = [(Code::CrashLoop, 2), (Code::WrongChip, 1)].into();
        let connections = vec![("http", 5, 7)];
        let text = exposition(&Figures {
            counts,
            codes,
            rollouts: (1, 2),
            messages: 9,
            problems: 0,
            streams: 0,
            connections,
        });
        assert!(text.contains("# TYPE updraft_devices gauge\nupdraft_devices 3\n"));
        assert!(text.contains("updraft_devices_by_newest_update{state=\"rolled_back\"} 1\n"));
        assert!(text.contains(
            "updraft_devices_by_newest_update_code{code=\"wrong_chip\"} 1\n\
             updraft_devices_by_newest_update_code{code=\"crash_loop\"} 2\n"
        ));
        assert!(text.contains("updraft_rollouts{state=\"paused\"} 2\n"));
        assert!(text.contains("updraft_devices_by_identity{identity=\"mislabelled\"} 0\n"));
        assert!(text.contains("updraft_devices_by_identity{identity=\"foreign\"} 2\n"));
        assert!(text.contains("updraft_connections{listener=\"http\"} 5\n"));
        assert!(text.ends_with("updraft_connections_refused_total{listener=\"http\"} 7\n"));
    }
}
