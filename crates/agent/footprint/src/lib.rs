//! What both programs share: a start without an operating system's libraries, a flash that is an array, a painted stack.
//!
//! It runs under user-mode emulation, whose system calls stand in for a UART. Everything here that is not part of a
//! firmware's agent lies in sections of its own (`.driver`, `.flash`, `.painted`), which are not counted.
#![no_std]

use core::arch::{asm, global_asm};

use embedded_storage::nor_flash::{ErrorType, NorFlash, NorFlashError, NorFlashErrorKind, ReadNorFlash};
use updraft_agent::{Port, RETAINED_BYTES};

/// The flash's size, in bytes.
pub const FLASH_BYTES: usize = 0x3_0000;
/// Far more than the agent may use, so that the measurement cannot destroy what it measures.
pub const STACK_BYTES: usize = 64 * 1024;
const PAINT: u32 = 0xA5C3_5A3C;

#[unsafe(link_section = ".flash")]
static mut FLASH: [u8; FLASH_BYTES] = *include_bytes!(concat!(env!("OUT_DIR"), "/flash.bin"));

/// The image that the device updates to.
#[unsafe(link_section = ".fixture")]
pub static NEW: [u8; include_bytes!(concat!(env!("OUT_DIR"), "/new.bin")).len()] =
    *include_bytes!(concat!(env!("OUT_DIR"), "/new.bin"));

/// The image that it goes back to.
#[unsafe(link_section = ".fixture")]
pub static OLD: [u8; include_bytes!(concat!(env!("OUT_DIR"), "/old.bin")).len()] =
    *include_bytes!(concat!(env!("OUT_DIR"), "/old.bin"));

/// The digests of the keys that the images are signed by.
#[cfg(feature = "signature")]
pub static KEYS: [[u8; 32]; 2] = {
    const BYTES: &[u8; 64] = include_bytes!(concat!(env!("OUT_DIR"), "/keys.bin"));
    let (mut keys, mut at) = ([[0; 32]; 2], 0);
    while at < BYTES.len() {
        keys[at / 32][at % 32] = BYTES[at];
        at += 1;
    }
    keys
};

/// How much of an image comes before the connection breaks.
pub const BROKEN_AT: usize = 7000;

/// Where the agent goes on after that: behind the last whole sector.
pub const PART_AT: usize = 4096;

/// How much of an image's end the agent asks for first.
pub const TAIL_BYTES: u32 = 4096 + 32;

/// What a server says before it sends a body.
pub struct Heads {
    /// 403.
    pub forbidden: &'static [u8],
    /// 302, to another path.
    pub redirect: &'static [u8],
    /// 206, the last [`TAIL_BYTES`].
    pub tail: &'static [u8],
    /// 200, all of it.
    pub whole: &'static [u8],
    /// 206, from [`PART_AT`] on.
    pub part: &'static [u8],
}

/// Texts of a server's lie beside the images: a device has none of them.
macro_rules! fixture {
    ($file:literal) => {{
        #[unsafe(link_section = ".fixture")]
        static BYTES: [u8; include_bytes!(concat!(env!("OUT_DIR"), $file)).len()] =
            *include_bytes!(concat!(env!("OUT_DIR"), $file));
        &BYTES
    }};
}

/// The driver's own words, which no device has either, as bytes or (`as`) as text.
#[macro_export]
macro_rules! text {
    (as $text:literal) => {{
        const BYTES: &[u8] = $crate::text!($text);
        // SAFETY: they were a literal's.
        unsafe { core::str::from_utf8_unchecked(BYTES) }
    }};
    ($text:literal) => {{
        #[unsafe(link_section = ".fixture")]
        static BYTES: [u8; $text.len()] = *$text.as_bytes().first_chunk().unwrap();
        &BYTES
    }};
}

/// For images of the length that [`NEW`] and [`OLD`] have.
#[unsafe(link_section = ".fixture")]
pub static HEADS: Heads = Heads {
    forbidden: fixture!("/forbidden"),
    redirect: fixture!("/redirect"),
    tail: fixture!("/tail"),
    whole: fixture!("/whole"),
    part: fixture!("/part"),
};

static mut RETAINED: [u8; RETAINED_BYTES] = [0; RETAINED_BYTES];

// No libc: the first instruction takes the painted stack and goes to `main`.
global_asm!(
    ".pushsection .painted, \"aw\", @nobits",
    ".balign 16",
    "painted_bottom:",
    ".skip {bytes}",
    "painted_top:",
    ".popsection",
    ".pushsection .driver, \"ax\"",
    ".globl _start",
    "_start:",
    "la sp, painted_top",
    "call footprint_main",
    "1: j 1b",
    ".popsection",
    bytes = const STACK_BYTES,
);

global_asm!(include_str!("save_restore.s"));

unsafe extern "C" {
    static mut painted_bottom: u32;
}

#[unsafe(link_section = ".driver")]
#[inline(never)]
fn system_call(number: usize, first: usize, second: usize, third: usize) {
    // SAFETY: Linux's calling convention on RISC-V; the calls used (write, exit) read memory that is passed as a slice.
    unsafe {
        asm!("ecall", in("a7") number, inlateout("a0") first => _, in("a1") second, in("a2") third);
    }
}

/// Writes to the emulator's standard output.
#[unsafe(link_section = ".driver")]
#[inline(never)]
pub fn print(text: &[u8]) {
    system_call(64, 1, text.as_ptr() as usize, text.len());
}

/// A name and a decimal number on a line.
#[unsafe(link_section = ".driver")]
#[inline(never)]
pub fn print_figure(name: &[u8], value: usize) {
    let (mut digits, mut at, mut rest) = ([0_u8; 10], 10, value);
    loop {
        at -= 1;
        if let Some(digit) = digits.get_mut(at) {
            *digit = b'0' + (rest % 10) as u8;
        }
        rest /= 10;
        if rest == 0 || at == 0 {
            break;
        }
    }
    print(name);
    print(b" ");
    print(digits.get(at..).unwrap_or_default());
    print(b"\n");
}

/// Ends the program.
#[unsafe(link_section = ".driver")]
#[inline(never)]
pub fn exit(code: usize) -> ! {
    system_call(93, code, 0, 0);
    loop {}
}

/// Fills the unused part of the stack, runs `work` and says how many bytes of it were touched below this call.
#[unsafe(link_section = ".driver")]
#[inline(never)]
pub fn stack_of(work: fn()) -> usize {
    let here: usize;
    // SAFETY: reads a register.
    unsafe { asm!("mv {}, sp", out(reg) here) };
    let bottom = &raw mut painted_bottom as usize;
    // SAFETY: from the end of the stack to just below this frame nothing lives; the margin covers the calls made here.
    unsafe {
        for at in (bottom..here - 64).step_by(4) {
            (at as *mut u32).write_volatile(PAINT);
        }
    }
    work();
    let mut at = bottom;
    // SAFETY: the same stretch; it ends at this frame, which is not paint.
    while at < here && unsafe { (at as *const u32).read_volatile() } == PAINT {
        at += 4;
    }
    here - at
}

/// The array that stands for a flash chip.
pub struct Flash;

impl Flash {
    /// Where a stretch of the flash lies in memory; `None` outside it.
    #[unsafe(link_section = ".driver")]
    #[inline(never)]
    pub fn stretch(&mut self, offset: u32, bytes: usize) -> Option<&mut [u8]> {
        // SAFETY: one thread, and the borrow of `self`, of which the program has one, covers the array's.
        let all = unsafe { &mut *(&raw mut FLASH) };
        all.get_mut(offset as usize..(offset as usize).checked_add(bytes)?)
    }
}

impl Port for Flash {
    fn retained(&mut self) -> Option<&mut [u8; RETAINED_BYTES]> {
        // SAFETY: as above.
        Some(unsafe { &mut *(&raw mut RETAINED) })
    }
}

/// Outside the flash.
#[derive(Debug)]
pub struct Beyond;

impl NorFlashError for Beyond {
    fn kind(&self) -> NorFlashErrorKind {
        NorFlashErrorKind::OutOfBounds
    }
}

impl ErrorType for Flash {
    type Error = Beyond;
}

impl ReadNorFlash for Flash {
    const READ_SIZE: usize = 4;

    #[unsafe(link_section = ".driver")]
    #[inline(never)]
    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), Beyond> {
        let from = self.stretch(offset, bytes.len()).ok_or(Beyond)?;
        for (to, from) in bytes.iter_mut().zip(from) {
            *to = *from;
        }
        Ok(())
    }

    fn capacity(&self) -> usize {
        FLASH_BYTES
    }
}

impl NorFlash for Flash {
    const WRITE_SIZE: usize = 4;
    const ERASE_SIZE: usize = 4096;

    #[unsafe(link_section = ".driver")]
    #[inline(never)]
    fn erase(&mut self, from: u32, to: u32) -> Result<(), Beyond> {
        let stretch = self.stretch(from, to.checked_sub(from).ok_or(Beyond)? as usize).ok_or(Beyond)?;
        for byte in stretch {
            *byte = 0xFF;
        }
        Ok(())
    }

    #[unsafe(link_section = ".driver")]
    #[inline(never)]
    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Beyond> {
        let to = self.stretch(offset, bytes.len()).ok_or(Beyond)?;
        for (to, from) in to.iter_mut().zip(bytes) {
            *to &= *from;
        }
        Ok(())
    }
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    exit(101)
}
