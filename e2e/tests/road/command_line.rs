//! The commands of the contract, as scripts use them.
use api::{CheckAnswer, Device, Page, RegisteredDevice, Release, UpdateState};
use e2e::command::{Said, updraft};
use e2e::device::VirtualDevice;
use e2e::images::{Workshop, pair};
use e2e::server::{Promote, Server, runs};
use e2e::wait::until;
use image::Chip;
use image::build::Build;

const PRODUCT: &str = "esp32s3";

const COMMANDS: &[&[&str]] = &[
    &[],
    &["demo"],
    &["serve"],
    &["publish"],
    &["promote"],
    &["block"],
    &["unblock"],
    &["releases"],
    &["devices"],
    &["device"],
    &["device", "add"],
    &["device", "show"],
    &["device", "check"],
    &["device", "history"],
    &["device", "remove"],
    &["virtual-device"],
    &["image", "inspect"],
    &["image", "check"],
    &["image", "sign"],
    &["image", "verify"],
    &["key", "new"],
    &["key", "digest"],
    &["token", "new"],
    &["token", "list"],
    &["token", "revoke"],
    &["audit"],
    &["audit", "verify"],
    &["bench", "presign"],
    &["bench", "decisions"],
    &["bench", "offers"],
    &["bench", "reports"],
    &["bench", "lists"],
];

#[tokio::test]
async fn every_command_explains_itself() {
    for command in COMMANDS {
        let said = Said::by(updraft(command.iter().copied().chain(["--help"]))).await.ok();
        assert!(said.out.contains("Usage:"), "{command:?}: {said:?}");
    }
}

#[tokio::test]
async fn wrong_usage_ends_with_2_and_refusals_with_1() {
    for wrong in
        [&["publish"][..], &["no-such-command"], &["promote", "1.0.0"], &["block", "1.0.0", "-p", "x"]]
    {
        assert_eq!(Said::by(updraft(wrong.iter().copied())).await.code, Some(2), "{wrong:?}");
    }
    let server = Server::start().await;
    let mut command = server.remote(["devices"]);
    command.env("UPDRAFT_TOKEN", "guess");
    Said::by(command).await.refused(&["token"]);
    let nobody = format!("http://127.0.0.1:{}", e2e::process::free_port());
    let mut command = server.remote(["devices"]);
    command.env("UPDRAFT_SERVER", &nobody);
    Said::by(command).await.refused(&[&nobody]);
}

#[tokio::test]
async fn a_release_lives_on_the_command_line() {
    let workshop = Workshop::open();
    let server = Server::start().await;
    server.publish(PRODUCT, "1.0.0", &workshop.image("1.0.0"), Promote::Production).await;
    server.publish(PRODUCT, "1.1.0", &workshop.image("1.1.0"), Promote::No).await;
    let run = |arguments: &[&'static str]| Said::by(server.remote(arguments.iter().copied()));

    let items = run(&["releases", "-p", PRODUCT, "--json"]).await.ok().json::<Page<Release>>().items;
    let versions: Vec<_> = items.iter().map(|release| release.version.as_str()).collect();
    assert_eq!(versions, ["1.1.0", "1.0.0"], "highest first");
    assert_eq!(items[0].chip.as_deref(), Some("esp32s3"));
    assert_eq!(items[0].size, std::fs::metadata(workshop.image("1.1.0")).unwrap().len());

    run(&["promote", "1.1.0", "-p", PRODUCT]).await.ok();
    let production = server.folder().join("store/esp32s3/production/version.txt");
    assert_eq!(std::fs::read_to_string(&production).unwrap(), "1.1.0\n");
    run(&["promote", "1.0.0", "-p", PRODUCT, "--channel", "beta"]).await.ok();
    let blocked = run(&["block", "1.1.0", "-p", PRODUCT, "--reason", "Boot loop after OTA"]).await.ok();
    assert!(blocked.out.contains("production still points to it"), "{blocked:?}");
    let list = server.folder().join("store/esp32s3/rollback/blocked_versions.json");
    let list: serde_json::Value = serde_json::from_slice(&std::fs::read(list).unwrap()).unwrap();
    assert_eq!(list["blocked_versions"], serde_json::json!(["1.1.0"]));
    assert_eq!(list["reason"]["1.1.0"], "Boot loop after OTA");
    let shown = run(&["releases", "-p", PRODUCT]).await.ok();
    assert!(shown.out.contains("Boot loop after OTA"), "{shown:?}");
    run(&["unblock", "1.1.0", "-p", PRODUCT]).await.ok();
    let shown = run(&["releases", "-p", PRODUCT]).await.ok();
    assert!(!shown.out.contains("Boot loop after OTA"), "{shown:?}");
}

#[tokio::test]
async fn a_release_lives_in_a_store_without_a_server() {
    let workshop = Workshop::open();
    let folder = tempfile::tempdir().unwrap();
    let store_url = format!("file:{}", folder.path().display());
    let run = |arguments: &[&str]| {
        Said::by(updraft(arguments.iter().copied().chain(["--store", store_url.as_str()]).map(str::to_owned)))
    };
    let image = workshop.image("1.0.0").display().to_string();
    run(&["publish", &image, "-p", PRODUCT, "--notes", "the first"]).await.ok();
    run(&["promote", "1.0.0", "-p", PRODUCT]).await.ok();
    run(&["block", "0.9.0", "-p", PRODUCT, "--reason", "never finished"]).await.ok();
    let said = run(&["releases", "-p", PRODUCT, "--json"]).await.ok();
    assert!(said.out.contains("\"1.0.0\"") && said.out.contains("the first"), "{said:?}");
    for file in ["releases/v1.0.0", "production"] {
        let version = folder.path().join(PRODUCT).join(file).join("version.txt");
        assert_eq!(std::fs::read_to_string(version).unwrap(), "1.0.0\n");
    }
}

/// Whoever works with a server has it in the environment; a store that is named is taken all the same.
#[tokio::test]
async fn a_named_store_wins_over_the_servers_variable() {
    let workshop = Workshop::open();
    let folder = tempfile::tempdir().unwrap();
    let store_url = format!("file:{}", folder.path().display());
    let image = workshop.image("1.0.0").display().to_string();
    let with_server = |arguments: Vec<&str>| {
        let mut command = updraft(arguments);
        command.env("UPDRAFT_SERVER", "http://127.0.0.1:9").env("UPDRAFT_TOKEN", "t");
        Said::by(command)
    };
    with_server(vec!["publish", &image, "-p", PRODUCT, "--requires", "0.9.0", "--store", &store_url])
        .await
        .ok();
    // Without it the variable counts, and nobody listens there.
    let said = with_server(vec!["publish", &image, "-p", PRODUCT, "--requires", "0.9.0"]).await;
    said.refused(&["127.0.0.1:9", "does not answer"]);
}

#[tokio::test]
async fn a_device_lives_on_the_command_line() {
    let workshop = Workshop::open();
    let server = Server::start().await;
    let old = workshop.image("1.0.0");
    server.publish(PRODUCT, "1.1.0", &workshop.image("1.1.0"), Promote::Production).await;
    let run = |arguments: &[&'static str]| Said::by(server.remote(arguments.iter().copied()));

    let added =
        run(&["device", "add", "bench", "-p", PRODUCT, "--json"]).await.ok().json::<RegisteredDevice>();
    let password = added.mqtt_password.as_str();
    let broker = server.broker("bench", password);
    let unheard = Said::by(server.remote(["device", "check", "bench", "--wait"])).await;
    assert_eq!(unheard.code, Some(1), "what was not offered cannot succeed: {unheard:?}");
    let device = VirtualDevice::start("bench", PRODUCT, &broker, &old, "1.0.0");
    server.device_runs("bench", "1.0.0").await;
    let listed = run(&["devices"]).await.ok();
    assert!(listed.out.contains("bench") && listed.out.contains("1.0.0"), "{listed:?}");
    assert!(!listed.out.contains(password));

    let answer = run(&["device", "check", "bench", "--json"]).await.ok().json::<CheckAnswer>();
    assert_eq!(answer.decision, "offered", "{answer:?}");
    server.update_is("bench", UpdateState::Succeeded).await;
    let shown = run(&["device", "show", "bench", "--json"]).await.ok().json::<Device>();
    assert!(&*shown.id == "bench" && runs(&shown, "1.1.0"), "{shown:?}");
    let history = run(&["device", "history", "bench"]).await.ok();
    assert!(history.out.contains("1.0.0") && history.out.contains("1.1.0"), "{history:?}");

    drop(device);
    run(&["device", "remove", "bench"]).await.ok();
    run(&["device", "show", "bench"]).await.refused(&["bench"]);
}

#[tokio::test]
async fn a_revoked_token_is_worth_nothing() {
    let server = Server::start().await;
    let token = server.new_token("laptop", "operator").await;
    let list = |token: &str| {
        let mut command = server.remote(["devices"]);
        command.env("UPDRAFT_TOKEN", token);
        Said::by(command)
    };
    list(&token).await.ok();
    let tokens = Said::by(server.local(["token", "list"])).await.ok();
    assert!(tokens.out.contains("laptop") && !tokens.out.contains(&token), "{tokens:?}");
    Said::by(server.local(["token", "revoke", "laptop"])).await.ok();
    list(&token).await.refused(&["token"]);
}

#[tokio::test]
async fn the_audit_is_verified_by_its_seals() {
    let server = Server::start().await;
    let verify = |more: &'static [&str]| Said::by(server.local([&["audit", "verify"], more].concat()));
    let head = until("what the start wrote is sealed", || async {
        let verified: serde_json::Value = verify(&["--json"]).await.ok().json();
        verified["head"].as_str().map(ToOwned::to_owned)
    })
    .await;
    let said = Said::by(server.local(["audit", "verify", "--head", &head])).await.ok();
    assert!(said.out.contains("are as they were sealed") && said.out.contains(&head), "{said:?}");
    let other = head.replace(|digit: char| digit.is_ascii_digit() && digit != '1', "a");
    let said = Said::by(server.local(["audit", "verify", "--head", &other])).await;
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.out.contains(&format!("The noted seal {other} is not there")), "{said:?}");
    assert_eq!(verify(&["--head", "1:2"]).await.code, Some(2));
}

#[tokio::test]
async fn tokens_are_not_listed_where_no_server_is() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = updraft(["token", "list"]);
    command.current_dir(folder.path());
    Said::by(command).await.refused(&["no updraft-data/updraft.db", "--config"]);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "looking made nothing");
}

#[tokio::test]
async fn an_image_is_inspected() {
    let pair = pair("s3-patch");
    let file = pair.new.display().to_string();
    let said = Said::by(updraft(["image", "inspect", &file])).await.ok();
    assert!(said.out.to_lowercase().contains("esp32-s3") || said.out.contains("esp32s3"), "{said:?}");
    let said =
        Said::by(updraft(["image", "inspect", &file, "--json"])).await.ok().json::<serde_json::Value>();
    assert_eq!(said["chip"], "esp32s3", "{said}");
    let readme = e2e::workspace().join("Cargo.toml").display().to_string();
    Said::by(updraft(["image", "inspect", &readme])).await.refused(&["not an esp"]);
}

/// A key is made, trusted, asked for, and replaced by the next one.
#[tokio::test]
async fn a_key_lives_on_the_command_line() {
    let workshop = Workshop::open();
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    let run = async |arguments: &[&str]| Said::by(updraft(arguments.iter().copied())).await;
    let (old, new) = (at("old.pem"), at("new.pem"));
    run(&["key", "new", &old]).await.ok();
    run(&["key", "new", &new, "--type", "p256"]).await.ok();
    run(&["key", "new", &old]).await.refused(&["never overwritten"]);
    let digest = run(&["key", "digest", &at("old.pub.pem")]).await.ok().out.trim().to_owned();
    assert_eq!(run(&["key", "digest", &old]).await.ok().out.trim(), digest);

    let store_url = format!("file:{}", at("store"));
    std::fs::create_dir_all(folder.path().join("store").join(PRODUCT)).unwrap();
    let product = folder.path().join("store").join(PRODUCT).join("product.json");
    std::fs::write(product, serde_json::json!({ "trusted_keys": [digest] }).to_string()).unwrap();
    let unsigned = workshop.image("1.0.0").display().to_string();
    let publish = async |image: &str| run(&["publish", image, "-p", PRODUCT, "--store", &store_url]).await;
    publish(&unsigned).await.refused(&["not signed", &digest]);
    let (foreign, both) = (at("foreign.bin"), at("both.bin"));
    run(&["image", "sign", &unsigned, "--key", &new, "-o", &foreign]).await.ok();
    publish(&foreign).await.refused(&["signed by the key", &digest]);
    run(&["image", "verify", &foreign, "--key", &old]).await.refused(&["no good signature", &digest]);
    run(&["image", "sign", &foreign, "--key", &old, "-o", &both, "--append"]).await.ok();
    for key in [&old, &at("old.pub.pem"), &new] {
        run(&["image", "verify", &both, "--key", key]).await.ok();
    }
    let inspected = run(&["image", "inspect", &both]).await.ok();
    assert!(inspected.out.contains(&format!("block 2: good, RSA-3072, by key {digest}")), "{inspected:?}");
    publish(&both).await.ok();
}

/// A build whose descriptor is a library's says itself what it is, and then is published under no other name.
#[tokio::test]
async fn an_image_is_stamped_and_published_under_its_own_name_alone() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    let run = async |arguments: &[&str]| Said::by(updraft(arguments.iter().copied())).await;
    let library =
        Build { project_name: "arduino-lib-builder".into(), ..Build::new(Chip::Esp32S3, "esp-idf: v4.4.3") };
    let (built, stamped) = (at("firmware.bin"), at("stamped.bin"));
    std::fs::write(&built, library.bytes()).unwrap();
    let stamp = [
        "image",
        "stamp",
        &built,
        "--version",
        "1.2.0",
        "-p",
        PRODUCT,
        "--secure-version",
        "2",
        "-o",
        &stamped,
    ];
    let said = run(&stamp).await.ok();
    assert!(
        said.out.contains(&format!("says that it is {PRODUCT} 1.2.0, with secure version 2")),
        "{said:?}"
    );
    let inspected = run(&["image", "inspect", &stamped]).await.ok();
    assert!(inspected.out.contains("stamped") && inspected.out.contains("1.2.0"), "{inspected:?}");
    let store = format!("file:{}", at("store"));
    let publish =
        async |arguments: &[&str]| run(&[&["publish", "--store", &store], arguments].concat()).await;
    publish(&[&stamped, "-p", PRODUCT, "--version", "1.3.0"]).await.refused(&["1.2.0", "1.3.0"]);
    publish(&[&stamped, "-p", "another"]).await.refused(&[PRODUCT, "another"]);
    publish(&[&stamped, "-p", PRODUCT]).await.ok();
    // The same bytes, whoever stamps them.
    let again = publish(&[&built, "-p", PRODUCT, "--version", "1.2.0", "--stamp", "--secure-version", "2"])
        .await
        .ok();
    assert!(again.out.contains("with the same content"), "{again:?}");
}

/// README's first command, with nobody at the dashboard: five devices, a release that falls back, one that does not.
#[tokio::test]
async fn the_demo_plays_its_tour_to_the_end() {
    let said =
        Said::by(updraft(["demo", "--play", "--http", "127.0.0.1:0", "--mqtt", "127.0.0.1:0"])).await.ok();
    for words in ["/login?key=", "the image crashed", "FAILED rolled back", "All 5 devices run 1.2.0"] {
        assert!(said.out.contains(words), "{words}: {said:?}");
    }
    assert!(said.err.is_empty(), "{said:?}");
}
