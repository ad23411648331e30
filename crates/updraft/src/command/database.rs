//! The server's own database, for commands that work on it whether the server runs or not.

use std::path::{Path, PathBuf};

use server::access::Access;
use server::config::Config;

#[derive(Debug, clap::Args)]
pub(crate) struct DatabaseArgs {
    /// The server's configuration; updraft.toml if it is there
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl DatabaseArgs {
    pub(crate) fn config(&self) -> anyhow::Result<Config> {
        Ok(Config::load(self.config.as_deref())?)
    }

    /// The database that a server has made.
    pub(crate) async fn open(&self) -> anyhow::Result<Access> {
        let config = self.config()?;
        anyhow::ensure!(
            is_there(&config),
            "There is no {} here. Go to the server's folder, or name its configuration with --config.",
            shown(&config)
        );
        Access::open(&config).await
    }
}

/// The file of the database, as the server finds it.
pub(crate) fn shown(config: &Config) -> &str {
    let url = config.database.url.expose();
    let path = url.strip_prefix("sqlite:").unwrap_or(url);
    path.strip_prefix("//").unwrap_or(path)
}

/// A database that is no file is somewhere else, and says itself if it is not.
pub(crate) fn is_there(config: &Config) -> bool {
    !config.database.url.expose().starts_with("sqlite:") || Path::new(shown(config)).exists()
}
