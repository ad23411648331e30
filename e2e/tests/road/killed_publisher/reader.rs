//! Somebody who reads without a pause while a publisher works, is killed and works again.
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use super::shop::Shop;

/// Less would not be beside all that happens: one before it, one during it, one at its end.
const READS_MIN: usize = 3;

pub(super) struct Reader {
    enough: watch::Sender<bool>,
    task: JoinHandle<usize>,
}

impl Reader {
    /// Returns once it has read for the first time.
    pub(super) async fn start(shop: &Shop, product: &str, case: &str) -> Self {
        let (shop, product) = (shop.clone(), product.to_owned());
        let case = format!("{case}, read meanwhile");
        let (enough, is_enough) = watch::channel(false);
        let (tell, begun) = oneshot::channel();
        let task = tokio::spawn(async move {
            let (mut tell, mut reads, mut before) = (Some(tell), 0, String::new());
            loop {
                let ends = *is_enough.borrow();
                let now = shop.read(&product, &case).await;
                assert!(!now.is_empty(), "{case}: production is gone");
                assert!(now >= before, "{case}: production went from {before} back to {now}");
                (before, reads) = (now, reads + 1);
                let _ = tell.take().map(|tell| tell.send(()));
                if ends {
                    return reads;
                }
            }
        });
        // If it failed at once, that is said at the end.
        let _ = begun.await;
        Self { enough, task }
    }

    /// Has it read once more; how often it did in all.
    pub(super) async fn stop(self) -> usize {
        self.enough.send_replace(true);
        let reads = self.task.await.unwrap_or_else(|failed| std::panic::resume_unwind(failed.into_panic()));
        assert!(reads >= READS_MIN, "{reads} reads");
        reads
    }
}
