//! Whom a configuration trusts, and with what.

use contract::ProductName;

/// One entry: a job that all of this is true of may publish the product.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustedPublisher {
    /// Who signs its tokens: the claim `iss`, letter for letter.
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
    /// The checks of the gate that it may overrule, by name.
    pub allow: Vec<String>,
}

/// What a publisher is let in for, and nothing else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    /// The product that it may publish.
    pub product: ProductName,
    /// Whether it may point channels.
    pub may_promote: bool,
    /// The checks of the gate that it may overrule, by name; sorted, each once.
    pub allow: Vec<String>,
}

/// `refs/heads/main` exactly, or with one `*` at the end whatever begins so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefPattern(String);

impl RefPattern {
    /// Reads it. On failure: what it must be, to follow its key in a sentence.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let rest = text.strip_prefix("refs/heads/").or_else(|| text.strip_prefix("refs/tags/"));
        if rest.is_none_or(str::is_empty) {
            return Err("must be a whole ref: \"refs/heads/main\" for a branch, \"refs/tags/v*\" for tags");
        }
        if text.strip_suffix('*').unwrap_or(text).contains(['*', '?', '[']) {
            return Err("may have one * and only at its end");
        }
        Ok(Self(text.to_owned()))
    }

    /// Whether a branch or tag, spelt in full, is intended.
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
