//! A broker that sends again what it saw no acknowledgement of: made by hand, since a real one cannot be made to lose one.

use std::sync::Arc;
use std::time::Duration;

use contract::VersionTopic;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use updraft_server::mqtt::{BrokerAddress, MqttOptions};

use crate::device::until;
use crate::rig::{Recorder, receive};

/// One packet: its first byte and what follows its length.
async fn packet(stream: &mut TcpStream) -> Option<(u8, Vec<u8>)> {
    let first = stream.read_u8().await.ok()?;
    let (mut length, mut shift) = (0_usize, 0);
    loop {
        let byte = stream.read_u8().await.ok()?;
        length |= usize::from(byte & 0x7f) << shift;
        shift += 7;
        if byte & 0x80 == 0 {
            break;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    Some((first, body))
}

/// A message at QoS 1 for the server, of MQTT 5.
fn publish(id: u16, again: bool, topic: &str, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(topic.len()).unwrap().to_be_bytes();
    let body = [&length[..], topic.as_bytes(), &id.to_be_bytes(), &[0], payload].concat();
    let first = if again { 0x3a } else { 0x32 };
    [&[first, u8::try_from(body.len()).unwrap()][..], &body].concat()
}

/// Serves one connection: answers everything, sends these messages to whoever subscribes, tells which were acknowledged, and
/// closes the receiving connection after so many acknowledgements.
async fn serve(
    mut stream: TcpStream,
    messages: Vec<Vec<u8>>,
    closes_after: usize,
    acks: mpsc::UnboundedSender<u16>,
) {
    let mut count = 0;
    while let Some((first, body)) = packet(&mut stream).await {
        let answer = match first >> 4 {
            // A session is there.
            1 => vec![0x20, 3, 1, 0, 0],
            3 => {
                let topic = usize::from(u16::from_be_bytes([body[0], body[1]]));
                vec![0x40, 2, body[2 + topic], body[3 + topic]]
            }
            4 => {
                count += 1;
                acks.send(u16::from_be_bytes([body[0], body[1]])).unwrap();
                if count == closes_after {
                    return;
                }
                continue;
            }
            8 => {
                let subscribed = [&[0x90, 9][..], &body[..2], &[0], &[1; 6]].concat();
                [vec![subscribed], messages.clone()].concat().concat()
            }
            10 => [&[0xb0, 4][..], &body[..2], &[0, 0]].concat(),
            12 => vec![0xd0, 0],
            _ => return,
        };
        stream.write_all(&answer).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_handled_is_not_handled_again_where_its_acknowledgement_was_lost() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let status = "devices/a/ota/status";
    let first = vec![publish(7, false, status, b"FAILED no space"), publish(8, false, status, b"FAILED")];
    let second = vec![
        publish(7, true, status, b"FAILED no space"),
        // Never handled: other bytes under the same number, and the same under another.
        publish(8, true, status, b"FAILED no power"),
        publish(9, true, status, b"FAILED no space"),
        // Sent again on the same connection, as some brokers do after a while.
        publish(9, true, status, b"FAILED no space"),
    ];
    let (tell, mut acks) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let mut rounds = vec![(second, usize::MAX), (first, 2)];
        while let Ok((stream, _)) = listener.accept().await {
            let mut start = [0; 64];
            let length = stream.peek(&mut start).await.unwrap();
            let publishes = String::from_utf8_lossy(&start[..length]).contains("-publish");
            let round = if publishes { None } else { rounds.pop() };
            let (messages, closes_after) = round.unwrap_or((vec![], usize::MAX));
            tokio::spawn(serve(stream, messages, closes_after, tell.clone()));
        }
    });
    let recorder = Arc::new(Recorder::default());
    let url = format!("mqtt://127.0.0.1:{port}").parse().unwrap();
    let options = MqttOptions {
        broker: BrokerAddress::External(url),
        version_topic: VersionTopic::default(),
        client_id: "updraft".to_owned(),
    };
    let mqtt = receive(options, recorder.clone());
    until("all of them", || recorder.lines().len() >= 4).await;
    let mut acknowledged = Vec::new();
    while acknowledged.len() < 6 {
        let next = tokio::time::timeout(Duration::from_secs(20), acks.recv()).await;
        acknowledged.push(next.expect("in time").unwrap());
    }
    assert_eq!(acknowledged, [7, 8, 7, 8, 9, 9], "each is acknowledged each time");
    assert_eq!(
        recorder.lines(),
        [
            "Status a FAILED no space",
            "Status a FAILED",
            "Status a FAILED no power",
            "Status a FAILED no space"
        ]
    );
    mqtt.stop().await;
}
