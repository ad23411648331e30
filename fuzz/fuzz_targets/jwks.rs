//! No document of an issuer panics whoever reads it, sends the server where it must not ask, or brings a key that signed
//! what nobody signed.
#![no_main]

use std::net::IpAddr;

use libfuzzer_sys::fuzz_target;
use updraft_oidc::{Algorithm, KEYS_MAX, discovery_address, key_set, key_set_address};
use url::Url;

const FAR: &str = "https://i.example/tenant/";
const NEAR: &str = "http://127.0.0.1:8080";

fuzz_target!(|bytes: &[u8]| {
    if let Ok(address) = key_set_address(bytes, FAR) {
        assert!(address.scheme() == "https" && !is_here(&address), "{address}");
        assert!(address.username().is_empty() && address.password().is_none(), "{address}");
        assert!(address.as_str().is_ascii(), "it goes into the log");
    }
    if let Ok(address) = key_set_address(bytes, NEAR) {
        assert!(
            address.scheme() == "https" || (address.scheme() == "http" && is_here(&address)),
            "{address}"
        );
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        assert!(discovery_address(text).ends_with("/.well-known/openid-configuration"));
        let _ = key_set_address(bytes, text);
    }
    let Some(keys) = key_set(bytes) else { return };
    assert!(keys.len() <= KEYS_MAX);
    for (_, key) in keys.iter().take(4) {
        let mut ways = 0;
        for (algorithm, signature_bytes) in [(Algorithm::Rs256, 256), (Algorithm::Es256, 64)] {
            ways += usize::from(key.fits(algorithm));
            for signature in [&[][..], &vec![0; signature_bytes], &vec![1; signature_bytes]] {
                assert!(!key.has_signed(algorithm, b"a message", signature), "{key:?}");
            }
        }
        assert_eq!(ways, 1, "a key is for one way");
    }
});

fn is_here(address: &Url) -> bool {
    let host = address.host_str().expect("it has a host").trim_matches(['[', ']']);
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback())
}
