use warp_protocol::carrier::PathKind;
use warp_protocol::hosting::{HostsReason, MAX_MEMBERS, WAYS};

use super::tests::{
    ZONE, at, beat, drain, fleet, kinds, names, pass, record, rules, session, told,
};
use super::*;

/// What the endpoint has of a fleet: its hosts, and the routes of a session.
fn held(fleet: &Fleet, session_id: &str) -> Vec<HeldPlace> {
    let routes = fleet.routes().into_iter();
    routes
        .filter(|route| route.session_id == session_id)
        .map(|route| HeldPlace {
            room: route.room,
            slot: route.slot,
            epoch: route.epoch,
            way: route.way,
        })
        .collect()
}

const USED: HeldHost = HeldHost {
    next_slot: 5,
    last_epoch: 7,
};

/// A fleet that has just begun, with these hosts of accounts 1, 2, ... adopted.
fn anew(hosts: &[&str]) -> Fleet {
    let mut fleet = Fleet::new(FleetLimits::default());
    fleet.put_zone(at(0.0), rules(ZONE));
    for (number, name) in hosts.iter().enumerate() {
        let record = record(name, number as i64 + 1, 20);
        fleet.adopt(at(0.0), record, USED).unwrap();
    }
    fleet
}

fn place(host: &str, slot: u32, epoch: u32) -> HeldPlace {
    HeldPlace {
        room: format!("room-{host}"),
        slot,
        epoch,
        way: PathKind::Host,
    }
}

#[test]
fn a_session_stays_where_the_endpoint_has_it() {
    let mut before = fleet(&[("a", 50.0, 20), ("b", 10.0, 20), ("c", 30.0, 20)]);
    before.join(at(1.0), session("s", 9));
    drain(&mut before);
    let (routes, offers) = (before.routes(), before.assigned("s"));
    assert_eq!((routes.len(), offers.len()), (WAYS, WAYS));

    let mut after = anew(&["a", "b", "c"]);
    after.rejoin(at(1.0), session("s", 9), &held(&before, "s"));
    after.adopted(at(1.0));
    let out = drain(&mut after);
    // Endpoint and hosts have all that they need; the member is told what it was told before.
    assert_eq!(kinds(&out), ["held", "held", "policy", "hosts"]);
    assert_eq!(after.assigned("s"), offers);
    assert_eq!(after.routes(), routes);

    // The hosts' sockets come back: they are told whom they carry, and nobody is moved.
    for (host, latency) in [("a", 50.0), ("b", 10.0), ("c", 30.0)] {
        let account = after.owner(host).unwrap();
        after
            .heartbeat(at(2.0), host, account, beat(latency))
            .unwrap();
        after.attached(at(2.0), host);
    }
    let out = drain(&mut after);
    assert_eq!(
        kinds(&out).iter().filter(|kind| **kind == "serve").count(),
        2
    );
    let hosts = [("a", 50.0), ("b", 10.0), ("c", 30.0)];
    let out = pass(&mut after, 2.0, 60.0, &hosts);
    assert_eq!(told(&out, "s"), []);
    assert_eq!(after.assigned("s"), offers);
    assert_eq!(after.counters().leases_granted, 3);
}

#[test]
fn a_host_that_is_there_before_all_was_named_loses_nobody_and_gets_nobody() {
    let mut fleet = anew(&["a"]);
    let serves = |out: &[FleetOutput]| {
        let kinds = kinds(out);
        kinds.into_iter().filter(|kind| *kind == "serve").count()
    };
    fleet.heartbeat(at(1.0), "a", 1, beat(10.0)).unwrap();
    fleet.attached(at(1.0), "a");
    fleet.join(at(1.0), session("new", 20));
    assert_eq!(serves(&drain(&mut fleet)), 0);
    // Each is told to it as it is named, under the lease of before.
    for (slot, name) in ["s", "t"].into_iter().enumerate() {
        let slot = slot as u32;
        let account = 9 + i64::from(slot);
        fleet.rejoin(at(2.0), session(name, account), &[place("a", slot, 7)]);
        assert_eq!(serves(&drain(&mut fleet)), 1, "{name}");
        assert_eq!(held(&fleet, name), [place("a", slot, 7)]);
        fleet.attached(at(2.0), "a");
        assert_eq!(serves(&drain(&mut fleet)), slot as usize + 1, "{name}");
    }
    fleet.handle_timeout(at(6.0));
    assert!(names(&fleet, "new").is_empty());
    fleet.adopted(at(6.0));
    fleet.handle_timeout(at(6.0));
    assert_eq!(names(&fleet, "new"), ["a"]);
    assert_eq!(fleet.counters().leases_granted, 1);
}

#[test]
fn slots_and_epochs_go_on_behind_those_that_the_endpoint_had() {
    let mut fleet = anew(&["a"]);
    fleet.rejoin(at(1.0), session("s", 9), &[place("a", 2, 7)]);
    fleet.adopted(at(1.0));
    fleet.heartbeat(at(1.0), "a", 1, beat(10.0)).unwrap();
    fleet.attached(at(1.0), "a");
    fleet.join(at(2.0), session("t", 10));
    let routed = |fleet: &Fleet, name: &str| {
        let held = held(fleet, name);
        held.first().map(|place| (place.slot, place.epoch))
    };
    assert_eq!(routed(&fleet, "s"), Some((2, 7)));
    // In the same lease, in a slot that none ever had, nor was about to have.
    assert_eq!(routed(&fleet, "t"), Some((5 + 2 * MAX_MEMBERS, 7)));
    // The next lease has the next epoch.
    fleet.drain(at(3.0), "a");
    fleet.register(at(20.0), record("a", 1, 20)).unwrap();
    fleet.handle_timeout(at(20.0));
    assert_eq!(routed(&fleet, "s").map(|(_, epoch)| epoch), Some(8));
}

#[test]
fn what_the_rules_do_not_let_be_is_not_taken_over() {
    let none = |fleet: &mut Fleet, who: SessionRef, places: &[HeldPlace], what: &str| {
        let name = who.session_id.clone();
        fleet.rejoin(at(1.0), who, places);
        assert_eq!(names(fleet, &name), [""; 0], "{what}");
        assert!(held(fleet, &name).is_empty(), "{what}");
    };
    let mut fleet = anew(&["a", "b"]);
    none(
        &mut fleet,
        session("own", 1),
        &[place("a", 0, 7)],
        "its own account's",
    );
    none(
        &mut fleet,
        session("s", 9),
        &[place("x", 0, 7)],
        "an unknown room",
    );
    none(
        &mut fleet,
        session("s", 9),
        &[place("a", 5 + 2 * MAX_MEMBERS, 7)],
        "a slot that none had",
    );
    none(
        &mut fleet,
        session("s", 9),
        &[place("a", 0, 8)],
        "an epoch that none had",
    );
    let mut who = session("s", 9);
    who.zone_id = "geffen".into();
    fleet.put_zone(at(1.0), rules("geffen"));
    none(
        &mut fleet,
        who,
        &[place("a", 0, 7)],
        "a zone that the host does not serve",
    );
    let direct = HeldPlace {
        way: PathKind::Direct,
        ..place("a", 0, 7)
    };
    none(&mut fleet, session("s", 9), &[direct], "no way over a host");

    // One epoch in a zone, one session in a slot, one way over a host.
    let both = [
        place("a", 0, 7),
        HeldPlace {
            way: PathKind::Host2,
            ..place("a", 1, 7)
        },
    ];
    fleet.rejoin(at(1.0), session("s", 9), &both);
    assert_eq!(names(&fleet, "s"), ["a"]);
    none(
        &mut fleet,
        session("t", 10),
        &[place("a", 1, 6)],
        "another epoch",
    );
    none(
        &mut fleet,
        session("t", 10),
        &[place("a", 0, 7)],
        "a slot twice",
    );
    fleet.rejoin(
        at(1.0),
        session("t", 10),
        &[place("a", 1, 6), place("b", 0, 6)],
    );
    assert_eq!(names(&fleet, "t"), ["b"], "the one that can be");

    // A later lease ends what was taken over of the one before.
    fleet.rejoin(at(1.0), session("u", 11), &[place("b", 2, 7)]);
    assert_eq!(names(&fleet, "u"), ["b"]);
    assert!(names(&fleet, "t").is_empty());

    // Without P2P nobody is carried.
    let mut off = anew(&["a"]);
    off.switch(at(0.5), false);
    none(
        &mut off,
        session("s", 9),
        &[place("a", 0, 7)],
        "switched off",
    );
}

#[test]
fn a_host_is_adopted_once_and_has_time_to_be_heard_of() {
    let mut fleet = anew(&["a", "b"]);
    let again = fleet.adopt(at(0.0), record("a", 1, 20), USED);
    assert_eq!(again, Err(HostRefused::Registered));
    let mut nowhere = record("c", 3, 20);
    nowhere.zones = vec!["nowhere".into()];
    let refused = fleet.adopt(at(0.0), nowhere, USED);
    assert_eq!(refused, Err(HostRefused::UnknownZone("nowhere".into())));

    for name in ["s", "t"] {
        let slot = u32::from(name == "t");
        fleet.rejoin(at(0.0), session(name, 9), &[place("a", slot, 7)]);
    }
    fleet.adopted(at(0.0));
    drain(&mut fleet);
    // Nobody is given it before it is there.
    fleet.join(at(1.0), session("new", 10));
    assert!(names(&fleet, "new").is_empty());
    let silent = FleetLimits::default().silent.as_secs_f64();
    let out = pass(&mut fleet, 0.0, silent - 1.0, &[("b", 10.0)]);
    assert_eq!(told(&out, "s"), []);
    // It was not heard of, and `b` has no socket yet either.
    let out = pass(&mut fleet, silent - 1.0, silent + 1.0, &[("b", 10.0)]);
    assert_eq!(told(&out, "s"), [(Vec::new(), HostsReason::Silent)]);
    // The one that comes back late registers, and is given them again.
    fleet
        .register(at(silent + 2.0), record("a", 1, 20))
        .unwrap();
    fleet.attached(at(silent + 2.0), "a");
    fleet
        .heartbeat(at(silent + 2.0), "a", 1, beat(10.0))
        .unwrap();
    fleet.handle_timeout(at(silent + 2.0));
    assert_eq!(names(&fleet, "s"), ["a"]);
    assert!(fleet.assigned("s").iter().all(|offer| offer.epoch > 7));
}
