//! What the receiving connection remembers of its session over a restart of this process: nothing.
//!
//! rumqttc refuses a session that the broker remembers and it does not, since packet ids of its own might be in
//! flight. The receiving connection never publishes; its only packets with ids of ours are subscriptions, which end with
//! the connection. So an empty memory is the true one, and a resumed session can be subscribed in again.

use rumqttc::{PersistedAckMode, PersistedSession, SessionStore, SessionStoreError, SessionStoreKey};
use std::future::{Future, ready};
use std::pin::Pin;

use super::address::OUTGOING_MAXIMUM;

type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, SessionStoreError>> + Send + 'a>>;

#[derive(Debug)]
pub(super) struct NothingInFlight {
    /// What the connection asks for.
    pub(super) expiry_s: u32,
}

impl SessionStore for NothingInFlight {
    fn load<'a>(&'a self, key: &'a SessionStoreKey) -> Answer<'a, Option<PersistedSession>> {
        Box::pin(ready(Ok(Some(PersistedSession {
            format_version: 1,
            client_id: key.client_id().to_owned(),
            clean_start: false,
            session_expiry_interval: Some(self.expiry_s),
            outgoing_inflight_upper_limit: Some(OUTGOING_MAXIMUM),
            ack_mode: PersistedAckMode::Manual,
            last_pkid: 0,
            last_puback: 0,
            replay: Vec::new(),
            incoming_qos2: Vec::new(),
        }))))
    }

    fn save<'a>(&'a self, _: &'a SessionStoreKey, _: &'a PersistedSession) -> Answer<'a, ()> {
        Box::pin(ready(Ok(())))
    }

    fn clear<'a>(&'a self, _: &'a SessionStoreKey) -> Answer<'a, ()> {
        Box::pin(ready(Ok(())))
    }
}
