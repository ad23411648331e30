//! Mosquitto's command-line clients: MQTT spoken by somebody else's code.
use std::path::Path;
use std::process::Command;

use crate::command::Said;
use crate::process::Process;
use crate::wait::until;

/// A broker on this machine, and who one is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Its port.
    pub port: u16,
    /// User name.
    pub username: String,
    /// Password.
    pub password: String,
}

impl Endpoint {
    /// `mqtt://user:password@host:port`.
    pub fn url(&self) -> String {
        format!("mqtt://{}:{}@127.0.0.1:{}", self.username, self.password, self.port)
    }

    /// `mqtt://host:port`.
    pub fn address(&self) -> String {
        format!("mqtt://127.0.0.1:{}", self.port)
    }

    fn client(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.args(["-h", "127.0.0.1", "-p", &self.port.to_string()]);
        command.args(["-u", &self.username, "-P", &self.password, "-q", "1"]);
        command
    }

    /// Publishes at QoS 1; what `mosquitto_pub` said. More of its options can be given (`-r`, `-V 5`, a last will).
    pub async fn publish(&self, topic: &str, payload: &str, options: &[&str]) -> Said {
        let mut command = self.client("mosquitto_pub");
        command.args(["-t", topic, "-m", payload]).args(options);
        Said::by(command).await
    }

    /// Subscribes, and returns once the broker has answered (granted or not).
    pub async fn subscribe(&self, name: &str, topic: &str, options: &[&str], folder: &Path) -> Subscription {
        let mut command = Command::new("stdbuf");
        let client = self.client("mosquitto_sub");
        command.arg("-oL").arg(client.get_program()).args(client.get_args());
        command.args(["-v", "-d", "-t", topic]).args(options);
        let subscription = Subscription { process: Process::start(name, &mut command, folder) };
        until(&format!("an answer to {name}'s SUBSCRIBE"), || async {
            let log = subscription.process.log();
            (log.contains("SUBACK") || log.contains("Subscribed") || log.contains("Connection error"))
                .then_some(())
        })
        .await;
        subscription
    }
}

/// A running `mosquitto_sub`.
#[derive(Debug)]
pub struct Subscription {
    process: Process,
}

impl Subscription {
    /// What it received and was told, one line each; a message is `topic payload`.
    pub fn lines(&self) -> Vec<String> {
        self.process.log().lines().map(str::to_owned).collect()
    }

    /// The payloads received on a topic so far.
    pub fn payloads(&self, topic: &str) -> Vec<String> {
        let prefix = format!("{topic} ");
        self.lines().iter().filter_map(|line| line.strip_prefix(&prefix)).map(str::to_owned).collect()
    }

    /// Waits for the first payload on a topic.
    pub async fn first(&self, topic: &str) -> String {
        until(&format!("a message on {topic}"), || async { self.payloads(topic).into_iter().next() }).await
    }
}
