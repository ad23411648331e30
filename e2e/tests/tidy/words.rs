//! The word list of `CONTRIBUTING.md`: no metaphor where there is a standard term.

use std::path::Path;

use crate::project::{files, is_rust, list, none, read, root, table};
use crate::source::{Kind, tokens};

/// Identifiers with such a word that must stay, in files that begin so, and why.
const STABLE: &[(&str, &str, &str)] =
    &[(concat!("\"tau", "ght_slots \""), "crates/server/src/db/meta.rs", "a name in databases")];

/// A row of the table.
struct Rule {
    words: Vec<String>,
    write: String,
    /// Also in comments and strings.
    everywhere: bool,
}

/// The rows of the table.
fn rules(markdown: &str) -> Vec<Rule> {
    let rows = table(markdown, "| instead of | write | where |").into_iter();
    rows.map(|row| Rule { words: list(&row[0]), write: row[1].clone(), everywhere: row[2] == "everywhere" })
        .collect()
}

/// The words of an identifier, in small letters: `snake_case`, `CamelCase`.
fn parts(identifier: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut was_small = false;
    for c in identifier.chars() {
        if !c.is_alphanumeric() || (c.is_uppercase() && was_small) {
            parts.push(String::new());
        }
        if c.is_alphanumeric()
            && let Some(part) = parts.last_mut()
        {
            part.extend(c.to_lowercase());
        }
        was_small = c.is_lowercase() || c.is_numeric();
    }
    parts
}

/// What is wrong with a text: `everywhere` rules alone, or all of them.
fn found<'a>(rules: &'a [Rule], text: &str, everywhere: bool) -> Vec<(&'a str, &'a str)> {
    let parts = parts(text);
    let rules = rules.iter().filter(|rule| rule.everywhere || !everywhere);
    let hits = rules.flat_map(|rule| rule.words.iter().map(|word| (word.as_str(), rule.write.as_str())));
    hits.filter(|(word, _)| parts.iter().any(|part| part == word)).collect()
}

#[test]
fn standard_terms_are_used() {
    let rules = rules(&read(&root().join("CONTRIBUTING.md")));
    assert!(rules.len() > 10, "the table of words in CONTRIBUTING.md cannot be read");
    let mut wrong = Vec::new();
    for file in files().iter().filter(|file| is_rust(file)) {
        let stem = Path::new(file).file_stem().unwrap_or_default().to_string_lossy();
        for (word, write) in found(&rules, &stem, false) {
            wrong.push(format!("{file}: {word}: write {write}"));
        }
        for token in tokens(&read(&root().join(file))) {
            let is_stable =
                STABLE.iter().any(|(name, path, _)| *name == token.text && file.starts_with(path));
            if token.kind == Kind::Mark || is_stable {
                continue;
            }
            for (word, write) in found(&rules, &token.text, token.kind != Kind::Word) {
                wrong.push(format!("{file}:{}: {word}: write {write}", token.line));
            }
        }
    }
    none(&wrong);
}

#[test]
fn a_table_is_read_and_found_in_words_of_its_kind() {
    let rules = rules(
        "# X\n\n## Words\n\n| instead of | write | where |\n|---|---|---|\n| cat, cats | animal | everywhere |\n\
         | dog | animal | identifiers |\n\n## Y\n\n| a | b | everywhere |\n",
    );
    let hits =
        |text, everywhere| found(&rules, text, everywhere).into_iter().map(|hit| hit.0).collect::<Vec<_>>();
    assert_eq!(hits("// two cats and a dog", true), ["cats"]);
    assert_eq!(hits("TheCat", false), ["cat"]);
    assert_eq!(hits("DOG_MAX", false), ["dog"]);
    assert_eq!(hits("category", false), [""; 0]);
    assert_eq!(hits("a_b", false), [""; 0]);
}
