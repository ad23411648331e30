//! What the server makes once and keeps in its database: the key that signs URLs, and its name at the broker.

use anyhow::Context;

use crate::access::{digest, random_secret};
use crate::db::{Db, meta};

/// Signs local and short URLs; made once.
pub(super) async fn url_key(db: &Db) -> anyhow::Result<[u8; 32]> {
    let mut fresh = [0; 32];
    getrandom::fill(&mut fresh)
        .map_err(|error| anyhow::anyhow!("the system gives no random numbers: {error}"))?;
    let kept = kept(db, meta::URL_KEY, &hex::encode(fresh)).await?;
    let mut key = [0; 32];
    hex::decode_to_slice(kept, &mut key).context("the database holds a signing key that cannot be read")?;
    Ok(key)
}

/// The broker keeps our messages under this name: it is the same after a restart, and no other server's.
pub(super) async fn client_id(db: &Db) -> anyhow::Result<String> {
    let fresh = format!("updraft-{}", digest_prefix(&random_secret()?));
    kept(db, meta::CLIENT_ID, &fresh).await
}

/// MQTT 3.1.1 lets brokers refuse ids of more than 23 letters.
fn digest_prefix(secret: &str) -> String {
    digest(secret)[..15].to_owned()
}

async fn kept(db: &Db, name: &str, fresh: &str) -> anyhow::Result<String> {
    let write = db.write().await.context("cannot write to the database (database.url)")?;
    let kept = write.meta_or_set(name, fresh).await.context("cannot write to the database (database.url)")?;
    write.commit().await.context("cannot write to the database (database.url)")?;
    Ok(kept)
}
