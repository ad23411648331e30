//! Who is let in, and how a server starts.

use std::time::Duration;

use super::rig::{BY, HERE, Rig, config, id, until};
use crate::access::{Access, Role};
use crate::error::Error;
use crate::run::{StartOptions, start};

#[tokio::test]
async fn tokens_links_and_sessions_open_the_door_and_end() {
    let rig = Rig::start().await;
    let app = rig.services();
    let hour = Duration::from_hours(1);
    let first = rig.running.first_login().expect("the first start").clone();
    assert!(!format!("{first:?}").contains(&first.password));
    let session =
        app.access.login(HERE, &first.user, &first.password, hour).await.expect("asked").expect("let in");
    assert_eq!(app.access.authenticate(&session).await.expect("asked").expect("known").role, Role::Admin);
    app.access.logout(&BY, &session).await.expect("ended");
    assert!(app.access.authenticate(&session).await.expect("asked").is_none());
    assert!(app.access.login(HERE, &first.user, "wrong", hour).await.expect("asked").is_none());
    assert!(app.access.login(HERE, "nobody", &first.password, hour).await.expect("asked").is_none());
    let link = rig.running.login_link().expect("made").query_pairs().next().expect("a key").1.into_owned();
    assert!(app.access.authenticate(&link).await.expect("asked").is_none(), "a link is no token");
    let both = || app.access.login_with_link(HERE, &link, hour);
    let (one, other) = tokio::join!(both(), both());
    let sessions = [one, other].map(|session| session.expect("asked")).into_iter().flatten();
    assert_eq!(sessions.count(), 1, "a link works once");
    // As `updraft token new` does, beside the running server.
    let beside = Access::open(&config(rig.folder.path(), "")).await.expect("opens");
    let token = beside.create_token(&BY, "ci", Role::Ci, None).await.expect("made");
    assert!(matches!(beside.create_token(&BY, "ci", Role::Ci, None).await, Err(Error::Refused(_))));
    assert_eq!(app.access.authenticate(&token).await.expect("asked").expect("known").actor.name, "ci");
    let session = app.access.login(HERE, "any", &token, hour).await.expect("asked").expect("let in");
    assert_eq!(beside.tokens().await.expect("listed").len(), 1);
    beside.revoke_token(&BY, "ci").await.expect("revoked");
    assert!(app.access.authenticate(&token).await.expect("asked").is_none());
    assert!(app.access.authenticate(&session).await.expect("asked").is_none(), "it ended with its token");
    let short = beside.create_token(&BY, "short", Role::Viewer, Some(Duration::ZERO)).await.expect("made");
    assert!(app.access.authenticate(&short).await.expect("asked").is_none());
    let rig = rig.restart().await;
    assert!(rig.running.first_login().is_none() && rig.running.login_link().is_none());
}

#[tokio::test]
async fn a_port_in_use_says_which_and_how_to_change_it() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("bound");
    let address = taken.local_addr().expect("an address");
    for (section, key) in [("http", "UPDRAFT_HTTP__LISTEN"), ("mqtt", "UPDRAFT_MQTT__LISTEN")] {
        let folder = tempfile::tempdir().expect("a folder");
        let mut config = config(folder.path(), "");
        match section {
            "http" => config.http.listen = address,
            _ => config.mqtt.listen = address,
        }
        let refusal = match start(config, StartOptions::default()).await {
            Ok(_) => panic!("it started"),
            Err(error) => format!("{error:#}"),
        };
        for part in [&address.to_string(), key, &format!("{section}.listen")] {
            assert!(refusal.contains(part), "{refusal}");
        }
    }
}

#[tokio::test]
async fn a_second_server_on_the_same_database_is_refused() {
    let rig = Rig::start().await;
    let refusal = match start(config(rig.folder.path(), ""), StartOptions::default()).await {
        Ok(_) => panic!("it started"),
        Err(error) => format!("{error:#}"),
    };
    assert!(refusal.contains("another Updraft server") && refusal.contains("database.url"), "{refusal}");
    let restarted = rig.restart().await;
    #[cfg(unix)]
    if let Ok(file) = std::fs::metadata(restarted.folder.path().join("updraft.db")) {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(file.permissions().mode() & 0o077, 0, "others on this machine can read the database");
    }
}

#[tokio::test]
async fn the_audit_is_sealed_at_the_start_and_at_the_stop() {
    let rig = Rig::start().await;
    let access = rig.services().access.clone();
    let unsealed = async || access.verify_audit(None).await.expect("read").unsealed;
    until("the first user is sealed", || async { unsealed().await == 0 }).await;
    let product = "p".parse().expect("a product");
    rig.services().devices.register(&BY, &id("d1"), Some(&product)).await.expect("registered");
    assert_eq!(unsealed().await, 1);
    let beside = config(rig.folder.path(), &rig.more);
    rig.running.stop().await.expect("stops");
    let verified = Access::open(&beside).await.expect("opens").verify_audit(None).await.expect("read");
    assert!(verified.holds() && verified.unsealed == 0 && verified.seals == 2, "{verified:?}");
}
