//! For whom a statement was made, and when it holds.

use cause::publisher as causes;
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
        let cause = match audiences.first() {
            Some(first) => causes::OTHER_AUDIENCE.with("audience", shown(first)),
            None => causes::NO_AUDIENCE.cause(),
        };
        Err(Refusal::Unproven(cause.with("server", server)))
    }

    /// Whether it holds now.
    pub fn hold_at(&self, now: DateTime<Utc>) -> Result<(), Refusal> {
        let at = now.timestamp();
        let refuse = |cause| Err(Refusal::Unproven(cause));
        let Some(end) = seconds(self.exp.as_ref()) else {
            return refuse(causes::NO_EXPIRY.cause());
        };
        let Some(issued) = seconds(self.iat.as_ref()) else {
            return refuse(causes::NO_ISSUE_TIME.cause());
        };
        let clock = |entry: cause::Entry, s| entry.with("at", time(s)).with("now", time(at));
        if end.saturating_add(LEEWAY_S) <= at {
            return refuse(clock(causes::TOKEN_EXPIRED, end));
        }
        let begins = if self.nbf.is_some() { seconds(self.nbf.as_ref()) } else { Some(issued) };
        let Some(begins) = begins else {
            return refuse(causes::BEGIN_UNREADABLE.cause());
        };
        let begins = begins.max(issued);
        if begins.saturating_sub(LEEWAY_S) > at {
            return refuse(clock(causes::NOT_YET_VALID, begins));
        }
        if issued.saturating_add(AGE_MAX_S + LEEWAY_S) <= at {
            let minutes = AGE_MAX_S.unsigned_abs() / 60;
            return refuse(clock(causes::TOKEN_TOO_OLD, issued).with("minutes", minutes));
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
