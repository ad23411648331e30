//! The handshake: reads a connection's first packet, checks who it is, and registers it.
//!
//! A session's name is the client id, hashed, beside whose it is: so no two users' sessions can meet, whatever client id
//! they choose.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use contract::VersionTopic;
use listen::Place;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use crate::admission::Unavailable;
use crate::answer::{Refusal, Welcome};
use crate::connection::Connection;
use crate::limits::{CONNECT_TIMEOUT, MAX_KEEP_ALIVE_S, MAX_KEPT_BYTES, REFUSAL_DELAY};
use crate::member::{Leave, Member, NotRegistered, Wish};
use crate::message::Message;
use crate::packet::{self, Connect, NotConnected, Protocol};
use crate::session::SessionName;
use crate::shared::Shared;
use crate::topics::{Identity, READER};

/// A connection that was let in, and the first bytes from it and to it.
pub(crate) struct Opened {
    pub(crate) connection: Connection,
    pub(crate) read: BytesMut,
    pub(crate) written: BytesMut,
}

/// The error is the answer that says why the client may not connect; empty where it sent no CONNECT in time.
pub(crate) async fn shake(
    shared: &Arc<Shared>,
    stream: &mut TcpStream,
    peer: SocketAddr,
    place: &Place,
) -> Result<Opened, BytesMut> {
    let mut bytes = BytesMut::new();
    let read = tokio::time::timeout(CONNECT_TIMEOUT, read(stream, &mut bytes)).await;
    let (protocol, connect) = match read {
        Ok(Ok(Some(connect))) => connect,
        Ok(Err(NotConnected { why, client_id, answer })) => {
            shared.refuse_entry(peer, &client_id, why);
            return Err(BytesMut::from(answer));
        }
        Ok(Ok(None)) | Err(_) => return Err(BytesMut::new()),
    };
    answer(shared, peer, place, protocol, connect, bytes).await
}

/// `None` if the client went away.
async fn read(
    stream: &mut TcpStream,
    bytes: &mut BytesMut,
) -> Result<Option<(Protocol, Connect)>, NotConnected> {
    loop {
        bytes.reserve(512);
        if stream.read_buf(bytes).await.unwrap_or(0) == 0 {
            return Ok(None);
        }
        if let Some(connect) = packet::connect(bytes)? {
            return Ok(Some(connect));
        }
    }
}

async fn answer(
    shared: &Arc<Shared>,
    peer: SocketAddr,
    place: &Place,
    mut protocol: Protocol,
    connect: Connect,
    read: BytesMut,
) -> Result<Opened, BytesMut> {
    let mut written = BytesMut::new();
    match admit(shared, place, &connect).await {
        Ok((member, session_present)) => {
            protocol.welcome(welcome(&connect, &member, session_present), &mut written);
            let connection = Connection {
                keep_alive: Duration::from_secs(keep_alive_s(&connect).into()),
                max_packet: connect.max_packet,
                token: connect.password.filter(|_| member.identity == Identity::Reader),
                shared: Arc::clone(shared),
                member,
                protocol,
                is_paused: false,
                leave: Leave::LOST,
            };
            Ok(Opened { connection, read, written })
        }
        Err(refusal) => {
            let who = connect.user.as_deref().filter(|user| !user.is_empty());
            if let Some(why) = refusal.why() {
                shared.refuse_entry(peer, who.unwrap_or(&connect.client_id), why);
            }
            place.wait();
            tokio::time::sleep(REFUSAL_DELAY).await;
            protocol.refuse(refusal, &mut written);
            Err(written)
        }
    }
}

fn keep_alive_s(connect: &Connect) -> u16 {
    match connect.keep_alive_s {
        0 => MAX_KEEP_ALIVE_S,
        seconds => seconds.min(MAX_KEEP_ALIVE_S),
    }
}

fn welcome(connect: &Connect, member: &Member, session_present: bool) -> Welcome {
    let (granted, keep_alive_s) = (lasting_s(connect, &member.identity), keep_alive_s(connect));
    Welcome {
        session_present,
        expiry_s: (granted != connect.expiry_s).then_some(granted),
        keep_alive_s: (keep_alive_s != connect.keep_alive_s).then_some(keep_alive_s),
        client_id: connect.client_id.is_empty().then(|| hex::encode(member.name)),
    }
}

fn lasting_s(connect: &Connect, identity: &Identity) -> u32 {
    // Who comes with a token subscribes again.
    if *identity == Identity::Reader { 0 } else { connect.granted_expiry_s() }
}

/// Lets a connection in whose password is right, and registers it.
async fn admit(shared: &Shared, place: &Place, connect: &Connect) -> Result<(Member, bool), Refusal> {
    if connect.has_method {
        return Err(Refusal::Method);
    }
    let own = &shared.credentials;
    let identity = match connect.user.as_deref() {
        Some(user) if user == own.user => Identity::Server,
        Some(READER) => Identity::Reader,
        Some(user) if !user.is_empty() => Identity::Device(user.parse().map_err(|_| Refusal::InvalidId)?),
        _ => return Err(Refusal::NoPassword),
    };
    let password = connect.password.clone().ok_or(Refusal::NoPassword)?;
    let name = session_name(&connect.client_id, &identity, &password)?;
    if identity != Identity::Server {
        // Not only once the password was found right: of many who come at once, those next in line would make room.
        place.work().map_err(|_| Refusal::TooMany)?;
    }
    // At most 2 attempts: a device removed over and over while it connects is not worth a third.
    for _ in 0..2 {
        let removals = shared.state().removals;
        let is_right = is_right(shared, &identity, &password).await;
        if !is_right.map_err(|Unavailable| Refusal::Unavailable)? {
            break;
        }
        if identity == Identity::Server {
            place.work_anyway();
        }
        let will = will(connect, &identity, &shared.version)?;
        let wish = Wish {
            identity: identity.clone(),
            name,
            lasting: Duration::from_secs(lasting_s(connect, &identity).into()),
            clean: connect.clean,
            will,
            window: connect.receive_maximum,
        };
        let registered = shared.state().register(wish, removals);
        match registered {
            Ok(registered) => return Ok(registered),
            Err(NotRegistered::Stale) => {}
            Err(NotRegistered::TooMany | NotRegistered::Stopped) => return Err(Refusal::TooMany),
        }
    }
    Err(Refusal::Password)
}

async fn is_right(shared: &Shared, identity: &Identity, password: &Bytes) -> Result<bool, Unavailable> {
    match identity {
        Identity::Server => Ok(shared.credentials.password.as_bytes().ct_eq(password).into()),
        Identity::Reader => shared.admit_reader(password).await,
        Identity::Device(device) => shared.admit(device, password).await,
    }
}

/// The last will, if there is one, is on a topic that this client may publish, and is no longer than what is kept.
fn will(
    connect: &Connect,
    identity: &Identity,
    version: &VersionTopic,
) -> Result<Option<Box<Message>>, Refusal> {
    let Some(will) = &connect.will else { return Ok(None) };
    let topic = identity.may_publish(&will.topic, version);
    if let Some(topic) = topic.filter(|_| will.payload.len() <= MAX_KEPT_BYTES) {
        return Ok(Some(Box::new(Message::new(will, topic))));
    }
    let (topic, bytes) = (format_args!("{:.100}", will.topic), will.payload.len());
    tracing::warn!(user = ?identity, %topic, bytes, "refused: the last will is too long or not on a topic of this client");
    Err(Refusal::Will)
}

/// Whoever has another token has other sessions, though all share one user name.
fn session_name(client_id: &str, identity: &Identity, password: &[u8]) -> Result<SessionName, Refusal> {
    let mut name = SessionName::default();
    if client_id.is_empty() {
        getrandom::fill(&mut name).map_err(|_| Refusal::TooMany)?;
    } else {
        let mut digest = Sha256::new_with_prefix(client_id.as_bytes());
        if *identity == Identity::Reader {
            digest.update([0]);
            digest.update(password);
        }
        name.copy_from_slice(&digest.finalize()[..16]);
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(client_id: &str, identity: &Identity, password: &[u8]) -> SessionName {
        session_name(client_id, identity, password).expect("named")
    }

    #[test]
    fn a_session_has_the_name_of_its_client_id_or_a_random_one() {
        let device = Identity::Device("a".parse().expect("an id"));
        assert_eq!(name("esp32", &device, b"1"), name("esp32", &device, b"2"));
        assert_ne!(name("esp32", &device, b"1"), name("esp33", &device, b"1"));
        assert_ne!(name("", &device, b"1"), name("", &device, b"1"));
    }

    #[test]
    fn two_tokens_never_share_a_session() {
        assert_ne!(name("wall", &Identity::Reader, b"1"), name("wall", &Identity::Reader, b"2"));
        assert_eq!(name("wall", &Identity::Reader, b"1"), name("wall", &Identity::Reader, b"1"));
    }

    #[test]
    fn keep_alive_is_bounded_and_an_allowed_one_stays() {
        let connect = |seconds: u16| {
            let body = [&[0, 4][..], b"MQTT", &[4, 2], &seconds.to_be_bytes(), &[0, 1, b'x']].concat();
            let mut bytes = BytesMut::from(&[&[0x10, 13][..], &body].concat()[..]);
            packet::connect(&mut bytes).expect("a CONNECT").expect("whole").1
        };
        for (wanted, granted) in [(0, MAX_KEEP_ALIVE_S), (u16::MAX, MAX_KEEP_ALIVE_S), (60, 60)] {
            assert_eq!(keep_alive_s(&connect(wanted)), granted);
        }
    }
}
