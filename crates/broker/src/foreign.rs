//! What else than MQTT 3.1.1 and 5 comes to the port: named by its first bytes.

use std::fmt;

/// The first byte of every CONNECT.
const CONNECT: u8 = 0x10;

/// Why a connection was not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NotAdmitted {
    /// A CONNECT of MQTT 3.1, whose protocol is named `MQIsdp`.
    Mqtt31,
    /// A CONNECT of another version.
    OtherMqtt,
    /// A CONNECT that breaks the rules of its version.
    Malformed,
    /// MQTT, and not a CONNECT first.
    NotConnect,
    /// A TLS handshake.
    Tls,
    /// The beginning of a WebSocket.
    WebSocket,
    /// An HTTP request.
    Http,
    /// The PROXY protocol of a load balancer.
    Proxy,
    /// Something else.
    Unknown,
    /// A session is to be kept, and has no client id.
    NoClientId,
    /// No user name, or no password.
    NoPassword,
    /// The user name is no device id.
    InvalidId,
    /// Nobody has registered this user name, or its password is another one.
    Password,
    /// The last will is too long, or not on a topic of this client.
    Will,
    /// Another way to prove who it is than a password.
    Method,
}

impl fmt::Display for NotAdmitted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Mqtt31 => "it speaks MQTT 3.1 (MQIsdp); set its library to MQTT 3.1.1 (protocol level 4) or 5",
            Self::OtherMqtt => "it speaks another version of MQTT; 3.1.1 and 5 are spoken here",
            Self::Malformed => "its CONNECT cannot be read, or is longer than 16 KiB",
            Self::NotConnect => "it sent another packet of MQTT before its CONNECT",
            Self::Tls => "it begins with TLS, and this port has none; connect without TLS, or through a proxy that ends it",
            Self::WebSocket => "it begins a WebSocket, and this port speaks MQTT over TCP; use mqtt:// and not ws://",
            Self::Http => "it speaks HTTP, and this port speaks MQTT; the dashboard and the API have another port",
            Self::Proxy => "it begins with the PROXY protocol; turn that off in the load balancer in front",
            Self::Unknown => "it does not speak MQTT",
            Self::NoClientId => "it wants its session kept, and has no client id",
            Self::NoPassword => "it sent no user name, or no password",
            Self::InvalidId => "its user name is no device id",
            Self::Password => "nobody has registered this user name, or the password is another one",
            Self::Will => "its last will is longer than 4 KiB, or not on a topic of its own",
            Self::Method => "it wants to prove who it is by something else than a password",
        })
    }
}

/// What begins so, if it is no CONNECT.
pub(crate) fn recognised(bytes: &[u8]) -> Option<NotAdmitted> {
    let methods =
        ["GET ", "POST ", "PUT ", "HEAD ", "OPTIONS ", "DELETE ", "PATCH ", "CONNECT ", "PRI * HTTP/2"];
    let is_upgrade = || bytes.to_ascii_lowercase().windows(9).any(|word| word == b"websocket");
    Some(match bytes {
        [] | [CONNECT, ..] => return None,
        [0x16, 0x03, ..] => NotAdmitted::Tls,
        _ if methods.iter().any(|method| bytes.starts_with(method.as_bytes())) => {
            if is_upgrade() {
                NotAdmitted::WebSocket
            } else {
                NotAdmitted::Http
            }
        }
        _ if bytes.starts_with(b"PROXY ") || bytes.starts_with(b"\r\n\r\n\0\r\nQUIT\n") => NotAdmitted::Proxy,
        // A packet's type and flags, and a length that it may have.
        [0x30..=0x3f | 0x40 | 0x50 | 0x62 | 0x70 | 0x82 | 0xa2 | 0xc0 | 0xe0 | 0xf0, ..] => {
            NotAdmitted::NotConnect
        }
        _ => NotAdmitted::Unknown,
    })
}

/// Of a CONNECT that another version's reader cannot read: which version it is, and the client's id.
pub(crate) fn old_connect(packet: &[u8]) -> (NotAdmitted, String) {
    let behind = 1 + packet.iter().skip(1).take(4).take_while(|byte| **byte & 0x80 != 0).count() + 1;
    let rest = packet.get(behind..).unwrap_or_default();
    let Some((b"MQIsdp", [level, _, _, _, rest @ ..])) = field(rest) else {
        let is_mqtt = matches!(field(rest), Some((b"MQTT", _)));
        return (if is_mqtt { NotAdmitted::OtherMqtt } else { NotAdmitted::Malformed }, String::new());
    };
    let id = field(rest).map(|(id, _)| String::from_utf8_lossy(id).into_owned()).unwrap_or_default();
    (if level & 0x7f == 3 { NotAdmitted::Mqtt31 } else { NotAdmitted::OtherMqtt }, id)
}

/// A text with its length before it, and what comes behind.
fn field(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<2>()?;
    rest.split_at_checked(u16::from_be_bytes(*length).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_to_the_port_is_named_by_its_first_bytes() {
        for (bytes, is) in [
            (&b"\x16\x03\x01\x02\0"[..], NotAdmitted::Tls),
            (b"GET / HTTP/1.1\r\n", NotAdmitted::Http),
            (b"POST /api HTTP/1.1\r\n", NotAdmitted::Http),
            (b"PRI * HTTP/2.0\r\n", NotAdmitted::Http),
            (b"GET /mqtt HTTP/1.1\r\nUpgrade: WebSocket\r\n", NotAdmitted::WebSocket),
            (b"PROXY TCP4 192.0.2.1", NotAdmitted::Proxy),
            (b"\r\n\r\n\0\r\nQUIT\n\x21", NotAdmitted::Proxy),
            (b"\x30\x0c\0\x01a", NotAdmitted::NotConnect),
            (b"\xc0\0", NotAdmitted::NotConnect),
            (b"SSH-2.0-OpenSSH", NotAdmitted::Unknown),
            (b"\0\0", NotAdmitted::Unknown),
        ] {
            assert_eq!(recognised(bytes), Some(is), "{bytes:?}");
        }
        assert_eq!(recognised(b""), None);
        assert_eq!(recognised(b"\x10"), None);
    }

    #[test]
    fn an_old_clients_id_is_read() {
        let old = b"\x10\x13\0\x06MQIsdp\x03\x02\0\x3c\0\x05esp32";
        assert_eq!(old_connect(old), (NotAdmitted::Mqtt31, "esp32".to_owned()));
        assert_eq!(old_connect(b"\x10\x0c\0\x04MQTT\x06\x02\0\x3c\0\0").0, NotAdmitted::OtherMqtt);
        for bytes in
            [&b""[..], b"\x10", b"\x10\xff\xff\xff\xff", b"\x10\x04\0\x06MQ", b"\x10\x08\0\x06MQIsdp"]
        {
            assert_eq!(old_connect(bytes).0, NotAdmitted::Malformed, "{bytes:?}");
        }
    }
}
