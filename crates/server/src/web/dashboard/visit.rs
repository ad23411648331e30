//! A person at a page: its frame, the answers to forms, and how they are said.

use std::time::Duration;

use api::{Device, Update};
use axum::extract::{FromRef, FromRequestParts};
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Redirect, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use maud::{Markup, html};
use serde::{Deserialize, Serialize};

use super::document::{document, health_link};
use super::icon;
use super::words::{Tone, explained, sentence};
use crate::access::Role;
use crate::actor::Actor;
use crate::error::Error;
use crate::health::Health;
use crate::web::caller::{Caller, FRAGMENT, Right};
use crate::web::cookies::{Cookies, cookie};
use crate::web::problem::Problem;
use crate::web::state::Web;

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
        let text = problem.cause.as_ref().map_or_else(|| sentence(&problem.detail), explained);
        Self::new(tone, "Not done", text)
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

/// The answer to a form that either does it or says why not.
pub(super) fn done<T>(result: Result<T, Error>, title: &str, text: &str) -> Said {
    match result {
        Ok(_) => Said::new(Tone::Good, title, text),
        // Nobody knows yet that it failed.
        Err(Error::GoesOn(cause)) => Said::new(Tone::Warn, "Not done yet", explained(&cause)),
        Err(error) => Said::failed(error),
    }
}

/// Tells the script to go to another page.
const GO: HeaderName = HeaderName::from_static("x-updraft-go");
/// Carries a sentence over one redirect, for browsers without the script.
const FLASH: &str = "updraft_said";

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Section {
    Devices,
    Releases,
    Rollouts,
    Audit,
}

/// A person at a page: who, what they may do, what does not work, and what was just said.
pub(crate) struct Visit {
    cookies: Cookies,
    health: Health,
    pub(crate) caller: Caller,
    pub(crate) fragment: bool,
    pub(crate) said: Option<Said>,
}

impl FromRequestParts<Web> for Visit {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, web: &Web) -> Result<Self, Problem> {
        let caller = Caller::from_request_parts(parts, web).await?;
        let fragment = parts.headers.contains_key(FRAGMENT);
        let said = cookie(&parts.headers, FLASH)
            .and_then(|value| URL_SAFE_NO_PAD.decode(value).ok())
            .and_then(|json| serde_json::from_slice(&json).ok());
        Ok(Self { cookies: Cookies::from_ref(web), health: Health::from_ref(web), caller, fragment, said })
    }
}

impl Visit {
    pub(crate) fn by(&self) -> &Actor {
        self.caller.by()
    }

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
        let problems = self.health.problems().await;
        let main = html! {
            div #banner {
                @for problem in &problems {
                    div.notice.bad role="alert" { strong { "Not working" } span { (sentence(problem)) } }
                }
            }
            main #main tabindex="-1" { (content) }
        };
        let body = if self.fragment {
            html! { (health_link(&problems)) (main) }
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
            response.headers_mut().append(header::SET_COOKIE, self.cookies.set(FLASH, "", Duration::ZERO));
        }
        response.headers_mut().insert(header::VARY, HeaderValue::from_static("x-updraft-fragment"));
        response
    }

    fn rail(&self, section: Section, problems: &[String]) -> Markup {
        let role = match self.caller.identity.role {
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
                    (link(Section::Rollouts, "/rollouts", icon::steps(), "Rollouts"))
                    @if self.may(Right::Administer) { (link(Section::Audit, "/audit", icon::list(), "Audit")) }
                }
                div.foot {
                    (health_link(problems))
                    div.who {
                        div.name { strong { (self.by().name) } span { (role) } }
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
            let value = self.cookies.set(FLASH, &URL_SAFE_NO_PAD.encode(json), Duration::from_secs(30));
            response.headers_mut().append(header::SET_COOKIE, value);
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_on_is_not_said_to_have_failed() {
        let slow = done::<()>(
            Err(Error::GoesOn(cause::service::GOES_ON.with("what", "blocking 1.0.0"))),
            "Blocked",
            "",
        );
        let markup = slow.markup().into_string();
        assert!(
            markup.contains("Not done yet")
                && markup.contains("The store takes its time over blocking 1.0.0."),
            "{markup}"
        );
        let failed = done::<()>(
            Err(Error::Refused(cause::service::DEVICE_EXISTS.with("device", "d1"))),
            "Blocked",
            "",
        )
        .markup()
        .into_string();
        assert!(failed.contains("Not done<"), "{failed}");
    }
}
