//! The ids that the bridge acts upon, per version.

/// Ids with a part in the bridge's own work. `None`: the version has no such packet, or it is
/// not known which one it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Roles {
    /// CZ_ENTER, the client's first packet to a map server.
    ///
    /// rAthena refuses it when anything else lies in its receive buffer, so it has to travel
    /// alone in its TCP segment.
    pub map_enter: Option<u16>,
    /// CZ_NOTIFY_ACTORINIT: the client has loaded the map.
    pub map_loaded: Option<u16>,
    /// CZ_REQUEST_TIME: the client's tick, every 12 s or so; keeps a map connection alive.
    pub time_sync: Option<u16>,
    /// CZ_REQUEST_CHAT: what the player types (`Name : message`).
    pub public_chat: Option<u16>,
    /// ZC_NOTIFY_PLAYERCHAT: a chat line without a speaker, to the player alone.
    pub system_chat: Option<u16>,
    /// CH_ENTER, the client's first packet to the char server.
    pub char_enter: Option<u16>,
    /// CZ_RESTART: back to the character selection, or to the saved place after death.
    pub restart: Option<u16>,
}

impl Roles {
    /// The same roles without those of packets that clients from 2011 to March 2018 gave another id
    /// in every build.
    pub(crate) fn without_shuffled(self) -> Roles {
        Roles {
            map_enter: None,
            time_sync: None,
            ..self
        }
    }

    /// The same roles without the ids that `keep` does not know.
    pub(crate) fn only(&self, keep: impl Fn(u16) -> bool) -> Roles {
        let kept = |id: Option<u16>| id.filter(|id| keep(*id));
        Roles {
            map_enter: kept(self.map_enter),
            map_loaded: kept(self.map_loaded),
            time_sync: kept(self.time_sync),
            public_chat: kept(self.public_chat),
            system_chat: kept(self.system_chat),
            char_enter: kept(self.char_enter),
            restart: kept(self.restart),
        }
    }
}
