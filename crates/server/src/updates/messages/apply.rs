//! What one message says of a device and of its newest update. No clock, no database: rows in, rows out.

use contract::{
    DEFERRED_MAX_S, Deferred, InvalidPayload, LastOutcome, Outcome, Presence, ProductName, Progress, Reason,
    Report, Request, Sha256, Status, StatusMessage, TopicKind, Version, trimmed,
};
use fleet::{Delivery, Event, ReportView, UpdateState};

use super::read::{Said, excerpt, read_report, redact};
use crate::access::digest;
use crate::db::Locked;
use crate::db::device::DeviceRow;
use crate::db::presence::KnownPresence;
use crate::db::update::UpdateRow;
use crate::mqtt::Message;
use crate::updates::service::{URL_REQUESTS_MAX, advance, was_sent};
use api::DeviceReport;

/// A device that asked to be left alone is not asked again earlier than that.
const DEFERRED_MIN_MS: i64 = 30_000;

/// A device and its newest update while messages are applied to them.
#[derive(Debug, Clone)]
pub(crate) struct Subject {
    pub(crate) device: Locked<DeviceRow>,
    pub(crate) update: Option<Locked<UpdateRow>>,
    /// For how long the message that is applied has been waiting here.
    pub(crate) waited_ms: i64,
    /// The trigger of its update may be on its way.
    pub(crate) is_being_sent: bool,
    /// The image of its update may have been fetched since it was offered.
    pub(crate) may_be_fetched: bool,
    /// By which digests the image of its update is known.
    pub(crate) images: Vec<Sha256>,
    /// What was wrong with the last message that could not be read.
    pub(crate) unreadable: Option<String>,
    /// It asked for a URL and gets none.
    pub(crate) is_refused: bool,
}

impl Subject {
    pub(crate) fn new(device: Locked<DeviceRow>) -> Self {
        Self {
            device,
            update: None,
            waited_ms: 0,
            is_being_sent: false,
            may_be_fetched: true,
            images: Vec::new(),
            unreadable: None,
            is_refused: false,
        }
    }

    /// Applies one message. What cannot be read is counted and changes nothing else. `epoch`: who says something is online in
    /// it, unless it says otherwise.
    pub(crate) fn apply(
        &mut self,
        message: &Message,
        usual: Option<&ProductName>,
        epoch: Option<i64>,
        now: i64,
    ) {
        let payload = &message.payload[..];
        let retains = matches!(message.kind, TopicKind::Version | TopicKind::Presence);
        // Only these two may be retained: of the others, a kept one is of an attempt that is over. An empty
        // payload is how a retained one is cleared.
        if (message.retained && !retains) || (retains && payload.is_empty()) {
            return;
        }
        let read = match message.kind {
            TopicKind::Version => read_report(payload).map(|said| self.report(&said, message, usual, now)),
            TopicKind::Status => StatusMessage::parse(payload).map(|said| match said {
                StatusMessage::Ended(status) => self.status(&status, now),
                StatusMessage::Deferred(deferred) => self.deferred(&deferred, now),
            }),
            TopicKind::Presence => Presence::said(payload).map(|said| self.presence(said, message.retained)),
            TopicKind::Progress => serde_json::from_slice(trimmed(payload))
                .map(|progress| self.progress(progress, now))
                .map_err(|_| InvalidPayload::Progress),
            TopicKind::Request => Request::said(payload).map(|Request::UrlExpired| self.url_expired(now)),
            TopicKind::Trigger | TopicKind::Control => return,
        };
        match read {
            // A retained message is an old one, and the last will is the broker's word.
            Ok(()) if message.retained => {}
            Ok(()) if message.kind == TopicKind::Presence && self.is_gone() => {}
            Ok(()) => {
                self.device.last_seen = Some(now);
                if self.is_gone() {
                    self.device.presence = Some(KnownPresence::Contradicted.into());
                }
            }
            Err(error) => {
                let unreadable = format!("{error}; it began with {}", excerpt(payload));
                self.device.unreadable_count += 1;
                self.device.unreadable_last = Some(unreadable.clone());
                self.device.unreadable_at = Some(now);
                self.unreadable = Some(unreadable);
            }
        }
        let is_heard = self.device.last_seen == Some(now);
        let is_there = match self.device.presence.as_deref() {
            Some(KnownPresence::Online) => Some(true),
            Some(KnownPresence::Offline) => Some(false),
            // Nobody is offline before the time is over.
            Some(KnownPresence::Contradicted) | None => is_heard.then_some(true),
        };
        if let Some((epoch, is_there)) = epoch.zip(is_there) {
            self.device.online_epoch = if is_there { epoch } else { 0 };
        }
    }

    fn report(&mut self, said: &Said, message: &Message, usual: Option<&ProductName>, now: i64) {
        let report = &said.report;
        let seen = digest(&message.payload);
        let known = self.device.report_digest.as_deref() == Some(seen.as_str());
        self.device.report_digest = Some(seen);
        self.choose_product(report.product.as_ref(), usual);
        if message.retained && (known || self.is_taken_back_by(report)) {
            return;
        }
        let last = report.last.clone().map(without_urls);
        self.device.last_outcome = last.clone().map(Into::into);
        self.note_running(said, message.retained, last, now);
    }

    /// It said what it runs by another way than MQTT.
    pub(super) fn said_elsewhere(&mut self, said: &Said, now: i64) {
        self.device.last_seen = Some(now);
        self.note_running(said, false, None, now);
    }

    fn note_running(&mut self, said: &Said, retained: bool, last: Option<LastOutcome>, now: i64) {
        let report = &said.report;
        if !retained {
            self.note_return(&report.version, now);
        }
        self.running(said);
        // The same outcome as before the offer is an old story, but not from a device that has restarted into this update,
        // or ran its target, since: the second failure of an image is reported in the words of the first.
        let is_older = self.is_older(now);
        let news = last.filter(|_| !is_older).filter(|last| {
            self.update.as_ref().is_none_or(|update| {
                let ran = matches!(*update.state, UpdateState::Restarting | UpdateState::Succeeded);
                let restarted = ran && !retained;
                update.outcome_before.as_deref() != Some(last) || (restarted && last.to.is_some())
            })
        });
        let view = ReportView {
            version: report.version.clone(),
            sha256: report.sha256.filter(is_said),
            state: report.state.as_ref().map(|state| state.as_str().to_owned()),
            retained,
            news,
        };
        // What two devices say in turn is of neither's update.
        if !retained && self.device.are_twins(now) {
            return;
        }
        let reset = report.reset.as_deref();
        self.advance(&Event::Report(view), reset, now);
        if let Some(update) = self.update.as_mut().filter(|update| update.believed)
            && !retained
            && update.to_version.0 == report.version
        {
            update.believed = false;
        }
    }

    /// One device goes from one version to another and back at most once without a new offer.
    fn note_return(&mut self, version: &Version, now: i64) {
        let device = &mut self.device;
        if device.version.as_deref() == Some(version) {
            return;
        }
        let is_return = device.version_before.as_deref() == Some(version);
        device.returns = if is_return && !device.is_return_old(now) { device.returns + 1 } else { 0 };
        device.returned_at = Some(now);
        device.version_before = device.version.clone();
    }

    /// The broker kept what ran before an update that has succeeded since.
    fn is_taken_back_by(&self, report: &Report) -> bool {
        self.update.as_ref().filter(|update| update.state == UpdateState::Succeeded).is_some_and(|update| {
            update.from_version.as_deref().and_then(Version::said).as_ref() == Some(&report.version)
        })
    }

    fn choose_product(&mut self, reported: Option<&ProductName>, usual: Option<&ProductName>) {
        if self.device.product_is_set {
            return;
        }
        if let Some(product) = reported {
            self.device.product = Some(product.clone().into());
        } else if self.device.product.is_none() {
            self.device.product = usual.cloned().map(Into::into);
        }
    }

    fn running(&mut self, said: &Said) {
        let (report, json) = (&said.report, said.is_json);
        let same = self.device.version.as_deref() == Some(&report.version);
        // A bare version says nothing of the bytes: what is known of them holds as long as it stays.
        self.device.sha256 =
            report.sha256.filter(is_said).map(Into::into).or(self.device.sha256.filter(|_| same && !json));
        self.device.runs(&report.version);
        self.device.version_said.clone_from(&said.version);
        let slot_bytes = report.slot_bytes.map(i64::from);
        self.device.slot_bytes = slot_bytes.or(self.device.slot_bytes.filter(|_| !json));
        let kept = json.then(|| DeviceReport {
            chip: report.chip.as_ref().map(|text| text.as_str().to_owned()),
            slot: report.slot.as_ref().map(|text| text.as_str().to_owned()),
            state: report.state.as_ref().map(|text| text.as_str().to_owned()),
            slot_bytes: report.slot_bytes,
            chip_revision: report.chip_revision,
            rollback: report.rollback,
            sleeps_s: report.sleeps_s,
            reset: report.reset.as_ref().map(|text| text.as_str().to_owned()),
            accepts: report.accepts.iter().map(|text| text.as_str().to_owned()).collect(),
            lacks: report.lacks.iter().map(|text| text.as_str().to_owned()).collect(),
            returned: report.returned.as_ref().map(|why| redacted(why).as_str().to_owned()),
        });
        self.device.report = kept.map(Into::into);
    }

    fn status(&mut self, status: &Status, now: i64) {
        let plain = self.device.report.is_none();
        let status = Status { outcome: status.outcome, reason: redacted(&status.reason) };
        // A device that nobody told the version of its image names it by its hash, which only the target has.
        let proven = self.update.as_ref().and_then(|update| update.sha256).is_some_and(|sha256| {
            status.reason.as_str().strip_prefix("sha256 ") == Some(sha256.to_hex().as_str())
        });
        // Who names the hash of the image has it.
        self.is_being_sent |= proven;
        self.may_be_fetched |= proven;
        if self.device.are_twins(now) {
            return;
        }
        let believed = (plain || proven) && status.outcome == Outcome::Success;
        let event = if plain || proven { Event::PlainStatus(status) } else { Event::Status(status) };
        let changed = self.advance(&event, None, now);
        let succeeded = |update: &&mut Locked<UpdateRow>| *update.state == UpdateState::Succeeded;
        if let Some(update) = self.update.as_mut().filter(|_| changed && believed).filter(succeeded) {
            update.believed = !proven;
            let version = update.to_version.0.clone();
            // Who does not say its digest is believed for its version, and nothing is known of its bytes.
            self.device.sha256 = update.sha256.filter(|_| proven);
            self.device.runs(&version);
        }
    }

    /// It is left alone, as long as it says, but not for more than seven days in all. It may have been sent the URL only just now.
    fn deferred(&mut self, deferred: &Deferred, now: i64) {
        let (is_sent, is_older) = (self.is_being_sent, self.is_older(now));
        let update = self.update.as_mut().filter(|update| !is_older && (is_sent || was_sent(update)));
        let Some(update) = update else { return };
        let since = update.deferred_since.unwrap_or(now);
        let last = since + i64::from(DEFERRED_MAX_S) * 1000;
        let until = (now + i64::from(deferred.seconds) * 1000).max(now + DEFERRED_MIN_MS).min(last);
        if until <= now || update.forced {
            return;
        }
        let event = Event::Deferred(redacted(&deferred.reason));
        if self.advance(&event, None, now)
            && let Some(update) = &mut self.update
        {
            (update.deferred_since, update.deferred_until) = (Some(since), Some(until));
        }
    }

    fn presence(&mut self, said: Presence, retained: bool) {
        let is_contradicted = self.device.presence.is_some_and(|known| known == KnownPresence::Contradicted);
        // The broker tells the same last will again whenever this server subscribes.
        if !(retained && is_contradicted && said == Presence::Offline) {
            self.device.presence = Some(KnownPresence::from(said).into());
        }
    }

    fn is_gone(&self) -> bool {
        self.device.presence.is_some_and(|known| known == KnownPresence::Offline)
    }

    fn progress(&mut self, progress: Progress, now: i64) {
        let is_older = self.is_older(now);
        if let Some(update) = self.update.as_mut().filter(|update| !is_older && update.state.is_in_flight()) {
            let before = (update.phase, quarter(update));
            update.phase = Some(progress.phase.into());
            update.done = i64::from(progress.done);
            update.heard_at = now;
            let event = Event::Progress(progress.phase);
            let is_noted = advance(update, &self.images, Delivery::Fetched, None, &event, None, now);
            if !is_noted && before != (update.phase, quarter(update)) {
                update.note("progress", now);
            }
        }
    }

    /// Signs again for an update that is in flight; whether its version was blocked meanwhile is asked when it is signed. Asked
    /// again before the URL was sent, it is sent once.
    fn url_expired(&mut self, now: i64) {
        let is_older = self.is_older(now);
        let in_flight = self.update.as_ref().filter(|update| !is_older && update.state.is_in_flight());
        let Some(update) = in_flight.filter(|update| update.url_requests < URL_REQUESTS_MAX) else {
            self.is_refused = true;
            return;
        };
        // One that put it off wants it now: that is no request too many.
        let was_put_off = *update.state == UpdateState::Deferred;
        self.advance(&Event::AskAgain, None, now);
        let Some(update) = &mut self.update else { return };
        if update.triggered_at.is_none() {
            return;
        }
        update.url_requests += i64::from(!was_put_off);
        update.triggered_at = None;
        update.heard_at = now;
        update.note("request", now);
    }

    /// Whether the message came before its update was offered, so that it says nothing of that. Not by a clock that was set.
    fn is_older(&self, now: i64) -> bool {
        let age = self.update.as_ref().map(|update| now - update.created_at).filter(|age| *age >= 0);
        age.is_some_and(|age| self.waited_ms > age)
    }

    /// Tells the newest update; answers whether that changed its state.
    fn advance(&mut self, event: &Event, reset: Option<&str>, now: i64) -> bool {
        let (is_being_sent, may_be_fetched) = (self.is_being_sent, self.may_be_fetched);
        let is_older = self.is_older(now);
        let device = &self.device;
        self.update.as_mut().is_some_and(|update| {
            let running = device.version.as_deref();
            let delivery = match (!is_older && (is_being_sent || was_sent(update)), may_be_fetched) {
                (false, _) => Delivery::Unsent,
                (true, false) => Delivery::Sent,
                (true, true) => Delivery::Fetched,
            };
            advance(update, &self.images, delivery, running, event, reset, now)
        })
    }
}

/// Devices that do not know their digest may say zeros.
fn is_said(sha256: &Sha256) -> bool {
    sha256.0 != [0; 32]
}

/// How many quarters of its phase are done.
fn quarter(update: &UpdateRow) -> i64 {
    update.done.saturating_mul(4).checked_div(update.bytes).unwrap_or_default().min(4)
}

fn without_urls(last: LastOutcome) -> LastOutcome {
    LastOutcome { reason: last.reason.as_ref().map(redacted), ..last }
}

/// What stands for a URL may be longer than it was: the words give way, never the code.
fn redacted(reason: &Reason) -> Reason {
    match reason.code() {
        Some(code) => Reason::new(&redact(reason.words())).coded(code),
        None => Reason::new(&redact(reason.as_str())),
    }
}

#[cfg(test)]
mod tests;
