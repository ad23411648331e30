//! What is published in these tests, where, and what must then be there.
use std::path::{Path, PathBuf};
use std::process::Stdio;

use e2e::bucket::Bucket;
use e2e::command::updraft;
use e2e::images::Workshop;
use tokio::process::Child;

use super::toll::Kill;

/// More requests than a publish makes; else this would go on for ever.
pub(super) const REQUESTS_MAX: usize = 300;

#[derive(Clone)]
pub(super) struct Shop {
    pub(super) bucket: std::sync::Arc<Bucket>,
    old: PathBuf,
    pub(super) new: PathBuf,
}

impl Shop {
    pub(super) async fn open(workshop: &Workshop) -> Self {
        let bucket = std::sync::Arc::new(Bucket::start().await);
        Self { bucket, old: workshop.image("1.0.0"), new: workshop.image("1.1.0") }
    }

    pub(super) fn publish(&self, product: &str, port: u16) -> std::process::Command {
        let (image, store) = (self.new.display().to_string(), self.bucket.url_through(port));
        let mut command =
            updraft(["publish", &image, "-p", product, "--promote", "--json", "--store", &store]);
        command.envs(self.bucket.env());
        command
    }

    /// 1.0.0 is published and in production, as another program would have it.
    pub(super) async fn begin(&self, product: &str) {
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
    pub(super) async fn read(&self, product: &str, case: &str) -> String {
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

    /// Takes a product out of the bucket: who publishes looks at the blocked list of each.
    pub(super) async fn clear(&self, product: &str) {
        for place in ["production", "releases/v1.0.0", "releases/v1.1.0"] {
            for file in ["firmware.bin", "metadata.json", "version.txt"] {
                self.bucket.delete(&format!("{product}/{place}/{file}")).await;
            }
        }
    }

    /// That it is 1.1.0 everywhere.
    pub(super) async fn is_done(&self, product: &str, case: &str) {
        assert_eq!(self.read(product, case).await, "1.1.0", "{case}");
        for place in ["production", "releases/v1.1.0"] {
            let image = self.bucket.get(&format!("{product}/{place}/firmware.bin")).await;
            assert!(image == Some(self.image("1.1.0")), "{case}: {place}");
        }
    }
}

/// What came of one case.
pub(super) struct Case {
    /// Else it had ended before.
    pub(super) is_killed: bool,
    pub(super) reads: usize,
}

pub(super) fn spawn(command: std::process::Command) -> Child {
    let mut command = tokio::process::Command::from(command);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command.spawn().unwrap()
}

pub(super) fn is_all() -> bool {
    std::env::var("KILLS").is_ok_and(|kills| kills == "all")
}

/// Each of these requests, killed in both ways or in one alternately.
pub(super) fn kills(requests: impl Iterator<Item = usize>) -> impl Iterator<Item = (usize, Kill)> {
    requests.enumerate().flat_map(|(index, request)| {
        let kill = if index % 2 == 0 { Kill::Answered } else { Kill::Unheard };
        let kills = if is_all() { vec![Kill::Unheard, Kill::Answered] } else { vec![kill] };
        kills.into_iter().map(move |kill| (request, kill))
    })
}
