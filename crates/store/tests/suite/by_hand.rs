use std::process::Command;

use updraft_store::{Blocked, StoreError};

use crate::place::{Place, assert_refused, product, production, s3_image, v};

/// Keys that `object_store` cannot name and that slips of a shell script make.
const STRANGE: &str = "
import sys, boto3
endpoint, bucket = sys.argv[1:]
s3 = boto3.client('s3', endpoint_url=endpoint, region_name='us-east-1',
                  aws_access_key_id='test', aws_secret_access_key='test')
for key in ['/esp32s3/x', 'A//b', '../x', 'esp32s3//firmware.bin', 'esp32s3/./x', 'esp32s3/releases//version.txt',
            'esp32s3/releases/v1.0.0//x', 'esp32s3/releases/../x', 'esp32s3/releases/a&b <c>/x', 'esp32s3/releases/']:
    s3.put_object(Bucket=bucket, Key=key, Body=b'?')
";

/// A few lines of boto3, as readers of OTA.md write them: keys and the files that they are filled from.
const BOTO3: &str = "
import sys, boto3
endpoint, bucket, *files = sys.argv[1:]
s3 = boto3.client('s3', endpoint_url=endpoint, region_name='us-east-1',
                  aws_access_key_id='test', aws_secret_access_key='test')
for key, file in zip(files[::2], files[1::2]):
    s3.put_object(Bucket=bucket, Key='esp32s3/' + key, Body=open(file, 'rb').read())
";

const BLOCKED: &str = r#"{"blocked_versions": ["1.1.0"], "reason": {"1.1.0": "Boot loop after OTA"}}"#;

/// Fills a product as another program does.
async fn fill(place: &Place, files: &[(&str, &[u8])]) {
    if !place.is_s3() {
        for (key, bytes) in files {
            place.put(&format!("esp32s3/{key}"), bytes.to_vec()).await;
        }
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let (endpoint, bucket) = place.address();
    let mut script = Command::new("python3");
    script.args(["-c", BOTO3, endpoint, bucket]);
    for (number, (key, bytes)) in files.iter().enumerate() {
        let file = folder.path().join(number.to_string());
        std::fs::write(&file, bytes).expect("written");
        script.arg(key).arg(file);
    }
    assert!(script.status().expect("python3 runs").success(), "boto3 is needed: pip install boto3");
}

pub(crate) async fn a_bucket_filled_by_hand_is_served(place: &Place) {
    let image = s3_image("1.2.0", 1);
    let files: [(&str, &[u8]); 3] = [
        ("production/firmware.bin", &image),
        ("production/version.txt", b"v1.2.0\r\n"),
        ("rollback/blocked_versions.json", BLOCKED.as_bytes()),
    ];
    fill(place, &files).await;
    let store = &place.store;
    store.check().await.expect("it answers");
    assert_eq!(store.products().await.expect("listed"), [product()]);
    assert_eq!(store.channels(&product()).await.expect("listed"), [(production(), Some(v("1.2.0")))]);
    assert_eq!(store.channel(&product(), &production()).await.expect("read"), Some(v("1.2.0")));
    let artifact =
        store.artifact(&product(), &production(), &v("1.2.0")).await.expect("read").expect("there");
    assert_eq!(artifact.key, "esp32s3/production/firmware.bin");
    assert_eq!((artifact.size, artifact.sha256), (image.len() as u64, None));
    assert_eq!(artifact.chip.as_deref(), Some("esp32s3"));
    assert_eq!(store.artifact(&product(), &production(), &v("1.1.0")).await.expect("read"), None);
    let Blocked::List(list) = store.blocked(&product()).await.expect("read") else { panic!("readable") };
    assert_eq!(list[&v("1.1.0")].as_deref(), Some("Boot loop after OTA"));
    assert!(store.releases(&product()).await.expect("listed").is_empty());

    place.put("esp32s3/production/metadata.json", "{}").await;
    let with_empty = store.artifact(&product(), &production(), &v("1.2.0")).await.expect("read");
    assert_eq!(with_empty, Some(artifact));
    place.publish("1.3.0", &s3_image("1.3.0", 1)).await.expect("published");
    place.promote("1.3.0").await.expect("promoted");
    assert_eq!(store.channel(&product(), &production()).await.expect("read"), Some(v("1.3.0")));
}

/// The requirement's whole layout: production, every release with its three files, the blocked list.
pub(crate) async fn a_bucket_in_the_requirements_layout_is_served(place: &Place) {
    let images = ["1.0.0", "1.1.0", "1.2.0"].map(|version| s3_image(version, 1));
    let folders = [
        ("releases/v1.0.0", "1.0.0", 0),
        ("releases/v1.1.0", "1.1.0", 1),
        ("releases/v1.2.0", "1.2.0", 2),
        ("production", "1.2.0", 2),
    ];
    let mut keys = Vec::new();
    for (folder, version, number) in folders {
        keys.push((format!("{folder}/firmware.bin"), images[number].to_vec()));
        keys.push((format!("{folder}/metadata.json"), format!("{{\"version\": \"{version}\"}}").into()));
        keys.push((format!("{folder}/version.txt"), version.into()));
    }
    let mut files: Vec<(&str, &[u8])> = keys.iter().map(|(key, bytes)| (&**key, &**bytes)).collect();
    files.push(("rollback/blocked_versions.json", BLOCKED.as_bytes()));
    fill(place, &files).await;
    let store = &place.store;
    let releases = store.releases(&product()).await.expect("listed");
    assert_eq!(
        releases.iter().map(|release| release.version.as_str()).collect::<Vec<_>>(),
        ["1.2.0", "1.1.0", "1.0.0"]
    );
    let artifact =
        store.artifact(&product(), &production(), &v("1.2.0")).await.expect("read").expect("there");
    assert_eq!(artifact.key, "esp32s3/releases/v1.2.0/firmware.bin");
    let refused = place.promote("1.1.0").await.expect_err("blocked");
    assert!(refused.to_string().contains("Boot loop after OTA"), "{refused}");
    place.promote("1.0.0").await.expect("promoted");
    assert_eq!(place.get("esp32s3/production/firmware.bin").await.as_ref(), Some(&images[0]));
    assert!(place.publish("1.0.0", &images[0]).await.expect("the same bytes").already_there);
    assert_refused(place.publish("1.2.0", &images[0]).await, "");
}

pub(crate) async fn what_is_not_ours_is_passed_over(place: &Place) {
    place.publish("1.0.0", &s3_image("1.0.0", 1)).await.expect("published");
    place.promote("1.0.0").await.expect("promoted");
    for key in [
        "README.md",
        "Backups/x",
        "esp32s3/notes.txt",
        "esp32s3/Old/firmware.bin",
        "esp32s3/drafts/readme.txt",
        "esp32s3/releases/latest/version.txt",
        "esp32s3/releases/1.1.0/version.txt",
        "esp32s3/releases/v1.1/version.txt",
        "esp32s3/releases/version.txt",
        "esp32s3/releases/v1.0.0/debug/firmware.elf",
        "esp32s3/releases/v1.2.0/firmware.elf",
        "ünïcode/x",
    ] {
        place.put(key, "?").await;
    }
    place.put("esp32s3/releases/v1.3.0/firmware.bin", s3_image("1.3.0", 1)).await;
    place.put("esp32s3/releases/v1.3.0/version.txt", "1.4.0").await;
    if place.is_moto() {
        let (endpoint, bucket) = place.address();
        let status = Command::new("python3").args(["-c", STRANGE, endpoint, bucket]).status();
        assert!(status.expect("python3 runs").success(), "boto3 is needed: pip install boto3");
    } else if !place.is_s3() {
        use std::os::unix::ffi::OsStrExt;
        for name in [&b"not utf-8 \xff"[..], b"line\nbreak", b"a#1"] {
            let name = std::ffi::OsStr::from_bytes(name);
            std::fs::create_dir_all(place.path().join("esp32s3/releases").join(name)).expect("made");
            std::fs::create_dir_all(place.path().join(name)).expect("made");
        }
    }
    let store = place.again().await;
    store.check().await.expect("it answers");
    assert_eq!(store.products().await.expect("listed"), [product()]);
    assert_eq!(store.channels(&product()).await.expect("listed"), [(production(), Some(v("1.0.0")))]);
    place.publish("1.0.0", &s3_image("1.0.0", 1)).await.expect("the same again");
    let releases = store.releases(&product()).await.expect("listed");
    assert_eq!(releases.iter().map(|release| release.version.as_str()).collect::<Vec<_>>(), ["1.0.0"]);
}

fn utf16(text: &str) -> Vec<u8> {
    [vec![0xFF, 0xFE], text.encode_utf16().flat_map(u16::to_le_bytes).collect()].concat()
}

/// What PowerShell's `>` makes of each file of a product, and versions that are none of SemVer.
pub(crate) async fn files_of_each_tool_are_read(place: &Place) {
    let (store, image) = (&place.store, s3_image("1.2.0", 1));
    place.put("esp32s3/production/firmware.bin", image.clone()).await;
    let metadata = r#"{"version":"v1.2","chip":"ESP32-S3","notes":"said"}"#;
    place.put("esp32s3/production/metadata.json", utf16(metadata)).await;
    place.put("esp32s3/product.json", utf16(r#"{"slot_bytes":65536,"chip":"ESP32-S3"}"#)).await;
    place.put("esp32s3/rollback/blocked_versions.json", utf16(BLOCKED)).await;
    let Blocked::List(list) = store.blocked(&product()).await.expect("read") else { panic!("readable") };
    assert_eq!(list.into_keys().collect::<Vec<_>>(), [v("1.1.0")]);
    for (text, expected) in [
        (utf16("\"1.2\"\r\n"), "1.2.0"),
        (b"\xEF\xBB\xBF1.2.0\0".to_vec(), "1.2.0"),
        (b"2024.10.01\n".to_vec(), "2024.10.1"),
        (b"build-77\n".to_vec(), "build-77"),
        (b"../../q/production\n".to_vec(), "../../q/production"),
    ] {
        place.put("esp32s3/production/version.txt", text).await;
        let found = store.channel(&product(), &production()).await.expect("read").expect("a version");
        assert_eq!(found.as_str(), expected);
        let artifact = store.artifact(&product(), &production(), &found).await.expect("read").expect("there");
        assert_eq!(artifact.key, "esp32s3/production/firmware.bin");
        assert_eq!(artifact.chip.as_deref(), Some("esp32s3"), "{expected}");
    }
    place.put("esp32s3/production/version.txt", b"1.2.0-\xE4".to_vec()).await;
    let error = store.channel(&product(), &production()).await.expect_err("Latin-1");
    assert!(error.to_string().contains("\"1.2.0-\": it is not UTF-8"), "{error}");
    // What opaque names cannot say.
    assert_refused(store.block(&product(), &v("1.1.x"), "").await, "cannot be taken for a range");
    assert!(store.block(&product(), &v("build-77"), "").await.expect("blocked").is_none());
    assert!(store.blocked(&product()).await.expect("read").cause(&v("build-77")).is_some());
}

const ENCODED: &str = "
import sys, boto3
endpoint, bucket, key, file, encoding = sys.argv[1:]
s3 = boto3.client('s3', endpoint_url=endpoint, region_name='us-east-1',
                  aws_access_key_id='test', aws_secret_access_key='test')
s3.put_object(Bucket=bucket, Key=key, Body=open(file, 'rb').read(), ContentEncoding=encoding)
";

/// A folder's files have no headers.
pub(crate) async fn an_object_that_is_stored_encoded_is_refused_by_that_name(place: &Place) {
    if !place.is_moto() {
        return;
    }
    place.publish("1.2.0", &s3_image("1.2.0", 1)).await.expect("published");
    place.promote("1.2.0").await.expect("promoted");
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), s3_image("1.2.0", 1)).expect("written");
    let (endpoint, bucket) = place.address();
    for (encoding, named) in
        [("gzip", Some("gzip")), ("aws-chunked,br", Some("br")), ("identity", None), ("aws-chunked", None)]
    {
        let mut script = Command::new("python3");
        script.args(["-c", ENCODED, endpoint, bucket, "esp32s3/releases/v1.2.0/firmware.bin"]);
        script.arg(file.path()).arg(encoding);
        assert!(script.status().expect("python3 runs").success(), "boto3 is needed: pip install boto3");
        let store = place.again().await;
        let artifact = store.artifact(&product(), &production(), &v("1.2.0")).await;
        let promoted = place.promote("1.2.0").await;
        let Some(named) = named else {
            assert!(artifact.expect(encoding).is_some());
            promoted.expect(encoding);
            continue;
        };
        let words = format!(
            "v1.2.0/firmware.bin is stored with Content-Encoding: {named}, which devices do not undo"
        );
        for error in [artifact.map(|_| ()), promoted] {
            let error = error.expect_err(encoding).to_string();
            assert!(error.contains(&words), "{encoding}: {error}");
        }
    }
}

pub(crate) async fn a_release_is_written_in_one_spelling(place: &Place) {
    let image = s3_image("v1.4", 1);
    place.publish("1.4", &image).await.expect("published");
    place.publish("v1.4.0.0 (again)", &image).await.expect("unchanged");
    place.promote("V01.4").await.expect("promoted");
    for folder in ["releases/v1.4.0", "production"] {
        let text = place.get(&format!("esp32s3/{folder}/version.txt")).await.expect("there");
        assert_eq!(text, "1.4.0\n", "{folder}");
        let metadata = place.get(&format!("esp32s3/{folder}/metadata.json")).await.expect("there");
        let metadata: serde_json::Value = serde_json::from_slice(&metadata).expect("JSON");
        assert_eq!(metadata["version"], "1.4.0", "{folder}");
    }
    assert_eq!(place.store.releases(&product()).await.expect("listed").len(), 1);
}

pub(crate) async fn reading_is_bounded(place: &Place) {
    let store = &place.store;
    place.put("esp32s3/production/version.txt", vec![b'1'; 1025]).await;
    let error = store.channel(&product(), &production()).await.expect_err("too long");
    assert!(
        error.cause().is(cause::store::VERSION_TXT_TOO_LONG) && error.cause().text("size") == "1,025",
        "{error}"
    );
    assert_eq!(store.channels(&product()).await.expect("listed"), [(production(), None)]);
    place.put("esp32s3/production/version.txt", "1.0.0\n1.1.0\n").await;
    let error = store.channel(&product(), &production()).await.expect_err("no version");
    assert!(error.to_string().contains("\"1.0.0\\n1.1.0\\n\""), "{error}");
    place.put("esp32s3/production/version.txt", "1.0.0").await;
    let error = store.artifact(&product(), &production(), &v("1.0.0")).await.expect_err("no image");
    assert!(error.to_string().contains("no firmware.bin"), "{error}");
    place.put("esp32s3/production/firmware.bin", vec![0xE9; 16 * 1024 * 1024 + 1]).await;
    let error = store.artifact(&product(), &production(), &v("1.0.0")).await.expect_err("too large");
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
    place.put("esp32s3/production/firmware.bin", "").await;
    place.put("esp32s3/production/metadata.json", vec![b'{'; 1024 * 1024 + 1]).await;
    let error = store.artifact(&product(), &production(), &v("1.0.0")).await.expect_err("metadata too long");
    assert!(
        error.to_string().contains("production/metadata.json cannot be read (it has 1048577 bytes)"),
        "{error}"
    );
}

pub(crate) async fn a_change_by_another_program_is_seen_at_once(place: &Place) {
    let other = place.again().await;
    for round in 0..5 {
        let text = format!("1.0.{round}");
        place.put("esp32s3/production/version.txt", text.clone()).await;
        assert_eq!(other.channel(&product(), &production()).await.expect("read"), Some(v(&text)));
        assert_eq!(other.channel(&product(), &production()).await.expect("read"), Some(v(&text)));
        place.store.block(&product(), &v(&text), "x").await.expect("blocked");
        assert!(other.blocked(&product()).await.expect("read").cause(&v(&text)).is_some());
    }
}
