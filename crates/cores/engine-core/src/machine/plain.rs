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
#[derive(Debug, Clone)]
pub(super) struct Plain {
    allowed: bool,
    used: bool,
    /// The list of zones, which has the addresses, was asked for and did not come yet.
    asked: bool,
    /// Why there is no path: known before the list is.
    waits: Option<Problem>,
}

impl Plain {
    pub(super) fn new(allowed: bool) -> Self {
        Self {
            allowed,
            used: false,
            asked: false,
            waits: None,
        }
    }

    pub(super) fn is_used(&self) -> bool {
        self.used
    }

    pub(super) fn over(&mut self) {
        self.used = false;
        self.waits = None;
    }

    pub(super) fn list_asked(&mut self) {
        self.asked = true;
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
    /// The list of zones came, or will not.
    pub(super) fn list_came(&mut self) {
        self.plain.asked = false;
        let waits = self.plain.waits.take();
        let joining = matches!(self.play, Play::Joining { .. });
        if let Some(problem) = waits.filter(|_| joining)
            && !self.play_plain(&problem)
        {
            self.play_failed(problem);
        }
    }

    /// Play found no path. `false`: this is no way out.
    pub(super) fn play_plain(&mut self, problem: &Problem) -> bool {
        if !self.plain.allowed || self.plain.used || !is_no_way(problem.code) {
            return false;
        }
        let (mut zone, launch) = match &self.play {
            Play::Joining { zone, launch } => {
                let named = |one: &&ZoneView| one.zone.zone_id == *zone;
                let Some(known) = self.snapshot.zones.iter().find(named) else {
                    // Who plays at once after signing in may be refused before the list is here.
                    let waits = self.plain.asked;
                    self.plain.waits = waits.then(|| problem.clone());
                    return waits;
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
