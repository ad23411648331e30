//! How long a page of a list may be.

use crate::error::Error;

const PAGE_DEFAULT: u32 = 100;
/// Maximum number of items of a page.
pub(crate) const PAGE_MAX: u32 = 500;

/// The length of a page that was asked for.
pub(crate) fn limit(limit: Option<u32>) -> Result<usize, Error> {
    let limit = limit.unwrap_or(PAGE_DEFAULT);
    if !(1..=PAGE_MAX).contains(&limit) {
        return Err(Error::Invalid(format!("A page has 1 to {PAGE_MAX} items, not {limit}.")));
    }
    Ok(limit as usize)
}
