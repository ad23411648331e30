//! The listening socket.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::connections::{Connections, Place};

/// Who has connected and is not accepted yet; systems take this for as many as they can.
const BACKLOG: u32 = i32::MAX.unsigned_abs();
/// After an error that the next attempt would meet again, mostly "too many open files".
const PAUSE: Duration = Duration::from_millis(100);
/// At most one line of log about such errors in this time.
const LOG_INTERVAL: Duration = Duration::from_secs(60);
/// What was sent and nobody takes is given up after this time, with its connection.
#[cfg(target_os = "linux")]
const UNSENT_TIMEOUT: Duration = Duration::from_secs(60);

/// Listens on this address.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // Elsewhere it would let another program take the port.
    #[cfg(unix)]
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Accepts connections for ever and hands each on with its place. It neither ends nor slows down for an error of one.
pub async fn accept(
    listener: TcpListener,
    connections: Connections,
    mut each: impl FnMut(TcpStream, SocketAddr, Place),
) {
    let mut logged: Option<Instant> = None;
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                prepare(&stream);
                let (place, made_room) = connections.enter(peer.ip());
                each(stream, peer, place);
                if made_room {
                    // Who makes room closes its file before the next one is accepted.
                    tokio::task::yield_now().await;
                }
            }
            Err(error) if is_of_the_peer(&error) => {}
            Err(error) => {
                if logged.is_none_or(|at| at.elapsed() >= LOG_INTERVAL) {
                    tracing::warn!(%error, "a connection could not be accepted");
                    logged = Some(Instant::now());
                }
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// A head and a body in two writes do not wait for the peer's delayed acknowledgement, 40 ms and more. On failure only a
/// delay is lost.
fn prepare(stream: &TcpStream) {
    let _ = stream.set_nodelay(true);
    #[cfg(target_os = "linux")]
    let _ = rustix::net::sockopt::set_tcp_user_timeout(
        stream,
        u32::try_from(UNSENT_TIMEOUT.as_millis()).unwrap_or(u32::MAX),
    );
}

fn is_of_the_peer(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connections::Limits;

    #[tokio::test]
    async fn no_answer_waits_for_an_acknowledgement() {
        let listener = bind("127.0.0.1:0".parse().expect("an address")).expect("a port");
        let address = listener.local_addr().expect("an address");
        let (sender, mut accepted) = tokio::sync::mpsc::unbounded_channel();
        let connections = Connections::new("test", Limits::of(8), |_| false);
        let accepting = tokio::spawn(accept(listener, connections, move |stream, _, _| {
            sender.send(stream).expect("received");
        }));
        let _client = TcpStream::connect(address).await.expect("connected");
        let stream = accepted.recv().await.expect("accepted");
        assert!(stream.nodelay().expect("an option"));
        accepting.abort();
    }
}
