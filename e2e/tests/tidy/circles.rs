//! No file imports one that imports it back, over whatever way.

use crate::graph::{Edges, circles, edges};
use crate::project::{files, none, read, root};

/// The root files of all crates, also of those in other workspaces.
pub(crate) fn crate_roots() -> Vec<String> {
    let is_root = |file: &String| {
        let ours = ["crates/", "e2e/", "benches/"].iter().any(|folder| file.starts_with(folder));
        ours && (file.ends_with("/src/lib.rs") || file.ends_with("/src/main.rs"))
    };
    files().into_iter().filter(is_root).collect()
}

/// The imports between the files of one crate of the project.
pub(crate) fn edges_of(crate_root: &str) -> Edges {
    edges(crate_root, &|path| {
        let path = root().join(path);
        path.is_file().then(|| read(&path))
    })
}

#[test]
fn no_file_imports_one_that_imports_it_back() {
    let roots = crate_roots();
    assert!(roots.len() > 5, "{roots:?}");
    let mut wrong = Vec::new();
    for crate_root in roots {
        let edges = edges_of(&crate_root);
        for circle in circles(&edges) {
            wrong.push(format!("{crate_root}: {} files import each other:", circle.len()));
            for ((from, to), names) in &edges {
                if circle.contains(from) && circle.contains(to) {
                    let names: Vec<_> = names.iter().map(String::as_str).collect();
                    wrong.push(format!("    {from} -> {to} ({})", names.join(", ")));
                }
            }
        }
    }
    none(&wrong);
}
