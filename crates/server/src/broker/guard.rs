//! The guard of one connection: lets it in or not, and answers for every topic it names.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mqtt5::broker::auth::{AuthProvider, AuthResult};
use mqtt5::broker::events::{BrokerEventHandler, ClientPublishEvent, PublishAction};
use mqtt5::packet::connect::ConnectPacket;
use mqtt5::packet::publish::PublishPacket;
use mqtt5::protocol::v5::reason_codes::ReasonCode;
use subtle::ConstantTimeEq;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::House;
use super::acl::{self, Identity};
use super::census::{Seat, Stale};

/// A wrong password is answered this late. With [`super::MAX_HANDSHAKES`] it bounds how many can be tried in a
/// second, without ever locking out an address behind which a whole site sits.
const REFUSAL_DELAY: Duration = Duration::from_millis(500);

type Answer<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

pub(super) struct Guard {
    house: Arc<House>,
    identity: Option<Identity>,
    session: String,
    lasting: bool,
    entry: Mutex<Entry>,
}

/// What is given up on the way in, and got in return.
struct Entry {
    close: Option<oneshot::Sender<()>>,
    handshake: Option<OwnedSemaphorePermit>,
    seat: Option<Seat>,
}

impl Guard {
    pub(super) fn new(
        house: Arc<House>,
        identity: Option<Identity>,
        session: String,
        lasting: bool,
        close: oneshot::Sender<()>,
        handshake: OwnedSemaphorePermit,
    ) -> Self {
        let entry = Mutex::new(Entry { close: Some(close), handshake: Some(handshake), seat: None });
        Self { house, identity, session, lasting, entry }
    }

    /// The connection is over.
    pub(super) fn leave(&self) {
        let seat = self.entry.lock().unwrap_or_else(PoisonError::into_inner).seat.take();
        if let Some(seat) = seat {
            self.house.census.leave(&seat);
        }
    }

    async fn admit(&self, connect: &ConnectPacket) -> AuthResult {
        let (Some(identity), Some(password)) = (&self.identity, &connect.password) else {
            return self.refuse(ReasonCode::BadUsernameOrPassword).await;
        };
        let device = match identity {
            Identity::Server => {
                let own = self.house.credentials.password.as_bytes();
                if !bool::from(own.ct_eq(password)) {
                    return self.refuse(ReasonCode::BadUsernameOrPassword).await;
                }
                self.be_seated();
                return AuthResult::success_with_user(self.house.credentials.user.clone());
            }
            Identity::Device(device) => device,
        };
        if let Some(will) = &connect.will
            && !identity.may_publish(&will.topic, &self.house.version)
        {
            tracing::warn!(device = %device, topic = %will.topic, "refused: the last will is not on a topic of this device");
            return self.refuse(ReasonCode::NotAuthorized).await;
        }
        // Twice at most: a device removed over and over while it connects is not worth a third look.
        for _ in 0..2 {
            let removals = self.house.census.removals();
            if !self.house.admit(device, password).await {
                break;
            }
            if self.enter(device, removals).await {
                return AuthResult::success_with_user(device.as_str());
            }
        }
        self.refuse(ReasonCode::BadUsernameOrPassword).await
    }

    async fn enter(&self, device: &contract::DeviceId, removals: u64) -> bool {
        let forgotten = {
            let mut entry = self.entry.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(close) = entry.close.take() else { return false };
            match self.house.census.enter(device, &self.session, self.lasting, removals, close) {
                Ok((seat, forgotten)) => {
                    entry.seat = Some(seat);
                    entry.handshake = None;
                    forgotten
                }
                Err(Stale(close)) => {
                    entry.close = Some(close);
                    return false;
                }
            }
        };
        if let Some(session) = forgotten {
            self.house.forget(&session).await;
        }
        true
    }

    /// The server's own connection is closed by nobody; its sender must live as long as the guard.
    fn be_seated(&self) {
        self.entry.lock().unwrap_or_else(PoisonError::into_inner).handshake = None;
    }

    async fn refuse(&self, reason: ReasonCode) -> AuthResult {
        tokio::time::sleep(REFUSAL_DELAY).await;
        AuthResult::fail(reason)
    }
}

impl AuthProvider for Guard {
    fn authenticate<'a>(
        &'a self,
        connect: &'a ConnectPacket,
        _: SocketAddr,
    ) -> Answer<'a, mqtt5::Result<AuthResult>> {
        Box::pin(async { Ok(self.admit(connect).await) })
    }

    fn authorize_publish<'a>(&'a self, _: &str, _: Option<&'a str>, topic: &'a str) -> Answer<'a, bool> {
        let identity = self.identity.as_ref();
        let allowed = identity.is_some_and(|identity| identity.may_publish(topic, &self.house.version));
        Box::pin(std::future::ready(allowed))
    }

    fn authorize_subscribe<'a>(&'a self, _: &str, _: Option<&'a str>, filter: &'a str) -> Answer<'a, bool> {
        let identity = self.identity.as_ref();
        let allowed = identity.is_some_and(|identity| identity.may_subscribe(filter, &self.house.version));
        Box::pin(std::future::ready(allowed))
    }
}

/// Takes the retain flag off what must not be retained.
pub(super) struct Manners(pub(super) contract::VersionTopic);

impl BrokerEventHandler for Manners {
    fn on_client_publish(&self, event: ClientPublishEvent) -> Answer<'_, PublishAction> {
        let action = if event.retain && !acl::may_be_retained(&event.topic, &self.0) {
            let mut publish = PublishPacket::new(&*event.topic, event.payload, event.qos);
            publish.packet_id = event.packet_id;
            PublishAction::Transform(publish)
        } else {
            PublishAction::Continue
        };
        Box::pin(std::future::ready(action))
    }
}
