//! Waiting for conditions, never for time.
use std::future::Future;
use std::time::{Duration, Instant};

const POLL: Duration = Duration::from_millis(25);

/// How long anything on this machine may take that is not itself measured.
pub const LIMIT: Duration = Duration::from_mins(1);

/// Asks again and again until there is an answer.
///
/// # Panics
/// With `what`, if there is none within [`LIMIT`].
pub async fn until<T, F>(what: &str, probe: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    until_within(LIMIT, what, probe).await
}

/// The same, with a limit of its own.
pub async fn until_within<T, F>(limit: Duration, what: &str, mut probe: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    let start = Instant::now();
    loop {
        if let Some(answer) = probe().await {
            return answer;
        }
        assert!(start.elapsed() < limit, "waited {limit:?} in vain: {what}");
        tokio::time::sleep(POLL).await;
    }
}
