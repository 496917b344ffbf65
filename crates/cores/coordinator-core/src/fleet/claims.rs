//! What a host says of itself, against what is known otherwise.
//!
//! A host's word is what its heartbeats say; how many members it was given, and what they measured, is
//! known without it. Where the two do not fit in all heartbeats for [`FleetLimits::doubt`], the host
//! is no longer believed for [`FleetLimits::disbelief`] after the last one that did not fit:
//! nothing that it says of itself counts then ([`super::score`]), and it comes after all hosts that are believed.
//!
//! Members lie too. So what they measured contradicts a host only where members of at least two
//! accounts agree: the best that any of them measured counts.

use std::time::Duration;

use super::choice::MAX_LOSS;
use super::model::{Claim, FleetEvent};
use super::{Fleet, Host, Quality, Sample};

/// A member's measurement says for so long how the host is doing now. Members tell every 5 s.
const FRESH: Duration = Duration::from_secs(15);
/// Members need a way of their own to the host, which its word does not hold: so much may their
/// round trip be longer than the host's to the endpoint, milliseconds.
const OWN_WAY_MS: f64 = 100.0;

/// A claim that does not fit.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Contradiction {
    said: f64,
    found: f64,
}

/// One claim that did not fit in any heartbeat of late.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Doubt {
    since: Duration,
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
        let found = self.contradictions(now, host_id);
        let limits = self.limits;
        let Some(host) = self.hosts.get_mut(host_id) else {
            return;
        };
        let doubts = &mut host.doubts;
        let mut told = Vec::new();
        for ((claim, doubt), found) in Claim::ALL.into_iter().zip(&mut doubts.doubts).zip(found) {
            let Some(found) = found else {
                *doubt = None;
                continue;
            };
            let doubt = doubt.get_or_insert(Doubt {
                since: now,
                told: false,
            });
            if doubt.since + limits.doubt > now {
                continue;
            }
            doubts.until = Some(now + limits.disbelief);
            if !std::mem::replace(&mut doubt.told, true) {
                told.push((claim, found));
            }
        }
        for (claim, Contradiction { said, found }) in told {
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
    fn contradictions(
        &self,
        now: Duration,
        host_id: &str,
    ) -> [Option<Contradiction>; Claim::ALL.len()] {
        let none = [None; Claim::ALL.len()];
        let Some(host) = self.hosts.get(host_id) else {
            return none;
        };
        let Some(beat) = &host.beat else {
            return none;
        };
        let is_fresh = |sample: &Sample| sample.at + FRESH > now;
        // Those that measure something over it are there. It may know of more: a number that is too
        // high draws nobody, and can come of a farewell that it missed.
        let there = host.members.iter().filter(|session_id| {
            let session = self.sessions.get(*session_id);
            let places = session.into_iter().flat_map(|session| &session.ways);
            let mut places = places.flatten().filter(|place| place.host_id == host_id);
            places.any(|place| place.sample.as_ref().is_some_and(is_fresh))
        });
        let there = u32::try_from(there.count()).unwrap_or(u32::MAX);
        let said = beat.current_players;
        let players = (said < there).then(|| Contradiction {
            said: f64::from(said),
            found: f64::from(there),
        });
        // Members that were moved since they measured count on.
        let measured: Vec<Quality> = host
            .measured
            .values()
            .filter(|sample| is_fresh(sample))
            .map(|sample| sample.quality)
            .collect();
        let best = |of: fn(&Quality) -> Option<f64>| best_of(&measured, of);
        let latency = best(|quality| quality.latency_ms)
            .zip(beat.latency_ms)
            .filter(|(found, said)| *found > said + OWN_WAY_MS)
            .map(|(found, said)| Contradiction { said, found });
        // Who offers itself says that it carries what it is given.
        let said = beat.packet_loss_percent.unwrap_or(0.0);
        let loss = best(|quality| quality.loss_percent)
            .filter(|found| *found > said + MAX_LOSS)
            .map(|found| Contradiction { said, found });
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

/// The lowest that anybody measured; none where fewer than two accounts did.
fn best_of(measured: &[Quality], of: fn(&Quality) -> Option<f64>) -> Option<f64> {
    let known: Vec<f64> = measured.iter().filter_map(of).collect();
    let lowest = known.iter().copied().min_by(f64::total_cmp);
    lowest.filter(|_| known.len() >= 2)
}

#[cfg(test)]
mod tests;
