//! The modules of one crate: which file each is in, what it defines and what it imports.

use std::collections::{BTreeMap, BTreeSet};

use crate::source::{Kind, Token, group_end, product_code};

/// A module's path from the crate's root, which is empty.
pub(crate) type ModulePath = Vec<String>;

/// One name that a `use` brings in; `*` for all of them.
#[derive(Debug, Clone)]
pub(crate) struct Import {
    pub(crate) name: String,
    pub(crate) path: Vec<String>,
    /// `pub` of any kind: others may reach the name through this module.
    pub(crate) is_public: bool,
}

/// One module.
#[derive(Debug, Default, Clone)]
pub(crate) struct Module {
    pub(crate) file: String,
    pub(crate) children: BTreeSet<String>,
    pub(crate) items: BTreeSet<String>,
    pub(crate) imports: Vec<Import>,
    /// Paths of two words or more outside `use`.
    pub(crate) paths: Vec<Vec<String>>,
    /// All words outside `use`.
    pub(crate) words: BTreeSet<String>,
}

/// All modules that are reached from the root file. `read` gives a file's text, if there is such a file.
pub(crate) fn modules(root: &str, read: &dyn Fn(&str) -> Option<String>) -> BTreeMap<ModulePath, Module> {
    let mut found = BTreeMap::new();
    let folder = root.rsplit_once('/').map_or("", |(folder, _)| folder).to_owned();
    let mut waiting = vec![(Vec::new(), root.to_owned(), folder)];
    while let Some((path, file, folder)) = waiting.pop() {
        let Some(text) = read(&file) else { continue };
        let code = product_code(&text);
        let mut reader = Reader { file: &file, found: &mut found, declared: Vec::new() };
        reader.module(&path, &code);
        for child in reader.declared {
            let below = child[path.len()..].join("/");
            let stem = format!("{folder}/{below}");
            waiting.push((child, format!("{stem}.rs"), stem));
        }
    }
    found
}

struct Reader<'a> {
    file: &'a str,
    found: &'a mut BTreeMap<ModulePath, Module>,
    declared: Vec<ModulePath>,
}

impl Reader<'_> {
    fn module(&mut self, path: &ModulePath, code: &[Token]) {
        let mut module = Module { file: self.file.to_owned(), ..Module::default() };
        let (mut at, mut depth) = (0, 0_usize);
        while at < code.len() {
            let token = &code[at];
            let next = code.get(at + 1);
            if token.is("{") {
                depth += 1;
            } else if token.is("}") {
                depth = depth.saturating_sub(1);
            }
            if token.is("mod")
                && let Some(name) = next.filter(|next| next.kind == Kind::Word)
            {
                module.children.insert(name.text.clone());
                let child: Vec<_> = path.iter().cloned().chain([name.text.clone()]).collect();
                at += 2;
                if code.get(at).is_some_and(|token| token.is("{")) {
                    let end = group_end(code, at);
                    self.module(&child, &code[at + 1..end - 1]);
                    at = end;
                } else {
                    self.declared.push(child);
                }
            } else if token.is("use") {
                let end = (at..code.len()).find(|at| code[*at].is(";")).unwrap_or(code.len());
                let is_public = at > 0 && (code[at - 1].is("pub") || code[at - 1].is(")"));
                let mut tree = Tree { tokens: &code[at + 1..end], is_public, imports: &mut module.imports };
                tree.read(0, &[]);
                at = end;
            } else if token.kind == Kind::Word {
                let defines = ["fn", "struct", "enum", "trait", "type", "const", "static", "union"];
                if depth == 0 && defines.iter().any(|word| token.is(word)) {
                    let name = next.filter(|next| !next.is("fn")).map(|next| next.text.clone());
                    module.items.extend(name);
                }
                at += path_at(code, at, &mut module);
            } else {
                at += 1;
            }
        }
        self.found.insert(path.clone(), module);
    }
}

/// Notes the path or word that begins here; how many tokens it has.
fn path_at(code: &[Token], start: usize, module: &mut Module) -> usize {
    let mut words = vec![code[start].text.clone()];
    let mut at = start + 1;
    while code.get(at).is_some_and(|token| token.is("::"))
        && let Some(word) = code.get(at + 1).filter(|token| token.kind == Kind::Word)
    {
        words.push(word.text.clone());
        at += 2;
    }
    let is_whole = start == 0 || !(code[start - 1].is("::") || code[start - 1].is("."));
    if is_whole {
        module.words.insert(words[0].clone());
        if words.len() > 1 {
            module.paths.push(words);
        }
    }
    at - start
}

/// A `use` tree: `a::{b, c as d, e::*}`.
struct Tree<'a> {
    tokens: &'a [Token],
    is_public: bool,
    imports: &'a mut Vec<Import>,
}

impl Tree<'_> {
    /// Reads one branch; where it ends.
    fn read(&mut self, mut at: usize, before: &[String]) -> usize {
        let mut path = before.to_vec();
        while let Some(token) = self.tokens.get(at) {
            if token.is("{") {
                at += 1;
                while self.tokens.get(at).is_some_and(|token| !token.is("}")) {
                    at = self.read(at, &path);
                    at += usize::from(self.tokens.get(at).is_some_and(|token| token.is(",")));
                }
                return at + 1;
            }
            if token.is(",") || token.is("}") {
                break;
            }
            if token.is("as") {
                let name = self.tokens.get(at + 1).map(|token| token.text.clone());
                self.import(name.unwrap_or_default(), path);
                return at + 2;
            }
            if token.is("::") {
                at += 1;
                continue;
            }
            // `a::{self}` is `a`.
            if !token.is("self") || path.is_empty() {
                path.push(token.text.clone());
            }
            at += 1;
        }
        let name = path.last().cloned().unwrap_or_default();
        self.import(name, path);
        at
    }

    fn import(&mut self, name: String, path: Vec<String>) {
        self.imports.push(Import { name, path, is_public: self.is_public });
    }
}
