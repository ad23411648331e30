//! Accepts connections, and runs each from its first byte to its last.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::task::TaskTracker;

use crate::handshake::{Opened, shake};
use crate::limits;
use crate::shared::Shared;

pub(crate) async fn accept(listener: TcpListener, shared: Arc<Shared>, tasks: TaskTracker) {
    let handshakes = Arc::new(Semaphore::new(limits::MAX_HANDSHAKES));
    loop {
        let next = async {
            let permit = Arc::clone(&handshakes).acquire_owned().await.ok()?;
            Some((listener.accept().await, permit))
        };
        let (accepted, permit) = tokio::select! {
            () = shared.closing.cancelled() => return,
            Some(next) = next => next,
        };
        match accepted {
            Ok((stream, peer)) => {
                tasks.spawn(connection(Arc::clone(&shared), stream, peer, permit));
            }
            Err(error) => {
                // Mostly "too many open files": it passes, and a loop without a pause would not let it.
                tracing::warn!(%error, "an MQTT connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// `permit` is kept until the connection is let in. From then on whoever closes it wakes it.
async fn connection(
    shared: Arc<Shared>,
    mut stream: TcpStream,
    peer: SocketAddr,
    permit: OwnedSemaphorePermit,
) {
    // Only a delay would be lost.
    let _ = stream.set_nodelay(true);
    // Boxed, so that its state is not part of the connection's for ever.
    let handshake = Box::pin(handshake(&shared, &mut stream, peer)).await;
    drop((permit, shared));
    if let Some(Opened { connection, read, written }) = handshake {
        connection.run(&stream, read, written).await;
    }
}

async fn handshake(shared: &Arc<Shared>, stream: &mut TcpStream, peer: SocketAddr) -> Option<Opened> {
    let opened = tokio::select! {
        () = shared.closing.cancelled() => return None,
        opened = shake(shared, stream) => opened,
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
