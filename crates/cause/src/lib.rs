//! Why something was refused, decided or ended: a [`Cause`] is a stable code with parameters, never finished English.
//!
//! Whoever decides makes a cause from an [`Entry`] of one of the tables below. Whoever shows it asks for
//! [`Cause::sentence`], which says what is the case and names no button and no flag; what to do about it is added by each
//! surface (the command line names flags, the dashboard names buttons).

pub mod admission;
mod cause;
pub mod decision;
mod entry;
pub mod file;
pub mod gate;
pub mod publisher;
pub mod rollout;
pub mod service;
pub mod store;
mod tables;
mod template;
pub mod update;
mod value;

pub use cause::Cause;
pub use entry::Entry;
pub use value::{Value, grouped};

#[cfg(test)]
mod tests;
