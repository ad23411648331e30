//! `updraft serve`: the server, until it is told to stop.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use server::access::FirstLogin;
use server::config::Config;
use server::run::{Running, StartOptions, start};
use tracing_subscriber::filter::LevelFilter;

use crate::log;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The configuration; updraft.toml if it is there, else the defaults
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let _log = log::to_stderr(LevelFilter::INFO);
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
        say!("  login     {link}\n            (works once, within 15 minutes)");
    }
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
