//! The gate: what is looked at before an image becomes a release. docs/gate.md lists the checks. Nothing here reads or
//! writes the store.

pub(crate) mod check;
pub(crate) mod compare;
pub(crate) mod facts;
mod flash_content;
pub(crate) mod inspection;
pub(crate) mod judge;
mod known_file;
mod merged;
mod sound;
pub(crate) mod verdict;
