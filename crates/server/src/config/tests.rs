use std::path::Path;

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
            "[database]\nurl = \"mysql://u:geheim@h/d\"",
            "database.url must be sqlite:PATH or postgres://USER@HOST/DATABASE",
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

const ENTRY: &str = "[[trusted_publisher]]\nrepository = \"octo/blinky\"\nproduct = \"blinky\"\n";

#[test]
fn a_trusted_publisher_is_github_and_may_not_promote_where_nothing_else_is_said() {
    let config = parse(&format!("{ENTRY}ref = \"refs/tags/v*\"\nrepository_id = 42"), &[]).expect("valid");
    let publisher = &config.trusted_publishers[0];
    assert_eq!((publisher.issuer.as_str(), publisher.may_promote), (GITHUB_ISSUER, false));
    assert!(publisher.allow.is_empty(), "and may overrule nothing");
    assert_eq!(publisher.repository_id.as_deref(), Some("42"));
    let pattern = publisher.git_ref.as_ref().expect("a ref");
    assert!(pattern.matches("refs/tags/v1.0.0") && pattern.matches("refs/tags/v1/x"));
    assert!(!pattern.matches("refs/heads/v1") && !pattern.matches("refs/tags/1") && !pattern.matches(""));
    let exact = parse(&format!("{ENTRY}ref = \"refs/heads/main\""), &[]).expect("valid");
    let exact = exact.trusted_publishers[0].git_ref.clone().expect("a ref");
    assert!(
        exact.matches("refs/heads/main")
            && !exact.matches("refs/heads/main2")
            && !exact.matches("refs/heads/Main")
    );
}

#[test]
fn a_wrong_trusted_publisher_is_named_by_file_number_and_key() {
    let with = |more: &str| format!("{ENTRY}ref = \"refs/heads/main\"\n{ENTRY}{more}");
    let second = "updraft.toml, trusted_publisher number 2";
    for (more, expected) in [
        ("", " needs a ref (such as \"refs/heads/main\") or an environment"),
        ("reff = \"x\"", ": there is no key reff; did you mean ref?"),
        ("branch = \"main\"", ": there is no key branch"),
        ("ref = \"main\"", ": ref must be a whole ref: \"refs/heads/main\""),
        ("ref = \"refs/pull/1/merge\"", ": ref must be a whole ref"),
        ("ref = \"refs/*\"", ": ref must be a whole ref"),
        ("ref = \"refs/heads/*/main\"", ": ref may have one * and only at its end"),
        ("ref = \"refs/heads/a**\"", ": ref may have one * and only at its end"),
        ("environment = \"prod*\"", ": environment must be the environment's name"),
        ("environment = \"\"", ": environment must be a text of 1 to 255 bytes"),
        ("environment = \"p\"\nissuer = \"http://issuer.example\"", ": issuer must begin with https://"),
        ("environment = \"p\"\nissuer = \"https://u:p@issuer.example\"", ": issuer must begin with https://"),
        ("environment = \"p\"\nmay_promote = 1", ": may_promote must be true or false"),
        ("environment = \"p\"\nrepository_id = \"x\"", ": repository_id must be a number"),
        (
            "environment = \"p\"\nallow = true",
            ": allow must be a list of checks, such as [\"lower-version\"]",
        ),
        ("environment = \"p\"\nallow = [1]", ": allow must be a list of checks"),
        ("alow = []", ": there is no key alow; did you mean allow?"),
    ] {
        let refusal = refusal(&with(more));
        assert!(refusal.starts_with(&format!("{second}{expected}")), "{refusal}");
    }
    for (name, words) in [
        ("lower-versoin", ["there is no check \"lower-versoin\"", "did you mean lower-version?"]),
        ("flash_mode", ["there is no check \"flash_mode\"", "did you mean flash-mode?"]),
        (
            "wrong-chip",
            [
                "wrong-chip cannot be allowed",
                "can be: unprotected, too-large, secure-version, lower-version, same-bytes",
            ],
        ),
        ("all", ["there is no check \"all\"", "can be allowed: unprotected, too-large"]),
    ] {
        let refusal = refusal(&with(&format!("ref = \"refs/tags/*\"\nallow = [\"same-bytes\", \"{name}\"]")));
        assert!(refusal.starts_with(&format!("{second}: allow is wrong: ")), "{refusal}");
        assert!(words.iter().all(|word| refusal.contains(word)), "{refusal}");
    }
    for (text, expected) in [
        (
            "[trusted_publisher]\nx = 1",
            "updraft.toml, trusted_publisher number 1 must be written with two brackets",
        ),
        (
            "[[trusted_publishers]]\nx = 1",
            "updraft.toml: there is no key trusted_publishers; did you mean [[trusted_publisher]]?",
        ),
        (
            "[[trusted_publisher]]\nproduct = \"p\"",
            "updraft.toml, trusted_publisher number 1: repository is missing",
        ),
        (
            "[[trusted_publisher]]\nrepository = \"octo/*\"",
            "updraft.toml, trusted_publisher number 1: repository must be \"owner/name\"",
        ),
    ] {
        let refusal = refusal(text);
        assert!(refusal.starts_with(expected), "{refusal}");
    }
    let refusal = parse("", &[("UPDRAFT_TRUSTED_PUBLISHER__PRODUCT", "p")]).expect_err("refused").to_string();
    assert!(refusal.contains("only the file has"), "{refusal}");
}

#[test]
fn an_issuer_is_kept_as_it_is_written() {
    for issuer in
        ["https://i.example", "https://i.example/", "https://i.example/tenant/", "http://localhost:8/"]
    {
        let config =
            parse(&format!("{ENTRY}ref = \"refs/heads/main\"\nissuer = \"{issuer}\""), &[]).expect("valid");
        assert_eq!(config.trusted_publishers[0].issuer, issuer);
    }
}

#[test]
fn the_trusted_publisher_in_the_documentation_is_read() {
    let page = include_str!("../../../../docs/operate.md");
    let block =
        page.split("```toml\n").find(|block| block.starts_with("[[trusted_publisher]]")).expect("an example");
    let example = block.split("```").next().expect("its end").replace("\n# ", "\n");
    let config = parse(&example, &[]).expect("valid with every line that is commented out");
    let publisher = &config.trusted_publishers[0];
    assert_eq!(publisher.allow, ["lower-version"]);
    assert!(
        publisher.may_promote && publisher.repository_owner_id.is_some() && publisher.environment.is_some()
    );
}

#[test]
fn trusted_proxies_are_a_list_in_the_file_and_in_the_environment() {
    let proxies = |text: &str, environment: &[(&str, &str)]| {
        parse(text, environment).expect("valid").http.trusted_proxies
    };
    let ours: Vec<Network> = ["10.0.0.0/8", "::1"].map(|text| text.parse().expect("a network")).into();
    assert_eq!(proxies("[http]\ntrusted_proxies = [\"10.0.0.0/8\", \"::1\"]", &[]), ours);
    assert_eq!(proxies("", &[("UPDRAFT_HTTP__TRUSTED_PROXIES", "10.0.0.0/8, ::1")]), ours);
    assert_eq!(proxies("[http]\ntrusted_proxies = []", &[]), []);
    assert!(proxies("", &[])[0].contains([127, 0, 0, 9].into()));
    let wrong = refusal("[http]\ntrusted_proxies = [\"proxy.example\"]");
    assert!(
        wrong.contains("http.trusted_proxies must be a list") && wrong.contains("\"proxy.example\""),
        "{wrong}"
    );
    assert!(refusal("[http]\ntrusted_proxies = 1").contains("must be a list"));
}
