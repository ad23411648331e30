//! The GitHub action, run as a runner runs it: from its action.yml, in a job's folders, with the real binary.
mod identity;
mod installs;
mod pipeline;
mod publishes;
mod versions;
mod waits;
