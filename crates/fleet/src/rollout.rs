//! Rollouts: a version is given to a fleet step by step, and stops by itself where it fails.
//!
//! Pure: [`Snapshot`] in, [`Action`]s out. Which device is in which step is said once, at the start ([`members`]); whether a
//! release fails is a test of counts ([`HaltAt::verdict`]), so that the order in which they were written does not matter.

mod halt;
mod members;
mod percent;
mod plan;
mod shape;
mod spelling;
mod versions;
mod window;

pub use halt::HaltAt;
pub use members::{members, step_sizes};
pub use percent::Percent;
pub use plan::{Action, Candidate, Life, Snapshot, StepCounts, plan};
pub use shape::{Shape, Step};
pub use versions::VersionRange;
pub use window::Window;
