//! Every command that a page names is one that the parser takes.
use std::path::{Path, PathBuf};

use clap::Parser as _;
use clap::error::ErrorKind;

use super::Cli;

/// A command on a page.
#[derive(Debug)]
struct Named {
    page: String,
    line: usize,
    words: Vec<String>,
    place: Place,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// To be run as it stands.
    Block,
    /// In a sentence, which may leave out what it is not about.
    Sentence,
}

impl Named {
    /// Why the parser does not take it.
    fn refusal(&self) -> Option<String> {
        let error = Cli::try_parse_from(std::iter::once(&"updraft".to_owned()).chain(&self.words)).err()?;
        let is_fine = match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => true,
            ErrorKind::MissingRequiredArgument
            | ErrorKind::MissingSubcommand
            | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => self.place == Place::Sentence,
            _ => false,
        };
        let Self { page, line, words, .. } = self;
        (!is_fine).then(|| format!("{page}:{line}: updraft {}\n{error}", words.join(" ")))
    }
}

fn pages() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut pages = Vec::new();
    let examples = std::fs::read_dir(root.join("examples")).expect("examples/ is there");
    let mut folders = vec![root.clone(), root.join("docs"), root.join("docs/decisions")];
    folders.extend(examples.map(|folder| folder.expect("it can be listed").path()));
    for folder in folders {
        let files =
            std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let files = files.map(|file| file.expect("it can be listed").path());
        pages.extend(files.filter(|file| file.extension().is_some_and(|extension| extension == "md")));
    }
    pages
}

fn commands(page: &Path) -> Vec<Named> {
    let text = std::fs::read_to_string(page).expect("a page can be read");
    let name = page.strip_prefix(Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")).unwrap_or(page);
    let (mut found, mut in_block, mut begun) = (Vec::new(), false, String::new());
    for (number, line) in text.lines().enumerate() {
        let mut add = |text: &str, place| {
            let page = name.display().to_string();
            let commands = shell_commands(text);
            let commands = commands.iter().filter_map(|words| ours(words));
            found.extend(commands.map(|words| Named { page: page.clone(), line: number + 1, words, place }));
        };
        if line.trim_start().starts_with("```") {
            in_block = !in_block;
        } else if !in_block {
            line.split('`').skip(1).step_by(2).for_each(|span| add(span, Place::Sentence));
        } else if let Some(more) = line.strip_suffix('\\') {
            begun += more;
        } else {
            add(&(std::mem::take(&mut begun) + line), Place::Block);
        }
    }
    assert!(!in_block, "{}: a block has no end", name.display());
    found
}

/// A line's commands as a shell takes them apart: into words, each free of its quotes.
fn shell_commands(line: &str) -> Vec<Vec<String>> {
    let (mut commands, mut word, mut quote) = (vec![Vec::new()], None::<String>, None);
    for c in line.chars().chain([' ']) {
        match (c, quote) {
            (c, Some(open)) if c == open => quote = None,
            ('"' | '\'', None) => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            ('#', None) if word.is_none() => break,
            (' ' | '(' | ')' | ';' | '|' | '&' | '>', None) => {
                commands.last_mut().expect("one is there").extend(word.take());
                if c != ' ' {
                    commands.push(Vec::new());
                }
            }
            _ => word.get_or_insert_default().push(c),
        }
    }
    // Not all that stands in a block is for a shell: its apostrophes are no quotes.
    commands.last_mut().expect("one is there").extend(word);
    commands
}

/// What follows `updraft`, if that is what is run. A variable stands for what suits most arguments.
fn ours(words: &[String]) -> Option<Vec<String>> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let is_before = |word: &&str| {
        let name = word.split('=').next().unwrap_or_default();
        let is_set = word.contains('=') && name.chars().all(|c| c.is_ascii_uppercase() || c == '_');
        is_set || matches!(*word, "$" | "-" | "run:" | "export")
    };
    let start = words.iter().take_while(|word| is_before(word)).count();
    let arguments = match &words[start..] {
        ["updraft", "…"] | ["docker", "exec", _, "updraft", "…"] => return None, // any command at all
        ["updraft" | "./updraft", rest @ ..]
        | ["docker", "exec", _, "updraft", rest @ ..]
        | ["cargo", "run", "--release", "--", rest @ ..] => rest,
        _ => return None,
    };
    let value = |word: &&str| if word.starts_with('$') { "1.0.0".to_owned() } else { (*word).to_owned() };
    Some(arguments.iter().map(value).collect())
}

#[test]
fn every_command_on_every_page_is_one_that_the_parser_takes() {
    let commands: Vec<_> = pages().iter().flat_map(|page| commands(page)).collect();
    // That they are found at all.
    for page in [
        "README.md",
        "docs/ci.md",
        "docs/operate.md",
        "docs/signing.md",
        "examples/rust/README.md",
        "CONTRIBUTING.md",
    ] {
        let is_found = |named: &Named| named.page == page && named.place == Place::Block;
        assert!(commands.iter().any(is_found), "{page} has commands");
    }
    let refusals: Vec<_> = commands.iter().filter_map(Named::refusal).collect();
    assert!(refusals.is_empty(), "{}", refusals.join("\n"));
}

#[test]
fn a_page_with_a_wrong_command_is_refused() {
    let refused = |line: &str, place| {
        let words =
            shell_commands(line).iter().find_map(|words| ours(words)).unwrap_or_else(|| panic!("{line}"));
        Named { page: "page".to_owned(), line: 1, words, place }.refusal().is_some()
    };
    for (line, in_block, in_sentence) in [
        ("export T=$(updraft token new laptop --role admin)", false, false),
        (
            "  - run: ./updraft publish firmware.bin -p lamp --version \"$TAG\" --promote  # --no",
            false,
            false,
        ),
        ("updraft publish firmware.bin", true, false),
        ("updraft publish firmware.bin -p lamp --version ''", true, true),
        ("updraft publish firmware.bin -p lamp --store file:a --wait", true, true),
        ("docker exec updraft updraft token make ci", true, true),
        ("mkdir a && updraft releases -p lamp --no-such-option", true, true),
    ] {
        assert_eq!(
            (refused(line, Place::Block), refused(line, Place::Sentence)),
            (in_block, in_sentence),
            "{line}"
        );
    }
}
