//! `updraft image`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Subcommand;
use contract::{ProductName, Version};

use crate::command::key;
use crate::output::has_colour;

mod check;
pub(crate) mod file;
mod inspect;
mod signatures;
pub(crate) mod stamped;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show what an image is, and whether it is sound
    Inspect {
        /// The application image (firmware.bin)
        image: PathBuf,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Ask the gate whether an image could be published; nothing is
    Check(Box<check::Args>),
    /// Make an image say itself what it is: version and product in place of a library's, before it is signed
    #[command(disable_version_flag = true)]
    Stamp {
        /// The application image (firmware.bin)
        image: PathBuf,
        /// The version that it is to say
        #[arg(long, value_name = "V")]
        version: Version,
        /// The product that it is to say
        #[arg(short, long)]
        product: ProductName,
        /// The secure version; without this, the one that the image has
        #[arg(long, value_name = "N")]
        secure_version: Option<u32>,
        /// Where to write the stamped image
        #[arg(short, long, value_name = "OUT")]
        output: PathBuf,
    },
    /// Sign an image, as espsecure does for Secure Boot v2
    Sign {
        /// The application image (firmware.bin)
        image: PathBuf,
        /// The private key (PEM)
        #[arg(long, value_name = "KEY.pem")]
        key: PathBuf,
        /// Where to write the signed image
        #[arg(short, long, value_name = "OUT")]
        output: PathBuf,
        /// Keep the signatures that it has, and add one; there can be three
        #[arg(long)]
        append: bool,
    },
    /// Verify that a key signed an image
    Verify {
        /// The signed image
        image: PathBuf,
        /// The public key, or the private one (PEM)
        #[arg(long, value_name = "PUB.pem")]
        key: PathBuf,
    },
}

pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.command {
        Command::Inspect { image, json } => {
            let (bytes, summary) = file::open(&image)?;
            let found = signatures::of(&bytes, &summary);
            if json {
                answer!("{:#}", inspect::json(&image, &summary, &found));
            } else {
                let colour = has_colour(&std::io::stdout());
                answer!("{}", inspect::text(&image, &summary, &found, colour).trim_end());
            }
        }
        Command::Check(args) => return check::run(*args).await,
        Command::Stamp { image, version, product, secure_version, output } => {
            let said = stamped::stamp_file(file::read(&image)?, &version, &product, secure_version, &output);
            answer!("{}", said.with_context(|| image.display().to_string())?);
        }
        Command::Sign { image, key, output, append } => {
            signatures::refuse_same_file(&image, &output)?;
            let key = key::read_private(&key)?;
            let (bytes, _) = file::open(&image)?;
            let said = signatures::sign_file(&bytes, &key, append, &output);
            answer!("{}", said.with_context(|| image.display().to_string())?);
        }
        Command::Verify { image, key } => {
            let key = key::read_public(&key)?;
            let (bytes, summary) = file::open(&image)?;
            let said = signatures::verify_by(&signatures::of(&bytes, &summary), &key);
            answer!("{}", said.with_context(|| image.display().to_string())?);
        }
    }
    Ok(ExitCode::SUCCESS)
}
