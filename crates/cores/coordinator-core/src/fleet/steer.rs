//! What people decide over the fleet: which host may serve which zone, and who is carried by it.

use std::time::Duration;

use warp_protocol::hosting::HostsReason;

use super::leases::Change;
use super::model::{LeaseEnd, SessionRef};
use super::score::median;
use super::{Fleet, Host};

/// Why a host cannot serve a zone, or cannot carry a player there.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum CannotServe {
    /// There is no such host.
    #[error("there is no such host")]
    UnknownHost,
    /// The zone, or the whole fleet, has no peer-to-peer paths.
    #[error("the zone has no peer-to-peer paths now")]
    NoP2p,
    /// It did not register for the zone.
    #[error("the host did not register for this zone")]
    OtherZones,
    /// It is the zone's endpoint itself, and carries nobody's datagrams.
    #[error("the host is the endpoint of a hosted zone, and carries nobody else")]
    IsEndpoint,
    /// Nothing is heard of it.
    #[error("the host is offline")]
    Offline,
    /// It has no signaling socket.
    #[error("the host has no signaling socket open")]
    Detached,
    /// It gives its members away.
    #[error("the host drains")]
    Drains,
    /// Its certificate counts no more.
    #[error("the host's certificate has expired")]
    Expired,
    /// Its members found it bad a moment ago.
    #[error("the host's players found it bad a moment ago")]
    Shunned,
    /// It is not good enough for the zone.
    #[error("the host is not good enough: the zone wants {wants} points, it has {has}")]
    LowScore {
        /// Its points.
        has: f64,
        /// What the zone wants.
        wants: f64,
    },
    /// It has too little upload.
    #[error("the host has too little upload: the zone wants {wants} Mbit/s, it has {has}")]
    LittleBandwidth {
        /// Mbit/s.
        has: u32,
        /// Mbit/s.
        wants: u32,
    },
    /// The way over it is too slow, or loses too much.
    #[error("the way over the host is too slow or loses too much for the zone")]
    BadPath,
    /// It carries as many as it may, or paused itself.
    #[error("the host is full")]
    Full,
    /// It was kept out of the zone.
    #[error("the host is kept out of the zone")]
    Held,
    /// There is no such player in the zone.
    #[error("the player is not in the zone")]
    NoPlayer,
    /// Nobody is carried by a host of their own.
    #[error("the host is the player's own")]
    OwnHost,
}

impl CannotServe {
    /// Whether it is only that there is no room.
    pub fn is_full(self) -> bool {
        self == Self::Full
    }
}

impl Fleet {
    /// Keeps a host out of a zone: its lease there ends, its members are moved as when it drains, and
    /// it has no lease there until [`Fleet::let_in`], or until it registers in another place.
    pub fn hold(&mut self, now: Duration, host_id: &str, zone_id: &str) {
        if let Some(host) = self.hosts.get_mut(host_id) {
            host.held.insert(zone_id.to_owned());
            self.end_leases(now, host_id, Some(zone_id), LeaseEnd::Draining);
        }
    }

    /// Lets a host into a zone again.
    pub fn let_in(&mut self, now: Duration, host_id: &str, zone_id: &str) {
        if let Some(host) = self.hosts.get_mut(host_id)
            && host.held.remove(zone_id)
        {
            self.grant_leases(now, host_id);
        }
    }

    /// Looks whether a host could serve a zone, held or not.
    ///
    /// # Errors
    /// The first reason why it cannot.
    pub fn may_serve(
        &self,
        now: Duration,
        host_id: &str,
        zone_id: &str,
    ) -> Result<(), CannotServe> {
        use CannotServe as No;
        let host = self.hosts.get(host_id).ok_or(No::UnknownHost)?;
        let rules = self.rules(zone_id).filter(|_| self.is_p2p(zone_id));
        let rules = rules.ok_or(No::NoP2p)?;
        let record = &host.record;
        let points = host.scored(0).points();
        let has = record.hardware.network_speed_mbps;
        let (wants, least) = (rules.min_bandwidth_mbps, rules.min_score);
        for (wrong, why) in [
            (
                !record.zones.iter().any(|zone| zone == zone_id),
                No::OtherZones,
            ),
            (record.hosted.is_some(), No::IsEndpoint),
            (host.offline_since.is_some(), No::Offline),
            (host.expired, No::Expired),
            (host.draining, No::Drains),
            (!host.attached, No::Detached),
            (host.shunned_until > now, No::Shunned),
            (
                points < least,
                No::LowScore {
                    has: points,
                    wants: least,
                },
            ),
            (has < wants, No::LittleBandwidth { has, wants }),
            (!host.is_good_for(rules), No::BadPath),
            (host.is_full(), No::Full),
        ] {
            if wrong {
                return Err(why);
            }
        }
        Ok(())
    }

    /// Moves a session to a host. One that it has already stays as it is.
    ///
    /// # Errors
    /// Why that cannot be; nothing has changed then.
    pub fn carry(
        &mut self,
        now: Duration,
        session_id: &str,
        host_id: &str,
    ) -> Result<(), CannotServe> {
        if self.way_of(session_id, host_id).is_some() {
            return Ok(());
        }
        self.may_take(now, session_id, host_id)?;
        let session = self.sessions.get(session_id).ok_or(CannotServe::NoPlayer)?;
        let way = session.ways.iter().position(Option::is_none).unwrap_or(0);
        if let Some(session) = self.sessions.get_mut(session_id) {
            session.avoid.remove(host_id);
        }
        // A host that it is just leaving would carry it twice.
        self.retire_of(session_id, host_id);
        let change = Change {
            reason: HostsReason::Better,
            grace: self.limits.grace,
        };
        self.move_way(now, session_id, way, Some(host_id.to_owned()), change);
        self.tell(session_id, change.reason);
        Ok(())
    }

    /// Looks whether a host could take a session that it does not carry.
    pub(super) fn may_take(
        &self,
        now: Duration,
        session_id: &str,
        host_id: &str,
    ) -> Result<(), CannotServe> {
        let session = self.sessions.get(session_id).ok_or(CannotServe::NoPlayer)?;
        let SessionRef {
            zone_id, account, ..
        } = &session.who;
        self.may_serve(now, host_id, zone_id)?;
        if self.owner(host_id) == Some(*account) {
            return Err(CannotServe::OwnHost);
        }
        let takes = self.rules(zone_id).zip(self.hosts.get(host_id));
        if !takes.is_some_and(|(rules, host)| host.takes(rules, *account, false)) {
            // All else was looked at above.
            return Err(CannotServe::Held);
        }
        Ok(())
    }

    /// Moves a session off a host, and does not give it that host for [`super::FleetLimits::shun`].
    /// False: it is not there.
    pub fn take_off(&mut self, now: Duration, session_id: &str, host_id: &str) -> bool {
        if self.way_of(session_id, host_id).is_none() {
            return false;
        }
        let until = now + self.limits.shun;
        if let Some(session) = self.sessions.get_mut(session_id) {
            session.avoid.insert(host_id.to_owned(), until);
        }
        let change = Change {
            reason: HostsReason::Draining,
            grace: self.limits.grace,
        };
        self.move_away(now, session_id, host_id, change);
        true
    }

    /// Ids of the sessions of a zone that a host carries.
    pub fn members_in(&self, host_id: &str, zone_id: &str) -> Vec<String> {
        let members = self
            .hosts
            .get(host_id)
            .into_iter()
            .flat_map(|host| &host.members);
        let there = |id: &&String| {
            let session = self.sessions.get(*id);
            session.is_some_and(|session| session.who.zone_id == zone_id)
        };
        members.filter(there).cloned().collect()
    }

    /// The sessions of a zone.
    pub fn sessions_in(&self, zone_id: &str) -> impl Iterator<Item = &SessionRef> {
        let all = self.sessions.values().map(|session| &session.who);
        all.filter(move |who| who.zone_id == zone_id)
    }

    /// Of how many zones a host carries members.
    pub fn zones_carried(&self, host_id: &str) -> u32 {
        let members = self
            .hosts
            .get(host_id)
            .into_iter()
            .flat_map(|host| &host.members);
        let zones = members.filter_map(|id| Some(&self.sessions.get(id)?.who.zone_id));
        let zones: std::collections::BTreeSet<&String> = zones.collect();
        u32::try_from(zones.len()).unwrap_or(u32::MAX)
    }

    /// When a host was last heard of.
    pub fn heard(&self, host_id: &str) -> Option<Duration> {
        self.hosts.get(host_id).map(|host: &Host| host.heard)
    }

    /// What the members of a zone measured over a host in the last minute, the middle of it: round
    /// trip in milliseconds, and loss in percent.
    pub fn measured_in(
        &self,
        now: Duration,
        host_id: &str,
        zone_id: &str,
    ) -> (Option<f64>, Option<f64>) {
        let (mut latency, mut loss) = (Vec::new(), Vec::new());
        for session_id in self.members_in(host_id, zone_id) {
            let Some(way) = self.way_of(&session_id, host_id) else {
                continue;
            };
            let session = self.sessions.get(&session_id);
            let place = session.and_then(|session| session.ways.get(way)?.as_ref());
            let sample = place.and_then(|place| place.sample);
            if let Some(sample) = sample.filter(|s| s.at + self.limits.measured > now) {
                latency.extend(sample.quality.latency_ms);
                loss.extend(sample.quality.loss_percent);
            }
        }
        (median(latency), median(loss))
    }

    /// Ends at once what a host still carries for one session.
    pub(super) fn retire_of(&mut self, session_id: &str, host_id: &str) {
        let (gone, stay) = std::mem::take(&mut self.retiring)
            .into_iter()
            .partition(|going| {
                going.routed.session_id == session_id && going.routed.host_id == host_id
            });
        self.retiring = stay;
        self.retire(gone);
    }
}

#[cfg(test)]
mod tests;
