//! Devices: who they are, whether they can be reached, and how they are shown.
//!
//! Uses `releases` for the product that a device gets where nobody names one, and nothing of `updates`.

mod list;
mod not_admitted;
mod presence;
mod register;
mod service;

pub use crate::counts::Counts;
pub(crate) use list::{IN_FLIGHT, NOT_SUCCEEDED, limit};
pub(crate) use not_admitted::{Attempt, NotAdmitted};
pub(crate) use presence::{Presence, Subscription};
pub use service::Devices;
pub(crate) use service::{Broker, unknown};
pub(crate) use service::{code_of, event, update};
