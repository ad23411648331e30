//! Every sentence with which the agent refuses or gives up, and the code of each.
//!
//! Owned here: the words, and how they lie in flash: one behind the other, frequent stretches as one byte each, found by
//! their number. A place that refuses so has a number to give instead of an address, a length and a code.

use contract::Code;

/// Frequent stretches, the longest first, since the first that fits is taken. Found by trying which one saves most, again
/// and again, until none saves anything.
const FRAGMENTS: [&[u8]; 64] = {
    // Each ends at its bar, which no sentence has.
    let mut rest = concat!(
        "the response's |, this device |before it was |rolled back: |the image is |an announced|inste",
        "ad of #|the new imag|broker was |the server |signed by |within # s|applicati|at $ fail|signa",
        "ture|ECDSA on|another |redirect|confirm|damaged|segment|unknown| bytes|flash |image|sent |UR",
        "L |chip|http|ing |not |the |was |an |ect|ed |is |key|no |of |oo |or |to |, |: |a |an|ar|ch|d",
        " |e |ed|er|ha|in|it|lo|mo|on|re|s |st|t |th|",
    )
    .as_bytes();
    let (mut fragments, mut number, mut at) = ([&[] as &[u8]; _], 0, 0);
    while at < rest.len() {
        if rest[at] == b'|' {
            (fragments[number], rest) = rest.split_at(at);
            (_, rest) = rest.split_at(1);
            (number, at) = (number + 1, 0);
        } else {
            at += 1;
        }
    }
    fragments
};
/// What stands for the first of them; everything below is a letter.
const FIRST: u8 = 0x80;

macro_rules! sentences {
    ($($name:ident: $code:ident = $text:literal),+ $(,)?) => {
        /// A sentence by its number. Its gaps are filled from the left: `#` with a number, `$` with one in hexadecimal, `@`
        /// with the name of the chip that has this id, `%` with a revision, `=` with the sentence of this number; `~` with
        /// the text.
        #[allow(dead_code, reason = "flash modes are counted from the first one on")]
        #[repr(u8)]
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Says {
            $($name),+
        }

        impl Says {
            #[cfg(test)]
            pub(crate) const ALL: &[Self] = &[$(Self::$name),+];

            /// What a program reads in place of it.
            #[inline(never)]
            pub(crate) const fn code(self) -> Code {
                match self {
                    $(Self::$name => Code::$code),+
                }
            }

            /// Its words with their gaps. For hosts: a device has them only as [`Self::letters`] gives them.
            pub(crate) const fn words(self) -> &'static str {
                match self {
                    $(Self::$name => $text),+
                }
            }
        }

        const TEXT: &[u8] = concat!($($text, "\n"),+).as_bytes();
    };
}

sentences! {
    ReadFailed: Flash = "reading the flash at $ failed",
    EraseFailed: Flash = "erasing the flash at $ failed",
    WriteFailed: Flash = "writing the flash at $ failed",
    KeptElse: Flash = "the flash at $ kept something else",
    ReadBackDiffers: Flash = "the flash does not hold what was written to it",
    NotATarget: Otadata = "this slot cannot be selected",
    NotRunning: Otadata = "otadata selects another slot",
    NoSequence: Otadata = "otadata has no more numbers",
    NotEsp32: NotAnImage = "not an ESP32 image: it begins with $",
    Esp8266: NotAnImage = "not an ESP32 image, perhaps an ESP8266's",
    NoApplication: NotAnImage = "no application: a bootloader, or for RAM",
    WholeChip: NotAnImage = "no application: a whole flash chip (table at $)",
    Empty: NotAnImage = "the image is empty",
    Over16Mib: TooLarge = "the image is larger than 16 MiB",
    LargerThanSlot: TooLarge = "the image is too large: # bytes, the slot has #",
    LargerThanRoom: TooLarge = "the image is too large: the slot has # bytes",
    Trailing: TrailingBytes = "the image ends at byte #, and no signature follows",
    Short: Damaged = "the image is cut short: # bytes instead of # or more",
    SegmentCount: Damaged = "the image is damaged: it says # segments",
    SegmentLength: Damaged = "the image is damaged: segment # claims # bytes",
    SegmentMisaligned: Damaged = "the image is damaged: segment # cannot lie at $",
    Checksum: Damaged = "the image is damaged: checksum $ instead of $",
    Digest: Damaged = "the image is damaged: its SHA-256 differs",
    BlockDamaged: Damaged = "signature block #: =",
    NoBlock: BadSignature = "no signature block",
    DamagedBlock: BadSignature = "damaged",
    UnknownVersion: BadSignature = "of an unknown version",
    P192: BadSignature = "ECDSA on P-192 is too weak",
    P384: BadSignature = "ECDSA on P-384 is not supported",
    UnknownCurve: BadSignature = "ECDSA on an unknown curve",
    BadKey: BadSignature = "no public key",
    OtherKey: BadSignature = "not signed by the key that it names",
    OtherImage: BadSignature = "of another image",
    BadSignature: BadSignature = "the signature: =",
    CannotVerify: BadSignature = "cannot verify signatures",
    Unsigned: Unsigned = "the image is not signed",
    NotInEfuse: SecureBoot = "not signed by a key in eFuse",
    Untrusted: UntrustedKey = "not signed by a trusted key",
    TooFew: TooFewSignatures = "signed by # trusted keys instead of #",
    WrongChip: WrongChip = "wrong chip: the image is for @, this device is @",
    UnknownChip: WrongChip = "wrong chip: the image is for an unknown chip $, this device is @",
    ChipRevision: ChipRevision = "the image is for chip revisions % to %, this one is %",
    EfuseRevision: EfuseRevision = "the image is for eFuse revisions % to %, this one is %",
    WrongVersion: WrongVersion = "the image is not ~, as the server named it",
    SecureVersion: SecureVersion = "secure version # instead of # or more",
    MmuPageSize: MmuPageSize = "memory pages of # bytes instead of #",
    FlashMode: FlashMode = "the image has flash mode =, the running one has =",
    // By the header's code.
    Qio: FlashMode = "qio",
    Qout: FlashMode = "qout",
    Dio: FlashMode = "dio",
    Dout: FlashMode = "dout",
    FastRead: FlashMode = "fast_read",
    SlowRead: FlashMode = "slow_read",
    OddMode: FlashMode = "unknown",
    WrongProject: WrongProject = "the image is of another project, this device runs ~",
    Unprotected: Unprotected = "neither digest nor signature",
    Quarantined: Quarantined = "quarantined: it failed twice here",
    NotAUrl: BadUrl = "the trigger is not an http or https URL of at most 2048 bytes",
    Encrypted: Encryption = "cannot write encrypted flash",
    Url: ServerError = "the URL cannot be fetched",
    Downgrade: ServerError = "the server redirects from https to http",
    LongLocation: ServerError = "the server redirects to a URL that is too long",
    Redirects: ServerError = "the server redirected more than # times",
    Compressed: ServerError = "the server compressed the file",
    Answered: ServerError = "the server answered #",
    SentMore: ServerError = "the server sent more than announced",
    Lost: ConnectionLost = "the connection was lost: ~",
    Silent: ConnectionLost = "the server was silent for # s",
    TooSlow: ConnectionLost = "the server sent next to nothing for minutes",
    SentLess: ConnectionLost = "the server sent less than announced",
    TailTooLong: ConnectionLost = "the server sent more than announced",
    NoSuchPart: ConnectionLost = "the server does not have this part",
    PartUnsaid: ConnectionLost = "the server sent a part and not which",
    OtherPart: ConnectionLost = "the server sent another part",
    FileChanged: ConnectionLost = "the file changed on the server",
    NotHttp: ConnectionLost = "the server does not answer in HTTP",
    LongHead: ConnectionLost = "the response's head is too long",
    Head: ConnectionLost = "the response's head is malformed",
    Length: ConnectionLost = "the response's length is unclear",
    Coding: ConnectionLost = "the response's coding is unknown",
    Chunk: ConnectionLost = "the response's chunks are malformed",
    Cut: ConnectionLost = "the connection closed too early",
    GivenUp: ConnectionLost = "given up after # tries: ~",
    NoFreshUrl: UrlExpired = "the server answered 403, and no fresh URL came",
    RestartedWithoutUrl: Interrupted = "interrupted: restarted, and no fresh URL came",
    RestartedUnselected: Interrupted = "interrupted: restarted before the new image was selected",
    Crashed: Crashed = "rolled back: the new image crashed before it was confirmed",
    Hung: Hung = "rolled back: the new image hung before it was confirmed",
    Restarted: Restarted = "rolled back: the new image restarted before it was confirmed",
    PowerLost: PowerLost = "rolled back: the power was lost",
    NotBootable: NotBootable = "rolled back: the new image did not start",
    NotConfirmed: NotConfirmed = "rolled back: not confirmed in its first boot",
    CheckFailed: CheckFailed = "rolled back: ~",
    NotWell: CheckFailed = "rolled back: not well within # s",
    BrokerNotReached: BrokerNotReached = "rolled back: the broker was not reached within # s",
    CrashLoop: CrashLoop = "rolled back: the image crashed # times in a row",
    MoveFailed: MoveFailed = "no broker was reached within # s",
    MoveFailedByBoots: MoveFailed = "no broker was reached in several boots",
}

/// Fragments, then sentences, each with a line feed behind it.
static PACKED: [u8; PACK.1] = {
    let mut exact = [0; PACK.1];
    let mut at = 0;
    while at < exact.len() {
        exact[at] = PACK.0[at];
        at += 1;
    }
    exact
};
const PACK: ([u8; 2 * TEXT.len()], usize) = pack();

const fn pack() -> ([u8; 2 * TEXT.len()], usize) {
    assert!(FRAGMENTS.len() <= u8::MAX as usize - FIRST as usize);
    let (mut packed, mut length) = ([0; 2 * TEXT.len()], 0);
    let mut number = 0;
    while number < FRAGMENTS.len() {
        let mut at = 0;
        while at < FRAGMENTS[number].len() {
            packed[length] = FRAGMENTS[number][at];
            (length, at) = (length + 1, at + 1);
        }
        packed[length] = b'\n';
        (length, number) = (length + 1, number + 1);
    }
    let mut at = 0;
    while at < TEXT.len() {
        assert!(TEXT[at] < FIRST, "sentences are ASCII");
        let mut number = 0;
        while number < FRAGMENTS.len() && !lies_at(FRAGMENTS[number], at) {
            number += 1;
        }
        if number < FRAGMENTS.len() {
            packed[length] = FIRST + number as u8;
            at += FRAGMENTS[number].len();
        } else {
            packed[length] = TEXT[at];
            at += 1;
        }
        length += 1;
    }
    (packed, length)
}

const fn lies_at(fragment: &[u8], begin: usize) -> bool {
    let mut at = 0;
    while at < fragment.len() && begin + at < TEXT.len() && TEXT[begin + at] == fragment[at] {
        at += 1;
    }
    at == fragment.len()
}

/// The line of a number; none has this byte in it.
#[inline(never)]
fn line(mut number: usize) -> &'static [u8] {
    let mut rest = &PACKED[..];
    loop {
        let end = rest.iter().position(|letter| *letter == b'\n').unwrap_or(rest.len());
        let (line, behind) = rest.split_at_checked(end).unwrap_or_default();
        if number == 0 {
            return line;
        }
        number -= 1;
        rest = behind.get(1..).unwrap_or_default();
    }
}

impl Says {
    pub(crate) fn letters(number: u32) -> impl Iterator<Item = u8> {
        line(FRAGMENTS.len() + number as usize).iter().flat_map(|letter| {
            let plain = core::slice::from_ref(letter);
            letter.checked_sub(FIRST).map_or(plain, |number| line(number.into())).iter().copied()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    extern crate std;
    use std::string::String;
    use std::vec::Vec;

    #[test]
    fn packed_sentences_read_as_they_were_written() {
        for says in Says::ALL {
            let letters: Vec<u8> = Says::letters(*says as u32).collect();
            assert_eq!(String::from_utf8(letters).expect("ASCII"), says.words());
        }
    }

    #[test]
    fn packing_makes_them_smaller() {
        assert!(PACKED.len() * 4 < TEXT.len() * 3, "{} of {}", PACKED.len(), TEXT.len());
        for (number, fragment) in FRAGMENTS.iter().enumerate() {
            let uses =
                PACKED.iter().map(|letter| usize::from(*letter == FIRST + number as u8)).sum::<usize>();
            let saved = uses * (fragment.len() - 1);
            assert!(saved > fragment.len() + 1, "not worth it: {:?}", String::from_utf8_lossy(fragment));
        }
    }
}
