//! No bytes make the image parser panic, and pieces never change its verdict.
#![no_main]

use libfuzzer_sys::fuzz_target;
use updraft_image::{Demo, Prefix, Verifier, verify};

fuzz_target!(|bytes: &[u8]| {
    let whole = verify(bytes);
    // The content decides where it is cut, so that the corpus holds plain images.
    let cut = bytes.last().map_or(0, |last| usize::from(*last) * bytes.len() / 256);
    let (head, tail) = bytes.split_at(cut);
    let mut verifier = Verifier::new();
    let pieces = verifier.push(head).and_then(|()| verifier.push(tail)).and_then(|()| verifier.finish());
    assert_eq!(whole, pieces);
    let mut slot = Verifier::in_slot();
    if slot.push(bytes).is_ok() {
        let _ = slot.finish();
    }
    let _ = Prefix::parse(bytes);
    let _ = Demo::find(|offset, buffer| {
        let source = bytes.get(offset as usize..).and_then(|rest| rest.get(..buffer.len())).ok_or(())?;
        buffer.copy_from_slice(source);
        Ok::<_, ()>(())
    });
});
