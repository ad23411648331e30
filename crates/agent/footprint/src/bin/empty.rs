//! The measured program without the agent: what is to be subtracted.
#![no_std]
#![no_main]

use embedded_storage::nor_flash::{NorFlash, ReadNorFlash};
use updraft_footprint::{Flash, NEW, exit, print_figure, stack_of};

fn nothing() {}

#[unsafe(no_mangle)]
#[unsafe(link_section = ".driver")]
extern "C" fn footprint_main() -> ! {
    let mut byte = [0];
    let worked =
        Flash.erase(0, 0).is_ok() && Flash.write(0, &byte).is_ok() && Flash.read(0, &mut byte).is_ok();
    print_figure(b"stack", stack_of(nothing) + usize::from(worked) + usize::from(NEW[0]));
    exit(0)
}
