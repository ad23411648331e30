//! Whether the server lives, whether it can work, and its figures.

use std::collections::HashMap;
use std::fmt::Write;

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use contract::Code;

use super::problem::Problem;
use crate::model::{Counts, Health};
use crate::router::Web;

fn healthy() -> Json<Health> {
    Json(Health { status: "ok".to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() })
}

/// The process lives.
#[utoipa::path(get, path = "/healthz", tag = "health", security(()), responses((status = 200, body = Health)))]
pub(crate) async fn healthz() -> Json<Health> {
    healthy()
}

/// Database, store and broker answer.
#[utoipa::path(get, path = "/readyz", tag = "health", security(()), responses(
    (status = 200, body = Health), (status = 503, body = api::Problem)))]
pub(crate) async fn readyz(State(web): State<Web>) -> Result<Json<Health>, Problem> {
    let problems = web.app.problems().await;
    if problems.is_empty() { Ok(healthy()) } else { Err(Problem::later(problems.join("; "))) }
}

/// `GET /metrics`: Prometheus text, version 0.0.4.
pub(crate) async fn metrics(State(web): State<Web>) -> Result<Response, Problem> {
    let counts = web.app.counts(None).await?;
    let codes = web.app.newest_codes().await?;
    let problems = web.app.problems().await.len();
    let text = exposition(&counts, &codes, problems, web.streams.available_permits());
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response())
}

fn exposition(counts: &Counts, codes: &HashMap<Code, u64>, problems: usize, free_streams: usize) -> String {
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
    line("updraft_messages_total", "counter", "Messages taken from devices.", &plain(counts.messages));
    line("updraft_problems", "gauge", "Things that do not answer: store, broker.", &plain(problems as u64));
    let streams = 256_u64.saturating_sub(free_streams as u64);
    line("updraft_event_streams", "gauge", "Open streams of events.", &plain(streams));
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::UpdateState;

    #[test]
    fn metrics_are_prometheus_text() {
        let counts =
            Counts { devices: 3, online: 2, newest: [(UpdateState::RolledBack, 1)].into(), messages: 9 };
        let codes = [(Code::CrashLoop, 2), (Code::WrongChip, 1)].into();
        let text = exposition(&counts, &codes, 0, 256);
        assert!(text.contains("# TYPE updraft_devices gauge\nupdraft_devices 3\n"));
        assert!(text.contains("updraft_devices_by_newest_update{state=\"rolled_back\"} 1\n"));
        assert!(text.contains(
            "updraft_devices_by_newest_update_code{code=\"wrong_chip\"} 1\n\
             updraft_devices_by_newest_update_code{code=\"crash_loop\"} 2\n"
        ));
        assert!(text.ends_with("updraft_event_streams 0\n"));
    }
}
