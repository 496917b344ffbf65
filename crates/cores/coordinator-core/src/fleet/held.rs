//! What an endpoint that outlived the coordinator holds, taken over as it is.

use std::time::Duration;

use warp_protocol::hosting::MAX_MEMBERS;
use warp_protocol::signal::ServerSignal;

use super::model::{
    FleetEvent, FleetOutput, HeldHost, HeldPlace, HostRecord, HostRefused, LeaseEnd, Routed, WAY,
};
use super::policy::check_record;
use super::{Fleet, Host, Place};

/// So many slots of a host are given to nobody after it was taken over: what could be on its way when
/// the coordinator ended.
const SKIPPED: u32 = 2 * MAX_MEMBERS;

impl Fleet {
    /// Enters a host that the endpoint holds, with the room and the peer id that it had. It carries
    /// whom [`Fleet::rejoin`] brings, and is given others once its socket is up.
    ///
    /// # Errors
    /// [`HostRefused`]: as for one that registers, or there is a host of that id.
    pub fn adopt(
        &mut self,
        now: Duration,
        mut record: HostRecord,
        held: HeldHost,
    ) -> Result<(), HostRefused> {
        check_record(&record)?;
        if self.hosts.contains_key(&record.host_id) {
            return Err(HostRefused::Registered);
        }
        record.zones = self.accepted(&record)?;
        self.make_room(now, record.account)?;
        for zone_id in &record.zones {
            if let Some(zone) = self.zones.get_mut(zone_id) {
                zone.last_epoch = zone.last_epoch.max(held.last_epoch);
            }
        }
        let host_id = record.host_id.clone();
        // Slots of routes that were said and had not arrived are skipped too.
        let next_slot = held.next_slot.saturating_add(SKIPPED);
        let mut host = Host::new(record, now, next_slot);
        host.awaits = true;
        self.hosts.insert(host_id, host);
        Ok(())
    }

    /// Everything was named: hosts that were taken over are given leases and members as all others.
    pub fn adopted(&mut self, now: Duration) {
        let waiting = self.hosts.iter_mut().filter(|(_, host)| host.awaits);
        let waiting: Vec<String> = waiting
            .map(|(host_id, host)| {
                host.awaits = false;
                host_id.clone()
            })
            .collect();
        for host_id in waiting {
            self.grant_leases(now, &host_id);
        }
        self.fill_soon(now);
    }

    /// Puts a session where the endpoint has it, if it may be there.
    pub(super) fn take_over(&mut self, now: Duration, session_id: &str, held: &HeldPlace) {
        let Some(way) = WAY.iter().position(|way| *way == held.way) else {
            return;
        };
        let Some((host_id, older)) = self.may_take_over(session_id, way, held) else {
            return;
        };
        if let Some(zone_id) = older {
            // What was taken over of the lease before was on its way out.
            self.end_leases(now, &host_id, Some(&zone_id), LeaseEnd::Removed);
        }
        let (Some(host), Some(session)) = (
            self.hosts.get_mut(&host_id),
            self.sessions.get_mut(session_id),
        ) else {
            return;
        };
        let zone_id = session.who.zone_id.clone();
        let is_new = host.leases.insert(zone_id.clone(), held.epoch).is_none();
        host.members.insert(session_id.to_owned());
        if let Some(entry) = session.ways.get_mut(way) {
            *entry = Some(Place {
                host_id: host_id.clone(),
                epoch: held.epoch,
                slot: held.slot,
                better: 0,
                bad: false,
                sample: None,
            });
        }
        if is_new {
            self.counters.leases_granted += 1;
            self.event(FleetEvent::LeaseGranted {
                zone_id,
                host_id: host_id.clone(),
                epoch: held.epoch,
            });
        }
        if let Some((routed, member)) = self.routed(session_id, way) {
            self.out.push_back(FleetOutput::Held(routed));
            // One that is there already has been told of those only that were named before.
            self.tell_host(&host_id, ServerSignal::Serve { member });
        }
    }

    /// The host that carries a session by a held route, and the zone where an older lease of it ends by
    /// that; none: it may not.
    fn may_take_over(
        &self,
        session_id: &str,
        way: usize,
        held: &HeldPlace,
    ) -> Option<(String, Option<String>)> {
        let session = self.sessions.get(session_id)?;
        let mut hosts = self.hosts.iter();
        let (host_id, host) = hosts.find(|(_, host)| host.record.room == held.room)?;
        let zone_id = &session.who.zone_id;
        let lease = host.leases.get(zone_id).copied();
        let used = |member: &String| {
            let ways = self.sessions.get(member).map(|session| &session.ways);
            let mut places = ways.into_iter().flatten().flatten();
            places.any(|place| place.host_id == *host_id && place.slot == held.slot)
        };
        let may = matches!(session.ways.get(way), Some(None))
            && !host.members.contains(session_id)
            && host.record.account != session.who.account
            && host.record.hosted.is_none()
            && host.record.zones.contains(zone_id)
            && self.is_p2p(zone_id)
            && !host.held.contains(zone_id)
            && host.offline_since.is_none()
            && !host.draining
            && lease.is_none_or(|epoch| epoch <= held.epoch)
            && self
                .zones
                .get(zone_id)
                .is_some_and(|zone| held.epoch <= zone.last_epoch)
            && held.slot < host.next_slot
            && !host.members.iter().any(used);
        let older = lease.is_some_and(|epoch| epoch < held.epoch);
        may.then(|| (host_id.clone(), older.then(|| zone_id.clone())))
    }

    /// All routes that the endpoint is to have.
    pub fn routes(&self) -> Vec<Routed> {
        let placed = self.sessions.keys().flat_map(|session_id| {
            let ways = 0..WAY.len();
            ways.filter_map(|way| Some(self.routed(session_id, way)?.0))
        });
        placed.collect()
    }

    /// Those that it may have still, for a member that has another one already.
    pub fn retiring_routes(&self) -> impl Iterator<Item = &Routed> {
        self.retiring.iter().map(|one| &one.routed)
    }
}
