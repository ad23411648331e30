//! All tables.

use crate::{Entry, admission, decision, gate, publisher, rollout, service, store, update};

/// Every table: a module of constants, one for each code.
pub(crate) const TABLES: &[&[Entry]] = &[
    admission::ALL,
    decision::ALL,
    gate::ALL,
    publisher::ALL,
    rollout::ALL,
    service::ALL,
    store::ALL,
    update::ALL,
];
