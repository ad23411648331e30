//! For whom a statement was made, and when it holds.

use chrono::{DateTime, Utc};
use serde::Deserialize;

use crate::{Job, Refusal, shown};

/// How far two clocks may be apart.
const LEEWAY_S: i64 = 60;
/// How old a statement may be.
const AGE_MAX_S: i64 = 15 * 60;
/// For how long one statement may be taken, at most, in seconds: whoever takes each only once must remember it for as long.
pub const HOLDS_MAX_S: i64 = AGE_MAX_S + 2 * LEEWAY_S;

/// What a statement says. Others than these are not looked at.
#[derive(Debug, Deserialize)]
pub struct Claims {
    #[serde(flatten)]
    job: Job,
    aud: Option<Audience>,
    exp: Option<serde_json::Number>,
    nbf: Option<serde_json::Number>,
    iat: Option<serde_json::Number>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

impl Claims {
    /// Who it is about.
    pub fn job(&self) -> &Job {
        &self.job
    }

    /// Whether it was made for this server, which is told by its address.
    pub fn are_for(&self, server: &str) -> Result<(), Refusal> {
        let audiences: &[String] = match &self.aud {
            Some(Audience::One(one)) => std::slice::from_ref(one),
            Some(Audience::Several(several)) => several,
            None => &[],
        };
        if audiences.iter().any(|audience| audience == server) {
            return Ok(());
        }
        let said = match audiences.first() {
            Some(first) => format!("is for the audience (aud) {}", shown(first)),
            None => "names no audience (aud)".to_owned(),
        };
        Err(Refusal::Unproven(format!(
            "The token {said}, and this server takes tokens for {server} only: give that address as --server. It is the \
             server's http.public_url."
        )))
    }

    /// Whether it holds now.
    pub fn hold_at(&self, now: DateTime<Utc>) -> Result<(), Refusal> {
        let at = now.timestamp();
        let refuse = |why: String| Err(Refusal::Unproven(why));
        let Some(end) = seconds(self.exp.as_ref()) else {
            return refuse("The token has no time of expiry (exp).".to_owned());
        };
        let Some(issued) = seconds(self.iat.as_ref()) else {
            return refuse("The token does not say when it was issued (iat).".to_owned());
        };
        let clock = |s| format!("{}, and it is {} here", time(s), time(at));
        if end.saturating_add(LEEWAY_S) <= at {
            return refuse(format!(
                "The token has expired: it ended (exp) at {}. Ask the CI system for a new one.",
                clock(end)
            ));
        }
        let begins = if self.nbf.is_some() { seconds(self.nbf.as_ref()) } else { Some(issued) };
        let Some(begins) = begins else {
            return refuse("The token's begin (nbf) cannot be read.".to_owned());
        };
        let begins = begins.max(issued);
        if begins.saturating_sub(LEEWAY_S) > at {
            return refuse(format!(
                "The token is not yet valid: it begins (nbf, iat) at {}. One of the two clocks is wrong.",
                clock(begins)
            ));
        }
        if issued.saturating_add(AGE_MAX_S + LEEWAY_S) <= at {
            return refuse(format!(
                "The token is too old: it was issued (iat) at {}, and at most {} minutes are taken. Ask the CI system for \
                 a new one.",
                clock(issued),
                AGE_MAX_S / 60
            ));
        }
        Ok(())
    }
}

/// Seconds since 1970; a fraction of one is dropped.
fn seconds(number: Option<&serde_json::Number>) -> Option<i64> {
    let number = number?;
    number.as_i64().or_else(|| {
        let seconds = number.as_f64().filter(|seconds| seconds.abs() < 1e12)?;
        #[expect(clippy::cast_possible_truncation, reason = "was compared with its bounds")]
        Some(seconds.floor() as i64)
    })
}

fn time(seconds: i64) -> String {
    match DateTime::from_timestamp(seconds, 0) {
        Some(time) => time.format("%Y-%m-%dT%H:%M:%SZ").to_string(),
        None => format!("{seconds} seconds after 1970"),
    }
}
