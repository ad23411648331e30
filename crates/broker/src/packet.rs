//! What clients send, and what is answered, in MQTT 3.1.1 and 5. The bytes are the crate rmqtt-codec's; here its two
//! families of packets become one, which holds what this broker speaks of and nothing else.

use std::num::{NonZeroU16, NonZeroU32};

use bytes::{Bytes, BytesMut};
use bytestring::ByteString;
use rmqtt_codec::error::DecodeError;
use rmqtt_codec::types::{MQTT_LEVEL_311, QoS};
use rmqtt_codec::v5::{DisconnectReasonCode, RetainHandling, SubscriptionOptions};
use rmqtt_codec::version::{ProtocolVersion, VersionCodec};
use rmqtt_codec::{v3, v5};
use tokio_util::codec::Decoder;

use crate::foreign::{self, NotAdmitted};
use crate::limits::{MAX_PACKET_BYTES, SESSION_EXPIRY};

/// The upper half of the first byte of every PUBLISH.
const PUBLISH: u8 = 3;
/// The flag of a CONNECT for a clean session, or a clean start.
const CLEAN: u8 = 0x02;
/// CONNACKs: another version of MQTT is wanted; a session cannot be kept without a client id.
const BAD_VERSION: &[u8] = &[0x20, 2, 0, 1];
const BAD_CLIENT_ID: &[u8] = &[0x20, 2, 0, 2];

/// One connection's version, and how far a packet of it was read.
pub(crate) enum Protocol {
    V3(v3::Codec),
    V5(v5::Codec),
}

/// The packet is none, is longer than allowed, or may not come here.
#[derive(Debug)]
pub(crate) struct Malformed(pub(crate) DisconnectReasonCode);

const MALFORMED: Malformed = Malformed(DisconnectReasonCode::MalformedPacket);

/// Who connects, and how.
pub(crate) struct Connect {
    pub(crate) user: Option<ByteString>,
    pub(crate) password: Option<Bytes>,
    pub(crate) client_id: ByteString,
    pub(crate) clean: bool,
    /// How long the session is to outlive the connection.
    pub(crate) expiry_s: u32,
    pub(crate) keep_alive_s: u16,
    pub(crate) will: Option<Publish>,
    /// Unacknowledged messages that it takes.
    pub(crate) receive_maximum: u16,
    /// The longest packet that it takes.
    pub(crate) max_packet: usize,
    /// It wants another way to prove itself than a password.
    pub(crate) has_method: bool,
}

pub(crate) struct Publish {
    pub(crate) topic: ByteString,
    pub(crate) payload: Bytes,
    pub(crate) qos: QoS,
    pub(crate) id: Option<NonZeroU16>,
    /// The client says that it may have sent it before.
    pub(crate) again: bool,
    pub(crate) retain: bool,
    pub(crate) expiry_s: Option<NonZeroU32>,
    pub(crate) has_alias: bool,
}

pub(crate) enum Incoming {
    Publish(Publish),
    Acknowledge(NonZeroU16),
    Release(NonZeroU16),
    Subscribe(NonZeroU16, Vec<(ByteString, SubscriptionOptions)>),
    Unsubscribe(NonZeroU16, Vec<ByteString>),
    Ping,
    Disconnect { with_will: bool, expiry_s: Option<u32> },
}

/// The first packet is no CONNECT that is read here.
#[derive(Debug)]
pub(crate) struct NotConnected {
    pub(crate) why: NotAdmitted,
    /// Who it is, where it says so.
    pub(crate) client_id: String,
    pub(crate) answer: &'static [u8],
}

impl NotConnected {
    fn because(why: NotAdmitted, answer: &'static [u8]) -> Self {
        Self { why, client_id: String::new(), answer }
    }
}

const UNREADABLE: NotConnected =
    NotConnected { why: NotAdmitted::Malformed, client_id: String::new(), answer: &[] };

/// Reads a CONNECT once it is whole, and takes it from the bytes.
pub(crate) fn connect(bytes: &mut BytesMut) -> Result<Option<(Protocol, Connect)>, NotConnected> {
    if let Some(why) = foreign::recognised(bytes) {
        return Err(NotConnected::because(why, &[]));
    }
    let length = length(bytes).map_err(|Malformed(_)| UNREADABLE)?;
    let Some(length) = length.filter(|length| *length <= bytes.len()) else { return Ok(None) };
    let mut packet = bytes.split_to(length);
    let whole = packet.clone();
    let other_version = || {
        let (why, client_id) = foreign::old_connect(&whole);
        NotConnected { why, client_id, answer: BAD_VERSION }
    };
    let connect = match VersionCodec.decode(&mut packet) {
        Ok(Some(ProtocolVersion::MQTT3)) => {
            let mut codec = v3::Codec::new(MAX_PACKET_BYTES);
            match codec.decode(&mut packet) {
                Ok(Some((v3::Packet::Connect(connect), _))) if connect.protocol.level() == MQTT_LEVEL_311 => {
                    (Protocol::V3(codec), of_v3(*connect))
                }
                Ok(Some(_)) => return Err(other_version()),
                Err(DecodeError::InvalidClientId) => {
                    return Err(NotConnected::because(NotAdmitted::NoClientId, BAD_CLIENT_ID));
                }
                _ => return Err(UNREADABLE),
            }
        }
        Ok(Some(ProtocolVersion::MQTT5)) => {
            let (codec, connect) = connect_v5(&packet).ok_or(UNREADABLE)?;
            (Protocol::V5(codec), of_v5(connect))
        }
        Ok(None) => return Err(UNREADABLE),
        Err(_) => return Err(other_version()),
    };
    Ok(Some(connect))
}

/// The codec refuses a client without an id that wants its session back. It has none, and starts clean.
fn connect_v5(packet: &[u8]) -> Option<(v5::Codec, v5::Connect)> {
    let decode = |mut packet: BytesMut| {
        let mut codec = v5::Codec::new(MAX_PACKET_BYTES, 0);
        codec.decode(&mut packet).map(|decoded| (codec, decoded))
    };
    let decoded = decode(packet.into()).or_else(|error| {
        let mut clean = BytesMut::from(packet);
        // Behind the length, the name "MQTT" and the level.
        let flags = 9 + packet.iter().skip(1).take_while(|byte| **byte & 0x80 != 0).count();
        match error {
            DecodeError::InvalidClientId => clean[flags] |= CLEAN,
            _ => return Err(error),
        }
        decode(clean)
    });
    match decoded {
        Ok((codec, Some((v5::Packet::Connect(connect), _)))) => Some((codec, *connect)),
        _ => None,
    }
}

/// The length of the packet that begins here, once it can be told.
fn length(bytes: &[u8]) -> Result<Option<usize>, Malformed> {
    let mut length = 0;
    for (n, byte) in bytes.iter().skip(1).take(4).enumerate() {
        length |= u32::from(byte & 0x7f) << (7 * n);
        if length > MAX_PACKET_BYTES {
            return Err(Malformed(DisconnectReasonCode::PacketTooLarge));
        }
        if byte & 0x80 == 0 {
            return Ok(Some(2 + n + length as usize));
        }
    }
    if bytes.len() > 4 { Err(MALFORMED) } else { Ok(None) }
}

/// Whether the next packet is a message.
pub(crate) fn is_publish(bytes: &[u8]) -> bool {
    bytes.first().is_some_and(|first| first >> 4 == PUBLISH)
}

fn of_v3(packet: v3::Connect) -> Connect {
    let will = packet.last_will.map(|will| Publish {
        topic: will.topic,
        payload: will.message,
        qos: will.qos,
        id: None,
        again: false,
        retain: will.retain,
        expiry_s: None,
        has_alias: false,
    });
    Connect {
        user: packet.username,
        password: packet.password,
        client_id: packet.client_id,
        clean: packet.clean_session,
        expiry_s: if packet.clean_session { 0 } else { u32::MAX },
        keep_alive_s: packet.keep_alive,
        will,
        receive_maximum: u16::MAX,
        max_packet: usize::MAX,
        has_method: false,
    }
}

fn of_v5(packet: v5::Connect) -> Connect {
    let will = packet.last_will.map(|will| Publish {
        topic: will.topic,
        payload: will.message,
        qos: will.qos,
        id: None,
        again: false,
        retain: will.retain,
        expiry_s: will.message_expiry_interval,
        has_alias: false,
    });
    Connect {
        user: packet.username,
        password: packet.password,
        client_id: packet.client_id,
        clean: packet.clean_start,
        expiry_s: packet.session_expiry_interval_secs,
        keep_alive_s: packet.keep_alive,
        will,
        receive_maximum: packet.receive_max.map_or(u16::MAX, NonZeroU16::get),
        max_packet: packet.max_packet_size.map_or(usize::MAX, |size| size.get() as usize),
        has_method: packet.auth_method.is_some(),
    }
}

impl Connect {
    /// What is granted of the wish.
    pub(crate) fn granted_expiry_s(&self) -> u32 {
        // A client without a name is given one that it may keep, and then comes back to another session.
        let most = if self.client_id.is_empty() { 0 } else { SESSION_EXPIRY.as_secs() };
        self.expiry_s.min(u32::try_from(most).unwrap_or(u32::MAX))
    }
}

impl Protocol {
    /// The next packet, once it is whole.
    pub(crate) fn decode(&mut self, bytes: &mut BytesMut) -> Result<Option<Incoming>, Malformed> {
        // The codec would take the beginning of what is not whole, and set room aside for the rest.
        if length(bytes)?.is_none_or(|length| length > bytes.len()) {
            return Ok(None);
        }
        match self {
            Self::V3(codec) => codec.decode(bytes).map_err(|_| MALFORMED)?.map(|(packet, _)| from_v3(packet)),
            Self::V5(codec) => codec.decode(bytes).map_err(|_| MALFORMED)?.map(|(packet, _)| from_v5(packet)),
        }
        .transpose()
    }
}

fn publish(packet: rmqtt_codec::types::Publish) -> Incoming {
    let properties = packet.properties.unwrap_or_default();
    Incoming::Publish(Publish {
        topic: packet.topic,
        payload: packet.payload,
        qos: packet.qos,
        id: packet.packet_id,
        again: packet.dup,
        retain: packet.retain,
        expiry_s: properties.message_expiry_interval,
        has_alias: properties.topic_alias.is_some(),
    })
}

fn from_v3(packet: v3::Packet) -> Result<Incoming, Malformed> {
    Ok(match packet {
        v3::Packet::Publish(packet) => publish(*packet),
        v3::Packet::PublishAck { packet_id } => Incoming::Acknowledge(packet_id),
        v3::Packet::PublishRelease { packet_id } => Incoming::Release(packet_id),
        v3::Packet::Subscribe { packet_id, topic_filters } => {
            let options = |qos| SubscriptionOptions { qos, ..SubscriptionOptions::default() };
            let filters = topic_filters.into_iter().map(|(filter, qos)| (filter, options(qos)));
            Incoming::Subscribe(packet_id, filters.collect())
        }
        v3::Packet::Unsubscribe { packet_id, topic_filters } => {
            Incoming::Unsubscribe(packet_id, topic_filters)
        }
        v3::Packet::PingRequest => Incoming::Ping,
        v3::Packet::Disconnect => Incoming::Disconnect { with_will: false, expiry_s: None },
        _ => return Err(Malformed(DisconnectReasonCode::ProtocolError)),
    })
}

fn from_v5(packet: v5::Packet) -> Result<Incoming, Malformed> {
    Ok(match packet {
        v5::Packet::Publish(packet) => publish(*packet),
        v5::Packet::PublishAck(packet) => Incoming::Acknowledge(packet.packet_id),
        v5::Packet::PublishRelease(packet) => Incoming::Release(packet.packet_id),
        // CONNACK said that there are no subscription identifiers.
        v5::Packet::Subscribe(packet) if packet.id.is_some() => {
            return Err(Malformed(DisconnectReasonCode::SubscriptionIdentifiersNotSupported));
        }
        v5::Packet::Subscribe(packet) => Incoming::Subscribe(packet.packet_id, packet.topic_filters),
        v5::Packet::Unsubscribe(packet) => Incoming::Unsubscribe(packet.packet_id, packet.topic_filters),
        v5::Packet::PingRequest => Incoming::Ping,
        v5::Packet::Disconnect(packet) => Incoming::Disconnect {
            with_will: packet.reason_code != DisconnectReasonCode::NormalDisconnection,
            expiry_s: packet.session_expiry_interval_secs,
        },
        _ => return Err(Malformed(DisconnectReasonCode::ProtocolError)),
    })
}

/// Whether what is retained is wanted by a subscription, which may be new.
pub(crate) fn wants_retained(options: SubscriptionOptions, is_new: bool) -> bool {
    match options.retain_handling {
        RetainHandling::AtSubscribe => true,
        RetainHandling::AtSubscribeNew => is_new,
        RetainHandling::NoAtSubscribe => false,
    }
}
