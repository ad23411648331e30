//! The handshake: reads a connection's first packet, and gives its session a name that nobody else can use.
//!
//! The broker library keys sessions by client id, and by that alone: whoever connects with another's client
//! id would end the other's connection. So the client id is replaced, before the library sees it, by one made of the
//! user name and a hash of what the client sent. What comes after the first packet passes through untouched.

use bytes::BytesMut;
use contract::VersionTopic;
use mqtt5::packet::connect::ConnectPacket;
use mqtt5::transport::packet_io::{decode_buffered_packet, encode_packet_to_buffer};
use mqtt5::{Packet, Properties, PropertyId};
use sha2::{Digest, Sha256};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use crate::admission::Credentials;
use crate::limits::{MAX_KEEP_ALIVE_S, MAX_PACKET_BYTES};
use crate::topics::{self, Identity};

/// The first byte of every CONNECT.
const CONNECT: u8 = 0x10;

/// Who connects, and the first packet as the library shall see it.
pub(crate) struct Handshake {
    /// Who it says it is; nobody is admitted without one. Not yet proven.
    pub(crate) identity: Option<Identity>,
    /// The name of its session; empty if the library shall make one up.
    pub(crate) session: String,
    /// Whether the session outlives the connection.
    pub(crate) lasting: bool,
    /// Whether its keep-alive was none, or longer than allowed.
    pub(crate) keep_alive_bounded: bool,
    /// The first packet, rewritten, and whatever came behind it.
    pub(crate) bytes: BytesMut,
}

impl Handshake {
    /// Reads until the first packet is whole. `None` if it is not a CONNECT of MQTT 3.1.1 or 5, longer than
    /// [`MAX_PACKET_BYTES`], or the client went away. The caller bounds the time.
    pub(crate) async fn read(
        stream: &mut TcpStream,
        own: &Credentials,
        version: &VersionTopic,
    ) -> Option<Self> {
        let mut bytes = BytesMut::with_capacity(512);
        let connect = loop {
            if bytes.first().is_some_and(|byte| *byte != CONNECT) {
                return None;
            }
            match decode_buffered_packet(&mut bytes, 5, MAX_PACKET_BYTES) {
                Ok(Some(Packet::Connect(connect))) => break *connect,
                Ok(None) => {}
                Ok(Some(_)) | Err(_) => return None,
            }
            if bytes.len() > MAX_PACKET_BYTES || stream.read_buf(&mut bytes).await.ok()? == 0 {
                return None;
            }
        };
        // Anything but these two is refused by the library too; here it must not slip through unnamed.
        if !matches!(connect.protocol_version, 4 | 5) {
            return None;
        }
        rewrite(connect, &bytes, own, version)
    }
}

fn rewrite(
    mut connect: ConnectPacket,
    behind: &[u8],
    own: &Credentials,
    version: &VersionTopic,
) -> Option<Handshake> {
    let identity = match connect.username.as_deref() {
        Some(user) if user == own.user => Some(Identity::Server),
        Some(user) => user.parse().ok().map(Identity::Device),
        None => None,
    };
    let keep_alive_bounded = connect.keep_alive == 0 || connect.keep_alive > MAX_KEEP_ALIVE_S;
    if keep_alive_bounded {
        connect.keep_alive = MAX_KEEP_ALIVE_S;
    }
    if connect.client_id.is_empty() {
        // The library assigns a random id. A client that comes back with it is given another session, so
        // there is nothing to keep.
        connect.properties = without_session_expiry(&connect.properties);
    } else {
        connect.client_id = session_name(identity.as_ref(), &connect.client_id);
    }
    if let Some(will) = &mut connect.will
        && !topics::may_be_retained(&will.topic, version)
    {
        will.retain = false;
    }
    let lasting = if connect.protocol_version == 5 {
        connect.properties.get_session_expiry_interval().unwrap_or(0) > 0
    } else {
        !connect.clean_start
    };
    let session = connect.client_id.clone();
    let mut bytes = BytesMut::with_capacity(512);
    encode_packet_to_buffer(&Packet::Connect(Box::new(connect)), &mut bytes).ok()?;
    bytes.extend_from_slice(behind);
    Some(Handshake { identity, session, lasting, keep_alive_bounded, bytes })
}

/// The library can only add a second value of a property, which no packet may carry.
fn without_session_expiry(properties: &Properties) -> Properties {
    let mut rest = Properties::new();
    for (id, value) in properties.iter().filter(|(id, _)| *id != PropertyId::SessionExpiryInterval) {
        // It was decoded with this type, so it fits.
        let _ = rest.add(id, value.clone());
    }
    rest
}

/// At most 107 bytes; '~' is in no device id, so that no two users' names can ever meet.
fn session_name(identity: Option<&Identity>, client_id: &str) -> String {
    let hash = hex::encode(&Sha256::digest(client_id.as_bytes())[..16]);
    match identity {
        Some(Identity::Device(id)) => format!("device~{id}~{hash}"),
        Some(Identity::Server) => format!("server~{hash}"),
        None => format!("nobody~{hash}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewritten(change: impl FnOnce(&mut ConnectPacket)) -> (Handshake, ConnectPacket) {
        let mut connect = ConnectPacket::new(mqtt5::ConnectOptions::new("esp32").protocol_options);
        connect.username = Some("a".to_owned());
        change(&mut connect);
        let own = Credentials { user: "~server".to_owned(), password: String::new() };
        let mut handshake = rewrite(connect, b"behind", &own, &VersionTopic::default()).expect("rewritten");
        let mut bytes = handshake.bytes.clone();
        let read = decode_buffered_packet(&mut bytes, 5, MAX_PACKET_BYTES).expect("whole").expect("a packet");
        let Packet::Connect(seen) = read else { panic!("not a CONNECT") };
        assert_eq!(&bytes[..], b"behind");
        handshake.bytes.clear();
        (handshake, *seen)
    }

    #[test]
    fn keep_alive_is_bounded_and_an_allowed_one_stays() {
        for (asked, granted) in [(0, MAX_KEEP_ALIVE_S), (u16::MAX, MAX_KEEP_ALIVE_S), (60, 60)] {
            let (handshake, seen) = rewritten(|connect| connect.keep_alive = asked);
            assert_eq!(seen.keep_alive, granted);
            assert_eq!(handshake.keep_alive_bounded, asked != granted);
        }
    }

    #[test]
    fn a_will_keeps_its_retain_flag_only_where_it_says_how_a_device_is() {
        for (topic, retained) in [("devices/a/presence", true), ("devices/a/ota/status", false)] {
            let (_, seen) = rewritten(|connect| {
                let mut will = mqtt5::WillMessage::new(topic, "x");
                will.retain = true;
                connect.will = Some(will);
            });
            assert_eq!(seen.will.map(|will| will.retain), Some(retained), "{topic}");
        }
    }

    #[test]
    fn a_session_without_a_name_does_not_outlive_its_connection() {
        let (handshake, seen) = rewritten(|connect| {
            connect.client_id.clear();
            connect.properties.set_session_expiry_interval(3600);
        });
        assert!(!handshake.lasting && seen.client_id.is_empty());
        assert_eq!(seen.properties.get_session_expiry_interval(), None);
        let (handshake, _) = rewritten(|connect| connect.properties.set_session_expiry_interval(3600));
        assert!(handshake.lasting);
    }

    #[test]
    fn session_names_of_two_users_never_meet_and_always_fit() {
        let long: contract::DeviceId = "a".repeat(64).parse().expect("valid");
        let name = session_name(Some(&Identity::Device(long)), &"x".repeat(10_000));
        assert!(name.len() <= 128 && mqtt5::is_path_safe_client_id(&name), "{name}");
        let of = |id: &str, client: &str| {
            session_name(Some(&Identity::Device(id.parse().expect("valid"))), client)
        };
        assert_ne!(of("a", "esp32"), of("b", "esp32"));
        assert_ne!(of("a", "b~c"), of("a", "c"));
        assert_eq!(of("a", "esp32"), of("a", "esp32"));
        assert!(!of("cert:a", "x").starts_with("cert:"));
    }
}
