//! Messages that wait: in the device, until the server can take them.

use std::io::Read;
use std::time::Duration;

use contract::VersionTopic;

use crate::device::until;
use crate::raw::{Raw, hello, publish};
use crate::rig::{Server, Site, start};

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_waits_for_the_server_stays_and_is_answered() {
    // The server acknowledges nothing.
    let site = Site::start(&["a"], VersionTopic::default(), Duration::from_hours(1)).await;
    let mut device = Raw::open(site.port);
    device.send(&hello(4, 0xc2, 1, &[], &["esp32", "a", "secret-a"]));
    device.expect(&[0x20, 2, 0, 0]);
    let message = |n: u16| publish(1, "devices/a/ota/progress", n, b"x");
    for n in 1..=256 {
        device.send(&message(n));
        device.expect(&[&[0x40, 2], &n.to_be_bytes()[..]].concat());
    }
    for _ in 0..8 {
        device.send(&[0xc0, 0]);
        device.expect(&[0xd0, 0]);
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    // Behind one more message a ping is not read; the device is not blamed for it.
    device.send(&[&message(257)[..], &[0xc0, 0]].concat());
    device.stream.set_read_timeout(Some(Duration::from_secs(4))).unwrap();
    let error = device.stream.read(&mut [0]).expect_err("neither an answer nor an end");
    assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
    assert_eq!(site.doors.count("a"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_device_says_before_the_server_listens_is_handled_then() {
    let (_doors, broker) = start(&["a"], VersionTopic::default()).await;
    let (mut device, _) = Raw::connected(broker.local_addr().port(), 4, "a", true);
    let status = publish(1, "devices/a/ota/status", 1, b"SUCCESS");
    device.send(&[&[0xc0, 0], &status[..]].concat());
    device.expect(&[0xd0, 0]);
    let server = Server::on(&broker, "server", VersionTopic::default()).await;
    device.expect(&[0x40, 2, 0, 1]);
    until("the status", || server.has("Status a SUCCESS")).await;
    // And nothing once it is about to stop.
    broker.drain().await;
    device.send(&status);
    device.stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    assert!(device.stream.read(&mut [0]).is_err());
    assert_eq!(server.lines().len(), 1);
}
