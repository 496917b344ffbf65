//! Being a host beside everything else.

use std::net::SocketAddr;

use warp_host_core::{HostState, HostStatusView};
use warp_protocol::{Problem, ProblemCode};

use super::{Account, Effect, HostEnd, Machine};
use crate::event::Event;

/// What the configuration says of hosting.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HostingSettings {
    /// Become a host by itself, with the sign-in.
    pub enabled: bool,
    /// For these zones; empty: the one that is played.
    pub zones: Vec<String>,
    /// Take no new players while a game runs here.
    pub not_while_playing: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Off,
    On,
    /// It was asked to end.
    Ending,
}

/// Whether this launcher is a host.
#[derive(Debug)]
pub(super) struct Hosting {
    settings: HostingSettings,
    stage: Stage,
    paused: bool,
    /// Becoming one by itself is still to come.
    waiting: bool,
}

impl Hosting {
    pub(super) fn new(settings: HostingSettings) -> Self {
        Self {
            settings,
            stage: Stage::Off,
            paused: false,
            waiting: false,
        }
    }
}

impl Machine {
    pub(super) fn start_host(
        &mut self,
        zones: Vec<String>,
        max_players: Option<u32>,
        upload_mbps: Option<u32>,
        upstreams: Option<Vec<SocketAddr>>,
    ) {
        if self.account != Account::In {
            return self.problem(Problem::new(ProblemCode::NotSignedIn, "hosting"));
        }
        if self.hosting.stage == Stage::On {
            return self.refuse("host-start", "this launcher is a host already");
        }
        let zones = match (zones, &self.hosting.settings.zones, self.play.zone()) {
            (zones, ..) if !zones.is_empty() => zones,
            (_, zones, _) if !zones.is_empty() => zones.clone(),
            (_, _, Some(zone)) => vec![zone.to_owned()],
            (_, _, None) => {
                return self.refuse("host-start", "name a zone, or play one");
            }
        };
        if upstreams.is_some() && zones.len() != 1 {
            return self.refuse("host-start", "an endpoint is that of one zone");
        }
        self.hosting.stage = Stage::On;
        self.hosting.paused = false;
        self.hosting.waiting = false;
        self.effects.push_back(Effect::StartHost {
            zones,
            max_players,
            upload_mbps,
            upstreams,
        });
        self.pause_host();
    }

    /// Somebody signed in.
    pub(super) fn host_by_itself(&mut self) {
        if !self.hosting.settings.enabled {
            return;
        }
        if self.hosting.settings.zones.is_empty() && self.play.zone().is_none() {
            self.hosting.waiting = true;
        } else if self.hosting.stage == Stage::Off {
            self.start_host(Vec::new(), None, None, None);
        }
    }

    /// A zone is played.
    pub(super) fn host_this_zone(&mut self) {
        if self.hosting.waiting && self.hosting.stage == Stage::Off {
            self.start_host(Vec::new(), None, None, None);
        }
    }

    pub(super) fn stop_host(&mut self) {
        self.hosting.waiting = false;
        if self.hosting.stage == Stage::Off {
            return self.refuse("host-stop", "this launcher is no host");
        }
        self.hosting.stage = Stage::Ending;
        let how = HostEnd::Drained;
        self.effects.push_back(Effect::StopHost { how });
    }

    /// Nobody is signed in any more ([`HostEnd::Now`]: nothing can be asked of the coordinator), or the
    /// engine ends.
    pub(super) fn end_host(&mut self, how: HostEnd) {
        self.hosting.waiting = false;
        if self.hosting.stage != Stage::Off {
            self.hosting.stage = Stage::Ending;
            self.effects.push_back(Effect::StopHost { how });
        }
    }

    /// Has the host take no new players while a game runs, where that is wanted.
    pub(super) fn pause_host(&mut self) {
        let hosting = &mut self.hosting;
        let paused = hosting.settings.not_while_playing && !self.games.is_empty();
        if hosting.stage == Stage::On && std::mem::replace(&mut hosting.paused, paused) != paused {
            self.effects.push_back(Effect::PauseHost { on: paused });
        }
    }

    pub(super) fn on_host_state(&mut self, host: Box<HostStatusView>) {
        if host.state == HostState::Stopped {
            self.hosting.stage = Stage::Off;
        }
        self.emit(Event::HostState { host });
    }
}
