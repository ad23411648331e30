//! What is known of a device's presence, as its column has it.

use contract::Presence;

/// What was said of a device's presence, last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KnownPresence {
    /// By the device.
    Online,
    /// By the device, or by the broker that sent its last will.
    Offline,
    /// `offline`, and the device was heard after that: the last will was an earlier connection's. Silence decides, as where nothing is
    /// said of presence.
    Contradicted,
}

impl KnownPresence {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Online => "online",
            Self::Offline => "offline",
            Self::Contradicted => "contradicted",
        }
    }

    pub(super) fn from_word(word: &str) -> Option<Self> {
        [Self::Online, Self::Offline, Self::Contradicted].into_iter().find(|known| known.as_str() == word)
    }
}

impl From<Presence> for KnownPresence {
    fn from(said: Presence) -> Self {
        match said {
            Presence::Online => Self::Online,
            Presence::Offline => Self::Offline,
        }
    }
}
