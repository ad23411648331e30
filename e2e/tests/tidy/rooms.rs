//! The rooms of a crate: folders that import down, and never back up.

use crate::circles::edges_of;
use crate::project::none;

/// The crate, one of its rooms, and the rooms that this one may import.
const ROOMS: &[(&str, &str, &[&str])] = &[
    ("server", "web", &["access", "devices", "updates", "releases"]),
    ("server", "updates", &["access", "devices", "releases", "db", "mqtt"]),
    ("server", "devices", &["access", "releases", "db", "mqtt"]),
    ("server", "releases", &["db"]),
    ("server", "access", &["db"]),
    ("server", "db", &[]),
    ("server", "mqtt", &[]),
    ("store", "releases", &["objects"]),
    ("store", "objects", &[]),
];

/// Where the rooms are.
pub(crate) fn folders() -> impl Iterator<Item = String> {
    ROOMS.iter().map(|(name, room, _)| format!("crates/{name}/src/{room}"))
}

/// The room of a file, if it is in one.
fn room(name: &str, file: &str) -> Option<&'static (&'static str, &'static str, &'static [&'static str])> {
    let below = file.strip_prefix("crates/")?.strip_prefix(name)?.strip_prefix("/src/")?;
    let first = below.split('/').next()?;
    let first = first.strip_suffix(".rs").unwrap_or(first);
    ROOMS.iter().find(|(of, room, _)| *of == name && *room == first)
}

#[test]
fn rooms_import_down_only() {
    let mut wrong = Vec::new();
    let mut names: Vec<_> = ROOMS.iter().map(|(name, _, _)| *name).collect();
    names.dedup();
    for name in names {
        for ((from, to), what) in edges_of(&format!("crates/{name}/src/lib.rs")) {
            let (Some(above), Some(below)) = (room(name, &from), room(name, &to)) else { continue };
            if above.1 != below.1 && !above.2.contains(&below.1) {
                let what: Vec<_> = what.iter().map(String::as_str).collect();
                wrong.push(format!(
                    "{from} -> {to} ({}): {} must not import {}",
                    what.join(", "),
                    above.1,
                    below.1
                ));
            }
        }
    }
    none(&wrong);
}

#[test]
fn a_file_knows_its_room() {
    let name = |file: &str| room("server", file).map(|room| room.1);
    assert_eq!(name("crates/server/src/db.rs"), Some("db"));
    assert_eq!(name("crates/server/src/db/device.rs"), Some("db"));
    assert_eq!(name("crates/server/src/dbx.rs"), None);
    assert_eq!(name("crates/store/src/db.rs"), None);
}
