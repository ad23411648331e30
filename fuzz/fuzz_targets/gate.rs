//! Whatever somebody sends as an image, or lays into the bucket as one, the gate says what it is; and what it found is the same
//! once it was kept.
#![no_main]

use libfuzzer_sys::fuzz_target;
use updraft_contract::{ProductName, Version};
use updraft_store::{Facts, Inspection, Publication, judge};

/// Where the second part of an input goes: behind the first, where a table lies, where an application does.
const PLACES: [usize; 6] = [0, 0x1000, 0x7000, 0x8000, 0x9000, 0x1_0000];

fuzz_target!(|bytes: &[u8]| {
    let Some((place, bytes)) = bytes.split_first() else { return };
    let product: ProductName = "p".parse().expect("a name");
    let version: Version = "1.0.0".parse().expect("a version");
    let asked = Publication { version: Some(version.clone()), ..Publication::new(product.clone()) };
    let mut file = bytes.to_vec();
    if let Some(place) = PLACES.get(usize::from(*place)).filter(|place| **place > 0) {
        let (head, rest) = bytes.split_at(bytes.len() / 2);
        file = vec![0xFF; *place];
        let head = &head[..head.len().min(*place)];
        file[..head.len()].copy_from_slice(head);
        file.extend_from_slice(rest);
    }
    let verdict = judge(&file, &asked, &Facts::default());
    for finding in &verdict.findings {
        assert!(!finding.cause.sentence().is_empty());
    }
    let read = Inspection::of(&file, "tag".to_owned());
    let kept: Inspection = serde_json::from_slice(&serde_json::to_vec(&read).expect("JSON")).expect("the same");
    assert_eq!(kept, read);
    let refusal = read.refusal(&product, &version, &Facts::default());
    assert_eq!(kept.refusal(&product, &version, &Facts::default()), refusal);
    assert!(refusal.is_none() || verdict.is_refused(), "{refusal:?} and {verdict:?}");
});
