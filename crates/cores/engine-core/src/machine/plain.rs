//! The last resort: no path to the zone's endpoint, so that the game servers are dialled from here, in plain
//! TCP, where zone and configuration allow it.
//!
//! It is decided when Play finds no path, before the bridge is open, and holds until play ends: a TCP
//! connection cannot be moved.

use warp_protocol::zone::ZoneView;
use warp_protocol::{Problem, ProblemCode};

use super::{Effect, LinkId, Machine, Play};
use crate::event::{Event, PlayStep};
use crate::view::LinkState;

/// Whether this play goes over plain TCP.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plain {
    allowed: bool,
    used: bool,
}

impl Plain {
    pub(super) fn new(allowed: bool) -> Self {
        Self {
            allowed,
            used: false,
        }
    }

    pub(super) fn is_used(self) -> bool {
        self.used
    }

    pub(super) fn over(&mut self) {
        self.used = false;
    }
}

/// The endpoint cannot be reached, or nobody who would say where it is.
fn is_no_way(code: ProblemCode) -> bool {
    use ProblemCode as C;
    matches!(
        code,
        C::NoPath | C::EndpointUnreachable | C::CoordinatorUnreachable | C::CoordinatorFault
    )
}

impl Machine {
    /// Play found no path. `false`: this is no way out.
    pub(super) fn play_plain(&mut self, problem: &Problem) -> bool {
        if !self.plain.allowed || self.plain.used || !is_no_way(problem.code) {
            return false;
        }
        let (mut zone, launch) = match &self.play {
            Play::Joining { zone, launch } => {
                let named = |one: &&ZoneView| one.zone.zone_id == *zone;
                let Some(known) = self.snapshot.zones.iter().find(named) else {
                    return false;
                };
                (Box::new(known.clone()), *launch)
            }
            Play::Opening { zone, launch } => (zone.clone(), *launch),
            Play::Idle | Play::Bridging { .. } | Play::Playing { .. } => return false,
        };
        let Some(game) = zone.zone.plain_game() else {
            return false;
        };
        zone.zone.game = game;
        self.plain.used = true;
        let why = match &problem.detail {
            Some(detail) => format!("{}: {detail}", problem.code.name()),
            None => problem.code.name(),
        };
        let told = Problem::new(ProblemCode::PlainTcp, &zone.zone.zone_id);
        self.problem(told.with_detail(why));
        let link = LinkId::CHOSEN;
        self.effects.push_back(Effect::CloseLink { link });
        self.play = Play::Opening {
            zone: zone.clone(),
            launch,
        };
        self.emit(Event::State {
            state: LinkState::Connecting,
            path: None,
            reason: None,
        });
        self.step(PlayStep::OpeningPath);
        self.effects.push_back(Effect::OpenPlain { link, zone });
        true
    }
}
