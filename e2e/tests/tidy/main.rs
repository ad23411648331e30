//! The rules of this project that a machine can check: who may depend on whom, what must never be where, how
//! large a file may grow. A function's length is checked by clippy (`clippy.toml`).

mod circles;
mod graph;
mod modules;
mod project;
mod rooms;
mod source;
mod words;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use project::{files, has_extension, is_rust, is_test, list, none, read, root, table};

const RUST_FILE_MAX_LINES: usize = 500;
/// Of the files that are no tests, half are at most this long.
const RUST_FILE_MEDIAN_LINES: usize = 130;

/// Crates that must run on a chip.
const NO_STD: &[&str] = &["contract", "image", "agent"];

/// The crates that do nothing by themselves.
const PURE: &[&str] = &["updraft-fleet", "updraft-oidc"];

/// What the pure crates must not depend on.
const IMPURE: &[&str] =
    &["sqlx", "sea-orm", "tokio", "rumqttc-v5-next", "rmqtt-codec", "axum", "reqwest", "getrandom"];

/// Words that belong in one place only: what, the paths where it is at home, and why.
const AT_HOME: &[(&[&str], &[&str], &str)] = &[
    (
        &[
            "SELECT ",
            "INSERT INTO",
            "DELETE FROM",
            "CREATE TABLE",
            "ALTER TABLE",
            "Statement::",
            "EntityTrait",
            "sqlx::",
        ],
        &["crates/server/src/db"],
        "SQL lives in server/db",
    ),
    (
        &["tracing_subscriber::registry", "tracing_subscriber::fmt", "with_default(", "set_global_default"],
        &["crates/updraft/src/log.rs"],
        "all that is logged passes the one limiter",
    ),
    (
        &["println!", "eprint", "io::stderr"],
        &["crates/updraft/", "crates/agent/footprint/build.rs"],
        "a library logs, and prints nothing",
    ),
    (&["\"devices/"], &["crates/contract/"], "topic strings live in contract"),
    (
        &["\"esp32"],
        // As a default, or an example of a product's name.
        &["crates/image/", "crates/server/src/config", "crates/server/src/web/dashboard"],
        "chip names live in image and firmware",
    ),
    (
        &["html!", "maud::", "<html", "<!DOCTYPE", "<div"],
        &["crates/server/src/web/dashboard"],
        "HTML lives in server/web/dashboard",
    ),
    (
        &["SystemTime", "Utc::now", "Instant::now", "thread_rng", "tokio::"],
        &[
            "crates/broker/",
            "crates/flight/",
            "crates/listen/",
            "crates/server/",
            "crates/store/",
            "crates/updraft/",
            "crates/virtual-device/",
        ],
        "fleet, oidc and the no_std crates are given times, and do nothing by themselves",
    ),
    (
        &["std::", "async fn", ".await"],
        &[
            "crates/broker/",
            "crates/flight/",
            "crates/listen/",
            "crates/server/",
            "crates/store/",
            "crates/updraft/",
            "crates/virtual-device/",
            "crates/fleet/",
            "crates/cause/",
            "crates/oidc/",
            "crates/api/",
            // A build script, which runs on the host.
            "crates/agent/footprint/build.rs",
        ],
        "contract, image and agent run without std and without async",
    ),
    (
        &["alloc::"],
        &[
            "crates/broker/",
            "crates/server/",
            "crates/store/",
            "crates/updraft/",
            "crates/virtual-device/",
            "crates/fleet/",
            "crates/cause/",
            "crates/oidc/",
            "crates/api/",
            "crates/image/src/build",
            "crates/image/src/signing",
        ],
        "contract, image and agent run without an allocator",
    ),
];

#[test]
fn crates_depend_along_the_arrows_only() {
    let arrows = arrows();
    let allowed: BTreeMap<&str, BTreeSet<&str>> =
        arrows.iter().map(|(name, _)| (name.as_str(), reachable(&arrows, name))).collect();
    let mut wrong = Vec::new();
    for package in packages() {
        let Some(allowed) = allowed.get(package.name.as_str()) else {
            wrong.push(format!("{}: not in the arrows of ARCHITECTURE.md", package.name));
            continue;
        };
        for dependency in &package.ours {
            if !allowed.contains(dependency.as_str()) {
                wrong.push(format!("{} must not depend on {dependency}", package.name));
            }
        }
    }
    none(&wrong);
}

#[test]
fn the_pure_crates_have_no_impure_dependency() {
    let mut wrong = Vec::new();
    for package in packages().iter().filter(|package| PURE.contains(&package.name.as_str())) {
        for dependency in package.others.iter().filter(|name| IMPURE.contains(&name.as_str())) {
            wrong.push(format!("{} must not depend on {dependency}", package.name));
        }
    }
    none(&wrong);
}

#[test]
fn crates_for_the_chip_declare_no_std() {
    let mut wrong = Vec::new();
    for name in NO_STD {
        let path = root().join("crates").join(name).join("src/lib.rs");
        if !read(&path).contains("#![no_std]") {
            wrong.push(format!("{}: no #![no_std]", path.display()));
        }
    }
    none(&wrong);
}

#[test]
fn words_stay_where_they_are_at_home() {
    let mut wrong = Vec::new();
    for file in files().iter().filter(|file| is_rust(file) && file.starts_with("crates/") && !is_test(file)) {
        for (number, line) in product_lines(&read(&root().join(file))) {
            for (words, homes, why) in AT_HOME {
                let word = words.iter().find(|word| line.contains(**word));
                if let (Some(word), false) = (word, homes.iter().any(|home| file.starts_with(home))) {
                    wrong.push(format!("{file}:{number}: {word:?}: {why}"));
                }
            }
        }
    }
    none(&wrong);
}

#[test]
fn no_rust_file_grows_too_large() {
    let mut wrong = Vec::new();
    for file in files().iter().filter(|file| is_rust(file)) {
        let lines = read(&root().join(file)).lines().count();
        if lines > RUST_FILE_MAX_LINES {
            wrong.push(format!("{file}: {lines} lines; one file, one idea ({RUST_FILE_MAX_LINES} at most)"));
        }
    }
    none(&wrong);
}

/// Of these crates others would compile anew what they await. What is tried out in tests may be.
#[test]
fn what_other_crates_await_is_in_a_box() {
    let is_awaited = |file: &&String| {
        let crates = ["crates/server/src/", "crates/store/src/", "crates/virtual-device/src/"];
        crates.iter().any(|folder| file.starts_with(folder)) && !file.ends_with("/testing.rs")
    };
    let mut wrong = Vec::new();
    for file in files().iter().filter(is_awaited).filter(|file| is_rust(file) && !is_test(file)) {
        let text = read(&root().join(file));
        let lines: Vec<&str> = product_lines(&text).into_iter().map(|(_, line)| line.trim()).collect();
        let bare = lines.windows(2).filter(|pair| pair[1].starts_with("pub async fn"));
        let bare = bare.filter(|pair| pair[0] != "#[crate::boxed]");
        wrong.extend(bare.map(|pair| format!("{file}: {} needs #[crate::boxed] above it", pair[1])));
    }
    none(&wrong);
}

#[test]
fn half_of_the_rust_files_are_short() {
    let product = files().into_iter().filter(|file| is_rust(file) && !is_test(file));
    let mut lengths: Vec<_> = product.map(|file| (read(&root().join(&file)).lines().count(), file)).collect();
    lengths.sort();
    let (median, file) = &lengths[lengths.len() / 2];
    assert!(*median <= RUST_FILE_MEDIAN_LINES, "{file} is the median, with {median} lines");
}

/// Else a rule is kept by nobody, after a crate or a folder was renamed.
#[test]
fn every_name_in_the_lists_exists() {
    let packages = packages();
    let is_package = |name: &&str| packages.iter().any(|package| package.name == **name);
    let arrows = arrows();
    let arrows = arrows.iter().flat_map(|(name, to)| to.iter().chain([name])).map(String::as_str);
    let unknown = arrows.chain(PURE.iter().copied()).filter(|name| !is_package(name));
    let mut wrong: Vec<_> = unknown.map(|name| format!("{name}: no package of this workspace")).collect();
    let folders = NO_STD.iter().map(|name| format!("crates/{name}/src/lib.rs"));
    let homes = AT_HOME.iter().flat_map(|(_, homes, _)| *homes).map(|home| (*home).to_owned());
    let files = files();
    for path in folders.chain(homes).chain(rooms::folders()) {
        if !files.iter().any(|file| file.starts_with(&path)) {
            wrong.push(format!("{path}: no file of the project begins so"));
        }
    }
    none(&wrong);
}

#[test]
fn file_names_say_what_is_inside() {
    let empty_words = ["mod", "utils", "util", "helpers", "helper", "common", "manager", "core", "misc"];
    let mut wrong = Vec::new();
    for file in files().iter().filter(|file| is_rust(file)) {
        let stem = Path::new(file).file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if empty_words.contains(&stem.as_str()) {
            wrong.push(format!("{file}: name it after what it owns; foo.rs beside foo/, not mod.rs"));
        }
    }
    none(&wrong);
}

#[test]
fn nothing_is_left_half_done() {
    // Put together here, so that this file does not find itself.
    let marks = [
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("to", "do!("),
        concat!("unimple", "mented!("),
        concat!("#[ig", "nore"),
        concat!("allow(dead", "_code)"),
    ];
    wordless(&marks, "finish it, or write down as an issue what is missing");
}

#[test]
fn no_path_of_one_machine_is_written_down() {
    wordless(
        &[concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/ho", "me/")],
        "holds on one machine only",
    );
}

#[test]
fn shell_scripts_stop_at_the_first_error() {
    let mut wrong = Vec::new();
    for file in files() {
        let text = read(&root().join(&file));
        let is_shell = has_extension(&file, "sh")
            || text.starts_with("#!/usr/bin/env bash")
            || text.starts_with("#!/bin/");
        let first = text.lines().find(|line| !line.is_empty() && !line.starts_with('#'));
        if is_shell && first != Some("set -euo pipefail") {
            wrong.push(format!("{file}: its first command is to be `set -euo pipefail`"));
        }
    }
    none(&wrong);
}

/// `CARGO_TARGET_DIR` is absolute for most who set it.
#[test]
fn no_script_puts_a_folder_before_that_of_the_builds() {
    let scripts = files().into_iter().filter(|file| file.starts_with("scripts/"));
    let wrong: Vec<_> = scripts
        .flat_map(|file| {
            let text = read(&root().join(&file));
            let lines = text.lines().enumerate().filter(|(_, line)| {
                line.contains("/${CARGO_TARGET_DIR") || line.contains("/$CARGO_TARGET_DIR")
            });
            lines.map(|(number, line)| format!("{file}:{}: {line}", number + 1)).collect::<Vec<_>>()
        })
        .collect();
    none(&wrong);
}

#[test]
fn every_relative_link_in_the_documents_resolves() {
    let mut wrong = Vec::new();
    for file in files().iter().filter(|file| has_extension(file, "md")) {
        let path = root().join(file);
        let folder = path.parent().unwrap_or(root()).to_path_buf();
        for target in links(&read(&path)) {
            let target = target.split(['#', ' ']).next().unwrap_or_default();
            let outside = target.contains("://") || target.starts_with("mailto:");
            if !target.is_empty() && !outside && !folder.join(target).exists() {
                wrong.push(format!("{file}: links to {target}, which is not there"));
            }
        }
    }
    none(&wrong);
}

#[test]
fn versions_and_lints_are_set_in_one_place() {
    let mut wrong = Vec::new();
    for file in files().iter().filter(|file| file.ends_with("/Cargo.toml") && !file.starts_with("firmware/"))
    {
        let text = read(&root().join(file));
        if text.contains("\n[workspace]") {
            continue; // another workspace, with versions of its own
        }
        if !text.contains("[lints]\nworkspace = true") {
            wrong.push(format!("{file}: without the workspace's lints"));
        }
        let mut in_dependencies = false;
        for line in text.lines() {
            if line.starts_with('[') {
                in_dependencies = line.contains("dependencies]");
            } else if in_dependencies
                && line.contains('=')
                && !line.contains("workspace")
                && !line.contains("path = \".\"")
            {
                wrong.push(format!("{file}: {line}: say the version in [workspace.dependencies]"));
            }
        }
    }
    none(&wrong);
}

/// A workspace member and what it is built from (not what only its tests use).
struct Package {
    name: String,
    ours: Vec<String>,
    others: Vec<String>,
}

fn packages() -> Vec<Package> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(root())
        .output()
        .expect("cargo metadata runs");
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).expect("cargo metadata is JSON");
    let of = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let list = |value: &serde_json::Value| value.as_array().cloned().unwrap_or_default();
    list(&metadata["packages"])
        .iter()
        .map(|package| {
            let built_from: Vec<_> = list(&package["dependencies"])
                .into_iter()
                .filter(|dependency| dependency["kind"].as_str() != Some("dev"))
                .collect();
            let (ours, others): (Vec<_>, Vec<_>) =
                built_from.into_iter().partition(|dependency| dependency["path"].is_string());
            Package {
                name: of(&package["name"]),
                ours: ours.iter().map(|dependency| of(&dependency["name"])).collect(),
                others: others.iter().map(|dependency| of(&dependency["name"])).collect(),
            }
        })
        .collect()
}

/// The table of `ARCHITECTURE.md`: each package, and those that it may name. What a crate may name, its users may name too.
fn arrows() -> Vec<(String, Vec<String>)> {
    let package = |name: &str| if name == "updraft" { name.to_owned() } else { format!("updraft-{name}") };
    let rows = table(&read(&root().join("ARCHITECTURE.md")), "| crate | may use |");
    rows.into_iter()
        .map(|row| (package(&row[0]), list(&row[1]).iter().map(|name| package(name)).collect()))
        .collect()
}

fn reachable<'a>(arrows: &'a [(String, Vec<String>)], name: &str) -> BTreeSet<&'a str> {
    let direct = arrows.iter().find(|(from, _)| from == name).map_or(&[][..], |(_, to)| to);
    direct.iter().flat_map(|next| reachable(arrows, next).into_iter().chain([next.as_str()])).collect()
}

/// What the page names as files is there.
#[test]
fn every_file_that_the_architecture_names_exists() {
    let files = files();
    let page = read(&root().join("ARCHITECTURE.md"));
    let named = page.split('`').skip(1).step_by(2).filter(|name| name.contains('/') && is_rust(name));
    let is_there = |name: &str| files.contains(&format!("crates/{name}"));
    let missing = named.filter(|name| !is_there(name) && !files.iter().any(|file| file == name));
    none(&missing.map(|name| format!("ARCHITECTURE.md: there is no {name}")).collect::<Vec<_>>());
}

/// The lines that are neither comment nor test, numbered from 1. An inline test module ends a file.
fn product_lines(text: &str) -> Vec<(usize, &str)> {
    let product = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    product
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
        .map(|(index, line)| (index + 1, line))
        .collect()
}

/// The targets of `[text](target)`.
fn links(markdown: &str) -> Vec<&str> {
    markdown
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split(')').next())
        .filter(|target| !target.contains('\n'))
        .collect()
}

fn wordless(words: &[&str], why: &str) {
    let mut wrong = Vec::new();
    for file in files().iter().filter(|file| !has_extension(file, "lock")) {
        for (index, line) in read(&root().join(file)).lines().enumerate() {
            if let Some(word) = words.iter().find(|word| line.contains(**word)) {
                wrong.push(format!("{file}:{}: {word}: {why}", index + 1));
            }
        }
    }
    none(&wrong);
}

#[test]
fn each_test_that_the_page_of_compatibility_names_is_there() {
    let page = read(&root().join("docs/compatibility.md"));
    let tests: String =
        files().into_iter().filter(|file| is_rust(file)).map(|file| read(&root().join(file))).collect();
    let rows = page.lines().filter(|line| line.starts_with("| ") && line.ends_with(" |"));
    let mut named = 0;
    let mut missing = Vec::new();
    for row in rows {
        let cells: Vec<&str> = row.split(" | ").collect();
        let Some(name) = cells.get(2).and_then(|cell| cell.split('`').nth(1)) else { continue };
        named += 1;
        if !tests.contains(&format!("fn {name}(")) {
            missing.push(format!("docs/compatibility.md: there is no test {name}"));
        }
    }
    assert!(named > 20, "only {named} tests are named");
    none(&missing);
}
