//! A network that fails: a TCP proxy that stops after so many bytes, by closing for good or by going silent.
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

const PIECE: usize = 16 * 1024;

/// What happens once the bytes are used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// Every connection ends, and no further one is taken.
    Cut,
    /// Nothing moves any more, until [`Proxy::heal`].
    Silence,
}

/// Passes connections on, until so many bytes have come back from the far side.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    bytes_left: Arc<watch::Sender<u64>>,
    task: JoinHandle<()>,
}

impl Proxy {
    /// From a free port to `target` on this machine; fails after `bytes` from there.
    pub async fn start(target: u16, bytes: u64, failure: Failure) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port is free");
        let port = listener.local_addr().expect("a bound socket has an address").port();
        let bytes_left = Arc::new(watch::channel(bytes).0);
        let task = tokio::spawn(accept(listener, target, Arc::clone(&bytes_left), failure));
        Self { port, bytes_left, task }
    }

    /// The port that stands for `target`.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where devices reach the far side.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Whether the bytes are used up.
    pub fn has_failed(&self) -> bool {
        *self.bytes_left.borrow() == 0
    }

    /// Sets anew how many bytes come back from now on.
    pub fn fail_after(&self, bytes: u64) {
        self.bytes_left.send_replace(bytes);
    }

    /// From now on everything passes (after [`Failure::Silence`]).
    pub fn heal(&self) {
        self.fail_after(u64::MAX);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, target: u16, bytes_left: Arc<watch::Sender<u64>>, failure: Failure) {
    loop {
        let near = tokio::select! {
            accepted = listener.accept() => accepted,
            () = end(&bytes_left, failure) => return,
        };
        let Ok((near, _)) = near else { return };
        tokio::spawn(pass(near, target, Arc::clone(&bytes_left), failure));
    }
}

async fn pass(near: TcpStream, target: u16, bytes_left: Arc<watch::Sender<u64>>, failure: Failure) {
    let Ok(far) = TcpStream::connect(("127.0.0.1", target)).await else { return };
    let _ = (near.set_nodelay(true), far.set_nodelay(true));
    let (mut near_read, near_write) = near.into_split();
    let (far_read, mut far_write) = far.into_split();
    // Whichever ends first ends the other: dropping the halves closes both connections.
    tokio::select! {
        _ = tokio::io::copy(&mut near_read, &mut far_write) => {},
        () = metered(far_read, near_write, &bytes_left) => {},
        () = end(&bytes_left, failure) => {},
    }
}

/// Never returns where silence is all that happens.
async fn end(bytes_left: &watch::Sender<u64>, failure: Failure) {
    if failure == Failure::Silence {
        std::future::pending::<()>().await;
    }
    let _ = bytes_left.subscribe().wait_for(|left| *left == 0).await;
}

async fn metered(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, bytes_left: &watch::Sender<u64>) {
    let mut piece = vec![0; PIECE];
    while let Ok(count @ 1..) = from.read(&mut piece).await {
        let mut rest = &piece[..count];
        while !rest.is_empty() {
            let Ok(left) = bytes_left.subscribe().wait_for(|left| *left > 0).await.map(|left| *left) else {
                return;
            };
            let (now, later) = rest.split_at(rest.len().min(usize::try_from(left).unwrap_or(usize::MAX)));
            if to.write_all(now).await.is_err() {
                return;
            }
            bytes_left.send_modify(|left| *left = left.saturating_sub(now.len() as u64));
            rest = later;
        }
    }
}
