//! The door, as the API and the dashboard see it.

use std::time::Duration;

use super::{Actor, App, AppError};

impl App {
    /// Checks an API token or session secret; None if unknown or expired.
    pub async fn authenticate(&self, secret: &str) -> Result<Option<Actor>, AppError> {
        self.inner.auth.authenticate(secret).await
    }

    /// Checks name and password (or an API token as the password with any name); makes a session secret that lives `lifetime`.
    pub async fn login(
        &self,
        name: &str,
        password: &str,
        lifetime: Duration,
    ) -> Result<Option<String>, AppError> {
        self.inner.auth.login(name, password, lifetime).await
    }

    /// Trades a login link's secret (usable until it expires) for a session secret.
    pub async fn login_with_link(
        &self,
        secret: &str,
        lifetime: Duration,
    ) -> Result<Option<String>, AppError> {
        self.inner.auth.login_with_link(secret, lifetime).await
    }

    /// Ends a session.
    pub async fn logout(&self, secret: &str) -> Result<(), AppError> {
        self.inner.auth.logout(secret).await
    }
}
