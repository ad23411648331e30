//! Somebody else's text in a log or a sentence of ours.

/// The longest quotation, in characters.
const SHOWN_MAX: usize = 120;

/// In quotes, on one line, at most 120 characters, none of which moves a cursor or hides.
pub fn shown(text: &str) -> String {
    let line = one_line(text, SHOWN_MAX);
    if text.chars().nth(SHOWN_MAX).is_some() { format!("\"{line}…\"") } else { format!("\"{line}\"") }
}

/// At most so many characters. What is not seen becomes a space: a text must not look like another one.
pub(crate) fn one_line(text: &str, max: usize) -> String {
    text.chars().take(max).map(|c| if c.is_control() || is_unseen(c) { ' ' } else { c }).collect()
}

/// Unicode's general categories Cf (format: zero width, direction), Zl and Zp (separators of lines and paragraphs).
fn is_unseen(c: char) -> bool {
    matches!(c,
        '\u{AD}' | '\u{600}'..='\u{605}' | '\u{61C}' | '\u{6DD}' | '\u{70F}' | '\u{890}'..='\u{891}' | '\u{8E2}'
        | '\u{180E}' | '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{2064}'
        | '\u{2066}'..='\u{206F}' | '\u{FEFF}' | '\u{FFF9}'..='\u{FFFB}' | '\u{110BD}' | '\u{110CD}'
        | '\u{13430}'..='\u{1343F}' | '\u{1BCA0}'..='\u{1BCA3}' | '\u{1D173}'..='\u{1D17A}' | '\u{E0001}'
        | '\u{E0020}'..='\u{E007F}')
}
