//! Servers that keep a device waiting: none does so for ever.

use std::time::Duration;

use contract::Code;

use crate::device::Case;
use crate::server::{File, Request, Step};

fn impatient(
    name: &'static str,
    manner: impl Fn(&File, &Request) -> Vec<Step> + Send + Sync + 'static,
) -> Case {
    let mut case = Case::new(name, manner);
    case.settings = |settings| (settings.stall_ms, settings.retries) = (300, 1);
    case
}

#[tokio::test]
async fn a_silent_server_is_given_up() {
    let words = "given up after 2 tries: the server was silent for ";
    for at in [0, 5, 100, 10_000] {
        for spares_the_end in [false, true] {
            let silent = move |file: &File, request: &Request| {
                let answer = file.answer(request);
                if spares_the_end && request.is_for_the_end() {
                    return answer.sent();
                }
                // Always the same, so that no second try gets further.
                answer.cut(at.min(answer.head().len() + 2000), Some(Step::Hang))
            };
            impatient("silent", silent).fails(words, Code::ConnectionLost).await;
        }
    }
}

#[tokio::test]
async fn a_server_that_was_silent_once_is_forgiven() {
    impatient("silent once", |file, request| {
        let answer = file.answer(request);
        if request.nth == 1 { answer.cut(50_000, Some(Step::Hang)) } else { answer.sent() }
    })
    .ends_well()
    .await;
}

#[tokio::test]
async fn a_trickle_is_given_up() {
    let words = "given up after 2 tries: the server sent next to nothing for minutes";
    let pause = Duration::from_millis(20);
    for spares_the_end in [false, true] {
        for trickles_head in [false, true] {
            let trickling = move |file: &File, request: &Request| {
                let answer = file.answer(request);
                if spares_the_end && request.is_for_the_end() {
                    return answer.sent();
                }
                if trickles_head {
                    return vec![Step::Drip(answer.field("X-Padding", "x".repeat(9000)).bytes(), 1, pause)];
                }
                vec![Step::Send(answer.head()), Step::Drip(answer.body, 1, pause)]
            };
            impatient("trickle", trickling).fails(words, Code::ConnectionLost).await;
        }
    }
}
