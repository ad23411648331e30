//! An HTTP server that sends exactly what a test says, byte by byte.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// The part that a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    From(usize),
    Last(usize),
}

#[derive(Debug, Clone)]
pub(crate) struct Request {
    /// How many came before it.
    pub(crate) nth: usize,
    pub(crate) target: String,
    pub(crate) host: String,
    pub(crate) asked: Asked,
    pub(crate) if_range: Option<String>,
}

impl Request {
    fn parse(nth: usize, text: &str) -> Self {
        let mut lines = text.split("\r\n");
        let line = lines.next().expect("a request line");
        let target = line.strip_prefix("GET ").and_then(|rest| rest.strip_suffix(" HTTP/1.1"));
        let (mut host, mut range, mut if_range) = (None, None, None);
        for line in lines.filter(|line| !line.is_empty()) {
            let (name, value) = line.split_once(": ").expect("a field");
            let place = match name {
                "Host" => &mut host,
                "Range" => &mut range,
                "If-Range" => &mut if_range,
                _ => continue,
            };
            assert!(place.replace(value.to_owned()).is_none(), "{name} twice");
        }
        let range = range.expect("a range in every request");
        let asked = match range.strip_prefix("bytes=").and_then(|range| range.split_once('-')).expect("bytes")
        {
            ("", last) => Asked::Last(last.parse().expect("a number")),
            (from, "") => Asked::From(from.parse().expect("a number")),
            _ => panic!("another kind of range: {range}"),
        };
        Self { nth, target: target.expect("a GET").to_owned(), host: host.expect("a host"), asked, if_range }
    }

    pub(crate) fn from(&self) -> usize {
        match self.asked {
            Asked::From(offset) => offset,
            Asked::Last(_) => 0,
        }
    }

    pub(crate) fn is_for_the_end(&self) -> bool {
        matches!(self.asked, Asked::Last(_))
    }
}

/// What is done on a connection, one after the other; then it is closed in an orderly way.
pub(crate) enum Step {
    Send(Vec<u8>),
    /// So many bytes at once, a pause, and on.
    Drip(Vec<u8>, usize, Duration),
    Reset,
    /// Says nothing more until the client is gone.
    Hang,
}

pub(crate) type Manner = Box<dyn Fn(&File, &Request) -> Vec<Step> + Send + Sync>;

/// The file served, and what there is to say about it.
#[derive(Clone)]
pub(crate) struct File {
    pub(crate) bytes: Arc<[u8]>,
    pub(crate) etag: &'static str,
}

impl File {
    /// What a good server answers.
    pub(crate) fn answer(&self, request: &Request) -> Answer {
        let total = self.bytes.len();
        let start = match request.asked {
            Asked::From(offset) => offset,
            Asked::Last(count) => total.saturating_sub(count),
        };
        if request.if_range.as_deref().is_some_and(|tag| tag != self.etag) {
            return self.whole();
        }
        if start >= total {
            return Answer::new(416).field("Content-Range", format!("bytes */{total}"));
        }
        Answer::new(206)
            .field("ETag", self.etag)
            .field("Content-Range", format!("bytes {start}-{}/{total}", total - 1))
            .body(&self.bytes[start..])
    }

    /// 200 and everything.
    pub(crate) fn whole(&self) -> Answer {
        Answer::new(200).field("ETag", self.etag).body(&self.bytes)
    }
}

#[derive(Clone)]
pub(crate) struct Answer {
    line: String,
    fields: Vec<(&'static str, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn new(status: u16) -> Self {
        Self { line: format!("HTTP/1.1 {status} Said"), fields: Vec::new(), body: Vec::new() }.body(&[])
    }

    pub(crate) fn line(mut self, line: &str) -> Self {
        line.clone_into(&mut self.line);
        self
    }

    /// Replaces a field; an empty value removes it.
    pub(crate) fn field(mut self, name: &'static str, value: impl Into<String>) -> Self {
        let value = value.into();
        self.fields.retain(|(found, _)| *found != name);
        if !value.is_empty() {
            self.fields.push((name, value));
        }
        self
    }

    pub(crate) fn body(mut self, body: &[u8]) -> Self {
        self.body = body.to_vec();
        self.field("Content-Length", body.len().to_string())
    }

    /// The body in chunks, each with what stands behind its size.
    pub(crate) fn chunked(self, size: usize, extension: &str) -> Self {
        let mut body = Vec::new();
        for chunk in self.body.chunks(size) {
            body.extend_from_slice(format!("{:X}{extension}\r\n", chunk.len()).as_bytes());
            body.extend_from_slice(chunk);
            body.extend_from_slice(b"\r\n");
        }
        body.extend_from_slice(b"0\r\nX-Trailer: said\r\n\r\n");
        Self { body, ..self.field("Content-Length", "").field("Transfer-Encoding", "chunked") }
    }

    pub(crate) fn head(&self) -> Vec<u8> {
        let mut lines = vec![self.line.clone()];
        lines.extend(self.fields.iter().map(|(name, value)| format!("{name}: {value}")));
        format!("{}\r\n\r\n", lines.join("\r\n")).into_bytes()
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        [self.head(), self.body.clone()].concat()
    }

    pub(crate) fn sent(&self) -> Vec<Step> {
        vec![Step::Send(self.bytes())]
    }

    /// So many bytes of head and body; then something else.
    pub(crate) fn cut(&self, at: usize, then: Option<Step>) -> Vec<Step> {
        let bytes = self.bytes();
        let mut steps = vec![Step::Send(bytes[..at.min(bytes.len())].to_vec())];
        steps.extend(then);
        steps
    }
}

pub(crate) struct Server {
    pub(crate) address: String,
    pub(crate) requests: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    /// Serves until the test is over.
    pub(crate) async fn start(file: File, manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound").to_string();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (seen, manner) = (requests.clone(), Arc::new(manner));
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let (file, seen, manner) = (file.clone(), seen.clone(), manner.clone());
                tokio::spawn(serve(socket, file, seen, manner));
            }
        });
        Self { address, requests }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/p/releases/v2.0.0/firmware.bin?signature=secret", self.address)
    }
}

async fn serve(mut socket: TcpStream, file: File, seen: Arc<Mutex<Vec<Request>>>, manner: Arc<Manner>) {
    let mut text = Vec::new();
    while !text.ends_with(b"\r\n\r\n") {
        match socket.read_u8().await {
            Ok(byte) => text.push(byte),
            // Whatever it is, it does not speak HTTP.
            Err(_) => return,
        }
        if text.len() > 8192 || text[0] == 0x16 {
            let _ = socket.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
            return;
        }
    }
    let request = {
        let mut seen = seen.lock().expect("no panic before");
        let request = Request::parse(seen.len(), std::str::from_utf8(&text).expect("ASCII"));
        seen.push(request.clone());
        request
    };
    for step in manner(&file, &request) {
        let sent = match step {
            Step::Send(bytes) => socket.write_all(&bytes).await,
            Step::Drip(bytes, at_once, pause) => drip(&mut socket, &bytes, at_once, pause).await,
            Step::Reset => {
                // What was sent is to arrive before the reset overtakes it.
                tokio::time::sleep(Duration::from_millis(20)).await;
                socket.set_zero_linger()
            }
            Step::Hang => socket.read_u8().await.map(|_| ()),
        };
        // The client may have had enough.
        if sent.is_err() {
            return;
        }
    }
}

async fn drip(socket: &mut TcpStream, bytes: &[u8], at_once: usize, pause: Duration) -> std::io::Result<()> {
    socket.set_nodelay(true)?;
    for piece in bytes.chunks(at_once) {
        socket.write_all(piece).await?;
        tokio::time::sleep(pause).await;
    }
    Ok(())
}
