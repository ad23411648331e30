//! Figures of the fleet, as they were counted last.

use std::collections::BTreeMap;
use std::sync::Arc;

use contract::ProductName;
use flight::{Answer, Flight};
use sea_orm::DbErr;
use tokio::sync::Notify;

use crate::counts::Counts;

/// All figures, counted at one time.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    pub(super) by_product: BTreeMap<Option<ProductName>, Counts>,
    /// What devices said whose newest update failed or was rolled back, and how many said it.
    pub(crate) reasons: Vec<(String, u64)>,
}

impl Figures {
    /// Of all devices, or of a product's.
    pub(crate) fn of(&self, product: Option<&ProductName>) -> Counts {
        if product.is_some() {
            return self.by_product.get(&product.cloned()).cloned().unwrap_or_default();
        }
        let mut all = Counts::default();
        self.by_product.values().for_each(|counts| all.add(counts));
        all
    }

    /// The products that devices have, by name.
    pub(crate) fn products(&self) -> impl Iterator<Item = (&ProductName, u64)> {
        self.by_product.iter().filter_map(|(product, counts)| Some((product.as_ref()?, counts.devices)))
    }
}

/// What came of a count.
#[derive(Debug, Clone)]
pub(super) struct Counted {
    /// The last that ended well: this one, or one before.
    pub(super) good: Option<Answer<Arc<Figures>>>,
    /// Why this one did not.
    pub(super) error: Option<DbErr>,
}

#[derive(Debug, Default)]
pub(super) struct FigureCache {
    pub(super) counted: Arc<Flight<Counted>>,
    /// Told once those who had older figures may look again.
    pub(super) recounted: Notify,
}
