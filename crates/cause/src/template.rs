//! Sentences with places for parameters.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write;

use crate::Value;

type Parameters = BTreeMap<Cow<'static, str>, Value>;

/// Fills a sentence. `[[` stands for itself. A parameter that is missing outside of `[ ]` leaves its place empty. What a parameter holds is never
/// read as a place itself.
pub(crate) fn fill(sentence: &str, parameters: &Parameters) -> String {
    let mut text = String::new();
    let mut rest = sentence;
    while let Some((before, after)) = rest.split_once('[') {
        fill_plain(before, parameters, &mut text);
        if let Some(behind) = after.strip_prefix('[') {
            text.push_str("[[");
            rest = behind;
            continue;
        }
        let (part, behind) = after.split_once(']').unwrap_or((after, ""));
        if places(part).all(|name| parameters.get(name).is_some_and(|value| !value.is_empty())) {
            fill_plain(part, parameters, &mut text);
        }
        rest = behind;
    }
    fill_plain(rest, parameters, &mut text);
    text
}

fn fill_plain(part: &str, parameters: &Parameters, text: &mut String) {
    let mut rest = part;
    while let Some((before, after)) = rest.split_once('{') {
        text.push_str(before);
        let (name, behind) = after.split_once('}').unwrap_or((after, ""));
        // `{name?}` only says on what its part depends.
        if let Some(value) = parameters.get(name) {
            let _ = write!(text, "{value}");
        }
        rest = behind;
    }
    text.push_str(rest);
}

fn places(part: &str) -> impl Iterator<Item = &str> {
    part.split('{').skip(1).map(|piece| piece.split(['?', '}']).next().unwrap_or_default())
}

/// The names of a sentence's parameters; `None` if a bracket has no other half.
#[cfg(test)]
pub(crate) fn parameters(sentence: &str) -> Option<Vec<&str>> {
    let count = |byte: char| sentence.matches(byte).count();
    (count('{') == count('}') && count('[') == count(']')).then(|| places(sentence).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(sentence: &str, parameters: &[(&'static str, &str)]) -> String {
        let given = parameters.iter().map(|(name, value)| (Cow::Borrowed(*name), Value::from(*value)));
        fill(sentence, &given.collect())
    }

    #[test]
    fn a_part_in_brackets_is_left_out_without_its_parameter() {
        let sentence = "{version} is blocked[: {why}].";
        assert_eq!(
            filled(sentence, &[("version", "1.0.0"), ("why", "It crashes")]),
            "1.0.0 is blocked: It crashes."
        );
        assert_eq!(filled(sentence, &[("version", "1.0.0"), ("why", "")]), "1.0.0 is blocked.");
        assert_eq!(filled(sentence, &[("version", "1.0.0")]), "1.0.0 is blocked.");
        let sentence = "the key[s{several?}] {keys}";
        assert_eq!(filled(sentence, &[("keys", "a")]), "the key a");
        assert_eq!(filled(sentence, &[("keys", "a, b"), ("several", "yes")]), "the keys a, b");
    }

    #[test]
    fn doubled_brackets_stand_for_themselves() {
        let sentence = "No [[trusted_publisher]] names {a}[ of {b}].";
        assert_eq!(filled(sentence, &[("a", "x")]), "No [[trusted_publisher]] names x.");
    }

    #[test]
    fn what_a_parameter_holds_is_not_read_as_a_place() {
        assert_eq!(filled("<{a}> [<{b}>]", &[("a", "{b}"), ("b", "[{a}]")]), "<{b}> <[{a}]>");
    }
}
