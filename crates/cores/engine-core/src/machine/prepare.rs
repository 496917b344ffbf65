//! The paths of a zone that is being looked at: opened before Play, so that Play finds them, and
//! measured meanwhile.
//!
//! They are those of the chosen zone's link. Play in that zone takes them over at whatever step they
//! are; Play in another zone, another zone that is looked at, signing out and [`HOLD`] close them.
//! What goes wrong is told with the zone, and is no problem of anything that was asked for.

use std::time::Duration;

use warp_link_core::LinkEvent;
use warp_protocol::Problem;
use warp_protocol::carrier::PathKind;
use warp_protocol::rest::SessionGrant;
use warp_protocol::zone::ZoneView;

use super::{Account, Effect, LinkId, Machine, Play, Status};
use crate::event::{Event, PlayStep};
use crate::view::{LinkState, Quality};

/// How long paths are kept for somebody who does not press Play; asked for again, that begins anew. A
/// session counts as a player of its zone, so it is short.
pub(super) const HOLD: Duration = Duration::from_secs(90);

#[derive(Debug, Clone, PartialEq)]
enum Stage {
    Joining,
    Opening(Box<ZoneView>),
    Ready(Box<ZoneView>),
}

/// A zone whose paths are open before Play.
#[derive(Debug)]
pub(super) struct Prepared {
    zone: String,
    stage: Stage,
    until: Duration,
    /// What its link said last.
    status: Option<Status>,
}

impl Machine {
    /// Whether a zone is prepared, or being so.
    pub fn is_preparing(&self) -> bool {
        self.prepared.is_some()
    }

    pub(super) fn prepare(&mut self, now: Duration, zone: Option<String>) {
        let Some(zone) = zone else {
            return self.unprepare();
        };
        // Asking beforehand is never a problem: Play will say what is wrong.
        if self.account != Account::In || self.play != Play::Idle {
            return;
        }
        let until = now + HOLD;
        if let Some(prepared) = &mut self.prepared
            && prepared.zone == zone
        {
            prepared.until = until;
            return;
        }
        self.unprepare();
        self.effects.push_back(Effect::Join {
            link: LinkId::CHOSEN,
            zone: zone.clone(),
        });
        self.prepared = Some(Prepared {
            zone,
            stage: Stage::Joining,
            until,
            status: None,
        });
        self.tell_prepared(LinkState::Connecting, None, None);
    }

    /// Closes what was prepared.
    pub(super) fn unprepare(&mut self) {
        if self.prepared.is_some() {
            let link = LinkId::CHOSEN;
            self.effects.push_back(Effect::CloseLink { link });
            self.prepare_over(None);
        }
    }

    pub(super) fn prepared_until(&self) -> Option<Duration> {
        self.prepared.as_ref().map(|prepared| prepared.until)
    }

    pub(super) fn prepared_on_time(&mut self, now: Duration) {
        if self.prepared_until().is_some_and(|until| now >= until) {
            self.unprepare();
        }
    }

    /// What was prepared for Play in `zone`; what was for another zone is closed.
    pub(super) fn take_prepared(&mut self, zone: &str) -> Option<Prepared> {
        if self.prepared.as_ref()?.zone != zone {
            self.unprepare();
        }
        self.prepared.take()
    }

    /// Play goes on where the preparation is.
    pub(super) fn play_prepared(&mut self, prepared: Prepared, launch: bool) {
        let Prepared {
            zone,
            stage,
            status,
            ..
        } = prepared;
        let (zone, ready) = match stage {
            Stage::Joining => {
                self.play = Play::Joining { zone, launch };
                return;
            }
            Stage::Opening(zone) => (zone, false),
            Stage::Ready(zone) => (zone, true),
        };
        self.play = Play::Opening { zone, launch };
        self.step(PlayStep::OpeningPath);
        if let Some((state, path, reason)) = status {
            self.statuses.insert(LinkId::CHOSEN, (state, path, reason));
            self.emit(Event::State {
                state,
                path,
                reason,
            });
        }
        if ready {
            self.on_link_ready();
        }
    }

    /// Opens the link where the session was asked for beforehand; gives the grant back otherwise.
    pub(super) fn prepare_granted(
        &mut self,
        grant: Box<SessionGrant>,
    ) -> Option<Box<SessionGrant>> {
        let Some(prepared) = &mut self.prepared else {
            return Some(grant);
        };
        if prepared.stage != Stage::Joining {
            return Some(grant);
        }
        prepared.stage = Stage::Opening(Box::new(grant.zone.clone()));
        let link = LinkId::CHOSEN;
        self.effects.push_back(Effect::OpenLink { link, grant });
        None
    }

    pub(super) fn prepare_ready(&mut self) {
        if let Some(prepared) = &mut self.prepared
            && let Stage::Opening(zone) = &prepared.stage
        {
            prepared.stage = Stage::Ready(zone.clone());
        }
    }

    /// There is no session, or no path of it.
    pub(super) fn prepare_failed(&mut self, problem: Problem) {
        let link = LinkId::CHOSEN;
        self.effects.push_back(Effect::CloseLink { link });
        self.prepare_over(Some(problem));
    }

    pub(super) fn prepared_link(&mut self, event: LinkEvent) {
        match event {
            LinkEvent::State {
                state,
                path,
                reason,
            } => {
                if let Some(prepared) = &mut self.prepared {
                    prepared.status = Some((state, path, reason));
                }
                if state != LinkState::Disconnected {
                    self.tell_prepared(state, path, None);
                }
            }
            LinkEvent::Closed(_) => self.unprepare(),
            _ => {}
        }
    }

    /// The shell has measured.
    pub(super) fn prepared_measured(
        &mut self,
        path: Option<PathKind>,
        rtt_ms: Option<f64>,
        quality: Option<Quality>,
    ) {
        let Some(prepared) = &self.prepared else {
            return;
        };
        let state = prepared
            .status
            .map_or(LinkState::Connecting, |(state, ..)| state);
        self.emit(Event::Prepared {
            zone: prepared.zone.clone(),
            state,
            path,
            rtt_ms,
            quality,
            problem: None,
        });
    }

    fn prepare_over(&mut self, problem: Option<Problem>) {
        self.tell_prepared(LinkState::Disconnected, None, problem);
        self.prepared = None;
    }

    fn tell_prepared(
        &mut self,
        state: LinkState,
        path: Option<PathKind>,
        problem: Option<Problem>,
    ) {
        if let Some(prepared) = &self.prepared {
            self.emit(Event::Prepared {
                zone: prepared.zone.clone(),
                state,
                path,
                rtt_ms: None,
                quality: None,
                problem,
            });
        }
    }
}
