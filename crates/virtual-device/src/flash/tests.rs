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
    flash.cut_at(Some(Cut { operation: 1, moment: Moment::During { seed: 3 } }));
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
    flash.write(0x2000, &[1, 2, 3, 4]).expect("erased");
    drop(flash);
    let (mut flash, new) = Flash::in_file(&path).expect("a file");
    assert!(!new);
    let mut bytes = [0; 6];
    flash.read(0x2000, &mut bytes).expect("in bounds");
    assert_eq!(bytes, [1, 2, 3, 4, 0xFF, 0xFF]);
}

#[test]
fn devices_share_what_is_the_same() {
    let (mut one, mut two) = (Flash::in_memory(), Flash::in_memory());
    for flash in [&mut one, &mut two] {
        flash.write(0, &[0x5A; SECTOR_BYTES]).expect("erased");
    }
    let (Medium::Memory(one), Medium::Memory(two)) = (&one.medium, &two.medium) else { panic!("memory") };
    assert!(Arc::ptr_eq(one[0].as_ref().expect("written"), two[0].as_ref().expect("written")));
}
