//! MQTT in bytes.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// A connection of a device, byte by byte.
pub(crate) struct Raw {
    pub(crate) stream: TcpStream,
}

/// A text or bytes with their length before them.
pub(crate) fn field(text: &[u8]) -> Vec<u8> {
    [&u16::try_from(text.len()).unwrap().to_be_bytes()[..], text].concat()
}

pub(crate) fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let (mut length, mut packet) = (body.len(), vec![first]);
    loop {
        let low = u8::try_from(length & 0x7f).unwrap();
        length >>= 7;
        packet.push(if length > 0 { low | 0x80 } else { low });
        if length == 0 {
            return [packet, body.to_vec()].concat();
        }
    }
}

/// A CONNECT with these flags, a keep-alive, properties (of MQTT 5), and the fields behind them.
pub(crate) fn hello(level: u8, flags: u8, keep_alive_s: u8, properties: &[u8], fields: &[&str]) -> Vec<u8> {
    let mut body = [&field(b"MQTT")[..], &[level, flags, 0, keep_alive_s]].concat();
    if level == 5 {
        body.push(u8::try_from(properties.len()).unwrap());
        body.extend(properties);
    }
    body.extend(fields.iter().flat_map(|text| field(text.as_bytes())));
    packet(0x10, &body)
}

/// A CONNECT of the device with the password `secret-{id}`; `level` is 4 (MQTT 3.1.1) or 5.
pub(crate) fn connect(level: u8, id: &str, clean: bool) -> Vec<u8> {
    let flags = 0xc0 | u8::from(clean) << 1;
    // The session is to outlive the connection.
    hello(level, flags, 60, &[0x11, 0, 0, 1, 0], &["esp32", id, &format!("secret-{id}")])
}

pub(crate) fn publish(qos: u8, topic: &str, id: u16, payload: &[u8]) -> Vec<u8> {
    let mut body = field(topic.as_bytes());
    if qos > 0 {
        body.extend(id.to_be_bytes());
    }
    body.extend(payload);
    packet(0x30 | qos << 1, &body)
}

impl Raw {
    pub(crate) fn open(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream }
    }

    /// Connects and reads the CONNACK. With MQTT 5 its length is in its second byte.
    pub(crate) fn connected(port: u16, level: u8, id: &str, clean: bool) -> (Self, Vec<u8>) {
        let mut raw = Self::open(port);
        raw.send(&connect(level, id, clean));
        let answer = raw.packet();
        assert_eq!((answer[0], answer[3]), (0x20, 0), "{answer:?}");
        (raw, answer)
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// The next packet, of at most 127 bytes behind its head.
    pub(crate) fn packet(&mut self) -> Vec<u8> {
        let mut head = [0; 2];
        self.stream.read_exact(&mut head).unwrap();
        let mut rest = vec![0; head[1].into()];
        self.stream.read_exact(&mut rest).unwrap();
        [&head[..], &rest].concat()
    }

    pub(crate) fn expect(&mut self, packet: &[u8]) {
        assert_eq!(self.packet(), packet);
    }

    /// Subscribes to the trigger at QoS 1, in MQTT 3.1.1.
    pub(crate) fn subscribe(&mut self, id: &str) {
        let topic = field(format!("devices/{id}/ota").as_bytes());
        self.send(&packet(0x82, &[&[0, 1][..], &topic, &[1]].concat()));
        self.expect(&[0x90, 3, 0, 1, 1]);
    }
}
