//! The same through a server with a token: the server is killed and started again, or the command is and the server goes on.
use std::cell::RefCell;

use e2e::command::{Said, updraft};
use e2e::images::Workshop;
use e2e::server::{Server, Setup};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::reader::Reader;
use super::shop::{Case, REQUESTS_MAX, Shop, is_all, kills, spawn};
use super::toll::{Ended, Kill, Toll};

/// Without `KILLS=all` every fifth of about 45 requests: a server that starts again takes a second.
const STRIDE: usize = 5;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Victim {
    Server,
    Command,
}

struct Served {
    shop: Shop,
    toll: Toll,
    server: Server,
    token: String,
}

impl Served {
    async fn open(workshop: &Workshop) -> Self {
        let shop = Shop::open(workshop).await;
        let toll = Toll::start(&shop.bucket).await;
        let mut env = shop.bucket.env();
        // What is counted is the command's, and not what the server looks for by itself.
        env.push(("UPDRAFT_STORE__REFRESH_S".to_owned(), "3600".to_owned()));
        let store = Some(shop.bucket.url_through(toll.port()));
        let server = Server::with(Setup { store, env, ..Setup::default() }).await;
        let token = server.new_token("ci", "ci").await;
        Self { shop, toll, server, token }
    }

    fn publish(&self, product: &str, server: &str) -> std::process::Command {
        let image = self.shop.new.display().to_string();
        let mut command =
            updraft(["publish", &image, "-p", product, "--promote", "--json", "--server", server]);
        command.env("UPDRAFT_TOKEN", &self.token);
        command
    }

    async fn again(&self, product: &str, case: &str) {
        let again = Said::by(self.publish(product, &self.server.url(""))).await;
        assert_eq!(again.code, Some(0), "{case}, then run again: {again:?}\n{}", self.server.log());
        self.shop.is_done(product, &format!("{case}, then run again")).await;
    }

    /// Kills at the server's nth request to its bucket, and runs the command again, with a reader beside it.
    async fn case(&mut self, victim: Victim, request: usize, kill: Kill) -> Case {
        let product = format!("lamp-{request}-{}", kill.name());
        let case = format!("{victim:?} killed at request {request}, which was {kill:?}");
        self.shop.begin(&product).await;
        let reader = Reader::start(&self.shop, &product, &case).await;
        self.toll.arm(request, kill);
        let mut child = spawn(self.publish(&product, &self.server.url("")));
        let is_killed = match (self.toll.end(&mut child).await, victim) {
            (Ended::Due(request_waits), Victim::Server) => {
                self.server.kill();
                drop(request_waits);
                if child.wait().await.unwrap().success() {
                    self.shop.is_done(&product, &format!("{case}, after it was said to be done")).await;
                }
                self.server.start_again().await;
                true
            }
            (Ended::Due(_request_waits), Victim::Command) => {
                child.kill().await.expect("it can be killed");
                true
            }
            (Ended::Before(status), _) => {
                assert!(status.success(), "{case}: it ended before, by itself: {status}");
                false
            }
        };
        self.again(&product, &case).await;
        Case { is_killed, reads: reader.stop().await }
    }

    /// Kills the command when the server has so many bytes of what it sends.
    async fn case_of_a_part(&self, bytes: u64) {
        let product = format!("lamp-part-{bytes}");
        let case = format!("Command killed after {bytes} bytes");
        self.shop.begin(&product).await;
        let reader = Reader::start(&self.shop, &product, &case).await;
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let front = format!("http://{}", listener.local_addr().unwrap());
        let mut child = spawn(self.publish(&product, &front));
        let (near, _) = listener.accept().await.unwrap();
        let port = self.server.url("").rsplit_once(':').unwrap().1.parse().unwrap();
        let mut far = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let passed = tokio::io::copy(&mut near.take(bytes), &mut far).await.unwrap();
        far.flush().await.unwrap();
        assert_eq!(passed, bytes, "{case}: it sends more than that");
        child.kill().await.expect("it runs still: there is more to send");
        drop(far);
        self.again(&product, &case).await;
        reader.stop().await;
    }
}

/// Until a publish ends before; how many kills there were.
async fn kill_each(victim: Victim, cases: impl Iterator<Item = (usize, Kill)>) -> usize {
    let (workshop, cases) = (Workshop::open(), RefCell::new(cases));
    let one = async || {
        let mut served = Served::open(&workshop).await;
        let (mut killed, mut reads) = (0, 0);
        loop {
            let (request, kill) = cases.borrow_mut().next().expect("a publish ends");
            let case = served.case(victim, request, kill).await;
            reads += case.reads;
            if !case.is_killed {
                println!("{victim:?}: {killed} kills before request {request}, {reads} reads");
                return killed;
            }
            killed += 1;
        }
    };
    // Each with a bucket of its own, which stays small: a server that starts reads all of it.
    let (first, second, third) = tokio::join!(one(), one(), one());
    first + second + third
}

fn some_requests() -> impl Iterator<Item = usize> {
    (1..REQUESTS_MAX).step_by(if is_all() { 1 } else { STRIDE })
}

#[tokio::test]
async fn a_server_killed_at_every_request_leaves_only_whole_images_and_the_command_is_run_again() {
    let killed = kill_each(Victim::Server, kills(some_requests())).await;
    assert!(killed >= 4, "a publish with its promotion asks for more than that: {killed}");
}

/// The server may still be at it when the command is run again.
#[tokio::test]
async fn a_command_killed_at_every_request_of_its_server_is_run_again() {
    let cases = some_requests().map(|request| (request, Kill::Answered));
    let killed = kill_each(Victim::Command, cases).await;
    assert!(killed >= 4, "a publish with its promotion asks for more than that: {killed}");
}

#[tokio::test]
async fn a_command_killed_while_it_sends_the_image_is_run_again() {
    let workshop = Workshop::open();
    let served = Served::open(&workshop).await;
    for bytes in [1, 100, 2_000, 60_000, 119_999] {
        served.case_of_a_part(bytes).await;
    }
}
