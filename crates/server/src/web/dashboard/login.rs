//! The way in and out.

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};
use serde::Deserialize;

use super::document::{copyable, document};
use super::icon;
use super::visit::{Said, Visit};
use super::words::{Tone, sentence};
use crate::access::Access;
use crate::web::cookies::Cookies;
use crate::web::extract::Fields;
use crate::web::login::Login;
use crate::web::problem::Problem;

/// Where the visitor came from, and a login link's secret.
#[derive(Default, Deserialize)]
pub(crate) struct Arrival {
    next: Option<String>,
    key: Option<String>,
}

/// `GET /login`, and `GET /login?key=…` for a login link. The link works once, so that it is a button that uses it: what reads mails and
/// chats follows links.
pub(crate) async fn page(query: Result<Query<Arrival>, QueryRejection>) -> Markup {
    let arrival = query.map(|Query(arrival)| arrival).unwrap_or_default();
    match arrival.key {
        Some(key) => confirmation(&key),
        None => form(None, local(arrival.next.as_deref())),
    }
}

pub(crate) async fn submit(
    entrance: Login,
    State(cookies): State<Cookies>,
    headers: HeaderMap,
    fields: Result<Fields, Problem>,
) -> Response {
    let fields = match fields {
        Ok(fields) => fields,
        Err(problem) => return problem.into_response(),
    };
    let next = local(fields.text("next")).to_owned();
    let text = |name| fields.text(name).unwrap_or_default();
    let session = match fields.text("key") {
        Some(key) => entrance.with_link(&headers, key).await,
        None => entrance.with_password(&headers, text("name"), text("password")).await,
    };
    match session {
        Ok(secret) => ([(header::SET_COOKIE, cookies.session(&secret))], Redirect::to(&next)).into_response(),
        Err(problem) => refused(&problem, &next),
    }
}

pub(crate) async fn logout(
    State(access): State<Access>,
    State(cookies): State<Cookies>,
    visit: Visit,
) -> Result<Response, Problem> {
    access.logout(visit.by(), &visit.caller.secret).await?;
    Ok(([(header::SET_COOKIE, cookies.no_session())], Redirect::to("/login")).into_response())
}

/// A path of ours; anything that could lead elsewhere becomes the start page.
fn local(next: Option<&str>) -> &str {
    match next {
        Some(path)
            if path.starts_with('/')
                && !path[1..].starts_with(['/', '\\'])
                && path.bytes().all(|b| b.is_ascii_graphic()) =>
        {
            path
        }
        _ => "/",
    }
}

fn refused(problem: &Problem, next: &str) -> Response {
    let said = Said::new(Tone::Warn, "Not logged in", sentence(&problem.detail));
    let mut response = (problem.status, form(Some(&said), next)).into_response();
    if let Some(wait_s) = problem.retry_after_s {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(wait_s));
    }
    response
}

fn confirmation(key: &str) -> Markup {
    alone(
        "This link works once.",
        &html! {
            input type="hidden" name="key" value=(key);
            button.primary.wide type="submit" autofocus { "Log in" }
        },
    )
}

/// The page of a form that is alone on it.
fn alone(lead: &str, fields: &Markup) -> Markup {
    document(
        "Log in",
        &html! {
            main.alone {
                form.card.login method="post" action="/login" {
                    div.brand { (icon::logo()) span { "Updraft" } }
                    h1 { "Log in" }
                    p.lead { (lead) }
                    (fields)
                }
            }
        },
    )
}

fn form(said: Option<&Said>, next: &str) -> Markup {
    alone(
        "Firmware updates for your ESP32 fleet.",
        &html! {
            @if let Some(said) = said { (said.markup()) }
            input type="hidden" name="next" value=(next);
            label { span { "Name" } input name="name" autocomplete="username" autocapitalize="none" spellcheck="false" required autofocus; }
            label { span { "Password or token" } input name="password" type="password" autocomplete="current-password" required; }
            button.primary.wide type="submit" { "Log in" }
            details {
                summary { "No password yet?" }
                p { "Make a token on the server and log in with it as the password, under any name:" }
                (copyable("updraft token new me --role admin"))
            }
        },
    )
}

#[cfg(test)]
mod tests {
    use super::local;

    #[test]
    fn the_way_back_stays_on_this_server() {
        assert_eq!(local(Some("/devices/a?x=1")), "/devices/a?x=1");
        for foreign in
            ["//evil.example", "/\\evil.example", "https://evil.example", "", "/a\r\nb", "javascript:x"]
        {
            assert_eq!(local(Some(foreign)), "/", "{foreign}");
        }
        assert_eq!(local(None), "/");
    }
}
