//! `updraft key`: keys that images are signed with, in the files that `espsecure` reads and writes.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use contract::Sha256;
use image::signature::Scheme;
use image::signing::{PublicKey, SigningKey};

use crate::command::image::file::read_at_most;

const KEY_FILE_MAX_BYTES: u64 = 64 * 1024;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Make a key: KEY.pem, which signs and stays secret, and KEY.pub.pem, which verifies
    New {
        /// Where to write it
        key: PathBuf,
        /// What kind; bootloaders with hardware secure boot take the kind of their chip
        #[arg(long = "type", value_name = "TYPE", default_value = "rsa3072", value_parser = scheme())]
        kind: Scheme,
    },
    /// Print a key's SHA-256, as a product's trusted_keys list it
    Digest {
        /// Its file, of either half
        key: PathBuf,
    },
}

fn scheme() -> impl TypedValueParser<Value = Scheme> {
    let kinds = PossibleValuesParser::new(["rsa3072", "p256"]);
    kinds.map(|kind| if kind == "p256" { Scheme::EcdsaP256 } else { Scheme::Rsa3072 })
}

#[allow(clippy::unused_async, reason = "every command is awaited")]
pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.command {
        Command::New { key, kind } => {
            let (public, public_path) = make(&key, kind)?;
            answer!("{}", Sha256(public.digest()));
            eprintln!(
                "{} signs images: keep it secret, and keep a copy. {} verifies them. The line above is the key's digest, \
                 for trusted_keys.",
                key.display(),
                public_path.display()
            );
        }
        Command::Digest { key } => answer!("{}", Sha256(read_public(&key)?.digest())),
    }
    Ok(ExitCode::SUCCESS)
}

/// Makes a key and writes both halves; neither file may be there yet.
fn make(path: &Path, scheme: Scheme) -> anyhow::Result<(PublicKey, PathBuf)> {
    let public_path = path.with_extension("pub.pem");
    // Before a key is made in vain; that no file is overwritten is seen to when it is written.
    for path in [path, &public_path] {
        if path.exists() {
            bail!("{} is there already, and a key is never overwritten; choose another name", path.display());
        }
    }
    let key = SigningKey::generate(scheme)?;
    let public = key.public();
    write_new(path, &key.to_pem(), 0o600)?;
    write_new(&public_path, &public.to_pem(), 0o644)?;
    Ok((public, public_path))
}

/// Writes a file that is not there yet, with these permissions from the beginning.
fn write_new(path: &Path, text: &str, mode: u32) -> anyhow::Result<()> {
    let mut options = File::options();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, mode);
    #[cfg(not(unix))]
    let _ = mode;
    let written = options.open(path).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()
    });
    written.with_context(|| format!("{} cannot be written", path.display()))
}

pub(super) fn read_private(path: &Path) -> anyhow::Result<SigningKey> {
    SigningKey::from_pem(&read(path)?).with_context(|| path.display().to_string())
}

/// Reads the public key in a PEM file, or the public half of a private one.
pub(super) fn read_public(path: &Path) -> anyhow::Result<PublicKey> {
    PublicKey::from_pem(&read(path)?).with_context(|| path.display().to_string())
}

fn read(path: &Path) -> anyhow::Result<String> {
    // What is no text is no PEM, which is then said.
    Ok(String::from_utf8_lossy(&read_at_most(path, KEY_FILE_MAX_BYTES)?).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_key_is_two_files_and_one_digest() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("release.2026.pem");
        let (public, public_path) = make(&path, Scheme::EcdsaP256).expect("made");
        assert_eq!(public_path, folder.path().join("release.2026.pub.pem"));
        assert_eq!(read_private(&path).expect("a key").public(), public);
        assert_eq!(read_public(&path).expect("a key"), public);
        assert_eq!(read_public(&public_path).expect("a key"), public);
        let error = read_private(&public_path).expect_err("half a key");
        assert!(format!("{error:#}").contains("signing needs the private one"), "{error:#}");
    }

    #[cfg(unix)]
    #[test]
    fn a_secret_key_is_its_owners_only() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("key.pem");
        make(&path, Scheme::EcdsaP256).expect("made");
        let mode = path.metadata().expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_key_is_never_overwritten() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for name in ["key.pem", "key.pub.pem"] {
            let path = folder.path().join(name);
            std::fs::write(&path, "mine").expect("written");
            let error = make(&folder.path().join("key.pem"), Scheme::EcdsaP256).expect_err("refused");
            assert!(error.to_string().contains("never overwritten"), "{error}");
            assert_eq!(std::fs::read_to_string(&path).expect("readable"), "mine");
            std::fs::remove_file(path).expect("removed");
        }
    }

    #[test]
    fn what_is_no_key_is_refused_in_a_sentence() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("key.pem");
        let sentence = |path: &Path| format!("{:#}", read_public(path).expect_err("refused"));
        assert_eq!(sentence(&path), format!("there is no file {}", path.display()));
        std::fs::write(&path, [0xE9, 0xFF, 0x00]).expect("written");
        assert!(sentence(&path).contains("this is not a key"), "{}", sentence(&path));
    }
}
