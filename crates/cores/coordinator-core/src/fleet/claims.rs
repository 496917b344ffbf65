//! What a host says of itself, against what is known otherwise.
//!
//! A host's word is what its heartbeats say; how many members it was given, and what they measured, is
//! known without it. Where the two do not fit for [`FleetLimits::doubt`], whenever anything is known, the
//! host is no longer believed for [`FleetLimits::disbelief`] after the last one that did not fit:
//! nothing that it says of itself counts then ([`super::score`]), and it comes after all hosts that are believed.
//!
//! A measurement is about the time before it ([`LOSS_SPAN`], [`LATENCY_SPAN`]) and is known for longer ([`FRESH`]). So that one
//! bad moment of an honest host is not counted for as long as it is remembered, what counts is when it
//! was measured, and the time that it is about.
//!
//! Members lie too. So what they measured contradicts a host only where members of at least two
//! accounts agree: the best that any of them measured counts.

use std::time::Duration;

use super::choice::MAX_LOSS;
use super::model::{Claim, FleetEvent};
use super::{Fleet, Host, Quality, Sample};

/// A member's measurement says for so long how the host is doing now. Members tell every 5 s.
const FRESH: Duration = Duration::from_secs(15);
/// A member's loss is that of so long before (`LOSS_WINDOW` of link-core).
const LOSS_SPAN: Duration = Duration::from_secs(10);
/// The same for its round trip (`TRIP_WINDOW` there).
const LATENCY_SPAN: Duration = Duration::from_secs(5);
/// Members need a way of their own to the host, which its word does not hold: so much may their
/// round trip be longer than the host's to the endpoint, milliseconds.
const OWN_WAY_MS: f64 = 100.0;

/// A claim that does not fit.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Contradiction {
    said: f64,
    found: f64,
    /// The last time for which it is shown, by two accounts where one alone could lie.
    at: Duration,
}

/// What is known of a claim without the host.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Evidence {
    /// Nothing, or by one account only: a doubt stays as it is.
    None,
    Fits,
    Contradicts(Contradiction),
}

/// One claim that did not fit whenever something was known of it.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Doubt {
    since: Duration,
    last: Duration,
    told: bool,
}

/// What is held against a host.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Doubts {
    /// By [`Claim`].
    doubts: [Option<Doubt>; Claim::ALL.len()],
    /// Until when it is not believed.
    until: Option<Duration>,
}

impl Doubts {
    pub(super) fn believed(&self) -> bool {
        self.until.is_none()
    }

    /// Time passes.
    pub(super) fn pass(&mut self, now: Duration) {
        self.until = self.until.filter(|until| *until > now);
    }
}

impl Fleet {
    /// Compares the last heartbeat of a host with what is known otherwise.
    pub(super) fn weigh(&mut self, now: Duration, host_id: &str) {
        let found = self.evidence(now, host_id);
        let limits = self.limits;
        let Some(host) = self.hosts.get_mut(host_id) else {
            return;
        };
        let doubts = &mut host.doubts;
        let mut told = Vec::new();
        for ((claim, doubt), found) in Claim::ALL.into_iter().zip(&mut doubts.doubts).zip(found) {
            let found = match found {
                Evidence::None => {
                    *doubt = doubt.filter(|doubt| doubt.last + limits.disbelief > now);
                    continue;
                }
                Evidence::Fits => {
                    *doubt = None;
                    continue;
                }
                Evidence::Contradicts(found) => found,
            };
            let doubt = doubt.get_or_insert(Doubt {
                since: now,
                last: now,
                told: false,
            });
            doubt.last = now;
            if doubt.since + limits.doubt > found.at {
                continue;
            }
            doubts.until = Some(now + limits.disbelief);
            if !std::mem::replace(&mut doubt.told, true) {
                told.push((claim, found));
            }
        }
        for (claim, Contradiction { said, found, .. }) in told {
            self.counters.contradicted(claim);
            self.event(FleetEvent::Contradicted {
                host_id: host_id.to_owned(),
                claim,
                said,
                found,
            });
        }
    }

    /// By [`Claim`].
    fn evidence(&self, now: Duration, host_id: &str) -> [Evidence; Claim::ALL.len()] {
        let none = [Evidence::None; Claim::ALL.len()];
        let Some(host) = self.hosts.get(host_id) else {
            return none;
        };
        let Some(beat) = &host.beat else {
            return none;
        };
        let is_fresh = |sample: &Sample| sample.at + FRESH > now;
        // Those that measure something over it are there. It may know of more: a number that is too
        // high draws nobody, and can come of a farewell that it missed.
        let there = host.members.iter().filter_map(|session_id| {
            let session = self.sessions.get(session_id)?;
            let mut places = session.ways.iter().flatten();
            let place = places.find(|place| place.host_id == host_id)?;
            place.sample.filter(is_fresh).map(|sample| sample.at)
        });
        let there = newest_first(there);
        let said = beat.current_players;
        let beyond = usize::try_from(said).ok().and_then(|said| there.get(said));
        let players = beyond.map_or(Evidence::Fits, |at| {
            Evidence::Contradicts(Contradiction {
                said: f64::from(said),
                found: f64::from(u32::try_from(there.len()).unwrap_or(u32::MAX)),
                at: *at,
            })
        });
        // Members that were moved since they measured count on.
        let measured: Vec<Sample> = host.measured.values().copied().filter(is_fresh).collect();
        let latency = beat.latency_ms.map_or(Evidence::Fits, |said| {
            let found = best_of(&measured, |quality| quality.latency_ms);
            against(said, found, OWN_WAY_MS, LATENCY_SPAN)
        });
        // Who offers itself says that it carries what it is given.
        let said = beat.packet_loss_percent.unwrap_or(0.0);
        let found = best_of(&measured, |quality| quality.loss_percent);
        let loss = against(said, found, MAX_LOSS, LOSS_SPAN);
        [players, latency, loss]
    }
}

impl Host {
    /// What a member of an account measured over it.
    pub(super) fn note(&mut self, account: i64, sample: Sample) {
        self.measured.retain(|_, old| old.at + FRESH > sample.at);
        self.measured.insert(account, sample);
    }
}

/// What members found against what the host said, where that may differ by `margin`; a measurement is
/// about the `span` before it.
fn against(said: f64, found: Option<(f64, Duration)>, margin: f64, span: Duration) -> Evidence {
    match found {
        None => Evidence::None,
        Some((found, at)) if found > said + margin => {
            let at = at.saturating_sub(span);
            Evidence::Contradicts(Contradiction { said, found, at })
        }
        Some(_) => Evidence::Fits,
    }
}

/// The lowest that anybody measured, of three accounts and more the lowest but one, so that one alone
/// cannot vouch for a host; and when two accounts had: the time of the last measurement but one. None
/// where fewer than two measured.
fn best_of(measured: &[Sample], of: fn(&Quality) -> Option<f64>) -> Option<(f64, Duration)> {
    let known = || {
        let known = measured.iter();
        known.filter_map(|sample| Some((of(&sample.quality)?, sample.at)))
    };
    let mut found: Vec<f64> = known().map(|(found, _)| found).collect();
    found.sort_by(f64::total_cmp);
    let lowest = *found.get(usize::from(found.len() >= 3))?;
    let times = newest_first(known().map(|(_, at)| at));
    Some((lowest, *times.get(1)?))
}

fn newest_first(times: impl Iterator<Item = Duration>) -> Vec<Duration> {
    let mut times: Vec<Duration> = times.collect();
    times.sort_unstable_by(|one, other| other.cmp(one));
    times
}

#[cfg(test)]
mod tests;
