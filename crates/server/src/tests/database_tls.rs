//! PostgreSQL across a network: with TLS, and a password in a file.

use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

use super::postgres::{PASSWORD, Postgres};
use crate::config::{Config, DatabaseConfig, Secret};
use crate::db::{Db, Query};

/// A certificate for `localhost` that signs itself, and its key.
fn certificate(folder: &Path, name: &str) {
    let at = |end: &str| folder.join(format!("{name}.{end}")).display().to_string();
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "2",
        ])
        .args([
            "-subj",
            "/CN=localhost",
            "-addext",
            "subjectAltName=DNS:localhost",
            "-addext",
            "basicConstraints=critical,CA:FALSE",
        ])
        .args(["-keyout", &at("key"), "-out", &at("crt")])
        .output()
        .expect("openssl runs");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

#[tokio::test]
async fn postgres_is_spoken_to_with_tls_and_the_password_of_a_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let password = folder.path().join("password");
    std::fs::write(&password, format!("{PASSWORD}\n")).expect("written");
    certificate(folder.path(), "other");
    let port = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a port").port();
    // Whoever is on its socket needs no password.
    let auth = "--auth-local=trust --auth-host=scram-sha-256";
    let postgres = Postgres::start_with(auth, port, |own| {
        certificate(own, "server");
        let key = own.join("server.key");
        let _ = Command::new("chown").arg("postgres").arg(&key).status();
        std::fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("set");
        let file = |name: &str| own.join(name).display().to_string();
        vec![
            "listen_addresses=localhost".to_owned(),
            "ssl=on".to_owned(),
            format!("ssl_cert_file={}", file("server.crt")),
            format!("ssl_key_file={}", file("server.key")),
        ]
    })
    .await;
    let open = async |host: &str, mode: &str, authority: &Path, password: Option<&Path>| {
        let authority = authority.display();
        let url = format!("postgres://updraft@{host}:{port}/postgres?sslmode={mode}&sslrootcert={authority}");
        let password_file = password.map(Path::to_owned);
        let config = DatabaseConfig { url: Secret::new(url), password_file, ..Config::default().database };
        Db::open(&config).await.map_err(|error| format!("{error:#}"))
    };
    let (right, other) = (postgres.path().join("server.crt"), folder.path().join("other.crt"));
    for (mode, encrypted) in
        [("verify-full", true), ("verify-ca", true), ("require", true), ("disable", false)]
    {
        let db = open("localhost", mode, &right, Some(&password)).await.expect("opens");
        let sql = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
        let row = db.row(sql, vec![]).await.expect("read").expect("a row");
        assert_eq!(row.try_get::<bool>("", "ssl").expect("a boolean"), encrypted, "{mode}");
        db.close().await.expect("closes");
    }
    let wrong = folder.path().join("wrong");
    std::fs::write(&wrong, "battery staple").expect("written");
    for (host, mode, authority, password, why) in [
        ("localhost", "verify-full", &other, Some(&*password), "certificate"),
        ("localhost", "verify-ca", &other, Some(&*password), "certificate"),
        ("127.0.0.1", "verify-full", &right, Some(&*password), "certificate"),
        ("localhost", "verify-full", &right, Some(&*wrong), "password"),
        ("localhost", "verify-full", &right, None, "password"),
        ("localhost", "verify-full", &right, Some(Path::new("/nowhere")), "database.password_file"),
    ] {
        let refusal = open(host, mode, authority, password).await.map(|_| ()).expect_err("refused");
        assert!(refusal.contains(why), "{host} {mode}: {refusal}");
        assert!(!refusal.contains(PASSWORD) && !refusal.contains("battery"), "{refusal}");
    }
}
