//! One row of a table.

/// One code and its sentence. `{name}` in the sentence stands for the parameter of that name; a part in `[ ]` is left out
/// where a parameter in it is missing or empty; `{name?}` shows nothing, and its part depends on it all the same, and `[[` stands for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Stable; `snake_case`.
    pub code: &'static str,
    pub(crate) sentence: &'static str,
}

/// Makes a table: a constant for each code, documented by its sentence, and `ALL` of them.
macro_rules! table {
    ($($name:ident $code:literal $sentence:expr;)*) => {
        $(#[doc = concat!("```text\n", $sentence, "\n```")]
        pub const $name: $crate::Entry = $crate::Entry { code: $code, sentence: $sentence };)*
        pub(crate) const ALL: &[$crate::Entry] = &[$($name),*];
    };
}
pub(crate) use table;
