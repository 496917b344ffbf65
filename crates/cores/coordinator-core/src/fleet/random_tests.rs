//! Random sequences of all calls keep what the rules promise.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use warp_protocol::hosting::{HostStatus, HostVerdict, MemberVerdict};

use super::tests::{beat, record, rules, session};
use super::*;

const ZONES: [&str; 2] = ["prontera", "geffen"];

#[derive(Debug, Clone)]
enum Call {
    Zone(usize, bool, bool),
    RemoveZone(usize),
    Switch(bool),
    /// Host, zones (bits), places, a new room.
    Register(u8, u8, u32, bool),
    Heartbeat(u8, f64, bool),
    Attached(u8),
    Detached(u8),
    Drain(u8),
    Remove(u8),
    Join(u8, usize),
    Leave(u8),
    Report(u8, usize, bool, f64),
    MemberReport(u8, u8),
    Entered(u8),
    Pass(f64),
    /// The coordinator starts anew beside an endpoint that holds everything; some hosts (bits) are there
    /// before all was named.
    Restart(u8),
}

fn call() -> impl Strategy<Value = Call> {
    use Call as C;
    let (host, member, zone) = (0..5_u8, 0..12_u8, 0..2_usize);
    prop_oneof![
        1 => (zone.clone(), any::<bool>(), any::<bool>()).prop_map(|(z, p, f)| C::Zone(z, p, f)),
        1 => zone.clone().prop_map(C::RemoveZone),
        1 => any::<bool>().prop_map(C::Switch),
        4 => (host.clone(), 1..4_u8, 1..8_u32, any::<bool>())
            .prop_map(|(h, z, p, r)| C::Register(h, z, p, r)),
        6 => (host.clone(), 0.0..150.0, prop::bool::weighted(0.2))
            .prop_map(|(h, l, p)| C::Heartbeat(h, l, p)),
        5 => host.clone().prop_map(C::Attached),
        2 => host.clone().prop_map(C::Detached),
        1 => host.clone().prop_map(C::Drain),
        1 => host.clone().prop_map(C::Remove),
        6 => (member.clone(), zone).prop_map(|(m, z)| C::Join(m, z)),
        2 => member.clone().prop_map(C::Leave),
        5 => (member.clone(), 0..2_usize, any::<bool>(), 0.0..200.0)
            .prop_map(|(m, w, b, r)| C::Report(m, w, b, r)),
        1 => (host, member.clone()).prop_map(|(h, m)| C::MemberReport(h, m)),
        1 => member.prop_map(C::Entered),
        8 => (0.0..8.0).prop_map(C::Pass),
        1 => any::<u8>().prop_map(C::Restart),
    ]
}

/// What somebody outside has seen.
#[derive(Default)]
struct Seen {
    attached: BTreeSet<String>,
    slots: BTreeSet<(String, u32)>,
    epochs: BTreeSet<(String, u32)>,
    leases: BTreeSet<(String, String, u32)>,
    routes: BTreeMap<(String, u32), Routed>,
    /// Peers that each room's host was told to carry, with slot and epoch.
    served: BTreeMap<String, BTreeMap<String, (u32, u32)>>,
    /// The highest epoch that each room had routes of.
    highest: BTreeMap<String, u32>,
    sessions: BTreeMap<String, SessionRef>,
    told: BTreeMap<String, Vec<HostOffer>>,
}

impl Seen {
    fn take(&mut self, before: &BTreeSet<String>, output: FleetOutput) {
        match output {
            FleetOutput::Route(routed) => {
                let slot = (routed.room.clone(), routed.slot);
                assert!(self.slots.insert(slot.clone()), "a slot twice");
                assert!(self.sessions.contains_key(&routed.session_id));
                let highest = self.highest.entry(routed.room.clone()).or_default();
                *highest = routed.epoch.max(*highest);
                self.routes.insert(slot, routed);
            }
            FleetOutput::Held(routed) => {
                let known = self.routes.get(&(routed.room.clone(), routed.slot));
                assert_eq!(known, Some(&routed), "what is routed");
            }
            FleetOutput::Unroute(routed) => {
                let known = self.routes.remove(&(routed.room.clone(), routed.slot));
                assert_eq!(known, Some(routed), "what was routed");
            }
            FleetOutput::ToHost { host_id, signal } => {
                assert!(before.contains(&host_id) || self.attached.contains(&host_id));
                let served = self.served.entry(host_id).or_default();
                match signal {
                    ServerSignal::Serve { member } => {
                        let routed = self.routes.values();
                        let mut routed = routed.filter(|r| r.session_id == member.session_id);
                        assert!(routed.any(|r| r.slot == member.slot && r.epoch == member.epoch));
                        served.insert(member.peer_id, (member.slot, member.epoch));
                    }
                    ServerSignal::Unserve { peer_id, .. } => {
                        served.remove(&peer_id);
                    }
                    ServerSignal::Drained => assert!(served.is_empty()),
                    other => panic!("{other:?} to a host"),
                }
            }
            FleetOutput::ToMember { session_id, signal } => {
                assert!(self.sessions.contains_key(&session_id));
                let ServerSignal::Hosts { hosts, .. } = signal else {
                    panic!("{signal:?} to a member");
                };
                for offer in &hosts {
                    let ready = self.routes.values().any(|r| {
                        r.session_id == session_id
                            && (&r.host_id, r.epoch, r.way)
                                == (&offer.host_id, offer.epoch, offer.way)
                    });
                    assert!(ready, "told before the endpoint");
                }
                self.told.insert(session_id, hosts);
            }
            FleetOutput::PolicyToHost { host_id, .. } => {
                assert!(before.contains(&host_id) || self.attached.contains(&host_id));
            }
            FleetOutput::PolicyToMember { session_id, .. } => {
                assert!(self.sessions.contains_key(&session_id));
            }
            FleetOutput::EndHost { room, .. } => {
                assert!(self.routes.values().all(|routed| routed.room != room));
            }
            FleetOutput::Event(FleetEvent::LeaseGranted {
                zone_id,
                host_id,
                epoch,
            }) => {
                assert!(
                    self.epochs.insert((zone_id.clone(), epoch)),
                    "an epoch twice"
                );
                self.leases.insert((zone_id, host_id, epoch));
            }
            FleetOutput::Event(FleetEvent::LeaseEnded {
                zone_id,
                host_id,
                epoch,
                ..
            }) => assert!(self.leases.remove(&(zone_id, host_id, epoch))),
            FleetOutput::Event(_) => {}
        }
    }

    fn check(&self, fleet: &Fleet) {
        let mut places = 0;
        for (session_id, who) in &self.sessions {
            let assigned = fleet.assigned(session_id);
            assert_eq!(self.told.get(session_id), Some(&assigned));
            if !fleet.is_p2p(&who.zone_id) {
                assert!(assigned.is_empty());
            }
            for offer in &assigned {
                places += 1;
                let view = fleet.host(&offer.host_id).unwrap();
                assert_ne!(view.status, HostStatus::Offline);
                assert_ne!(view.status, HostStatus::Maintenance);
                assert!(view.zones.contains(&who.zone_id));
                assert_ne!(fleet.owner(&offer.host_id), Some(who.account));
                let lease = (who.zone_id.clone(), offer.host_id.clone(), offer.epoch);
                assert!(self.leases.contains(&lease));
            }
            if let [one, other] = assigned.as_slice() {
                assert!(one.host_id != other.host_id && one.way != other.way);
            }
        }
        let mut carried = 0;
        for view in fleet.hosts(HostFilter::default()) {
            let routed = self.routes.values().filter(|r| r.host_id == view.host_id);
            assert!(
                routed.count() <= view.max_players as usize,
                "more than it takes"
            );
            carried += view.current_players;
        }
        assert_eq!(carried, places);
    }
}

fn host_id(number: u8) -> String {
    format!("h{number}")
}

fn member_id(number: u8) -> String {
    format!("s{number}")
}

fn make(fleet: &mut Fleet, seen: &mut Seen, now: &mut Duration, rooms: &mut [u32; 5], call: &Call) {
    let account = |host: u8| i64::from(host) + 1;
    let n = *now;
    match *call {
        Call::Zone(zone, p2p, fallback) => fleet.put_zone(
            n,
            ZoneRules {
                p2p,
                fallback,
                ..rules(ZONES[zone])
            },
        ),
        Call::RemoveZone(zone) => fleet.remove_zone(n, ZONES[zone]),
        Call::Switch(on) => fleet.switch(n, on),
        Call::Register(host, zones, places, new_room) => {
            let room = &mut rooms[usize::from(host)];
            *room += u32::from(new_room || *room == 0);
            let id = host_id(host);
            let mut record = record(&id, account(host), places);
            record.room = format!("room-{id}-{room}");
            let wanted = ZONES
                .iter()
                .enumerate()
                .filter(|(bit, _)| zones >> bit & 1 == 1);
            record.zones = wanted.map(|(_, zone)| (*zone).to_owned()).collect();
            let ended = fleet.record(&id).is_some_and(|old| old.room != record.room);
            if fleet.register(n, record).is_ok() && ended {
                seen.attached.remove(&id);
            }
        }
        Call::Heartbeat(host, latency, paused) => {
            let mut beat = beat(latency);
            beat.paused = paused;
            let _ = fleet.heartbeat(n, &host_id(host), account(host), beat);
        }
        Call::Attached(host) => {
            if fleet.host(&host_id(host)).is_some() {
                seen.attached.insert(host_id(host));
            }
            fleet.attached(n, &host_id(host));
        }
        Call::Detached(host) => {
            fleet.detached(n, &host_id(host));
            seen.attached.remove(&host_id(host));
            seen.served.remove(&host_id(host));
        }
        Call::Drain(host) => fleet.drain(n, &host_id(host)),
        Call::Remove(host) => {
            fleet.remove(n, &host_id(host));
            // Whoever comes back has a room that nobody had before.
            rooms[usize::from(host)] += 1;
            seen.attached.remove(&host_id(host));
        }
        Call::Join(member, zone) => {
            // Some play on the account of a host.
            let mut who = session(&member_id(member), i64::from(member) / 2 + 3);
            who.zone_id = ZONES[zone].to_owned();
            seen.sessions.insert(who.session_id.clone(), who.clone());
            fleet.join(n, who);
        }
        Call::Leave(member) => {
            fleet.leave(n, &member_id(member));
            seen.sessions.remove(&member_id(member));
            seen.told.remove(&member_id(member));
        }
        Call::Report(member, way, bad, rtt) => {
            if let Some(offer) = fleet.assigned(&member_id(member)).get(way) {
                let report = Report {
                    host_id: offer.host_id.clone(),
                    epoch: offer.epoch,
                    verdict: if bad {
                        HostVerdict::Silent
                    } else {
                        HostVerdict::Good
                    },
                    rtt_ms: Some(rtt),
                    loss_percent: None,
                };
                fleet.report(n, &member_id(member), &report);
            }
        }
        Call::MemberReport(host, member) => {
            let peer = format!("player-{}", member_id(member));
            fleet.member_report(n, &host_id(host), &peer, MemberVerdict::Flooding, 1);
        }
        Call::Restart(early) => restart(fleet, seen, n, rooms, early),
        Call::Entered(member) => fleet.entered(&member_id(member)),
        Call::Pass(seconds) => {
            let end = n + Duration::from_secs_f64(seconds);
            while let Some(due) = fleet.next_deadline().filter(|due| *due <= end) {
                *now = due.max(*now);
                fleet.handle_timeout(*now);
                let after = fleet.next_deadline();
                assert!(after.is_none_or(|after| after > *now), "time stands still");
            }
            *now = end;
        }
    }
}

/// A new fleet in the place of the one before takes over what the endpoint has.
fn restart(fleet: &mut Fleet, seen: &mut Seen, now: Duration, rooms: &mut [u32; 5], early: u8) {
    let mut new = Fleet::new(FleetLimits::default());
    new.switch(now, fleet.is_on());
    for rules in fleet.zones.values().filter_map(|zone| zone.rules.clone()) {
        new.put_zone(now, rules);
    }
    (seen.leases, seen.epochs) = Default::default();
    seen.attached.clear();
    seen.served.clear();
    let mut adopted = BTreeSet::new();
    for (name, host) in &fleet.hosts {
        let slots = seen
            .slots
            .iter()
            .filter(|(room, _)| *room == host.record.room);
        let slots = slots.map(|(_, slot)| slot + 1).max();
        let epochs = seen.highest.get(&host.record.room).copied();
        let held = HeldHost {
            next_slot: slots.unwrap_or(0),
            last_epoch: epochs.unwrap_or(0),
        };
        if new.adopt(now, host.record.clone(), held).is_ok() {
            adopted.insert(name.clone());
        }
    }
    // The endpoint lets go of those that are not taken; they come back in another room.
    for host in (0..5).filter(|host| !adopted.contains(&host_id(*host))) {
        rooms[usize::from(host)] += 1;
    }
    let mut stay: Vec<(String, HostOffer)> = Vec::new();
    let sessions = seen.sessions.clone();
    for (number, (session_id, who)) in sessions.into_iter().enumerate() {
        // Each comes at another moment.
        let host = (0..5).find(|host| early >> host & 1 == 1 && number % 5 == usize::from(*host));
        if let Some(host) = host.map(host_id).filter(|host| adopted.contains(host)) {
            new.attached(now, &host);
            seen.attached.insert(host);
        }
        let before = fleet.assigned(&session_id);
        let routes = seen.routes.values().filter(|r| r.session_id == session_id);
        let mut held: Vec<(bool, HeldPlace)> = routes
            .map(|routed| {
                let current = before
                    .iter()
                    .any(|offer| (&offer.host_id, offer.way) == (&routed.host_id, routed.way));
                let place = HeldPlace {
                    room: routed.room.clone(),
                    slot: routed.slot,
                    epoch: routed.epoch,
                    way: routed.way,
                };
                (current, place)
            })
            .collect();
        held.sort_by_key(|(current, _)| !current);
        let held: Vec<HeldPlace> = held.into_iter().map(|(_, place)| place).collect();
        new.rejoin(now, who, &held);
        let taken = |offer: &HostOffer| adopted.contains(&offer.host_id);
        stay.extend(
            before
                .into_iter()
                .filter(taken)
                .map(|offer| (session_id.clone(), offer)),
        );
    }
    for (session_id, offer) in stay {
        let after = new.assigned(&session_id);
        assert!(
            after.contains(&offer),
            "{session_id} was at {offer:?} and is at {after:?}"
        );
    }
    while let Some(output) = new.poll() {
        seen.take(&BTreeSet::new(), output);
    }
    let routes = new.routes();
    seen.routes.retain(|_, held| routes.contains(held));
    assert_eq!(
        seen.routes.len(),
        routes.len(),
        "no route that was not held"
    );
    new.adopted(now);
    *fleet = new;
}

proptest! {
    #[test]
    fn the_rules_hold(calls in prop::collection::vec(call(), 1..150)) {
        let mut fleet = Fleet::new(FleetLimits::default());
        let mut seen = Seen::default();
        let mut now = Duration::from_secs(100);
        let mut rooms = [0; 5];
        for zone in ZONES {
            fleet.put_zone(now, rules(zone));
        }
        for call in &calls {
            let before = seen.attached.clone();
            make(&mut fleet, &mut seen, &mut now, &mut rooms, call);
            while let Some(output) = fleet.poll() {
                seen.take(&before, output);
            }
            seen.check(&fleet);
        }
    }
}
