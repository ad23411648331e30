//! The JSON API: a handler reads a request, asks one service, and writes JSON or a problem document. It decides nothing itself.

pub(crate) mod audit;
pub(crate) mod devices;
mod document;
pub(crate) mod events;
pub(crate) mod firmware;
pub(crate) mod health;
pub(crate) mod login;
pub(crate) mod releases;
pub(crate) mod rollouts;
mod under_way;
pub(crate) mod updates;

pub(crate) use document::Document;
pub(crate) use document::complete;
