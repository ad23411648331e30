//! The HTTP listener. HTTP/1 alone: whoever wants HTTP/2 has a proxy in front, and its flow control is one thing less to bound.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use listen::{Connections, Place};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long a request's head may take, and how long a connection may be idle: hyper has one limit for both. A head comes in
/// a packet or two, and a browser or a proxy whose idle connection was closed opens another.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest head, and as many bytes of an answer wait in front of the socket.
const HEAD_MAX_BYTES: usize = 16 * 1024;

/// Serves until `stop`, and then until the last request is answered.
pub(crate) async fn serve(
    listener: TcpListener,
    connections: Connections,
    router: Router,
    stop: CancellationToken,
) {
    let tasks = TaskTracker::new();
    let each = |stream, peer, place| {
        tasks.spawn(connection(stream, peer, Arc::new(place), router.clone(), stop.clone()));
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = listen::accept(listener, connections, each) => {}
    }
    tasks.close();
    tasks.wait().await;
}

async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    place: Arc<Place>,
    router: Router,
    stop: CancellationToken,
) {
    let router = TowerToHyperService::new(router);
    let of_request = Arc::clone(&place);
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(ConnectInfo(peer));
        request.extensions_mut().insert(Arc::clone(&of_request));
        router.call(request)
    });
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .max_buf_size(HEAD_MAX_BYTES)
            .serve_connection(TokioIo::new(stream), service)
    );
    let is_stopping = tokio::select! {
        _ = connection.as_mut() => false,
        () = place.closed() => false,
        () = stop.cancelled() => true,
    };
    if is_stopping {
        connection.as_mut().graceful_shutdown();
        let _ = connection.await;
    }
}
