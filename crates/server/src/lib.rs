//! The Updraft server: it decides who may have which firmware, tells devices over MQTT, and shows what happened.

pub mod api;
pub mod app;
mod catalog;
pub mod config;
pub mod dashboard;
pub mod db;
mod events;
mod listen;
pub mod model;
pub mod mqtt;
pub mod router;
pub mod run;
pub mod session;
mod tick;
