use std::process::Command;

use updraft_store::{Blocked, StoreError};

use crate::place::{Place, product, production, s3_image, v};

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

/// OTA.md's layout, put there as its readers do: by a few lines of boto3.
const BOTO3: &str = "
import sys, boto3
endpoint, bucket, image = sys.argv[1:]
s3 = boto3.client('s3', endpoint_url=endpoint, region_name='us-east-1',
                  aws_access_key_id='test', aws_secret_access_key='test')
body = open(image, 'rb').read()
s3.put_object(Bucket=bucket, Key='esp32s3/production/')
s3.put_object(Bucket=bucket, Key='esp32s3/production/firmware.bin', Body=body)
s3.put_object(Bucket=bucket, Key='esp32s3/production/version.txt', Body=b'v1.2.0\\r\\n')
s3.put_object(Bucket=bucket, Key='esp32s3/rollback/blocked_versions.json',
              Body=b'{\"blocked_versions\": [\"1.1.0\"], \"reason\": {\"1.1.0\": \"Boot loop after OTA\"}}')
";

pub(crate) async fn a_bucket_filled_by_hand_is_served(place: &Place) {
    let image = s3_image("1.2.0", 1);
    if place.is_s3() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), &image).expect("written");
        let (endpoint, bucket) = place.address();
        let status = Command::new("python3").args(["-c", BOTO3, endpoint, bucket]).arg(file.path()).status();
        assert!(status.expect("python3 runs").success(), "boto3 is needed: pip install boto3");
    } else {
        place.put("esp32s3/production/firmware.bin", image.clone()).await;
        place.put("esp32s3/production/version.txt", "v1.2.0\r\n").await;
        let list = r#"{"blocked_versions": ["1.1.0"], "reason": {"1.1.0": "Boot loop after OTA"}}"#;
        place.put("esp32s3/rollback/blocked_versions.json", list).await;
    }
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
    assert_eq!(store.product_file(&product()).await.expect("read").chip.as_deref(), Some("esp32s3"));
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
const WHOLE: &str = "
import json, sys, boto3
endpoint, bucket, *images = sys.argv[1:]
s3 = boto3.client('s3', endpoint_url=endpoint, region_name='us-east-1',
                  aws_access_key_id='test', aws_secret_access_key='test')
def put(folder, version, image):
    s3.upload_file(image, bucket, f'esp32s3/{folder}/firmware.bin')
    s3.put_object(Bucket=bucket, Key=f'esp32s3/{folder}/metadata.json', Body=json.dumps({'version': version}))
    s3.put_object(Bucket=bucket, Key=f'esp32s3/{folder}/version.txt', Body=version)
for version, image in zip(['1.0.0', '1.1.0', '1.2.0'], images):
    put(f'releases/v{version}', version, image)
put('production', '1.2.0', images[2])
s3.put_object(Bucket=bucket, Key='esp32s3/rollback/blocked_versions.json', Body=json.dumps(
    {'blocked_versions': ['1.1.0'], 'reason': {'1.1.0': 'Boot loop after OTA'}}, indent=2))
";

pub(crate) async fn a_bucket_in_the_requirements_layout_is_served(place: &Place) {
    let versions = ["1.0.0", "1.1.0", "1.2.0"];
    let images = versions.map(|version| s3_image(version, 1));
    if place.is_s3() {
        let folder = tempfile::tempdir().expect("a folder");
        let (endpoint, bucket) = place.address();
        let mut script = Command::new("python3");
        script.args(["-c", WHOLE, endpoint, bucket]);
        for (version, image) in versions.iter().zip(&images) {
            let file = folder.path().join(version);
            std::fs::write(&file, image).expect("written");
            script.arg(file);
        }
        assert!(script.status().expect("python3 runs").success(), "boto3 is needed: pip install boto3");
    } else {
        for (folder, number) in
            [("releases/v1.0.0", 0), ("releases/v1.1.0", 1), ("releases/v1.2.0", 2), ("production", 2)]
        {
            place.put(&format!("esp32s3/{folder}/firmware.bin"), images[number].clone()).await;
            place.put(&format!("esp32s3/{folder}/metadata.json"), "{}").await;
            place.put(&format!("esp32s3/{folder}/version.txt"), versions[number]).await;
        }
        let list = r#"{"blocked_versions": ["1.1.0"], "reason": {"1.1.0": "Boot loop after OTA"}}"#;
        place.put("esp32s3/rollback/blocked_versions.json", list).await;
    }
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
    let other = place.publish("1.2.0", &images[0]).await;
    assert!(matches!(other, Err(StoreError::Refused(_))), "{other:?}");
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

pub(crate) async fn reading_is_bounded(place: &Place) {
    let store = &place.store;
    place.put("esp32s3/production/version.txt", vec![b'1'; 1025]).await;
    let error = store.channel(&product(), &production()).await.expect_err("too long");
    assert!(
        error.cause().is(cause::store::VERSION_TXT_TOO_LONG) && error.cause().text("size") == "1,025",
        "{error}"
    );
    assert_eq!(store.channels(&product()).await.expect("listed"), [(production(), None)]);
    place.put("esp32s3/production/version.txt", "one point oh").await;
    let error = store.channel(&product(), &production()).await.expect_err("no version");
    assert!(error.to_string().contains("\"one point oh\""), "{error}");
    place.put("esp32s3/production/version.txt", "1.0.0").await;
    let error = store.artifact(&product(), &production(), &v("1.0.0")).await.expect_err("no image");
    assert!(error.to_string().contains("no firmware.bin"), "{error}");
    place.put("esp32s3/production/firmware.bin", vec![0xE9; 16 * 1024 * 1024 + 1]).await;
    let error = store.artifact(&product(), &production(), &v("1.0.0")).await.expect_err("too large");
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
    place.put("esp32s3/production/firmware.bin", "").await;
    place.put("esp32s3/production/metadata.json", vec![b'{'; 1024 * 1024 + 1]).await;
    let artifact =
        store.artifact(&product(), &production(), &v("1.0.0")).await.expect("read").expect("there");
    assert_eq!((artifact.size, artifact.chip), (0, None));
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
