//! The agent's events and actions, carried over real MQTT and HTTP: one session from boot to restart.
//!
//! MQTT and HTTP each have a task that only carries; all decisions are the agent's. Every queue is bounded.

use std::time::Duration;

use agent::{Action, Agent, Connection, Event, FetchId, Message, MessageId, Phase};
use contract::{Control, DEFERRED_MAX_S, Deferred, Presence, Reason, TopicKind};
use image::Behaviour;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use url::Url;

use crate::flash::Flash;
use crate::net::http::{self, FetchEvent};
use crate::net::mqtt::{self, BrokerEvent, Link};
use crate::notice::{Notice, Observer};
use crate::options::{NotNow, Options};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// Somebody asked for it.
    Stopped,
    /// The agent asked for it.
    Restart,
    /// The image crashed.
    Crash,
    /// The power went.
    PowerCut,
}

pub(crate) struct Session<'a> {
    pub(crate) options: &'a Options,
    pub(crate) flash: &'a mut Flash,
    pub(crate) agent: &'a mut Agent,
    pub(crate) observer: &'a Observer,
    pub(crate) started: Instant,
    pub(crate) ever_connected: &'a mut bool,
    pub(crate) behaviour: Behaviour,
    /// The server said that the next update is not to be put off.
    pub(crate) is_forced: bool,
}

struct Fetch {
    id: FetchId,
    event: mpsc::Receiver<FetchEvent>,
    _task: AbortOnDropHandle<()>,
}

impl Fetch {
    async fn next(fetch: &mut Option<Self>) -> (FetchId, FetchEvent) {
        match fetch {
            Some(fetch) => {
                let lost = || FetchEvent::Lost("the download task ended".to_owned());
                (fetch.id, fetch.event.recv().await.unwrap_or_else(lost))
            }
            None => std::future::pending().await,
        }
    }
}

impl Session<'_> {
    pub(crate) async fn run(&mut self, stop: &CancellationToken) -> anyhow::Result<End> {
        let mut link = self.link()?;
        let mut crash_at = None;
        let mut fetch: Option<Fetch> = None;
        loop {
            if let Some(end) = self.act(&mut link, &mut fetch)? {
                return Ok(end);
            }
            if self.behaviour == Behaviour::CrashesLater && *self.ever_connected && self.agent.may_sleep() {
                crash_at = crash_at.or(Some(Instant::now() + self.options.pace.restart));
            }
            let busy_until = self.put_off();
            let deadline = self.agent.deadline_ms();
            let deadline = deadline.map(|at_ms| self.started + Duration::from_millis(at_ms));
            tokio::select! {
                biased;
                () = stop.cancelled() => {
                    if let Some(link) = link {
                        link.announce_offline().await;
                    }
                    return Ok(End::Stopped);
                }
                () = self.options.power.cut_comes() => {
                    self.flash.power_off();
                    return Ok(End::PowerCut);
                }
                () = sleep_until(crash_at.unwrap_or_else(Instant::now)), if crash_at.is_some() => {
                    return Ok(End::Crash);
                }
                () = sleep_until(busy_until.unwrap_or_else(Instant::now)), if busy_until.is_some() => {}
                Some(broker) = self.options.moves.wanted() => self.move_to(&broker),
                event = Link::next(&mut link) => self.on_broker(event, &mut link)?,
                (id, event) = Fetch::next(&mut fetch) => {
                    if matches!(event, FetchEvent::Closed | FetchEvent::Lost(_)) {
                        fetch = None;
                    }
                    self.on_fetch(id, &event);
                }
                () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => {
                    let before = self.agent.phase();
                    self.handle(Event::Tick);
                    if before != Phase::Kept && self.agent.phase() == Phase::Kept {
                        self.defer(link.as_ref());
                    }
                }
            }
        }
    }

    fn handle(&mut self, event: Event<'_>) {
        let now_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.agent.handle(self.flash, event, now_ms);
    }

    /// When it is no time for updates, if so.
    fn not_now(&self) -> Option<&NotNow> {
        self.options.not_now.as_ref().filter(|not_now| !self.is_forced && Instant::now() < not_now.until)
    }

    /// Tells the agent whether it may install, and answers until when it may not.
    fn put_off(&mut self) -> Option<Instant> {
        let until = self.not_now().map(|not_now| not_now.until);
        self.agent.put_off(until.is_some());
        until
    }

    /// Tells the server for how long.
    fn defer(&self, link: Option<&Link>) {
        let (Some(not_now), Some(link)) = (self.not_now(), link) else { return };
        let left = not_now.until.saturating_duration_since(Instant::now());
        let seconds = u32::try_from(left.as_secs() + 1).unwrap_or(u32::MAX).min(DEFERRED_MAX_S);
        let deferred = Deferred { seconds, reason: Reason::new(&not_now.reason) };
        self.tell(Notice::Deferred(deferred.clone()));
        link.publish(TopicKind::Status, deferred.to_string().into_bytes(), None);
    }

    /// A connection to the broker that the agent says, or else to the one that the device came with.
    fn link(&mut self) -> anyhow::Result<Option<Link>> {
        if self.behaviour == Behaviour::NeverReachesNetwork {
            return Ok(None);
        }
        let moved = self.agent.connection(self.flash);
        let moved = moved.and_then(|connection| Url::parse(str::from_utf8(connection.bytes()).ok()?).ok());
        Link::connect(self.options, moved.as_ref().unwrap_or(&self.options.broker)).map(Some)
    }

    fn move_to(&mut self, broker: &Url) {
        if let Ok(connection) = Connection::new(broker.as_str().as_bytes()) {
            // Where there is no place to keep the way back, the device stays where it is.
            let _ = self.agent.move_to(self.flash, connection);
        }
    }

    /// Does all that the agent wants done; `Some` if that ends the session.
    fn act(&mut self, link: &mut Option<Link>, fetch: &mut Option<Fetch>) -> anyhow::Result<Option<End>> {
        loop {
            if !self.flash.is_powered() {
                return Ok(Some(End::PowerCut));
            }
            match self.agent.poll() {
                None => return Ok(None),
                Some(Action::Restart) => return Ok(Some(End::Restart)),
                Some(Action::Cancel) => *fetch = None,
                Some(Action::Reconnect) => {
                    *link = self.link()?;
                    let address = link.as_ref().map(|link| link.address.clone()).unwrap_or_default();
                    self.tell(Notice::Moving(address));
                }
                Some(Action::Fetch { id, url, range, if_range }) => {
                    let (task, event) = http::fetch(url, range, if_range, self.options.pace.bytes_per_s);
                    *fetch = Some(Fetch { id, event, _task: task });
                }
                Some(Action::Publish(id, message)) => self.publish(link.as_ref(), id, &message),
            }
        }
    }

    fn publish(&mut self, link: Option<&Link>, id: MessageId, message: &Message) {
        let (kind, payload) = match message {
            Message::Report => match self.agent.report() {
                Some(report) => (TopicKind::Version, serde_json::to_vec(&report).unwrap_or_default()),
                // What the broker keeps of an earlier image is not true any more.
                None => (TopicKind::Version, Vec::new()),
            },
            Message::Status(status) => {
                self.tell(Notice::Ended(status.outcome, status.reason.clone()));
                (TopicKind::Status, status.to_string().into_bytes())
            }
            Message::Progress(progress) => {
                self.tell(Notice::Progress(*progress));
                (TopicKind::Progress, serde_json::to_vec(progress).unwrap_or_default())
            }
            Message::Request(request) => {
                self.tell(Notice::UrlExpired);
                (TopicKind::Request, request.as_str().into())
            }
        };
        if let Some(link) = link {
            link.publish(kind, payload, Some(id));
        }
    }

    fn on_broker(&mut self, event: BrokerEvent, link: &mut Option<Link>) -> anyhow::Result<()> {
        match event {
            BrokerEvent::Connected => {
                *self.ever_connected = true;
                self.tell(Notice::Connected);
                if let Some(link) = link {
                    link.publish(TopicKind::Presence, Presence::Online.as_str().into(), None);
                }
                self.handle(Event::Connected);
            }
            BrokerEvent::Refused(why) if !*self.ever_connected => {
                anyhow::bail!(
                    "the broker at {} refused {}: {why}",
                    mqtt::address(&self.options.broker),
                    self.options.id
                )
            }
            BrokerEvent::Refused(why) | BrokerEvent::Lost(why) => {
                self.tell(Notice::Disconnected(why));
                self.handle(Event::Disconnected);
            }
            BrokerEvent::Acknowledged(id) => self.handle(Event::Acknowledged(id)),
            BrokerEvent::Message(TopicKind::Trigger, _)
                if self.not_now().is_some_and(|not_now| !not_now.downloads) =>
            {
                self.defer(link.as_ref());
            }
            BrokerEvent::Message(TopicKind::Trigger, payload) => {
                self.handle(Event::Trigger(&payload));
                self.tell(Notice::Triggered(self.agent.updating_to().cloned()));
            }
            BrokerEvent::Message(TopicKind::Control, payload) => match Control::parse(&payload) {
                Ok(Control::ClearQuarantine) => self.handle(Event::ClearQuarantine),
                Ok(Control::Force) => self.is_forced = true,
                Err(_) => {}
            },
            BrokerEvent::Message(..) => {}
        }
        Ok(())
    }

    fn on_fetch(&mut self, id: FetchId, event: &FetchEvent) {
        match event {
            FetchEvent::Received(bytes) => self.handle(Event::Received(id, bytes)),
            FetchEvent::Closed => self.handle(Event::Closed(id)),
            FetchEvent::Lost(why) => self.handle(Event::Lost(id, why)),
        }
    }

    fn tell(&self, notice: Notice) {
        self.observer.tell(&self.options.id, notice);
    }
}
