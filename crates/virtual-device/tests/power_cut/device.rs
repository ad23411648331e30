//! What is cut: a device of some kind, and the images that were published for it.

use std::sync::{Arc, LazyLock};

use agent::{Agent, EraseUnit, Failures, Settings};
use image::build::Build;
use image::signature::Scheme;
use image::signing::{SigningKey, sign};
use image::{Behaviour, Chip};
use updraft_virtual_device::Rollback;
use updraft_virtual_device::flash::Flash;
use updraft_virtual_device::layout::{FACTORY, Layout, program, write_layout};

use crate::watched::Watched;
use crate::world::World;

pub(crate) const CHIP: Chip = Chip::Esp32S3;
/// An image that failed twice before anything began, and a key that nobody trusts any more.
pub(crate) const QUARANTINED: [u8; 32] = [9; 32];
const EVER_TRUSTED: [u8; 32] = [7; 32];

/// Images by number, the same for every device; all but the last three run well.
pub(crate) const CRASHES: usize = 4;
pub(crate) const NEVER_ONLINE: usize = 5;
pub(crate) const CORRUPT: usize = 6;
const BEHAVIOURS: [Behaviour; 6] = [
    Behaviour::Healthy,
    Behaviour::Healthy,
    Behaviour::Healthy,
    Behaviour::Healthy,
    Behaviour::CrashesAtBoot,
    Behaviour::NeverReachesNetwork,
];

pub(crate) struct Published {
    pub(crate) bytes: Vec<u8>,
    pub(crate) behaviour: Behaviour,
    /// Whether it is sound, and signed where that counts.
    pub(crate) may_run: bool,
}

/// What a device is.
pub(crate) struct Device {
    pub(crate) layout: Layout,
    pub(crate) rollback: Rollback,
    pub(crate) erase: EraseUnit,
    pub(crate) keys: &'static [[u8; 32]],
    pub(crate) images: Vec<Published>,
}

/// Which devices and images there are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kind {
    pub(crate) layout: Layout,
    pub(crate) rollback: Rollback,
    pub(crate) erase: EraseUnit,
    pub(crate) size_bytes: u32,
    pub(crate) signed: bool,
    pub(crate) encrypted: bool,
    pub(crate) factory_app: bool,
}

impl Kind {
    /// Two slots, a partition for the record, small images.
    pub(crate) const fn new(rollback: Rollback) -> Self {
        Self {
            layout: Layout::TwoSlots,
            rollback,
            erase: EraseUnit::Sector,
            size_bytes: 10 * 1024,
            signed: false,
            encrypted: false,
            factory_app: false,
        }
    }

    /// Fresh from a factory that put the first image where it belongs, powered on once.
    pub(crate) fn world(self) -> World {
        let device = Device {
            layout: self.layout,
            rollback: self.rollback,
            erase: self.erase,
            keys: if self.signed { &KEYS.0[..] } else { &[] },
            images: images(self.size_bytes, self.signed),
        };
        let mut flash = Flash::in_memory();
        write_layout(&mut flash, self.layout).expect("a layout");
        let first = if self.factory_app { FACTORY } else { self.layout.slots()[0] };
        program(&mut flash, first.offset, &device.images[0].bytes).expect("fits");
        if self.erase == EraseUnit::Block {
            flash.erase_blocks();
        }
        if self.encrypted {
            flash.encrypt(1).expect("a table");
        }
        // Where there is no place for it, it is lost, as it is in the field.
        let _ = Agent::remember(&mut flash, |record| {
            record.failures.push(Failures { sha256: QUARANTINED, count: 2 }).expect("room");
            let keys = device.keys.first().copied().into_iter().chain([EVER_TRUSTED]);
            record.trusted = Some(keys.collect());
        });
        let mut world = World::new(Arc::new(device), Watched::new(flash, self.layout));
        world.run(None, "the first boot");
        world.finish();
        world
    }
}

impl Device {
    pub(crate) fn keeps_a_record(&self) -> bool {
        self.layout != Layout::Bare
    }

    pub(crate) fn describe(&self) -> String {
        let signed = if self.keys.is_empty() { "" } else { ", signed" };
        format!("{:?}, rollback {:?}, {:?} erases{signed}", self.layout, self.rollback, self.erase)
    }

    pub(crate) fn settings(&self) -> Settings {
        Settings { trusted_keys: self.keys, erase: self.erase, ..Settings::new(CHIP) }
    }
}

/// The key that is trusted, by digest, and both keys that there are.
static KEYS: LazyLock<([[u8; 32]; 1], [SigningKey; 2])> = LazyLock::new(|| {
    let keys = [(); 2].map(|()| SigningKey::generate(Scheme::EcdsaP256).expect("randomness"));
    ([keys[0].public().digest()], keys)
});

fn images(size_bytes: u32, signed: bool) -> Vec<Published> {
    let build = |(nth, behaviour): (usize, &Behaviour)| {
        let mut build = Build::new(CHIP, &format!("1.{nth}.0"));
        (build.size_bytes, build.behaviour) = (size_bytes, Some(*behaviour));
        (build.bytes(), *behaviour)
    };
    let publish = |bytes, behaviour, may_run| Published { bytes, behaviour, may_run };
    let mut images: Vec<Published> = (BEHAVIOURS.iter().enumerate().map(build))
        .map(|(bytes, behaviour)| {
            let bytes = if signed { sign(&bytes, &KEYS.1[0]).expect("sound") } else { bytes };
            publish(bytes, behaviour, true)
        })
        .collect();
    let mut corrupt = images[1].bytes.clone();
    corrupt[5000] ^= 1;
    images.push(publish(corrupt, Behaviour::Healthy, false));
    if signed {
        let (unsigned, healthy) = build((8, &Behaviour::Healthy));
        let foreign = sign(&unsigned, &KEYS.1[1]).expect("sound");
        images.push(publish(unsigned, healthy, false));
        images.push(publish(foreign, healthy, false));
    }
    images
}
