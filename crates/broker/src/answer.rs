//! What is sent to a client, in its version of MQTT.

use std::num::NonZeroU16;
use std::time::Instant;

use bytes::BytesMut;
use bytestring::ByteString;
use rmqtt_codec::types::{Publish, QoS};
use rmqtt_codec::v5::{
    ConnectAckReason, DisconnectReasonCode, PublishAck2Reason, PublishAckReason, PublishProperties,
    SubscribeAckReason, UnsubscribeAckReason,
};
use rmqtt_codec::{v3, v5};
use tokio_util::codec::Encoder;

use crate::foreign::NotAdmitted;
use crate::limits::{MAX_PACKET_BYTES, RECEIVE_MAXIMUM};
use crate::message::Message;
use crate::packet::Protocol;

/// What a client is told of the connection that it got.
pub(crate) struct Welcome {
    pub(crate) session_present: bool,
    /// Where it is not what was asked for.
    pub(crate) expiry_s: Option<u32>,
    pub(crate) keep_alive_s: Option<u16>,
    /// The name of a client that gave none.
    pub(crate) client_id: Option<String>,
}

/// Why a client may not connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    Password,
    NoPassword,
    InvalidId,
    Will,
    Method,
    TooMany,
    /// It is asked to come again: nobody can say now whether its password is right.
    Unavailable,
}

impl Refusal {
    /// What is wrong with the client; `None` where nothing is.
    pub(crate) fn why(self) -> Option<NotAdmitted> {
        match self {
            Self::Password => Some(NotAdmitted::Password),
            Self::NoPassword => Some(NotAdmitted::NoPassword),
            Self::InvalidId => Some(NotAdmitted::InvalidId),
            Self::Will => Some(NotAdmitted::Will),
            Self::Method => Some(NotAdmitted::Method),
            Self::TooMany | Self::Unavailable => None,
        }
    }
}

/// A message for a client.
pub(crate) struct Outgoing<'a> {
    pub(crate) message: &'a Message,
    /// With one it is to be acknowledged.
    pub(crate) id: Option<NonZeroU16>,
    pub(crate) retained: bool,
    pub(crate) again: bool,
}

impl Protocol {
    pub(crate) fn welcome(&mut self, welcome: Welcome, out: &mut BytesMut) {
        let Welcome { session_present, expiry_s, keep_alive_s, client_id } = welcome;
        self.encode(
            || {
                let return_code = v3::ConnectAckReason::ConnectionAccepted;
                v3::Packet::ConnectAck(v3::ConnectAck { return_code, session_present })
            },
            || {
                v5::Packet::ConnectAck(Box::new(v5::ConnectAck {
                    session_present,
                    session_expiry_interval_secs: expiry_s,
                    server_keepalive_sec: keep_alive_s,
                    assigned_client_id: client_id.map(ByteString::from),
                    receive_max: NonZeroU16::new(RECEIVE_MAXIMUM).unwrap_or(NonZeroU16::MIN),
                    max_packet_size: Some(MAX_PACKET_BYTES),
                    subscription_identifiers_available: false,
                    shared_subscription_available: false,
                    ..v5::ConnectAck::default()
                }))
            },
            out,
        );
    }

    pub(crate) fn refuse(&mut self, refusal: Refusal, out: &mut BytesMut) {
        let (v3_code, v5_code) = match refusal {
            Refusal::Password | Refusal::NoPassword | Refusal::InvalidId => {
                (v3::ConnectAckReason::BadUserNameOrPassword, ConnectAckReason::BadUserNameOrPassword)
            }
            Refusal::Will => (v3::ConnectAckReason::NotAuthorized, ConnectAckReason::NotAuthorized),
            Refusal::Method => {
                (v3::ConnectAckReason::NotAuthorized, ConnectAckReason::BadAuthenticationMethod)
            }
            Refusal::TooMany => (v3::ConnectAckReason::ServiceUnavailable, ConnectAckReason::ServerBusy),
            Refusal::Unavailable => {
                (v3::ConnectAckReason::ServiceUnavailable, ConnectAckReason::ServerUnavailable)
            }
        };
        self.encode(
            || v3::Packet::ConnectAck(v3::ConnectAck { return_code: v3_code, session_present: false }),
            || {
                let refusal = v5::ConnectAck { reason_code: v5_code, ..v5::ConnectAck::default() };
                v5::Packet::ConnectAck(Box::new(refusal))
            },
            out,
        );
    }

    pub(crate) fn publish(&mut self, outgoing: &Outgoing<'_>, now: Instant, out: &mut BytesMut) {
        let message = outgoing.message;
        let packet = || {
            let properties = PublishProperties {
                message_expiry_interval: message.expiry_s(now),
                ..PublishProperties::default()
            };
            Box::new(Publish {
                dup: outgoing.again,
                retain: outgoing.retained,
                qos: if outgoing.id.is_some() { QoS::AtLeastOnce } else { QoS::AtMostOnce },
                topic: message.topic.clone(),
                packet_id: outgoing.id,
                payload: message.payload.clone(),
                properties: Some(properties),
            })
        };
        self.encode(|| v3::Packet::Publish(packet()), || v5::Packet::Publish(packet()), out);
    }

    /// Answers a message at QoS 1.
    pub(crate) fn acknowledge(&mut self, id: NonZeroU16, is_allowed: bool, out: &mut BytesMut) {
        self.encode(
            || v3::Packet::PublishAck { packet_id: id },
            || v5::Packet::PublishAck(acknowledgement(id, is_allowed)),
            out,
        );
    }

    /// Answers a message at QoS 2.
    pub(crate) fn received(&mut self, id: NonZeroU16, is_allowed: bool, out: &mut BytesMut) {
        self.encode(
            || v3::Packet::PublishReceived { packet_id: id },
            || v5::Packet::PublishReceived(acknowledgement(id, is_allowed)),
            out,
        );
    }

    /// Answers the release of a message at QoS 2.
    pub(crate) fn completed(&mut self, id: NonZeroU16, is_known: bool, out: &mut BytesMut) {
        let reason_code =
            if is_known { PublishAck2Reason::Success } else { PublishAck2Reason::PacketIdNotFound };
        self.encode(
            || v3::Packet::PublishComplete { packet_id: id },
            || {
                let packet = v5::PublishAck2 { packet_id: id, reason_code, ..v5::PublishAck2::default() };
                v5::Packet::PublishComplete(packet)
            },
            out,
        );
    }

    pub(crate) fn subscribed(&mut self, id: NonZeroU16, granted: &[SubscribeAckReason], out: &mut BytesMut) {
        let code = |reason: &SubscribeAckReason| match reason {
            SubscribeAckReason::GrantedQos0 => v3::SubscribeReturnCode::Success(QoS::AtMostOnce),
            SubscribeAckReason::GrantedQos1 => v3::SubscribeReturnCode::Success(QoS::AtLeastOnce),
            _ => v3::SubscribeReturnCode::Failure,
        };
        self.encode(
            || v3::Packet::SubscribeAck { packet_id: id, status: granted.iter().map(code).collect() },
            || {
                let (properties, reason_string) = (Vec::new(), None);
                let status = granted.to_vec();
                v5::Packet::SubscribeAck(v5::SubscribeAck {
                    packet_id: id,
                    properties,
                    reason_string,
                    status,
                })
            },
            out,
        );
    }

    pub(crate) fn unsubscribed(&mut self, id: NonZeroU16, existed: &[bool], out: &mut BytesMut) {
        let reason = |existed: &bool| match existed {
            true => UnsubscribeAckReason::Success,
            false => UnsubscribeAckReason::NoSubscriptionExisted,
        };
        self.encode(
            || v3::Packet::UnsubscribeAck { packet_id: id },
            || {
                let (properties, reason_string) = (Vec::new(), None);
                let status = existed.iter().map(reason).collect();
                v5::Packet::UnsubscribeAck(v5::UnsubscribeAck {
                    packet_id: id,
                    properties,
                    reason_string,
                    status,
                })
            },
            out,
        );
    }

    pub(crate) fn pong(&mut self, out: &mut BytesMut) {
        self.encode(|| v3::Packet::PingResponse, || v5::Packet::PingResponse, out);
    }

    /// Says why the connection is closed, where the version has words for it.
    pub(crate) fn disconnect(&mut self, reason: DisconnectReasonCode, out: &mut BytesMut) {
        if let Self::V5(codec) = self {
            // It always fits.
            let _ = codec.encode(v5::Packet::Disconnect(v5::Disconnect::new(reason)), out);
        }
    }

    /// Packets of ours are always whole and short enough; a topic that were too long is not sent.
    fn encode(
        &mut self,
        v3: impl FnOnce() -> v3::Packet,
        v5: impl FnOnce() -> v5::Packet,
        out: &mut BytesMut,
    ) {
        let before = out.len();
        let encoded = match self {
            Self::V3(codec) => codec.encode(v3(), out),
            Self::V5(codec) => codec.encode(v5(), out),
        };
        if encoded.is_err() {
            out.truncate(before);
        }
    }
}

fn acknowledgement(id: NonZeroU16, is_allowed: bool) -> v5::PublishAck {
    let reason_code = if is_allowed { PublishAckReason::Success } else { PublishAckReason::NotAuthorized };
    v5::PublishAck { packet_id: id, reason_code, ..v5::PublishAck::default() }
}
