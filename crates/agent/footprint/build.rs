//! Makes the flash that the measured device begins with, and the image that it updates to.

use std::path::Path;
use std::{env, fs};

use md5::{Digest, Md5};
use updraft_image::build::Build;
use updraft_image::signature::Scheme;
use updraft_image::signing::{SigningKey, append};
use updraft_image::{Chip, Stamp, stamp};

const FLASH_BYTES: usize = 0x3_0000;
const TABLE: usize = 0x8000;

/// As a library's descriptor has it, stamped; signed by both keys where signatures are measured.
fn image(version: &str, keys: &[SigningKey]) -> Vec<u8> {
    let mut build = Build::new(Chip::Esp32C3, version);
    (build.size_bytes, build.project_name) = (20 * 1024, "arduino-lib-builder".into());
    let mut image = build.bytes();
    stamp(&mut image, &Stamp { version, product: "lamp", secure_version: Some(1) })
        .expect("a library's descriptor");
    keys.iter().fold(image, |image, key| append(&image, key).expect("room for two"))
}

/// type, subtype, offset, size and label, as `gen_esp32part.py` writes them.
fn table() -> Vec<u8> {
    let rows: [(u8, u8, u32, u32, &[u8]); 4] = [
        (1, 0x00, 0x9000, 0x2000, b"otadata"),
        (1, 0x40, 0xB000, 0x2000, b"updraft"),
        (0, 0x10, 0x1_0000, 0x1_0000, b"ota_0"),
        (0, 0x11, 0x2_0000, 0x1_0000, b"ota_1"),
    ];
    let mut bytes = Vec::new();
    for (kind, subtype, offset, size, label) in rows {
        bytes.extend([0xAA, 0x50, kind, subtype]);
        bytes.extend(offset.to_le_bytes());
        bytes.extend(size.to_le_bytes());
        let mut name = [0; 20];
        name[..label.len()].copy_from_slice(label);
        bytes.extend(name);
    }
    let digest = Md5::digest(&bytes);
    bytes.extend([0xEB, 0xEB]);
    bytes.extend([0xFF; 14]);
    bytes.extend(digest);
    bytes
}

/// What a server says for an image of so many bytes, with headers that have nothing to say, as real servers send them.
fn heads(total: usize) -> [(&'static str, String); 5] {
    let fields = "Server: nginx\r\nDate: Mon, 23 Nov 2026 20:00:00 GMT\r\nContent-Type: application/octet-stream\r\n\
        Accept-Ranges: bytes\r\nETag: \"5f3c-1\"\r\nConnection: keep-alive\r\nUpdraft-Version: 2.0.0\r\n";
    let part = |from: usize| {
        let (last, length) = (total - 1, total - from);
        let range = format!("Content-Range: bytes {from}-{last}/{total}\r\nContent-Length: {length}");
        format!("HTTP/1.1 206 Partial Content\r\n{fields}{range}\r\n\r\n")
    };
    [
        ("forbidden", format!("HTTP/1.1 403 Forbidden\r\n{fields}Content-Length: 0\r\n\r\n")),
        (
            "redirect",
            format!("HTTP/1.1 302 Found\r\n{fields}Location: /d/firmware.bin\r\nContent-Length: 0\r\n\r\n"),
        ),
        ("tail", part(total - 4128)),
        ("whole", format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: {total}\r\n\r\n")),
        ("part", part(4096)),
    ]
}

fn main() {
    let folder = env::var("OUT_DIR").expect("cargo sets it");
    let schemes = [Scheme::EcdsaP256, Scheme::Rsa3072];
    let is_signed = env::var("CARGO_FEATURE_SIGNATURE").is_ok();
    let keys = schemes.into_iter().filter(|_| is_signed);
    let keys: Vec<_> = keys.map(|scheme| SigningKey::generate(scheme).expect("randomness")).collect();
    let digests: Vec<u8> = keys.iter().flat_map(|key| key.public().digest()).collect();
    fs::write(Path::new(&folder).join("keys.bin"), digests).expect("the build folder takes files");
    let (old, new) = (image("1.0.0", &keys), image("2.0.0", &keys));
    let mut flash = vec![0xFF; FLASH_BYTES];
    for (at, bytes) in [(TABLE, table()), (0x1_0000, old.clone())] {
        flash[at..at + bytes.len()].copy_from_slice(&bytes);
    }
    fs::write(Path::new(&folder).join("flash.bin"), flash).expect("the build folder takes files");
    for (name, head) in heads(old.len()) {
        fs::write(Path::new(&folder).join(name), head).expect("the build folder takes files");
    }
    for (name, image) in [("old.bin", old), ("new.bin", new)] {
        fs::write(Path::new(&folder).join(name), image).expect("the build folder takes files");
    }
    // Whoever counts the calls into a panic needs to see what calls what.
    println!("cargo:rustc-link-arg-bins=--emit-relocs");
    println!("cargo:rerun-if-changed=build.rs");
}
