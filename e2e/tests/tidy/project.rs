//! The files of the project.

use std::path::Path;
use std::process::Command;

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("e2e/ is in the workspace")
}

/// All files of the project, relative to its root: tracked ones, and new ones that are not ignored.
pub(crate) fn files() -> Vec<String> {
    let output = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output()
        .expect("git ls-files runs (install git)");
    let listed = String::from_utf8_lossy(&output.stdout).into_owned();
    let there = |file: &&str| root().join(file).is_file();
    let files: Vec<String> = listed.lines().filter(there).map(str::to_owned).collect();
    assert!(files.len() > 10, "git lists no files in {}", root().display());
    files
}

/// The file's text; empty for one that is not text.
pub(crate) fn read(path: &Path) -> String {
    String::from_utf8(std::fs::read(path).unwrap_or_default()).unwrap_or_default()
}

pub(crate) fn is_rust(file: &str) -> bool {
    has_extension(file, "rs")
}

pub(crate) fn has_extension(file: &str, wanted: &str) -> bool {
    Path::new(file).extension().is_some_and(|extension| extension == wanted)
}

pub(crate) fn is_test(file: &str) -> bool {
    file.ends_with("/tests.rs") || file.contains("/tests/") || file.contains("/examples/")
}

/// The rows of the table whose first line is this, each as its cells.
pub(crate) fn table(markdown: &str, head: &str) -> Vec<Vec<String>> {
    let rows = markdown.lines().skip_while(|line| *line != head).skip(2);
    let rows: Vec<Vec<String>> = rows
        .take_while(|line| line.starts_with('|'))
        .map(|row| row[1..].trim_end_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect())
        .collect();
    assert!(!rows.is_empty(), "there is no table {head}");
    rows
}

/// The words of a cell, with commas between.
pub(crate) fn list(cell: &str) -> Vec<String> {
    cell.split(',').map(|word| word.trim().to_owned()).filter(|word| !word.is_empty()).collect()
}

/// Fails with all sentences, if there are any.
pub(crate) fn none(wrong: &[String]) {
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}
