//! How many devices there are, are online, and are in which state: counted in `db/count.rs`, shown everywhere.

use std::collections::HashMap;

use fleet::{Identity, UpdateState};

/// Figures of all devices, or of a product's.
#[derive(Debug, Clone, Default)]
pub struct Counts {
    /// Devices known.
    pub devices: u64,
    /// Of these, online.
    pub online: u64,
    /// Devices by the state of their newest update.
    pub newest: HashMap<UpdateState, u64>,
    /// Devices that run something else than they name, by what it is.
    pub identities: HashMap<Identity, u64>,
}

impl Counts {
    pub(crate) fn add(&mut self, other: &Self) {
        self.devices += other.devices;
        self.online += other.online;
        for (state, devices) in &other.newest {
            *self.newest.entry(*state).or_default() += devices;
        }
        for (identity, devices) in &other.identities {
            *self.identities.entry(*identity).or_default() += devices;
        }
    }
}
