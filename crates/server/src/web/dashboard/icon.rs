//! Drawings: the logo, and one stroke for everything else.

use maud::{Markup, PreEscaped, html};

fn stroke(paths: &'static str) -> Markup {
    html! {
        svg.icon viewBox="0 0 24 24" fill="none" stroke="currentColor" stroke-width="1.75" stroke-linecap="round" stroke-linejoin="round" aria-hidden="true" {
            (PreEscaped(paths))
        }
    }
}

/// The mark: upward air carries an arrow.
pub(crate) fn logo() -> Markup {
    PreEscaped(include_str!("logo.svg").to_owned())
}

macro_rules! icons {
    ($($name:ident: $paths:literal;)*) => {
        $(pub(crate) fn $name() -> Markup {
            stroke($paths)
        })*
    };
}

icons! {
    chip: r#"<rect x="6" y="6" width="12" height="12" rx="2"/><path d="M10 10h4v4h-4zM9.5 2.5V6M14.5 2.5V6M9.5 18v3.5M14.5 18v3.5M2.5 9.5H6M2.5 14.5H6M18 9.5h3.5M18 14.5h3.5"/>"#;
    package: r#"<path d="m12 2.8 8 4.5v9.4l-8 4.5-8-4.5V7.3zM4.2 7.4 12 11.8l7.8-4.4M12 11.8v9.2M8 5.1l7.9 4.5"/>"#;
    contrast: r#"<circle cx="12" cy="12" r="8.5"/><path d="M12 3.5v17a8.5 8.5 0 0 0 0-17z" fill="currentColor"/>"#;
    leave: r#"<path d="M14 4h4a2 2 0 0 1 2 2v12a2 2 0 0 1-2 2h-4M10 8l-4 4 4 4M6 12h9"/>"#;
    plus: r#"<path d="M12 5v14M5 12h14"/>"#;
    search: r#"<circle cx="11" cy="11" r="6.5"/><path d="m16 16 4.5 4.5"/>"#;
    copy: r#"<rect x="9" y="9" width="11" height="11" rx="2"/><path d="M5.5 15H5a1 1 0 0 1-1-1V5a1 1 0 0 1 1-1h9a1 1 0 0 1 1 1v.5"/>"#;
    upward: r#"<path d="M12 20V5M5.5 11.5 12 5l6.5 6.5"/>"#;
    upload: r#"<path d="M12 15.5V4M7 8.5 12 4l5 4.5M4 15.5V18a2 2 0 0 0 2 2h12a2 2 0 0 0 2-2v-2.5"/>"#;
    again: r#"<path d="M20 5v5h-5M4 19v-5h5M19.2 10A7.5 7.5 0 0 0 6 7L4 9M4.8 14A7.5 7.5 0 0 0 18 17l2-2"/>"#;
    list: r#"<path d="M9 6h11M9 12h11M9 18h11M4 6h.5M4 12h.5M4 18h.5"/>"#;
    steps: r#"<path d="M4 19h4v-4h5v-5h5V5h2.5"/>"#;
    close: r#"<path d="m6 6 12 12M18 6 6 18"/>"#;
}
