//! Messages from devices.

mod apply;
mod read;
mod redact;
mod rows;
mod service;
mod unknown;

pub(crate) use service::Messages;
