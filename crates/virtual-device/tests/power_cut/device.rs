//! What is cut: a device of some kind, and the images that were published for it.

use std::sync::{Arc, LazyLock};

use agent::{Agent, EraseUnit, Failures, Settings};
use image::build::Build;
use image::signature::Scheme;
use image::signing::{SigningKey, append, sign};
use image::{Behaviour, Chip};
use updraft_virtual_device::Rollback;
use updraft_virtual_device::flash::Flash;
use updraft_virtual_device::layout::{FACTORY, Layout, program, write_layout};

use crate::watched::Watched;
use crate::world::World;

pub(crate) const CHIP: Chip = Chip::Esp32S3;
/// An image that failed twice before anything began.
pub(crate) const QUARANTINED: [u8; 32] = [9; 32];

/// Images by number, the same for every device; all but the last three run well. Behind the corrupt one, where images are signed:
/// one that is not, one by one key of two, and one by one of these and a foreign one.
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
    /// Higher in each image, where they are signed.
    pub(crate) secure_version: u32,
}

/// What a device is.
pub(crate) struct Device {
    pub(crate) layout: Layout,
    pub(crate) rollback: Rollback,
    pub(crate) erase: EraseUnit,
    pub(crate) signed: bool,
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
            signed: self.signed,
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
        let signed = if self.signed { ", signed" } else { "" };
        format!("{:?}, rollback {:?}, {:?} erases{signed}", self.layout, self.rollback, self.erase)
    }

    /// What an image was compiled with: the first one trusts one key, all others two, and want both.
    pub(crate) fn settings(&self, image: usize) -> Settings {
        let (trusted_keys, signatures_required) = match (self.signed, image) {
            (false, _) => (&[][..], 1),
            (true, 0) => (&KEYS.0[..1], 1),
            (true, _) => (&KEYS.0[..2], 2),
        };
        Settings { trusted_keys, signatures_required, erase: self.erase, ..Settings::new(CHIP) }
    }
}

/// The keys that there are, and their digests; nobody trusts the last one.
static KEYS: LazyLock<([[u8; 32]; 3], [SigningKey; 3])> = LazyLock::new(|| {
    let keys = [(); 3].map(|()| SigningKey::generate(Scheme::EcdsaP256).expect("randomness"));
    (keys.each_ref().map(|key| key.public().digest()), keys)
});

fn images(size_bytes: u32, signed: bool) -> Vec<Published> {
    let build = |(nth, behaviour): (usize, &Behaviour)| {
        let mut build = Build::new(CHIP, &format!("1.{nth}.0"));
        (build.size_bytes, build.behaviour) = (size_bytes, Some(*behaviour));
        build.secure_version = if signed { u32::try_from(nth).expect("few") } else { 0 };
        (build.bytes(), *behaviour)
    };
    let publish = |bytes: Vec<u8>, behaviour, may_run| {
        let descriptor = image::Prefix::parse(&bytes).expect("an image").descriptor.expect("one");
        Published { bytes, behaviour, may_run, secure_version: descriptor.secure_version() }
    };
    let mut images: Vec<Published> = (BEHAVIOURS.iter().enumerate().map(build))
        .map(|(bytes, behaviour)| {
            let bytes = if signed { sign_by(&bytes, [0, 1]) } else { bytes };
            publish(bytes, behaviour, true)
        })
        .collect();
    let mut corrupt = images[1].bytes.clone();
    corrupt[5000] ^= 1;
    images.push(publish(corrupt, Behaviour::Healthy, false));
    if signed {
        let (unsigned, healthy) = build((8, &Behaviour::Healthy));
        let signed_by_one = sign(&unsigned, &KEYS.1[0]).expect("sound");
        let foreign = sign_by(&unsigned, [0, 2]);
        for bytes in [unsigned, signed_by_one, foreign] {
            images.push(publish(bytes, healthy, false));
        }
    }
    images
}

fn sign_by(image: &[u8], [first, second]: [usize; 2]) -> Vec<u8> {
    append(&sign(image, &KEYS.1[first]).expect("sound"), &KEYS.1[second]).expect("room")
}
