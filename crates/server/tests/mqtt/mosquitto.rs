//! A real Mosquitto on loopback.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::SystemTime;

use contract::VersionTopic;
use updraft_server::mqtt::{BrokerAddress, Mqtt, MqttOptions};

use crate::device::{Device, program, until};
use crate::rig::{Recorder, receive, up};

/// Passwords for the server and for the device `a`.
pub(crate) struct Mosquitto {
    child: Child,
    folder: tempfile::TempDir,
    pub(crate) port: u16,
}

impl Mosquitto {
    pub(crate) fn new() -> Self {
        Self::with_rights(None)
    }

    /// With an access list.
    pub(crate) fn with_rights(rights: Option<&str>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let path = folder.path().display();
        let user = std::env::var("USER").unwrap_or_else(|_| "root".to_owned());
        let acl = folder.path().join("acl");
        let acl_file = rights.map(|_| format!("acl_file {}\n", acl.display())).unwrap_or_default();
        std::fs::write(&acl, rights.unwrap_or_default()).unwrap();
        let text = format!(
            "listener {port} 127.0.0.1\nallow_anonymous false\npassword_file {path}/passwords\nuser {user}\n\
             persistence true\npersistence_location {path}/\nautosave_interval 1\n\
             max_queued_messages 0\n{acl_file}"
        );
        std::fs::write(folder.path().join("conf"), text).unwrap();
        let passwords = folder.path().join("passwords");
        std::fs::write(&passwords, "server:p@ss/w+rd\na:secret-a\n").unwrap();
        let hashed =
            Command::new(program("mosquitto_passwd", "mosquitto")).arg("-U").arg(&passwords).status();
        assert!(hashed.unwrap().success());
        let child = Self::run(&folder);
        Self { child, folder, port }
    }

    fn run(folder: &tempfile::TempDir) -> Child {
        let mut command = Command::new(program("mosquitto", "mosquitto"));
        command.arg("-c").arg(folder.path().join("conf")).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().unwrap()
    }

    /// Waits until what it knows now is on the disk: it saves once a second.
    pub(crate) async fn saved(&self) {
        let (file, now) = (self.folder.path().join("mosquitto.db"), SystemTime::now());
        let is_newer = || file.metadata().and_then(|file| file.modified()).is_ok_and(|saved| saved > now);
        until("Mosquitto saved", is_newer).await;
    }

    /// Gives it another access list, which it reads at once.
    pub(crate) fn grant(&self, rights: &str) {
        std::fs::write(self.folder.path().join("acl"), rights).unwrap();
        let told = Command::new("kill").args(["-HUP", &self.child.id().to_string()]).status();
        assert!(told.unwrap().success());
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) async fn restart(&mut self) {
        self.child = Self::run(&self.folder);
        let port = self.port;
        until("Mosquitto answers", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()).await;
    }

    pub(crate) fn options(&self) -> MqttOptions {
        let url = format!("mqtt://server:p%40ss%2Fw+rd@127.0.0.1:{}", self.port).parse().unwrap();
        MqttOptions {
            broker: BrokerAddress::External(url),
            version_topic: VersionTopic::default(),
            client_id: "updraft".to_owned(),
        }
    }

    pub(crate) async fn start(&self, recorder: &Arc<Recorder>) -> Mqtt {
        let mqtt = receive(self.options(), recorder.clone());
        up(&mqtt).await;
        mqtt
    }

    pub(crate) fn device(&self) -> Device {
        Device { port: self.port, id: "a".to_owned(), password: "secret-a".to_owned() }
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
