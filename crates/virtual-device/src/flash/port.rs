//! What the agent needs of a device besides flash: a store in the `nvs` partition, and memory that outlives resets.
//!
//! The store is ESP-IDF's NVS format by the crate that esp-hal applications use, and writes through the same flash, so
//! that its writes can be cut too.

use agent::partition::Table;
use agent::{Encryption, NotKept, Port, RECORD_BYTES, RETAINED_BYTES};
use esp_nvs::error::Error;
use esp_nvs::platform::{Crc, software_crc32};
use esp_nvs::{Key, Nvs};

use super::Flash;

const NAMESPACE: Key = Key::from_str("updraft");
const RECORD: Key = Key::from_str("record");

impl Crc for Flash {
    fn crc32(init: u32, bytes: &[u8]) -> u32 {
        software_crc32(init, bytes)
    }
}

impl Flash {
    fn nvs(&mut self) -> Result<Nvs<&mut Self>, NotKept> {
        let nvs = Table::read(self).ok().and_then(|table| table.nvs).ok_or(NotKept)?;
        Nvs::new(nvs.offset as usize, nvs.size_bytes as usize, self).map_err(|_| NotKept)
    }
}

impl Port for Flash {
    fn encryption(&self) -> Encryption {
        self.encryption
    }

    fn load(&mut self, record: &mut [u8; RECORD_BYTES]) -> Result<(), NotKept> {
        let found: Result<Vec<u8>, Error> = self.nvs()?.get(&NAMESPACE, &RECORD);
        *record = match found {
            Ok(bytes) => bytes.try_into().unwrap_or([0; RECORD_BYTES]),
            Err(Error::NamespaceNotFound | Error::KeyNotFound) => [0; RECORD_BYTES],
            Err(_) => return Err(NotKept),
        };
        Ok(())
    }

    fn save(&mut self, record: &[u8; RECORD_BYTES]) -> Result<(), NotKept> {
        // Cut before, during or after: NVS writes the new value beside the old one and only then gives that up.
        self.nvs()?.set(&NAMESPACE, &RECORD, record.as_slice()).map_err(|_| NotKept)
    }

    fn retained(&mut self) -> Option<&mut [u8; RETAINED_BYTES]> {
        Some(&mut self.retained)
    }
}
