//! The sockets below the agent's HTTP: one connection for each GET, in a task of its own that only carries bytes.
//!
//! URLs are secrets and appear in no message.

use std::io;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use agent::Range;
use agent::http::{Url, write_request};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;
use tokio_util::task::AbortOnDropHandle;

/// For name, TCP and TLS together.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Pieces that wait for the agent; a slow one slows the connection down.
const QUEUE: usize = 4;
/// No larger than a device's own buffer would be.
const PIECE_BYTES: usize = 8 * 1024;

/// What came of a fetch.
#[derive(Debug)]
pub enum FetchEvent {
    /// Bytes as they came, never none.
    Received(Vec<u8>),
    /// The server closed the connection in an orderly way.
    Closed,
    /// There is no connection (any more); in words.
    Lost(String),
}

/// Starts a GET, carried at most at so many bytes a second. It ends when the task is dropped, or after
/// [`FetchEvent::Closed`] or [`FetchEvent::Lost`].
pub fn fetch(
    url: &str,
    range: Range,
    if_range: Option<&str>,
    bytes_per_s: Option<u32>,
) -> (AbortOnDropHandle<()>, mpsc::Receiver<FetchEvent>) {
    let call = Call::to(url, range, if_range);
    let (sender, receiver) = mpsc::channel(QUEUE);
    let task = tokio::spawn(async move {
        let last = match call {
            Ok(call) => call.carry(&sender, bytes_per_s).await,
            Err(error) => Err(error),
        };
        let last = last.map_or_else(|error| FetchEvent::Lost(error.to_string()), |()| FetchEvent::Closed);
        // The agent may not want it any more.
        let _ = sender.send(last).await;
    });
    (AbortOnDropHandle::new(task), receiver)
}

struct Call {
    host: String,
    port: u16,
    tls: bool,
    request: String,
}

impl Call {
    fn to(url: &str, range: Range, if_range: Option<&str>) -> io::Result<Self> {
        let url = Url::parse(url).map_err(io::Error::other)?;
        let mut request = String::new();
        write_request(&url, range, if_range, false, &mut request).map_err(io::Error::other)?;
        Ok(Self { host: url.host().to_owned(), port: url.port(), tls: url.is_tls(), request })
    }

    async fn carry(self, sender: &mpsc::Sender<FetchEvent>, bytes_per_s: Option<u32>) -> io::Result<()> {
        let mut connection = timeout(CONNECT_TIMEOUT, self.connect()).await.map_err(|_| {
            let seconds = CONNECT_TIMEOUT.as_secs();
            io::Error::new(io::ErrorKind::TimedOut, format!("no connection within {seconds} s"))
        })??;
        connection.write_all(self.request.as_bytes()).await?;
        connection.flush().await?;
        let mut piece = vec![0; PIECE_BYTES];
        loop {
            let length = connection.read(&mut piece).await?;
            let received = FetchEvent::Received(piece[..length].to_vec());
            if length == 0 || sender.send(received).await.is_err() {
                return Ok(());
            }
            if let Some(rate) = bytes_per_s {
                sleep(Duration::from_secs(1) * length as u32 / rate.max(1)).await;
            }
        }
    }

    async fn connect(&self) -> io::Result<Box<dyn Connection>> {
        let socket = TcpStream::connect((self.host.as_str(), self.port)).await?;
        socket.set_nodelay(true)?;
        if !self.tls {
            return Ok(Box::new(socket));
        }
        let name = ServerName::try_from(self.host.clone()).map_err(io::Error::other)?;
        Ok(Box::new(TlsConnector::from(tls()?).connect(name, socket).await?))
    }
}

trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}
impl<C: AsyncRead + AsyncWrite + Send + Unpin> Connection for C {}

/// One for the process: a thousand devices need no thousand lists of certificates.
fn tls() -> io::Result<Arc<ClientConfig>> {
    static CONFIG: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    if let Some(config) = CONFIG.get() {
        return Ok(config.clone());
    }
    let mut roots = RootCertStore::empty();
    // One that cannot be read is missing: a connection to a server that needs it fails and says so.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(CONFIG.get_or_init(|| Arc::new(config)).clone())
}
