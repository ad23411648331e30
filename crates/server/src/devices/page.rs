//! How long a page of a list may be.

use crate::error::Error;
use cause::service as causes;

const PAGE_DEFAULT: u32 = 100;
/// Maximum number of items of a page.
pub(crate) const PAGE_MAX: u32 = 500;

/// The length of a page that was asked for.
pub(crate) fn limit(limit: Option<u32>) -> Result<usize, Error> {
    let limit = limit.unwrap_or(PAGE_DEFAULT);
    if !(1..=PAGE_MAX).contains(&limit) {
        return Err(Error::Invalid(causes::PAGE_SIZE.with("most", PAGE_MAX).with("asked", limit)));
    }
    Ok(limit as usize)
}
