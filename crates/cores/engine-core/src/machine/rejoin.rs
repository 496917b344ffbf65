//! Joining the zone again after its link was lost, while the bridge keeps the game clients.
//!
//! The bridge signs its clients in again as soon as there is a link: here it is got. The same zone is
//! asked for until [`Settings::reentry`](super::Settings) is over; when that zone is gone, its fallback
//! zone. Nobody is told of a problem before nothing more is tried.

use std::time::Duration;

use warp_link_core::CloseReason;
use warp_protocol::rest::SessionGrant;
use warp_protocol::stream::reset;
use warp_protocol::{Problem, ProblemCode};

use super::{Effect, LinkId, Machine, Play};
use crate::event::{Event, PlayStep};
use crate::view::LinkState;

/// Pause before the second try; it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Joining,
    Opening,
    /// Until then.
    Pause(Duration),
}

/// A zone that is being joined again.
#[derive(Debug)]
pub(super) struct Rejoin {
    zone: String,
    phase: Phase,
    until: Duration,
    tries: u32,
    /// What is told when it fails.
    lost: Problem,
}

/// A link that ended so may be got again.
pub(super) fn may_come_back(reason: &CloseReason) -> bool {
    match reason {
        CloseReason::Lost | CloseReason::Protocol => true,
        CloseReason::Peer(code) => ![reset::DEVICE_REVOKED, reset::BANNED]
            .map(u64::from)
            .contains(code),
        CloseReason::Local | CloseReason::Untrusted => false,
    }
}

/// Asking again changes nothing about that.
fn is_final(code: ProblemCode) -> bool {
    use ProblemCode as C;
    is_gone(code)
        || matches!(
            code,
            C::DeviceRevoked
                | C::Banned
                | C::TokenExpired
                | C::NotSignedIn
                | C::Forbidden
                | C::CertificateMissing
                | C::CertificateInvalid
                | C::CoordinatorUnproven
                | C::CoordinatorKeyChanged
                | C::CoordinatorUntrusted
                | C::EndpointUntrusted
        )
}

/// The zone is not there any more.
fn is_gone(code: ProblemCode) -> bool {
    use ProblemCode as C;
    matches!(code, C::UnknownZone | C::ZoneClosed | C::NotFound)
}

impl Machine {
    /// The chosen zone's link has ended. Joins the zone again where clients are to be kept; `false`:
    /// nothing is to be kept.
    pub(super) fn rejoin(&mut self, now: Duration, lost: &Problem) -> bool {
        let (Play::Playing { zone }, Some(timeout)) = (&self.play, self.reentry) else {
            return false;
        };
        if let Some(rejoin) = &self.rejoin {
            // The link that had just been got, or the old one once more.
            if rejoin.phase == Phase::Opening {
                self.rejoin_later(now);
            }
            return true;
        }
        // The bridge knows the addresses of another link then.
        if self.plain.is_used() || !self.roaming.has_clients() {
            return false;
        }
        let zone = zone.zone.zone_id.clone();
        self.rejoin = Some(Rejoin {
            zone: zone.clone(),
            phase: Phase::Joining,
            until: now + timeout,
            tries: 0,
            lost: lost.clone(),
        });
        self.drop_chosen();
        self.effects.push_back(Effect::Rejoin { zone });
        true
    }

    /// The old link goes, and with it what it said.
    fn drop_chosen(&mut self) {
        let link = LinkId::CHOSEN;
        self.effects.push_back(Effect::CloseLink { link });
        self.statuses.remove(&link);
        if self.shown.is_chosen() {
            self.emit(Event::State {
                state: LinkState::Reconnecting,
                path: None,
                reason: None,
            });
        }
    }

    /// The coordinator granted the session. `false`: it was not asked for here.
    pub(super) fn rejoin_granted(&mut self, grant: &SessionGrant) -> bool {
        let (Play::Playing { zone }, Some(rejoin)) = (&mut self.play, &mut self.rejoin) else {
            return false;
        };
        rejoin.phase = Phase::Opening;
        **zone = grant.zone.clone();
        let grant = Box::new(grant.clone());
        let link = LinkId::CHOSEN;
        self.effects.push_back(Effect::OpenLink { link, grant });
        true
    }

    /// The link carries.
    pub(super) fn rejoined(&mut self) {
        if self.rejoin.take().is_none() {
            return;
        }
        let Play::Playing { zone } = &self.play else {
            return;
        };
        let file = zone.zone.clone();
        if self.roaming.rehome(&file) {
            self.step(PlayStep::Ready);
        }
    }

    /// There is no session, or no path of it. `false`: it was not asked for here.
    pub(super) fn rejoin_failed(&mut self, now: Duration, problem: &Problem) -> bool {
        let Some(rejoin) = &mut self.rejoin else {
            return false;
        };
        let Play::Playing { zone } = &self.play else {
            return false;
        };
        let fallback = zone.zone.fallback_zone.clone();
        let other = fallback.filter(|other| is_gone(problem.code) && *other != rejoin.zone);
        if let Some(other) = other {
            rejoin.zone.clone_from(&other);
            rejoin.phase = Phase::Joining;
            self.effects.push_back(Effect::Rejoin { zone: other });
        } else if is_final(problem.code) {
            // What stands in the way, and then what was lost by it.
            self.problem(problem.clone());
            self.rejoin_over();
        } else {
            self.rejoin_later(now);
        }
        true
    }

    fn rejoin_later(&mut self, now: Duration) {
        let Some(rejoin) = &mut self.rejoin else {
            return;
        };
        let pause = FIRST_PAUSE.saturating_mul(1 << rejoin.tries.min(8));
        rejoin.tries = rejoin.tries.saturating_add(1);
        let opened = rejoin.phase == Phase::Opening;
        rejoin.phase = Phase::Pause(now + pause.min(LONGEST_PAUSE));
        if opened {
            self.drop_chosen();
        }
    }

    fn rejoin_over(&mut self) {
        if let Some(rejoin) = self.rejoin.take() {
            self.play_failed(rejoin.lost);
        }
    }

    /// Time has passed.
    pub(super) fn rejoin_on_time(&mut self, now: Duration) {
        let Some(rejoin) = &mut self.rejoin else {
            return;
        };
        if now >= rejoin.until {
            return self.rejoin_over();
        }
        if matches!(rejoin.phase, Phase::Pause(until) if now >= until) {
            rejoin.phase = Phase::Joining;
            let zone = rejoin.zone.clone();
            self.effects.push_back(Effect::Rejoin { zone });
        }
    }

    pub(super) fn rejoin_next(&self) -> Option<Duration> {
        let rejoin = self.rejoin.as_ref()?;
        Some(match rejoin.phase {
            Phase::Pause(until) => until.min(rejoin.until),
            Phase::Joining | Phase::Opening => rejoin.until,
        })
    }
}
