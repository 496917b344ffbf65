//! Leases, and the places of members on hosts.

use std::time::Duration;

use warp_protocol::hosting::{HostsReason, Member};
use warp_protocol::signal::ServerSignal;

use super::choice::Mode;
use super::model::{FleetEvent, LeaseEnd, Routed, WAY};
use super::{Fleet, FleetOutput, Place, Retiring};

/// Why a way leads elsewhere, and for how long its host goes on carrying.
#[derive(Debug, Clone, Copy)]
pub(super) struct Change {
    pub(super) reason: HostsReason,
    pub(super) grace: Duration,
}

impl Change {
    /// One that ends the old way at once.
    pub(super) fn now(reason: HostsReason) -> Self {
        Self {
            reason,
            grace: Duration::ZERO,
        }
    }
}

impl Fleet {
    /// Grants a host the leases that it may have and has not.
    pub(super) fn grant_leases(&mut self, now: Duration, host_id: &str) {
        let Some(host) = self.hosts.get(host_id) else {
            return;
        };
        let may = host.attached
            && !host.awaits
            && host.offline_since.is_none()
            && !host.draining
            && host.shunned_until <= now
            && host.record.hosted.is_none();
        if !may {
            return;
        }
        let missing = |zone: &&String| {
            self.is_p2p(zone) && !host.leases.contains_key(*zone) && !host.held.contains(*zone)
        };
        let zones: Vec<String> = host.record.zones.iter().filter(missing).cloned().collect();
        for zone_id in zones {
            let (Some(zone), Some(host)) =
                (self.zones.get_mut(&zone_id), self.hosts.get_mut(host_id))
            else {
                continue;
            };
            // An epoch that was used up is never used again.
            let Some(epoch) = zone.last_epoch.checked_add(1) else {
                continue;
            };
            zone.last_epoch = epoch;
            host.leases.insert(zone_id.clone(), epoch);
            self.counters.leases_granted += 1;
            self.event(FleetEvent::LeaseGranted {
                zone_id,
                host_id: host_id.to_owned(),
                epoch,
            });
            self.fill_soon(now);
        }
    }

    /// Ends a host's leases, all or that of one zone, and moves its members there.
    pub(super) fn end_leases(
        &mut self,
        now: Duration,
        host_id: &str,
        only: Option<&str>,
        why: LeaseEnd,
    ) {
        self.strip(host_id, only, why);
        let Some(host) = self.hosts.get(host_id) else {
            return;
        };
        let members: Vec<String> = host.members.iter().cloned().collect();
        let mut change = Change::now(why.reason());
        if why == LeaseEnd::Draining {
            change.grace = self.limits.grace;
        }
        for session_id in members {
            let there = self
                .sessions
                .get(&session_id)
                .is_some_and(|session| only.is_none_or(|zone_id| session.who.zone_id == zone_id));
            if there {
                self.move_away(now, &session_id, host_id, change);
            }
        }
    }

    /// Ends all leases of a zone, and tells its sessions that they have no hosts.
    pub(super) fn end_leases_of_zone(&mut self, now: Duration, zone_id: &str, why: LeaseEnd) {
        let hosts: Vec<String> = self.hosts.keys().cloned().collect();
        for host_id in hosts {
            self.strip(&host_id, Some(zone_id), why);
        }
        let sessions = self.sessions.iter();
        let placed: Vec<String> = sessions
            .filter(|(_, session)| session.who.zone_id == zone_id)
            .filter(|(_, session)| session.ways.iter().any(Option::is_some))
            .map(|(session_id, _)| session_id.clone())
            .collect();
        for session_id in placed {
            for way in 0..WAY.len() {
                self.move_way(now, &session_id, way, None, Change::now(why.reason()));
            }
            self.tell(&session_id, why.reason());
        }
    }

    fn strip(&mut self, host_id: &str, only: Option<&str>, why: LeaseEnd) {
        let Some(host) = self.hosts.get_mut(host_id) else {
            return;
        };
        let ends = |zone_id: &String| only.is_none_or(|only| only == zone_id);
        let ended: Vec<(String, u32)> = host
            .leases
            .iter()
            .filter(|(zone_id, _)| ends(zone_id))
            .map(|(zone_id, epoch)| (zone_id.clone(), *epoch))
            .collect();
        host.leases.retain(|zone_id, _| !ends(zone_id));
        for (zone_id, epoch) in ended {
            self.counters.ended(why);
            self.event(FleetEvent::LeaseEnded {
                zone_id,
                host_id: host_id.to_owned(),
                epoch,
                reason: why,
            });
        }
    }

    /// Gives a session another host instead of this one, or none where there is none.
    pub(super) fn move_away(
        &mut self,
        now: Duration,
        session_id: &str,
        host_id: &str,
        change: Change,
    ) {
        let Some(way) = self.way_of(session_id, host_id) else {
            return;
        };
        let to = self.pick(now, session_id, Some(way), Mode::Spread);
        let to = to.map(|picked| picked.host_id);
        self.move_way(now, session_id, way, to, change);
        self.tell(session_id, change.reason);
    }

    /// Leads a way elsewhere. The caller tells the member.
    pub(super) fn move_way(
        &mut self,
        now: Duration,
        session_id: &str,
        way: usize,
        to: Option<String>,
        change: Change,
    ) {
        let from = self.release(now, session_id, way, change);
        let to = to.filter(|host_id| self.place(session_id, way, host_id));
        if from.is_none() && to.is_none() {
            return;
        }
        self.counters.moved(change.reason);
        if let Some(way) = WAY.get(way).copied() {
            self.event(FleetEvent::Moved {
                session_id: session_id.to_owned(),
                way,
                from,
                to,
                reason: change.reason,
            });
        }
    }

    /// Puts a session on a host. False where that cannot be.
    fn place(&mut self, session_id: &str, way: usize, host_id: &str) -> bool {
        let Some(host) = self.hosts.get_mut(host_id) else {
            return false;
        };
        let Some(session) = self.sessions.get_mut(session_id) else {
            return false;
        };
        let epoch = host.leases.get(&session.who.zone_id).copied();
        let next = host.next_slot.checked_add(1);
        let (Some(epoch), Some(next), Some(entry)) = (epoch, next, session.ways.get_mut(way))
        else {
            return false;
        };
        let slot = std::mem::replace(&mut host.next_slot, next);
        host.members.insert(session_id.to_owned());
        host.drained = false;
        *entry = Some(Place {
            host_id: host_id.to_owned(),
            epoch,
            slot,
            better: 0,
            bad: false,
            sample: None,
        });
        let Some((routed, member)) = self.routed(session_id, way) else {
            return false;
        };
        self.out.push_back(FleetOutput::Route(routed));
        self.tell_host(host_id, ServerSignal::Serve { member });
        true
    }

    /// Takes a session off the host of a way, now or after a while. Gives the host.
    pub(super) fn release(
        &mut self,
        now: Duration,
        session_id: &str,
        way: usize,
        Change { reason, grace }: Change,
    ) -> Option<String> {
        let (routed, _) = self.routed(session_id, way)?;
        let session = self.sessions.get_mut(session_id)?;
        session.ways.get_mut(way)?.take();
        let host_id = routed.host_id.clone();
        let limits = self.limits;
        if let Some(host) = self.hosts.get_mut(&host_id) {
            host.members.remove(session_id);
            host.retiring += 1;
        }
        self.measure(now, &host_id, &limits);
        let retiring = Retiring {
            due: now + grace,
            routed,
            reason,
        };
        if grace.is_zero() {
            self.retire(vec![retiring]);
        } else {
            self.retiring.push(retiring);
        }
        Some(host_id)
    }

    /// Ends what was kept up for a while.
    pub(super) fn retire(&mut self, ended: Vec<Retiring>) {
        for Retiring { routed, reason, .. } in ended {
            let host_id = routed.host_id.clone();
            let peer_id = routed.peer_id.clone();
            if let Some(host) = self.hosts.get_mut(&host_id) {
                host.retiring = host.retiring.saturating_sub(1);
            }
            self.out.push_back(FleetOutput::Unroute(routed));
            self.tell_host(&host_id, ServerSignal::Unserve { peer_id, reason });
        }
    }

    /// Ends at once what a host still carries for members that have another one.
    pub(super) fn retire_all_of(&mut self, host_id: &str) {
        let (gone, stay) = std::mem::take(&mut self.retiring)
            .into_iter()
            .partition(|retiring| retiring.routed.host_id == host_id);
        self.retiring = stay;
        self.retire(gone);
    }

    pub(super) fn tell_host(&mut self, host_id: &str, signal: ServerSignal) {
        if self.hosts.get(host_id).is_some_and(|host| host.attached) {
            self.out.push_back(FleetOutput::ToHost {
                host_id: host_id.to_owned(),
                signal,
            });
        }
    }

    /// What endpoint and host are told of a way.
    pub(super) fn routed(&self, session_id: &str, way: usize) -> Option<(Routed, Member)> {
        let session = self.sessions.get(session_id)?;
        let place = session.ways.get(way)?.as_ref()?;
        let host = &self.hosts.get(&place.host_id)?.record;
        let routed = Routed {
            host_id: place.host_id.clone(),
            room: host.room.clone(),
            host_peer: host.peer_id.clone(),
            slot: place.slot,
            epoch: place.epoch,
            session_id: session_id.to_owned(),
            zone_id: session.who.zone_id.clone(),
            peer_id: session.who.peer_id.clone(),
            way: WAY.get(way).copied()?,
        };
        let member = Member {
            peer_id: session.who.peer_id.clone(),
            session_id: session_id.to_owned(),
            zone_id: session.who.zone_id.clone(),
            epoch: place.epoch,
            slot: place.slot,
            device_key: session.who.device_key,
        };
        Some((routed, member))
    }

    /// Which way of a session leads over a host.
    pub(super) fn way_of(&self, session_id: &str, host_id: &str) -> Option<usize> {
        let session = self.sessions.get(session_id)?;
        let leads = |place: &Option<Place>| place.as_ref().is_some_and(|p| p.host_id == host_id);
        session.ways.iter().position(leads)
    }
}
