use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Semaphore;

use super::*;

/// Work whose runs are numbered, and end one by one.
struct Work {
    flight: Arc<Flight<usize>>,
    begun: Arc<AtomicUsize>,
    go: Arc<Semaphore>,
}

impl Work {
    fn new() -> Arc<Self> {
        Arc::new(Self { flight: Arc::default(), begun: Arc::default(), go: Arc::new(Semaphore::new(0)) })
    }

    fn run(&self) -> impl Future<Output = usize> + Send + 'static {
        let (begun, go) = (Arc::clone(&self.begun), Arc::clone(&self.go));
        async move {
            let number = begun.fetch_add(1, Ordering::SeqCst) + 1;
            go.acquire().await.expect("open").forget();
            number
        }
    }

    async fn until_begun(&self, runs: usize) {
        while self.begun.load(Ordering::SeqCst) < runs {
            tokio::task::yield_now().await;
        }
    }
}

fn asked(work: &Arc<Work>, is_fresh: bool) -> JoinHandle<Option<usize>> {
    let work = Arc::clone(work);
    tokio::spawn(async move {
        if is_fresh { work.flight.fresh(work.run()).await } else { work.flight.join(work.run()).await }
    })
}

#[tokio::test]
async fn work_that_began_earlier_answers_only_those_who_join_it() {
    let work = Work::new();
    let first = asked(&work, true);
    work.until_begun(1).await;
    let joined: Vec<_> = (0..5).map(|_| asked(&work, false)).collect();
    let fresh: Vec<_> = (0..5).map(|_| asked(&work, true)).collect();
    tokio::task::yield_now().await;
    work.go.add_permits(1);
    assert_eq!(first.await.expect("ends"), Some(1));
    for one in joined {
        assert_eq!(one.await.expect("ends"), Some(1));
    }
    work.go.add_permits(1);
    for one in fresh {
        assert_eq!(one.await.expect("ends"), Some(2));
    }
}

#[tokio::test]
async fn who_leaves_stops_nothing() {
    let work = Work::new();
    let first = asked(&work, true);
    work.until_begun(1).await;
    first.abort();
    assert!(first.await.expect_err("it left").is_cancelled() && work.flight.is_flying());
    let second = asked(&work, false);
    tokio::task::yield_now().await;
    work.go.add_permits(1);
    assert_eq!(second.await.expect("ends"), Some(1));
    assert_eq!(work.flight.last().map(|last| last.value), Some(1));
}

#[tokio::test]
async fn work_that_panics_holds_up_nobody() {
    let flight: Arc<Flight<u8>> = Arc::default();
    assert_eq!(flight.fresh(async { panic!("as intended") }).await, None);
    assert!(flight.last().is_none());
    assert_eq!(flight.fresh(async { 1 }).await, Some(1));
    flight.renew(async { 2 });
    assert_eq!(flight.join(async { 3 }).await, Some(2));
}

#[test]
fn names_that_nobody_works_with_are_forgotten() {
    let all: Keyed<AtomicUsize> = Keyed::default();
    let kept = all.of("kept");
    kept.store(7, Ordering::Relaxed);
    for number in 0..100 {
        all.of(&number.to_string()).store(1, Ordering::Relaxed);
    }
    assert_eq!(all.of("kept").load(Ordering::Relaxed), 7);
    assert_eq!(all.of("99").load(Ordering::Relaxed), 1, "nothing was asked for since");
    assert_eq!(all.of("0").load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn work_that_everybody_left_is_not_begun_again_beside_itself() {
    let (all, work) = (Keyed::<Flight<usize>>::default(), Work::new());
    let hasty = all.of("image");
    let left = tokio::time::timeout(Duration::from_millis(10), hasty.join(work.run()));
    assert!(left.await.is_err() && work.begun.load(Ordering::SeqCst) == 1);
    drop(hasty);
    all.of("other");
    let again = all.of("image");
    work.go.add_permits(2);
    assert_eq!(again.join(work.run()).await, Some(1));
    assert_eq!(work.begun.load(Ordering::SeqCst), 1);
}
