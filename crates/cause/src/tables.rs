//! All tables.

use crate::{Entry, admission, decision, file, gate, publisher, rollout, service, store, update};

/// Every table: a module of constants, one for each code.
pub(crate) const TABLES: &[&[Entry]] = &[
    admission::ALL,
    decision::ALL,
    file::ALL,
    gate::ALL,
    publisher::ALL,
    rollout::ALL,
    service::ALL,
    store::ALL,
    update::ALL,
];
