//! Figures are those of a walk through all devices, whatever is written.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use contract::ProductName;
use flight::Answer;
use sea_orm::{ConnectionTrait, EntityTrait};

use super::super::connection::Query;
use super::super::figures::Counted;
use super::*;

/// Every figure as a text: of all devices, of each product, and the reasons.
type All = (Vec<String>, BTreeMap<String, u64>, BTreeMap<String, u64>);

async fn walked(db: &Db) -> All {
    let devices = device::Entity::find().all(db.connection()).await.expect("read");
    let numbers: Vec<i64> = devices.iter().filter_map(|device| device.update_id).collect();
    let updates = update::by_ids(db, &numbers).await.expect("read");
    let (mut products, mut reasons) = (BTreeMap::new(), BTreeMap::new());
    for device in &devices {
        if let Some(Text(product)) = &device.product {
            *products.entry(product.to_string()).or_insert(0) += 1;
        }
        let newest = updates.iter().find(|update| Some(update.id) == device.update_id);
        let bad =
            |update: &&UpdateRow| matches!(*update.state, UpdateState::Failed | UpdateState::RolledBack);
        if let Some(update) = newest.filter(bad).filter(|update| update.reason.ends_with(']')) {
            *reasons.entry(update.reason.clone()).or_insert(0) += 1;
        }
    }
    let of = |product: Option<&ProductName>| {
        let (mut count, mut online, mut states) = (0, 0, BTreeMap::new());
        for device in &devices {
            if product.is_none() || device.product.as_deref() == product {
                count += 1;
                online += i32::from(device.online_epoch == db.epoch());
                if let Some(update) = updates.iter().find(|update| Some(update.id) == device.update_id) {
                    *states.entry(update.state.as_str()).or_insert(0) += 1;
                }
            }
        }
        format!("{count} {online} {states:?}")
    };
    (of_each(of), products, reasons)
}

async fn counted(db: &Db) -> All {
    let figures = count::count(db).await.expect("counted");
    let of = |product: Option<&ProductName>| {
        let counts = figures.of(product);
        let states: BTreeMap<_, _> = counts.newest.iter().map(|(state, n)| (state.as_str(), *n)).collect();
        format!("{} {} {states:?}", counts.devices, counts.online)
    };
    let products = figures.products().map(|(product, devices)| (product.to_string(), devices)).collect();
    (of_each(of), products, figures.reasons.iter().cloned().collect())
}

fn of_each(of: impl Fn(Option<&ProductName>) -> String) -> Vec<String> {
    let product = |name: &str| of(Some(&name.parse().expect("a product")));
    vec![of(None), product("p"), product("q")]
}

#[tokio::test]
async fn figures_are_those_of_a_walk_through_all_devices() {
    let (_folder, db) = open().await;
    let mut random = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(seed);
    println!("SEED={random}");
    let mut next = move |below: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        usize::try_from(random % 1_000_003).expect("small") % below
    };
    for step in 0..150 {
        let mut write = db.write(&BY).await.expect("writes");
        let mut device = write.known(&id(&format!("d{}", next(6)))).await;
        match next(5) {
            0 => {
                device.product =
                    [Some("p"), Some("q"), None][next(3)].map(|p| Text(p.parse().expect("a name")));
            }
            1 => device.online_epoch = i64::try_from(next(2)).expect("small"),
            2 if device.update_state.is_none_or(|state| !state.is_in_flight()) => {
                let update = an_update(&device.id);
                write.insert_update(&mut device, update).await.expect("inserted");
            }
            3 => {
                if let Some(number) = device.update_id {
                    let (_, mut update) = write.lock_update(number).await.expect("read").expect("there");
                    update.state = Text(UpdateState::ALL[next(8)]);
                    update.reason = ["", "no [wrong_chip]", "no memory: 1234"][next(3)].to_owned();
                    write.save_both(&mut device, &update).await;
                }
            }
            4 if next(3) == 0 => {
                write.remove_device(device).await.expect("removed");
                write.commit().await.expect("committed");
                continue;
            }
            _ => {}
        }
        write.save_device(&mut device).await.expect("saved");
        write.commit().await.expect("committed");
        assert_eq!(counted(&db).await, walked(&db).await, "after {step} steps");
    }
}

#[tokio::test]
async fn a_count_that_fails_is_told_to_those_who_waited_and_hides_no_figures() {
    let (_folder, db) = open().await;
    let renamed = async |from, to| {
        let sql = format!("ALTER TABLE {from} RENAME TO {to}");
        db.connection().execute_unprepared(&sql).await.expect("renamed");
    };
    db.figures().await.expect("nobody is there");
    let counted = &db.figures.counted;
    let good = counted.last().and_then(|last| last.value.good).expect("kept");
    // As if it had taken no time: such are counted each time.
    counted.note(Counted { good: Some(Answer { ended: good.begun, ..good.clone() }), error: None });
    renamed("devices", "away").await;
    db.figures().await.expect_err("who waited is told");
    // As if it had taken a second, a while ago.
    let long_ago =
        |seconds| Instant::now().checked_sub(Duration::from_secs(seconds)).expect("up for so long");
    let good = Answer { begun: long_ago(31), ended: long_ago(30), ..good };
    counted.note(Counted { good: Some(good.clone()), error: None });
    for _ in 0..3 {
        db.figures().await.expect("those before");
        while counted.is_flying() {
            tokio::task::yield_now().await;
        }
        assert!(counted.last().is_some_and(|last| last.value.error.is_some()));
    }
    counted.note(Counted {
        good: Some(Answer { begun: long_ago(91), ended: long_ago(90), ..good }),
        error: None,
    });
    db.figures().await.expect_err("too old");
    renamed("away", "devices").await;
    db.figures().await.expect("no failure is answered again");
}

fn seed() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    u64::from(now.subsec_nanos()) | 1
}
