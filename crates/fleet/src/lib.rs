//! Pure decisions about a fleet: who is offered what, and how an update lives.
//!
//! Nothing here reads a clock, a database or a network: a snapshot goes in, an answer comes out. Whoever acts
//! on the answer can be killed between any two lines and ask again.
#![no_std]

extern crate alloc;
// For logarithms.
extern crate std;

mod decision;
mod fault;
mod identity;
mod plan;
pub mod rollout;
mod update;
mod verdict;

pub use decision::{
    Artifact, Blocked, BlockedImage, BlockedImages, ChannelView, Decision, DeviceView, Kept, Reach,
    StoreView, decide,
};
pub use fault::{is_image_at_fault, lasting_refusal};
pub use identity::{Identity, Image};
pub use plan::{Action, Flight, Snapshot, Subject, Trigger, plan};
pub use update::{Change, Delivery, Event, Heard, ReportView, UpdateState, UpdateView, Why, apply};
