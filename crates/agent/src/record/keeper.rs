//! Where the record is kept: two sectors of a partition named `updraft`, else the port's own store, else nowhere.
//!
//! Owned here: a journal of records, two in a sector, in which the newest that checks out counts and a torn one is
//! passed over. A device whose table has no such partition and whose port has no store works all the same; only what
//! [`Place::Nowhere`] says is lacking, and can be reported.
//!
//! Each call needs about 2 KiB of stack for one record's bytes.

use embedded_storage::nor_flash::ReadNorFlash;

use super::Record;
use super::bytes::{
    Bytes, RECORD_BYTES, content_of, decode, decode_connections, encode, encode_connections, sequence_of,
};
use crate::connection::Connections;
use crate::flash::{self, Fault, SECTOR_BYTES};
use crate::partition::{Partition, Table};
use crate::port::{NotKept, Port};

const PER_SECTOR: u32 = (SECTOR_BYTES / RECORD_BYTES) as u32;
/// Two sectors are used, however large the partition is.
const PLACES: u32 = 2 * PER_SECTOR;
const BLANK: [u8; 64] = [0xFF; 64];

/// Where the record is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In the partition named `updraft`.
    Partition,
    /// By the port ([`Port::load`] and [`Port::save`]).
    Adapter,
    /// Nowhere: quarantine, confirmed images and how the last attempt ended do not outlive a restart; stored trusted
    /// keys and moves are not to be had.
    Nowhere,
}

#[derive(Debug, Clone, Copy)]
enum Home {
    Partition(Partition),
    Adapter,
    Nowhere,
}

/// Keeps the record, and knows where the next one goes.
#[derive(Debug)]
pub struct Keeper {
    home: Home,
    /// Place and sequence number of the newest record; the port's store has but one place.
    newest: Option<(u32, u32)>,
    /// The last sequence number given. One whose record failed is not given again: that record may be whole all the same.
    sequence: u32,
}

impl Keeper {
    /// Of a device that was not looked at yet.
    pub(crate) const fn new() -> Self {
        Self { home: Home::Nowhere, newest: None, sequence: 0 }
    }

    /// Finds the place and the newest record in it; where there is none that checks out, an empty one.
    pub fn open<P: Port>(port: &mut P, table: &Table) -> Result<(Self, Record), Fault> {
        let (mut keeper, mut record) = (Self::new(), Record::new());
        keeper.find(port, table, &mut record)?;
        Ok((keeper, record))
    }

    /// As [`Self::open`], in place of a keeper and a record that are new.
    #[inline(never)]
    pub(crate) fn find<P: Port>(
        &mut self,
        port: &mut P,
        table: &Table,
        record: &mut Record,
    ) -> Result<(), Fault> {
        let mut bytes = [0; RECORD_BYTES];
        let region = table.updraft.filter(|region| region.size_bytes as usize >= 2 * SECTOR_BYTES);
        if let Some(region) = region {
            self.home = Home::Partition(region);
            for place in 0..PLACES {
                read(port, region, place, &mut bytes)?;
                if let Some(sequence) = sequence_of(&bytes)
                    && self.newest.is_none_or(|(_, newest)| sequence > newest)
                {
                    self.newest = Some((place, sequence));
                }
            }
            if let Some((place, _)) = self.newest {
                read(port, region, place, &mut bytes)?;
            }
        } else if port.load(&mut bytes).is_ok() {
            self.home = Home::Adapter;
            self.newest = sequence_of(&bytes).map(|sequence| (0, sequence));
        }
        self.sequence = self.newest.map_or(0, |(_, sequence)| sequence);
        if decode(&bytes, record).is_none() {
            *record = Record::new();
        }
        Ok(())
    }

    /// Where the record is kept.
    pub fn place(&self) -> Place {
        match self.home {
            Home::Partition(_) => Place::Partition,
            Home::Adapter => Place::Adapter,
            Home::Nowhere => Place::Nowhere,
        }
    }

    /// Keeps a record in place of the one before; the connections stay as they are. What is not kept was reported by
    /// [`NotKept`]: then the one before still counts.
    pub fn store<P: Port>(&mut self, port: &mut P, record: &Record) -> Result<(), NotKept> {
        self.put(port, record, None)
    }

    /// Keeps a record and connections, both or neither.
    pub fn store_connections<P: Port>(
        &mut self,
        port: &mut P,
        record: &Record,
        connections: &Connections,
    ) -> Result<(), NotKept> {
        self.put(port, record, Some(connections))
    }

    /// The connections; the default, which are the settings that the port itself came with, where none were ever kept
    /// or they do not check out. [`NotKept`]: they cannot be read now.
    pub fn connections<P: Port>(&self, port: &mut P) -> Result<Connections, NotKept> {
        let mut connections = Connections::default();
        self.fill_connections(port, &mut connections)?;
        Ok(connections)
    }

    /// As [`Self::connections`], in place of the default.
    #[inline(never)]
    pub(crate) fn fill_connections<P: Port>(
        &self,
        port: &mut P,
        connections: &mut Connections,
    ) -> Result<(), NotKept> {
        let mut bytes = [0; RECORD_BYTES];
        self.read_newest(port, &mut bytes)?;
        if decode_connections(&bytes, connections).is_none() {
            *connections = Connections::default();
        }
        Ok(())
    }

    /// The bytes of the newest record; zeros where there is none that checks out.
    fn read_newest<P: Port>(&self, port: &mut P, bytes: &mut Bytes) -> Result<(), NotKept> {
        match (self.home, self.newest) {
            (Home::Partition(region), Some((place, _))) => {
                read(port, region, place, bytes).map_err(|_| NotKept)?;
            }
            (Home::Adapter, Some(_)) => port.load(bytes)?,
            _ => {}
        }
        if sequence_of(bytes) != self.newest.map(|(_, sequence)| sequence) {
            bytes.fill(0);
        }
        Ok(())
    }

    #[inline(never)]
    fn put<P: Port>(
        &mut self,
        port: &mut P,
        record: &Record,
        connections: Option<&Connections>,
    ) -> Result<(), NotKept> {
        let mut bytes = [0; RECORD_BYTES];
        if matches!(self.home, Home::Nowhere) {
            return Err(NotKept);
        }
        // What cannot be read now is not overwritten: the connections among it would be lost.
        self.read_newest(port, &mut bytes)?;
        let before = content_of(&bytes);
        self.sequence = self.sequence.wrapping_add(1);
        let sequence = self.sequence;
        encode(record, sequence, &mut bytes);
        if let Some(connections) = connections {
            encode_connections(connections, &mut bytes);
        }
        if self.newest.is_some() && content_of(&bytes) == before {
            // It is kept already; a refusal that is repeated costs no wear.
            return Ok(());
        }
        let place = match self.home {
            Home::Partition(region) => self.make_room(port, region).map_err(|_| NotKept)?,
            Home::Adapter | Home::Nowhere => 0,
        };
        match self.home {
            Home::Nowhere => {}
            // Cut before, during or after: the port keeps this record or the one before, as `Port::save` demands.
            Home::Adapter => port.save(&bytes)?,
            Home::Partition(region) => {
                // Cut before: the record before this one counts.
                // Cut during: its tag does not match, so the one before counts, and this place is never written again
                //   without an erase.
                // Cut after: it counts.
                flash::write(port, offset_of(region, place), &bytes).map_err(|_| NotKept)?;
                // Worn flash does not say that it kept something else. Then the one before is still the newest, and its
                // sector is not erased.
                read(port, region, place, &mut bytes).map_err(|_| NotKept)?;
                if sequence_of(&bytes) != Some(sequence) {
                    return Err(NotKept);
                }
            }
        }
        self.newest = Some((place, sequence));
        Ok(())
    }

    /// The free place behind the newest record, else the start of the other sector, erased.
    fn make_room<P: Port>(&self, port: &mut P, region: Partition) -> Result<u32, Fault> {
        let newest = self.newest.map_or(PLACES - 1, |(place, _)| place);
        let sector = newest / PER_SECTOR;
        for place in newest + 1..(sector + 1) * PER_SECTOR {
            // A torn record is passed over; a place counts as free only if nothing was ever begun there. Under flash
            // encryption an erased place may read as anything: then none counts as free, and each record costs an
            // erase.
            if is_blank(port, offset_of(region, place))? {
                return Ok(place);
            }
        }
        let other = 1 - sector;
        // Cut before, during or after: the newest record lies in the sector that is not erased. What an older one in
        //   this sector becomes does not matter: as long as it checks out it is older, and then it does not.
        flash::erase(port, region.offset + other * SECTOR_BYTES as u32)?;
        Ok(other * PER_SECTOR)
    }
}

const fn offset_of(region: Partition, place: u32) -> u32 {
    region.offset + place * RECORD_BYTES as u32
}

fn read<F: ReadNorFlash>(
    flash: &mut F,
    region: Partition,
    place: u32,
    bytes: &mut Bytes,
) -> Result<(), Fault> {
    flash::read(flash, offset_of(region, place), bytes)
}

fn is_blank<F: ReadNorFlash>(flash: &mut F, offset: u32) -> Result<bool, Fault> {
    let mut piece = BLANK;
    for at in (0..RECORD_BYTES).step_by(BLANK.len()) {
        flash::read(flash, offset + at as u32, &mut piece)?;
        if piece != BLANK {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests;
