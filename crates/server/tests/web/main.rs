//! The web: the real router on the real server, its own folder and its own ports for each test.
#![allow(missing_docs, clippy::unwrap_used)]

mod api;
mod dashboard;
mod events;
mod firmware;
mod house;
