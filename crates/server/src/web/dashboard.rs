//! The pages: rendered here, kept live by events, usable without a script where a form is enough.
//!
//! Everything that comes from devices, buckets and people is text; maud escapes it, and nothing here turns it into
//! markup. A page that is asked for with the header `x-updraft-fragment` comes without its frame, so that the script can
//! put what changed in place of what was shown.

pub(crate) mod actions;
pub(crate) mod assets;
pub(crate) mod audit;
pub(crate) mod check_all;
pub(crate) mod device;
pub(crate) mod devices;
mod document;
mod filter;
mod icon;
pub(crate) mod login;
pub(crate) mod not_admitted;
mod progress;
pub(crate) mod register;
pub(crate) mod releases;
pub(crate) mod rollout;
pub(crate) mod rollouts;
mod text;
mod visit;
mod words;

pub(crate) use document::error_page;
pub(crate) use text::without_hidden;
