use super::*;

fn parse(text: &str, environment: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Config::parse("updraft.toml", text, environment)
}

fn refusal(text: &str) -> String {
    parse(text, &[]).expect_err(text).to_string()
}

#[test]
fn the_example_of_the_contract_is_read() {
    let config = parse(
        r#"
        [http]
        listen = "127.0.0.1:8080"
        public_url = "http://127.0.0.1:8080"
        [mqtt]
        url = "mqtts://user:password@broker.example:8883"
        listen = "127.0.0.1:1883"
        offline_after_s = 120
        version_topic = "devices/{id}/version"
        [fleet]
        default_product = "esp32s3"
        admit = "registered"
        update_timeout_s = 900
        [store]
        url = "s3://bucket?region=eu-central-1"
        url_lifetime_s = 60
        refresh_s = 15
        [database]
        url = "sqlite:updraft-data/updraft.db"
        "#,
        &[],
    )
    .expect("valid");
    assert_eq!(config.fleet.default_product.as_deref(), Some("esp32s3"));
    assert_eq!(config.fleet.admit, Admit::Registered);
    assert!(!config.embedded_broker());
    let printed = format!("{config:?}");
    assert!(!printed.contains("password@") && !printed.contains("updraft.db"), "{printed}");
}

#[test]
fn nothing_set_is_loopback_and_embedded() {
    let config = parse("", &[]).expect("valid");
    assert!(config.http.listen.ip().is_loopback() && config.mqtt.listen.ip().is_loopback());
    assert!(config.embedded_broker());
}

#[test]
fn the_environment_wins_over_the_file() {
    let config = parse(
        "[store]\nurl_lifetime_s = 60\nshort_urls = false",
        &[
            ("UPDRAFT_STORE__URL_LIFETIME_S", "61"),
            ("UPDRAFT_STORE__SHORT_URLS", "true"),
            ("UPDRAFT_TOKEN", "x"),
        ],
    )
    .expect("valid");
    assert_eq!(config.store.url_lifetime_s, 61);
    assert!(config.store.short_urls);
}

#[test]
fn an_unknown_key_names_the_nearest() {
    assert_eq!(
        refusal("[http]\nlisten_on = \"127.0.0.1:1\""),
        "updraft.toml: there is no key http.listen_on; did you mean http.listen?"
    );
    assert_eq!(
        refusal("[stores]\nrefresh_s = 1"),
        "updraft.toml: there is no key stores.refresh_s; did you mean store.refresh_s?"
    );
    assert_eq!(refusal("admit = \"x\""), "updraft.toml: there is no key admit; did you mean fleet.admit?");
    assert_eq!(refusal("[entirely]"), "updraft.toml: there is no key entirely");
    let refusal = parse("", &[("UPDRAFT_MQTT__URI", "embedded")]).expect_err("unknown").to_string();
    assert_eq!(
        refusal,
        "the environment: there is no key UPDRAFT_MQTT__URI; did you mean UPDRAFT_MQTT__URL?"
    );
}

#[test]
fn a_value_out_of_bounds_names_its_key() {
    for (text, expected) in [
        ("[store]\nurl_lifetime_s = 59", "store.url_lifetime_s must be a whole number from 60 to 3600"),
        ("[store]\nurl_lifetime_s = 3601", "store.url_lifetime_s must be a whole number from 60 to 3600"),
        ("[http]\nlisten = \"localhost\"", "http.listen must be an address and a port"),
        ("[http]\npublic_url = \"ftp://x\"", "http.public_url must begin with http"),
        (
            "[mqtt]\nversion_topic = \"devices/version\"",
            "mqtt.version_topic is wrong: a version topic has {id}",
        ),
        ("[fleet]\ndefault_product = \"A\"", "fleet.default_product is wrong: a product name"),
        ("[fleet]\nadmit = true", "fleet.admit must be a text"),
        (
            "[database]\nurl = \"postgres://u:geheim@h/d\"",
            "database.url names PostgreSQL, and this build has SQLite only",
        ),
        ("[store]\nurl = \"/tmp\"", "store.url must be file:PATH"),
    ] {
        let refusal = refusal(text);
        assert!(refusal.contains(expected), "{refusal}");
        assert!(!refusal.contains("geheim"), "{refusal}");
    }
}

#[test]
fn a_file_that_is_named_must_be_there() {
    let refusal = Config::load(Some(Path::new("/nowhere/updraft.toml"))).expect_err("absent").to_string();
    assert!(refusal.starts_with("cannot read /nowhere/updraft.toml"), "{refusal}");
}

#[test]
fn an_error_in_the_file_never_prints_a_password() {
    let refusal = refusal("[mqtt]\nurl = \"http://user:geheim@host\"");
    assert!(!refusal.contains("geheim"), "{refusal}");
    let refusal = self::refusal("[mqtt]\nurl = \"mqtt://user:geheim@host");
    assert!(refusal.starts_with("updraft.toml, line 2: "), "{refusal}");
    assert!(!refusal.contains("geheim"), "{refusal}");
}
