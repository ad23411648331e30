//! What comes back: heads, redirects, the file's end, the body.

use contract::{Phase as Stretch, Version};
use heapless::String;
use image::PREFIX_BYTES;

use super::{Agent, Phase, UrlLoss};
use crate::attempt::Asking;
use crate::bookmark::ETAG_MAX_BYTES;
use crate::checks::version_of;
use crate::download::{TailVerdict, Verdict};
use crate::event::ResponseHead;
use crate::http::{self, HttpError, Piece};
use crate::port::Port;
use crate::refusal::Refusal;
use crate::sentences::Says;
use crate::timers::Timer;
use crate::verify::ReadBack;

/// Maximum redirects from one URL.
const REDIRECTS_MAX: u8 = 5;

fn is_redirect(head: &ResponseHead<'_>) -> bool {
    matches!(head.status, 301 | 302 | 303 | 307 | 308) && head.location.is_some()
}

impl Agent {
    /// Bytes from a socket: reads the HTTP in them, piece by piece, for as long as they belong to the fetch under way.
    pub(super) fn on_received<P: Port>(&mut self, port: &mut P, mut bytes: &[u8]) -> Phase {
        let fetch = self.fetches.0;
        while matches!(self.phase, Phase::Downloading { fetch: now } if now == fetch) {
            let (taken, piece) = self.http.push(&mut self.download.slot.buffer, bytes);
            let (now, rest) = bytes.split_at_checked(taken).unwrap_or((bytes, &[]));
            self.phase = match piece {
                Piece::More => return self.go_on(),
                Piece::Head(head) if is_redirect(&head) => {
                    let led = http::resolve(&mut self.url.bytes, head.location.unwrap_or_default());
                    self.follow(port, led)
                }
                Piece::Head(head) => {
                    // Its texts lie in the buffer that the body is about to fill.
                    let etag = head.etag.and_then(|etag| String::<ETAG_MAX_BYTES>::try_from(etag).ok());
                    let version = head.version.and_then(version_of);
                    let (etag, location) = (etag.as_deref(), None);
                    let head = ResponseHead { etag, version: None, location, ..head };
                    self.on_final_head(port, &head, version)
                }
                Piece::Body(body) => {
                    // The last of what was taken; what came before it framed a chunk.
                    let framing = now.len().saturating_sub(body.len());
                    self.on_body(port, now.get(framing..).unwrap_or_default())
                }
                Piece::End => self.on_body_end(port),
                Piece::Broken(error @ HttpError(Says::Url | Says::LongLocation)) => {
                    self.follow(port, Err(error))
                }
                Piece::Broken(error) => self.lose(port, error.0),
            };
            bytes = rest;
        }
        self.phase
    }

    /// The server closed the connection, which is how some bodies end.
    pub(super) fn on_closed<P: Port>(&mut self, port: &mut P) -> Phase {
        match self.http.closed() {
            Ok(()) => self.on_body_end(port),
            Err(error) => self.lose(port, error.0),
        }
    }

    /// Goes where a redirect leads, a bounded number of times.
    fn follow<P: Port>(&mut self, port: &mut P, led: Result<(), HttpError>) -> Phase {
        match led {
            Ok(()) if self.attempt.redirects >= REDIRECTS_MAX => {
                self.fail(port, &Refusal::new(Says::Redirects, &[REDIRECTS_MAX.into()]))
            }
            Ok(()) => {
                self.attempt.redirects += 1;
                self.cancel_due = true;
                self.fetch()
            }
            Err(error) => self.fail(port, &Refusal::plain(error.0)),
        }
    }

    pub(super) fn on_head<P: Port>(&mut self, port: &mut P, head: &ResponseHead<'_>) -> Phase {
        if is_redirect(head) {
            let led = http::resolve(&mut self.url.bytes, head.location.unwrap_or_default());
            return self.follow(port, led);
        }
        let version = head.version.and_then(version_of);
        self.on_final_head(port, head, version)
    }

    /// A head that leads nowhere else; `version` is what its field of that name says.
    #[inline(never)]
    fn on_final_head<P: Port>(
        &mut self,
        port: &mut P,
        head: &ResponseHead<'_>,
        version: Option<Version>,
    ) -> Phase {
        match head.status {
            200 | 206 if head.encoded => self.fail(port, &Refusal::plain(Says::Compressed)),
            200 | 206 if self.attempt.asking == Asking::Tail => self.on_tail_head(port, head, version),
            200 | 206 => self.on_image_head(port, head, version),
            401 | 403 => {
                self.cancel_due = true;
                self.ask_for_url(port, UrlLoss::Expired)
            }
            // A server that has no ends to give, or a file that is no longer than what was received.
            416 | 501 if self.attempt.asking == Asking::Tail => self.ask_for_image(),
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
        self.attempt.asking = Asking::Image;
        self.cancel_due = true;
        self.fetch()
    }

    fn on_tail_head<P: Port>(
        &mut self,
        port: &mut P,
        head: &ResponseHead<'_>,
        version: Option<Version>,
    ) -> Phase {
        match self.download.tail_head(head) {
            Ok(TailVerdict::Take) => self.go_on(),
            Ok(TailVerdict::Whole) => {
                self.attempt.asking = Asking::Image;
                self.on_image_head(port, head, version)
            }
            Ok(TailVerdict::Odd) => self.ask_for_image(),
            Err(error) => self.fail(port, &error),
        }
    }

    fn on_image_head<P: Port>(
        &mut self,
        port: &mut P,
        head: &ResponseHead<'_>,
        version: Option<Version>,
    ) -> Phase {
        match self.download.head(head) {
            Ok(Verdict::Take) => {
                if self.download.transfer.received == 0 {
                    // Whatever an earlier URL said was said of another file.
                    self.attempt.to = version;
                    if self.url.named.is_some() {
                        self.attempt.to.clone_from(&self.url.named);
                    }
                }
                self.progress_of_download();
                self.go_on()
            }
            Ok(Verdict::Retry(why)) => self.lose(port, why),
            Ok(Verdict::StartOver(why)) => {
                self.download.start_over();
                self.lose(port, why)
            }
            Err(error) => self.fail(port, &error),
        }
    }

    pub(super) fn on_body<P: Port>(&mut self, port: &mut P, bytes: &[u8]) -> Phase {
        if self.attempt.asking == Asking::Tail {
            return if self.download.push_tail(bytes) {
                self.go_on()
            } else {
                self.lose(port, Says::TailTooLong)
            };
        }
        // The first bytes alone, so that an image that is refused for what they say costs no write at all.
        let early = if self.attempt.ready {
            0
        } else {
            PREFIX_BYTES.saturating_sub(self.download.slot.taken() as usize)
        };
        let (early, rest) = bytes.split_at_checked(early).unwrap_or((bytes, &[]));
        for part in [early, rest] {
            if let Err(error) = self.take_body(port, part) {
                return self.fail(port, &error);
            }
        }
        // Bytes that came through make up for connections lost before, 64 KiB for one; but not those of a file that
        // changed and is begun again, or it would never end.
        let received = self.download.transfer.received;
        if received >> 16 > self.attempt.furthest >> 16 {
            self.attempt.retries = self.attempt.retries.saturating_sub(1);
        }
        self.attempt.furthest = self.attempt.furthest.max(received);
        self.progress_of_download();
        self.go_on()
    }

    fn progress_of_download(&mut self) {
        let transfer = &self.download.transfer;
        self.progress(Stretch::Download, transfer.received, transfer.total());
    }

    fn take_body<P: Port>(&mut self, port: &mut P, bytes: &[u8]) -> Result<(), Refusal> {
        if self.download.slot.taken() as usize >= PREFIX_BYTES {
            self.make_ready(port)?;
        }
        let wanted = wanted!(self);
        self.download.push(port, self.settings.erase, &wanted, bytes)
    }

    pub(super) fn on_body_end<P: Port>(&mut self, port: &mut P) -> Phase {
        if self.attempt.asking == Asking::Tail {
            return self.judge_tail(port);
        }
        let finished = self.make_ready(port).and_then(|()| {
            let wanted = wanted!(self);
            self.download.finish(port, self.settings.erase, &wanted)
        });
        match finished {
            Ok(None) => self.lose(port, Says::SentLess),
            Ok(Some(sha256)) => {
                let written = self.download.slot.written;
                self.read_back = Some(ReadBack::new(self.target_slot(), written, sha256));
                self.timers.stop(Timer::Progress);
                self.progress(Stretch::Verify, 0, written);
                self.timers.start(Timer::Phase, 0);
                Phase::Verifying
            }
            Err(error) => self.fail(port, &error),
        }
    }
}
