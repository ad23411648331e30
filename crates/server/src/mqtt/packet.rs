//! How long a message is as an MQTT packet, which is what has to fit into a client's buffer.

/// The identifier of a packet with QoS 1.
const PACKET_ID_BYTES: usize = 2;
/// MQTT 5: their length, and the message expiry interval. A client of MQTT 3.1.1 gets none.
const PROPERTIES_BYTES: usize = 1 + 5;

/// A PUBLISH with its fixed header: at most so many bytes arrive at the device.
pub(crate) fn publish_bytes(topic_bytes: usize, payload_bytes: usize) -> usize {
    let rest = 2 + topic_bytes + PACKET_ID_BYTES + PROPERTIES_BYTES + payload_bytes;
    // Seven bits of the length in each byte.
    let length_bytes = 1 + [1 << 7, 1 << 14, 1 << 21].iter().filter(|limit| rest >= **limit).count();
    1 + length_bytes + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_has_a_header_a_topic_an_identifier_and_properties() {
        // 0x32, its length, then topic, identifier, properties and payload, as a broker sends it to a client of MQTT 5.
        assert_eq!(publish_bytes(14, 0), 2 + 2 + 14 + 2 + 6);
        assert_eq!(publish_bytes(14, 103), 2 + 127);
        assert_eq!(publish_bytes(14, 104), 3 + 128);
        assert_eq!(publish_bytes(14, 16_383 - 24), 3 + 16_383);
        assert_eq!(publish_bytes(14, 16_384 - 24), 4 + 16_384);
    }
}
