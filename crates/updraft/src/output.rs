//! What a person reads on the terminal: errors on stderr, data on stdout.

use std::fmt::{Display, Write as _};
use std::io::{IsTerminal, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use chrono::{DateTime, Utc};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use store::StoreError;

use crate::advice;

/// The command was called wrongly: exit code 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Usage(pub(crate) String);

/// Prints a line for a person who watches; that nobody reads it stops nothing.
macro_rules! say {
    ($($text:tt)*) => { $crate::output::say(format_args!($($text)*)) };
}

/// Prints a line of what was asked for. Without a reader, as with `| head`, the command ends.
macro_rules! answer {
    ($($text:tt)*) => { $crate::output::answer(format_args!($($text)*)) };
}

/// The same, on stderr.
macro_rules! warn {
    ($($text:tt)*) => { $crate::output::warn(format_args!($($text)*)) };
}

pub(crate) fn warn(text: std::fmt::Arguments<'_>) {
    let _ = writeln!(std::io::stderr(), "{}", harmless(&text.to_string()));
}

pub(crate) fn say(text: std::fmt::Arguments<'_>) {
    let _ = writeln!(std::io::stdout(), "{}", harmless(&text.to_string()));
}

pub(crate) fn answer(text: std::fmt::Arguments<'_>) {
    let Err(error) = writeln!(std::io::stdout(), "{}", harmless(&text.to_string())) else { return };
    if error.kind() != std::io::ErrorKind::BrokenPipe {
        warn!("updraft: cannot write the answer: {error}");
    }
    std::process::exit(1);
}

/// Prints an error and what caused it, and answers the exit code.
pub(crate) fn error(error: &anyhow::Error) -> ExitCode {
    warn!("updraft: {}", plain(&sentence(error)));
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
    text.chars().map(shown).collect()
}

fn shown(c: char) -> char {
    if api::is_hidden(c) && !matches!(c, '\n' | '\t') { ' ' } else { c }
}

/// All that is printed: nothing is left of what a device or a bucket wrote to move the cursor, and of ours only colours.
fn harmless(text: &str) -> String {
    let mut parts = text.split("\x1b[");
    let mut whole = plain(parts.next().unwrap_or_default());
    for part in parts {
        let digits = part.bytes().take_while(u8::is_ascii_digit).count();
        if part[digits..].starts_with('m') {
            whole.push_str("\x1b[");
        }
        whole.push_str(&plain(part));
    }
    whole
}

pub(crate) fn json(value: &impl Serialize) {
    let json = serde_json::to_string_pretty(value).expect("what we print can be written as JSON");
    answer!("{}", escaped(&json));
}

/// The same on one line.
pub(crate) fn compact(value: &impl Serialize) -> String {
    escaped(&serde_json::to_string(value).expect("what we print can be written as JSON"))
}

/// The same JSON with what no terminal is to see escaped. It stands in strings only.
fn escaped(json: &str) -> String {
    let mut escaped = String::with_capacity(json.len());
    for c in json.chars() {
        if shown(c) == c {
            escaped.push(c);
        } else {
            let _ = write!(escaped, "\\u{:04x}", u32::from(c));
        }
    }
    escaped
}

/// Prints a list: for programs whole and in the shape of the API's pages, else as a table, or as `empty` if that is said.
pub(crate) fn list<T: Serialize, const N: usize>(
    items: Vec<T>,
    as_json: bool,
    empty: &str,
    heads: [&str; N],
    row: impl Fn(&T) -> [String; N],
) {
    if as_json {
        json(&api::Page { items, next: None });
    } else if items.is_empty() && !empty.is_empty() {
        answer!("{empty}");
    } else {
        table(heads, items.iter().map(row));
    }
}

pub(crate) fn table<const N: usize>(heads: [&str; N], rows: impl Iterator<Item = [String; N]>) {
    let rows: Vec<_> = std::iter::once(heads.map(str::to_owned)).chain(rows).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; N] = std::array::from_fn(width);
    let colour = has_colour(&std::io::stdout());
    for (number, row) in rows.iter().enumerate() {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(widths) {
            let _ = write!(line, "{cell:<width$}  ");
        }
        answer!("{}", painted("1", line.trim_end(), colour && number == 0));
    }
}

/// Whether what is written there may have colours.
pub(crate) fn has_colour(stream: &impl IsTerminal) -> bool {
    stream.is_terminal() && std::env::var_os("NO_COLOR").is_none()
}

/// Text in a terminal's colour of that code.
pub(crate) fn painted(code: &str, text: &str, colour: bool) -> String {
    if colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
}

/// Somebody else's text on one line: control characters are taken out.
pub(crate) fn line(text: &str) -> String {
    text.chars().map(|c| if api::is_hidden(c) { ' ' } else { c }).collect()
}

/// What may be known, as a cell: `-` if it is not.
pub(crate) fn cell(value: Option<impl Display>) -> String {
    value.map_or_else(|| "-".into(), |value| line(&value.to_string()))
}

/// An answer to a question, as a cell.
pub(crate) fn yes(is_so: bool) -> &'static str {
    if is_so { "yes" } else { "no" }
}

pub(crate) fn ago(then: Option<DateTime<Utc>>) -> String {
    let Some(then) = then else { return "-".into() };
    let seconds = (Utc::now() - then).num_seconds().max(0);
    match seconds {
        0..60 => format!("{seconds} s ago"),
        60..3600 => format!("{} min ago", seconds / 60),
        3600..86_400 => format!("{} h ago", seconds / 3600),
        _ => format!("{} d ago", seconds / 86_400),
    }
}

/// A sign of life while something takes long that tells nothing meanwhile.
pub(crate) fn waiting(what: &str) -> ProgressBar {
    let spinner = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    spinner.set_message(what.to_owned());
    spinner.enable_steady_tick(Duration::from_millis(200));
    spinner
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

#[cfg(test)]
mod tests {
    use super::*;

    const EVIL: &str = "a\x1b[2Jb\x1b]0;title\x07c\u{9b}31md\u{202e}e\u{2066}f\r\x7fg";

    #[test]
    fn what_others_wrote_moves_no_cursor_and_reverses_no_text() {
        for shown in [line(EVIL), plain(EVIL), harmless(EVIL)] {
            assert!(!shown.chars().any(api::is_hidden), "{shown:?}");
            assert!(shown.starts_with('a') && shown.ends_with('g'), "{shown:?}");
        }
        let ours = format!("{}\n\tx", painted("1", "bold", true));
        assert_eq!(harmless(&ours), ours);
    }

    #[test]
    fn json_for_programs_says_the_same_and_shows_a_terminal_nothing() {
        let json = escaped(&serde_json::to_string_pretty(&[EVIL]).expect("JSON"));
        assert!(!json.chars().any(|c| api::is_hidden(c) && c != '\n'), "{json:?}");
        assert_eq!(serde_json::from_str::<Vec<String>>(&json).expect("JSON"), [EVIL]);
    }
}
