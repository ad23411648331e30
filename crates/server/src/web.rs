//! HTTP: a request walks from the router through the guard to a handler, which asks a service and writes the answer.

pub(crate) mod api;
mod caller;
mod cookies;
mod credentials;
mod dashboard;
pub(crate) mod extract;
mod fallback;
mod fragment;
mod guard;
mod headers;
pub(crate) mod limits;
mod login;
pub(crate) mod own;
mod prefix;
mod problem;
mod right;
mod router;
mod routes;
mod source;
mod state;
mod upload;

pub use ::api::{FILE_NAME_MAX_BYTES, IMAGE_MAX_BYTES};
pub(crate) use router::router;
pub(crate) use state::Web;
