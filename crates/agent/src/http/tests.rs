use std::string::String as Text;
use std::vec::Vec;
use std::{format, vec};

use proptest::prelude::*;

use super::*;
use crate::event::{ContentRange, Range};
use crate::sentences::Says;

/// All that a response amounts to, however it was split.
#[derive(Debug, Default, PartialEq, Eq)]
struct Seen {
    head: Option<Head>,
    body: Vec<u8>,
    ended: bool,
    broken: Option<HttpError>,
    at_close: Option<HttpError>,
    reusable: bool,
    left: usize,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Head {
    status: u16,
    length: Option<u64>,
    range: Option<ContentRange>,
    etag: Option<Text>,
    version: Option<Text>,
    location: Option<Text>,
    encoded: bool,
}

/// Reads `pieces` one after the other; the scratch is spoilt after the head, as a download does.
fn read<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Seen {
    let mut seen = Seen::default();
    let mut scratch = vec![0; SCRATCH_BYTES];
    let mut response = Response::new();
    for mut bytes in pieces {
        loop {
            let before = bytes.len();
            let (used, piece) = response.push(&mut scratch, bytes);
            bytes = &bytes[used..];
            match piece {
                Piece::More => {
                    assert!(bytes.is_empty() || seen.ended || seen.broken.is_some());
                    seen.left += bytes.len();
                    break;
                }
                Piece::Head(head) => {
                    assert!(seen.head.is_none() && used > 0);
                    seen.head = Some(Head {
                        status: head.status,
                        length: head.content_length,
                        range: head.content_range,
                        etag: head.etag.map(Into::into),
                        version: head.version.map(Into::into),
                        location: head.location.map(Into::into),
                        encoded: head.encoded,
                    });
                    scratch.fill(0xEE);
                }
                Piece::Body(body) => {
                    assert!(!body.is_empty() && bytes.len() < before && !seen.ended);
                    seen.body.extend_from_slice(body);
                }
                Piece::End => {
                    assert!(!core::mem::replace(&mut seen.ended, true));
                }
                Piece::Broken(error) => assert!(seen.broken.replace(error).is_none()),
            }
        }
    }
    seen.at_close = response.closed().err();
    seen.reusable = response.is_reusable();
    seen
}

fn read_whole(text: &[u8]) -> Seen {
    read([text])
}

fn broken(text: &str) -> Option<HttpError> {
    read_whole(text.as_bytes()).broken
}

fn written(url: &str, range: Range, if_range: Option<&str>, keep_alive: bool) -> Text {
    let mut out = Text::new();
    write_request(&Url::parse(url).expect("a URL"), range, if_range, keep_alive, &mut out).expect("a string");
    out
}

const PART: &str = "HTTP/1.1 206 Partial Content\r\nServer: x\r\nETag: \"abc\"\r\nupdraft-version: 1.2.0\r\n\
    Content-Range: bytes 100-109/110\r\nContent-Length: 10\r\n\r\n0123456789";
const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
    5\r\nhello\r\n0A ; name=\"value\"\r\n, world!!!\r\n000\r\nExpires: never\r\n\r\n";
const INTERIM: &str = "HTTP/1.1 103 Early Hints\r\nETag: \"no\"\r\nContent-Length: 7\r\n\r\n\
    HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 307\r\nLocation: /there?x=1  \r\nContent-Length: 0\r\n\r\n";
const OLD: &str = "HTTP/1.0 200 OK\nContent-Encoding: identity\nETag:\n \"folded\"\n\nall of it";

#[test]
fn heads_and_bodies_are_read_as_sent() {
    let seen = read_whole(PART.as_bytes());
    let head = seen.head.expect("a head");
    assert_eq!((head.status, head.length), (206, Some(10)));
    assert_eq!(head.range, Some(ContentRange { start: 100, total: Some(110) }));
    assert_eq!((head.etag.as_deref(), head.version.as_deref()), (Some("\"abc\""), Some("1.2.0")));
    assert_eq!((seen.body.as_slice(), seen.ended, seen.reusable), (&b"0123456789"[..], true, true));

    let seen = read_whole(CHUNKED.as_bytes());
    assert_eq!(seen.head.expect("a head").length, None);
    assert_eq!((seen.body.as_slice(), seen.ended, seen.at_close), (&b"hello, world!!!"[..], true, None));

    let seen = read_whole(INTERIM.as_bytes());
    let head = seen.head.expect("a head");
    assert_eq!((head.status, head.location.as_deref()), (307, Some("/there?x=1")));
    assert_eq!((head.etag, head.length, seen.ended), (None, Some(0), true));

    let seen = read_whole(OLD.as_bytes());
    let head = seen.head.expect("a head");
    assert_eq!((head.etag.as_deref(), head.encoded), (Some("\"folded\""), false));
    assert_eq!((seen.body.as_slice(), seen.ended), (&b"all of it"[..], false));
    assert_eq!((seen.at_close, seen.reusable), (None, false));
}

#[test]
fn a_split_anywhere_changes_nothing() {
    for text in [PART, CHUNKED, INTERIM, OLD, "HTTP/1.1 200 OK\r\nA : b\r\n\r\n", "SSH-2.0-x\r\n"] {
        let bytes = text.as_bytes();
        let whole = read_whole(bytes);
        for at in 0..=bytes.len() {
            let mut two = read([&bytes[..at], &[], &bytes[at..]]);
            // What nobody reads after a broken line may come in two pieces.
            two.left = whole.left;
            assert_eq!(two, whole, "{text:?} split at {at}");
        }
        let mut one_by_one = read(bytes.chunks(1));
        one_by_one.left = whole.left;
        assert_eq!(one_by_one, whole, "{text:?} byte by byte");
    }
}

#[test]
fn a_close_before_the_end_is_a_cut() {
    for text in [PART, CHUNKED, INTERIM] {
        for at in 0..text.len() {
            let seen = read_whole(&text.as_bytes()[..at]);
            assert_eq!(
                (seen.ended, seen.at_close),
                (false, Some(HttpError(Says::Cut))),
                "{text:?} cut at {at}"
            );
        }
    }
}

#[test]
fn bytes_after_the_end_are_left() {
    for text in [PART, CHUNKED, INTERIM] {
        let seen = read_whole(format!("{text}HTTP/1.1 200").as_bytes());
        assert_eq!((seen.ended, seen.left), (true, 12), "{text:?}");
    }
}

#[test]
fn framing_that_can_be_read_in_two_ways_is_refused() {
    let head = |fields: &str| broken(&format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\n"));
    for fields in [
        "Content-Length: 5\r\nContent-Length: 6",
        "Content-Length: 5, 6",
        "Content-Length: +5",
        "Content-Length: 0x5",
        "Content-Length:",
        "Content-Length: 5,",
        "Content-Length: 18446744073709551616",
        "Content-Length: -1",
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
    ] {
        assert_eq!(head(fields), Some(HttpError(Says::Length)), "{fields}");
    }
    assert_eq!(head("Content-Length: 5\r\nContent-Length: 5"), None);
    assert_eq!(head("Content-Length: 5, 5"), None);
    for fields in
        ["Transfer-Encoding: gzip, chunked", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"]
    {
        assert_eq!(head(fields), Some(HttpError(Says::Coding)), "{fields}");
    }
    let old = "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(broken(old), Some(HttpError(Says::Length)));
}

#[test]
fn malformed_heads_are_refused() {
    for field in ["no colon", ": no name", "Name : x", "Na me: x", "A: b\rc", "A: b\0c", "A\0: b"] {
        let text = format!("HTTP/1.1 200 OK\r\n{field}\r\n\r\n");
        assert_eq!(broken(&text), Some(HttpError(Says::Head)), "{field}");
    }
    assert_eq!(broken("HTTP/1.1 200 OK\r\n folded: x\r\n\r\n"), Some(HttpError(Says::Head)));
    for line in [
        "\r\n",
        "HTTP/2 200\r\n",
        "HTTP/1.1 20\r\n",
        "HTTP/1.1 099\r\n",
        "HTTP/1.1  200\r\n",
        "\x15\x03\x01\0",
    ] {
        assert_eq!(broken(line), Some(HttpError(Says::NotHttp)), "{line:?}");
    }
    assert_eq!(broken("HTTP/1.1 101 Switching Protocols\r\n\r\n"), Some(HttpError(Says::NotHttp)));
}

#[test]
fn heads_trailers_and_chunk_lines_end_somewhere() {
    let field = |count: usize| format!("X-Padding: {}\r\n", "x".repeat(count));
    assert_eq!(broken(&format!("HTTP/1.1 200 OK\r\n{}\r\n", field(32_000))), None);
    assert_eq!(broken(&format!("HTTP/1.1 200 OK\r\n{}", field(100_000))), Some(HttpError(Says::LongHead)));
    assert_eq!(
        broken(&format!("HTTP/1.1 200 OK\r\n{}", field(100).repeat(1000))),
        Some(HttpError(Says::LongHead))
    );
    assert_eq!(broken(&"HTTP/1.1 100 Continue\r\n\r\n".repeat(10_000)), Some(HttpError(Says::LongHead)));
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(broken(&format!("{chunked}0\r\n{}", field(10_000))), Some(HttpError(Says::LongHead)));
    assert_eq!(broken(&format!("{chunked}5;{}", "x".repeat(1000))), Some(HttpError(Says::Chunk)));
    for body in
        ["g\r\n", "\r\n", "100000000\r\n", "-1\r\n", "5\nhello", "5\r\nhelloX", "5\r\nhello\n", "5;\n", "\r"]
    {
        let expected = if body == "\r" { None } else { Some(HttpError(Says::Chunk)) };
        assert_eq!(broken(&format!("{chunked}{body}")), expected, "{body:?}");
    }
}

#[test]
fn values_that_do_not_fit_are_as_good_as_none() {
    let head = |status: u16, fields: &str| {
        read_whole(format!("HTTP/1.1 {status} X\r\n{fields}\r\nContent-Length: 0\r\n\r\n").as_bytes())
    };
    let seen = head(200, &format!("ETag: \"{}\"\r\nLocation: /{}", "e".repeat(127), "l".repeat(2048)));
    let kept = seen.head.expect("a head");
    assert_eq!((kept.etag, kept.location, seen.ended), (None, None, true));
    let seen = head(302, &format!("Location: /{}", "l".repeat(2048)));
    assert_eq!(seen.broken, Some(HttpError(Says::LongLocation)));
    let seen = head(302, &format!("Location: /{}", "l".repeat(2047)));
    assert_eq!(seen.head.expect("a head").location.expect("one").len(), 2048);
    assert_eq!(head(302, "Location: /with space").broken, Some(HttpError(Says::Url)));
    assert_eq!(head(200, "ETag: \"\u{e9}\"").head.expect("a head").etag, None);
    for range in
        ["bytes */100", "bytes 5-4/100", "bytes 5-100/100", "lines 1-2/3", "bytes 1-2", "bytes x-2/3"]
    {
        let seen = head(206, &format!("Content-Range: {range}"));
        assert_eq!(seen.head.expect("a head").range, None, "{range}");
    }
    let seen = head(206, "Content-Range: Bytes 5-9/*");
    assert_eq!(seen.head.expect("a head").range, Some(ContentRange { start: 5, total: None }));
}

#[test]
fn encoded_bodies_are_recognised() {
    for (value, encoded) in [("gzip", true), ("identity", false), ("identity, br", true), ("", false)] {
        let seen = read_whole(format!("HTTP/1.1 200 OK\r\nContent-Encoding: {value}\r\n\r\n").as_bytes());
        assert_eq!(seen.head.expect("a head").encoded, encoded, "{value}");
    }
}

#[test]
fn a_connection_is_used_again_only_if_both_sides_keep_it() {
    for (line, connection, reusable) in [
        ("HTTP/1.1 204 X", "X: y", true),
        ("HTTP/1.1 204 X", "Connection: upgrade, close", false),
        ("HTTP/1.1 204 X", "Connection: close\r\nConnection: keep-alive", false),
        ("HTTP/1.0 204 X", "X: y", false),
        ("HTTP/1.0 204 X", "Connection: Keep-Alive", true),
    ] {
        let seen = read_whole(format!("{line}\r\n{connection}\r\n\r\n").as_bytes());
        assert_eq!((seen.ended, seen.reusable), (true, reusable), "{line} {connection}");
    }
}

#[test]
fn the_parser_is_small() {
    assert!(size_of::<Response>() <= 104, "{}", size_of::<Response>());
}

#[test]
fn urls_are_taken_apart() {
    let parts = |text: &str| {
        let url = Url::parse(text).expect("a URL");
        (url.is_tls(), Text::from(url.host()), url.port(), format!("{}", url.target()))
    };
    assert_eq!(parts("http://a.b"), (false, "a.b".into(), 80, "/".into()));
    assert_eq!(parts("HTTPS://a-b_c:8443/x/y?z=%20#f"), (true, "a-b_c".into(), 8443, "/x/y?z=%20".into()));
    assert_eq!(parts("https://h:?q=/"), (true, "h".into(), 443, "/?q=/".into()));
    assert_eq!(parts("http://[::1]:81/"), (false, "::1".into(), 81, "/".into()));
}

#[test]
fn urls_that_could_do_harm_are_refused() {
    let long = format!("http://h/{}", "x".repeat(2040));
    for text in [
        "",
        "http:/h",
        "ftp://h/",
        "//h/",
        "http://",
        "http:///x",
        "http://u@h/",
        "http://u:p@h/",
        "http://h:0/",
        "http://h:65536/",
        "http://h:x/",
        "http://h:+1/",
        "http://[::1/",
        "http://[h]/",
        "http://[::1]x/",
        "http://h%41/",
        "http://h/ x",
        "http://h/\r\nX: y",
        "http://h/\t",
        "http://h/\u{e9}",
        "http://h\\@e/",
        "http://h/\0",
        "http://h/\x7f",
        &long,
    ] {
        assert_eq!(Url::parse(text), Err(HttpError(Says::Url)), "{text:?}");
    }
}

/// Where a redirect leads.
fn led(base: &str, location: &str) -> Result<Text, HttpError> {
    let mut url = heapless::Vec::from_slice(base.as_bytes()).expect("short");
    resolve(&mut url, location).map(|()| Text::from_utf8(url.to_vec()).expect("a URL"))
}

#[test]
fn redirects_lead_where_rfc_3986_says() {
    let base = "https://h:8443/a/b/c?q=1#f";
    for (location, expected) in [
        ("http://x/", Err(HttpError(Says::Downgrade))),
        ("https://x/y#z", Ok("https://x/y")),
        ("//x:1/y", Ok("https://x:1/y")),
        ("/y?z", Ok("https://h:8443/y?z")),
        ("y", Ok("https://h:8443/a/b/y")),
        ("./y/", Ok("https://h:8443/a/b/y/")),
        ("../y?a:b", Ok("https://h:8443/a/y?a:b")),
        ("../../../../y", Ok("https://h:8443/y")),
        ("..", Ok("https://h:8443/a/")),
        ("/x/./../y/.", Ok("https://h:8443/y/")),
        ("?z", Ok("https://h:8443/a/b/c?z")),
        ("", Ok("https://h:8443/a/b/c?q=1")),
        ("//", Err(HttpError(Says::Url))),
        ("javascript:x", Err(HttpError(Says::Url))),
        ("https://u@x/", Err(HttpError(Says::Url))),
        ("/\r\nX: y", Err(HttpError(Says::Url))),
    ] {
        let found = led(base, location);
        assert_eq!(found.as_deref().map_err(|error| *error), expected, "{location:?}");
    }
    assert_eq!(led("http://h/", "https://h/").as_deref(), Ok("https://h/"));
    assert_eq!(led("http://[::1]:81", "x").as_deref(), Ok("http://[::1]:81/x"));
    assert_eq!(led("http://h?q", "").as_deref(), Ok("http://h?q"));
    assert_eq!(led("http://h?q", "?r").as_deref(), Ok("http://h/?r"));
    assert_eq!(led("http://h/a/../b/./c", "../d?../e").as_deref(), Ok("http://h/d?../e"));
    assert_eq!(led("http://h/", &"x".repeat(2040)), Err(HttpError(Says::LongLocation)));
}

#[test]
fn requests_are_written_line_by_line() {
    let expected = format!(
        "GET /f?s=1 HTTP/1.1\r\nHost: [::1]:81\r\nRange: bytes=5-\r\nIf-Range: \"a\"\r\nAccept-Encoding: identity\r\n\
         User-Agent: updraft/{}\r\nConnection: close\r\n\r\n",
        env!("CARGO_PKG_VERSION")
    );
    assert_eq!(written("http://[::1]:81/f?s=1", Range::From(5), Some("\"a\""), false), expected);
    let request = written("https://h:443", Range::Last(300), Some("\"a\"\r\nX: y"), true);
    assert!(request.starts_with("GET / HTTP/1.1\r\nHost: h\r\nRange: bytes=-300\r\nAccept"), "{request}");
    assert!(request.ends_with("Connection: keep-alive\r\n\r\n"), "{request}");
}

proptest! {
    /// However a body is chunked and split on its way, it arrives.
    #[test]
    fn bodies_arrive_whole(
        body in prop::collection::vec(any::<u8>(), 0..2000),
        chunk in 1_usize..600,
        splits in prop::collection::vec(1_usize..300, 1..20),
        chunked: bool,
    ) {
        let mut text = b"HTTP/1.1 200 OK\r\nETag: \"e\"\r\n".to_vec();
        if chunked {
            text.extend_from_slice(b"Transfer-Encoding: Chunked\r\n\r\n");
            for piece in body.chunks(chunk) {
                text.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
                text.extend_from_slice(piece);
                text.extend_from_slice(b"\r\n");
            }
            text.extend_from_slice(b"0\r\n\r\n");
        } else {
            text.extend_from_slice(format!("Content-Length: {}\r\n\r\n", body.len()).as_bytes());
            text.extend_from_slice(&body);
        }
        let mut pieces = Vec::new();
        let mut rest = text.as_slice();
        for at in splits.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (piece, after) = rest.split_at((*at).min(rest.len()));
            pieces.push(piece);
            rest = after;
        }
        let seen = read(pieces);
        prop_assert_eq!(seen.body, body);
        prop_assert!(seen.ended && seen.broken.is_none());
    }

    /// Anything at all is read to its end or refused, the same in whatever pieces.
    #[test]
    fn arbitrary_bytes_are_read_or_refused(
        start in prop::sample::select(vec!["", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"]),
        tail in prop::collection::vec(prop::sample::select(b"\r\n\0 \t:;0a5,zEt\"\xFF".to_vec()), 0..200),
        size in 1_usize..50,
    ) {
        let text = [start.as_bytes(), &tail].concat();
        let mut whole = read_whole(&text);
        let split = read(text.chunks(size));
        whole.left = split.left;
        prop_assert_eq!(split, whole);
    }

    /// A URL that was taken writes exactly the lines of a request.
    #[test]
    fn no_url_adds_a_line(text in "http://[a-z\\[\\]:@#?/.%\r\n \u{e9}]{0,30}", location in "[a-z:/?#.\r\n ]{0,20}") {
        for url in [Ok(text.clone()), led(&text, &location)] {
            let Some(url) = url.as_ref().ok().and_then(|url| Url::parse(url).ok()) else { continue };
            let mut request = Text::new();
            write_request(&url, Range::From(0), None, false, &mut request).expect("a string");
            prop_assert_eq!(request.matches('\n').count(), 7);
            prop_assert_eq!(request.matches(' ').count(), 7);
        }
    }
}
