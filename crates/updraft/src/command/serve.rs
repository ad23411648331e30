//! `updraft serve`: the server, until it is told to stop.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use server::access::FirstLogin;
use server::config::Config;
use server::run::{Running, StartOptions, start};
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

/// Lines of the log that wait to be written; what comes then is lost.
const LINES_WAITING_MAX: usize = 4096;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The configuration; updraft.toml if it is there, else the defaults
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let _log = log_to_stderr(LevelFilter::INFO);
    let config = Config::load(args.config.as_deref())?;
    let running = start(config, StartOptions::default()).await?;
    greet(&running);
    let lost = tokio::select! {
        ended = stopped() => ended.map(|()| None)?,
        lost = running.lost() => Some(lost),
    };
    let ended = running.stop().await.map(|()| ExitCode::SUCCESS);
    lost.map_or(ended, Err)
}

/// Says where the server is, and who may log in. That nobody reads it stops nothing.
fn greet(running: &Running) {
    let url = running.public_url().as_str().trim_end_matches('/');
    let broker = running.mqtt_addr().map(|address| format!("mqtt://{address}"));
    say!("Updraft serves {url}\nMQTT broker   {}", broker.as_deref().unwrap_or("as configured (mqtt.url)"));
    if let Some(FirstLogin { user, password }) = running.first_login() {
        say!("\nThis is the first start. Shown this once:\n  user      {user}\n  password  {password}");
    }
    if let Some(link) = running.login_link() {
        say!("  login     {link}\n            (works for 15 minutes)");
    }
}

/// Logs to stderr, also panics; `RUST_LOG` says otherwise how much. A thread of its own writes, until what is returned is dropped:
/// a reader that stops and a full disk hold up nobody, and lines that cannot be written then are lost.
#[must_use = "dropped, the log ends"]
pub(crate) fn log_to_stderr(level: LevelFilter) -> WorkerGuard {
    let ours = ["updraft", "updraft_broker", "updraft_server", "updraft_store"];
    let asked = std::env::var("RUST_LOG").ok().and_then(|asked| asked.parse::<Targets>().ok());
    let filter = asked.unwrap_or_else(|| {
        Targets::new().with_default(LevelFilter::WARN).with_targets(ours.map(|name| (name, level)))
    });
    let (writer, written) =
        NonBlockingBuilder::default().buffered_lines_limit(LINES_WAITING_MAX).finish(std::io::stderr());
    let lines = tracing_subscriber::fmt::layer()
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .with_writer(writer)
        .log_internal_errors(false);
    tracing_subscriber::registry().with(lines.with_filter(filter)).init();
    std::panic::set_hook(Box::new(|panic| tracing::error!("a panic: {panic}")));
    written
}

pub(crate) async fn stopped() -> anyhow::Result<()> {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let mut terminate = signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?;
        tokio::select! {
            result = tokio::signal::ctrl_c() => result.context("cannot wait for Ctrl-C"),
            _ = terminate.recv() => Ok(()),
        }
    }
    #[cfg(not(unix))]
    tokio::signal::ctrl_c().await.context("cannot wait for Ctrl-C")
}
