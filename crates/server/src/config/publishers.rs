//! `[[trusted_publisher]]`: which repositories' CI may publish without a secret, and what.
//!
//! An entry names a branch, a tag or an environment, always: with the repository alone, whoever opens a pull request
//! could publish. Entries exist in the file only; the environment has no way to spell a list.

use contract::ProductName;
use toml::{Table, Value};
use url::{Host, Url};

use super::keys::{flag, name, text};

/// GitHub's own issuer; a GitHub Enterprise Server has another.
pub const GITHUB_ISSUER: &str = "https://token.actions.githubusercontent.com";

/// The section's name.
pub(super) const SECTION: &str = "trusted_publisher";

/// Entries at most.
const PUBLISHERS_MAX: usize = 256;
/// Bytes of a text at most.
const TEXT_MAX_BYTES: usize = 255;

const KEYS: [&str; 8] = [
    "issuer",
    "repository",
    "repository_id",
    "repository_owner_id",
    "ref",
    "environment",
    "product",
    "may_promote",
];

/// One entry: a workflow that all of this is true of may publish the product.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustedPublisher {
    /// Who signs its tokens: as in the claim `iss`, without a slash at the end.
    pub issuer: String,
    /// `owner/name`.
    pub repository: String,
    /// The repository's number, which survives when its name is given to another.
    pub repository_id: Option<String>,
    /// The owner's number.
    pub repository_owner_id: Option<String>,
    /// The branch or tag. This or the environment is there.
    pub git_ref: Option<RefPattern>,
    /// The deployment environment of the job.
    pub environment: Option<String>,
    /// What it may publish.
    pub product: ProductName,
    /// Whether it may also point channels at releases of the product, whoever published them.
    pub may_promote: bool,
}

/// `refs/heads/main` exactly, or with one `*` at the end whatever begins so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefPattern(String);

impl RefPattern {
    /// Whether a branch or tag, spelt in full, is meant.
    pub fn matches(&self, git_ref: &str) -> bool {
        match self.0.strip_suffix('*') {
            Some(start) => git_ref.starts_with(start),
            None => git_ref == self.0,
        }
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

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
        let nearest = KEYS
            .iter()
            .map(|known| (strsim::damerau_levenshtein(known, key), *known))
            .min()
            .filter(|(distance, _)| *distance <= 4)
            .map(|(_, known)| known.to_owned());
        return Err(Wrong::Unknown(key.clone(), nearest));
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

fn issuer(value: &Value) -> Result<String, String> {
    let text = plain(value)?.trim_end_matches('/');
    let url: Url = text.parse().map_err(|error| format!("is not a URL: {error}"))?;
    if !is_safe_to_ask(&url) {
        return Err("must begin with https:// (http:// only for this machine itself)".to_owned());
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("must be an address without query or fragment".to_owned());
    }
    Ok(text.to_owned())
}

/// Keys that came over a line that anybody could change would be anybody's keys.
pub(crate) fn is_safe_to_ask(url: &Url) -> bool {
    let is_here = match url.host() {
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => return false,
    };
    let anonymous = url.username().is_empty() && url.password().is_none();
    anonymous && (url.scheme() == "https" || (url.scheme() == "http" && is_here))
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
    let text = plain(value)?;
    let rest = text.strip_prefix("refs/heads/").or_else(|| text.strip_prefix("refs/tags/"));
    if rest.is_none_or(str::is_empty) {
        return Err(
            "must be a whole ref: \"refs/heads/main\" for a branch, \"refs/tags/v*\" for tags".to_owned()
        );
    }
    if text.trim_end_matches('*').len() + 1 < text.len()
        || text.trim_end_matches('*').contains(['*', '?', '['])
    {
        return Err("may have one * and only at its end".to_owned());
    }
    Ok(RefPattern(text.to_owned()))
}

fn environment(value: &Value) -> Result<String, String> {
    let text = plain(value)?;
    if text.contains('*') {
        return Err("must be the environment's name, without wildcards".to_owned());
    }
    Ok(text.to_owned())
}
