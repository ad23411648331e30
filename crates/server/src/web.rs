//! HTTP: a request walks from the router through the guard to a handler, which asks a service and writes the answer.

pub(crate) mod api;
pub(crate) mod caller;
mod cookies;
mod dashboard;
pub(crate) mod extract;
pub(crate) mod guard;
pub(crate) mod limits;
mod login;
mod problem;
mod router;
mod routes;
mod serve;
mod state;

pub use ::api::{FILE_NAME_MAX_BYTES, IMAGE_MAX_BYTES};
pub(crate) use router::router;
pub(crate) use serve::serve;
pub(crate) use state::Web;
