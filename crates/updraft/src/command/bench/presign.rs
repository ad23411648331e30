//! Signed URLs beside what no signer can do without: for SigV4 five HMACs and the digest of the request, as "Create a
//! signed AWS API request" of the AWS IAM User Guide has them.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use store::{Options as StoreOptions, Store};

use super::rate::{Options, compare, print, rate};

const KEY: &str = "bench/releases/v1.2.0/firmware.bin";
/// Signed before the clock is looked at again.
const BATCH: u32 = 200;
const LIFETIME: Duration = Duration::from_secs(300);

pub(super) async fn run(options: &Options) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let local = StoreOptions {
        public_url: Some("http://127.0.0.1:8080".parse()?),
        signing_key: Some([7; 32]),
        environment: BTreeMap::new(),
        ..StoreOptions::default()
    };
    let local = Store::open(&format!("file:{}", folder.path().display()), local).await?;
    let s3 = s3().await?;
    let measured = compare(vec![
        ("bare HMACs of a SigV4 URL".to_owned(), bare(options.time()).await?),
        ("S3: presigned GET".to_owned(), signed(&s3, options.time()).await?),
        ("folder: signed URL".to_owned(), signed(&local, options.time()).await?),
    ]);
    print(&measured, options.json);
    Ok(())
}

/// A bucket that is never asked: signing needs no request.
async fn s3() -> anyhow::Result<Store> {
    let environment = [("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"), ("AWS_SECRET_ACCESS_KEY", "not a secret")];
    let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let options = StoreOptions { environment, ..StoreOptions::default() };
    Ok(Store::open("s3://bench?region=eu-central-1", options).await?)
}

async fn signed(store: &Store, time: Duration) -> anyhow::Result<f64> {
    rate(time, async || {
        for _ in 0..BATCH {
            black_box(store.sign(KEY, LIFETIME).await?);
        }
        anyhow::Ok(BATCH)
    })
    .await
}

pub(super) async fn bare(time: Duration) -> anyhow::Result<f64> {
    rate(time, async || {
        for number in 0..BATCH {
            black_box(bare_signature(black_box(number)));
        }
        anyhow::Ok(BATCH)
    })
    .await
}

/// About as many bytes as a real request has; nothing is made of them but the signature.
fn bare_signature(number: u32) -> [u8; 32] {
    let canonical = format!(
        "GET\n/{KEY}\nX-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIDEXAMPLE%2F20261123%2Feu-central-1%2Fs3%2F\
         aws4_request&X-Amz-Date=20261123T000000Z&X-Amz-Expires={number}&X-Amz-SignedHeaders=host\n\
         host:bench.s3.eu-central-1.amazonaws.com\n\nhost\nUNSIGNED-PAYLOAD"
    );
    let mut key = hmac(b"AWS4not a secret", b"20261123");
    for part in ["eu-central-1", "s3", "aws4_request"] {
        key = hmac(&key, part.as_bytes());
    }
    let digest = Sha256::digest(canonical);
    let mut text = b"AWS4-HMAC-SHA256\n20261123T000000Z\n20261123/eu-central-1/s3/aws4_request\n".to_vec();
    text.extend(digest.iter().flat_map(|byte| {
        [b"0123456789abcdef"[usize::from(byte >> 4)], b"0123456789abcdef"[usize::from(byte & 15)]]
    }));
    hmac(&key, &text)
}

fn hmac(key: &[u8], text: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(text);
    mac.finalize().into_bytes().into()
}
