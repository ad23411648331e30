//! What the server's own client connects with.

use anyhow::Context;

/// The server's own name and password on its embedded broker: random, new with every start, never stored.
#[derive(Clone)]
pub struct Credentials {
    /// Never a device id, since it begins with '~'.
    pub user: String,
    /// 256 random bits.
    pub password: String,
}

impl Credentials {
    pub(crate) fn random() -> anyhow::Result<Self> {
        let mut secret = [0; 32];
        getrandom::fill(&mut secret).context("no random numbers for the broker's own password")?;
        Ok(Self { user: "~server".to_owned(), password: hex::encode(secret) })
    }
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("user", &self.user).finish_non_exhaustive()
    }
}
