//! Lists of devices: whatever way the database takes, they are those of a walk through all devices.

use contract::ProductName;

use super::super::connection::Query;
use super::super::device_list::DeviceFilter;
use super::*;

/// More than a chunk has the tag `lab` and `lamp` in their ids, and more than all candidates have `all`.
const DEVICES: u64 = 12_000;

/// What is known of a device, made from its number.
struct Known {
    id: String,
    lower: String,
    product: &'static str,
    version: &'static str,
    tags: Vec<&'static str>,
    state: UpdateState,
    epoch: i64,
}

impl Known {
    fn new(number: u64) -> Self {
        let is = |every| number.is_multiple_of(every);
        let kind = if is(12) { "Pump_" } else { "lamp" };
        let id = format!("{kind}-{number:05}{}", if is(300) { "-RARE" } else { "" });
        let tags = [("lab", !is(7)), ("few", is(100)), ("all", !is(97))];
        Self {
            lower: id.to_lowercase(),
            id,
            product: if is(3) { "p" } else { "q" },
            version: if is(5) { "1.1.0" } else { "1.0.0" },
            tags: tags.into_iter().filter(|(_, has_it)| *has_it).map(|(tag, _)| tag).collect(),
            state: if is(200) { UpdateState::Failed } else { UpdateState::Succeeded },
            epoch: if is(11) {
                0
            } else if is(13) {
                1
            } else if is(17) {
                2
            } else {
                3
            },
        }
    }

    fn is_in(&self, filter: &DeviceFilter<'_>) -> bool {
        filter.product.is_none_or(|product| product.as_str() == self.product)
            && filter.version.is_none_or(|version| version == self.version)
            && filter.tag.is_none_or(|tag| self.tags.contains(&tag))
            && filter.contains.is_none_or(|text| self.lower.contains(&text.to_lowercase()))
            && filter.after.is_none_or(|after| self.id.as_str() > after)
            && (filter.states.is_empty() || filter.states.contains(&self.state))
            && filter.epoch.is_none_or(|epoch| self.epoch == epoch)
            && filter.not_epoch.is_none_or(|epoch| self.epoch != epoch)
    }
}

async fn filled() -> (TempDir, Db, Vec<Known>) {
    let (folder, db) = open().await;
    let mut all: Vec<Known> = (0..DEVICES).map(Known::new).collect();
    all.sort_by(|one, other| one.id.cmp(&other.id));
    let write = db.write(&BY).await.expect("writes");
    let ids: Vec<DeviceId> = all.iter().map(|known| id(&known.id)).collect();
    write.insert_devices(ids.clone(), 1).await.expect("inserted");
    let mut devices = write.lock_devices(&ids).await.expect("locked");
    for (device, known) in devices.iter_mut().zip(&all) {
        assert_eq!(device.id.as_str(), known.id);
        device.product = Some(known.product.parse::<ProductName>().expect("a product").into());
        device.version = Some(known.version.parse::<contract::Version>().expect("a version").into());
        device.update_state = Some(Text(known.state));
        device.online_epoch = known.epoch;
        let tags: Vec<String> = known.tags.iter().map(|tag| (*tag).to_owned()).collect();
        write.set_tags(device, &tags).await.expect("set");
    }
    write.save(devices.iter_mut().map(|device| (device, None))).await.expect("saved");
    write.commit().await.expect("committed");
    (folder, db, all)
}

#[tokio::test]
async fn lists_are_those_of_a_walk_through_all_devices() {
    let (_folder, db, mut all) = filled().await;
    let product: ProductName = "p".parse().expect("a product");
    for round in 0..2 {
        for combination in (0..4 * 3 * 7 * 2 * 4).step_by([1, 11][round]) {
            let mut left = combination;
            let mut choose = |from: usize| {
                let chosen = left % from;
                left /= from;
                chosen
            };
            let filter = DeviceFilter {
                tag: [None, Some("lab"), Some("few"), Some("all")][choose(4)],
                states: [&[][..], &[UpdateState::Failed], &[UpdateState::Succeeded, UpdateState::Failed]]
                    [choose(3)],
                contains: [
                    None,
                    Some("LAMP"),
                    Some("rare"),
                    Some("0"),
                    Some("p_-0"),
                    Some("\"x"),
                    Some("-0029"),
                ][choose(7)],
                product: [None, Some(&product)][choose(2)],
                ..[
                    DeviceFilter::default(),
                    DeviceFilter { epoch: Some(3), version: Some("1.1.0"), ..DeviceFilter::default() },
                    DeviceFilter { not_epoch: Some(3), ..DeviceFilter::default() },
                    DeviceFilter {
                        not_epoch: Some(4),
                        after: Some("Pump_-00100"),
                        ..DeviceFilter::default()
                    },
                ][choose(4)]
            };
            let expected: Vec<&str> = all
                .iter()
                .filter(|known| known.is_in(&filter))
                .map(|known| known.id.as_str())
                .take(20)
                .collect();
            let page = device_list::page(&db, &filter, 20).await.expect("listed");
            let ids: Vec<&str> = page.iter().map(|device| device.id.as_str()).collect();
            assert_eq!(ids, expected, "{filter:?}");
        }
        if round == 0 {
            // Whoever is removed, or comes twice, is not found any more, or once.
            let rare = all.iter().position(|known| known.id.contains("RARE")).expect("there");
            let gone = all.remove(rare);
            let write = db.write(&BY).await.expect("writes");
            let device = write.lock_device(&id(&gone.id)).await.expect("read").expect("there");
            write.remove_device(device).await.expect("removed");
            write.insert_devices(all.iter().map(|known| id(&known.id)).collect(), 9).await.expect("inserted");
            write.commit().await.expect("committed");
            if db.is_sqlite() {
                let count = db
                    .row("SELECT COUNT(*) AS n FROM device_ids", vec![])
                    .await
                    .expect("read")
                    .expect("a row");
                assert_eq!(
                    count.try_get::<i64>("", "n").expect("a number"),
                    i64::try_from(DEVICES - 1).expect("small")
                );
            }
        }
    }
}
