//! Moving to another broker or network: on trial until the broker was reached, and back again if it is not.

use contract::Code;

use super::Agent;
use crate::connection::{Change, Connection, Connections};
use crate::port::{NotKept, Port};
use crate::refusal::Refusal;

impl Agent {
    /// What to connect with; `None`: the settings that the port itself came with. Read from where the record is kept, so
    /// that passwords do not lie in memory.
    pub fn connection<P: Port>(&self, port: &mut P) -> Option<Connection> {
        self.keeper.connections(port).ok()?.current().cloned()
    }

    /// Puts new connection settings on trial; the ones before come back if no broker is reached in
    /// [`crate::Settings::move_ms`], or in a few boots. An error: there is no place to keep the way back, and nothing changed.
    pub fn move_to<P: Port>(&mut self, port: &mut P, new: Connection) -> Result<(), NotKept> {
        self.change_connections(port, |connections| connections.begin_move(new))
    }

    /// Whether new connection settings are on trial.
    pub fn is_moving(&self) -> bool {
        self.moving_until_ms.is_some()
    }

    /// At boot, before anything is connected with.
    pub(super) fn count_move<P: Port>(&mut self, port: &mut P) {
        if self.change_connections(port, Connections::booted).is_ok() && self.reconnect_due {
            // It is the first connection of this boot, and comes by itself.
            self.reconnect_due = false;
            self.note_return("the new settings reached no broker in several boots", 0);
        }
    }

    /// The broker was reached.
    pub(super) fn settle<P: Port>(&mut self, port: &mut P) {
        if self.is_moving() {
            // What cannot be kept is tried again at the next connect.
            let _ = self.change_connections(port, Connections::confirmed);
        }
    }

    /// Goes back if the time is up.
    pub(super) fn note_move<P: Port>(&mut self, port: &mut P) {
        if self.moving_until_ms.is_none_or(|until_ms| self.now_ms < until_ms) {
            return;
        }
        let seconds = self.settings.move_ms.div_ceil(1000);
        if self.change_connections(port, Connections::returned).is_ok() {
            self.note_return("the new settings reached no broker within # s", seconds);
        } else {
            self.moving_until_ms = Some(self.now_ms + u64::from(self.settings.move_ms));
        }
    }

    fn note_return(&mut self, why: &'static str, seconds: u32) {
        self.returned = Some(Refusal::new(Code::MoveFailed, why, &[seconds]).reason());
    }

    /// Makes a change and keeps it; only what is kept is connected with, or a restart would not know the way back.
    fn change_connections<P: Port>(
        &mut self,
        port: &mut P,
        change: impl FnOnce(&mut Connections) -> Change,
    ) -> Result<(), NotKept> {
        let mut connections = self.keeper.connections(port)?;
        let change = change(&mut connections);
        if change != Change::Nothing {
            // Cut before or during: the connections are those of before. Cut after: the change is made, and the next boot
            //   begins with it.
            self.keeper.store_connections(port, &self.record, &connections)?;
        }
        self.reconnect_due |= change == Change::Reconnect;
        self.moving_until_ms =
            connections.is_on_trial().then(|| self.now_ms + u64::from(self.settings.move_ms));
        Ok(())
    }
}
