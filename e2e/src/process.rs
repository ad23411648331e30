//! Processes that end with their owner.
use std::fs::File;
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};

const LOG_LINES_SHOWN: usize = 80;

/// Who reads what a process says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Reader {
    /// It goes into a file, for the test.
    #[default]
    File,
    /// Nobody any more, as with `| head`: writing fails.
    Gone,
    /// Somebody who does not go on: once a pipe is full, writing waits for ever.
    Stopped,
}

/// A running process, in a process group of its own so that what it starts ends with it.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
    is_gone: bool,
}

impl Process {
    /// Starts a process; what it says goes to `{folder}/{name}.log`, after what is there already.
    pub fn start(name: &str, command: &mut Command, folder: &Path) -> Self {
        Self::start_read_by(Reader::File, name, command, folder)
    }

    /// Starts a process with somebody else who reads what it says, or does not.
    pub fn start_read_by(reader: Reader, name: &str, command: &mut Command, folder: &Path) -> Self {
        let log = folder.join(format!("{name}.log"));
        let open = || match reader {
            Reader::File => {
                File::options().create(true).append(true).open(&log).expect("a log can be opened").into()
            }
            Reader::Gone | Reader::Stopped => Stdio::piped(),
        };
        let mut child = command
            .stdin(Stdio::null())
            .stdout(open())
            .stderr(open())
            .process_group(0)
            .spawn()
            .unwrap_or_else(|error| panic!("{name} does not start: {error}; `scripts/test e2e` installs it"));
        if reader == Reader::Gone {
            drop((child.stdout.take(), child.stderr.take()));
        }
        Self { name: name.to_owned(), child, log, is_gone: false }
    }

    /// All it said so far, on both streams.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Its exit code, once it ended by itself.
    pub fn exit_code(&mut self) -> Option<i32> {
        self.child.try_wait().ok().flatten().and_then(|status| status.code())
    }

    /// The process's id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Ends it as a power cut would (SIGKILL), with all it started, and waits until it is gone.
    pub fn kill(&mut self) {
        if self.is_gone {
            return; // its id may be another's by now
        }
        self.is_gone = true;
        let group = format!("kill -KILL -- -{}", self.child.id());
        let _ = Command::new("bash").args(["-c", &group]).stderr(Stdio::null()).status();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let ended = self.child.try_wait().ok().flatten();
        self.kill();
        if std::thread::panicking() {
            let state = ended.map_or("was running".to_owned(), |status| format!("had ended: {status}"));
            let log = self.log();
            let skipped = log.lines().count().saturating_sub(LOG_LINES_SHOWN);
            let shown: Vec<_> = log.lines().skip(skipped).collect();
            eprintln!(
                "--- {} ({}) {state}; it said ({skipped} lines above) ---\n{}\n",
                self.name,
                self.child.id(),
                shown.join("\n")
            );
        }
    }
}

/// A free port of the loopback interface, below the range that outgoing connections take theirs from, so that
/// none of those takes it before its owner does.
pub fn free_port() -> u16 {
    const FIRST: u16 = 15_000;
    const COUNT: u16 = 15_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Tests run as processes side by side: each begins somewhere else.
    let start = u16::try_from(std::process::id().wrapping_mul(61) % u32::from(COUNT)).expect("below COUNT");
    for _ in 0..COUNT {
        let port = FIRST + (start + NEXT.fetch_add(1, Ordering::Relaxed) % COUNT) % COUNT;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no port of {COUNT} is free");
}
