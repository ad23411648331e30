use api::{Blocking, Channel, CheckAnswer, Device, Judgement, Promotion};

use super::*;
use crate::http::tests::{Canned, answer, hasty, problem};

const JSON: &str = "content-type: application/json\r\n";
const PAGE: &str = "content-type: text/html; charset=utf-8\r\n";

fn client(server: &Canned) -> ApiClient {
    ApiClient::new(&server.url, Some("s3cr3t")).expect("a client")
}

fn promotion() -> Promotion {
    Promotion { version: "1.0.0".parse().expect("a version") }
}

async fn ask_after(answers: &[String]) -> (String, usize) {
    let server = Canned::start(answers);
    let error = client(&server).get::<Page<Device>>(&["devices"], &()).await.expect_err("no such answer");
    let address = address(&server.url);
    (error.to_string().replace(&address, "SERVER"), server.heads().len())
}

#[tokio::test]
async fn what_answers_otherwise_than_a_server_is_told_in_a_sentence() {
    for (answer, sentence) in [
        (
            answer("200 OK", PAGE, "<html>Welcome to the hotel</html>"),
            "What answers at SERVER is not an Updraft server: it answered 200 OK with a page for browsers. Put the server's \
             own address into --server, and see whether a proxy or a login stands before it.",
        ),
        (
            answer("404 Not Found", PAGE, "<html>nginx</html>"),
            "What answers at SERVER is not an Updraft server: it answered 404 Not Found with a page for browsers. Put the \
             server's own address into --server, and see whether a proxy or a login stands before it.",
        ),
        (
            answer("200 OK", JSON, "[]"),
            "What answers at SERVER is not an Updraft server: it answered 200 OK with something else than this request's \
             answer. Put the server's own address into --server, and see whether a proxy or a login stands before it.",
        ),
        (
            answer("502 Bad Gateway", PAGE, "<html>nginx</html>"),
            "The server at SERVER answered 502 Bad Gateway.",
        ),
        (
            answer("302 Found", "location: https://portal.example/login?to=s3cr3t\r\n", ""),
            "What answers at SERVER redirects to https://portal.example. That is not followed, since the token would go there \
             too: put the server's real address into --server.",
        ),
        (
            answer("401 Unauthorized", "", ""),
            "The server at SERVER does not know this token, or it has ended.",
        ),
        (
            problem("401 Unauthorized", "", "This token has ended, since the configuration was changed."),
            "The server at SERVER does not take this token: This token has ended, since the configuration was changed.",
        ),
        (problem("409 Conflict", "", "1.0.0 is blocked."), "1.0.0 is blocked."),
    ] {
        assert_eq!(ask_after(&[answer]).await, (sentence.to_owned(), 1));
    }
}

#[tokio::test]
async fn nothing_is_believed_to_be_done_unless_the_answer_says_just_that() {
    for answer in [
        answer("200 OK", "", ""),
        answer("200 OK", PAGE, "<html></html>"),
        answer("200 OK", JSON, "{}"),
        answer("202 Accepted", "", ""),
    ] {
        let server = Canned::start(std::slice::from_ref(&answer));
        let client = client(&server);
        assert!(client.set(&["x"], &Blocking::default()).await.is_err(), "{answer}");
        assert!(client.delete(&["x"]).await.is_err(), "{answer}");
        assert!(client.put::<Channel>(&["x"], &promotion()).await.is_err(), "{answer}");
    }
    let server = Canned::start(&["HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n".to_owned()]);
    client(&server).delete(&["x"]).await.expect("done");
}

#[tokio::test]
async fn only_what_can_be_asked_twice_is_asked_again() {
    let busy = problem("503 Service Unavailable", "retry-after: 0\r\n", "busy");
    let server = Canned::start(&[busy.clone(), answer("200 OK", JSON, "{\"name\":\"x\"}")]);
    client(&server).put::<Channel>(&["x"], &promotion()).await.expect("done at last");
    let server = Canned::start(&[busy]);
    let error = client(&server).post::<CheckAnswer>(&["x"], &()).await.expect_err("busy");
    assert_eq!((error.to_string().as_str(), server.heads().len()), ("busy", 1));
}

#[tokio::test]
async fn what_goes_on_is_told_and_not_asked_for_again() {
    let goes_on = problem("503 Service Unavailable", "", "it goes on: look again in a minute");
    let server = Canned::start(&[goes_on]);
    let error = client(&server).delete(&["x"]).await.expect_err("it goes on");
    let error = (error.to_string(), server.heads().len());
    assert_eq!(error, ("it goes on: look again in a minute".to_owned(), 1));
}

#[tokio::test]
async fn a_list_without_an_end_is_given_up() {
    let page = r#"{"items": [], "next": "again"}"#;
    let server = Canned::start(&[answer("200 OK", JSON, page)]);
    let error = client(&server).list::<Device>(&["devices"], &()).await.expect_err("no end");
    assert!(error.to_string().contains("has no end"), "{error}");
}

#[tokio::test]
async fn a_refusal_is_told_although_the_answer_was_lost_on_its_way() {
    let page = answer("200 OK", PAGE, "<html></html>");
    let portal = answer("302 Found", "location: https://portal.example/\r\n", "");
    for (said, words) in [
        (problem("401 Unauthorized", "", "it was revoked"), "does not take this token: it was revoked"),
        (problem("403 Forbidden", "", "a viewer may not publish"), "a viewer may not publish"),
        (page, "is not an Updraft server"),
        (portal, "redirects to https://portal.example."),
        (problem("400 Bad Request", "", "the body is empty"), "ended the connection without an answer"),
        (answer("200 OK", JSON, "{}"), "ended the connection without an answer"),
    ] {
        let (url, task) = hasty(said);
        let client = ApiClient::new(&url, Some("s3cr3t")).expect("a client");
        let (image, bar) = (Bytes::from(vec![0xE9; 16 << 20]), ProgressBar::hidden());
        let upload = Upload { image: &image, bar: &bar };
        let error =
            client.upload::<Judgement>(&["x"], &(), &upload).await.expect_err("not taken").to_string();
        assert!(error.contains(words), "{error}");
        task.abort();
    }
}
