//! What of somebody else's text is shown to nobody as it came.

/// Whether a character moves a terminal's cursor, or turns the order of the text around it. None belongs in a name or a sentence.
#[must_use]
pub fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61C}' | '\u{200E}' | '\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}
