//! How many files this process may have open, and how many of them connections may use.

/// Kept for the store, the database, the log, connections that this process opens, and those that are being closed.
const RESERVE: usize = 256;

/// Raises the limit of open files as far as the system lets this process, and says how many of them connections may use.
pub fn available() -> usize {
    let limit = raised();
    limit - RESERVE.min(limit / 2)
}

#[cfg(unix)]
fn raised() -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    // macOS says "unlimited" and takes no more than this.
    for wanted in [maximum.unwrap_or(u64::MAX), 10_240] {
        if current.is_some_and(|current| current < wanted)
            && setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum }).is_ok()
        {
            break;
        }
    }
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    usize::try_from(limit).unwrap_or(usize::MAX).min(MAX)
}

#[cfg(not(unix))]
fn raised() -> usize {
    MAX
}

/// More is as good as no limit.
const MAX: usize = 1 << 20;
