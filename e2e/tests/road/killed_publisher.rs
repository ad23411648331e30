//! kill -9 of `updraft publish … --promote` at each request to the bucket, straight on it and through a server, and of that
//! server: what a reader finds in the bucket meanwhile is whole, and the same command run again succeeds.
//!
//! `KILLS=all` kills at each request both before the bucket hears it and after the bucket answered; without it one of the
//! two, alternately (scripts/prove has the time for both), and through a server only at some requests.
use std::path::{Path, PathBuf};
use std::process::Stdio;

use e2e::bucket::Bucket;
use e2e::command::{Said, updraft};
use e2e::images::Workshop;
use tokio::process::Child;
use tokio::task::JoinSet;

use self::reader::Reader;
use self::toll::{Ended, Kill, Toll};

mod reader;
mod through_server;
mod toll;

/// Cases at a time.
const TOGETHER: usize = 6;
/// More requests than a publish makes; else this would go on for ever.
const REQUESTS_MAX: usize = 300;

#[derive(Clone)]
struct Shop {
    bucket: std::sync::Arc<Bucket>,
    old: PathBuf,
    new: PathBuf,
}

impl Shop {
    async fn open(workshop: &Workshop) -> Self {
        let bucket = std::sync::Arc::new(Bucket::start().await);
        Self { bucket, old: workshop.image("1.0.0"), new: workshop.image("1.1.0") }
    }

    fn publish(&self, product: &str, port: u16) -> std::process::Command {
        let (image, store) = (self.new.display().to_string(), self.bucket.url_through(port));
        let mut command =
            updraft(["publish", &image, "-p", product, "--promote", "--json", "--store", &store]);
        command.envs(self.bucket.env());
        command
    }

    /// 1.0.0 is published and in production, as another program would have it.
    async fn begin(&self, product: &str) {
        let image = std::fs::read(&self.old).unwrap();
        for place in ["releases/v1.0.0", "production"] {
            let at = |file: &str| format!("{product}/{place}/{file}");
            self.bucket.put(&at("firmware.bin"), image.clone()).await;
            self.bucket.put(&at("metadata.json"), b"{}".to_vec()).await;
            self.bucket.put(&at("version.txt"), b"1.0.0\n".to_vec()).await;
        }
    }

    /// What a reader finds: each version.txt names an image that is there, and is that version's; and which version is in
    /// production.
    async fn read(&self, product: &str, case: &str) -> String {
        let read = async |path: &str| self.bucket.get(&format!("{product}/{path}")).await;
        let mut in_production = String::new();
        for place in ["production", "releases/v1.0.0", "releases/v1.1.0"] {
            let Some(named) = read(&format!("{place}/version.txt")).await else { continue };
            let named = String::from_utf8(named).unwrap().trim().to_owned();
            let expected = self.image(&named);
            let release = read(&format!("releases/v{named}/firmware.bin")).await;
            assert!(
                release.as_deref() == Some(&*expected),
                "{case}: {place}/version.txt names {named}, whose image is another"
            );
            if place == "production" {
                // Between its image and its version.txt a channel has the next image already; never a part of one.
                let image = read("production/firmware.bin").await.unwrap_or_default();
                let is_next = named == "1.0.0" && image == self.image("1.1.0");
                assert!(
                    image == expected || is_next,
                    "{case}: production has an image that nobody published"
                );
                in_production = named;
            } else {
                assert_eq!(place, format!("releases/v{named}"), "{case}");
            }
        }
        in_production
    }

    fn image(&self, version: &str) -> Vec<u8> {
        let path: &Path = match version {
            "1.0.0" => &self.old,
            "1.1.0" => &self.new,
            other => panic!("nobody published {other}"),
        };
        std::fs::read(path).unwrap()
    }

    /// That it is 1.1.0 everywhere.
    async fn is_done(&self, product: &str, case: &str) {
        assert_eq!(self.read(product, case).await, "1.1.0", "{case}");
        for place in ["production", "releases/v1.1.0"] {
            let image = self.bucket.get(&format!("{product}/{place}/firmware.bin")).await;
            assert!(image == Some(self.image("1.1.0")), "{case}: {place}");
        }
    }

    /// Kills at the nth request, and runs the command again, with a reader beside it.
    async fn case(self, request: usize, kill: Kill) -> Case {
        let product = format!("lamp-{request}-{}", kill.name());
        let case = format!("killed at request {request}, which was {kill:?}");
        self.begin(&product).await;
        let mut toll = Toll::start(&self.bucket).await;
        toll.arm(request, kill);
        let reader = Reader::start(&self, &product, &case).await;
        let mut child = spawn(self.publish(&product, toll.port()));
        let is_killed = match toll.end(&mut child).await {
            Ended::Due(_request_waits) => {
                child.kill().await.expect("it runs still: it waits for the answer");
                true
            }
            Ended::Before(status) => {
                assert!(status.success(), "{case}: it ended before, by itself: {status}");
                false
            }
        };
        let left_behind = self.read(&product, &case).await;
        assert!(!left_behind.is_empty(), "{case}: production is gone");
        let again = Said::by(self.publish(&product, self.bucket.port())).await;
        assert_eq!(again.code, Some(0), "{case}, then run again: {again:?}");
        self.is_done(&product, &format!("{case}, then run again")).await;
        Case { is_killed, reads: reader.stop().await }
    }
}

/// What came of one case.
struct Case {
    /// Else it had ended before.
    is_killed: bool,
    reads: usize,
}

fn spawn(command: std::process::Command) -> Child {
    let mut command = tokio::process::Command::from(command);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command.spawn().unwrap()
}

fn is_all() -> bool {
    std::env::var("KILLS").is_ok_and(|kills| kills == "all")
}

/// Each of these requests, killed in both ways or in one alternately.
fn kills(requests: impl Iterator<Item = usize>) -> impl Iterator<Item = (usize, Kill)> {
    requests.enumerate().flat_map(|(index, request)| {
        let kill = if index % 2 == 0 { Kill::Answered } else { Kill::Unheard };
        let kills = if is_all() { vec![Kill::Unheard, Kill::Answered] } else { vec![kill] };
        kills.into_iter().map(move |kill| (request, kill))
    })
}

#[tokio::test]
async fn a_publisher_killed_at_every_request_leaves_only_whole_images_and_is_run_again() {
    let workshop = Workshop::open();
    let shop = Shop::open(&workshop).await;
    let mut cases = kills(1..REQUESTS_MAX);
    let (mut running, mut killed, mut reads, mut is_over) = (JoinSet::new(), 0, 0, false);
    loop {
        while running.len() < TOGETHER && !is_over {
            let (request, kill) = cases.next().expect("a publish ends");
            running.spawn(shop.clone().case(request, kill));
        }
        let Some(ended) = running.join_next().await else { break };
        let case = ended.unwrap_or_else(|failed| std::panic::resume_unwind(failed.into_panic()));
        killed += usize::from(case.is_killed);
        reads += case.reads;
        is_over |= !case.is_killed;
    }
    println!("{killed} kills, {reads} reads");
    assert!(killed > 10, "a publish with its promotion asks for more than that: {killed}");
}
