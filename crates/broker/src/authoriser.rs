//! Authorises one connection: checks its password, and every topic it names.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use contract::DeviceId;
use mqtt5::broker::auth::{AuthProvider, AuthResult};
use mqtt5::packet::connect::ConnectPacket;
use mqtt5::protocol::v5::reason_codes::ReasonCode;
use subtle::ConstantTimeEq;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::handshake::Handshake;
use crate::limits::REFUSAL_DELAY;
use crate::registry::{Registration, Stale};
use crate::shared::Shared;
use crate::topics::Identity;

type Answer<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

pub(crate) struct Authoriser {
    shared: Arc<Shared>,
    handshake: Handshake,
    progress: Mutex<Progress>,
}

/// What is given up when the password is accepted, and what is got in return.
struct Progress {
    close: Option<oneshot::Sender<()>>,
    permit: Option<OwnedSemaphorePermit>,
    registration: Option<Registration>,
}

impl Authoriser {
    pub(crate) fn new(
        shared: Arc<Shared>,
        handshake: Handshake,
        close: oneshot::Sender<()>,
        permit: OwnedSemaphorePermit,
    ) -> Self {
        let progress = Progress { close: Some(close), permit: Some(permit), registration: None };
        Self { shared, handshake, progress: Mutex::new(progress) }
    }

    pub(crate) fn unregister(&self) {
        let registration = self.progress().registration.take();
        if let Some(registration) = registration {
            self.shared.registry.unregister(&registration);
        }
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn admit(&self, connect: &ConnectPacket) -> AuthResult {
        let (Some(identity), Some(password)) = (&self.handshake.identity, &connect.password) else {
            return self.refuse(ReasonCode::BadUsernameOrPassword).await;
        };
        let device = match identity {
            Identity::Server => {
                let own = &self.shared.credentials;
                if !bool::from(own.password.as_bytes().ct_eq(password)) {
                    return self.refuse(ReasonCode::BadUsernameOrPassword).await;
                }
                // Nobody closes this connection; its `close` must live as long as it does.
                self.progress().permit = None;
                return AuthResult::success_with_user(own.user.clone());
            }
            Identity::Device(device) => device,
        };
        if let Some(will) = &connect.will
            && !identity.may_publish(&will.topic, &self.shared.version)
        {
            tracing::warn!(device = %device, topic = %will.topic, "refused: the last will is not on a topic of this device");
            return self.refuse(ReasonCode::NotAuthorized).await;
        }
        // At most 2 attempts: a device removed over and over while it connects is not worth a third.
        for _ in 0..2 {
            let removals = self.shared.registry.removals();
            if !self.shared.admit(device, password).await {
                break;
            }
            if self.register(device, removals).await {
                return AuthResult::success_with_user(device.as_str());
            }
        }
        self.refuse(ReasonCode::BadUsernameOrPassword).await
    }

    async fn register(&self, device: &DeviceId, removals: u64) -> bool {
        let forgotten = {
            let mut progress = self.progress();
            let Some(close) = progress.close.take() else { return false };
            let Handshake { session, lasting, .. } = &self.handshake;
            match self.shared.registry.register(device, session, *lasting, removals, close) {
                Ok((registration, forgotten)) => {
                    progress.registration = Some(registration);
                    progress.permit = None;
                    forgotten
                }
                Err(Stale(close)) => {
                    progress.close = Some(close);
                    return false;
                }
            }
        };
        if let Some(session) = forgotten {
            self.shared.forget(&session).await;
        }
        true
    }

    async fn refuse(&self, reason: ReasonCode) -> AuthResult {
        tokio::time::sleep(REFUSAL_DELAY).await;
        AuthResult::fail(reason)
    }

    fn allows(&self, may: impl FnOnce(&Identity) -> bool) -> Answer<'static, bool> {
        Box::pin(std::future::ready(self.handshake.identity.as_ref().is_some_and(may)))
    }
}

impl AuthProvider for Authoriser {
    fn authenticate<'a>(
        &'a self,
        connect: &'a ConnectPacket,
        _: SocketAddr,
    ) -> Answer<'a, mqtt5::Result<AuthResult>> {
        Box::pin(async { Ok(self.admit(connect).await) })
    }

    fn authorize_publish<'a>(&'a self, _: &str, _: Option<&'a str>, topic: &'a str) -> Answer<'a, bool> {
        self.allows(|identity| identity.may_publish(topic, &self.shared.version))
    }

    fn authorize_subscribe<'a>(&'a self, _: &str, _: Option<&'a str>, filter: &'a str) -> Answer<'a, bool> {
        self.allows(|identity| identity.may_subscribe(filter, &self.shared.version))
    }
}
