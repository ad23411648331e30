//! Accepts connections, and runs each from its first byte to its last.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use mqtt5::broker::client_handler::ClientHandler;
use mqtt5::broker::transport::{BrokerTransport, WebSocketTransport};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio_util::task::TaskTracker;

use crate::authoriser::Authoriser;
use crate::handshake::Handshake;
use crate::limits;
use crate::shared::Shared;
use crate::topics::Identity;

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
                let shared = Arc::clone(&shared);
                tasks.spawn(async move {
                    let closed = shared.closed.clone();
                    tokio::select! {
                        () = closed.cancelled() => {}
                        () = connection(shared, stream, peer, permit) => {}
                    }
                });
            }
            Err(error) => {
                // Mostly "too many open files": it passes, and a loop without a pause would not let it.
                tracing::warn!(%error, "an MQTT connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// `permit` is kept until the password is accepted.
async fn connection(
    shared: Arc<Shared>,
    mut stream: TcpStream,
    peer: SocketAddr,
    permit: OwnedSemaphorePermit,
) {
    // Only a delay would be lost.
    let _ = stream.set_nodelay(true);
    let read = Handshake::read(&mut stream, &shared.credentials, &shared.version);
    let read = tokio::select! {
        () = shared.closing.cancelled() => return,
        read = tokio::time::timeout(limits::CONNECT_TIMEOUT, read) => read,
    };
    let Ok(Some(mut handshake)) = read else {
        tracing::debug!(%peer, "a connection without an MQTT CONNECT was closed");
        return;
    };
    let config = match &handshake.identity {
        Some(Identity::Server) => &shared.for_server,
        _ if handshake.keep_alive_bounded => &shared.for_bounded,
        _ => &shared.for_devices,
    };
    let (close, closed) = oneshot::channel();
    let wire = Wire::new(std::mem::take(&mut handshake.bytes), stream, closed);
    let authoriser = Arc::new(Authoriser::new(Arc::clone(&shared), handshake, close, permit));
    let handler = ClientHandler::new(
        BrokerTransport::WebSocket(Box::new(wire)),
        peer,
        Arc::clone(config),
        Arc::clone(&shared.router),
        Arc::clone(&authoriser) as _,
        Some(Arc::clone(&shared.storage)),
        Arc::clone(&shared.stats),
        Arc::clone(&shared.monitor),
        shared.shutdown.subscribe(),
    );
    let registered = Registered(authoriser);
    // Boxed, so that the task is not as large as the library's biggest state twice over.
    if let Err(error) = Box::pin(handler.run()).await {
        tracing::debug!(%peer, %error, "an MQTT connection ended");
    }
    drop(registered);
}

/// Takes the connection off the registry however it ends, also by a panic.
struct Registered(Arc<Authoriser>);

impl Drop for Registered {
    fn drop(&mut self) {
        self.0.unregister();
    }
}

/// First the rewritten CONNECT, then the socket; it ends when the socket does, or when the broker closes it.
pub(crate) struct Wire {
    first: BytesMut,
    stream: TcpStream,
    close: Option<oneshot::Receiver<()>>,
}

impl Wire {
    /// `close` ends the connection when its sender speaks or is dropped.
    pub(crate) fn new(first: BytesMut, stream: TcpStream, close: oneshot::Receiver<()>) -> Self {
        Self { first, stream, close: Some(close) }
    }
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let wire = self.get_mut();
        if let Some(close) = &mut wire.close
            && Pin::new(close).poll(cx).is_ready()
        {
            wire.close = None;
        }
        if wire.close.is_none() {
            return Poll::Ready(Ok(()));
        }
        if !wire.first.is_empty() {
            let length = wire.first.len().min(buf.remaining());
            buf.put_slice(&wire.first[..length]);
            wire.first.advance(length);
            if wire.first.is_empty() {
                wire.first = BytesMut::new();
            }
            return Poll::Ready(Ok(()));
        }
        ready!(Pin::new(&mut wire.stream).poll_read(cx, buf))?;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

/// The one variant of the library's transport that takes a stream of ours. Nothing here speaks WebSocket.
impl WebSocketTransport for Wire {
    fn peer_addr(&self) -> mqtt5::Result<SocketAddr> {
        Ok(self.stream.peer_addr()?)
    }
}
