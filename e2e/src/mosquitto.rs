//! An external broker: Mosquitto, with a user for the server and one for the devices.
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::command::Said;
use crate::mqtt::Endpoint;
use crate::process::{Process, free_port};
use crate::wait::until;

/// A running Mosquitto that keeps sessions and retained messages across restarts.
#[derive(Debug)]
pub struct Mosquitto {
    // First, so that its log is still there when it ends.
    process: Process,
    folder: TempDir,
    port: u16,
}

impl Mosquitto {
    /// Returns once it takes connections.
    pub async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let port = free_port();
        let place = folder.path().display();
        // `user root` keeps it from becoming a user who may not read its folder; it only acts when started as root.
        let configuration = format!(
            "user root\nlistener {port} 127.0.0.1\nallow_anonymous false\npassword_file {place}/passwords\n\
             persistence true\npersistence_location {place}/\nautosave_interval 1\nmax_queued_messages 0\n"
        );
        std::fs::write(folder.path().join("mosquitto.conf"), configuration).expect("it can be written");
        std::fs::write(folder.path().join("passwords"), "").expect("it can be written");
        for user in ["server", "devices"] {
            let mut command = Command::new("mosquitto_passwd");
            command.args(["-b".as_ref(), folder.path().join("passwords").as_os_str()]).args([user, "secret"]);
            Said::by(command).await.ok();
        }
        let process = run(folder.path());
        let broker = Self { process, folder, port };
        broker.ready().await;
        broker
    }

    /// For the server.
    pub fn server(&self) -> Endpoint {
        self.endpoint("server")
    }

    /// For devices.
    pub fn devices(&self) -> Endpoint {
        self.endpoint("devices")
    }

    /// Ends it as a power cut would.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again on the same port and folder.
    pub async fn start_again(&mut self) {
        self.process = run(self.folder.path());
        self.ready().await;
    }

    fn endpoint(&self, username: &str) -> Endpoint {
        Endpoint { port: self.port, username: username.into(), password: "secret".into() }
    }

    async fn ready(&self) {
        let port = self.port;
        until("mosquitto takes connections", || async move {
            tokio::net::TcpStream::connect(("127.0.0.1", port)).await.ok()
        })
        .await;
    }
}

fn run(folder: &Path) -> Process {
    let mut command = Command::new("mosquitto");
    command.arg("-c").arg(folder.join("mosquitto.conf"));
    Process::start("mosquitto", &mut command, folder)
}
