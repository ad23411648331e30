use agent::Port;

use super::*;

#[test]
fn writing_only_clears_bits_and_erasing_sets_whole_sectors() {
    let mut flash = Flash::in_memory();
    flash.write(0x1000, &[0xF0; 4]).expect("erased");
    assert!(matches!(flash.write(0x1000, &[0xFF; 4]), Err(FlashError::NotErased(0x1000))));
    assert!(matches!(flash.write(0x1002, &[0; 4]), Err(FlashError::NotAligned(_))));
    assert!(matches!(flash.erase(0x800, 0x1800), Err(FlashError::NotAligned(_))));
    assert!(matches!(flash.erase(0x40_0000, 0x40_1000), Err(FlashError::OutOfBounds(_))));
    flash.erase(0x1000, 0x2000).expect("a sector");
    flash.write(0x1000, &[0xFF; 4]).expect("erased again");
    assert_eq!(flash.operations(), 3);
}

#[test]
fn a_cut_falls_before_during_or_after_and_nothing_works_until_power_is_back() {
    for (moment, expected) in [(Moment::Before, 0xFF), (Moment::After, 0)] {
        let mut flash = Flash::in_memory();
        flash.cut_at(Some(Cut { operation: 1, moment }));
        assert!(flash.write(0, &[0; 256]).is_err());
        assert!(matches!(flash.read(0, &mut [0]), Err(FlashError::PowerOff)));
        flash.power_on();
        let mut byte = [1];
        flash.read(255, &mut byte).expect("power");
        assert_eq!(byte[0], expected);
    }
    let mut flash = Flash::in_memory();
    flash.cut_at(Some(Cut { operation: 1, moment: Moment::During(Tear::Bits { seed: 3 }) }));
    assert!(flash.write(0, &[0; 256]).is_err());
    flash.power_on();
    let mut page = [0; 256];
    flash.read(0, &mut page).expect("power");
    assert!(page.contains(&0) && page.contains(&0xFF), "a torn page is neither whole nor blank");
}

#[test]
fn a_file_keeps_what_was_written() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("flash.bin");
    let (mut flash, new) = Flash::in_file(&path).expect("a file");
    assert!(new);
    flash.keep().expect("a name");
    flash.write(0x2000, &[1, 2, 3, 4]).expect("erased");
    drop(flash);
    let (mut flash, new) = Flash::in_file(&path).expect("a file");
    assert!(!new);
    let mut bytes = [0; 6];
    flash.read(0x2000, &mut bytes).expect("in bounds");
    assert_eq!(bytes, [1, 2, 3, 4, 0xFF, 0xFF]);
}

#[test]
fn a_file_that_was_never_completed_is_begun_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("flash.bin");
    let (mut flash, _) = Flash::in_file(&path).expect("a file");
    flash.write(0x2000, &[1, 2, 3, 4]).expect("erased");
    drop(flash);
    assert!(!path.exists(), "killed before it was complete");
    let (mut flash, new) = Flash::in_file(&path).expect("a file");
    assert!(new);
    assert_eq!(contents(&mut flash, 0x2000, 4), [0xFF; 4]);
    std::fs::write(&path, [0; 100]).expect("a file");
    assert!(Flash::in_file(&path).is_err(), "somebody else's file is left alone");
}

fn contents(flash: &mut Flash, offset: u32, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    flash.read(offset, &mut bytes).expect("in bounds");
    bytes
}

/// What is left of a written page of so many bytes, all zeros.
fn torn_write(length: usize, tear: Tear) -> Vec<u8> {
    let mut flash = Flash::in_memory();
    flash.cut_at(Some(Cut { operation: 1, moment: Moment::During(tear) }));
    assert!(flash.write(0, &vec![0; length]).is_err());
    flash.power_on();
    contents(&mut flash, 0, length)
}

/// What is left of an erase of zeros.
fn torn_erase(length: usize, tear: Tear) -> Vec<u8> {
    let mut flash = Flash::in_memory();
    flash.erase_blocks();
    flash.write(0, &vec![0; length]).expect("erased");
    flash.cut_at(Some(Cut { operation: flash.operations() + 1, moment: Moment::During(tear) }));
    assert!(flash.erase(0, length as u32).is_err());
    flash.power_on();
    contents(&mut flash, 0, length)
}

#[test]
fn a_write_is_torn_where_the_test_wants_it() {
    for words in 0..=8 {
        let torn = torn_write(32, Tear::Words(words));
        assert!(torn[..4 * words].iter().all(|byte| *byte == 0), "{words} words: {torn:?}");
        assert!(torn[4 * words..].iter().all(|byte| *byte == 0xFF), "{words} words: {torn:?}");
    }
    let (zeros, ones) = ([0; PAGE_BYTES / 2], [0xFF; PAGE_BYTES / 2]);
    assert_eq!(torn_write(PAGE_BYTES, Tear::FirstHalf), [zeros, ones].concat());
    assert_eq!(torn_write(PAGE_BYTES, Tear::SecondHalf), [ones, zeros].concat());
}

#[test]
fn an_erase_is_torn_where_the_test_wants_it_a_whole_block_too() {
    for length in [SECTOR_BYTES, BLOCK_BYTES] {
        let (zeros, ones) = (vec![0; length / 2], vec![0xFF; length / 2]);
        assert_eq!(torn_erase(length, Tear::FirstHalf), [ones.as_slice(), &zeros].concat());
        assert_eq!(torn_erase(length, Tear::SecondHalf), [zeros.as_slice(), &ones].concat());
        let bits = torn_erase(length, Tear::Bits { seed: 3 });
        assert_eq!(bits, torn_erase(length, Tear::Bits { seed: 3 }), "a seed replays");
        assert!(bits.iter().any(|byte| !matches!(byte, 0 | 0xFF)), "some bits of a byte");
    }
}

#[test]
fn some_torn_erases_leave_bits_that_were_ones_as_zeros() {
    let worn_down = (0..32).filter(|seed| {
        let mut flash = Flash::in_memory();
        flash.cut_at(Some(Cut { operation: 1, moment: Moment::During(Tear::Bits { seed: *seed }) }));
        assert!(flash.erase(0, 0x1000).is_err());
        flash.power_on();
        contents(&mut flash, 0, SECTOR_BYTES) != [0xFF; SECTOR_BYTES]
    });
    let worn_down = worn_down.count();
    assert!((1..32).contains(&worn_down), "{worn_down} of 32");
}

#[test]
fn aligned_blocks_are_one_operation_and_the_rest_is_sectors() {
    let mut flash = Flash::in_memory();
    flash.erase(0xF000, 0x3_1000).expect("sectors");
    assert_eq!(flash.operations(), 34);
    flash.erase_blocks();
    flash.erase(0xF000, 0x3_1000).expect("a sector, two blocks, a sector");
    assert_eq!(flash.operations(), 34 + 4);
    assert_eq!((flash.erases(0xE), flash.erases(0xF), flash.erases(0x30)), (0, 2, 2));
}

#[test]
fn retained_memory_outlives_resets_but_no_power_cut() {
    let mut flash = Flash::in_memory();
    *flash.retained().expect("memory") = [7; RETAINED_BYTES];
    assert_eq!(flash.copy().expect("in memory").retained(), Some(&mut [7; RETAINED_BYTES]));
    flash.power_off();
    flash.power_on();
    let first = *flash.retained().expect("memory");
    flash.power_on();
    assert_ne!(*flash.retained().expect("memory"), first, "anything, and not always the same");
    assert_ne!(first, [7; RETAINED_BYTES]);
}

mod encrypted {
    use super::*;
    use crate::layout::{Layout, NVS, OTADATA, SLOTS, UPDRAFT, write_layout};

    fn flash(layout: Layout) -> Flash {
        let mut flash = Flash::in_memory();
        write_layout(&mut flash, layout).expect("a layout");
        flash.write(SLOTS[0].offset, &[1; 64]).expect("erased");
        flash.encrypt(42).expect("a table");
        flash
    }

    /// How many bytes are no longer what they were.
    fn changed(bytes: &[u8], was: u8) -> usize {
        bytes.iter().filter(|byte| **byte != was).count()
    }

    #[test]
    fn what_was_flashed_and_what_is_written_reads_back_and_erased_flash_is_noise() {
        let mut flash = flash(Layout::TwoSlots);
        assert_eq!(flash.encryption(), Encryption::Transparent);
        assert_eq!(contents(&mut flash, SLOTS[0].offset, 64), [1; 64]);
        flash.write(SLOTS[1].offset + 0x30, &[2; 32]).expect("erased");
        assert_eq!(contents(&mut flash, SLOTS[1].offset + 0x35, 20), [2; 20]);
        for offset in [OTADATA.offset, SLOTS[1].offset, SLOTS[1].offset + 0x50] {
            let noise = contents(&mut flash, offset, 32);
            assert!(changed(&noise, 0xFF) > 24, "{noise:?}");
            assert_ne!(noise[..16], noise[16..], "each address has its own");
        }
        assert!(flash.medium.load(8).expect("memory")[..2] != [0xAA, 0x50], "the table lies there encrypted");
    }

    #[test]
    fn only_whole_units_can_be_written_and_only_to_erased_flash() {
        let mut flash = flash(Layout::TwoSlots);
        assert!(matches!(flash.write(SLOTS[1].offset, &[2; 4]), Err(FlashError::NotAligned(_))));
        assert!(matches!(flash.write(SLOTS[1].offset + 4, &[2; 16]), Err(FlashError::NotAligned(_))));
        flash.write(SLOTS[1].offset, &[0xFF; 16]).expect("erased");
        assert!(flash.write(SLOTS[1].offset, &[0; 16]).is_err(), "no bit is cleared in place");
    }

    #[test]
    fn a_flipped_bit_garbles_its_unit_and_no_more() {
        let mut flash = flash(Layout::TwoSlots);
        flash.corrupt(SLOTS[0].offset + 20, 1).expect("in bounds");
        let bytes = contents(&mut flash, SLOTS[0].offset, 64);
        assert!(changed(&bytes[16..32], 1) > 10, "{bytes:?}");
        assert_eq!((&bytes[..16], &bytes[32..]), (&[1; 16][..], &[1; 32][..]));
    }

    #[test]
    fn data_partitions_are_encrypted_only_if_they_are_flagged() {
        for (layout, plain) in [(Layout::TwoSlots, true), (Layout::TwoSlotsFlagged, false)] {
            let mut flash = flash(layout);
            assert_eq!(contents(&mut flash, UPDRAFT.offset, 16) == [0xFF; 16], plain);
            assert_eq!(contents(&mut flash, NVS.offset, 16), [0xFF; 16]);
            flash.write(NVS.offset + 4, &[3; 4]).expect("words do there");
        }
    }

    #[test]
    fn without_support_what_is_written_is_noise_except_the_bootloader_s() {
        let mut flash = Flash::in_memory();
        write_layout(&mut flash, Layout::TwoSlots).expect("a layout");
        flash.encrypt_without_support(43).expect("a table");
        assert_eq!(flash.encryption(), Encryption::Unsupported);
        flash.write(SLOTS[1].offset, &[2; 32]).expect("erased");
        assert_ne!(contents(&mut flash, SLOTS[1].offset, 32), [2; 32]);
        flash.write_by_bootloader(OTADATA.offset, &[2; 32]).expect("erased");
        assert_eq!(contents(&mut flash, OTADATA.offset, 32), [2; 32]);
        assert_eq!(flash.encryption(), Encryption::Unsupported);
    }
}
