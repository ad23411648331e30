//! `[[trusted_publisher]]`: which repositories' CI may publish without a secret, and what.
//!
//! An entry names a branch, a tag or an environment, always: with the repository alone, whoever opens a pull request
//! could publish. Entries exist in the file only; the environment has no way to spell a list.

use oidc::{RefPattern, TrustedPublisher, is_safe_issuer};
use store::Check;
use toml::{Table, Value};
use url::Url;

use super::keys::{flag, name, text};

/// GitHub's own issuer; a GitHub Enterprise Server has another.
pub const GITHUB_ISSUER: &str = "https://token.actions.githubusercontent.com";

pub(super) const SECTION: &str = "trusted_publisher";

/// Entries at most.
const PUBLISHERS_MAX: usize = 256;
/// Bytes of a text at most.
const TEXT_MAX_BYTES: usize = 255;

const KEYS: [&str; 9] = [
    "issuer",
    "repository",
    "repository_id",
    "repository_owner_id",
    "ref",
    "environment",
    "product",
    "may_promote",
    "allow",
];

/// A key of an entry and what is wrong with it.
pub(super) enum Wrong {
    /// There is no such key; the nearest that exists.
    Unknown(String, Option<String>),
    /// The key (empty: the entry) and the rest of the sentence.
    Value(&'static str, String),
}

/// Reads the whole list. On failure: the entry's number, from 1, and what is wrong.
pub(super) fn read(value: &Value) -> Result<Vec<TrustedPublisher>, (usize, Wrong)> {
    let tables = value
        .as_array()
        .ok_or_else(|| (1, Wrong::Value("", format!("must be written with two brackets: [[{SECTION}]]"))))?;
    if tables.len() > PUBLISHERS_MAX {
        return Err((
            PUBLISHERS_MAX + 1,
            Wrong::Value("", format!("is one too many: {PUBLISHERS_MAX} are read")),
        ));
    }
    let entry = |(index, value): (usize, &Value)| {
        let table = value.as_table().ok_or_else(|| Wrong::Value("", "must be a table".to_owned()));
        table.and_then(publisher).map_err(|wrong| (index + 1, wrong))
    };
    tables.iter().enumerate().map(entry).collect()
}

fn publisher(table: &Table) -> Result<TrustedPublisher, Wrong> {
    if let Some(key) = table.keys().find(|key| !KEYS.contains(&key.as_str())) {
        return Err(Wrong::Unknown(key.clone(), nearest(key, KEYS).map(str::to_owned)));
    }
    let publisher = TrustedPublisher {
        issuer: optional(table, "issuer", issuer)?.unwrap_or_else(|| GITHUB_ISSUER.to_owned()),
        repository: required(table, "repository", repository)?,
        repository_id: optional(table, "repository_id", number)?,
        repository_owner_id: optional(table, "repository_owner_id", number)?,
        git_ref: optional(table, "ref", git_ref)?,
        environment: optional(table, "environment", environment)?,
        product: required(table, "product", name)?,
        may_promote: optional(table, "may_promote", flag)?.unwrap_or(false),
        allow: optional(table, "allow", checks)?.unwrap_or_default(),
    };
    if publisher.git_ref.is_none() && publisher.environment.is_none() {
        let why = "needs a ref (such as \"refs/heads/main\") or an environment, or both: otherwise every pull request \
                   of the repository could publish";
        return Err(Wrong::Value("", why.to_owned()));
    }
    Ok(publisher)
}

fn optional<T>(
    table: &Table,
    key: &'static str,
    read: impl Fn(&Value) -> Result<T, String>,
) -> Result<Option<T>, Wrong> {
    table.get(key).map(read).transpose().map_err(|problem| Wrong::Value(key, problem))
}

fn required<T>(
    table: &Table,
    key: &'static str,
    read: impl Fn(&Value) -> Result<T, String>,
) -> Result<T, Wrong> {
    optional(table, key, read)?.ok_or_else(|| Wrong::Value(key, "is missing".to_owned()))
}

/// A text without white space at its ends and control characters in it.
fn plain(value: &Value) -> Result<&str, String> {
    let text = text(value)?;
    let is_plain = !text.is_empty()
        && text.len() <= TEXT_MAX_BYTES
        && !text.chars().any(char::is_control)
        && text.trim() == text;
    is_plain.then_some(text).ok_or_else(|| format!("must be a text of 1 to {TEXT_MAX_BYTES} bytes"))
}

/// As it was written: it is compared with the claim `iss` letter for letter, and some issuers end in a slash.
fn issuer(value: &Value) -> Result<String, String> {
    let text = plain(value)?;
    let url: Url = text.parse().map_err(|error| format!("is not a URL: {error}"))?;
    if !is_safe_issuer(&url) {
        return Err("must begin with https:// (http:// only for this machine itself)".to_owned());
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("must be an address without query or fragment".to_owned());
    }
    Ok(text.to_owned())
}

fn repository(value: &Value) -> Result<String, String> {
    let text = plain(value)?;
    let part = |part: &str| {
        !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
    };
    match text.split_once('/') {
        Some((owner, name)) if part(owner) && part(name) => Ok(text.to_owned()),
        _ => Err("must be \"owner/name\", without wildcards".to_owned()),
    }
}

/// GitHub's claims have these numbers as texts; the file may have either.
fn number(value: &Value) -> Result<String, String> {
    let text = match value {
        Value::Integer(number) => number.to_string(),
        Value::String(text) => text.clone(),
        _ => String::new(),
    };
    let is_number = !text.is_empty() && text.len() <= 20 && text.bytes().all(|b| b.is_ascii_digit());
    is_number.then_some(text).ok_or_else(|| "must be a number, as GitHub's API shows it".to_owned())
}

fn git_ref(value: &Value) -> Result<RefPattern, String> {
    RefPattern::parse(plain(value)?).map_err(str::to_owned)
}

fn environment(value: &Value) -> Result<String, String> {
    let text = plain(value)?;
    if text.contains('*') {
        return Err("must be the environment's name, without wildcards".to_owned());
    }
    Ok(text.to_owned())
}

/// The names of checks that somebody may overrule at all.
fn checks(value: &Value) -> Result<Vec<String>, String> {
    let list = "must be a list of checks, such as [\"lower-version\"]";
    let names = value.as_array().ok_or_else(|| list.to_owned())?;
    let name = |name: &Value| {
        let name = name.as_str().ok_or_else(|| list.to_owned())?;
        let check = name.parse::<Check>().map_err(|error| {
            let known = Check::ALL.iter().filter(|check| check.is_overrulable()).map(|check| check.name());
            let intended = nearest(name, known).map(|known| format!("; did you mean {known}?"));
            format!("is wrong: {error}{}", intended.unwrap_or_default())
        })?;
        Ok(check.name().to_owned())
    };
    names.iter().map(name).collect()
}

/// The one of these names that was probably intended.
fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let distances = known.into_iter().map(|known| (strsim::damerau_levenshtein(known, name), known));
    distances.min().filter(|(distance, _)| *distance <= 4).map(|(_, known)| known)
}
