//! Why a configuration was refused.

/// Why the configuration was refused. The sentence names the key and where it was set.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {path}: {source}")]
    Unreadable {
        /// Which file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not TOML, or not of sections with keys.
    #[error("{0}")]
    Malformed(String),
    /// There is no such key.
    #[error("{place}: there is no key {key}{}", hint(.nearest.as_deref()))]
    UnknownKey {
        /// File or environment.
        place: String,
        /// As it was written.
        key: String,
        /// The nearest that exists.
        nearest: Option<String>,
    },
    /// The value is out of bounds.
    #[error("{place}: {key} {problem}")]
    Invalid {
        /// File or environment.
        place: String,
        /// Which key.
        key: String,
        /// What is wrong with its value.
        problem: String,
    },
}

fn hint(nearest: Option<&str>) -> String {
    nearest.map(|nearest| format!("; did you mean {nearest}?")).unwrap_or_default()
}
