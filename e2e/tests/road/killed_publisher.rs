//! kill -9 of `updraft publish --store s3://… --promote` at each request that it makes: what is in the bucket is whole, and
//! the same command run again succeeds.
//!
//! `KILLS=all` kills at each request both before the bucket hears it and after the bucket answered; without it one of the
//! two, by turns (scripts/prove has the time for both).
use std::path::{Path, PathBuf};
use std::process::Stdio;

use e2e::bucket::Bucket;
use e2e::command::{Said, updraft};
use e2e::images::Workshop;
use tokio::task::JoinSet;

use self::toll::{Kill, Toll};

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

    /// Kills at the nth request, looks, and runs the command again. False: it had ended before.
    async fn case(self, request: usize, kill: Kill) -> bool {
        let product =
            format!("lamp-{request}-{}", if kill == Kill::Unheard { "unheard" } else { "answered" });
        let case = format!("killed at request {request}, which was {kill:?}");
        self.begin(&product).await;
        let mut toll = Toll::start(&self.bucket, request, kill).await;
        let mut command = tokio::process::Command::from(self.publish(&product, toll.port()));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let child = command.spawn().unwrap();
        let is_killed = toll.end(child, &case).await;
        let left_behind = self.read(&product, &case).await;
        assert!(!left_behind.is_empty(), "{case}: production is gone");
        let again = Said::by(self.publish(&product, self.bucket.port())).await;
        assert_eq!(again.code, Some(0), "{case}, then run again: {again:?}");
        assert_eq!(self.read(&product, &case).await, "1.1.0", "{case}, then run again");
        let production = self.bucket.get(&format!("{product}/production/firmware.bin")).await;
        assert!(production == Some(self.image("1.1.0")), "{case}, then run again");
        is_killed
    }
}

#[tokio::test]
async fn a_publisher_killed_at_every_request_leaves_only_whole_images_and_is_run_again() {
    let all = std::env::var("KILLS").is_ok_and(|kills| kills == "all");
    let workshop = Workshop::open();
    let shop = Shop::open(&workshop).await;
    let mut cases = (1..REQUESTS_MAX).flat_map(|request| {
        let turn = if request % 2 == 0 { Kill::Unheard } else { Kill::Answered };
        let kills = if all { vec![Kill::Unheard, Kill::Answered] } else { vec![turn] };
        kills.into_iter().map(move |kill| (request, kill))
    });
    let (mut running, mut killed, mut is_over) = (JoinSet::new(), 0, false);
    loop {
        while running.len() < TOGETHER && !is_over {
            let (request, kill) = cases.next().expect("a publish ends");
            running.spawn(shop.clone().case(request, kill));
        }
        let Some(ended) = running.join_next().await else { break };
        let is_killed = ended.unwrap_or_else(|failed| std::panic::resume_unwind(failed.into_panic()));
        killed += usize::from(is_killed);
        is_over |= !is_killed;
    }
    println!("{killed} kills");
    assert!(killed > 10, "a publish with its promotion asks for more than that: {killed}");
}
