//! Where a map connection is between entering a map and leaving it, and the packet that keeps its
//! session alive.

/// What may be injected into a map connection depends on this.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// The client enters a map, or was told to load one. Nothing is injected on either side: a
    /// connection that ends here locks the account for 30 s, and the server takes nothing else.
    Loading,
    /// The client says that it has loaded the map; the server has not answered yet.
    Loaded,
    /// The player is on the map.
    Playing,
    /// The client asked to leave. It stays on the map if the server refuses (in a fight): then its
    /// next packet tells.
    Leaving,
}

/// What the game client did, as far as the stage depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ClientDid {
    Enter,
    Load,
    AskToLeave,
    Other,
}

impl Stage {
    pub(crate) fn on_client(self, did: ClientDid) -> Stage {
        match (did, self) {
            (ClientDid::Enter, _) => Stage::Loading,
            (ClientDid::Load, Stage::Loading | Stage::Loaded) => Stage::Loaded,
            (ClientDid::Load, Stage::Playing | Stage::Leaving) => Stage::Playing,
            (ClientDid::AskToLeave, Stage::Playing) => Stage::Leaving,
            (ClientDid::Other, Stage::Leaving) => Stage::Playing,
            (ClientDid::AskToLeave | ClientDid::Other, stage) => stage,
        }
    }

    /// `moved`: the packet sends the player to a map.
    pub(crate) fn on_server(self, moved: bool) -> Stage {
        match self {
            _ if moved => Stage::Loading,
            Stage::Loaded => Stage::Playing,
            stage => stage,
        }
    }
}

/// The packet that the endpoint writes while the client is silent, and what it was told of it.
#[derive(Debug, Default)]
pub(crate) struct KeepAlive {
    /// The last time sync that the client sent, or one that was made; empty: there is none.
    packet: Vec<u8>,
    /// The endpoint has one, not necessarily this one.
    given: bool,
    /// The endpoint does not have what it should have.
    stale: bool,
}

impl KeepAlive {
    /// This is the packet from now on; an empty one is none.
    pub(crate) fn replace(&mut self, packet: &[u8]) {
        if self.packet != packet {
            self.packet.clear();
            self.packet.extend_from_slice(packet);
            self.stale |= self.given;
        }
    }

    /// Whether the endpoint should have one now.
    pub(crate) fn want(&mut self, wanted: bool) {
        if (wanted && !self.packet.is_empty()) != self.given {
            self.stale = true;
        }
    }

    /// The endpoint that was told of it is gone; the next one knows nothing.
    pub(crate) fn forget(&mut self) {
        self.given = false;
        self.stale = false;
    }

    pub(crate) fn is_stale(&self) -> bool {
        self.stale
    }

    /// What the endpoint has to be told: the packet, or an empty one to take it away.
    pub(crate) fn change(&mut self, wanted: bool) -> Option<&[u8]> {
        if !std::mem::take(&mut self.stale) {
            return None;
        }
        let before = std::mem::replace(&mut self.given, wanted && !self.packet.is_empty());
        match (before, self.given) {
            (_, true) => Some(&self.packet),
            (true, false) => Some(&[]),
            // It came and went before the endpoint was told.
            (false, false) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loading_ends_with_the_servers_answer_to_loaded() {
        let stage = Stage::Loading;
        assert_eq!(stage.on_server(false), Stage::Loading);
        assert_eq!(stage.on_client(ClientDid::Other), Stage::Loading);
        let stage = stage.on_client(ClientDid::Load);
        assert_eq!(stage, Stage::Loaded);
        assert_eq!(stage.on_client(ClientDid::Other), Stage::Loaded);
        assert_eq!(stage.on_server(false), Stage::Playing);
        assert_eq!(stage.on_server(true), Stage::Loading);
    }

    #[test]
    fn a_move_or_a_new_entry_begins_it_again() {
        for stage in [
            Stage::Loading,
            Stage::Loaded,
            Stage::Playing,
            Stage::Leaving,
        ] {
            assert_eq!(stage.on_server(true), Stage::Loading);
            assert_eq!(stage.on_client(ClientDid::Enter), Stage::Loading);
        }
    }

    #[test]
    fn a_client_that_may_not_leave_plays_on() {
        let leaving = Stage::Playing.on_client(ClientDid::AskToLeave);
        assert_eq!(leaving, Stage::Leaving);
        assert_eq!(leaving.on_server(false), Stage::Leaving);
        assert_eq!(leaving.on_client(ClientDid::Other), Stage::Playing);
        // Not on a map, it cannot leave one.
        let loading = Stage::Loading.on_client(ClientDid::AskToLeave);
        assert_eq!(loading, Stage::Loading);
    }

    #[test]
    fn only_changes_are_told() {
        let mut keep = KeepAlive::default();
        keep.replace(&[0x60, 3, 0, 0, 0, 0]);
        assert_eq!(keep.change(false), None);
        keep.want(true);
        assert_eq!(keep.change(true), Some(&[0x60, 3, 0, 0, 0, 0][..]));
        keep.want(true);
        assert_eq!(keep.change(true), None);
        keep.replace(&[0x60, 3, 1, 2, 3, 4]);
        assert_eq!(keep.change(true), Some(&[0x60, 3, 1, 2, 3, 4][..]));
        keep.replace(&[0x60, 3, 1, 2, 3, 4]);
        assert_eq!(keep.change(true), None);
        keep.want(false);
        assert_eq!(keep.change(false), Some(&[][..]));
        keep.replace(&[0x60, 3, 5, 6, 7, 8]);
        assert_eq!(keep.change(false), None);
        // Came and went, and went and came.
        keep.want(true);
        keep.want(false);
        assert_eq!(keep.change(false), None);
        keep.want(true);
        assert_eq!(keep.change(true), Some(&[0x60, 3, 5, 6, 7, 8][..]));
    }

    #[test]
    fn without_a_packet_nothing_is_wanted() {
        let mut keep = KeepAlive::default();
        keep.want(true);
        assert!(!keep.is_stale());
        assert_eq!(keep.change(true), None);
        // One that becomes none is taken away.
        keep.replace(&[1, 2]);
        keep.want(true);
        assert_eq!(keep.change(true), Some(&[1, 2][..]));
        keep.replace(&[]);
        assert_eq!(keep.change(true), Some(&[][..]));
    }
}
