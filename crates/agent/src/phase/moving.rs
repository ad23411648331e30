//! Moving to another broker or network: on trial until the broker was reached, and back again if it is not.

use contract::Reason;

use super::Agent;
use crate::connection::{Change, Connection, Connections};
use crate::port::{NotKept, Port};
use crate::refusal::Refusal;
use crate::sentences::Says;
use crate::timers::Timer;

impl Agent {
    /// What to connect with; `None`: the settings that the port itself came with. Read from where the record is kept, so
    /// that passwords do not lie in memory.
    #[inline(never)]
    pub fn connection<P: Port>(&self, port: &mut P) -> Option<Connection> {
        self.keeper.connections(port).ok()?.current().cloned()
    }

    /// Puts new connection settings on trial; the ones before come back if no broker is reached in
    /// [`crate::Settings::move_ms`], or in a few boots. An error: there is no place to keep the way back, and nothing changed.
    #[inline(never)]
    pub fn move_to<P: Port>(&mut self, port: &mut P, new: Connection) -> Result<(), NotKept> {
        let mut new = Some(new);
        self.returned = None;
        self.change_connections(port, &mut |connections| {
            new.take().map_or(Change::Nothing, |new| connections.begin_move(new))
        })
    }

    /// Whether new connection settings are on trial.
    pub fn is_moving(&self) -> bool {
        self.timers.is_set(Timer::Move)
    }

    /// At boot, before anything is connected with.
    pub(super) fn count_move<P: Port>(&mut self, port: &mut P) {
        if self.change_connections(port, &mut Connections::booted).is_ok() && self.reconnect_due {
            // It is the first connection of this boot, and comes by itself.
            self.reconnect_due = false;
            self.returned = Some(0);
        }
    }

    pub(super) fn confirm_move<P: Port>(&mut self, port: &mut P) {
        // A connection that was there before is none of the new settings'.
        if self.is_moving() && !self.reconnect_due {
            // What cannot be kept is tried again at the next connect.
            if self.change_connections(port, &mut Connections::confirmed).is_ok() {
                self.returned = None;
            }
        }
    }

    /// Goes back if the time is up.
    pub(super) fn note_move<P: Port>(&mut self, port: &mut P) {
        if !self.timers.has_ended(Timer::Move) {
            return;
        }
        if self.connected {
            // It works; only that could not be kept.
            self.timers.start(Timer::Move, self.settings.move_ms);
            return self.confirm_move(port);
        }
        let seconds = self.settings.move_ms.div_ceil(1000);
        if self.change_connections(port, &mut Connections::returned).is_ok() {
            self.returned = Some(seconds);
        } else {
            self.timers.start(Timer::Move, self.settings.move_ms);
        }
    }

    /// Why settings that were on trial were given up.
    pub(super) fn why_returned(&self) -> Option<Reason> {
        let says = match self.returned? {
            0 => Says::MoveFailedByBoots,
            _ => Says::MoveFailed,
        };
        Some(Refusal::new(says, &[self.returned?]).reason(""))
    }

    /// Makes a change and keeps it; only what is kept is connected with, or a restart would not know the way back.
    #[inline(never)]
    fn change_connections<P: Port>(
        &mut self,
        port: &mut P,
        change: &mut dyn FnMut(&mut Connections) -> Change,
    ) -> Result<(), NotKept> {
        let mut connections = Connections::default();
        self.keeper.fill_connections(port, &mut connections)?;
        let change = change(&mut connections);
        if change == Change::Nothing {
            // A command that comes twice prolongs nothing. After a boot there is no deadline yet.
            if self.is_moving() || !connections.is_on_trial() {
                return Ok(());
            }
        } else {
            // Cut before or during: the connections are those of before. Cut after: the change is made, and the next boot
            //   begins with it.
            self.keeper.store_connections(port, &self.record, &connections)?;
        }
        self.reconnect_due |= change == Change::Reconnect;
        if connections.is_on_trial() {
            self.timers.start(Timer::Move, self.settings.move_ms);
        } else {
            self.timers.stop(Timer::Move);
        }
        Ok(())
    }
}
