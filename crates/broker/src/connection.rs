//! One connection, from its welcome to its end. While nothing is in flight it has no buffer.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use rmqtt_codec::types::QoS;
use rmqtt_codec::v5::DisconnectReasonCode;
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until};

use crate::answer::Outgoing;
use crate::limits::{READ_BYTES, SESSION_EXPIRY, TOKEN_CHECK, WRITE_BYTES};
use crate::member::{Gone, Leave, Member};
use crate::message::{Closed, Message};
use crate::packet::{self, Incoming, Malformed, Protocol, Publish};
use crate::session::TooMany;
use crate::shared::Shared;

pub(crate) struct Connection {
    pub(crate) shared: Arc<Shared>,
    pub(crate) member: Member,
    pub(crate) protocol: Protocol,
    pub(crate) keep_alive: Duration,
    pub(crate) max_packet: usize,
    /// The API token that it was let in with.
    pub(crate) token: Option<Bytes>,
    /// Its next packet is a message that has to wait: the server has enough of them, or does not listen.
    pub(crate) is_paused: bool,
    /// What its end will mean; also if that is a panic.
    pub(crate) leave: Leave,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.shared.state().leave(&self.member, self.leave);
    }
}

/// Why a connection ends.
#[derive(Debug)]
pub(crate) enum End {
    /// The socket was closed, or broke.
    Lost,
    /// The client said so.
    Asked(Leave),
    /// It is told why, where its version has words for it.
    Because(DisconnectReasonCode),
}

impl Connection {
    /// Serves it to its end. `read` came behind the CONNECT, `written` goes out first.
    pub(crate) async fn run(mut self, stream: &TcpStream, mut read: BytesMut, mut written: BytesMut) {
        let mut end = self.serve(stream, &mut read, &mut written).await;
        if let (End::Lost, Some(why)) = (&end, self.member.signal.closed()) {
            end = why.into();
        }
        tracing::debug!(user = ?self.member.identity, ?end, "an MQTT connection ended");
        match end {
            End::Lost => {}
            End::Asked(leave) => self.leave = leave,
            End::Because(reason) => {
                self.protocol.disconnect(reason, &mut written);
                // As much as goes without waiting.
                let _ = stream.try_write(&written);
            }
        }
    }

    async fn serve(&mut self, stream: &TcpStream, read: &mut BytesMut, written: &mut BytesMut) -> End {
        let mut silent_at = Instant::now() + self.keep_alive.mul_f32(1.5);
        let mut check_at = Instant::now() + TOKEN_CHECK;
        let flow = Arc::clone(&self.member.flow);
        loop {
            tokio::task::consume_budget().await;
            // From here on, so that what comes while the packets are handled is not missed.
            let room = flow.room.notified();
            if let Err(end) = self.handle(read, written) {
                return end;
            }
            if !written.is_empty() {
                match stream.try_write(written) {
                    Ok(count) => written.advance(count),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(_) => return End::Lost,
                }
                if written.is_empty() {
                    *written = BytesMut::new();
                    continue;
                }
            }
            let reads = !self.is_paused && written.len() < WRITE_BYTES;
            let writes = !written.is_empty();
            let until = if self.token.is_some() { silent_at.min(check_at) } else { silent_at };
            tokio::select! {
                ready = ready(stream, reads, writes) => match ready {
                    Ok(true) => {
                        read.reserve(READ_BYTES);
                        match stream.try_read_buf(read) {
                            Ok(0) => return End::Lost,
                            Ok(_) => silent_at = Instant::now() + self.keep_alive.mul_f32(1.5),
                            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                            Err(_) => return End::Lost,
                        }
                    }
                    Ok(false) => {}
                    Err(_) => return End::Lost,
                },
                () = self.member.signal.wake.notified() => {}
                () = room, if self.is_paused => silent_at = Instant::now() + self.keep_alive.mul_f32(1.5),
                () = sleep_until(until) => {
                    if Instant::now() >= silent_at && self.is_paused {
                        // It is not the client that is silent.
                        silent_at = Instant::now() + self.keep_alive.mul_f32(1.5);
                    } else if Instant::now() >= silent_at {
                        return End::Because(DisconnectReasonCode::KeepAliveTimeout);
                    }
                    check_at = Instant::now() + TOKEN_CHECK;
                    if let Some(token) = &self.token && self.shared.admit_reader(token).await == Ok(false) {
                        return End::Because(DisconnectReasonCode::NotAuthorized);
                    }
                }
            }
        }
    }

    /// Everything that can be done without waiting: answers what was read, and fetches what is to be sent.
    pub(crate) fn handle(&mut self, read: &mut BytesMut, written: &mut BytesMut) -> Result<(), End> {
        if let Some(why) = self.member.signal.closed() {
            return Err(why.into());
        }
        while written.len() < WRITE_BYTES {
            self.is_paused =
                packet::is_publish(read) && self.shared.state().is_paused(&self.member, self.is_paused);
            if self.is_paused {
                break;
            }
            let Some(packet) = self.protocol.decode(read)? else { break };
            self.incoming(packet, written)?;
        }
        if read.is_empty() {
            *read = BytesMut::new();
        }
        if written.is_empty() {
            self.outgoing(written)?;
        }
        Ok(())
    }

    fn incoming(&mut self, packet: Incoming, written: &mut BytesMut) -> Result<(), End> {
        let (shared, member) = (&self.shared, &self.member);
        match packet {
            Incoming::Publish(publish) => self.published(&publish, written)?,
            Incoming::Acknowledge(id) => shared.state().session(member)?.acknowledge(id),
            Incoming::Release(id) => {
                let is_known = shared.state().session(member)?.release(id);
                self.protocol.completed(id, is_known, written);
            }
            Incoming::Subscribe(id, filters) => {
                let may = |filter: &str| member.identity.may_subscribe(filter, &shared.version);
                let answers = shared.state().subscribe(member, &filters, may)?;
                for ((filter, options), _) in filters.iter().zip(&answers).filter(|(_, (_, wanted))| *wanted)
                {
                    // Locked for each, since what is retained of a whole fleet is looked through.
                    shared.state().send_retained(member, filter, options.qos)?;
                }
                let granted: Vec<_> = answers.into_iter().map(|(answer, _)| answer).collect();
                self.protocol.subscribed(id, &granted, written);
            }
            Incoming::Unsubscribe(id, filters) => {
                let existed = shared.state().unsubscribe(member, &filters)?;
                self.protocol.unsubscribed(id, &existed, written);
            }
            Incoming::Ping => self.protocol.pong(written),
            Incoming::Disconnect { with_will, expiry_s } => {
                let lasting = expiry_s.map(|seconds| Duration::from_secs(seconds.into()).min(SESSION_EXPIRY));
                return Err(End::Asked(Leave { with_will, lasting }));
            }
        }
        Ok(())
    }

    fn published(&mut self, publish: &Publish, written: &mut BytesMut) -> Result<(), End> {
        // CONNACK said that there are none.
        if publish.has_alias {
            return Err(End::Because(DisconnectReasonCode::TopicAliasInvalid));
        }
        if publish.topic.is_empty() {
            return Err(End::Because(DisconnectReasonCode::ProtocolError));
        }
        if publish.topic.contains(['+', '#', '\0']) {
            return Err(End::Because(DisconnectReasonCode::TopicNameInvalid));
        }
        let (shared, member) = (&self.shared, &self.member);
        let topic = member.identity.may_publish(&publish.topic, &self.shared.version);
        // Made before the lock.
        let message = topic.map(|topic| Message::new(publish, topic));
        let is_allowed = message.is_some();
        match (message, publish.id) {
            (None, _) => tracing::debug!(user = ?member.identity, "refused: not a topic of this client"),
            (Some(message), Some(id)) if publish.qos == QoS::ExactlyOnce => {
                let is_new = shared.state().session(member)?.receive(id)?;
                if is_new {
                    shared.state().publish(member, message)?;
                }
            }
            (Some(message), Some(id)) => shared.state().publish_once(member, message, id, publish.again)?,
            (Some(message), None) => shared.state().publish(member, message)?,
        }
        match (publish.qos, publish.id) {
            (QoS::AtLeastOnce, Some(id)) => self.protocol.acknowledge(id, is_allowed, written),
            (QoS::ExactlyOnce, Some(id)) => self.protocol.received(id, is_allowed, written),
            _ => {}
        }
        Ok(())
    }

    fn outgoing(&mut self, written: &mut BytesMut) -> Result<(), End> {
        let mut batch = Vec::new();
        self.shared.state().next(&self.member, &mut batch)?;
        let now = std::time::Instant::now();
        for next in batch {
            let before = written.len();
            let message = &next.message;
            let outgoing = Outgoing { message, id: next.id, retained: next.retained, again: next.again };
            self.protocol.publish(&outgoing, now, written);
            if written.len() - before > self.max_packet {
                // As the specification has it: dropped, as if the client had acknowledged it.
                written.truncate(before);
                if let Some(id) = next.id {
                    self.shared.state().session(&self.member)?.acknowledge(id);
                }
                // Others may wait behind it.
                self.member.signal.wake.notify_one();
            }
        }
        Ok(())
    }
}

/// Whether the socket can be read; `false`: only written to.
async fn ready(stream: &TcpStream, reads: bool, writes: bool) -> io::Result<bool> {
    let interest = match (reads, writes) {
        (true, true) => Interest::READABLE | Interest::WRITABLE,
        (true, false) => Interest::READABLE,
        (false, true) => Interest::WRITABLE,
        (false, false) => return std::future::pending().await,
    };
    Ok(stream.ready(interest).await?.is_readable())
}

impl From<Gone> for End {
    fn from(Gone: Gone) -> Self {
        Self::Lost
    }
}

impl From<TooMany> for End {
    fn from(TooMany: TooMany) -> Self {
        Self::Because(DisconnectReasonCode::ReceiveMaximumExceeded)
    }
}

impl From<Malformed> for End {
    fn from(Malformed(reason): Malformed) -> Self {
        Self::Because(reason)
    }
}

impl From<Closed> for End {
    fn from(why: Closed) -> Self {
        Self::Because(match why {
            Closed::Left => DisconnectReasonCode::UnspecifiedError,
            Closed::TakenOver => DisconnectReasonCode::SessionTakenOver,
            Closed::TooMany => DisconnectReasonCode::QuotaExceeded,
            Closed::Removed => DisconnectReasonCode::AdministrativeAction,
            Closed::Stopping => DisconnectReasonCode::ServerShuttingDown,
        })
    }
}
