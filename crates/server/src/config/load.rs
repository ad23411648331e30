//! Reading the file and the environment.

use std::path::Path;

use super::keys::KEYS;
use super::publishers;
use super::settings::Config;

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

/// The file that is read where none is named.
pub const DEFAULT_FILE: &str = "updraft.toml";

impl Config {
    /// Reads `path` (or `updraft.toml`, if it is there) and the environment of this process.
    pub fn load(path: Option<&Path>) -> Result<Self, ConfigError> {
        let file = path.unwrap_or(Path::new(DEFAULT_FILE));
        let text = match std::fs::read_to_string(file) {
            Ok(text) => text,
            Err(error) if path.is_none() && error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(source) => {
                return Err(ConfigError::Unreadable { path: file.display().to_string(), source });
            }
        };
        // Names that are not UTF-8 cannot be ours; values that are not are refused by their key.
        let environment = std::env::vars_os().filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.to_string_lossy().into_owned()))
        });
        Self::parse(&file.display().to_string(), &text, environment)
    }

    /// Reads the text of a file, then the environment, which wins.
    pub fn parse(
        file: &str,
        text: &str,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let mut config = Self::default();
        let table: toml::Table = text.parse().map_err(|error| malformed(file, text, &error))?;
        for (section, values) in &table {
            if section == publishers::SECTION {
                config.trusted_publishers =
                    publishers::read(values).map_err(|wrong| of_publisher(file, wrong))?;
                continue;
            }
            let values = values.as_table().ok_or_else(|| unknown(file, section, "", false))?;
            for (key, value) in values {
                config.set(file, section, key, value, false)?;
            }
            if values.is_empty() && !KEYS.iter().any(|known| known.section == section) {
                return Err(unknown(file, section, "", false));
            }
        }
        for (name, value) in environment {
            // One underscore is another program's, or a command's (UPDRAFT_SERVER); two are a key's.
            let Some((section, key)) = name.strip_prefix("UPDRAFT_").and_then(|rest| rest.split_once("__"))
            else {
                continue;
            };
            let (section, key) = (section.to_ascii_lowercase(), key.to_ascii_lowercase());
            if section == publishers::SECTION {
                return Err(ConfigError::Malformed(format!(
                    "the environment: {name} cannot be set here: trusted publishers are a list, which only the file has"
                )));
            }
            config.set("the environment", &section, &key, &toml::Value::String(value), true)?;
        }
        Ok(config)
    }

    fn set(
        &mut self,
        place: &str,
        section: &str,
        key: &str,
        value: &toml::Value,
        environment: bool,
    ) -> Result<(), ConfigError> {
        let known = KEYS
            .iter()
            .find(|known| known.section == section && known.name == key)
            .ok_or_else(|| unknown(place, section, key, environment))?;
        (known.set)(self, value).map_err(|problem| ConfigError::Invalid {
            place: place.to_owned(),
            key: spelled(section, key, environment),
            problem,
        })
    }
}

/// Names the entry by its number, since it has no other name.
fn of_publisher(file: &str, (number, wrong): (usize, publishers::Wrong)) -> ConfigError {
    let place = format!("{file}, {} number {number}", publishers::SECTION);
    match wrong {
        publishers::Wrong::Unknown(key, nearest) => ConfigError::UnknownKey { place, key, nearest },
        publishers::Wrong::Value("", problem) => ConfigError::Malformed(format!("{place} {problem}")),
        publishers::Wrong::Value(key, problem) => {
            ConfigError::Invalid { place, key: key.to_owned(), problem }
        }
    }
}

/// Says the line, and not what is on it: that may be a password.
fn malformed(file: &str, text: &str, error: &toml::de::Error) -> ConfigError {
    let line = error
        .span()
        .and_then(|span| text.get(..span.start))
        .map(|before| format!(", line {}", before.matches('\n').count() + 1))
        .unwrap_or_default();
    ConfigError::Malformed(format!("{file}{line}: {}", error.message()))
}

/// A key as it is written in the file or in the environment.
fn spelled(section: &str, key: &str, environment: bool) -> String {
    match (environment, key) {
        (true, _) => format!("UPDRAFT_{}__{}", section.to_ascii_uppercase(), key.to_ascii_uppercase()),
        (false, "") => section.to_owned(),
        (false, _) => format!("{section}.{key}"),
    }
}

fn unknown(place: &str, section: &str, key: &str, environment: bool) -> ConfigError {
    let written = format!("{section}.{key}");
    if !environment && strsim::damerau_levenshtein(section, publishers::SECTION) <= 4 {
        let nearest = Some(format!("[[{}]]", publishers::SECTION));
        return ConfigError::UnknownKey { place: place.to_owned(), key: section.to_owned(), nearest };
    }
    let nearest = KEYS
        .iter()
        .map(|known| {
            let whole = strsim::damerau_levenshtein(&format!("{}.{}", known.section, known.name), &written);
            // A key at the top level, or in the wrong section, is the key all the same.
            let alone =
                if known.name == key || (key.is_empty() && known.name == section) { 1 } else { whole };
            (alone.min(whole), known)
        })
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, _)| *distance <= 5)
        .map(|(_, known)| spelled(known.section, known.name, environment));
    ConfigError::UnknownKey { place: place.to_owned(), key: spelled(section, key, environment), nearest }
}
