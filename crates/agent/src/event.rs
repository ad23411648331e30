//! What goes into the agent and what comes out: network and time as values.

use contract::{Progress, Request, Status};

/// One HTTP request of the agent; what belongs to an earlier one is ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FetchId(pub(crate) u32);

/// One message of the agent, to match its acknowledgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MessageId(pub(crate) u32);

/// `Content-Range: bytes start-end/total`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContentRange {
    /// The first byte's offset.
    pub start: u64,
    /// The whole length, unless the server said `*`.
    pub total: Option<u64>,
}

/// The head of an HTTP response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResponseHead<'a> {
    /// The status code.
    pub status: u16,
    /// Of this body; `None` for a chunked one.
    pub content_length: Option<u64>,
    /// Of a 206.
    pub content_range: Option<ContentRange>,
    /// As sent, with its quotes.
    pub etag: Option<&'a str>,
    /// `Updraft-Version`, by which a server tells what a URL without a version leads to.
    pub version: Option<&'a str>,
    /// Where a redirect (301, 302, 303, 307, 308) leads to, as sent: absolute or relative.
    pub location: Option<&'a str>,
    /// Whether the body is encoded (`Content-Encoding` other than `identity`): such bytes are not the image's.
    pub encoded: bool,
}

/// Which part of a file is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Range {
    /// From an offset to the end: `bytes={0}-`.
    From(u32),
    /// Bytes at its end, of this number: `bytes=-{0}`.
    Last(u32),
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event<'a> {
    /// A message on `devices/{id}/ota`.
    Trigger(&'a [u8]),
    /// `clear_quarantine` on `devices/{id}/ota/control`.
    ClearQuarantine,
    /// Bytes of the response to a fetch, as they come from the socket; the agent reads the HTTP in them.
    Received(FetchId, &'a [u8]),
    /// The server closed the connection of a fetch in an orderly way.
    Closed(FetchId),
    /// The response to a fetch begins; for ports with an HTTP client of their own, in place of `Received`.
    Head(FetchId, ResponseHead<'a>),
    /// More of its body.
    Body(FetchId, &'a [u8]),
    /// Its body ended as HTTP says it should.
    BodyEnd(FetchId),
    /// There was no response, or the connection broke; in words, without the URL.
    Lost(FetchId, &'a str),
    /// The broker accepted the connection and the subscriptions were sent.
    Connected,
    /// The broker is gone.
    Disconnected,
    /// The broker has a message.
    Acknowledged(MessageId),
    /// The application says how it is: well, or why not.
    SelfTest(Result<(), &'a str>),
    /// Nothing but time.
    Tick,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action<'a> {
    /// Send a GET with `Range` (and `If-Range`, if there is a tag), after ending any other fetch; [`crate::http`] writes
    /// it. Redirects are not the port's to follow.
    Fetch {
        /// To be given back with whatever comes of it.
        id: FetchId,
        /// A secret: it must not be logged.
        url: &'a str,
        /// The bytes wanted.
        range: Range,
        /// The strong tag of what was received so far.
        if_range: Option<&'a str>,
    },
    /// End the fetch, its answer is not wanted any more.
    Cancel,
    /// Publish with QoS 1.
    Publish(MessageId, Message),
    /// Connect anew, with the settings that [`crate::Agent::connection`] gives now.
    Reconnect,
    /// Restart now.
    Restart,
}

/// What to publish, and so where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// [`crate::Agent::report`], as it is when this is sent, on the version topic.
    Report,
    /// On `devices/{id}/ota/status`.
    Status(Status),
    /// On `devices/{id}/ota/progress`.
    Progress(Progress),
    /// On `devices/{id}/ota/request`.
    Request(Request),
}
