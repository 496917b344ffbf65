//! Joining the zone again after its link was lost, under the open bridge.
//!
//! The bridge signs clients that were on a map in again as soon as there is a link: here it is got. A
//! client that was not has lost its connection and comes back by itself, as to any server. The same zone
//! is asked for until [`Settings::rejoin_within`](super::Settings) is over; when that zone is gone, its
//! fallback zone, if clients are to be kept. The fallback is also joined when the zone is there and none of its game servers is
//! ([`Outcome::ServersAway`](super::Outcome)): the machine of a hosted zone has died with all of them, and the
//! coordinator grants the zone on its own endpoint. A zone that was left so is not gone back to within
//! the time of a re-entry. Nobody is told of a problem before nothing more is tried.

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

/// How long none of a zone's game servers may be there before its fallback is joined. A server that is
/// only started again is mostly back by then; and of the 45 s that a re-entry has by default enough is
/// left for the 30 s that an account may be locked, with joining before them.
pub const SERVERS_AWAY: Duration = Duration::from_secs(8);

/// The same where a re-entry may take `timeout`: a quarter of it at most.
pub fn servers_away(timeout: Duration) -> Duration {
    SERVERS_AWAY.min(timeout / 4)
}

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
    /// The chosen zone's link has ended. Joins the zone again; `false`: there was nothing to join yet, or
    /// play does not go over a link.
    pub(super) fn rejoin(&mut self, now: Duration, lost: &Problem) -> bool {
        let Play::Playing { zone } = &self.play else {
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
        if self.plain.is_used() {
            return false;
        }
        let zone = zone.zone.zone_id.clone();
        self.rejoin = Some(Rejoin {
            zone: zone.clone(),
            phase: Phase::Joining,
            until: now + self.rejoin_within,
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
        // The link of before may have had this to say still.
        let opening = |rejoin: &mut Rejoin| rejoin.phase == Phase::Opening;
        if self.rejoin.take_if(opening).is_none() {
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
        let fallback = self.fallback(now);
        let Some(rejoin) = &mut self.rejoin else {
            return false;
        };
        if !matches!(self.play, Play::Playing { .. }) {
            return false;
        }
        if let Some(other) = fallback.filter(|_| is_gone(problem.code)) {
            rejoin.zone.clone_from(&other);
            rejoin.phase = Phase::Joining;
            self.flee(now, other);
        } else if is_final(problem.code) {
            // What stands in the way, and then what was lost by it.
            self.problem(problem.clone());
            self.rejoin_over();
        } else {
            self.rejoin_later(now);
        }
        true
    }

    /// The zone whose servers may take the clients of the zone that is played.
    fn fallback(&self, now: Duration) -> Option<String> {
        let Play::Playing { zone } = &self.play else {
            return None;
        };
        if !self.reentry {
            return None;
        }
        let timeout = self.rejoin_within;
        let other = zone.zone.fallback_zone.clone()?;
        let asked = self.rejoin.as_ref().map(|rejoin| &rejoin.zone);
        let mut fled = self.fled.iter();
        let left = fled.any(|(zone, at)| *zone == other && now < *at + timeout);
        (asked != Some(&other) && !left).then_some(other)
    }

    /// Goes from the zone that is played to `other`.
    fn flee(&mut self, now: Duration, other: String) {
        if let Some(zone) = self.play.zone().map(str::to_owned) {
            self.fled.retain(|(one, _)| *one != zone);
            self.fled.push((zone, now));
        }
        self.effects.push_back(Effect::Rejoin { zone: other });
    }

    /// None of the chosen zone's game servers takes `client`.
    pub(super) fn servers_away(&mut self, now: Duration, client: Option<u64>) {
        let Play::Playing { zone } = &self.play else {
            return;
        };
        let timeout = self.rejoin_within;
        // While the link is being got, or carries nothing, nobody knows of the servers.
        let status = self.statuses.get(&LinkId::CHOSEN);
        let carries = status.is_some_and(|(state, ..)| {
            matches!(state, LinkState::Connected | LinkState::FailingOver)
        });
        if self.rejoin.is_some() || self.plain.is_used() || !carries {
            return;
        }
        // Somebody plays on it. It was one server of several then.
        if self.roaming.carries_others(LinkId::CHOSEN, client) {
            return;
        }
        // Said of the zone that was just left.
        let settled = |(_, at): &(String, Duration)| now >= *at + servers_away(timeout);
        if !self.fled.iter().all(settled) {
            return;
        }
        let zone = zone.zone.zone_id.clone();
        let Some(other) = self.fallback(now) else {
            return;
        };
        self.rejoin = Some(Rejoin {
            zone: other.clone(),
            phase: Phase::Joining,
            until: now + timeout,
            tries: 0,
            lost: Problem::new(ProblemCode::GameServerUnreachable, zone),
        });
        self.drop_chosen();
        self.flee(now, other);
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
