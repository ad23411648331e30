//! Which file imports which, within one crate.

use std::collections::{BTreeMap, BTreeSet};

use crate::modules::{Module, ModulePath, modules};

/// From a file to a file, with the names that the first takes from the second.
pub(crate) type Edges = BTreeMap<(String, String), BTreeSet<String>>;

/// At most this many re-exports are followed for one name.
const FOLLOWED_MAX: usize = 16;

/// The imports between the files of the crate with this root file.
pub(crate) fn edges(root: &str, read: &dyn Fn(&str) -> Option<String>) -> Edges {
    let crate_ = Crate { modules: modules(root, read) };
    let mut edges = Edges::new();
    for (at, module) in &crate_.modules {
        let mut add = |target: Option<String>, name: &str| {
            if let Some(target) = target.filter(|target| *target != module.file) {
                edges.entry((module.file.clone(), target)).or_default().insert(name.to_owned());
            }
        };
        for import in &module.imports {
            let is_own = crate_.absolute(at, &import.path).is_some_and(|path| path.starts_with(at));
            let only_reexported = import.is_public && is_own && !module.words.contains(&import.name);
            if !only_reexported {
                add(crate_.file_of(at, &import.path), &import.name);
            }
        }
        for path in &module.paths {
            add(crate_.file_of(at, path), &path.join("::"));
        }
    }
    edges
}

/// The groups of files that import each other: each file reaches every other one of its group.
pub(crate) fn circles(edges: &Edges) -> Vec<BTreeSet<String>> {
    let files: BTreeSet<_> = edges.keys().flat_map(|(from, to)| [from.clone(), to.clone()]).collect();
    let reached: BTreeMap<_, _> = files.iter().map(|file| (file.clone(), reached(edges, file))).collect();
    let group = |file: &String| -> BTreeSet<String> {
        reached[file].iter().filter(|other| reached[*other].contains(file)).cloned().collect()
    };
    let groups: BTreeSet<_> = files.iter().map(group).filter(|group| group.len() > 1).collect();
    groups.into_iter().collect()
}

fn reached(edges: &Edges, start: &str) -> BTreeSet<String> {
    let (mut seen, mut waiting) = (BTreeSet::new(), vec![start.to_owned()]);
    while let Some(file) = waiting.pop() {
        for (_, to) in edges.keys().filter(|(from, _)| *from == file) {
            if seen.insert(to.clone()) {
                waiting.push(to.clone());
            }
        }
    }
    seen
}

struct Crate {
    modules: BTreeMap<ModulePath, Module>,
}

impl Crate {
    /// The file that owns what a path names; none for a module itself and for another crate's things.
    fn file_of(&self, at: &ModulePath, path: &[String]) -> Option<String> {
        self.resolve(at, &self.absolute(at, path)?, FOLLOWED_MAX)
    }

    /// The same path from the crate's root, if it begins in this crate.
    fn absolute(&self, at: &ModulePath, path: &[String]) -> Option<Vec<String>> {
        let first = path.first()?.as_str();
        let module = &self.modules[at];
        let is_alias =
            |name: &str| module.imports.iter().any(|import| import.name == name && import.path != path);
        let mut from = at.clone();
        let mut taken = 1;
        match first {
            "crate" => from.clear(),
            "self" => {}
            "super" => {
                taken = path.iter().take_while(|word| *word == "super").count();
                from.truncate(at.len().checked_sub(taken)?);
            }
            name if module.children.contains(name) => taken = 0,
            // An alias is looked up in this module.
            name if is_alias(name) => taken = 0,
            _ => return None,
        }
        from.extend_from_slice(&path[taken..]);
        Some(from)
    }

    fn resolve(&self, asker: &ModulePath, path: &[String], left: usize) -> Option<String> {
        let left = left.checked_sub(1)?;
        let mut at = Vec::new();
        for (index, word) in path.iter().enumerate() {
            let module = self.modules.get(&at)?;
            if module.children.contains(word) {
                at.push(word.clone());
                continue;
            }
            if word == "*" {
                return (!module.items.is_empty()).then(|| module.file.clone());
            }
            let may_follow = |public: bool| public || at == *asker;
            if !module.items.contains(word) {
                for import in module.imports.iter().filter(|import| may_follow(import.is_public)) {
                    if import.name == *word
                        && let Some(mut target) = self.absolute(&at, &import.path)
                    {
                        target.extend_from_slice(&path[index + 1..]);
                        return self.resolve(&at, &target, left);
                    }
                    if import.name == "*"
                        && let Some(mut target) = self.absolute(&at, &import.path)
                    {
                        target.pop();
                        let below = self.modules.get(&target);
                        if below.is_some_and(|below| below.items.contains(word)) {
                            return below.map(|below| below.file.clone());
                        }
                    }
                }
                let foreign = module.imports.iter().any(|import| import.name == *word && at == *asker);
                if foreign {
                    return None;
                }
            }
            return Some(module.file.clone());
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(files: &[(&str, &str)]) -> Edges {
        let read =
            |path: &str| files.iter().find(|(name, _)| *name == path).map(|(_, text)| (*text).to_owned());
        edges("src/lib.rs", &read)
    }

    fn arrows(files: &[(&str, &str)]) -> Vec<String> {
        found(files).into_keys().map(|(from, to)| format!("{from} {to}").replace("src/", "")).collect()
    }

    #[test]
    fn a_parent_that_only_reexports_is_no_importer() {
        let files = [
            ("src/lib.rs", "mod a;"),
            ("src/a.rs", "mod b; mod c; pub use b::B; pub(crate) use c::{C, D as E};"),
            ("src/a/b.rs", "use super::E; pub struct B;"),
            ("src/a/c.rs", "pub struct C; pub struct D;"),
        ];
        assert_eq!(arrows(&files), ["a/b.rs a/c.rs"]);
        assert!(circles(&found(&files)).is_empty());
    }

    #[test]
    fn a_parent_that_uses_what_it_reexports_is_one() {
        let files = [
            ("src/lib.rs", "mod a; pub use a::A; fn x(a: A) {} pub struct Y;"),
            ("src/a.rs", "use crate::Y; pub struct A;"),
        ];
        assert_eq!(arrows(&files), ["a.rs lib.rs", "lib.rs a.rs"]);
        assert_eq!(circles(&found(&files)).len(), 1);
    }

    #[test]
    fn inline_paths_and_aliases_count() {
        let files = [
            ("src/lib.rs", "mod a; mod b; mod c;"),
            ("src/a.rs", "use crate::b; fn x() { b::f(); crate::c::g(1) }"),
            ("src/b.rs", "pub fn f() { super::c::g(2) }"),
            ("src/c.rs", "pub fn g() {}"),
        ];
        assert_eq!(arrows(&files), ["a.rs b.rs", "a.rs c.rs", "b.rs c.rs"]);
    }

    #[test]
    fn tests_comments_and_strings_do_not_count() {
        let files = [
            ("src/lib.rs", "mod a; mod b;"),
            (
                "src/a.rs",
                "// crate::b::f\nconst X: &str = \"crate::b::f\"; #[cfg(test)] mod t { use crate::b::f; }",
            ),
            ("src/b.rs", "pub fn f() { crate::a::X }"),
        ];
        assert_eq!(arrows(&files), ["b.rs a.rs"]);
    }

    #[test]
    fn a_circle_of_three_files_is_found_through_an_inline_module() {
        let files = [
            ("src/lib.rs", "mod a; mod b; mod c; mod d;"),
            ("src/a.rs", "mod inner { use crate::b::f; } pub struct A;"),
            ("src/b.rs", "use crate::c::C; pub fn f() {}"),
            ("src/c.rs", "use crate::a::A; pub struct C;"),
            ("src/d.rs", "use crate::a::A;"),
        ];
        let groups = circles(&found(&files));
        assert_eq!(groups.len(), 1);
        assert_eq!(groups[0].iter().collect::<Vec<_>>(), ["src/a.rs", "src/b.rs", "src/c.rs"]);
    }

    #[test]
    fn a_private_import_is_not_followed_by_a_child() {
        let files = [
            ("src/lib.rs", "mod a; mod c;"),
            ("src/a.rs", "mod b; use crate::c::C;"),
            ("src/a/b.rs", "use super::C;"),
            ("src/c.rs", "pub struct C;"),
        ];
        assert_eq!(arrows(&files), ["a.rs c.rs", "a/b.rs a.rs"]);
    }
}
