//! `/api/v1/events`: what happened, as server-sent events. Carries ids only; watchers ask again for what they show.
//!
//! A device that reports progress is told of at most four times a second. Who lags behind gets `resync`.

use std::collections::HashMap;
use std::convert::Infallible;
use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use axum::response::sse::{Event as Sse, Sse as Stream};
use axum::response::{IntoResponse, Response};
use tokio::sync::broadcast::{Receiver, error::RecvError};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::problem::Problem;
use crate::app::App;
use crate::model::Event;
use crate::router::Web;
use crate::session::Caller;

/// The least time between two events about the same thing.
const APART: Duration = Duration::from_millis(250);
/// A comment this often keeps proxies from closing the stream; the credentials are looked at again then.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// Things held back at a time; more of them make a resync.
const HELD_MAX: usize = 4096;

/// Events `device`, `product`, `health`, and `resync` (look at everything again). Comments every 15 s.
#[utoipa::path(get, path = "/api/v1/events", tag = "events", responses(
    (status = 200, body = Event, content_type = "text/event-stream"), (status = 401, body = api::Problem),
    (status = 503, body = api::Problem, description = "Too many streams")))]
pub(crate) async fn stream(
    State(web): State<Web>,
    Extension(caller): Extension<Caller>,
) -> Result<Response, Problem> {
    let permit = web
        .streams
        .clone()
        .try_acquire_owned()
        .map_err(|_| Problem::later("too many streams of events are open; close one and try again"))?;
    let (sender, receiver) = mpsc::channel(16);
    let feed = Feed { app: web.app.clone(), caller, shutdown: web.shutdown.clone(), sender };
    let events = web.app.events();
    tokio::spawn(async move {
        feed.run(events).await;
        drop(permit);
    });
    let stream = futures_util::stream::unfold(receiver, async |mut receiver| {
        let event = receiver.recv().await?;
        Some((Ok::<_, Infallible>(event), receiver))
    });
    Ok(Stream::new(stream).into_response())
}

struct Feed {
    app: App,
    caller: Caller,
    shutdown: CancellationToken,
    sender: mpsc::Sender<Sse>,
}

/// When each thing was last told of, and what waits.
#[derive(Default)]
struct Pace {
    told: HashMap<Event, Instant>,
    held: Vec<Event>,
}

impl Pace {
    /// True if it is to be told at once; else it is held until [`Pace::release`].
    fn admit(&mut self, event: &Event, now: Instant) -> bool {
        match self.told.get(event) {
            Some(last) if now.duration_since(*last) < APART => {
                if !self.held.contains(event) {
                    self.held.push(event.clone());
                }
                false
            }
            _ => {
                self.told.insert(event.clone(), now);
                true
            }
        }
    }

    /// What was held long enough. Forgets what was told of long ago.
    fn release(&mut self, now: Instant) -> Vec<Event> {
        let held = std::mem::take(&mut self.held);
        let (due, held): (Vec<_>, Vec<_>) = held
            .into_iter()
            .partition(|event| self.told.get(event).is_none_or(|last| now.duration_since(*last) >= APART));
        self.held = held;
        self.told.retain(|_, last| now.duration_since(*last) < APART);
        for event in &due {
            self.told.insert(event.clone(), now);
        }
        due
    }

    fn is_idle(&self) -> bool {
        self.held.is_empty() && self.told.is_empty()
    }
}

impl Feed {
    async fn run(self, mut events: Receiver<Event>) {
        let mut pace = Pace::default();
        let mut heartbeat = tokio::time::interval(HEARTBEAT);
        let mut tick = tokio::time::interval(APART / 2);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let go_on = tokio::select! {
                () = self.shutdown.cancelled() => false,
                () = self.sender.closed() => false,
                _ = heartbeat.tick() => self.still_known().await && self.send(Sse::default().comment("")).await,
                _ = tick.tick(), if !pace.is_idle() => self.tell_all(pace.release(Instant::now())).await,
                event = events.recv() => match event {
                    Ok(event) => self.take(&mut pace, event).await,
                    Err(RecvError::Lagged(_)) => self.resync(&mut pace).await,
                    Err(RecvError::Closed) => false,
                },
            };
            if !go_on {
                return;
            }
        }
    }

    async fn take(&self, pace: &mut Pace, event: Event) -> bool {
        if pace.told.len() + pace.held.len() > HELD_MAX {
            return self.resync(pace).await;
        }
        if pace.admit(&event, Instant::now()) { self.tell_all(vec![event]).await } else { true }
    }

    async fn resync(&self, pace: &mut Pace) -> bool {
        *pace = Pace::default();
        self.send(Sse::default().event("resync").data("{\"type\":\"resync\"}")).await
    }

    async fn tell_all(&self, events: Vec<Event>) -> bool {
        for event in events {
            let name = match &event {
                Event::Device { .. } => "device",
                Event::Product { .. } => "product",
                Event::Health => "health",
            };
            let Ok(told) = Sse::default().event(name).json_data(&event) else { continue };
            if !self.send(told).await {
                return false;
            }
        }
        true
    }

    /// A client that does not read is let go once its queue and the heartbeat are stuck this long.
    async fn send(&self, event: Sse) -> bool {
        matches!(tokio::time::timeout(HEARTBEAT, self.sender.send(event)).await, Ok(Ok(())))
    }

    /// A revoked token and an ended session hear nothing more; a database that fails does not end the stream.
    async fn still_known(&self) -> bool {
        !matches!(self.app.authenticate(&self.caller.secret).await, Ok(None))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_device_is_told_of_at_most_four_times_a_second() {
        let event = Event::Device { device: "d1".parse().expect("valid") };
        let (mut pace, begin) = (Pace::default(), Instant::now());
        let mut told = 0;
        for step in 0..100_u32 {
            let now = begin + Duration::from_millis(10) * step;
            told += usize::from(pace.admit(&event, now));
            told += pace.release(now).len();
        }
        assert_eq!(told, 4);
        let later = begin + Duration::from_secs(5);
        assert_eq!(pace.release(later), vec![event], "the last change is never lost");
        pace.release(later + APART);
        assert!(pace.is_idle());
    }
}
