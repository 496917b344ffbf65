//! Which host a session is given.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use warp_protocol::hosting::{HostView, HostsReason};

use super::leases::Change;
use super::model::{SessionRef, WAY, ZoneRules};
use super::score::{Scored, lower_median};
use super::{Fleet, FleetLimits, Host, Quality};

/// Hosts within so many points of the best one are as good, when many sessions look for one.
const BAND: f64 = 20.0;

/// A host over which more is lost is not chosen, percent. A game stutters well before.
pub const MAX_LOSS: f64 = 10.0;

/// Accounts that have to have measured a host before what they found counts for others.
const VOICES: usize = 2;

/// How it is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// The best one.
    Best,
    /// One of the best, the least full.
    Spread,
}

/// What an evaluation finds of a way.
struct Looked {
    host_id: String,
    /// A host that is better by far.
    better: Option<String>,
    /// So much is lost over the present one that it is left even for the endpoint.
    lossy: bool,
}

/// A host that could be given.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Picked {
    pub(super) host_id: String,
    points: f64,
    believed: bool,
    measured: bool,
    /// Part of its places that are taken.
    used: f64,
}

impl Host {
    /// Members that it carries, those included that have another host already.
    pub(super) fn load(&self) -> u32 {
        u32::try_from(self.members.len())
            .unwrap_or(u32::MAX)
            .saturating_add(self.retiring)
    }

    pub(super) fn scored(&self, further: u32) -> Scored {
        self.scored_as(&self.quality, further)
    }

    fn scored_as(&self, quality: &Quality, further: u32) -> Scored {
        Scored {
            latency_ms: quality.latency_ms,
            loss_percent: quality.loss_percent,
            members: self.load().saturating_add(further),
            places: self.record.max_players,
            said: self.doubts.believed().then_some(self.record.hardware),
        }
    }

    fn is_paused(&self) -> bool {
        self.beat.is_some_and(|beat| beat.paused)
    }

    pub(super) fn is_full(&self) -> bool {
        self.is_paused() || self.load() >= self.record.max_players
    }

    /// Whether the zone's rules let it carry anybody.
    pub(super) fn is_good_for(&self, rules: &ZoneRules) -> bool {
        self.is_good_as(&self.quality, rules)
    }

    fn is_good_as(&self, quality: &Quality, rules: &ZoneRules) -> bool {
        let slow = |ms: f64| ms > f64::from(rules.max_latency_ms);
        !is_lossy(quality)
            && self.scored_as(quality, 0).points() >= rules.min_score
            && self.record.hardware.network_speed_mbps >= rules.min_bandwidth_mbps
            && !quality.latency_ms.is_some_and(slow)
    }

    /// Whether it can take one more of this account in the zone. `second`: the session has a host.
    pub(super) fn takes(&self, rules: &ZoneRules, account: i64, second: bool) -> bool {
        self.record.account != account && self.takes_anybody(rules, second)
    }

    /// Whether it can take one more of any other account.
    fn takes_anybody(&self, rules: &ZoneRules, second: bool) -> bool {
        let places = self.record.max_players;
        let kept_free = if second { places.div_ceil(4) } else { 0 };
        self.attached
            && !self.awaits
            && self.offline_since.is_none()
            && !self.expired
            && self.leases.contains_key(&rules.zone_id)
            && !self.is_full()
            && self.load() < places.saturating_sub(kept_free)
            && self.next_slot < u32::MAX
            && self.is_good_for(rules)
    }
}

impl Fleet {
    /// The best host that an account could be given in a zone now; none: there is none.
    pub fn best(&self, zone_id: &str, account: i64) -> Option<HostView> {
        let rules = self.rules(zone_id)?;
        let hosts = self.hosts.iter();
        let able = hosts.filter(|(_, host)| host.takes(rules, account, false));
        let picked = choose(able.map(|(id, host)| picked(id, host)), Mode::Best)?;
        self.host(&picked.host_id)
    }

    /// A host for a session; `instead_of`: the way whose host is to be replaced.
    pub(super) fn pick(
        &self,
        now: Duration,
        session_id: &str,
        instead_of: Option<usize>,
        mode: Mode,
    ) -> Option<Picked> {
        let session = self.sessions.get(session_id).filter(|s| !s.held)?;
        let SessionRef {
            zone_id, account, ..
        } = &session.who;
        let rules = self.rules(zone_id)?;
        let has = |host_id: &str| session.ways.iter().flatten().any(|p| p.host_id == host_id);
        let avoids = |host_id: &str| session.avoid.get(host_id).is_some_and(|until| *until > now);
        let going = self.retiring.iter().map(|retiring| &retiring.routed);
        let going = going.filter(|routed| routed.session_id == session_id);
        let going: Vec<&str> = going.map(|routed| &*routed.host_id).collect();
        let others = (0..WAY.len()).filter(|way| Some(*way) != instead_of);
        let mut others = others.filter_map(|way| session.ways.get(way));
        let second = others.any(Option::is_some);
        let able = self.hosts.iter().filter(|(id, host)| {
            host.takes(rules, *account, second)
                && !has(id)
                && !avoids(id)
                && !going.contains(&id.as_str())
        });
        choose(able.map(|(id, host)| picked(id, host)), mode)
    }

    /// Gives hosts to sessions that lack one.
    pub(super) fn fill(&mut self, now: Duration) {
        let lacking = |(_, session): &(&String, &super::Session)| {
            session.ways.iter().any(Option::is_none) && self.is_p2p(&session.who.zone_id)
        };
        let lacking = self.sessions.iter().filter(lacking);
        let mut lacking: Vec<(bool, String)> = lacking
            .map(|(id, session)| (session.ways.iter().any(Option::is_some), id.clone()))
            .collect();
        // Those that have none come first.
        lacking.sort();
        // Zones whose hosts are full, for a first way and for a second: thousands may wait there.
        let mut full: BTreeSet<(String, bool)> = BTreeSet::new();
        for (second, session_id) in lacking {
            let zone_id = self
                .sessions
                .get(&session_id)
                .map(|s| s.who.zone_id.clone());
            let Some(kind) = zone_id.map(|zone_id| (zone_id, second)) else {
                continue;
            };
            if full.contains(&kind) {
                continue;
            }
            if self.fill_session(now, &session_id, Mode::Spread, HostsReason::Better) {
                self.tell(&session_id, HostsReason::Better);
            } else if !self.has_room(&kind.0, second) {
                full.insert(kind);
            }
        }
    }

    fn has_room(&self, zone_id: &str, second: bool) -> bool {
        let rules = self.rules(zone_id);
        rules.is_some_and(|rules| {
            let mut hosts = self.hosts.values();
            hosts.any(|host| host.takes_anybody(rules, second))
        })
    }

    /// Fills the empty ways of a session. True where something has changed.
    pub(super) fn fill_session(
        &mut self,
        now: Duration,
        session_id: &str,
        mode: Mode,
        reason: HostsReason,
    ) -> bool {
        let mut changed = false;
        for way in 0..WAY.len() {
            let empty = self.sessions.get(session_id);
            let empty = empty.and_then(|session| session.ways.get(way));
            if !matches!(empty, Some(None)) {
                continue;
            }
            if let Some(picked) = self.pick(now, session_id, Some(way), mode) {
                let to = Some(picked.host_id);
                self.move_way(now, session_id, way, to, Change::now(reason));
                changed = true;
            }
        }
        changed
    }

    /// Looks at all places anew.
    pub(super) fn evaluate(&mut self, now: Duration) {
        let limits = self.limits;
        let hosts: Vec<String> = self.hosts.keys().cloned().collect();
        for host_id in hosts {
            self.measure(now, &host_id, &limits);
        }
        for session in self.sessions.values_mut() {
            session.avoid.retain(|_, until| *until > now);
        }
        self.forget_reports(now);
        self.fill(now);
        // How many members each host may lose to better ones this time.
        let mut budget: BTreeMap<String, usize> = self
            .hosts
            .iter()
            .map(|(host_id, host)| (host_id.clone(), (host.members.len() / 10).max(1)))
            .collect();
        let highest = self.highest();
        let sessions: Vec<String> = self.sessions.keys().cloned().collect();
        for session_id in sessions {
            for way in 0..WAY.len() {
                self.evaluate_way(now, &session_id, way, &highest, &mut budget);
            }
        }
    }

    /// The most points that a host of each zone could be chosen with now, whoever asks.
    fn highest(&self) -> BTreeMap<String, f64> {
        let mut highest: BTreeMap<String, f64> = BTreeMap::new();
        for host in self.hosts.values() {
            let scored = host.scored(1);
            if !scored.is_measured() {
                continue;
            }
            for zone_id in host.leases.keys() {
                let rules = self.rules(zone_id);
                if rules.is_some_and(|rules| host.takes_anybody(rules, false)) {
                    let most = highest.entry(zone_id.clone()).or_default();
                    *most = most.max(scored.points());
                }
            }
        }
        highest
    }

    fn evaluate_way(
        &mut self,
        now: Duration,
        session_id: &str,
        way: usize,
        highest: &BTreeMap<String, f64>,
        budget: &mut BTreeMap<String, usize>,
    ) {
        let Some(Looked {
            host_id,
            better,
            lossy,
        }) = self.look_at(now, session_id, way, highest)
        else {
            return;
        };
        let rounds = self.limits.rounds;
        let place = self.sessions.get_mut(session_id);
        let place = place.and_then(|s| s.ways.get_mut(way)?.as_mut());
        let Some(place) = place else {
            return;
        };
        place.better = if better.is_some() || lossy {
            place.better.saturating_add(1)
        } else {
            0
        };
        if place.better < rounds {
            return;
        }
        let mut reason = HostsReason::Better;
        if lossy {
            reason = HostsReason::Reported;
            let until = now + self.limits.shun;
            if let Some(session) = self.sessions.get_mut(session_id) {
                session.avoid.insert(host_id, until);
            }
        } else {
            match budget.get_mut(&host_id) {
                Some(left) if *left > 0 => *left -= 1,
                _ => return,
            }
        }
        let change = Change {
            reason,
            grace: self.limits.grace,
        };
        self.move_way(now, session_id, way, better, change);
        self.tell(session_id, change.reason);
    }

    /// The host of a way, and whether to leave it. `highest`: of [`Fleet::highest`], so that not every session
    /// looks at every host: most have one that none is better than by the margin.
    fn look_at(
        &self,
        now: Duration,
        session_id: &str,
        way: usize,
        highest: &BTreeMap<String, f64>,
    ) -> Option<Looked> {
        let session = self.sessions.get(session_id)?;
        let place = session.ways.get(way)?.as_ref()?;
        let host = self.hosts.get(&place.host_id)?;
        let rules = self.rules(&session.who.zone_id)?;
        // What one account alone measured counts for that account's sessions.
        let own = (place.sample).filter(|sample| sample.at + self.limits.measured > now);
        let own = own.filter(|_| host.voices < VOICES);
        let quality = own.map_or(host.quality, |sample| sample.quality.or(host.quality));
        let fit = host.is_good_as(&quality, rules);
        let points = host.scored_as(&quality, 0).points();
        let believed = host.doubts.believed();
        let enough = points + self.limits.margin;
        let stays = fit
            && believed
            && (highest.get(&rules.zone_id)).is_none_or(|highest| *highest < enough);
        let picked = match stays {
            true => None,
            false => self.pick(now, session_id, Some(way), Mode::Best),
        };
        let better = picked.filter(|picked| {
            let by_far = picked.measured && picked.points >= enough;
            !fit || if picked.believed == believed {
                by_far
            } else {
                picked.believed
            }
        });
        let better = better.map(|picked| picked.host_id);
        Some(Looked {
            host_id: place.host_id.clone(),
            // Better a bad host than none, where nothing else may carry.
            lossy: is_lossy(&quality) && (rules.fallback || better.is_some()),
            better,
        })
    }

    /// Works out what is known of a host's network.
    pub(super) fn measure(&mut self, now: Duration, host_id: &str, limits: &FleetLimits) {
        let Some(host) = self.hosts.get(host_id) else {
            return;
        };
        let samples = host.members.iter().filter_map(|session_id| {
            let session = self.sessions.get(session_id)?;
            let place = session.ways.iter().flatten();
            let place = place.into_iter().find(|place| place.host_id == host_id)?;
            let sample = place.sample?;
            let fresh = sample.at + limits.measured > now;
            fresh.then_some((session.who.account, sample.quality))
        });
        let mut voices: BTreeMap<i64, Vec<Quality>> = BTreeMap::new();
        for (account, quality) in samples {
            voices.entry(account).or_default().push(quality);
        }
        // However many sessions an account has, it has one voice, and one account alone says nothing of a
        // host to others.
        let several = voices.len() >= VOICES;
        let measured = |of: fn(&Quality) -> Option<f64>| {
            let of_one = |own: &Vec<Quality>| lower_median(own.iter().filter_map(of).collect());
            let known: Vec<f64> = voices.values().filter_map(of_one).collect();
            lower_median(known).filter(|_| several)
        };
        let latency_ms = measured(|quality| quality.latency_ms);
        let loss_percent = measured(|quality| quality.loss_percent);
        if let Some(host) = self.hosts.get_mut(host_id) {
            host.doubts.pass(now);
            host.voices = voices.len();
            let found = &mut host.found;
            found.latency_ms = latency_ms.or(found.latency_ms);
            found.loss_percent = loss_percent.or(found.loss_percent);
            // Of one that is not believed the last that members measured is the best that is known.
            let else_it = match (host.doubts.believed(), &host.beat) {
                (false, _) => *found,
                (true, None) => Quality::default(),
                (true, Some(beat)) => Quality {
                    latency_ms: beat.latency_ms,
                    loss_percent: beat.packet_loss_percent,
                },
            };
            host.quality = Quality {
                latency_ms: latency_ms.or(else_it.latency_ms),
                loss_percent: loss_percent.or(else_it.loss_percent),
            };
        }
    }
}

fn is_lossy(quality: &Quality) -> bool {
    quality.loss_percent.is_some_and(|loss| loss > MAX_LOSS)
}

/// As it would be with one more member.
fn picked(host_id: &str, host: &Host) -> Picked {
    let scored = host.scored(1);
    Picked {
        host_id: host_id.to_owned(),
        points: scored.points(),
        believed: host.doubts.believed(),
        measured: scored.is_measured(),
        used: f64::from(scored.members) / f64::from(scored.places.max(1)),
    }
}

fn choose(able: impl Iterator<Item = Picked>, mode: Mode) -> Option<Picked> {
    let able: Vec<Picked> = able.collect();
    let rank = |a: &Picked, b: &Picked| {
        let points = a.points.total_cmp(&b.points);
        let known = (a.believed, a.measured).cmp(&(b.believed, b.measured));
        let by_score = known.then(points);
        // Of equals the first by name, so that the same fleet always decides the same.
        by_score.then_with(|| b.host_id.cmp(&a.host_id))
    };
    let best = able.iter().max_by(|a, b| rank(a, b))?.clone();
    if mode == Mode::Best {
        return Some(best);
    }
    let as_good = able
        .into_iter()
        .filter(|one| (one.believed, one.measured) == (best.believed, best.measured))
        .filter(|one| one.points + BAND >= best.points);
    as_good.min_by(|a, b| a.used.total_cmp(&b.used).then_with(|| rank(b, a)))
}
