//! What a person reads on the terminal: errors on stderr, data on stdout.

use std::fmt::Write as _;
use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::Value;
use store::StoreError;

use crate::advice;

/// The command was called wrongly: exit code 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Usage(pub(crate) String);

/// Prints an error and what caused it, and answers the exit code.
pub(crate) fn error(error: &anyhow::Error) -> ExitCode {
    eprintln!("updraft: {}", plain(&sentence(error)));
    if error.is::<Usage>() { ExitCode::from(2) } else { ExitCode::FAILURE }
}

/// What failed and what caused it, nothing twice. What is below a store's own sentence is the text of a library, for logs.
fn sentence(error: &anyhow::Error) -> String {
    let mut sentence = String::new();
    for cause in error.chain() {
        let text = cause.to_string();
        if !sentence.ends_with(&text) {
            if !sentence.is_empty() {
                sentence.push_str(": ");
            }
            sentence.push_str(&text);
        }
        if let Some(error) = cause.downcast_ref::<StoreError>() {
            if let Some(advice) = advice::advice(error.cause()) {
                let _ = write!(sentence, "; {advice}");
            }
            break;
        }
    }
    sentence
}

/// Somebody else's text in a sentence of ours: nothing in it moves the cursor or hides what was said.
pub(crate) fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && !matches!(c, '\n' | '\t') { ' ' } else { c }).collect()
}

/// Whether a member of a JSON answer is a version.
pub(crate) fn is_version(value: &Value) -> bool {
    value.as_str().is_some_and(|text| text.parse::<contract::Version>().is_ok())
}

/// Prints data for programs.
pub(crate) fn json(value: &impl serde::Serialize) {
    println!("{}", serde_json::to_string_pretty(value).expect("what we print can be written as JSON"));
}

/// Prints a whole list for programs, in the shape of the API's pages.
pub(crate) fn json_list(items: &[Value]) {
    json(&serde_json::json!({"items": items, "next": null}));
}

/// Prints rows in columns, the first row as their heads.
pub(crate) fn table(rows: &[Vec<String>]) {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width =
        |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let bold = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    for (number, row) in rows.iter().enumerate() {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            let _ = write!(line, "{cell:<width$}  ");
        }
        let line = line.trim_end();
        if number == 0 && bold {
            println!("\x1b[1m{line}\x1b[0m");
        } else {
            println!("{line}");
        }
    }
}

/// A member of a JSON answer as a cell: `-` for null, control characters taken out.
pub(crate) fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".into(),
        Value::String(text) => text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect(),
        Value::Bool(yes) => if *yes { "yes" } else { "no" }.into(),
        other => other.to_string(),
    }
}

/// A number of bytes with its thousands apart.
pub(crate) fn bytes(value: &Value) -> String {
    value.as_u64().map_or_else(|| "-".into(), store::grouped)
}

/// How long ago, in words.
pub(crate) fn ago(value: &Value) -> String {
    let Some(then) = value.as_str().and_then(|text| chrono::DateTime::parse_from_rfc3339(text).ok()) else {
        return "-".into();
    };
    let seconds = (chrono::Utc::now() - then.to_utc()).num_seconds().max(0);
    match seconds {
        0..60 => format!("{seconds} s ago"),
        60..3600 => format!("{} min ago", seconds / 60),
        3600..86_400 => format!("{} h ago", seconds / 3600),
        _ => format!("{} d ago", seconds / 86_400),
    }
}

/// A bar for a transfer; nothing is drawn where stderr is no terminal.
pub(crate) fn progress(what: &str, bytes: u64) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(bytes), ProgressDrawTarget::stderr());
    let style = ProgressStyle::with_template("{msg} [{bar:30}] {bytes}/{total_bytes} {eta}");
    bar.set_style(style.expect("the template is well-formed").progress_chars("=> "));
    bar.set_message(what.to_owned());
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}
