//! `updraft.toml` and the environment. Owns every key, its default and its bounds; refuses what it does not
//! know, so that a misspelt key is never silently a default.

mod keys;
mod load;
mod publishers;
mod settings;
#[cfg(test)]
mod tests;

pub use keys::PUBLIC_URL_MAX_BYTES;
pub use load::ConfigError;
pub use load::DEFAULT_FILE;
pub use publishers::GITHUB_ISSUER;
pub use settings::Network;
pub use settings::{
    Admit, BrokerConfig, Config, DatabaseConfig, FleetConfig, HttpConfig, MqttConfig, Secret, StoreConfig,
};
