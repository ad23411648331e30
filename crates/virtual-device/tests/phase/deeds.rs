//! What can happen to an agent, at random.

use agent::{Check, ResetReason};
use proptest::prelude::*;

/// What happens to an agent.
#[derive(Debug, Clone)]
pub(crate) enum Deed {
    Trigger(Vec<u8>),
    Connected,
    Disconnected,
    Acknowledged(usize),
    SelfTest(bool),
    ClearQuarantine,
    /// An update to one of the images, up to the restart if nothing speaks against it.
    Update(usize),
    /// The server does all it should, with one of the images.
    Serve(usize),
    /// It begins to, and comes so far.
    ServePart(usize, u16),
    Head(Head),
    Body(Vec<u8>),
    BodyEnd,
    Raw(Vec<u8>),
    /// A response as it comes from a socket, with one of the images, in pieces of this length.
    RawResponse(usize, u16),
    Closed,
    Lost,
    /// Something about a fetch of long ago.
    Stale,
    /// Time passes up to the deadline, and this much beyond.
    Wait(u32),
    /// Time passes.
    Tick(u32),
    Boot(ResetReason),
}

#[derive(Debug, Clone)]
pub(crate) struct Head {
    pub(crate) status: u16,
    pub(crate) length: Option<u64>,
    pub(crate) range: Option<(u64, Option<u64>)>,
    pub(crate) etag: Option<String>,
    pub(crate) location: Option<String>,
    pub(crate) encoded: bool,
}

fn number() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0), 0..0x8000_u64, Just(20 * 1024), any::<u32>().prop_map(u64::from), any::<u64>()]
}

fn head() -> impl Strategy<Value = Head> {
    let status = prop_oneof![
        Just(200_u16),
        Just(206),
        Just(302),
        Just(403),
        Just(409),
        Just(412),
        Just(416),
        Just(429),
        Just(501),
        Just(503),
        any::<u16>()
    ];
    let etag = prop_oneof![
        Just("\"0\"".to_owned()),
        Just("\"1\"".to_owned()),
        Just("W/\"0\"".to_owned()),
        ".{0,200}"
    ];
    let location =
        prop_oneof![Just("/other".to_owned()), Just("http://h/x".to_owned()), ".{0,50}", "/[a-z]{2100}"];
    let range = (number(), proptest::option::of(number()));
    let parts = (
        status,
        proptest::option::of(number()),
        proptest::option::of(range),
        proptest::option::of(etag),
        proptest::option::weighted(0.2, location),
        proptest::bool::weighted(0.05),
    );
    parts.prop_map(|(status, length, range, etag, location, encoded)| Head {
        status,
        length,
        range,
        etag,
        location,
        encoded,
    })
}

fn trigger() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        3 => Just(b"https://server/p/releases/v2.0.0/firmware.bin?a=1".to_vec()),
        2 => Just(b"https://server/p/releases/v3.0.0/firmware.bin".to_vec()),
        1 => Just(b"http://server/d/token".to_vec()),
        1 => "https?://[a-z]{1,9}(/[a-z%0-9.]{0,9}){0,3}".prop_map(String::into_bytes),
        1 => proptest::collection::vec(any::<u8>(), 0..40),
        1 => "http://h/[a-z]{2000,2100}".prop_map(String::into_bytes),
    ]
}

fn reset() -> impl Strategy<Value = ResetReason> {
    use ResetReason as R;
    let all = [R::PowerOn, R::Software, R::Panic, R::Watchdog, R::BrownOut, R::DeepSleep, R::Unknown];
    proptest::sample::select(all.to_vec())
}

pub(crate) fn check() -> impl Strategy<Value = Check> {
    prop_oneof![3 => Just(Check::Broker), 1 => Just(Check::BrokerAndApplication)]
}

pub(crate) fn deed() -> impl Strategy<Value = Deed> {
    let raw = prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..300),
        "HTTP/1\\.[01] [0-9]{3} ?[A-Z]{0,3}\r\n([A-Za-z-]{1,9}: ?[a-z0-9=\"/*-]{0,9}\r\n){0,4}\r\n[0-9a-f]{0,4}(\r\n)?"
            .prop_map(String::into_bytes),
    ];
    prop_oneof![
        8 => trigger().prop_map(Deed::Trigger),
        6 => Just(Deed::Connected),
        2 => Just(Deed::Disconnected),
        4 => (0..4_usize).prop_map(Deed::Acknowledged),
        2 => any::<bool>().prop_map(Deed::SelfTest),
        1 => Just(Deed::ClearQuarantine),
        5 => (0..4_usize).prop_map(Deed::Update),
        10 => (0..4_usize).prop_map(Deed::Serve),
        6 => (0..4_usize, any::<u16>()).prop_map(|(image, bytes)| Deed::ServePart(image, bytes)),
        5 => head().prop_map(Deed::Head),
        3 => proptest::collection::vec(any::<u8>(), 0..6000).prop_map(Deed::Body),
        2 => Just(Deed::BodyEnd),
        3 => raw.prop_map(Deed::Raw),
        3 => (0..4_usize, 1..5000_u16).prop_map(|(image, piece)| Deed::RawResponse(image, piece)),
        2 => Just(Deed::Closed),
        3 => Just(Deed::Lost),
        2 => Just(Deed::Stale),
        10 => (0..5000_u32).prop_map(Deed::Wait),
        3 => prop_oneof![0..60_000_u32, any::<u32>()].prop_map(Deed::Tick),
        6 => reset().prop_map(Deed::Boot),
    ]
}
