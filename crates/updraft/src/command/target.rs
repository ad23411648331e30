//! Where releases are: behind a server, or straight in a store.

use contract::{ProductName, Version};
use store::{Options, Store};
use url::Url;

use crate::api_client::{ApiClient, server_url};
use crate::output::Usage;

/// `--server` with `--token`, or `--store`.
#[derive(Debug, clap::Args)]
pub(crate) struct TargetArgs {
    /// The server to work through; without this and --store, the one that UPDRAFT_SERVER names
    #[arg(long, value_name = "URL", conflicts_with = "store", value_parser = server_url)]
    server: Option<Url>,
    /// An access token for the server; `updraft token new` makes one. In GitHub Actions a trusted publisher needs none
    #[arg(long, value_name = "T", env = "UPDRAFT_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// Straight on a store, without a server: file:PATH or s3://bucket?region=…&endpoint=…&path_style=true
    #[arg(long, value_name = "URL")]
    store: Option<String>,
}

/// A product, the subject of all that is done to releases, and where it is.
#[derive(Debug, clap::Args)]
pub(crate) struct ProductArgs {
    /// The product
    #[arg(short, long, value_name = "P")]
    pub(crate) product: ProductName,
    #[command(flatten)]
    pub(crate) target: TargetArgs,
    /// Print data for programs
    #[arg(long)]
    pub(crate) json: bool,
}

/// A product and one of its versions.
#[derive(Debug, clap::Args)]
#[command(disable_version_flag = true)]
pub(crate) struct VersionArgs {
    /// The version
    #[arg(value_name = "VERSION")]
    pub(crate) version: Version,
    #[command(flatten)]
    pub(crate) of: ProductArgs,
}

pub(crate) enum Target {
    Server(ApiClient),
    Store(Store),
}

impl TargetArgs {
    /// For who only reads, or changes what is there: a folder must be there, or a slip of the pen would look like an
    /// empty store.
    pub(crate) async fn open(&self) -> anyhow::Result<Target> {
        if let Some(url) = &self.store
            && let Some(folder) = Store::missing_folder(url)?
        {
            anyhow::bail!(
                "There is no folder {}, so there is no store; correct --store, or publish to it first, which makes it.",
                folder.display()
            );
        }
        self.open_or_make().await
    }

    /// For who publishes: a folder that is not there is made, and that is said.
    pub(crate) async fn open_or_make(&self) -> anyhow::Result<Target> {
        if let Some(url) = &self.store {
            let missing = Store::missing_folder(url)?;
            let store = Store::open(url, Options::default()).await?;
            if let Some(folder) = missing {
                eprintln!("updraft: made the folder {} for the store", folder.display());
            }
            return Ok(Target::Store(store));
        }
        match self.server.clone().map_or_else(server_of_the_environment, |server| Ok(Some(server)))? {
            Some(server) => Ok(Target::Server(ApiClient::new(&server, self.token.as_deref())?)),
            None => Err(Usage(
                "Say where: --server http://127.0.0.1:8080 --token T (or UPDRAFT_SERVER and UPDRAFT_TOKEN), \
                 or --store file:PATH or s3://bucket?region=…"
                    .into(),
            )
            .into()),
        }
    }
}

/// Read here and not by clap, for which a variable that is merely exported would contradict --store.
fn server_of_the_environment() -> Result<Option<Url>, Usage> {
    match std::env::var("UPDRAFT_SERVER") {
        Ok(text) if !text.is_empty() => {
            server_url(&text).map(Some).map_err(|why| Usage(format!("UPDRAFT_SERVER is {text:?}; {why}")))
        }
        _ => Ok(None),
    }
}

/// A product begins with its first publish; until then a store has nothing to block, and a typing error would make one.
pub(crate) async fn require_product(store: &Store, product: &ProductName) -> anyhow::Result<()> {
    if store.product_exists(product).await? {
        return Ok(());
    }
    anyhow::bail!("There is no product {product} in the store.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_who_publishes_makes_a_folder() {
        let above = tempfile::tempdir().expect("a folder");
        let folder = above.path().join("stroe");
        let target =
            TargetArgs { server: None, token: None, store: Some(format!("file:{}", folder.display())) };
        let error = target.open().await.err().expect("there is no such folder").to_string();
        assert!(error.contains(&format!("There is no folder {}", folder.display())), "{error}");
        assert!(!folder.exists());
        target.open_or_make().await.expect("made");
        assert!(folder.is_dir());
        target.open().await.expect("it is there now");
    }
}
