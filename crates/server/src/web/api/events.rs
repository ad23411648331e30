//! `/api/v1/events`: what happened, as server-sent events. Carries ids only; watchers ask again for what they show.
//!
//! Of a device that reports progress at most four events a second are sent. Who lags behind gets `resync`.

use std::collections::HashMap;
use std::convert::Infallible;
use std::time::Duration;

use api::Event;
use axum::extract::State;
use axum::response::sse::{Event as Sse, Sse as Stream};
use axum::response::{IntoResponse, Response};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::access::Access;
use crate::events::Events;
use crate::web::caller::Caller;
use crate::web::limits::Streams;
use crate::web::problem::Problem;

/// A comment this often keeps proxies from closing the stream; the credentials are looked at again then.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// Maximum number of things that are remembered; more of them make a resync.
const REMEMBERED_MAX: usize = 4096;

/// Events `device`, `product`, `health`, and `resync` (look at everything again). Comments every 15 s.
#[utoipa::path(get, path = "/api/v1/events", tag = "events", responses(
    (status = 200, body = Event, content_type = "text/event-stream"),
    (status = 429, body = api::Problem, description = "Too many streams of this caller"),
    (status = 503, body = api::Problem, description = "Too many streams")))]
pub(crate) async fn stream(
    State(streams): State<Streams>,
    State(access): State<Access>,
    State(events): State<Events>,
    State(shutdown): State<CancellationToken>,
    caller: Caller,
) -> Result<Response, Problem> {
    let open = streams.open(caller.by())?;
    let (sender, receiver) = mpsc::channel(16);
    let feed = Feed { access, caller, shutdown, sender };
    let events = events.subscribe();
    tokio::spawn(async move {
        feed.run(events).await;
        drop(open);
    });
    let stream = futures_util::stream::unfold(receiver, async |mut receiver| {
        let event = receiver.recv().await?;
        Some((Ok::<_, Infallible>(event), receiver))
    });
    Ok(Stream::new(stream).into_response())
}

struct Feed {
    access: Access,
    caller: Caller,
    shutdown: CancellationToken,
    sender: mpsc::Sender<Sse>,
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
                _ = tick.tick(), if !pace.is_idle() => self.send_all(pace.release(Instant::now())).await,
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
        if pace.size() > REMEMBERED_MAX {
            return self.resync(pace).await;
        }
        if pace.admit(&event, Instant::now()) { self.send_all(vec![event]).await } else { true }
    }

    async fn resync(&self, pace: &mut Pace) -> bool {
        *pace = Pace::default();
        self.send(Sse::default().event("resync").data("{\"type\":\"resync\"}")).await
    }

    async fn send_all(&self, events: Vec<Event>) -> bool {
        for event in events {
            let name = match &event {
                Event::Device { .. } => "device",
                Event::Product { .. } => "product",
                Event::Rollout { .. } => "rollout",
                Event::Health => "health",
            };
            let Ok(event) = Sse::default().event(name).json_data(&event) else { continue };
            if !self.send(event).await {
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
        !matches!(self.access.authenticate(&self.caller.secret).await, Ok(None))
    }
}

pub(super) const APART: Duration = Duration::from_millis(250);

/// When each thing was last sent, and what waits.
#[derive(Default)]
pub(super) struct Pace {
    sent: HashMap<Event, Instant>,
    waiting: Vec<Event>,
}

impl Pace {
    /// True if it is to be sent at once; else it waits for [`Pace::release`].
    pub(super) fn admit(&mut self, event: &Event, now: Instant) -> bool {
        match self.sent.get(event) {
            Some(last) if now.duration_since(*last) < APART => {
                if !self.waiting.contains(event) {
                    self.waiting.push(event.clone());
                }
                false
            }
            _ => {
                self.sent.insert(event.clone(), now);
                true
            }
        }
    }

    /// What has waited long enough. Forgets what was sent long ago.
    pub(super) fn release(&mut self, now: Instant) -> Vec<Event> {
        let waiting = std::mem::take(&mut self.waiting);
        let (due, waiting): (Vec<_>, Vec<_>) = waiting
            .into_iter()
            .partition(|event| self.sent.get(event).is_none_or(|last| now.duration_since(*last) >= APART));
        self.waiting = waiting;
        self.sent.retain(|_, last| now.duration_since(*last) < APART);
        for event in &due {
            self.sent.insert(event.clone(), now);
        }
        due
    }

    pub(super) fn size(&self) -> usize {
        self.sent.len() + self.waiting.len()
    }

    pub(super) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.sent.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_device_is_sent_at_most_four_times_a_second() {
        let event = Event::Device { device: "d1".parse().expect("valid") };
        let (mut pace, begin) = (Pace::default(), Instant::now());
        let mut sent = 0;
        for step in 0..100_u32 {
            let now = begin + Duration::from_millis(10) * step;
            sent += usize::from(pace.admit(&event, now));
            sent += pace.release(now).len();
        }
        assert_eq!(sent, 4);
        let later = begin + Duration::from_secs(5);
        assert_eq!(pace.release(later), vec![event], "the last change is never lost");
        pace.release(later + APART);
        assert!(pace.is_idle());
    }
}
