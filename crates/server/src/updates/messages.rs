//! Messages from devices.

mod apply;
mod read;
mod service;

pub(crate) use service::Messages;
