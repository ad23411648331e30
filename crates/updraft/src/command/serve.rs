//! `updraft serve`: the server, until it is told to stop.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use server::config::Config;
use server::run::{StartOptions, start};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The configuration; updraft.toml if it is there, else the defaults
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    log_to_stderr(LevelFilter::INFO);
    let config = Config::load(args.config.as_deref())?;
    let running = start(config, StartOptions::default()).await?;
    println!("Updraft serves {}", running.public_url().as_str().trim_end_matches('/'));
    match running.mqtt_addr() {
        Some(address) => println!("MQTT broker   mqtt://{address}"),
        None => println!("MQTT broker   as configured (mqtt.url)"),
    }
    if let Some(first) = running.first_login() {
        println!(
            "\nThis is the first start. Shown this once:\n  user      {}\n  password  {}",
            first.user, first.password
        );
    }
    if let Some(link) = running.login_link() {
        println!("  login     {link}\n            (works for 15 minutes)");
    }
    let lost = tokio::select! {
        ended = stopped() => ended.map(|()| None)?,
        lost = running.lost() => Some(lost),
    };
    running.stop().await?;
    lost.map_or(Ok(ExitCode::SUCCESS), Err)
}

/// Logs to stderr; `RUST_LOG` says otherwise how much.
pub(crate) fn log_to_stderr(level: LevelFilter) {
    let ours = ["updraft", "updraft_broker", "updraft_server", "updraft_store"];
    let asked = std::env::var("RUST_LOG").ok().and_then(|asked| asked.parse::<Targets>().ok());
    let filter = asked.unwrap_or_else(|| {
        Targets::new().with_default(LevelFilter::WARN).with_targets(ours.map(|name| (name, level)))
    });
    let lines = tracing_subscriber::fmt::layer()
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .with_writer(std::io::stderr);
    tracing_subscriber::registry().with(lines.with_filter(filter)).init();
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
