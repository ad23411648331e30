//! A device made of the programs that people have: mosquitto_pub and mosquitto_sub.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// A program of the Debian package, or the sentence that says what to install.
pub(crate) fn program(name: &str, package: &str) -> PathBuf {
    let places = ["/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin", "/opt/homebrew/bin"];
    let found = places.iter().map(|place| Path::new(place).join(name)).find(|path| path.exists());
    found.unwrap_or_else(|| panic!("this test needs {name}: apt-get install {package}"))
}

/// Waits for a condition, 60 s at most.
pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_mins(1), "waited 60 s: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A device made of mosquitto_pub and mosquitto_sub.
pub(crate) struct Device {
    pub(crate) port: u16,
    pub(crate) id: String,
    pub(crate) password: String,
}

impl Device {
    pub(crate) fn command(&self, program_name: &str, arguments: &[&str]) -> Command {
        // Line by line, though its output is a pipe.
        let mut command = Command::new(program("stdbuf", "coreutils"));
        command.arg("-oL").arg(program(program_name, "mosquitto-clients"));
        command.args(["-h", "127.0.0.1", "-p", &self.port.to_string()]);
        command.args(["-u", &self.id, "-P", &self.password]).args(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub(crate) async fn try_publish(&self, arguments: &[&str]) -> Output {
        let mut command = self.command("mosquitto_pub", arguments);
        tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
    }

    /// Publishes at QoS 1, MQTT 3.1.1, to `devices/{own id}/{what}`.
    pub(crate) async fn publish(&self, what: &str, payload: &str) {
        let topic = format!("devices/{}/{what}", self.id);
        let output = self.try_publish(&["-q", "1", "-t", &topic, "-m", payload]).await;
        assert!(output.status.success(), "{output:?}");
    }

    /// Publishes every line at once.
    pub(crate) async fn publish_lines(&self, what: &str, qos: &str, lines: String) {
        let topic = format!("devices/{}/{what}", self.id);
        let mut command = self.command("mosquitto_pub", &["-q", qos, "-t", &topic, "-l"]);
        command.stdin(Stdio::piped());
        let status = tokio::task::spawn_blocking(move || {
            let mut child = command.spawn().unwrap();
            child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
            child.wait().unwrap()
        });
        assert!(status.await.unwrap().success());
    }

    /// Subscribes, and returns once the broker has granted it.
    pub(crate) async fn listen(&self, filter: &str, arguments: &[&str]) -> Listener {
        let mut all = vec!["-q", "1", "-d", "-t", filter, "-F", "> %r %t %p"];
        all.extend_from_slice(arguments);
        let mut listener = Listener::new(self.command("mosquitto_sub", &all).spawn().unwrap());
        listener.line("Subscribed").await;
        listener
    }
}

/// A running mosquitto_sub; killed when dropped.
pub(crate) struct Listener {
    pub(crate) child: Child,
    lines: mpsc::Receiver<String>,
    pub(crate) heard: Vec<String>,
}

impl Listener {
    fn new(mut child: Child) -> Self {
        let (tell, lines) = mpsc::channel();
        let out = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                if tell.send(line).is_err() {
                    break;
                }
            }
        });
        Self { child, lines, heard: Vec::new() }
    }

    /// Waits for a line that contains this.
    pub(crate) async fn line(&mut self, text: &str) -> String {
        let start = Instant::now();
        loop {
            while let Ok(line) = self.lines.try_recv() {
                self.heard.push(line.clone());
                if line.contains(text) {
                    return line;
                }
            }
            assert!(start.elapsed() < Duration::from_secs(20), "no {text:?} in {:?}", self.heard);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits for a payload; one that came before counts.
    pub(crate) async fn payload(&mut self, text: &str) {
        let end = format!(" {text}");
        let start = Instant::now();
        while !self.messages().iter().any(|line| line.ends_with(&end)) {
            assert!(start.elapsed() < Duration::from_secs(20), "no {text:?} in {:?}", self.heard);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Payload lines so far.
    pub(crate) fn messages(&mut self) -> Vec<String> {
        while let Ok(line) = self.lines.try_recv() {
            self.heard.push(line);
        }
        self.heard.iter().filter(|line| line.starts_with("> ")).cloned().collect()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
