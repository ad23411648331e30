//! Runs each connection from its first byte to its last.

use std::net::SocketAddr;
use std::sync::Arc;

use listen::{Connections, Place};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::TaskTracker;

use crate::handshake::{Opened, shake};
use crate::limits;
use crate::shared::Shared;

pub(crate) async fn accept(
    listener: TcpListener,
    connections: Connections,
    shared: Arc<Shared>,
    tasks: TaskTracker,
) {
    let each = |stream, peer, place| {
        tasks.spawn(connection(Arc::clone(&shared), stream, peer, place));
    };
    tokio::select! {
        () = shared.closing.cancelled() => {}
        () = listen::accept(listener, connections, each) => {}
    }
}

/// From the moment that the connection is let in, whoever closes it wakes it.
async fn connection(shared: Arc<Shared>, mut stream: TcpStream, peer: SocketAddr, place: Place) {
    // Boxed, so that its state is not part of the connection's for ever.
    let handshake = Box::pin(handshake(&shared, &mut stream, peer, &place)).await;
    drop(shared);
    if let Some(Opened { connection, read, written }) = handshake {
        connection.run(&stream, read, written).await;
    }
}

async fn handshake(
    shared: &Arc<Shared>,
    stream: &mut TcpStream,
    peer: SocketAddr,
    place: &Place,
) -> Option<Opened> {
    let opened = tokio::select! {
        () = shared.closing.cancelled() => return None,
        () = place.closed() => return None,
        opened = shake(shared, stream, peer, place) => opened,
    };
    match opened {
        Ok(opened) => Some(opened),
        Err(answer) => {
            tracing::debug!(%peer, "an MQTT connection was refused");
            let _ = tokio::time::timeout(limits::CONNECT_TIMEOUT, stream.write_all(&answer)).await;
            None
        }
    }
}
