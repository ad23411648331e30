//! One file per command.

pub(crate) mod audit;
pub(crate) mod bench;
pub(crate) mod block;
pub(crate) mod database;
pub(crate) mod demo;
pub(crate) mod device;
pub(crate) mod devices;
pub(crate) mod gate;
pub(crate) mod image;
pub(crate) mod key;
pub(crate) mod promote;
pub(crate) mod publish;
pub(crate) mod releases;
pub(crate) mod rollout;
pub(crate) mod serve;
pub(crate) mod target;
pub(crate) mod token;
pub(crate) mod verdict;
pub(crate) mod virtual_device;
