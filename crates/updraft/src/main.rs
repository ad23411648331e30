//! `updraft`: over-the-air updates for ESP32 devices in one binary.

#[macro_use]
mod output;

mod advice;
mod api_client;
mod command;
mod failure;
mod http;
mod log;
mod oidc;
mod whole;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::command::target::VersionArgs;
use crate::command::{
    audit, bench, block, demo, device, devices, image, key, promote, publish, releases, rollout, serve,
    token, virtual_device,
};

/// Over-the-air firmware updates for ESP32 devices.
#[derive(Debug, Parser)]
#[command(name = "updraft", version, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Everything on this machine, with virtual devices; prints the dashboard's login link
    Demo(demo::Args),
    /// The server: HTTP API, dashboard, MQTT
    Serve(serve::Args),
    /// Publish a firmware image as a release
    Publish(Box<publish::Args>),
    /// Point a channel at a release
    Promote(promote::Args),
    /// Block a version: it is never offered again
    Block(block::Args),
    /// Take a version off the blocked list
    Unblock(VersionArgs),
    /// List a product's releases
    Releases(releases::Args),
    /// Give a release to the fleet step by step: start, list, show, watch, pause, resume, abort
    Rollout(Box<rollout::Args>),
    /// List devices
    Devices(devices::Args),
    /// Add, show, check, or remove one device
    Device(device::Args),
    /// Run virtual devices, to try things on
    VirtualDevice(Box<virtual_device::Args>),
    /// Look into a firmware image, sign it, verify its signature
    Image(image::Args),
    /// Keys that images are signed with
    Key(key::Args),
    /// Access tokens for the API
    Token(token::Args),
    /// Who did what
    Audit(audit::Args),
    /// Measure this machine: signed URLs, decisions, offers and messages a second, lists
    Bench(bench::Args),
}

#[tokio::main]
async fn main() -> ExitCode {
    // The one TLS provider in the tree; a second call cannot happen, so the answer is not needed.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let result = match Cli::parse().command {
        Command::Demo(args) => Box::pin(demo::run(args)).await,
        Command::Serve(args) => serve::run(args).await,
        Command::Publish(args) => publish::run(*args).await,
        Command::Promote(args) => promote::run(args).await,
        Command::Block(args) => block::run(args).await,
        Command::Unblock(args) => block::unblock(args).await,
        Command::Releases(args) => releases::run(args).await,
        Command::Rollout(args) => rollout::run(*args).await,
        Command::Devices(args) => devices::run(args).await,
        Command::Device(args) => device::run(args).await,
        Command::VirtualDevice(args) => virtual_device::run(*args).await,
        Command::Image(args) => image::run(args).await,
        Command::Key(args) => key::run(args).await,
        Command::Token(args) => token::run(args).await,
        Command::Audit(args) => audit::run(args).await,
        Command::Bench(args) => bench::run(args).await,
    };
    result.unwrap_or_else(|error| output::error(&error))
}

#[cfg(test)]
mod tests;
