use heapless::String;

use super::fetch::version_in_url;

#[test]
fn the_version_is_learnt_from_a_release_s_path_only() {
    let version = |url: &str| {
        version_in_url(url.as_bytes()).map(|version| String::<64>::try_from(version.as_str()).ok())
    };
    let known = |text: &str| Some(String::<64>::try_from(text).ok());
    assert_eq!(version("http://h/firmware/p/releases/v1.2.0/firmware.bin?expires=1"), known("1.2.0"));
    assert_eq!(version("https://b.s3/p/releases/v1.2.0%2Bb/firmware.bin"), known("1.2.0+b"));
    for other in [
        "http://h/p/production/firmware.bin",
        "http://h/d/abc",
        "http://h/releases/v1.2/firmware.bin",
        "http://h/p/releases/v1.2.0/other.bin",
        "http://h/x?y=/releases/v1.2.0/firmware.bin",
        "",
    ] {
        assert_eq!(version(other), None, "{other}");
    }
}
