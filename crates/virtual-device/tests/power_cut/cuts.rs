//! Every cut of one stretch of a device's life, and what must hold after each.

use std::sync::atomic::{AtomicUsize, Ordering};

use agent::otadata::State;
use contract::Outcome;
use image::Behaviour;
use updraft_virtual_device::flash::{Cut, Moment, SECTOR_BYTES, Tear};

use crate::device::QUARANTINED;
use crate::watched::{Area, Logged};
use crate::world::{Rest, World};

/// Threads that try cuts; the machines that test this have two cores.
const THREADS: usize = 2;
/// Of what lies in the middle of a download every so many-th page is tried, where images are large.
const THINNED_TO: u64 = 16;

/// One stretch of a device's life.
pub(crate) struct Scenario<'a> {
    pub(crate) name: &'a str,
    /// The device before it, and what surrounds it.
    pub(crate) base: &'a World,
    pub(crate) offer: Option<usize>,
    /// What runs before, and what runs in the end.
    pub(crate) images: (usize, usize),
    /// Whether it must end there by itself once the image was verified: there is a record, and the image is good.
    pub(crate) ends_by_itself: bool,
}

/// How many cuts were tried.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Count {
    pub(crate) cuts: usize,
    pub(crate) left_out: usize,
}

impl std::ops::AddAssign for Count {
    fn add_assign(&mut self, other: Self) {
        self.cuts += other.cuts;
        self.left_out += other.left_out;
    }
}

impl Scenario<'_> {
    /// Tries every cut of it; a panic at the first one that breaks a promise.
    pub(crate) fn every_cut(&self) -> Count {
        let (name, first) = (self.name, self.base.flash.flash.operations());
        let mut whole = self.base.fork(None);
        let rest = whole.run(self.offer, name);
        assert_eq!(rest.image, self.images.1, "{name}: uncut; {:?}", whole.statuses);
        self.look_at(&mut whole, rest, name);
        self.look_at_wear(&whole);
        let last = whole.flash.flash.operations();
        let (cuts, left_out) = plan(first + 1..=last, &whole.flash.log, self.base);
        // Once otadata was changed after the download, the image is verified and on record.
        let slot_written = |logged: &&Logged| matches!(logged.area, Area::Slot(_)) && !logged.is_erase;
        let downloaded = whole.flash.log.iter().filter(slot_written).map(|logged| logged.operations.1).max();
        let chosen = whole.flash.log.iter().filter(|logged| logged.area == Area::Otadata);
        let chosen = chosen.map(|logged| logged.operations.0).find(|first| Some(*first) > downloaded);
        let next = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            let mut threads = Vec::new();
            for _ in 0..THREADS {
                threads.push(scope.spawn(|| {
                    while let Some(cut) = cuts.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let verified = chosen.is_some_and(|chosen| cut.operation >= chosen);
                        self.try_cut(*cut, last, verified && self.ends_by_itself);
                    }
                }));
            }
            for thread in threads {
                thread.join().unwrap_or_else(|panic| {
                    next.store(cuts.len(), Ordering::Relaxed);
                    std::panic::resume_unwind(panic)
                });
            }
        });
        let count = Count { cuts: cuts.len(), left_out };
        let kind = self.base.device.describe();
        println!("{:6} cuts ({left_out} left out in mid-download): {name}, {kind}", count.cuts);
        count
    }

    fn try_cut(&self, cut: Cut, last: u64, must_end_by_itself: bool) {
        let (name, kind) = (self.name, self.base.device.describe());
        let what = format!("{name}, {kind}, operation {} of {last}, {:?}", cut.operation, cut.moment);
        let (from, to) = self.images;
        let mut world = self.base.fork(Some(cut));
        let rest = world.run(self.offer, &what);
        assert_eq!(world.cuts_seen, 1, "{what}: the cut must have come");
        assert!(rest.image == from || rest.image == to, "{what}: image {} runs", rest.image);
        self.look_at(&mut world, rest, &what);
        if must_end_by_itself {
            assert_eq!(rest.image, to, "{what}: it lies there verified; {:?}", world.statuses);
            assert_eq!(world.downloads, self.downloads_uncut(), "{what}: it was downloaded again");
        }
        // Triggered again, with power that stays.
        let rest = world.run(self.offer, &what);
        assert_eq!(rest.image, to, "{what}, triggered again; {:?}", world.statuses);
        self.look_at(&mut world, rest, &what);
        let healthy = self.offer.is_some_and(|offer| offer == to);
        if healthy {
            assert_eq!(world.statuses.last().map(|(outcome, _)| *outcome), Some(Outcome::Success), "{what}");
        }
        // And it stays there through a restart.
        let before = world.statuses.len();
        let again = world.run(None, &what);
        assert_eq!(again, rest, "{what}, restarted");
        assert_eq!(
            world.statuses.len(),
            before,
            "{what}: said again after all was acknowledged: {:?}",
            world.statuses
        );
    }

    fn downloads_uncut(&self) -> u32 {
        1 + u32::from(self.base.lose_at.is_some())
    }

    /// What holds wherever a device comes to rest.
    fn look_at(&self, world: &mut World, rest: Rest, what: &str) {
        look_at_rest(self.base, world, rest, what);
        let (from, to) = self.images;
        let has_record = self.base.device.keeps_a_record();
        let healthy = self.base.device.images[to].behaviour == Behaviour::Healthy;
        if from != to && rest.image == to && healthy && self.offer == Some(to) {
            assert_eq!(rest.state, State::Valid, "{what}");
            if has_record {
                assert_eq!(world.outcome(), Some(Outcome::Success), "{what}: {:?}", world.statuses);
            }
            let last = world.statuses.last().map(|(outcome, _)| *outcome);
            assert_ne!(last, Some(Outcome::Failed), "{what}: {:?}", world.statuses);
        }
        if rest.image == from && from != to && !world.statuses.is_empty() && has_record {
            assert_eq!(world.outcome(), Some(Outcome::Failed), "{what}: {:?}", world.statuses);
        }
    }

    fn look_at_wear(&self, whole: &World) {
        let slots = self.base.flash.layout.slots();
        for sector in 0..updraft_virtual_device::flash::CAPACITY_BYTES / SECTOR_BYTES {
            let at = u32::try_from(sector * SECTOR_BYTES).expect("small");
            let erases = whole.flash.flash.erases(sector) - self.base.flash.flash.erases(sector);
            let of_slot = slots.iter().find(|slot| slot.offset <= at && at < slot.end());
            // What lies behind the last bookmark is written again after a restart.
            let of_slot = of_slot.map(|_| 1 + u32::from(self.base.lose_at.is_some()));
            let allowed = of_slot.unwrap_or(4);
            assert!(erases <= allowed, "{}: {at:#x} is erased {erases} times in one update", self.name);
        }
    }
}

/// What holds wherever any device comes to rest, after whatever happened.
pub(crate) fn look_at_rest(base: &World, world: &mut World, rest: Rest, what: &str) {
    assert!(!rest.state.is_unconfirmed(), "{what}: {:?} stays", rest.state);
    assert!(world.flash.untouchable() == *base.untouchable, "{what}: touched what is not its own");
    if base.device.keeps_a_record() {
        let (before, after) = (&base.record_before, world.record());
        let runs = &base.device.images[rest.image];
        let confirmed = if runs.behaviour == Behaviour::Healthy { runs.secure_version } else { 0 };
        assert_eq!(after.secure_version, confirmed.max(before.secure_version), "{what}: the floor");
        if after.trusted != before.trusted {
            let (set_up, compiled) = (after.trusted.as_ref(), base.device.settings(rest.image));
            let set_up = set_up.map(|trusted| (&trusted.keys[..], trusted.required));
            assert_eq!(set_up, Some((compiled.trusted_keys, compiled.signatures_required)), "{what}: trust");
        }
        assert!(after.failures_of(&QUARANTINED) >= 2, "{what}: the quarantine was loosened");
        for failed in &before.failures {
            assert!(after.failures_of(&failed.sha256) >= failed.count, "{what}: the quarantine was loosened");
        }
    }
}

/// The cuts to try, and how many of mid-download were left out.
fn plan(operations: std::ops::RangeInclusive<u64>, log: &[Logged], base: &World) -> (Vec<Cut>, usize) {
    let size_bytes = base.device.images[0].bytes.len();
    let mut cuts = Vec::new();
    let mut left_out = 0;
    for operation in operations {
        let of = |logged: &&Logged| logged.operations.0 <= operation && operation <= logged.operations.1;
        let logged = log.iter().find(of);
        let moments = moments(operation, logged);
        let is_in_the_middle = logged.is_some_and(|logged| match logged.area {
            Area::Slot(at) if !logged.is_erase && size_bytes > 64 * 1024 => {
                let ends = 2 * SECTOR_BYTES as u32..size_bytes as u32 - 2 * SECTOR_BYTES as u32;
                // Whatever is near a bookmark is not the middle either.
                let stretch = 64 * 1024;
                ends.contains(&at)
                    && (SECTOR_BYTES as u32..stretch - SECTOR_BYTES as u32).contains(&(at % stretch))
            }
            _ => false,
        });
        if is_in_the_middle && !operation.is_multiple_of(THINNED_TO) {
            left_out += moments.len();
        } else {
            cuts.extend(moments.into_iter().map(|moment| Cut { operation, moment }));
        }
    }
    (cuts, left_out)
}

/// The kinds of cut that an operation is tried with: every word of what is looked at before it was verified.
fn moments(operation: u64, logged: Option<&Logged>) -> Vec<Moment> {
    // What is not in the log, the bootloader did, to otadata.
    let area = logged.map_or(Area::Otadata, |logged| logged.area);
    let (words, bits): (&[usize], u64) = match area {
        Area::Slot(_) => (&[], 1),
        Area::Otadata => (&[1, 2, 3, 4, 5, 6, 7], 4),
        Area::Bookmark | Area::Record => (&[1, 2, 8, 63], 2),
    };
    let halves = [Tear::FirstHalf, Tear::SecondHalf];
    let bits = (0..bits).map(|n| Tear::Bits { seed: operation * 31 + n });
    let tears = halves.into_iter().chain(words.iter().map(|words| Tear::Words(*words))).chain(bits);
    [Moment::Before].into_iter().chain(tears.map(Moment::During)).chain([Moment::After]).collect()
}
