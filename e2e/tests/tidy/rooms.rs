//! The rooms of a crate: folders that import down, and never back up.

use std::collections::BTreeSet;

use crate::circles::edges_of;
use crate::project::{files, list, none, read, root, table};

/// A room of a crate, and those that it may import.
struct Room {
    of: String,
    name: String,
    below: Vec<String>,
}

/// The table of `ARCHITECTURE.md`.
fn rooms() -> Vec<Room> {
    let rows = table(&read(&root().join("ARCHITECTURE.md")), "| crate | room | may import |");
    let rows = rows.into_iter();
    rows.map(|row| Room { of: row[0].clone(), name: row[1].clone(), below: list(&row[2]) }).collect()
}

/// Where the rooms are.
pub(crate) fn folders() -> impl Iterator<Item = String> {
    rooms().into_iter().map(|room| format!("crates/{}/src/{}", room.of, room.name))
}

/// The room of a file, if it is in one.
fn room<'a>(rooms: &'a [Room], of: &str, file: &str) -> Option<&'a Room> {
    let below = file.strip_prefix("crates/")?.strip_prefix(of)?.strip_prefix("/src/")?;
    let first = below.split('/').next()?;
    let first = first.strip_suffix(".rs").unwrap_or(first);
    rooms.iter().find(|room| room.of == of && room.name == first)
}

#[test]
fn rooms_import_down_only() {
    let mut wrong = Vec::new();
    let rooms = rooms();
    let mut crates: Vec<_> = rooms.iter().map(|room| room.of.as_str()).collect();
    crates.dedup();
    for of in crates {
        for ((from, to), what) in edges_of(&format!("crates/{of}/src/lib.rs")) {
            let (Some(above), Some(below)) = (room(&rooms, of, &from), room(&rooms, of, &to)) else {
                continue;
            };
            if above.name != below.name && !above.below.contains(&below.name) {
                let what: Vec<_> = what.iter().map(String::as_str).collect();
                let (what, above, below) = (what.join(", "), &above.name, &below.name);
                wrong.push(format!("{from} -> {to} ({what}): {above} must not import {below}"));
            }
        }
    }
    none(&wrong);
}

/// A folder that is no room could import whatever it likes.
#[test]
fn each_folder_of_a_crate_with_rooms_is_one() {
    // What lies below all rooms or above them, and its own file beside it is.
    let others = ["config", "run", "tests"];
    let rooms = rooms();
    let mut wrong = BTreeSet::new();
    for file in files() {
        let Some(below) = file.strip_prefix("crates/").and_then(|file| file.split_once("/src/")) else {
            continue;
        };
        let (of, Some((folder, _))) = (below.0, below.1.split_once('/')) else { continue };
        let has_rooms = rooms.iter().any(|room| room.of == of);
        if has_rooms && !others.contains(&folder) && room(&rooms, of, &file).is_none() {
            wrong.insert(format!("crates/{of}/src/{folder}/: give it a row in ARCHITECTURE.md"));
        }
    }
    none(&wrong.into_iter().collect::<Vec<_>>());
}

#[test]
fn a_file_knows_its_room() {
    let rooms = rooms();
    let name = |file: &str| room(&rooms, "server", file).map(|room| room.name.as_str());
    assert_eq!(name("crates/server/src/db.rs"), Some("db"));
    assert_eq!(name("crates/server/src/db/device.rs"), Some("db"));
    assert_eq!(name("crates/server/src/dbx.rs"), None);
    assert_eq!(name("crates/store/src/db.rs"), None);
}
