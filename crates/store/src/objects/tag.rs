//! ETags. One object's tag is spelled in several ways: a proxy makes it weak in one answer and not in the next, some servers leave
//! out the quotes. What stands between the quotes names the content.

/// The version of one object's content, as the storage names it; S3's ETag. Two spellings of one tag are equal.
#[derive(Debug, Clone, Eq)]
pub(crate) struct Tag(pub(crate) String);

impl PartialEq for Tag {
    fn eq(&self, other: &Self) -> bool {
        self.opaque() == other.opaque()
    }
}

impl Tag {
    fn opaque(&self) -> &str {
        let tag = self.0.trim();
        tag.strip_prefix("W/").unwrap_or(tag).trim_matches('"')
    }

    /// A strong tag with its quotes, whatever was read; empty if there is none.
    pub(crate) fn quoted(&self) -> String {
        match self.opaque() {
            "" => String::new(),
            opaque => format!("\"{opaque}\""),
        }
    }

    /// As it is given back to the server in `If-Match`.
    pub(crate) fn in_form(&self, form: TagForm) -> String {
        match form {
            TagForm::AsRead => self.0.clone(),
            TagForm::Quoted => self.quoted(),
            TagForm::Bare => self.opaque().to_owned(),
            TagForm::Weak => format!("W/{}", self.quoted()),
        }
    }
}

/// How a server wants a tag in `If-Match`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TagForm {
    AsRead,
    /// Without the mark of a weak tag, which a proxy put there: the standard's form.
    Quoted,
    /// Without quotes: some versions of Ceph, and what is made of it.
    Bare,
    /// With the mark of a weak tag.
    Weak,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_spellings_of_a_tag_are_one_tag() {
        for text in ["\"a-2\"", "a-2", "W/\"a-2\"", " W/a-2"] {
            let tag = Tag(text.to_owned());
            assert_eq!(tag, Tag("\"a-2\"".to_owned()), "{text}");
            let forms = [TagForm::AsRead, TagForm::Quoted, TagForm::Bare, TagForm::Weak];
            assert_eq!(forms.map(|form| tag.in_form(form)), [text, "\"a-2\"", "a-2", "W/\"a-2\""]);
        }
        assert_ne!(Tag("\"a\"".to_owned()), Tag("\"b\"".to_owned()));
        assert_eq!(Tag(String::new()).quoted(), "");
    }
}
