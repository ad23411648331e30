//! A connection as the broker library sees it.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use mqtt5::broker::transport::WebSocketTransport;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

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
