extern crate std;
use std::collections::BTreeSet;
use std::string::{String as StdString, ToString};
use std::vec::Vec;

use proptest::prelude::*;

use super::*;

fn version(text: &str) -> Version {
    text.parse().unwrap_or_else(|_| panic!("{text:?} is a version"))
}

/// What is written, what it is read as, and whose habit it is.
const SPELLINGS: &[(&str, &str, &str)] = &[
    ("1.2.0", "1.2.0", "SemVer, `cargo`, `npm version`"),
    (" 1.2.0\r\n", "1.2.0", "`echo 1.2.0 > version.txt` in cmd.exe"),
    ("1.2.0\0", "1.2.0", "a C array that is sent with its last byte"),
    ("\"1.2.0\"", "1.2.0", "`jq .version package.json`, a -D flag with quotes in platformio.ini"),
    ("'1.2.0'", "1.2.0", "a shell variable that was quoted twice"),
    ("v1.2.0", "1.2.0", "a Git tag"),
    ("V1.2.0", "1.2.0", "a label on a device"),
    ("1.0", "1.0.0", "an Arduino sketch's `#define VERSION \"1.0\"`"),
    ("v2", "2.0.0", "the same, the next year"),
    ("77", "77.0.0", "GITHUB_RUN_NUMBER"),
    ("1.2.3.4", "1.2.3.4", "a Windows file version"),
    ("1.2.3.0", "1.2.3", "the same, before the first build"),
    ("2024.10.01", "2024.10.1", "`date +%Y.%m.%d`"),
    ("20241001", "20241001.0.0", "`date +%Y%m%d`"),
    ("2024.11.0-dev", "2024.11.0-dev", "ESPHome"),
    ("01.02.03", "1.2.3", "printf(\"%02d.%02d.%02d\")"),
    ("1.4.0 (Oct 5)", "1.4.0", "a sketch that appends __DATE__"),
    ("14.2.0(release-tasmota)", "14.2.0", "Tasmota"),
    ("0.15.0-b7", "0.15.0-b7", "WLED"),
    ("1.0.0+20241005", "1.0.0+20241005", "a build script"),
    ("1.0.0-rc.01", "1.0.0-rc.01", "a padded counter"),
    ("v1.2.0-3-gabc1234", "1.2.0-3-gabc1234", "`git describe`, ESP-IDF's PROJECT_VER"),
    ("v1.2.0-3-gabc1234-dirty", "1.2.0-3-gabc1234-dirty", "`git describe --dirty`"),
    ("v1.2-14-g7e12ab0", "1.2.0-14-g7e12ab0", "the same after a tag of two numbers"),
    ("v1.2.0-dirty", "1.2.0-dirty", "the same at the tag"),
    ("v1.2.0-0-gabc1234", "1.2.0-0-gabc1234", "`git describe --long` at the tag"),
    ("v9.2.0-beta.1-10-gabc1234", "9.2.0-beta.1-10-gabc1234", "CircuitPython"),
    ("v1.24.0-preview.123.g7e12ab0", "1.24.0-preview.123.g7e12ab0", "MicroPython"),
];

/// What is a name, and whose habit it is.
const NAMES: &[(&str, &str)] = &[
    ("build-77", "a CI job's number"),
    ("7e12ab0", "`git describe --always` without a tag, ESP-IDF's PROJECT_VER"),
    ("7e12ab0-dirty", "the same with changes"),
    ("main-7e12ab0", "docker/metadata-action"),
    ("Oct  5 2024 12:33:22", "__DATE__ \" \" __TIME__"),
    ("esp-idf: v4.4.3 6407ecb3f8", "arduino-lib-builder"),
    ("20230913-114010/v1.14.0-gcb84623", "Shelly"),
    ("2024.10.0b3", "ESPHome's betas, PEP 440"),
    ("1.2.0_rc1", "an underscore"),
    ("1..2", "a number that is missing"),
    ("1.2.0-", "a suffix that is missing"),
    ("vv1.2.0", "a tag's v before a tag"),
    ("v 1.2.0", "a word and a number"),
    ("version(1.2)", "a call"),
    ("unknown", "a macro that was not set"),
    ("1.0.0-ä", "another alphabet"),
];

#[test]
fn each_spelling_is_read_as_what_it_means() {
    for (text, expected, whose) in SPELLINGS {
        assert_eq!(version(text).as_str(), *expected, "{text:?}: {whose}");
        assert!(!version(text).is_opaque(), "{text:?}: {whose}");
    }
    for (text, whose) in NAMES {
        assert_eq!(version(text).as_str(), *text, "{whose}");
        assert!(version(text).is_opaque() && !version(text).is_semver(), "{text:?}: {whose}");
        assert_eq!(version(text).compare(&version("1.0.0")), None, "{text:?}");
        assert_eq!(version(text).compare(&version(text)), Some(Ordering::Equal), "{text:?}");
    }
}

#[test]
fn only_one_line_is_a_version() {
    let long = "1".repeat(65);
    for text in ["", " \n", "\"\"", "\0", "1.2.0\n1.3.0", "a\0b", "a\x1b[2J", &long] {
        assert!(text.parse::<Version>().is_err(), "{text:?}");
    }
    assert!(Version::from_bytes(&[0xFF, 0xFE]).is_err());
    // The missing parts must fit as well.
    assert!(version(&std::format!("1-{}", "a".repeat(62))).is_opaque());
    assert_eq!(version(&std::format!("1-{}", "a".repeat(58))).as_str().len(), VERSION_MAX_BYTES);
}

#[test]
fn what_a_device_says_is_a_version_unless_it_is_empty() {
    let long = "ä".repeat(40);
    let said = Version::said(&long).expect("a name");
    assert_eq!((said.as_str().chars().count(), said.as_str().ends_with('…')), (31, true));
    assert_eq!(Version::said(&std::format!("1.4.0 ({long})")), Some(version("1.4.0")));
    assert_eq!(Version::said("a\nb"), Some(version("a")));
    assert_eq!(Version::said(" \n"), None);
}

#[test]
fn versions_are_in_order() {
    let ordered = [
        "1.0.0-alpha",
        "1.0.0-alpha.1",
        "1.0.0-alpha.beta",
        "1.0.0-beta",
        "1.0.0-beta.2",
        "1.0.0-beta.11",
        "1.0.0-rc.1",
        "1.0.0-rc.1-2-gabc1234",
        "1.0.0",
        "1.0.0-dirty",
        "1.0.0-0-gabc1234",
        "1.0.0-3-gabc1234",
        "1.0.0-3-gabc1234-dirty",
        "1.0.0-12-g0001234",
        "1.0.0.1",
        "1.0.1",
        "1.1.0",
        "2.0.0",
        "2024.9.30",
        "2024.10.1",
        "99999999999999999999999.0.0",
    ];
    for (index, left) in ordered.iter().enumerate() {
        for (other, right) in ordered.iter().enumerate() {
            assert_eq!(version(left).compare(&version(right)), Some(index.cmp(&other)), "{left}, {right}");
        }
    }
    let (one, other) = (version("1.0.0-3-gabc1234"), version("1.0.0-3-gdef1234"));
    assert_eq!((one == other, one.compare(&other), one.is_below(&other)), (false, None, false));
    assert_eq!(version("1.0.0+a"), version("1.0.0+b"));
    assert_ne!(version("build+a"), version("build+b"));
}

#[test]
fn only_what_semver_has_is_published() {
    for (text, is_semver) in [
        ("1.0", true),
        ("1.2.3.0", true),
        ("1.2.0-3-gabc1234", true),
        ("1.2.3.4", false),
        ("build-77", false),
        ("1.0.99999999999999999999", false),
        ("1.0.0-rc.01", false),
    ] {
        assert_eq!(version(text).is_semver(), is_semver, "{text}");
        assert_eq!(semver::Version::parse(version(text).as_str()).is_ok(), is_semver, "{text}");
    }
}

/// Whatever people write.
fn words() -> impl Strategy<Value = StdString> {
    let plain = "[vV]?[0-9]{1,3}(\\.[0-9]{1,2}){0,4}(-[0-9a-c.-]{0,6})?(\\+[0-9a-c.]{0,4})?";
    let described =
        "v?[01](\\.[01]){0,3}(-(rc|0|a||dirty|1-gabcd|0-gabcd|02-gabcd|2-gabcd|2-gefab)){0,4}( \\(x\\))?";
    prop_oneof![plain, described, "[0-9a-c.+v()' -]{1,20}", "\\PC{1,70}", "[v0-9.+-]{55,70}"]
}

proptest! {
    #[test]
    fn what_is_printed_is_read_as_the_same(words in words()) {
        if let Ok(version) = words.parse::<Version>() {
            let again = self::version(version.as_str());
            prop_assert_eq!(again.as_str(), version.as_str());
            prop_assert_eq!(again.is_opaque(), version.is_opaque());
            let without_build = self::version(version.precedence());
            prop_assert_eq!((&without_build, without_build.as_str()), (&version, version.precedence()));
            if version.is_semver() {
                prop_assert!(semver::Version::parse(version.as_str()).is_ok(), "{}", version);
            }
        }
        if let Some(said) = Version::said(&words) {
            let again = version(said.as_str());
            prop_assert_eq!(again.as_str(), said.as_str());
        }
    }

    #[test]
    fn the_order_is_total(words in proptest::collection::vec(words(), 3)) {
        let versions: Vec<Version> = words.iter().filter_map(|words| words.parse().ok()).collect();
        for a in &versions {
            for b in &versions {
                prop_assert_eq!(a.cmp(b), b.cmp(a).reverse());
                prop_assert_eq!(a.cmp(b).is_eq(), a == b);
                prop_assert_eq!(a.compare(b), b.compare(a).map(Ordering::reverse));
                prop_assert!(a.compare(b).is_none_or(|order| order == a.cmp(b)));
                for c in &versions {
                    prop_assert!(!(a <= b && b <= c) || a <= c, "{} {} {}", a, b, c);
                    prop_assert!(!(a.is_below(b) && b.is_below(c)) || a.is_below(c), "{} {} {}", a, b, c);
                }
            }
        }
        let texts: BTreeSet<StdString> = versions.iter().map(|version| version.precedence().to_string()).collect();
        prop_assert_eq!(versions.iter().collect::<BTreeSet<_>>().len(), texts.len());
    }

    #[test]
    fn versions_agree_with_the_semver_crate(left in "[0-9]{1,2}\\.[0-9]\\.[0-9](-[0-9a-c.-]{0,6})?(\\+[0-9a-c.]{0,4})?",
                                    right in "[0-9]{1,2}\\.[0-9]\\.[0-9](-[0-9a-c.-]{0,6})?") {
        if let (Ok(x), Ok(y)) = (semver::Version::parse(&left), semver::Version::parse(&right)) {
            let (a, b) = (version(&left), version(&right));
            prop_assert_eq!(a.cmp(&b), x.cmp_precedence(&y));
            prop_assert_eq!(a.compare(&b), Some(x.cmp_precedence(&y)));
            prop_assert_eq!((StdString::from(a.as_str()), a.is_semver()), (left, true));
        }
    }
}
