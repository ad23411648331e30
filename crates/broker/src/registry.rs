//! The connection registry: who is connected, which sessions there are, and what is retained, under one lock that is
//! locked for microseconds. [`Admission`] is told under it who came and went, so in the order in which they did.

use std::num::NonZeroU16;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytestring::ByteString;
use contract::DeviceId;
use rmqtt_codec::v5::{SubscribeAckReason, SubscriptionOptions};

use crate::admission::Admission;
use crate::limits::MAX_UNHANDLED;
use crate::member::{Gone, Leave, Member, NotRegistered, Wish};
use crate::message::Message;
use crate::session::{Next, TooMany};
use crate::state::State;
use crate::topics::Identity;

pub(crate) struct Registry {
    state: Mutex<State>,
}

impl Registry {
    pub(crate) fn new(admission: Arc<dyn Admission>) -> Self {
        Self { state: Mutex::new(State::new(admission)) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change is a whole one; a panic elsewhere leaves nothing half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Read before the password is checked, and handed to [`Registry::register`].
    pub(crate) fn removals(&self) -> u64 {
        self.state().removals
    }

    /// Registers a connection whose password was right; the second value says whether its session was there. Whoever
    /// had the session is closed, the last will published, before this returns.
    pub(crate) fn register(&self, wish: Wish, removals: u64) -> Result<(Member, bool), NotRegistered> {
        self.state().register(wish, removals)
    }

    pub(crate) fn leave(&self, member: &Member, leave: Leave) {
        self.state().leave(member, leave);
    }

    /// To all who listen to it. A device's messages are counted until the server has acknowledged them.
    pub(crate) fn publish(&self, member: &Member, message: Message) -> Result<(), Gone> {
        let mut state = self.state();
        state.session(member)?;
        let credit_of = matches!(member.identity, Identity::Device(_)).then_some(&member.signal);
        state.route(message, member.number, credit_of);
        Ok(())
    }

    /// Whether nothing is to be read from a connection now; it is woken when it may ask again.
    pub(crate) fn is_paused(&self, member: &Member, was_paused: bool) -> bool {
        let most = if was_paused { MAX_UNHANDLED / 2 + 1 } else { MAX_UNHANDLED };
        matches!(member.identity, Identity::Device(_))
            && (member.signal.unhandled() >= most || self.state().is_full(&member.signal))
    }

    /// Subscribes to those filters that are allowed, one answer each.
    pub(crate) fn subscribe(
        &self,
        member: &Member,
        filters: &[(ByteString, SubscriptionOptions)],
        is_allowed: impl Fn(&str) -> bool,
    ) -> Result<Vec<SubscribeAckReason>, Gone> {
        let mut state = self.state();
        let mut granted = Vec::with_capacity(filters.len());
        for (filter, options) in filters {
            if !is_allowed(filter) {
                granted.push(SubscribeAckReason::NotAuthorized);
                continue;
            }
            let (answer, wants_retained) = state.session(member)?.subscribe(filter, *options);
            granted.push(answer);
            if wants_retained {
                state.send_retained(member, filter, options.qos)?;
            }
        }
        Ok(granted)
    }

    /// Whether each filter was subscribed to.
    pub(crate) fn unsubscribe(&self, member: &Member, filters: &[ByteString]) -> Result<Vec<bool>, Gone> {
        let mut state = self.state();
        let session = state.session(member)?;
        Ok(filters.iter().map(|filter| session.unsubscribe(filter)).collect())
    }

    pub(crate) fn acknowledge(&self, member: &Member, id: NonZeroU16) -> Result<(), Gone> {
        self.state().session(member)?.acknowledge(id);
        Ok(())
    }

    /// Whether a message at QoS 2 is new.
    pub(crate) fn receive(&self, member: &Member, id: NonZeroU16) -> Result<Result<bool, TooMany>, Gone> {
        Ok(self.state().session(member)?.receive(id))
    }

    pub(crate) fn release(&self, member: &Member, id: NonZeroU16) -> Result<bool, Gone> {
        Ok(self.state().session(member)?.release(id))
    }

    /// What is to be sent next.
    pub(crate) fn next(&self, member: &Member, batch: &mut Vec<Next>) -> Result<(), Gone> {
        let mut state = self.state();
        state.session(member)?.next(Instant::now(), batch);
        if member.identity == Identity::Server {
            state.drained();
        }
        Ok(())
    }

    /// Closes every connection of a device, publishes its last wills and forgets its sessions.
    pub(crate) fn remove(&self, device: &DeviceId) {
        self.state().remove(device);
    }

    /// Closes every connection; no new one is registered.
    pub(crate) fn stop(&self) {
        self.state().stop();
    }

    pub(crate) fn sweep(&self) {
        self.state().sweep();
    }
}
