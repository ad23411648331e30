//! Espressif's own tool takes the keys and the signatures that we make, and we take its own.

use std::process::{Command, Output};

use updraft_image::build::Build;
use updraft_image::signature::{
    SIGNATURE_BLOCKS_MAX, SIGNATURE_SECTOR_BYTES, Scheme, SignatureError, SignatureSector,
};
use updraft_image::signing::{PublicKey, SigningKey, append, sign};
use updraft_image::{Chip, verify};
use verdict::{SigningVerdict, judge};

#[path = "../src/signature/tests/verdict.rs"]
mod verdict;

/// Runs `espsecure`, as a command or as a Python module.
fn espsecure(arguments: &[&str]) -> Output {
    let run = |program: &str, first: &[&str]| {
        Command::new(program).args(first).args(arguments).env("NO_COLOR", "1").output().ok()
    };
    let is_missing = |output: &Output| String::from_utf8_lossy(&output.stderr).contains("No module named");
    run("espsecure", &[])
        .or_else(|| run("python3", &["-m", "espsecure"]).filter(|output| !is_missing(output)))
        .expect("this test needs esptool 5: install it with `pip install esptool`")
}

fn said(output: &Output) -> String {
    [&output.stdout[..], &output.stderr[..]].map(String::from_utf8_lossy).concat()
}

/// A folder with an image and the files of a test.
struct Bench(tempfile::TempDir);

impl Bench {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary folder"))
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> String {
        std::fs::write(self.path(name), bytes).expect("written");
        self.path(name)
    }

    fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).expect("readable")
    }

    fn text(&self, name: &str) -> String {
        String::from_utf8(self.read(name)).expect("text")
    }

    /// A key that espsecure made.
    fn their_key(&self, name: &str, scheme: &str) -> SigningKey {
        let path = self.path(name);
        espsecure_does(&["generate-signing-key", "--version", "2", "--scheme", scheme, &path]);
        SigningKey::from_pem(&self.text(name)).expect("a key of espsecure's")
    }

    /// The digest that espsecure gives a key.
    fn their_digest(&self, key: &str) -> [u8; 32] {
        let output = self.path("digest");
        espsecure_does(&["digest-sbv2-public-key", "--keyfile", &self.path(key), "--output", &output]);
        let digest = self.read("digest").try_into().expect("32 bytes");
        std::fs::remove_file(output).expect("removed");
        digest
    }

    fn espsecure_appends(&self, input: &str, key: &str, output: &str) {
        let (input, key, output) = (self.path(input), self.path(key), self.path(output));
        let how = ["sign-data", "--version", "2", "--append-signatures"];
        espsecure_does(&[&how[..], &["--keyfile", &key, "--output", &output, &input]].concat());
    }

    fn espsecure_verifies(&self, image: &str, key: &str) -> Output {
        espsecure(&["verify-signature", "--version", "2", "--keyfile", &self.path(key), &self.path(image)])
    }
}

fn espsecure_does(arguments: &[&str]) {
    let output = espsecure(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", said(&output));
}

/// A built image: large enough for code in flash, and not a whole number of sectors.
fn image() -> Vec<u8> {
    Build { size_bytes: 300_000, ..Build::new(Chip::Esp32S3, "1.2.0") }.bytes()
}

fn names(scheme: Scheme) -> &'static str {
    match scheme {
        Scheme::Rsa3072 => "rsa3072",
        Scheme::EcdsaP256 => "ecdsa256",
    }
}

fn last_sector(signed: &[u8]) -> &[u8; 4096] {
    signed.last_chunk().expect("a sector")
}

/// The verdict for somebody who trusts one key.
fn verdict(signed: &[u8], trusted: [u8; 32]) -> SigningVerdict {
    let summary = verify(signed).expect("a sound image");
    let verdict = judge(last_sector(signed), &|digest| *digest == trusted);
    if let SigningVerdict::Trusted { signed_digest, .. } = verdict {
        assert_eq!(summary.signed_digest, Some(signed_digest));
    }
    verdict
}

fn is_trusted(signed: &[u8], key: &PublicKey) -> bool {
    matches!(verdict(signed, key.digest()), SigningVerdict::Trusted { .. })
}

#[test]
fn espsecure_verifies_what_we_sign_with_keys_that_we_make() {
    for scheme in [Scheme::Rsa3072, Scheme::EcdsaP256] {
        let bench = Bench::new();
        let key = SigningKey::generate(scheme).expect("a key");
        bench.write("key.pem", key.to_pem());
        bench.write("public.pem", key.public().to_pem());
        bench.write("signed.bin", sign(&image(), &key).expect("signed"));
        for file in ["key.pem", "public.pem"] {
            let output = bench.espsecure_verifies("signed.bin", file);
            assert!(output.status.success(), "{scheme}, {file}: {}", said(&output));
            assert_eq!(bench.their_digest(file), key.public().digest(), "{scheme}, {file}");
        }
        let other = SigningKey::generate(Scheme::EcdsaP256).expect("a key");
        bench.write("other.pem", other.public().to_pem());
        assert!(!bench.espsecure_verifies("signed.bin", "other.pem").status.success());
        // What it extracts from our private key is our public key to the byte.
        let extracted = bench.path("extracted.pem");
        espsecure_does(&[
            "extract-public-key",
            "--version",
            "2",
            "--keyfile",
            &bench.path("key.pem"),
            &extracted,
        ]);
        assert_eq!(bench.text("extracted.pem"), key.public().to_pem());
    }
}

#[test]
fn we_verify_what_espsecure_signs_with_keys_that_it_makes() {
    for scheme in [Scheme::Rsa3072, Scheme::EcdsaP256] {
        let bench = Bench::new();
        let key = bench.their_key("key.pem", names(scheme));
        assert_eq!(key.public().scheme(), scheme);
        assert_eq!(key.to_pem(), bench.text("key.pem"), "its file is as ours");
        assert_eq!(PublicKey::from_pem(&bench.text("key.pem")), Ok(key.public()));
        assert_eq!(bench.their_digest("key.pem"), key.public().digest());
        let (input, output) = (bench.write("image.bin", image()), bench.path("signed.bin"));
        let keyfile = bench.path("key.pem");
        espsecure_does(&["sign-data", "--version", "2", "--keyfile", &keyfile, "--output", &output, &input]);
        let theirs = bench.read("signed.bin");
        assert!(is_trusted(&theirs, &key.public()));
        // Signatures are random or made otherwise; everything else is the same.
        let ours = sign(&image(), &key).expect("signed");
        let (sector, signature) = match scheme {
            Scheme::Rsa3072 => (ours.len() - 4096, 812..1196),
            Scheme::EcdsaP256 => (ours.len() - 4096, 101..165),
        };
        let blank = |mut bytes: Vec<u8>| {
            bytes[sector..][signature.clone()].fill(0);
            bytes[sector..][1196..1200].fill(0);
            bytes
        };
        assert!(blank(ours) == blank(theirs), "{scheme}: the files differ");
    }
}

#[test]
fn each_appends_to_what_the_other_signed() {
    for scheme in [Scheme::Rsa3072, Scheme::EcdsaP256] {
        let bench = Bench::new();
        let keys = ["first.pem", "second.pem", "third.pem"].map(|file| {
            let key = SigningKey::generate(scheme).expect("a key");
            bench.write(file, key.to_pem());
            (file, key)
        });
        bench.write("first.bin", sign(&image(), &keys[0].1).expect("signed"));
        bench.espsecure_appends("first.bin", "second.pem", "second.bin");
        let all = append(&bench.read("second.bin"), &keys[2].1).expect("a third signature");
        bench.write("all.bin", &all);
        assert_eq!(verify(&all).expect("sound").signature_blocks, 3);
        for (file, key) in &keys {
            assert!(is_trusted(&all, &key.public()), "{file}");
            let output = bench.espsecure_verifies("all.bin", file);
            assert!(output.status.success(), "{file}: {}", said(&output));
        }
    }
}

#[test]
fn schemes_may_be_mixed() {
    let bench = Bench::new();
    let (rsa, ecdsa) = (bench.their_key("rsa.pem", "rsa3072"), bench.their_key("ecdsa.pem", "ecdsa256"));
    bench.write("first.bin", sign(&image(), &rsa).expect("signed"));
    bench.espsecure_appends("first.bin", "ecdsa.pem", "both.bin");
    let both = bench.read("both.bin");
    assert!(is_trusted(&both, &rsa.public()) && is_trusted(&both, &ecdsa.public()));
    // With an ECDSA key espsecure 5.6 reads an RSA block that comes first as one of ECDSA, and gives up.
    assert!(bench.espsecure_verifies("both.bin", "rsa.pem").status.success());
}

#[test]
fn keys_in_pkcs8_are_read_as_espsecure_reads_them() {
    let convert = |bench: &Bench, from: &str, to: &str| {
        let script = "import sys\nfrom cryptography.hazmat.primitives import serialization as s\n\
                      key = s.load_pem_private_key(open(sys.argv[1], 'rb').read(), None)\n\
                      open(sys.argv[2], 'wb').write(key.private_bytes(s.Encoding.PEM, s.PrivateFormat.PKCS8, s.NoEncryption()))";
        let paths = [bench.path(from), bench.path(to)];
        let output = Command::new("python3").args(["-c", script]).args(paths).output().expect("python3 runs");
        assert!(output.status.success(), "this test needs esptool's libraries: {}", said(&output));
    };
    for scheme in ["rsa3072", "ecdsa256"] {
        let bench = Bench::new();
        let key = bench.their_key("key.pem", scheme);
        convert(&bench, "key.pem", "pkcs8.pem");
        assert!(bench.text("pkcs8.pem").starts_with("-----BEGIN PRIVATE KEY-----"));
        let again = SigningKey::from_pem(&bench.text("pkcs8.pem")).expect("a key");
        assert_eq!(again.public(), key.public());
    }
}
