//! The Updraft server: it decides who may have which firmware, tells devices over MQTT, and shows what happened.

pub mod access;
pub mod actor;
mod bench;
mod clock;
pub mod config;
mod counts;
mod db;
pub mod devices;
pub mod error;
pub mod events;
pub mod health;
pub mod mqtt;
pub mod releases;
pub mod run;
pub mod services;
pub mod tasks;
#[cfg(test)]
mod tests;
mod tick;
pub mod updates;
pub mod web;

pub use bench::Rows;

/// For what other crates await: its future is in a box, or each of them would compile all of it anew.
pub(crate) use async_recursion::async_recursion as boxed;
