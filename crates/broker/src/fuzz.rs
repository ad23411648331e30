//! A device's bytes through everything but the socket, for the fuzz target.

use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use bytestring::ByteString;
use contract::{DeviceId, VersionTopic};
use rmqtt_codec::types::QoS;
use rmqtt_codec::v5::SubscriptionOptions;
use rmqtt_codec::{v3, v5};

use crate::admission::{Admission, Unavailable};
use crate::connection::Connection;
use crate::limits::{MAX_PACKET_BYTES, READ_BYTES, WRITE_BYTES};
use crate::member::{Leave, Member, Wish};
use crate::packet::{self, Protocol};
use crate::shared::Shared;
use crate::topics::Identity;

struct Nobody;

#[async_trait::async_trait]
impl Admission for Nobody {
    async fn admit(&self, _: &str, _: &[u8]) -> Result<bool, Unavailable> {
        Ok(false)
    }
    async fn admit_reader(&self, _: &[u8]) -> Result<bool, Unavailable> {
        Ok(false)
    }
    fn connected(&self, _: DeviceId) {}
    fn disconnected(&self, _: DeviceId) {}
}

fn register(shared: &Shared, identity: Identity) -> Member {
    let lasting = Duration::ZERO;
    let wish = Wish { identity, name: [0; 16], lasting, clean: true, will: None, window: 16 };
    shared.state().register(wish, 0).expect("registered").0
}

fn listening(shared: &Shared, identity: Identity) -> Member {
    let member = register(shared, identity);
    let options = SubscriptionOptions { qos: QoS::AtMostOnce, ..SubscriptionOptions::default() };
    let everything = [(ByteString::from_static("#"), options)];
    shared.state().subscribe(&member, &everything, |_| true).expect("subscribed");
    member
}

/// Reads `bytes` as a first packet, and then as those of the device `a` that is let in, in pieces of this size: nothing
/// panics, what waits to be written is bounded, and the device `b` hears nothing.
pub fn fuzz(bytes: &[u8], size: usize) {
    let _ = packet::connect(&mut BytesMut::from(bytes));
    let codecs =
        [Protocol::V3(v3::Codec::new(MAX_PACKET_BYTES)), Protocol::V5(v5::Codec::new(MAX_PACKET_BYTES, 0))];
    for protocol in codecs {
        let shared =
            Arc::new(Shared::new(VersionTopic::default(), Arc::new(Nobody)).expect("random numbers"));
        let device = |id: &str| Identity::Device(id.parse().expect("an id"));
        let (server, other) = (listening(&shared, Identity::Server), listening(&shared, device("b")));
        let mut connection = Connection {
            member: register(&shared, device("a")),
            shared: Arc::clone(&shared),
            protocol,
            keep_alive: Duration::from_secs(60),
            max_packet: usize::MAX,
            token: None,
            is_paused: false,
            leave: Leave::LOST,
        };
        let (mut read, mut written) = (BytesMut::new(), BytesMut::new());
        for piece in bytes.chunks(size.clamp(1, READ_BYTES)) {
            read.extend_from_slice(piece);
            if connection.handle(&mut read, &mut written).is_err() {
                break;
            }
            assert!(written.len() < WRITE_BYTES + 16 * 2 * MAX_PACKET_BYTES as usize, "{}", written.len());
            written.clear();
            shared.state().next(&server, &mut Vec::new()).expect("connected");
        }
        let mut heard = Vec::new();
        assert!(shared.state().next(&other, &mut heard).is_ok() && heard.is_empty());
    }
}

#[cfg(test)]
mod tests {
    use super::fuzz;

    #[test]
    fn the_fuzz_targets_corpus_and_what_is_near_it_is_survived() {
        let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus/broker");
        let mut random: u64 = 0x9E37_79B9_7F4A_7C15;
        let mut next = || {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            usize::try_from(random >> 33).expect("31 bits")
        };
        for file in std::fs::read_dir(corpus).expect("a corpus") {
            let bytes = std::fs::read(file.expect("a file").path()).expect("readable");
            fuzz(&bytes[1..], bytes[0].into());
            for _ in 0..500 {
                let mut bytes = bytes[1..].to_vec();
                for _ in 0..=(next() % 4) {
                    let position = next() % bytes.len();
                    bytes[position] = next().to_le_bytes()[0];
                }
                bytes.truncate(1 + next() % bytes.len());
                fuzz(&bytes, next() % 64);
            }
        }
    }
}
