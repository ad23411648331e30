//! What does not answer, and since when.

use std::fmt::Display;

use chrono::{DateTime, Utc};

use crate::clock::time;
use crate::db::Db;
use crate::mqtt::{Delivery, Link, LinkState};
use crate::releases::StoreHealth;
use crate::tasks::Tasks;

/// Store, broker, database and the server's own tasks. Clones look at the same.
#[derive(Clone)]
pub struct Health {
    db: Db,
    store: StoreHealth,
    link: Link,
    delivery: Delivery,
    tasks: Tasks,
}

impl Health {
    pub(crate) fn new(db: Db, store: StoreHealth, (link, delivery): (Link, Delivery), tasks: Tasks) -> Self {
        Self { db, store, link, delivery, tasks }
    }

    /// One sentence for each thing that does not answer, with since when.
    #[crate::boxed]
    pub async fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if let Some((since, what)) = self.store.problem().await {
            problems.push(format!("The store has not answered since {}: {what}", clock(time(since))));
        }
        let link = self.link.borrow().clone();
        if let LinkState::Down { since, reason } = link {
            problems.push(format!("The broker has not answered since {}: {reason}", clock(since)));
        }
        problems.extend(self.delivery.problem().map(|(since, topics)| {
            format!(
                "The broker has delivered nothing since {} on topics that the server subscribes to; allow the server's user to \
                 read {topics}.",
                clock(since)
            )
        }));
        problems.extend(self.db.problem().await.map(str::to_owned));
        let stuck = self.tasks.stuck().into_iter();
        problems.extend(stuck.map(|name| {
            format!("{name} has got nowhere for minutes: look into the log, and start the server again.")
        }));
        problems
    }
}

fn clock(time: DateTime<Utc>) -> impl Display {
    time.format("%Y-%m-%d %H:%M:%S UTC")
}
