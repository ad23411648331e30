//! Servers that stay bad: the device says why and stays what it was.

use contract::Code;

use crate::device::{Case, RETRIES};
use crate::server::{Answer, File, Request, Step};

pub(crate) fn given_up(why: &str) -> String {
    format!("given up after {} tries: {why}", RETRIES + 1)
}

/// The end is served well, so that what is bad is met in the download itself too.
fn in_the_download(
    bad: impl Fn(&File, &Request) -> Vec<Step> + Send + Sync + 'static,
) -> impl Fn(&File, &Request) -> Vec<Step> + Send + Sync + 'static {
    move |file, request| {
        if request.is_for_the_end() { file.answer(request).sent() } else { bad(file, request) }
    }
}

/// Fails alike whether it is bad from the start or only once the end was seen.
async fn fails_at_once_and_later(
    name: &'static str,
    bad: impl Fn(&File, &Request) -> Vec<Step> + Send + Sync + Clone + 'static,
    words: &str,
    code: Code,
) {
    Case::new(name, bad.clone()).fails(words, code).await;
    Case::new(name, in_the_download(bad)).fails(words, code).await;
}

#[tokio::test]
async fn answers_that_no_waiting_mends_end_it_at_once() {
    for status in [400, 404, 405, 410] {
        let said = move |_: &File, _: &Request| Answer::new(status).body(b"<html>no</html>").sent();
        let words = format!("the server answered {status}");
        let requests = Case::new("status", said).fails(&words, Code::ServerError).await;
        assert_eq!(requests.len(), 1);
        Case::new("status", in_the_download(said)).fails(&words, Code::ServerError).await;
    }
    let gzip = |file: &File, request: &Request| {
        file.answer(request).field("Content-Encoding", "gzip").body(b"\x1f\x8b\x08").sent()
    };
    fails_at_once_and_later("gzip", gzip, "the server compressed the file", Code::ServerError).await;
}

#[tokio::test]
async fn servers_that_stay_down_are_given_up() {
    for status in [500, 503] {
        let down = move |_: &File, _: &Request| Answer::new(status).sent();
        let words = given_up(&format!("the server answered {status}"));
        let requests = Case::new("down", down).fails(&words, Code::ConnectionLost).await;
        assert_eq!(requests.len(), usize::from(RETRIES) + 1);
        Case::new("down", in_the_download(down)).fails(&words, Code::ConnectionLost).await;
    }
    let none = |_: &File, _: &Request| Answer::new(416).sent();
    let words = given_up("the server does not have this part");
    fails_at_once_and_later("416", none, &words, Code::ConnectionLost).await;
}

#[tokio::test]
async fn connections_that_always_break_are_given_up() {
    let reset = |file: &File, request: &Request| file.answer(request).cut(30, Some(Step::Reset));
    let words = given_up("the connection was lost: ");
    fails_at_once_and_later("reset", reset, &words, Code::ConnectionLost).await;
    let closed = |file: &File, request: &Request| file.answer(request).cut(30, None);
    let words = given_up("the connection closed too early");
    fails_at_once_and_later("closed", closed, &words, Code::ConnectionLost).await;
    let mut nobody = Case::new("nobody", |_, _| Vec::new());
    nobody.url = |_| {
        let closed = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        format!("http://{}/firmware.bin", closed.local_addr().expect("bound"))
    };
    nobody.fails(&given_up("the connection was lost: Connection refused"), Code::ConnectionLost).await;
}

#[tokio::test]
async fn what_is_not_http_is_given_up() {
    for garbage in
        [&b"SSH-2.0-OpenSSH_9.2\r\n"[..], b"\x15\x03\x01\x00\x02\x02\x46", b"\r\n\r\n", b"HTTP/2 200\r\n\r\n"]
    {
        let said = |_: &File, _: &Request| vec![Step::Send(garbage.to_vec())];
        let words = given_up("the server does not answer in HTTP");
        fails_at_once_and_later("garbage", said, &words, Code::ConnectionLost).await;
    }
}

#[tokio::test]
async fn heads_without_end_and_lengths_without_sense_are_given_up() {
    let padded =
        |file: &File, request: &Request| file.answer(request).field("X-Padding", "x".repeat(100_000)).sent();
    let words = given_up("the response's head is too long");
    fails_at_once_and_later("100 KB", padded, &words, Code::ConnectionLost).await;
    let two = |file: &File, request: &Request| file.answer(request).field("content-length", "1").sent();
    let words = given_up("the response's length is unclear");
    fails_at_once_and_later("two lengths", two, &words, Code::ConnectionLost).await;
    let broken = |file: &File, request: &Request| {
        let mut answer = file.answer(request).chunked(3000, "");
        answer.body[0] = b'x';
        answer.sent()
    };
    let words = given_up("the response's chunks are malformed");
    fails_at_once_and_later("chunk", broken, &words, Code::ConnectionLost).await;
    let coded = |file: &File, request: &Request| {
        file.answer(request).field("Content-Length", "").field("Transfer-Encoding", "gzip, chunked").sent()
    };
    let words = given_up("the response's coding is unknown");
    fails_at_once_and_later("coding", coded, &words, Code::ConnectionLost).await;
}

#[tokio::test]
async fn parts_that_are_never_the_right_ones_are_given_up() {
    let shifted = |file: &File, request: &Request| {
        file.answer(request).field("Content-Range", "bytes 8192-98303/98304").sent()
    };
    let words = given_up("the server sent another part");
    fails_at_once_and_later("start", shifted, &words, Code::ConnectionLost).await;
    let lines =
        |file: &File, request: &Request| file.answer(request).field("Content-Range", "lines 0-1/2").sent();
    let words = given_up("the server sent a part and not which");
    fails_at_once_and_later("unit", lines, &words, Code::ConnectionLost).await;
    let huge = |file: &File, request: &Request| {
        let Some(start) = file.bytes.len().checked_sub(file.answer(request).body.len()) else {
            return Vec::new();
        };
        file.answer(request).field("Content-Range", format!("bytes {start}-98303/4000000000")).sent()
    };
    Case::new("total", in_the_download(huge)).fails("the image is too large: ", Code::TooLarge).await;
    let longer = |file: &File, request: &Request| {
        let mut answer = file.answer(request);
        answer.body.extend_from_slice(b"more");
        answer.field("Content-Length", "").sent()
    };
    let words = "the server sent more than announced";
    Case::new("long body", in_the_download(longer)).fails(words, Code::ServerError).await;
    Case::new("long end", longer).fails(&given_up(words), Code::ConnectionLost).await;
}

#[tokio::test]
async fn a_file_that_never_stays_the_same_is_given_up() {
    let changing = |file: &File, request: &Request| {
        file.answer(&Request { if_range: None, ..request.clone() })
            .field("ETag", format!("\"{}\"", request.nth))
            .cut(20_000, Some(Step::Reset))
    };
    Case::new("changing", in_the_download(changing))
        .fails("given up after 4 tries: ", Code::ConnectionLost)
        .await;
}

#[tokio::test]
async fn redirects_that_lead_nowhere_are_not_followed() {
    let redirect =
        |to: &'static str| move |_: &File, _: &Request| Answer::new(302).field("Location", to).sent();
    let words = "the server redirected more than 5 times";
    let requests = Case::new("loop", redirect("/again")).fails(words, Code::ServerError).await;
    assert_eq!(requests.len(), 6);
    Case::new("loop", in_the_download(redirect("?"))).fails(words, Code::ServerError).await;
    for to in ["ftp://127.0.0.1/x", "http://user@127.0.0.1/", "http://", "javascript:x"] {
        let words = "the URL cannot be fetched";
        Case::new(to, redirect(to)).fails(words, Code::ServerError).await;
    }
    Case::new("nowhere", |_, _| Answer::new(302).sent())
        .fails("the server answered 302", Code::ServerError)
        .await;
    let long =
        |_: &File, _: &Request| Answer::new(302).field("Location", format!("/{}", "x".repeat(3000))).sent();
    let words = "the server redirects to a URL that is too long";
    assert_eq!(Case::new("long", long).fails(words, Code::ServerError).await.len(), 1);
    let relative =
        |_: &File, _: &Request| Answer::new(302).field("Location", format!("/{}", "x".repeat(2040))).sent();
    Case::new("long in the end", relative).fails(words, Code::ServerError).await;
}

#[tokio::test]
async fn urls_that_stay_expired_are_given_up() {
    let expired = |_: &File, _: &Request| Answer::new(403).sent();
    let words = "the server answered 403, and no fresh URL came";
    fails_at_once_and_later("403", expired, words, Code::UrlExpired).await;
    let mut case = Case::new("403 for the fresh one too", expired);
    case.fresh = Some(|url| format!("{url}&fresh"));
    let requests = case.fails(words, Code::UrlExpired).await;
    assert_eq!(requests.len(), 3);
}
