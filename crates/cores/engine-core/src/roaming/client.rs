//! Where a client is, and what was told of it.

use std::time::Duration;

/// A client on a map.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) map: String,
    pub(super) place: Place,
    /// The map is not told yet; it is by then, with its zone or without.
    pub(super) tell_by: Option<Duration>,
    /// The zone that was told last.
    pub(super) told: Option<String>,
}

impl Client {
    /// The zone that was told last for `map`, if it was told of it.
    pub(super) fn told_for(&self, map: &str) -> Option<Option<String>> {
        (self.map == map && self.tell_by.is_none()).then(|| self.told.clone())
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// On a map of the chosen zone.
    Own,
    /// On a map without a zone, or (`unknown`) the coordinator could not say.
    Nowhere { unknown: bool },
    /// The map's zone is being looked up.
    Asking,
    /// On a map of this zone.
    Zone { zone: String, by: Carrier },
}

/// Who is to carry a client on a map of a zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Carrier {
    /// A visit, which is joined for it.
    Visit,
    /// The chosen zone, until a visit is opened for another client. `retry`: it is joined when the
    /// same map is announced again.
    Chosen { retry: bool },
}

impl Place {
    /// On a map of `zone`, which is to be visited.
    pub(super) fn visiting(zone: &str) -> Self {
        Self::Zone {
            zone: zone.to_owned(),
            by: Carrier::Visit,
        }
    }

    /// On a map whose zone is `zone`, if it has one.
    pub(super) fn in_zone(zone: Option<&str>, chosen: &str) -> Self {
        match zone {
            Some(zone) if zone == chosen => Self::Own,
            Some(zone) => Self::visiting(zone),
            None => Self::Nowhere { unknown: false },
        }
    }

    pub(super) fn zone(&self) -> Option<&String> {
        match self {
            Self::Zone { zone, .. } => Some(zone),
            _ => None,
        }
    }

    /// Whether the announcement of the same map changes anything.
    pub(super) fn may_retry(&self) -> bool {
        matches!(
            self,
            Self::Nowhere { unknown: true }
                | Self::Zone {
                    by: Carrier::Chosen { retry: true },
                    ..
                }
        )
    }
}
