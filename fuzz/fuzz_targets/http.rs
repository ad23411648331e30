//! No bytes from a server panic the reader or make it go round; how they are split changes nothing; no URL adds a line
//! to a request.
#![no_main]

use libfuzzer_sys::fuzz_target;
use updraft_agent::Range;
use updraft_agent::http::{HttpError, Piece, Response, SCRATCH_BYTES, Url, resolve, write_request};

/// What a response amounts to: status and ETag, body, and how it ended.
type Seen = (Option<(u16, Option<String>)>, Vec<u8>, bool, Option<HttpError>, Result<(), HttpError>);

fn read(bytes: &[u8], size: usize) -> Seen {
    let mut scratch = [0; SCRATCH_BYTES];
    let mut response = Response::new();
    let (mut head, mut body, mut ended, mut broken) = (None, Vec::new(), false, None);
    for mut piece in bytes.chunks(size) {
        loop {
            let (used, found) = response.push(&mut scratch, piece);
            piece = &piece[used..];
            match found {
                Piece::More => break,
                Piece::Head(found) => {
                    assert!(head.is_none() && used > 0);
                    head = Some((found.status, found.etag.map(str::to_owned)));
                    scratch.fill(0xEE);
                }
                Piece::Body(found) => {
                    assert!(!found.is_empty() && used >= found.len() && !ended);
                    body.extend_from_slice(found);
                }
                Piece::End => assert!(!std::mem::replace(&mut ended, true)),
                Piece::Broken(error) => assert!(broken.replace(error).is_none()),
            }
        }
    }
    (head, body, ended, broken, response.closed())
}

fuzz_target!(|bytes: &[u8]| {
    let Some((first, rest)) = bytes.split_first() else { return };
    assert_eq!(read(rest, usize::from(*first) + 1), read(rest, usize::MAX));

    let Ok(text) = std::str::from_utf8(rest) else { return };
    let (base, location) = text.split_once('\n').unwrap_or((text, ""));
    let mut out = heapless::Vec::from_slice(base.as_bytes()).unwrap_or_default();
    let led = resolve(&mut out, location).ok().and_then(|()| std::str::from_utf8(&out).ok());
    for url in [Some(base), led].into_iter().flatten() {
        let Ok(url) = Url::parse(url) else { continue };
        let mut request = String::new();
        write_request(&url, Range::Last(1), Some(location), true, &mut request).expect("a string");
        let lines = request.lines().filter(|line| !line.starts_with("If-Range: ")).count();
        assert_eq!((lines, request.matches("\r\n\r\n").count()), (7, 1));
    }
});
