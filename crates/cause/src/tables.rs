//! All tables.

use crate::{Entry, decision, publisher, update};

/// Every table: a module of constants, one for each code.
pub(crate) const TABLES: &[&[Entry]] = &[decision::ALL, publisher::ALL, update::ALL];
