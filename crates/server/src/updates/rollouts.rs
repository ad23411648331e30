//! Rollouts: asked for, watched, stopped, and carried out. What happens next is said by `fleet::rollout`; here it is done, so
//! that whoever is killed in between does it again.

mod evidence;
mod members;
mod offer;
mod run;
mod service;
mod show;
mod start;
mod step;
mod terms;

pub use service::Rollouts;
