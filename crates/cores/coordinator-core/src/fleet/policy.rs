//! What is allowed in a zone, and what a host needs to serve it.

use std::time::Duration;

use warp_protocol::hosting::{HostHardware, HostHeartbeat, MAX_MEMBERS, MAX_ZONES, ZonePolicy};
use warp_protocol::identity::PublicKey;

use super::model::{HostRecord, HostRefused, Lacking, LeaseEnd, ZoneRules};
use super::{Fleet, FleetOutput, Zone};

/// How long a policy counts, seconds.
pub const POLICY_LIFETIME: u64 = 3600;

impl Fleet {
    /// Enters a zone, or changes its rules. The same rules again do nothing. A table that is full
    /// takes no further zone.
    pub fn put_zone(&mut self, now: Duration, rules: ZoneRules) {
        let full = self.zones.len() >= self.limits.zones;
        let zone_id = rules.zone_id.clone();
        match self.zones.get_mut(&zone_id) {
            Some(zone) if zone.rules.as_ref() == Some(&rules) => return,
            Some(zone) => zone.rules = Some(rules),
            None if full => return,
            None => {
                let zone = Zone {
                    rules: Some(rules),
                    last_epoch: 0,
                };
                self.zones.insert(zone_id.clone(), zone);
            }
        }
        self.policy_changed(now, &zone_id);
    }

    /// Takes a zone out: its leases end. Its counter is kept.
    pub fn remove_zone(&mut self, now: Duration, zone_id: &str) {
        let Some(zone) = self.zones.get_mut(zone_id) else {
            return;
        };
        if zone.rules.take().is_some() {
            self.end_leases_of_zone(now, zone_id, LeaseEnd::Policy);
        }
    }

    /// The switch of the whole fleet.
    pub fn switch(&mut self, now: Duration, p2p_on: bool) {
        if self.p2p == p2p_on {
            return;
        }
        self.p2p = p2p_on;
        for zone_id in self.zone_ids() {
            self.policy_changed(now, &zone_id);
        }
    }

    /// Whether there is such a zone.
    pub fn has_zone(&self, zone_id: &str) -> bool {
        self.zones
            .get(zone_id)
            .is_some_and(|zone| zone.rules.is_some())
    }

    /// Ids of the zones that there are.
    pub fn zone_ids(&self) -> Vec<String> {
        let zones = self.zones.iter();
        let zones = zones.filter(|(_, zone)| zone.rules.is_some());
        zones.map(|(zone_id, _)| zone_id.clone()).collect()
    }

    /// Whether the fleet's switch is on.
    pub fn is_on(&self) -> bool {
        self.p2p
    }

    /// Whether peer-to-peer paths may be used in a zone: its own switch and the fleet's.
    pub fn is_p2p(&self, zone_id: &str) -> bool {
        self.p2p && self.rules(zone_id).is_some_and(|rules| rules.p2p)
    }

    /// Whether a session may be joined as far as hosts go: false where only a host could carry it
    /// and none can. `account` is who asks.
    pub fn can_carry(&self, zone_id: &str, account: i64) -> bool {
        let Some(rules) = self.rules(zone_id) else {
            return true;
        };
        rules.fallback || !self.is_p2p(zone_id) || self.best(zone_id, account).is_some()
    }

    /// The policy of a zone, to be signed. `issued`: unix seconds.
    pub fn policy(
        &self,
        zone_id: &str,
        endpoints: &[PublicKey],
        issued: u64,
    ) -> Option<ZonePolicy> {
        let rules = self.rules(zone_id)?;
        Some(ZonePolicy {
            zone_id: zone_id.to_owned(),
            p2p: self.is_p2p(zone_id),
            fallback: rules.fallback,
            min_host_score: rules.min_score,
            max_latency_ms: rules.max_latency_ms,
            endpoints: endpoints.to_vec(),
            upstreams: rules.upstreams.clone(),
            issued,
            expires: issued.saturating_add(POLICY_LIFETIME),
        })
    }

    pub(super) fn rules(&self, zone_id: &str) -> Option<&ZoneRules> {
        self.zones.get(zone_id)?.rules.as_ref()
    }

    /// Tells all that a zone concerns, and grants or ends its leases.
    fn policy_changed(&mut self, now: Duration, zone_id: &str) {
        self.tell_policy(zone_id);
        if self.is_p2p(zone_id) {
            let hosts: Vec<String> = self.hosts.keys().cloned().collect();
            for host_id in hosts {
                self.grant_leases(now, &host_id);
            }
        } else {
            self.end_leases_of_zone(now, zone_id, LeaseEnd::Policy);
        }
        self.fill_soon(now);
    }

    pub(super) fn tell_policy(&mut self, zone_id: &str) {
        for (host_id, host) in &self.hosts {
            if host.attached && host.record.zones.iter().any(|zone| zone == zone_id) {
                self.out.push_back(FleetOutput::PolicyToHost {
                    host_id: host_id.clone(),
                    zone_id: zone_id.to_owned(),
                });
            }
        }
        for (session_id, session) in &self.sessions {
            if session.who.zone_id == zone_id {
                self.out.push_back(FleetOutput::PolicyToMember {
                    session_id: session_id.clone(),
                    zone_id: zone_id.to_owned(),
                });
            }
        }
    }

    pub(super) fn tell_policies(&mut self, now: Duration) {
        self.policy_at = now + self.limits.policy;
        for zone_id in self.zone_ids() {
            self.tell_policy(&zone_id);
        }
    }

    /// The zones of those that a host asks for that it may serve.
    pub(super) fn accepted(&self, record: &HostRecord) -> Result<Vec<String>, HostRefused> {
        let mut accepted: Vec<String> = Vec::new();
        let mut refused = None;
        for zone_id in &record.zones {
            match self.fits(record, zone_id) {
                Ok(()) if accepted.contains(zone_id) => {}
                Ok(()) => accepted.push(zone_id.clone()),
                Err(why) => refused = refused.or(Some(why)),
            }
        }
        match refused {
            Some(why) if accepted.is_empty() => Err(why),
            _ => Ok(accepted),
        }
    }

    fn fits(&self, record: &HostRecord, zone_id: &str) -> Result<(), HostRefused> {
        let rules = self
            .rules(zone_id)
            .ok_or_else(|| HostRefused::UnknownZone(zone_id.to_owned()))?;
        if let Some(offer) = &record.hosted
            && !rules.upstreams.contains(&offer.upstream)
        {
            return Err(HostRefused::NotHosted(zone_id.to_owned()));
        }
        let (has, minimum) = (&record.hardware, &rules.minimum);
        for (what, has, wants) in [
            (Lacking::CpuCores, has.cpu_cores, minimum.cpu_cores),
            (
                Lacking::CpuFrequency,
                has.cpu_frequency_mhz,
                minimum.cpu_frequency_mhz,
            ),
            (Lacking::Memory, has.memory_mb, minimum.memory_mb),
            (
                Lacking::Bandwidth,
                has.network_speed_mbps,
                rules.min_bandwidth_mbps,
            ),
        ] {
            if has < wants {
                return Err(HostRefused::BelowMinimum {
                    zone_id: zone_id.to_owned(),
                    what,
                    has,
                    wants,
                });
            }
        }
        Ok(())
    }
}

/// Checks what a host says of itself.
pub(super) fn check_record(record: &HostRecord) -> Result<(), HostRefused> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
    if !(1..=64).contains(&record.host_id.len()) || !record.host_id.bytes().all(allowed) {
        return Err(HostRefused::BadId);
    }
    if !(1..=MAX_ZONES).contains(&record.zones.len()) {
        return Err(HostRefused::BadZones);
    }
    if !(1..=MAX_MEMBERS).contains(&record.max_players) {
        let (field, allowed) = ("max_players", "1 to 1000");
        return Err(HostRefused::Impossible { field, allowed });
    }
    let HostHardware {
        cpu_cores,
        cpu_frequency_mhz,
        memory_mb,
        network_speed_mbps,
    } = record.hardware;
    for (field, value) in [
        ("cpu_cores", cpu_cores),
        ("cpu_frequency_mhz", cpu_frequency_mhz),
        ("memory_mb", memory_mb),
        ("network_speed_mbps", network_speed_mbps),
    ] {
        if value == 0 {
            let allowed = "at least 1";
            return Err(HostRefused::Impossible { field, allowed });
        }
    }
    Ok(())
}

/// Checks what a heartbeat says.
pub(super) fn check_heartbeat(beat: &HostHeartbeat) -> Result<(), HostRefused> {
    let not_below = |value: f64| value.is_finite() && value >= 0.0;
    let impossible = |field, allowed| Err(HostRefused::Impossible { field, allowed });
    if beat.latency_ms.is_some_and(|ms| !not_below(ms)) {
        return impossible("latency_ms", "at least 0");
    }
    let loss = beat.packet_loss_percent;
    if loss.is_some_and(|percent| !(0.0..=100.0).contains(&percent)) {
        return impossible("packet_loss_percent", "0 to 100");
    }
    if !not_below(beat.bandwidth_usage_mbps) {
        return impossible("bandwidth_usage_mbps", "at least 0");
    }
    Ok(())
}
