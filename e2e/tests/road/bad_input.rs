//! Bad input gets a clear sentence and changes nothing.
use std::path::Path;
use std::process::Command;

use e2e::command::{Said, updraft};
use e2e::folder::content;
use e2e::images::Workshop;
use e2e::process::free_port;
use e2e::server::{Promote, Server, http_client};
use reqwest::StatusCode;
use reqwest::header::CONTENT_TYPE;

const PRODUCT: &str = "esp32s3";

/// A server with 1.0.0 in production.
async fn server_with_a_release(workshop: &Workshop) -> Server {
    let server = Server::start().await;
    server.publish(PRODUCT, "1.0.0", &workshop.image("1.0.0"), Promote::Production).await;
    server
}

/// Tries to publish by command line (to the server and straight to the store) and by HTTP: each way is refused with these
/// words, and the store stays as it was.
async fn publishing_is_refused(server: &Server, version: &str, image: &Path, words: &[&str]) {
    let store = server.folder().join("store");
    let before = content(&store);
    let file = image.display().to_string();
    let store_url = format!("file:{}", store.display());
    let arguments = ["publish", &file, "-p", PRODUCT, "--version", version];
    for command in [server.remote(arguments), updraft(arguments.into_iter().chain(["--store", &store_url]))] {
        let said = Said::by(command).await;
        assert!(matches!(said.code, Some(1 | 2)), "{said:?}");
        assert_says(&said.err, words);
    }
    let path = format!("/api/v1/products/{PRODUCT}/releases?version={}", version.replace('+', "%2B"));
    let request = http_client().post(server.url(&path));
    let answer =
        request.bearer_auth(server.token()).body(std::fs::read(image).unwrap()).send().await.unwrap();
    assert!(answer.status().is_client_error(), "{answer:?}");
    assert_eq!(answer.headers()[CONTENT_TYPE], "application/problem+json");
    assert_says(&answer.text().await.unwrap(), words);
    assert!(content(&store) == before, "the store changed");
}

#[track_caller]
fn assert_says(sentence: &str, words: &[&str]) {
    for word in words {
        assert!(sentence.to_lowercase().contains(&word.to_lowercase()), "{word:?} is not in {sentence:?}");
    }
}

#[tokio::test]
async fn a_file_that_is_no_image_is_not_published() {
    let workshop = Workshop::open();
    let server = server_with_a_release(&workshop).await;
    let image = std::fs::read(workshop.image("1.1.0")).unwrap();
    let text = workshop.file("notes.txt", b"Dear customer, please find attached");
    publishing_is_refused(&server, "1.1.0", &text, &["not an esp"]).await;
    let empty = workshop.file("empty.bin", b"");
    publishing_is_refused(&server, "1.1.0", &empty, &["image"]).await;
    let half = workshop.file("half.bin", &image[..image.len() / 2]);
    publishing_is_refused(&server, "1.1.0", &half, &["image"]).await;
    let mut damaged = image.clone();
    damaged[image.len() / 2] ^= 1;
    let damaged = workshop.file("damaged.bin", &damaged);
    publishing_is_refused(&server, "1.1.0", &damaged, &["image"]).await;
}

#[tokio::test]
async fn an_image_for_another_chip_is_not_published() {
    let workshop = Workshop::open();
    let server = server_with_a_release(&workshop).await;
    let other = workshop.for_another_chip("1.1.0");
    publishing_is_refused(&server, "1.1.0", &other, &["esp32c3", "esp32s3"]).await;
}

#[tokio::test]
async fn a_version_that_is_not_semver_is_not_published() {
    let workshop = Workshop::open();
    let server = server_with_a_release(&workshop).await;
    let image = workshop.image("1.1.0");
    for version in ["1.1.0.1", "latest", "build-77", "../../1.1.0"] {
        publishing_is_refused(&server, version, &image, &[version, "SemVer"]).await;
    }
    server.publish(PRODUCT, "v01.1", &image, Promote::No).await;
    let written = server.folder().join("store").join(PRODUCT).join("releases/v1.1.0/version.txt");
    assert_eq!(std::fs::read_to_string(written).unwrap(), "1.1.0\n");
}

#[tokio::test]
async fn a_published_version_is_never_given_other_bytes() {
    let workshop = Workshop::open();
    let server = server_with_a_release(&workshop).await;
    let other = workshop.image("1.1.0");
    publishing_is_refused(&server, "1.0.0", &other, &["1.0.0"]).await;
    publishing_is_refused(&server, "1.0.0+rebuilt", &other, &["1.0.0"]).await;
    let before = content(&server.folder().join("store"));
    server.publish(PRODUCT, "1.0.0", &workshop.image("1.0.0"), Promote::No).await;
    assert!(content(&server.folder().join("store")) == before, "the same bytes again change nothing");
}

#[tokio::test]
async fn an_unknown_product_is_named_and_nothing_is_made() {
    let workshop = Workshop::open();
    let server = server_with_a_release(&workshop).await;
    let store = server.folder().join("store");
    let before = content(&store);
    let store_url = format!("file:{}", store.display());
    for arguments in [
        &["promote", "1.0.0", "-p", "esp32s4"][..],
        &["block", "1.0.0", "-p", "esp32s4", "--reason", "bad"],
        &["unblock", "1.0.0", "-p", "esp32s4"],
        &["releases", "-p", "esp32s4"],
    ] {
        Said::by(server.remote(arguments.iter().copied())).await.refused(&["esp32s4"]);
        let straight = updraft(arguments.iter().copied().chain(["--store", &store_url]));
        Said::by(straight).await.refused(&["esp32s4"]);
    }
    Said::by(server.remote(["promote", "9.9.9", "-p", PRODUCT])).await.refused(&["9.9.9"]);
    assert!(content(&store) == before, "the store changed");
}

#[tokio::test]
async fn a_blocked_version_is_not_promoted() {
    let workshop = Workshop::open();
    let server = server_with_a_release(&workshop).await;
    server.publish(PRODUCT, "1.1.0", &workshop.image("1.1.0"), Promote::No).await;
    Said::by(server.remote(["block", "1.1.0", "-p", PRODUCT, "--reason", "boot loop"])).await.ok();
    let said = Said::by(server.remote(["promote", "1.1.0", "-p", PRODUCT])).await;
    said.refused(&["1.1.0", "blocked", "boot loop"]);
    let production =
        std::fs::read_to_string(server.folder().join("store/esp32s3/production/version.txt")).unwrap();
    assert_eq!(production, "1.0.0\n");
}

/// Where no file may become larger than half an image, as on a disk that fills up: a limit that needs no
/// privileges. Its signal is ignored, so that the write fails as it does on a full disk.
fn on_a_full_disk(command: &Command) -> Command {
    let mut limited = Command::new("bash");
    limited.args(["-c", "trap '' XFSZ; ulimit -f 100; exec \"$@\"", "bash"]);
    limited.arg(command.get_program()).args(command.get_args());
    limited
}

#[tokio::test]
async fn a_full_disk_is_said_and_leaves_no_release() {
    let workshop = Workshop::open();
    let folder = tempfile::tempdir().unwrap();
    let store_url = format!("file:{}", folder.path().display());
    let publish = |version: &str| {
        let image = workshop.image(version).display().to_string();
        updraft(["publish", &image, "-p", PRODUCT, "--version", version, "--promote", "--store", &store_url])
    };
    Said::by(publish("1.0.0")).await.ok();

    let said = Said::by(on_a_full_disk(&publish("1.1.0"))).await;
    said.refused(&["firmware.bin"]);
    let files = content(folder.path());
    assert!(!files.keys().any(|path| path.ends_with("v1.1.0/version.txt")), "without it there is no release");
    assert_eq!(files[Path::new("esp32s3/production/version.txt")], b"1.0.0\n");

    Said::by(publish("1.1.0")).await.ok();
    let releases = Said::by(updraft(["releases", "-p", PRODUCT, "--json", "--store", &store_url])).await.ok();
    assert!(releases.out.contains("1.1.0"), "once there is space it is published: {releases:?}");
}

/// A second server on a configuration, which must end by itself.
async fn serve_fails(config: &Path, env: &[(&str, &str)]) -> Said {
    let mut command = updraft(["serve", "--config"]);
    command.arg(config).envs(env.iter().copied()).current_dir(config.parent().unwrap());
    Said::by(command).await
}

#[tokio::test]
async fn a_port_in_use_is_named_with_the_key_that_changes_it() {
    let server = Server::start().await;
    let text = std::fs::read_to_string(server.config()).unwrap();
    let port_of = |section: &str| {
        let listen = text.split(section).nth(1).unwrap().split("listen = \"127.0.0.1:").nth(1).unwrap();
        listen.split('"').next().unwrap().to_owned()
    };
    let (http, mqtt) = (port_of("[http]"), port_of("[mqtt]"));
    let free = format!("127.0.0.1:{}", free_port());

    let said = serve_fails(&server.config(), &[("UPDRAFT_MQTT__LISTEN", &free)]).await;
    said.refused(&[&http, "in use", "http.listen"]);
    let other = tempfile::tempdir().unwrap();
    let database = format!("sqlite:{}", other.path().join("updraft.db").display());
    let said = serve_fails(
        &server.config(),
        &[("UPDRAFT_HTTP__LISTEN", &free), ("UPDRAFT_DATABASE__URL", &database)],
    )
    .await;
    said.refused(&[&mqtt, "in use", "mqtt.listen"]);
    let answer = http_client().get(server.url("/readyz")).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK, "the first one goes on");
}

#[tokio::test]
async fn an_unknown_configuration_key_is_named_with_the_nearest_one() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("updraft.toml");
    for (text, words) in [
        ("[http]\nlisen = \"127.0.0.1:0\"\n", &["lisen", "listen"]),
        ("[store]\nurl_lifetime = 300\n", &["url_lifetime", "url_lifetime_s"]),
        ("[flet]\nadmit = \"reported\"\n", &["flet", "fleet"]),
    ] {
        std::fs::write(&config, text).unwrap();
        serve_fails(&config, &[]).await.refused(words);
    }
    std::fs::write(&config, "").unwrap();
    serve_fails(&config, &[("UPDRAFT_HTTP__PUBLIC_URI", "http://x")]).await.refused(&["public_url"]);
    assert_eq!(content(folder.path()).len(), 1, "nothing else was made: {:?}", content(folder.path()).keys());
}

/// A key that is set wrongly is refused for its value; one that is not there, for its name.
#[tokio::test]
async fn every_variable_that_the_documents_name_is_a_key() {
    let folder = tempfile::tempdir().unwrap();
    let mut named = std::collections::BTreeSet::new();
    for file in ["docs/operate.md", "docs/store.md", "docs/ci.md", "README.md", "Dockerfile"] {
        let text = std::fs::read_to_string(e2e::workspace().join(file)).unwrap();
        let words = text.split(|c: char| !(c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_'));
        let keys =
            words.filter(|word| word.starts_with("UPDRAFT_") && word.trim_end_matches('_').contains("__"));
        named.extend(keys.map(str::to_owned));
    }
    assert!(named.len() >= 4, "{named:?}");
    for key in named {
        let mut command = updraft(["token", "list"]);
        command.current_dir(folder.path()).env(&key, "");
        let said = Said::by(command).await;
        assert!(!said.err.contains("there is no key"), "{key}: {said:?}");
    }
}
