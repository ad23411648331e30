//! The pages: rendered here, kept live by events, usable without a script where a form is enough.
//!
//! Everything that comes from devices, buckets and people is text; maud escapes it, and nothing here turns it into
//! markup. A page that is asked for with the header [`FRAGMENT`] comes without its frame, so that the script can
//! put what changed in place of what was shown.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use maud::{DOCTYPE, Markup, html};
use serde::{Deserialize, Serialize};
use std::time::Duration;

use crate::api::problem::Problem;
use crate::app::{AppError, Role};
use crate::model::{Device, Update};
use crate::router::Web;
use crate::session::{Caller, Right, cookie};

pub(crate) mod assets;
pub(crate) mod device;
pub(crate) mod devices;
pub(crate) mod form;
pub(crate) mod icon;
pub(crate) mod login;
pub(crate) mod progress;
pub(crate) mod release_forms;
pub(crate) mod releases;
pub(crate) mod words;

/// Asks for the changing parts of a page only.
pub(crate) const FRAGMENT: HeaderName = HeaderName::from_static("x-updraft-fragment");
/// Tells the script to go to another page.
const GO: HeaderName = HeaderName::from_static("x-updraft-go");
/// Carries a sentence over one redirect, for browsers without the script.
const FLASH: &str = "updraft_said";

/// Which entry of the navigation is lit.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Section {
    Devices,
    Releases,
}

/// How a sentence is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Tone {
    Good,
    Info,
    Warn,
    Bad,
    Quiet,
}

impl Tone {
    pub(crate) fn class(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Bad => "bad",
            Self::Quiet => "quiet",
        }
    }
}

/// An answer to something a person did.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Said {
    pub(crate) tone: Tone,
    pub(crate) title: String,
    pub(crate) text: String,
    /// The form's own name for the place where it is shown.
    #[serde(default)]
    pub(crate) about: String,
    /// The update that it announces: it goes when that one has ended.
    #[serde(default)]
    pub(crate) update: Option<i64>,
}

impl Said {
    pub(crate) fn new(tone: Tone, title: impl Into<String>, text: impl Into<String>) -> Self {
        Self { tone, title: title.into(), text: text.into(), about: String::new(), update: None }
    }

    pub(crate) fn about(mut self, about: &str) -> Self {
        about.clone_into(&mut self.about);
        self
    }

    pub(crate) fn announcing(mut self, update: Option<&Update>) -> Self {
        self.update = update.map(|update| update.id);
        self
    }

    pub(crate) fn failed(error: impl Into<Problem>) -> Self {
        let problem: Problem = error.into();
        let tone = if problem.status.is_server_error() { Tone::Bad } else { Tone::Warn };
        Self::new(tone, "Not done", sentence(&problem.detail))
    }

    pub(crate) fn markup(&self) -> Markup {
        html! {
            div class={ "notice " (self.tone.class()) } role="status" data-update=[self.update] {
                strong { (self.title) }
                @if !self.text.is_empty() { span { (self.text) } }
            }
        }
    }
}

/// A person at a page: who, what they may do, what is wrong with the house, and what was just said.
pub(crate) struct Visit {
    pub(crate) web: Web,
    pub(crate) caller: Caller,
    pub(crate) fragment: bool,
    pub(crate) said: Option<Said>,
}

impl FromRequestParts<Web> for Visit {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, web: &Web) -> Result<Self, Problem> {
        let caller = parts.extensions.get::<Caller>().cloned().ok_or_else(Problem::unauthorized)?;
        let fragment = parts.headers.contains_key(FRAGMENT);
        let said = cookie(&parts.headers, FLASH)
            .and_then(|value| URL_SAFE_NO_PAD.decode(value).ok())
            .and_then(|json| serde_json::from_slice(&json).ok());
        Ok(Self { web: web.clone(), caller, fragment, said })
    }
}

impl Visit {
    pub(crate) fn may(&self, right: Right) -> bool {
        self.caller.may(right)
    }

    /// What was said about this place, if anything; shown once. Its element stays when the page is refreshed.
    pub(crate) fn said_about(&self, about: &str) -> Markup {
        self.said_until(about, None)
    }

    /// The same about a device, until the update that was announced has ended: its outcome is shown beside it.
    pub(crate) fn said_about_device(&self, device: &Device) -> Markup {
        let ended = device.update.as_ref().filter(|update| !update.state.is_in_flight());
        self.said_until(&device.id, ended.map(|update| update.id))
    }

    fn said_until(&self, about: &str, ended: Option<i64>) -> Markup {
        let is_over =
            |said: &Said| said.update.is_some_and(|update| ended.is_some_and(|ended| update <= ended));
        let said = self.said.as_ref().filter(|said| said.about == about && !is_over(said));
        html! {
            div.said id={ "said-" (about) } data-keep data-ended=[ended] aria-live="polite" {
                @if let Some(said) = said { (said.markup()) }
            }
        }
    }

    /// The page in its frame; without it if the script asks.
    pub(crate) async fn page(&self, title: &str, section: Section, content: Markup) -> Response {
        let problems = self.web.app.problems().await;
        let main = html! {
            div #banner {
                @for problem in &problems {
                    div.notice.bad role="alert" { strong { "Not working" } span { (sentence(problem)) } }
                }
            }
            main #main tabindex="-1" { (content) }
        };
        let body = if self.fragment {
            html! { (health(&problems)) (main) }
        } else {
            document(
                title,
                &html! {
                    a.skip href="#main" { "Skip to content" }
                    (self.rail(section, &problems))
                    div.stage { (main) }
                    div #toasts data-keep aria-live="polite" {}
                },
            )
        };
        let mut response = body.into_response();
        if self.said.is_some() {
            response.headers_mut().append(header::SET_COOKIE, self.web.set_cookie(FLASH, "", Duration::ZERO));
        }
        response.headers_mut().insert(header::VARY, HeaderValue::from_static("x-updraft-fragment"));
        response
    }

    fn rail(&self, section: Section, problems: &[String]) -> Markup {
        let role = match self.caller.actor.role {
            Role::Admin => "Administrator",
            Role::Operator => "Operator",
            Role::Ci => "CI",
            Role::Viewer => "Viewer",
        };
        let link = |here: Section, href: &str, icon: Markup, label: &str| {
            html! { a href=(href) aria-current=[(here == section).then_some("page")] { (icon) span { (label) } } }
        };
        html! {
            header.rail {
                a.brand href="/" { (icon::logo()) span { "Updraft" } }
                nav aria-label="Main" {
                    (link(Section::Devices, "/", icon::chip(), "Devices"))
                    (link(Section::Releases, "/releases", icon::package(), "Releases"))
                }
                div.foot {
                    (health(problems))
                    div.who {
                        div.name { strong { (self.caller.actor.name) } span { (role) } }
                        button.ghost.icon type="button" data-theme-toggle aria-label="Switch between light and dark" title="Light or dark" { (icon::contrast()) }
                        form method="post" action="/logout" {
                            button.ghost.icon type="submit" aria-label="Log out" title="Log out" { (icon::leave()) }
                        }
                    }
                }
            }
        }
    }

    /// Answers a form: in place where the script runs, else by going to `to`.
    pub(crate) fn answer(&self, said: &Said, to: &str) -> Response {
        if self.fragment {
            return said.markup().into_response();
        }
        self.go(said, to)
    }

    /// Answers a form that leads to another page.
    pub(crate) fn go(&self, said: &Said, to: &str) -> Response {
        let mut response = if self.fragment {
            let mut response = said.markup().into_response();
            if let Ok(to) = HeaderValue::from_str(to) {
                response.headers_mut().insert(GO, to);
            }
            response
        } else {
            Redirect::to(to).into_response()
        };
        let json = serde_json::to_vec(said).unwrap_or_default();
        // A cookie holds 4 KiB at most.
        if json.len() <= 2800 {
            let value = self.web.set_cookie(FLASH, &URL_SAFE_NO_PAD.encode(json), Duration::from_secs(30));
            response.headers_mut().append(header::SET_COOKIE, value);
        }
        response
    }
}

/// The health of store and broker, in one word.
fn health(problems: &[String]) -> Markup {
    html! {
        a #health class={ "health " (if problems.is_empty() { "good" } else { "bad" }) } href="/readyz" {
            span.dot {}
            @if problems.is_empty() { "All systems work" } @else { (problems.len()) " not working" }
        }
    }
}

/// A whole document around a body.
pub(crate) fn document(title: &str, body: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " · Updraft" }
                link rel="icon" type="image/svg+xml" href=(assets::icon_path());
                link rel="stylesheet" href=(assets::style_path());
                // In the head and not deferred: the theme is set before anything is drawn.
                script src=(assets::script_path()) {}
            }
            body { (body) }
        }
    }
}

/// Why a page cannot be shown.
pub(crate) struct PageError(Problem);

impl From<AppError> for PageError {
    fn from(error: AppError) -> Self {
        Self(error.into())
    }
}

impl From<Problem> for PageError {
    fn from(problem: Problem) -> Self {
        Self(problem)
    }
}

impl IntoResponse for PageError {
    fn into_response(self) -> Response {
        error_page(self.0.status, &sentence(&self.0.detail))
    }
}

/// A page that says what went wrong, and the way back.
pub(crate) fn error_page(status: StatusCode, text: &str) -> Response {
    let title = status.canonical_reason().unwrap_or("Error");
    let body = html! {
        main.alone {
            div.card.plain {
                (icon::logo())
                p.eyebrow { (status.as_u16()) }
                h1 { (title) }
                p.lead { (text) }
                a.button href="/" { "Back to the devices" }
            }
        }
    };
    (status, document(title, &body)).into_response()
}

/// Nothing here yet, and what to do about it.
pub(crate) fn empty(icon: &Markup, title: &str, text: &str, command: Option<&str>) -> Markup {
    html! {
        div.empty {
            span.badge { (icon) }
            h2 { (title) }
            p { (text) }
            @if let Some(command) = command { (copyable(command)) }
        }
    }
}

/// Text with a button that copies it.
pub(crate) fn copyable(text: &str) -> Markup {
    html! {
        div.copyable {
            code { (text) }
            button.ghost.icon type="button" data-copy=(text) aria-label="Copy" title="Copy" { (icon::copy()) }
        }
    }
}

/// A sentence as people write it: a capital first and a full stop last.
pub(crate) fn sentence(text: &str) -> String {
    let text = text.trim();
    let mut chars = text.chars();
    let Some(first) = chars.next() else { return String::new() };
    let mut out: String = first.to_uppercase().chain(chars).collect();
    if !out.ends_with(['.', '!', '?', '"']) {
        out.push('.');
    }
    out
}
