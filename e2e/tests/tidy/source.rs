//! Rust source as tokens: enough of the language to tell code, strings and comments apart.

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An identifier, a keyword or a number.
    Word,
    /// One character of punctuation, or `::`.
    Mark,
    /// A string or a character, with its quotes.
    Text,
    /// A comment, with its slashes.
    Comment,
}

/// A token and where it begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) kind: Kind,
    pub(crate) text: String,
    /// Counted from 1.
    pub(crate) line: usize,
}

impl Token {
    pub(crate) fn is(&self, text: &str) -> bool {
        matches!(self.kind, Kind::Word | Kind::Mark) && self.text == text
    }
}

/// All tokens of a file.
pub(crate) fn tokens(source: &str) -> Vec<Token> {
    let (mut rest, mut line, mut tokens) = (source, 1, Vec::new());
    while let Some(first) = rest.chars().next() {
        if first.is_whitespace() {
            line += usize::from(first == '\n');
            rest = &rest[first.len_utf8()..];
            continue;
        }
        let (kind, length) = token(rest);
        let text = rest[..length].to_owned();
        let lines = text.matches('\n').count();
        tokens.push(Token { kind, text, line });
        line += lines;
        rest = &rest[length..];
    }
    tokens
}

/// The code: neither comments nor what only tests are built from.
pub(crate) fn product_code(source: &str) -> Vec<Token> {
    let all: Vec<_> = tokens(source).into_iter().filter(|token| token.kind != Kind::Comment).collect();
    let mut kept = Vec::new();
    let mut at = 0;
    while at < all.len() {
        let end = attribute_end(&all, at);
        if let Some(end) = end
            && is_for_tests(&all[at..end])
        {
            at = item_end(&all, end);
        } else {
            kept.push(all[at].clone());
            at += 1;
        }
    }
    kept
}

/// The first token's kind and length. `rest` begins with no whitespace.
fn token(rest: &str) -> (Kind, usize) {
    if rest.starts_with("//") {
        return (Kind::Comment, rest.find('\n').unwrap_or(rest.len()));
    }
    if rest.starts_with("/*") {
        return (Kind::Comment, block_comment(rest));
    }
    if let Some(length) = string(rest) {
        return (Kind::Text, length);
    }
    let rest_of_word = rest.trim_start_matches(|c: char| c.is_alphanumeric() || c == '_');
    let word = rest.len() - rest_of_word.len();
    if word > 0 {
        return (Kind::Word, word);
    }
    if rest.starts_with("::") {
        return (Kind::Mark, 2);
    }
    (Kind::Mark, rest.chars().next().map_or(0, char::len_utf8))
}

/// Block comments nest.
fn block_comment(rest: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        if rest[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += rest[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    rest.len()
}

/// The length of the string or character that `rest` begins with. A lifetime is none.
fn string(rest: &str) -> Option<usize> {
    let prefix = ["br", "cr", "b", "c", "r"].into_iter().find(|prefix| rest.starts_with(prefix));
    for start in [prefix.map_or(0, str::len), 0] {
        let body = &rest[start..];
        let raw = rest[..start].ends_with('r');
        if raw {
            let hashes = body.len() - body.trim_start_matches('#').len();
            if body[hashes..].starts_with('"') {
                let end = format!("\"{}", "#".repeat(hashes));
                let content = hashes + 1;
                let length = body[content..].find(&end).map_or(body.len(), |at| content + at + end.len());
                return Some(start + length);
            }
        } else if body.starts_with('"') {
            return Some(start + closed(body, '"'));
        } else if let Some(character) = body.strip_prefix('\'') {
            let mut chars = character.chars();
            let escaped = chars.next() == Some('\\');
            if escaped || chars.next() == Some('\'') {
                return Some(start + closed(body, '\''));
            }
        }
    }
    None
}

/// The length up to the closing quote, with it.
fn closed(body: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in body.char_indices().skip(1) {
        if !escaped && c == quote {
            return at + 1;
        }
        escaped = !escaped && c == '\\';
    }
    body.len()
}

/// Where the attribute that begins here ends.
fn attribute_end(tokens: &[Token], at: usize) -> Option<usize> {
    if !tokens[at].is("#") || !tokens.get(at + 1)?.is("[") {
        return None;
    }
    Some(group_end(tokens, at + 1))
}

/// Where the group that opens here ends.
pub(crate) fn group_end(tokens: &[Token], open: usize) -> usize {
    let mut depth = 0;
    for (at, token) in tokens.iter().enumerate().skip(open) {
        if ["(", "[", "{"].iter().any(|mark| token.is(mark)) {
            depth += 1;
        } else if [")", "]", "}"].iter().any(|mark| token.is(mark)) {
            depth -= 1;
            if depth == 0 {
                return at + 1;
            }
        }
    }
    tokens.len()
}

fn is_for_tests(attribute: &[Token]) -> bool {
    let has = |word: &str| attribute.iter().any(|token| token.is(word));
    has("cfg") && has("test") && !has("not")
}

/// Where the item, field, arm or statement that begins here ends.
fn item_end(tokens: &[Token], start: usize) -> usize {
    const ITEMS: [&str; 12] =
        ["use", "mod", "fn", "struct", "enum", "impl", "trait", "const", "static", "type", "async", "unsafe"];
    let mut at = start;
    while let Some(end) = tokens.get(at).and_then(|_| attribute_end(tokens, at)) {
        at = end;
    }
    if tokens.get(at).is_some_and(|token| token.is("pub")) {
        at += 1;
        if tokens.get(at).is_some_and(|token| token.is("(")) {
            at = group_end(tokens, at);
        }
    }
    let first = tokens.get(at);
    let is_item = first.is_some_and(|token| ITEMS.iter().any(|item| token.is(item)));
    let is_use = first.is_some_and(|token| token.is("use"));
    while let Some(token) = tokens.get(at) {
        if token.is(";") || (!is_item && token.is(",")) {
            return at + 1;
        }
        if token.is("}") {
            return at;
        }
        if ["(", "[", "{"].iter().any(|mark| token.is(mark)) {
            let ends_here = token.is("{") && !is_use;
            at = group_end(tokens, at);
            if ends_here {
                return at;
            }
        } else {
            at += 1;
        }
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(source: &str) -> Vec<String> {
        let code = product_code(source);
        code.into_iter().filter(|token| token.kind == Kind::Word).map(|token| token.text).collect()
    }

    #[test]
    fn strings_and_comments_are_no_code() {
        let source = r###"
            a /* b /* c */ d */ "e \" f" r#"g " h"# b"i" 'j' '\'' // k
            &'l m br##"n"## r"o\" p"###;
        assert_eq!(words(source), ["a", "l", "m", "p"]);
    }

    #[test]
    fn a_token_knows_its_line() {
        let lines: Vec<_> = tokens("a\n\"b\nc\" d\n/* e\n */ f").iter().map(|token| token.line).collect();
        assert_eq!(lines, [1, 2, 3, 4, 5]);
    }

    #[test]
    fn what_only_tests_are_built_from_is_left_out() {
        let source = "
            #[cfg(test)] mod tests;
            #[cfg(test)] use a::{b, c};
            #[cfg(all(test, unix))] #[inline] pub(crate) fn d<E, F>() -> [u8; 3] { g() }
            struct H { #[cfg(test)] i: J, k: L, #[cfg(test)] m: N }
            #[cfg(not(test))] fn o() {}
            #[test] fn p() {}";
        assert_eq!(
            words(source),
            ["struct", "H", "k", "L", "cfg", "not", "test", "fn", "o", "test", "fn", "p"]
        );
    }
}
