//! What goes over HTTP between a server and its clients: each request and each answer, once, for both sides.
//!
//! Fields may be added to an answer, never changed; a client takes answers with fields that it does not know. A request
//! with a field that the server does not know is refused.

mod access;
mod audit;
mod device;
mod envelope;
mod gate;
mod release;
mod rollout;
mod text;
mod update;
mod watch;
mod word;

pub use access::{Login, OidcLogin, PublisherToken, Role, Session, TokenInfo};
pub use audit::{AuditEntry, AuditQuery, UpdateEvent};
pub use device::{
    Device, DeviceChange, DeviceQuery, DeviceReport, HOLD, NewDevice, NotAdmitted, RegisteredDevice,
    RunningImage, Unreadable,
};
pub use envelope::{Page, PageQuery, Problem};
pub use fleet::rollout::{HaltAt, Percent, Step, Window};
pub use fleet::{Identity, UpdateState};
pub use gate::{CheckQuery, Finding, GateDecision, Judgement, Level, Refusal, SizeOf};
pub use release::{
    BlockedList, BlockedVersion, Blocking, Channel, Product, Promotion, Publication, PublishDecision,
    Published, Release,
};
pub use rollout::{
    Ending, LeftOut, NewRollout, Rollout, RolloutCounts, RolloutDevice, RolloutDeviceQuery, RolloutPreview,
    RolloutState, RolloutStep, Selector,
};
pub use text::is_hidden;
pub use update::{CheckAnswer, CheckRequest, Update};
pub use watch::{Event, Health};
pub use word::Word;

/// The largest image taken, in bytes: the flash of the largest chip.
pub const IMAGE_MAX_BYTES: usize = 16 * 1024 * 1024;
/// The longest name of an image's file that is repeated in a sentence, in bytes.
pub const FILE_NAME_MAX_BYTES: usize = 1024;
