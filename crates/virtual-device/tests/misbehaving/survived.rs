//! Servers that are odd, or bad for a while: the device ends on the new image.

use std::time::Duration;

use crate::device::Case;
use crate::server::{Answer, Asked, File, Request, Step};

/// Bad as long as `is_bad`, then good.
fn until_good(
    is_bad: impl Fn(&Request) -> bool + Send + Sync + 'static,
    bad: impl Fn(&File, &Request) -> Vec<Step> + Send + Sync + 'static,
) -> impl Fn(&File, &Request) -> Vec<Step> + Send + Sync + 'static {
    move |file, request| if is_bad(request) { bad(file, request) } else { file.answer(request).sent() }
}

fn nth(expected: usize) -> impl Fn(&Request) -> bool + Send + Sync + 'static {
    move |request| request.nth == expected
}

#[tokio::test]
async fn a_good_server_is_asked_for_the_end_and_then_for_all() {
    let requests = Case::new("good", |file, request| file.answer(request).sent()).ends_well().await;
    assert_eq!(requests.len(), 2);
    assert!(requests[0].is_for_the_end());
    assert_eq!(requests[1].asked, Asked::From(0));
    assert!(requests.iter().all(|request| request.target.ends_with("/firmware.bin?signature=secret")));
}

#[tokio::test]
async fn a_slow_server_is_waited_for() {
    let pause = Duration::from_millis(1);
    Case::new("slow", move |file, request| vec![Step::Drip(file.answer(request).bytes(), 1000, pause)])
        .ends_well()
        .await;
    // A head in the smallest pieces, and all else at once.
    Case::new("slow head", move |file, request| {
        let answer = file.answer(request);
        vec![Step::Drip(answer.head(), 1, pause), Step::Send(answer.body)]
    })
    .ends_well()
    .await;
}

#[tokio::test]
async fn a_server_without_ranges_serves_all_the_same() {
    let requests = Case::new("200 for 206", |file, _| file.whole().sent()).ends_well().await;
    assert_eq!(requests.len(), 1, "what came was what was wanted in the end");
    let requests = Case::new("200 for 206, cut", |file, request| {
        let whole = file.whole();
        if request.nth == 0 { whole.cut(50_000, None) } else { whole.sent() }
    })
    .ends_well()
    .await;
    assert_eq!((requests.len(), requests[1].if_range.as_deref()), (2, Some("\"one\"")));
    for status in [416, 501] {
        Case::new("no ends", until_good(Request::is_for_the_end, move |_, _| Answer::new(status).sent()))
            .ends_well()
            .await;
    }
    Case::new("200 for the end", until_good(Request::is_for_the_end, |file, _| file.whole().sent()))
        .ends_well()
        .await;
}

#[tokio::test]
async fn a_wrong_part_is_not_taken() {
    for range in
        ["bytes 4096-98303/98304", "bytes 0-98303/98305", "lines 0-98303/98304", "bytes */98304", "nonsense"]
    {
        for bad in [0, 1] {
            let wrong = move |file: &File, request: &Request| {
                file.answer(request).field("Content-Range", range).sent()
            };
            Case::new(range, until_good(nth(bad), wrong)).ends_well().await;
        }
    }
    Case::new(
        "no Content-Range",
        until_good(nth(1), |file, request| file.answer(request).field("Content-Range", "").sent()),
    )
    .ends_well()
    .await;
}

#[tokio::test]
async fn a_reset_anywhere_costs_no_more_than_a_sector() {
    for at in [0, 1, 9, 40, 150, 200, 4000, 50_000, 90_000] {
        // The file's end is shorter than the last of these.
        for bad in if at <= 4000 { 0..2 } else { 1..2 } {
            let cut = move |file: &File, request: &Request| file.answer(request).cut(at, Some(Step::Reset));
            let requests = Case::new("reset", until_good(nth(bad), cut)).ends_well().await;
            assert_eq!(requests.len(), 3, "reset at {at} of answer {bad}");
            let (from, reached) = (requests[2].from(), if bad == 1 { at.saturating_sub(300) } else { 0 });
            assert!(from.is_multiple_of(4096) && from + 4096 > reached, "{from} after {at}");
        }
    }
}

#[tokio::test]
async fn a_body_that_is_too_short_is_completed_and_a_longer_one_cut() {
    let short = |file: &File, request: &Request| {
        let bytes = file.answer(request).bytes();
        vec![Step::Send(bytes[..bytes.len() - 1].to_vec())]
    };
    for bad in [0, 1] {
        let requests = Case::new("short", until_good(nth(bad), short)).ends_well().await;
        assert_eq!(requests.len(), 3);
    }
    Case::new("long", |file, request| {
        let mut bytes = file.answer(request).bytes();
        bytes.extend_from_slice(b"HTTP/1.1 200 OK\r\n\r\nand more");
        vec![Step::Send(bytes)]
    })
    .ends_well()
    .await;
}

#[tokio::test]
async fn parts_that_are_smaller_than_asked_for_are_put_together() {
    let requests = Case::new("small parts", |file, request| {
        let (total, from) = (file.bytes.len(), request.from());
        if request.is_for_the_end() {
            return file.answer(request).sent();
        }
        let end = total.min(from + 40_000);
        let range = format!("bytes {from}-{}/{total}", end - 1);
        file.answer(request).field("Content-Range", range).body(&file.bytes[from..end]).sent()
    })
    .ends_well()
    .await;
    assert_eq!(requests.len(), 4);
}

#[tokio::test]
async fn a_connection_that_stays_open_does_not_keep_the_device() {
    let requests = Case::new("open", |file, request| {
        vec![Step::Send(file.answer(request).field("Connection", "keep-alive").bytes()), Step::Hang]
    })
    .ends_well()
    .await;
    assert_eq!(requests.len(), 2, "it was not waited for until it stalled");
}

#[tokio::test]
async fn chunks_are_put_together() {
    for (size, extension) in [(1, ""), (1000, ";name=\"value\""), (200_000, " ; x")] {
        let chunked =
            move |file: &File, request: &Request| file.answer(request).chunked(size, extension).sent();
        Case::new("chunked", chunked).ends_well().await;
        let cut = move |file: &File, request: &Request| {
            file.answer(request).chunked(size, extension).cut(50_000, None)
        };
        let requests = Case::new("chunked, cut", until_good(nth(1), cut)).ends_well().await;
        assert_eq!(requests.len(), 3);
    }
    let broken = |file: &File, request: &Request| {
        let mut answer = file.answer(request).chunked(5000, "");
        answer.body[5006] = b'!';
        answer.sent()
    };
    Case::new("a broken chunk", until_good(nth(1), broken)).ends_well().await;
}

#[tokio::test]
async fn an_old_server_ends_the_body_by_closing() {
    Case::new("HTTP/1.0", |file, _| file.whole().line("HTTP/1.0 200 OK").field("Content-Length", "").sent())
        .ends_well()
        .await;
    Case::new("part until close", |file, request| file.answer(request).field("Content-Length", "").sent())
        .ends_well()
        .await;
}

#[tokio::test]
async fn interim_answers_and_long_heads_are_passed_over() {
    Case::new("1xx", |file, request| {
        let mut bytes =
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nContent-Length: 3\r\n\r\n".to_vec();
        bytes.extend(file.answer(request).bytes());
        vec![Step::Send(bytes)]
    })
    .ends_well()
    .await;
    Case::new("30 KB of head", |file, request| {
        file.answer(request).field("X-Padding", "x".repeat(30_000)).field("X-More", "y").sent()
    })
    .ends_well()
    .await;
}

#[tokio::test]
async fn tags_that_say_little_still_lead_to_the_end() {
    for tag in ["W/\"weak\"", ""] {
        let tagged = move |file: &File, request: &Request| {
            let answer = file.answer(request).field("ETag", tag);
            if request.nth == 1 { answer.cut(50_000, Some(Step::Reset)) } else { answer.sent() }
        };
        let requests = Case::new("weak or no tag", tagged).ends_well().await;
        assert!(requests.iter().all(|request| request.if_range.is_none()), "{tag:?}");
    }
}

/// Another file of another length, in place of the first from the third request on.
fn other() -> File {
    let mut build = image::build::Build::new(image::Chip::Esp32S3, "2.0.0");
    build.size_bytes = 80 * 1024;
    File { bytes: build.bytes().into(), etag: "\"two\"" }
}

#[tokio::test]
async fn a_file_that_changes_in_mid_download_is_begun_again() {
    // With `If-Range` obeyed, and with a server that knows no such thing.
    for obeys in [true, false] {
        let changing = move |file: &File, request: &Request| match request.nth {
            0 => file.answer(request).sent(),
            1 => file.answer(request).cut(50_000, Some(Step::Reset)),
            _ if obeys => other().answer(request).sent(),
            _ => other().answer(&Request { if_range: None, ..request.clone() }).sent(),
        };
        let requests = Case::new("changed", changing).ends_on(&other().bytes).await;
        assert_eq!(requests[2].if_range.as_deref(), Some("\"one\""));
    }
    // Between the end that was looked at and the download.
    let changing = |file: &File, request: &Request| {
        if request.nth == 0 { file.answer(request).sent() } else { other().answer(request).sent() }
    };
    Case::new("changed at once", changing).ends_on(&other().bytes).await;
}

#[tokio::test]
async fn redirects_are_followed() {
    let redirect = |status: u16, to: String| Answer::new(status).field("Location", to).body(b"moved").sent();
    let elsewhere = |request: &Request| request.target.contains("/there");
    for status in [301, 302, 303, 307, 308] {
        Case::new(
            "absolute",
            until_good(
                move |request| !elsewhere(request),
                move |_, request| redirect(status, format!("http://{}/there?signature=secret", request.host)),
            ),
        )
        .ends_well()
        .await;
    }
    for to in ["/there?x", "../../there", "there", "//{host}/there#part", "./there/", "?/there"] {
        let requests = Case::new(
            to,
            until_good(
                move |request| !elsewhere(request),
                move |_, request| redirect(302, to.replace("{host}", &request.host)),
            ),
        )
        .ends_well()
        .await;
        assert_eq!(requests.len(), 3, "{to}");
    }
    let other_host = |request: &Request| !request.host.starts_with("localhost");
    Case::new(
        "another host",
        until_good(other_host, move |_, request| {
            redirect(302, format!("http://{}/there", request.host.replace("127.0.0.1", "localhost")))
        }),
    )
    .ends_well()
    .await;
    let requests = Case::new(
        "2 KB",
        until_good(
            move |request| !elsewhere(request),
            move |_, request| {
                let start = format!("http://{}/there?", request.host);
                redirect(302, format!("{start}{}", "x".repeat(2048 - start.len())))
            },
        ),
    )
    .ends_well()
    .await;
    assert!(requests[1].target.len() > 2000);
}

#[tokio::test]
async fn a_url_that_expires_in_mid_download_is_replaced() {
    let expiring = |file: &File, request: &Request| {
        let fresh = request.target.contains("fresh");
        match request.nth {
            0 => file.answer(request).sent(),
            1 => file.answer(request).cut(50_000, Some(Step::Reset)),
            _ if fresh => file.answer(request).sent(),
            _ => Answer::new(403).body(b"<Error>Request has expired</Error>").sent(),
        }
    };
    let mut case = Case::new("expired", expiring);
    case.fresh = Some(|url| format!("{url}&fresh"));
    let requests = case.ends_well().await;
    assert!(requests[3].from() > 40_000, "it went on where it was");
}

#[tokio::test]
async fn a_server_that_is_down_for_a_while_is_asked_again() {
    for status in [408, 429, 500, 502, 503, 504] {
        let down = move |_: &File, _: &Request| Answer::new(status).body(b"later").sent();
        Case::new("down", until_good(|request| request.nth < 2, down)).ends_well().await;
    }
    let gone = |_: &File, _: &Request| Answer::new(416).sent();
    Case::new("416 once", until_good(nth(1), gone)).ends_well().await;
}
