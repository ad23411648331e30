//! What a route asks of its caller.

use crate::access::Role;

/// One for each route, said where the route is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Right {
    /// Nothing: it answers without credentials, or carries its own in the URL.
    Public,
    /// Look.
    Read,
    /// Publish and promote.
    Release,
    /// Change devices, updates and the blocked list.
    Operate,
    /// Look at a product's releases: also for a publisher that is trusted with it.
    ReadProduct,
    /// Publish a product: also for a publisher that is trusted with it.
    Publish,
    /// Point a product's channels: also for a publisher that is trusted to promote it.
    Promote,
}

impl Right {
    /// Whether callers of this role have it.
    pub(crate) fn is_of(self, role: Role) -> bool {
        match self {
            Self::Public | Self::Read | Self::ReadProduct => true,
            Self::Release | Self::Publish | Self::Promote => {
                matches!(role, Role::Admin | Role::Operator | Role::Ci)
            }
            Self::Operate => matches!(role, Role::Admin | Role::Operator),
        }
    }

    /// Whether a caller who is confined to one product may have it, for that product. The handler takes the product by
    /// [`super::own::Own`], which refuses any other.
    pub(super) fn is_of_publishers(self) -> bool {
        matches!(self, Self::Public | Self::ReadProduct | Self::Publish | Self::Promote)
    }

    /// What it lets somebody do, to follow "may".
    pub(super) fn as_words(self) -> &'static str {
        match self {
            Self::Public | Self::Read | Self::ReadProduct => "read",
            Self::Release | Self::Publish | Self::Promote => "publish or promote",
            Self::Operate => "change devices or the blocked list",
        }
    }
}
