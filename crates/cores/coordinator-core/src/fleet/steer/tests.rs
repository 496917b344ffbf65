use warp_protocol::hosting::{HostVerdict, HostsReason};

use super::super::tests::{
    ZONE, at, beat, drain, fleet, names, pass, record, rules, session, told,
};
use super::super::{FleetLimits, Report};
use super::*;

#[test]
fn a_held_host_gives_its_members_away_and_gets_none_until_it_is_let_in() {
    let alive = [("a", 10.0)];
    let mut fleet = fleet(&[("a", 10.0, 20)]);
    fleet.join(at(1.0), session("s", 9));
    drain(&mut fleet);
    fleet.hold(at(2.0), "a", ZONE);
    assert_eq!(
        told(&drain(&mut fleet), "s"),
        [(vec![], HostsReason::Draining)]
    );
    let out = pass(&mut fleet, 2.0, 40.0, &alive);
    assert!(told(&out, "s").is_empty(), "it stays away");
    assert_eq!(fleet.may_serve(at(40.0), "a", ZONE), Ok(()), "it could");
    assert_eq!(fleet.carry(at(40.0), "s", "a"), Err(CannotServe::Held));
    // The same registration again is no way around it.
    let known = fleet.record("a").unwrap().clone();
    fleet.register(at(40.0), known).unwrap();
    pass(&mut fleet, 40.0, 46.0, &alive);
    assert!(names(&fleet, "s").is_empty());
    fleet.let_in(at(46.0), "a", ZONE);
    pass(&mut fleet, 46.0, 47.0, &alive);
    assert_eq!(names(&fleet, "s"), ["a"]);
}

#[test]
fn a_hold_is_of_one_zone() {
    let mut fleet = fleet(&[]);
    fleet.put_zone(at(0.0), rules("geffen"));
    let mut both = record("a", 1, 20);
    both.zones.push("geffen".into());
    fleet.register(at(0.0), both).unwrap();
    fleet.attached(at(0.0), "a");
    fleet.heartbeat(at(0.0), "a", 1, beat(1.0)).unwrap();
    let mut there = session("g", 9);
    there.zone_id = "geffen".into();
    fleet.join(at(1.0), there);
    fleet.join(at(1.0), session("p", 9));
    assert_eq!(fleet.zones_carried("a"), 2);
    fleet.hold(at(2.0), "a", ZONE);
    assert_eq!((names(&fleet, "g").len(), names(&fleet, "p").len()), (1, 0));
    assert_eq!(fleet.members_in("a", "geffen"), ["g"]);
    assert!(fleet.members_in("a", ZONE).is_empty());
}

#[test]
fn whether_a_host_can_serve_is_said_with_the_reason() {
    let mut fleet = fleet(&[("a", 10.0, 1), ("slow", 200.0, 20), ("poor", 10.0, 20)]);
    let may = |fleet: &Fleet, host: &str, zone: &str| fleet.may_serve(at(1.0), host, zone);
    assert_eq!(may(&fleet, "nobody", ZONE), Err(CannotServe::UnknownHost));
    assert_eq!(may(&fleet, "a", "nowhere"), Err(CannotServe::NoP2p));
    assert_eq!(may(&fleet, "slow", ZONE), Err(CannotServe::BadPath));
    fleet.put_zone(at(1.0), rules("geffen"));
    assert_eq!(may(&fleet, "a", "geffen"), Err(CannotServe::OtherZones));
    let mut strict = rules(ZONE);
    (strict.min_score, strict.min_bandwidth_mbps) = (60.0, 20);
    fleet.put_zone(at(1.0), strict.clone());
    let mut weak = record("poor", 3, 20);
    weak.hardware.memory_mb = 1;
    weak.hardware.cpu_cores = 1;
    fleet.register(at(1.0), weak).unwrap();
    strict.min_score = 90.0;
    fleet.put_zone(at(1.0), strict.clone());
    let low = may(&fleet, "poor", ZONE);
    assert!(
        matches!(low, Err(CannotServe::LowScore { wants, has }) if wants > has),
        "{low:?}"
    );
    strict.min_score = 7.0;
    strict.min_bandwidth_mbps = 500;
    fleet.put_zone(at(1.0), strict.clone());
    let little = CannotServe::LittleBandwidth {
        has: 100,
        wants: 500,
    };
    assert_eq!(may(&fleet, "a", ZONE), Err(little));
    fleet.put_zone(at(1.0), rules(ZONE));
    fleet.join(at(1.0), session("s", 9));
    fleet.join(at(1.0), session("t", 9));
    assert!(may(&fleet, "a", ZONE).is_err_and(CannotServe::is_full));
    fleet.detached(at(1.0), "poor");
    assert_eq!(may(&fleet, "poor", ZONE), Err(CannotServe::Detached));
    fleet.drain(at(1.0), "a");
    assert_eq!(may(&fleet, "a", ZONE), Err(CannotServe::Drains));
    fleet.handle_timeout(at(60.0));
    assert_eq!(
        fleet.may_serve(at(60.0), "slow", ZONE),
        Err(CannotServe::Offline)
    );
    fleet.switch(at(60.0), false);
    assert_eq!(
        fleet.may_serve(at(60.0), "slow", ZONE),
        Err(CannotServe::NoP2p)
    );
}

#[test]
fn a_player_is_moved_to_a_named_host_and_off_it_again() {
    let mut fleet = fleet(&[("a", 10.0, 20), ("b", 20.0, 20), ("c", 60.0, 20)]);
    fleet.join(at(1.0), session("s", 9));
    drain(&mut fleet);
    assert_eq!(names(&fleet, "s"), ["a", "b"]);
    assert_eq!(fleet.carry(at(2.0), "s", "c"), Ok(()));
    assert_eq!(names(&fleet, "s"), ["c", "b"]);
    assert_eq!(told(&drain(&mut fleet), "s").len(), 1);
    assert_eq!(
        fleet.carry(at(2.0), "s", "c"),
        Ok(()),
        "again is nothing new"
    );
    assert!(drain(&mut fleet).is_empty());
    assert_eq!(
        fleet.carry(at(2.0), "nobody", "c"),
        Err(CannotServe::NoPlayer)
    );
    fleet.join(at(2.0), session("own", 3));
    assert_eq!(fleet.carry(at(2.0), "own", "c"), Err(CannotServe::OwnHost));

    assert!(fleet.take_off(at(3.0), "s", "c"));
    assert!(!fleet.take_off(at(3.0), "s", "c"));
    assert_eq!(names(&fleet, "s"), ["a", "b"]);
    // Back on the host that it is just leaving: that one carries it once.
    assert_eq!(fleet.carry(at(3.5), "s", "c"), Ok(()));
    assert_eq!(fleet.host("c").unwrap().current_players, 1);
    let all = [("a", 10.0), ("b", 20.0), ("c", 60.0)];
    pass(&mut fleet, 3.5, 10.0, &all);
    assert_eq!(fleet.members_in("c", ZONE), ["s"]);
}

/// A member measures its hosts: this much is lost over each.
fn lose(fleet: &mut Fleet, now: f64, percent: f64) {
    for offer in fleet.assigned("s") {
        let report = Report {
            host_id: offer.host_id,
            epoch: offer.epoch,
            verdict: HostVerdict::Good,
            rtt_ms: Some(20.0),
            loss_percent: Some(percent),
        };
        fleet.report(at(now), "s", &report);
    }
}

#[test]
fn a_host_that_loses_a_fifth_is_left_for_the_endpoint_within_30_s() {
    let mut fleet = fleet(&[("a", 10.0, 20)]);
    fleet.join(at(1.0), session("s", 9));
    drain(&mut fleet);
    let mut moved = None;
    for second in 2..=32 {
        lose(&mut fleet, f64::from(second), 20.0);
        let out = pass(
            &mut fleet,
            f64::from(second),
            f64::from(second + 1),
            &[("a", 10.0)],
        );
        if let Some(told) = told(&out, "s").pop() {
            assert_eq!(told, (vec![], HostsReason::Reported));
            moved = Some(second);
            break;
        }
    }
    assert!(moved.is_some_and(|second| second < 30), "{moved:?}");
    let (_, loss) = fleet.measured_in(at(33.0), "a", ZONE);
    assert_eq!(loss, None, "nobody is on it");
    // For a while it is not given again, though it says of itself that it is well.
    let shun = FleetLimits::default().shun.as_secs_f64();
    let second = f64::from(moved.unwrap_or_default());
    pass(
        &mut fleet,
        second + 1.0,
        second + shun - 1.0,
        &[("a", 10.0)],
    );
    assert!(names(&fleet, "s").is_empty());
    pass(
        &mut fleet,
        second + shun - 1.0,
        second + shun + 8.0,
        &[("a", 10.0)],
    );
    assert_eq!(names(&fleet, "s"), ["a"]);
}

#[test]
fn little_loss_changes_nothing_and_nobody_is_left_without_a_way() {
    for (percent, fallback) in [(5.0, true), (20.0, false)] {
        let mut fleet = fleet(&[("a", 10.0, 20)]);
        let mut rules = rules(ZONE);
        rules.fallback = fallback;
        fleet.put_zone(at(0.5), rules);
        fleet.join(at(1.0), session("s", 9));
        for second in 2..=40 {
            lose(&mut fleet, f64::from(second), percent);
            pass(
                &mut fleet,
                f64::from(second),
                f64::from(second + 1),
                &[("a", 10.0)],
            );
        }
        assert_eq!(names(&fleet, "s"), ["a"], "{percent} {fallback}");
    }
}
