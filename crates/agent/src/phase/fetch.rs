//! From the trigger to the last byte: what is asked for, what comes back, and how long it is tried.

use contract::{Outcome, Phase as Stretch, Reason, Version};
use heapless::{String, Vec};
use image::PREFIX_BYTES;

use super::{Agent, Phase};
use crate::bookmark::{Bookmark, ETAG_MAX_BYTES};
use crate::download::{Download, TAIL_BYTES, TailVerdict, Verdict};
use crate::event::{FetchId, Range, ResponseHead};
use crate::http::{self, HttpError, Piece};
use crate::port::{Encryption, Port};
use crate::record::{Attempt, Stage};
use crate::refusal::{Refusal, refuse};
use crate::sentences::Says;
use crate::verify::{ReadBack, version_of};

const BACK_OFF_MAX_MS: u64 = 60_000;
/// In four times the time that a connection may be silent it must bring so many bytes, or it counts as lost.
const PACE_MIN_BYTES: u32 = 4096;

/// So many redirects in one attempt, and the server is leading nowhere.
const REDIRECTS_MAX: u8 = 5;

/// Which part of the file a fetch is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asking {
    /// Its end, to judge it by before anything is erased.
    Tail,
    /// All of it, from where the download is.
    Image,
}

impl Asking {
    pub(super) fn range(self, download: &Download) -> Range {
        match self {
            Self::Tail => Range::Last(TAIL_BYTES as u32),
            Self::Image => Range::From(download.received()),
        }
    }

    pub(super) fn if_range(self, download: &Download) -> Option<&str> {
        match self {
            Self::Tail => None,
            Self::Image => download.etag(),
        }
    }
}

/// Whether a response leads somewhere else.
fn is_redirect(head: &ResponseHead<'_>) -> bool {
    matches!(head.status, 301 | 302 | 303 | 307 | 308) && head.location.is_some()
}

impl Agent {
    /// Keeps a URL, and what its path says.
    #[inline(never)]
    pub(super) fn take_url(&mut self, payload: &[u8]) -> Result<(), Refusal> {
        let url = payload.trim_ascii();
        if http::check(url).is_err() {
            return refuse!(NotAUrl);
        }
        self.url.clear();
        // It was looked at, and fits.
        let _ = self.url.extend_from_slice(url);
        self.path_tag = path_tag(&self.url);
        self.named = version_in_url(&self.url);
        Ok(())
    }

    pub(super) fn begin<P: Port>(&mut self, port: &mut P, payload: &[u8]) -> Phase {
        match self.take_url(payload) {
            Ok(()) => self.begin_waiting(port),
            Err(refusal) => {
                self.note_outcome(Outcome::Failed, &refusal.reason(""));
                self.requeue_outcome();
                Phase::Idle
            }
        }
    }

    pub(super) fn begin_waiting<P: Port>(&mut self, port: &mut P) -> Phase {
        self.trigger_waits = false;
        (self.retries, self.url_requests, self.progress_ms, self.furthest) = (0, 0, None, 0);
        (self.asking, self.redirects, self.ready) = (Asking::Tail, 0, false);
        self.to.clone_from(&self.named);
        if self.encryption == Encryption::Unsupported {
            return self.fail(port, &Refusal::plain(Says::Encrypted));
        }
        let slot = self.target_slot();
        // What an earlier attempt at the same file left there.
        let mark = Bookmark::read(port, slot).ok().flatten();
        self.download.begin(slot, mark);
        self.record.attempt = Some(Attempt {
            stage: Stage::Downloading,
            slot: self.target,
            sha256: [0; 32],
            to: self.to.clone(),
            rearms: 0,
        });
        // Not stored before something is written: a refused image costs no wear. The same goes for otadata.
        self.fetch()
    }

    pub(super) fn fetch(&mut self) -> Phase {
        self.next_fetch = self.next_fetch.wrapping_add(1);
        self.fetch_due = true;
        self.download.rewind();
        self.http = http::Response::new();
        self.pace = (self.now_ms, 0);
        Phase::Downloading { fetch: FetchId(self.next_fetch), heard_ms: self.now_ms }
    }

    /// A trigger in mid-download: the same artifact signed again, or another one. Both go on from here, and
    /// `If-Range` tells them apart; without a tag only a path that stayed the same is trusted.
    pub(super) fn renew(&mut self, payload: &[u8]) -> Phase {
        let before = self.path_tag;
        if self.take_url(payload).is_err() {
            // What is under way is not to end for it.
            return self.phase;
        }
        self.redirects = 0;
        let same_path = before == self.path_tag;
        if same_path && matches!(self.phase, Phase::Downloading { .. } | Phase::Resuming) {
            // Sent twice, or ahead of time: kept for when the connection breaks.
            return self.phase;
        }
        if !same_path {
            self.asking = Asking::Tail;
            // After a restart there is no path to compare; the bookmark has a tag of its own.
            if self.download.etag().is_none() && !self.download.resumes() {
                self.download.start_over();
            }
        }
        self.resuming = false;
        // A path that names no version may still lead to the same file, as a short URL does.
        if self.named.is_some() {
            self.to.clone_from(&self.named);
        }
        self.fetch()
    }

    /// Bytes from a socket: reads the HTTP in them, piece by piece, for as long as they belong to the fetch under way.
    pub(super) fn on_received<P: Port>(&mut self, port: &mut P, fetch: FetchId, mut bytes: &[u8]) -> Phase {
        while matches!(self.phase, Phase::Downloading { fetch: now, .. } if now == fetch) {
            let (taken, piece) = self.http.push(self.download.scratch(), bytes);
            let (now, rest) = bytes.split_at_checked(taken).unwrap_or((bytes, &[]));
            self.phase = match piece {
                Piece::More => return Phase::Downloading { fetch, heard_ms: self.now_ms },
                Piece::Head(head) if is_redirect(&head) => {
                    let led = http::resolve(&mut self.url, head.location.unwrap_or_default());
                    self.follow(port, led)
                }
                Piece::Head(head) => {
                    // Its texts lie in the buffer that the body is about to fill.
                    let etag = head.etag.and_then(|etag| String::<ETAG_MAX_BYTES>::try_from(etag).ok());
                    let version = head.version.and_then(version_of);
                    let (etag, location) = (etag.as_deref(), None);
                    let head = ResponseHead { etag, version: None, location, ..head };
                    self.on_final_head(port, fetch, &head, version)
                }
                Piece::Body(body) => {
                    // The last of what was taken; what came before it framed a chunk.
                    let framing = now.len().saturating_sub(body.len());
                    self.on_body(port, fetch, now.get(framing..).unwrap_or_default())
                }
                Piece::End => self.on_body_end(port),
                Piece::Broken(error @ (HttpError::Url | HttpError::LongLocation)) => {
                    self.follow(port, Err(error))
                }
                Piece::Broken(error) => self.lose(port, error.says()),
            };
            bytes = rest;
        }
        self.phase
    }

    /// The server closed the connection, which is how some bodies end.
    pub(super) fn on_closed<P: Port>(&mut self, port: &mut P) -> Phase {
        match self.http.closed() {
            Ok(()) => self.on_body_end(port),
            Err(error) => self.lose(port, error.says()),
        }
    }

    /// Goes where a redirect leads, a bounded number of times.
    fn follow<P: Port>(&mut self, port: &mut P, led: Result<(), HttpError>) -> Phase {
        match led {
            Ok(()) if self.redirects >= REDIRECTS_MAX => {
                self.fail(port, &Refusal::new(Says::Redirects, &[REDIRECTS_MAX.into()]))
            }
            Ok(()) => {
                self.redirects += 1;
                self.cancel_due = true;
                self.fetch()
            }
            Err(error) => self.fail(port, &Refusal::plain(error.says())),
        }
    }

    pub(super) fn on_head<P: Port>(
        &mut self,
        port: &mut P,
        fetch: FetchId,
        head: &ResponseHead<'_>,
    ) -> Phase {
        if is_redirect(head) {
            let led = http::resolve(&mut self.url, head.location.unwrap_or_default());
            return self.follow(port, led);
        }
        let version = head.version.and_then(version_of);
        self.on_final_head(port, fetch, head, version)
    }

    /// A head that leads nowhere else; `version` is what its field of that name says.
    #[inline(never)]
    fn on_final_head<P: Port>(
        &mut self,
        port: &mut P,
        fetch: FetchId,
        head: &ResponseHead<'_>,
        version: Option<Version>,
    ) -> Phase {
        match head.status {
            200 | 206 if head.encoded => self.fail(port, &Refusal::plain(Says::Compressed)),
            200 | 206 if self.asking == Asking::Tail => self.on_tail_head(port, fetch, head, version),
            200 | 206 => self.on_image_head(port, fetch, head, version),
            401 | 403 => {
                self.cancel_due = true;
                self.ask_for_url(port)
            }
            // A server that has no ends to give, or a file that is no longer than what was received.
            416 | 501 if self.asking == Asking::Tail => self.ask_for_image(),
            416 => {
                self.download.start_over();
                self.lose(port, Says::NoSuchPart)
            }
            // Replaced between the server's two looks at it.
            409 | 412 => {
                self.download.start_over();
                self.lose(port, Says::FileChanged)
            }
            status => {
                let refusal = Refusal::new(Says::Answered, &[status.into()]);
                if matches!(status, 408 | 429 | 500..) {
                    self.retry(port, &refusal, "")
                } else {
                    self.fail(port, &refusal)
                }
            }
        }
    }

    /// The whole is asked for without its end having been seen; it is judged once it lies in the slot.
    fn ask_for_image(&mut self) -> Phase {
        self.asking = Asking::Image;
        self.cancel_due = true;
        self.fetch()
    }

    fn on_tail_head<P: Port>(
        &mut self,
        port: &mut P,
        fetch: FetchId,
        head: &ResponseHead<'_>,
        version: Option<Version>,
    ) -> Phase {
        match self.download.tail_head(head) {
            Ok(TailVerdict::Take) => Phase::Downloading { fetch, heard_ms: self.now_ms },
            Ok(TailVerdict::Whole) => {
                self.asking = Asking::Image;
                self.on_image_head(port, fetch, head, version)
            }
            Ok(TailVerdict::Odd) => self.ask_for_image(),
            Err(error) => self.fail(port, &error),
        }
    }

    fn on_image_head<P: Port>(
        &mut self,
        port: &mut P,
        fetch: FetchId,
        head: &ResponseHead<'_>,
        version: Option<Version>,
    ) -> Phase {
        match self.download.head(head) {
            Ok(Verdict::Take) => {
                if self.download.received() == 0 {
                    // Whatever an earlier URL said was said of another file.
                    self.to = version;
                    if self.named.is_some() {
                        self.to.clone_from(&self.named);
                    }
                }
                self.progress(Stretch::Download, self.download.received(), self.download.total());
                Phase::Downloading { fetch, heard_ms: self.now_ms }
            }
            Ok(Verdict::Retry(why)) => self.lose(port, why),
            Ok(Verdict::StartOver(why)) => {
                self.download.start_over();
                self.lose(port, why)
            }
            Err(error) => self.fail(port, &error),
        }
    }

    pub(super) fn on_body<P: Port>(&mut self, port: &mut P, fetch: FetchId, bytes: &[u8]) -> Phase {
        if self.asking == Asking::Tail {
            return if self.download.push_tail(bytes) {
                Phase::Downloading { fetch, heard_ms: self.now_ms }
            } else {
                self.lose(port, Says::TailTooLong)
            };
        }
        // The first bytes alone, so that an image that is refused for what they say costs no write at all.
        let early =
            if self.ready { 0 } else { PREFIX_BYTES.saturating_sub(self.download.received() as usize) };
        let (early, rest) = bytes.split_at_checked(early).unwrap_or((bytes, &[]));
        for part in [early, rest] {
            if let Err(error) = self.take_body(port, part) {
                return self.fail(port, &error);
            }
        }
        // Bytes that came through make up for connections lost before, 64 KiB for one; but not those of a file that
        // changed and is begun again, or it would never end.
        if self.download.received() >> 16 > self.furthest >> 16 {
            self.retries = self.retries.saturating_sub(1);
        }
        self.furthest = self.furthest.max(self.download.received());
        self.progress(Stretch::Download, self.download.received(), self.download.total());
        Phase::Downloading { fetch, heard_ms: self.now_ms }
    }

    fn take_body<P: Port>(&mut self, port: &mut P, bytes: &[u8]) -> Result<(), Refusal> {
        if self.download.received() as usize >= PREFIX_BYTES {
            self.make_ready(port)?;
        }
        let running = self.image.as_ref().map(|image| &image.traits);
        self.download.push(port, &self.settings, running, bytes)
    }

    /// A byte now and then keeps a connection from being silent, and would keep a device busy for ever: in a head, in the
    /// file's end, and in what is passed over, as much as in what is written.
    pub(super) fn judge_pace<P: Port>(&mut self, port: &mut P, heard_bytes: usize, next: Phase) -> Phase {
        let (since_ms, before) = self.pace;
        let heard = before.saturating_add(u32::try_from(heard_bytes).unwrap_or(u32::MAX));
        self.pace.1 = heard;
        let is_due = self.now_ms >= since_ms + 4 * u64::from(self.settings.stall_ms);
        if !is_due || !matches!(next, Phase::Downloading { .. }) {
            return next;
        }
        self.pace = (self.now_ms, 0);
        if heard >= PACE_MIN_BYTES {
            return next;
        }
        self.lose(port, Says::TooSlow)
    }

    pub(super) fn on_body_end<P: Port>(&mut self, port: &mut P) -> Phase {
        if self.asking == Asking::Tail {
            return self.judge_tail(port);
        }
        let finished = self.make_ready(port).and_then(|()| {
            let running = self.image.as_ref().map(|image| &image.traits);
            self.download.finish(port, &self.settings, running)
        });
        match finished {
            Ok(None) => self.lose(port, Says::SentLess),
            Ok(Some(sha256)) => {
                self.received_sha256 = sha256;
                self.read_back = Some(ReadBack::new(self.target_slot(), self.download.received()));
                self.progress_ms = None;
                self.progress(Stretch::Verify, 0, self.download.received());
                Phase::Verifying
            }
            Err(error) => self.fail(port, &error),
        }
    }

    pub(super) fn resume<P: Port>(&mut self, port: &mut P) -> Phase {
        match self.download.hash_on(port) {
            Ok(false) => Phase::Resuming,
            Ok(true) => {
                self.asking = Asking::Image;
                self.fetch()
            }
            Err(fault) => self.fail(port, &fault.into()),
        }
    }

    /// The connection is of no use any more; in words, why.
    #[inline(never)]
    pub(super) fn lose<P: Port>(&mut self, port: &mut P, why: Says) -> Phase {
        self.retry(port, &Refusal::plain(why), "")
    }

    #[inline(never)]
    pub(super) fn retry<P: Port>(&mut self, port: &mut P, why: &Refusal, text: &str) -> Phase {
        if self.retries >= self.settings.retries {
            let mut words = Reason::default();
            why.tell(text, &mut words);
            let given_up = Refusal::new(Says::GivenUp, &[u32::from(self.retries) + 1]);
            return self.fail_with(port, given_up.reason(words.as_str()));
        }
        self.cancel_due = true;
        let pause = u64::from(self.settings.back_off_ms) << self.retries.min(16);
        // The clock's low bits are jitter enough to keep a fleet from coming back all at once.
        let jitter = u64::from(self.now_ms as u32 % (self.settings.back_off_ms / 4 + 1));
        self.retries += 1;
        Phase::Pausing { until_ms: self.now_ms + pause.min(BACK_OFF_MAX_MS) + jitter }
    }

    pub(super) fn ask_for_url<P: Port>(&mut self, port: &mut P) -> Phase {
        if self.url_requests >= self.settings.url_requests {
            let says = if self.resuming { Says::RestartedWithoutUrl } else { Says::NoFreshUrl };
            return self.fail(port, &Refusal::plain(says));
        }
        if !self.connected {
            // Nobody would hear it: asked once there is a broker.
            return Phase::AwaitingUrl { until_ms: u64::MAX };
        }
        self.url_requests += 1;
        self.queue_request();
        Phase::AwaitingUrl { until_ms: self.now_ms + u64::from(self.settings.url_wait_ms) }
    }
}

/// Tells paths apart, and nothing depends on it: where two share a tag, `If-Range` tells the files apart (FNV-1a).
fn path_tag(url: &[u8]) -> u32 {
    let path = url.iter().take_while(|byte| **byte != b'?');
    path.fold(0x811C_9DC5, |tag, byte| (tag ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

/// The version in `…/releases/v{version}/firmware.bin`, where a URL has that form. In bytes: what `str` brings along to
/// search text is larger than all of this.
pub(super) fn version_in_url(url: &[u8]) -> Option<Version> {
    const FOLDER: &[u8] = b"/releases/v";
    let path = url.split(|byte| matches!(byte, b'?' | b'#')).next()?;
    let folder = path.strip_suffix(b"/firmware.bin")?;
    let name = folder.iter().rposition(|byte| *byte == b'/')?;
    let rest = folder.get((name + 2).checked_sub(FOLDER.len())?..)?.strip_prefix(FOLDER)?;
    let mut version = Vec::<u8, { contract::VERSION_MAX_BYTES + 1 }>::new();
    let mut bytes = rest.iter();
    while let Some(byte) = bytes.next() {
        // Build metadata is the one part of a version that URLs may encode.
        let letter = match byte {
            b'%' => match (bytes.next()?, bytes.next()?) {
                (b'2', b'B' | b'b') => b'+',
                _ => return None,
            },
            byte => *byte,
        };
        version.push(letter).ok()?;
    }
    let text = version.trim_ascii();
    Version::from_bytes(text.strip_prefix(b"v").unwrap_or(text)).ok()
}
