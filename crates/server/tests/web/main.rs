//! The web: the real router on the real server, its own folder and its own ports for each test.
#![allow(missing_docs, clippy::unwrap_used)]

mod api;
mod audit;
mod dashboard;
#[path = "../../src/tests/database.rs"]
mod database;
mod events;
mod firmware;
#[allow(dead_code, reason = "the end-to-end tests use more of it")]
#[path = "../../../../e2e/tests/road/issuer.rs"]
mod issuer;
mod malformed;
mod oidc;
mod security;
mod test_server;
