use warp_protocol::carrier::PathKind;
use warp_protocol::hosting::{
    HostHardware, HostHeartbeat, HostStatus, HostVerdict, HostedOffer, HostsReason, MemberVerdict,
};
use warp_protocol::identity::PublicKey;

use super::*;

pub(super) const ZONE: &str = "prontera";

pub(super) fn at(seconds: f64) -> Duration {
    Duration::from_secs_f64(1000.0 + seconds)
}

pub(super) fn rules(zone_id: &str) -> ZoneRules {
    ZoneRules {
        zone_id: zone_id.into(),
        p2p: true,
        fallback: true,
        min_score: 7.0,
        min_bandwidth_mbps: 20,
        max_latency_ms: 100,
        minimum: HostMinimum::default(),
        upstreams: Vec::new(),
    }
}

pub(super) fn record(host_id: &str, account: i64, max_players: u32) -> HostRecord {
    HostRecord {
        host_id: host_id.into(),
        account,
        name: format!("owner{account}"),
        device_key: PublicKey::from_raw([account.unsigned_abs() as u8; 32]),
        certificate: "00".into(),
        valid_until: None,
        hardware: HostHardware {
            cpu_cores: 4,
            cpu_frequency_mhz: 3000,
            memory_mb: 8192,
            network_speed_mbps: 100,
        },
        zones: vec![ZONE.into()],
        max_players,
        room: format!("room-{host_id}"),
        peer_id: format!("host-{host_id}"),
        hosted: None,
    }
}

pub(super) fn beat(latency_ms: f64) -> HostHeartbeat {
    HostHeartbeat {
        latency_ms: Some(latency_ms),
        packet_loss_percent: Some(0.0),
        bandwidth_usage_mbps: 1.0,
        current_players: 0,
        current_zones: 1,
        paused: false,
    }
}

pub(super) fn session(name: &str, account: i64) -> SessionRef {
    SessionRef {
        session_id: name.into(),
        peer_id: format!("player-{name}"),
        device_key: PublicKey::from_raw([9; 32]),
        zone_id: ZONE.into(),
        account,
    }
}

/// A fleet with a zone, and hosts by name, latency and places; their accounts are 1, 2, ...
pub(super) fn fleet(hosts: &[(&str, f64, u32)]) -> Fleet {
    let mut fleet = Fleet::new(FleetLimits::default());
    fleet.put_zone(at(0.0), rules(ZONE));
    for (number, (name, latency, places)) in hosts.iter().enumerate() {
        let account = number as i64 + 1;
        fleet
            .register(at(0.0), record(name, account, *places))
            .unwrap();
        fleet.attached(at(0.0), name);
        fleet
            .heartbeat(at(0.0), name, account, beat(*latency))
            .unwrap();
    }
    drain(&mut fleet);
    fleet
}

pub(super) fn drain(fleet: &mut Fleet) -> Vec<FleetOutput> {
    std::iter::from_fn(|| fleet.poll()).collect()
}

/// Lets time pass while these hosts' heartbeats come, and gives what came out.
pub(super) fn pass(
    fleet: &mut Fleet,
    from: f64,
    to: f64,
    alive: &[(&str, f64)],
) -> Vec<FleetOutput> {
    let mut out = Vec::new();
    let mut now = from;
    while now < to {
        now += 1.0;
        for (name, latency) in alive {
            let account = fleet.owner(name).unwrap();
            let said = HostHeartbeat {
                current_players: fleet.host(name).unwrap().current_players,
                ..beat(*latency)
            };
            fleet.heartbeat(at(now), name, account, said).unwrap();
        }
        fleet.handle_timeout(at(now));
        out.extend(drain(fleet));
    }
    out
}

pub(super) fn names(fleet: &Fleet, session_id: &str) -> Vec<String> {
    let offers = fleet.assigned(session_id);
    offers.into_iter().map(|offer| offer.host_id).collect()
}

pub(super) fn told(out: &[FleetOutput], session: &str) -> Vec<(Vec<String>, HostsReason)> {
    out.iter()
        .filter_map(|output| match output {
            FleetOutput::ToMember {
                session_id,
                signal: ServerSignal::Hosts { hosts, reason },
            } if session_id == session => {
                let hosts = hosts.iter().map(|offer| offer.host_id.clone()).collect();
                Some((hosts, *reason))
            }
            _ => None,
        })
        .collect()
}

#[test]
fn an_operator_moves_a_session_to_another_host_and_to_the_endpoint() {
    let mut fleet = fleet(&[
        ("a", 10.0, 20),
        ("b", 12.0, 20),
        ("c", 14.0, 20),
        ("d", 15.0, 20),
    ]);
    fleet.join(at(1.0), session("s", 9));
    drain(&mut fleet);
    let before = names(&fleet, "s");
    assert_eq!(before.len(), 2);

    assert!(fleet.move_session(at(2.0), "s", false));
    let after = names(&fleet, "s");
    assert_eq!(after.len(), 2);
    assert!(after.iter().all(|name| !before.contains(name)), "{after:?}");
    let out = drain(&mut fleet);
    assert_eq!(told(&out, "s"), [(after.clone(), HostsReason::Policy)]);
    // The old hosts carry on for the grace.
    assert!(!kinds(&out).contains(&"unroute"));

    assert!(fleet.move_session(at(3.0), "s", true));
    assert!(names(&fleet, "s").is_empty());
    let all = [("a", 10.0), ("b", 12.0), ("c", 14.0), ("d", 15.0)];
    let out = pass(&mut fleet, 3.0, 60.0, &all);
    assert_eq!(
        kinds(&out)
            .iter()
            .filter(|kind| **kind == "unroute")
            .count(),
        4
    );
    // Nothing gives it a host behind the operator's back.
    assert!(names(&fleet, "s").is_empty());
    assert!(fleet.move_session(at(61.0), "s", false));
    assert_eq!(names(&fleet, "s").len(), 2);
    assert!(!fleet.move_session(at(62.0), "nobody", true));
}

#[test]
fn an_operator_moves_a_session_to_a_host_of_a_name() {
    let all = [("a", 10.0), ("b", 12.0), ("c", 40.0), ("d", 60.0)];
    let mut fleet = fleet(&all.map(|(name, latency)| (name, latency, 20)));
    fleet.join(at(1.0), session("s", 9));
    drain(&mut fleet);
    assert_eq!(names(&fleet, "s"), ["a", "b"]);

    assert_eq!(fleet.move_to_host(at(2.0), "s", "d"), Ok(()));
    assert_eq!(names(&fleet, "s"), ["d", "c"]);
    let out = drain(&mut fleet);
    let wanted = (vec!["d".into(), "c".into()], HostsReason::Policy);
    assert_eq!(told(&out, "s"), [wanted]);
    // One that it has keeps its way; the other way leads elsewhere, and to neither of the first two.
    assert_eq!(fleet.move_to_host(at(3.0), "s", "c"), Ok(()));
    assert_eq!(names(&fleet, "s"), ["c"]);
    // Back to one that it is just leaving, and from the endpoint.
    assert_eq!(fleet.move_to_host(at(3.0), "s", "d"), Ok(()));
    assert_eq!(names(&fleet, "s"), ["d"]);
    assert!(fleet.move_session(at(4.0), "s", true));
    assert_eq!(fleet.move_to_host(at(4.0), "s", "a"), Ok(()));
    pass(&mut fleet, 4.0, 20.0, &all);
    assert_eq!(names(&fleet, "s"), ["a"]);
    assert_eq!(fleet.members_in("a", ZONE), ["s"]);
    for host in ["b", "c", "d"] {
        assert_eq!(fleet.host(host).unwrap().current_players, 0, "{host}");
    }

    // What cannot be is said, and changes nothing.
    let cannot = |fleet: &mut Fleet, session: &str, host: &str| {
        fleet.move_to_host(at(20.0), session, host).unwrap_err()
    };
    assert_eq!(cannot(&mut fleet, "s", "nobody"), CannotServe::UnknownHost);
    assert_eq!(cannot(&mut fleet, "nobody", "d"), CannotServe::NoPlayer);
    fleet.join(at(20.0), session("own", 4));
    assert_eq!(cannot(&mut fleet, "own", "d"), CannotServe::OwnHost);
    fleet.drain(at(20.0), "d");
    assert_eq!(cannot(&mut fleet, "s", "d"), CannotServe::Drains);
    assert_eq!(names(&fleet, "s"), ["a"]);
}

pub(super) fn kinds(out: &[FleetOutput]) -> Vec<&'static str> {
    out.iter()
        .filter_map(|output| match output {
            FleetOutput::Route(_) => Some("route"),
            FleetOutput::Held(_) => Some("held"),
            FleetOutput::Unroute(_) => Some("unroute"),
            FleetOutput::ToHost { signal, .. } => Some(match signal {
                ServerSignal::Serve { .. } => "serve",
                ServerSignal::Unserve { .. } => "unserve",
                ServerSignal::Drained => "drained",
                _ => "?",
            }),
            FleetOutput::ToMember { .. } => Some("hosts"),
            FleetOutput::PolicyToHost { .. } => Some("host policy"),
            FleetOutput::PolicyToMember { .. } => Some("policy"),
            FleetOutput::EndHost { .. } => Some("end"),
            FleetOutput::Event(_) => None,
        })
        .collect()
}

fn bad(fleet: &Fleet, session_id: &str, host_id: &str) -> Report {
    let offers = fleet.assigned(session_id);
    let offer = offers.iter().find(|offer| offer.host_id == host_id);
    Report {
        host_id: host_id.into(),
        epoch: offer.unwrap().epoch,
        verdict: HostVerdict::Silent,
        rtt_ms: None,
        loss_percent: None,
    }
}

#[test]
fn a_session_is_given_the_two_best_and_all_are_told_in_order() {
    let mut fleet = fleet(&[("a", 50.0, 20), ("b", 10.0, 20), ("c", 30.0, 20)]);
    fleet.join(at(1.0), session("s", 9));
    let out = drain(&mut fleet);
    assert_eq!(
        kinds(&out),
        ["route", "serve", "route", "serve", "policy", "hosts"]
    );
    assert_eq!(
        told(&out, "s"),
        [(vec!["b".to_owned(), "c".to_owned()], HostsReason::First)]
    );
    let offers = fleet.assigned("s");
    assert_eq!(offers[0].way, PathKind::Host);
    assert_eq!(offers[1].way, PathKind::Host2);
    assert_eq!(offers[0].peer_id, "host-b");
    fleet.entered("s");
    assert_eq!(kinds(&drain(&mut fleet)), ["policy", "hosts"]);
    fleet.leave(at(2.0), "s");
    let gone = kinds(&drain(&mut fleet));
    assert_eq!(gone, ["unroute", "unserve", "unroute", "unserve"]);
    assert_eq!(fleet.host("b").unwrap().current_players, 0);
}

#[test]
fn nobody_is_given_a_host_of_its_own_nor_a_bad_full_or_paused_one() {
    let mut fleet = fleet(&[("mine", 1.0, 20), ("slow", 101.0, 20), ("full", 1.0, 1)]);
    fleet.join(at(1.0), session("first", 9));
    assert_eq!(
        names(&fleet, "first"),
        ["mine"],
        "the only place is for firsts"
    );
    fleet.join(at(1.0), session("own", 1));
    assert_eq!(names(&fleet, "own"), ["full"]);
    fleet.join(at(1.0), session("own2", 1));
    assert!(names(&fleet, "own2").is_empty());
    assert_eq!(fleet.host("full").unwrap().status, HostStatus::Busy);
    assert!(fleet.best(ZONE, 1).is_none());
    assert_eq!(fleet.best(ZONE, 9).unwrap().host_id, "mine");
    let paused = HostHeartbeat {
        paused: true,
        ..beat(1.0)
    };
    fleet.heartbeat(at(2.0), "mine", 1, paused).unwrap();
    assert!(fleet.best(ZONE, 9).is_none());
    assert_eq!(names(&fleet, "first"), ["mine"], "it goes on carrying");
    assert!(fleet.best("geffen", 9).is_none());
}

#[test]
fn an_unmeasured_host_comes_last_and_counts_by_what_is_known() {
    let mut fleet = fleet(&[("measured", 90.0, 20)]);
    let mut strong = record("fresh", 5, 500);
    strong.hardware.cpu_cores = 64;
    fleet.register(at(0.0), strong).unwrap();
    fleet.attached(at(0.0), "fresh");
    assert_eq!(fleet.host("fresh").unwrap().quality_score, None);
    fleet.join(at(1.0), session("s", 9));
    assert_eq!(names(&fleet, "s"), ["measured", "fresh"]);
    let strict = ZoneRules {
        min_score: 51.0,
        ..rules(ZONE)
    };
    fleet.put_zone(at(1.0), strict);
    fleet.join(at(1.0), session("t", 9));
    assert_eq!(names(&fleet, "t"), ["measured"]);
}

#[test]
fn what_members_measure_outweighs_what_the_host_says() {
    let mut fleet = fleet(&[("a", 0.0, 20)]);
    for (number, rtt) in [30.0, 80.0, 4000.0].into_iter().enumerate() {
        let name = format!("s{number}");
        fleet.join(at(1.0), session(&name, 10 + number as i64));
        let epoch = fleet.assigned(&name)[0].epoch;
        let report = Report {
            host_id: "a".into(),
            epoch,
            verdict: HostVerdict::Good,
            rtt_ms: Some(rtt),
            loss_percent: Some(1.0),
        };
        fleet.report(at(2.0), &name, &report);
    }
    let view = fleet.host("a").unwrap();
    assert_eq!(
        (view.latency_ms, view.packet_loss_percent),
        (Some(80.0), Some(1.0))
    );
    // 22 + 18 + 25 * 17/20 + 25.
    assert_eq!(view.quality_score, Some(86.25));
    pass(&mut fleet, 2.0, 70.0, &[("a", 0.0)]);
    assert_eq!(fleet.host("a").unwrap().latency_ms, Some(0.0), "old by now");
}

#[test]
fn a_silent_host_ends_and_its_members_spread_by_capacity() {
    let hosts = [("dead", 1.0, 40), ("big", 20.0, 40), ("small", 5.0, 20)];
    let mut fleet = fleet(&hosts);
    for number in 0..24 {
        fleet.join(at(1.0), session(&format!("s{number:02}"), 100 + number));
    }
    let carried = fleet.host("dead").unwrap().current_players;
    assert!(carried > 0);
    drain(&mut fleet);
    let out = pass(&mut fleet, 1.0, 15.0, &[("big", 20.0), ("small", 5.0)]);
    let offline = FleetEvent::HostOffline {
        host_id: "dead".into(),
    };
    assert!(out.contains(&FleetOutput::Event(offline)));
    let dead = fleet.host("dead").unwrap();
    assert_eq!(
        (dead.status, dead.current_players),
        (HostStatus::Offline, 0)
    );
    assert!(out.iter().any(|o| matches!(
        o,
        FleetOutput::ToMember {
            signal: ServerSignal::Hosts {
                reason: HostsReason::Silent,
                ..
            },
            ..
        }
    )));
    for number in 0..24 {
        assert!(!names(&fleet, &format!("s{number:02}")).is_empty());
    }
    let load = |name: &str| fleet.host(name).unwrap().current_players;
    assert!(load("big") <= 40 && load("small") <= 20);
    assert!(
        load("big") > load("small"),
        "{} {}",
        load("big"),
        load("small")
    );
    // It comes back with another epoch.
    fleet.heartbeat(at(16.0), "dead", 1, beat(1.0)).unwrap();
    let back = drain(&mut fleet);
    assert!(back.iter().any(|o| matches!(o,
        FleetOutput::Event(FleetEvent::LeaseGranted { epoch: 4, host_id, .. }) if host_id == "dead")));
}

#[test]
fn a_socket_that_is_away_shortens_the_silence_and_one_that_comes_back_ends_it() {
    let mut fleet = fleet(&[("a", 1.0, 20)]);
    fleet.join(at(1.0), session("s", 9));
    fleet.detached(at(2.0), "a");
    fleet.attached(at(4.0), "a");
    let out = drain(&mut fleet);
    let serves = kinds(&out).into_iter().filter(|kind| *kind == "serve");
    assert_eq!(serves.count(), 2, "told again");
    fleet.detached(at(5.0), "a");
    fleet.handle_timeout(at(7.9));
    assert_eq!(names(&fleet, "s"), ["a"]);
    assert_eq!(fleet.next_deadline(), Some(at(8.0)));
    fleet.handle_timeout(at(8.0));
    assert!(names(&fleet, "s").is_empty());
    fleet.heartbeat(at(8.5), "a", 1, beat(1.0)).unwrap();
    assert_eq!(fleet.host("a").unwrap().status, HostStatus::Offline);
    fleet.attached(at(9.0), "a");
    fleet.handle_timeout(at(9.0));
    assert_eq!(names(&fleet, "s"), ["a"]);
}

#[test]
fn one_report_moves_one_member_and_a_quorum_ends_the_lease() {
    let mut fleet = fleet(&[("a", 1.0, 40), ("b", 60.0, 40), ("c", 70.0, 40)]);
    for number in 0..4 {
        fleet.join(at(1.0), session(&format!("s{number}"), 100 + number));
    }
    drain(&mut fleet);
    fleet.report(at(2.0), "s0", &bad(&fleet, "s0", "a"));
    let out = drain(&mut fleet);
    assert_eq!(
        kinds(&out),
        ["unroute", "unserve", "route", "serve", "hosts"]
    );
    assert!(!names(&fleet, "s0").contains(&"a".to_owned()));
    assert!(names(&fleet, "s1").contains(&"a".to_owned()));
    assert_eq!(fleet.counters().leases_ended, [0; 5]);
    // Of no longer standing: does not count with the next.
    fleet.report(at(12.5), "s1", &bad(&fleet, "s1", "a"));
    assert_eq!(fleet.counters().leases_ended, [0; 5]);
    fleet.report(at(13.0), "s2", &bad(&fleet, "s2", "a"));
    let ended = fleet.counters().leases_ended[LeaseEnd::Reported as usize];
    assert_eq!(ended, 1);
    for number in 0..4 {
        assert!(!names(&fleet, &format!("s{number}")).contains(&"a".to_owned()));
    }
    // It may serve again later.
    assert_eq!(fleet.host("a").unwrap().status, HostStatus::Online);
    let alive = [("a", 1.0), ("b", 60.0), ("c", 70.0)];
    pass(&mut fleet, 13.0, 42.0, &alive);
    assert!(fleet.available().iter().all(|view| view.host_id != "a"));
    pass(&mut fleet, 42.0, 44.0, &alive);
    assert_eq!(fleet.available()[0].host_id, "a");
}

#[test]
fn a_lying_member_is_heard_three_times_in_five_minutes() {
    let hosts = [
        ("a", 1.0, 40),
        ("b", 2.0, 40),
        ("c", 3.0, 40),
        ("d", 4.0, 40),
        ("e", 5.0, 40),
    ];
    let mut fleet = fleet(&hosts);
    for number in 0..8 {
        fleet.join(at(1.0), session(&format!("s{number}"), 100 + number));
    }
    fleet.join(at(1.0), session("liar", 66));
    for round in 0..20 {
        let host = names(&fleet, "liar")[0].clone();
        fleet.report(
            at(2.0 + f64::from(round)),
            "liar",
            &bad(&fleet, "liar", &host),
        );
        // A new session of the same account changes nothing.
        fleet.join(at(2.0), session("liar", 66));
    }
    let counters = fleet.counters();
    assert!(
        counters.moves[HostsReason::Reported as usize] <= 4,
        "{counters:?}"
    );
    assert_eq!(counters.ignored_reports, 17);
    assert!(counters.leases_ended[LeaseEnd::Reported as usize] <= 1);
    // Nor does it count for more with many sessions.
    assert_eq!(fleet.host("a").unwrap().status, HostStatus::Online);
}

#[test]
fn reports_of_what_is_no_more_are_stale() {
    let mut fleet = fleet(&[("a", 1.0, 40)]);
    fleet.join(at(1.0), session("s", 9));
    let mut report = bad(&fleet, "s", "a");
    report.epoch += 1;
    fleet.report(at(2.0), "s", &report);
    report.host_id = "nobody".into();
    fleet.report(at(2.0), "s", &report);
    fleet.report(at(2.0), "nobody", &report);
    fleet.member_report(at(2.0), "a", "player-x", MemberVerdict::Flooding, 5);
    assert_eq!(fleet.counters().stale_reports, 4);
    assert_eq!(names(&fleet, "s"), ["a"]);
    fleet.member_report(at(2.0), "a", "player-s", MemberVerdict::Flooding, 5);
    assert_eq!(fleet.counters().flooded, 5);
}

#[test]
fn a_host_that_drains_gives_its_members_away_first() {
    let mut fleet = fleet(&[("a", 1.0, 40), ("b", 60.0, 40)]);
    fleet.join(at(1.0), session("s", 9));
    fleet.remove(at(1.0), "b");
    fleet.register(at(1.0), record("c", 7, 40)).unwrap();
    fleet.attached(at(1.0), "c");
    drain(&mut fleet);
    assert_eq!(names(&fleet, "s"), ["a"]);
    fleet.drain(at(2.0), "a");
    let out = drain(&mut fleet);
    assert_eq!(kinds(&out), ["route", "serve", "hosts"]);
    assert_eq!(
        told(&out, "s"),
        [(vec!["c".to_owned()], HostsReason::Draining)]
    );
    assert_eq!(fleet.host("a").unwrap().status, HostStatus::Maintenance);
    fleet.handle_timeout(at(3.9));
    assert!(!kinds(&drain(&mut fleet)).contains(&"unserve"));
    fleet.handle_timeout(at(4.0));
    assert_eq!(kinds(&drain(&mut fleet)), ["unroute", "unserve", "drained"]);
    // Nothing comes back until it registers again.
    fleet.heartbeat(at(5.0), "a", 1, beat(1.0)).unwrap();
    assert!(fleet.available().iter().all(|view| view.host_id != "a"));
    fleet.register(at(6.0), record("a", 1, 40)).unwrap();
    assert_eq!(fleet.host("a").unwrap().status, HostStatus::Online);
    assert_eq!(fleet.available()[0].host_id, "a");
}

#[test]
fn a_better_host_takes_over_slowly_and_never_back_and_forth() {
    let mut fleet = fleet(&[]);
    let mut old = record("old", 1, 400);
    (old.hardware.cpu_cores, old.hardware.memory_mb) = (1, 1024);
    fleet.register(at(0.0), old).unwrap();
    fleet.attached(at(0.0), "old");
    fleet.heartbeat(at(0.0), "old", 1, beat(90.0)).unwrap();
    for number in 0..40 {
        fleet.join(at(1.0), session(&format!("s{number:02}"), 100 + number));
    }
    drain(&mut fleet);
    fleet.register(at(1.0), record("new", 7, 400)).unwrap();
    fleet.attached(at(1.0), "new");
    fleet.heartbeat(at(1.0), "new", 7, beat(1.0)).unwrap();
    let out = pass(&mut fleet, 1.0, 4.0, &[("old", 90.0), ("new", 1.0)]);
    assert_eq!(
        told(&out, "s00"),
        [(
            vec!["old".to_owned(), "new".to_owned()],
            HostsReason::Better
        )]
    );
    // Both are carried over both by now; a third one is better than the old by far.
    fleet.register(at(4.0), record("third", 8, 400)).unwrap();
    fleet.attached(at(4.0), "third");
    let alive = [("old", 90.0), ("new", 1.0), ("third", 1.0)];
    pass(&mut fleet, 4.0, 19.0, &alive);
    let moved = fleet.host("third").unwrap().current_players;
    assert!((1..=4).contains(&moved), "{moved} in one evaluation");
    pass(&mut fleet, 19.0, 600.0, &alive);
    assert_eq!(fleet.host("old").unwrap().current_players, 0);
    let before = fleet.counters();
    pass(&mut fleet, 600.0, 1200.0, &alive);
    assert_eq!(fleet.counters().moves, before.moves, "and stays so");
}

#[test]
fn a_little_better_is_not_better_by_far() {
    let mut fleet = fleet(&[("a", 90.0, 400), ("b", 95.0, 400), ("c", 20.0, 400)]);
    fleet.remove(at(0.5), "c");
    fleet.join(at(1.0), session("s", 9));
    fleet.register(at(1.0), record("c", 7, 400)).unwrap();
    fleet.attached(at(1.0), "c");
    // 90 to 20 ms is 7 points.
    pass(
        &mut fleet,
        1.0,
        100.0,
        &[("a", 90.0), ("b", 95.0), ("c", 20.0)],
    );
    assert_eq!(names(&fleet, "s"), ["a", "b"]);
}

#[test]
fn a_host_below_the_zones_rules_is_replaced() {
    let mut fleet = fleet(&[("a", 50.0, 40), ("b", 95.0, 40), ("c", 96.0, 40)]);
    fleet.join(at(1.0), session("s", 9));
    assert_eq!(names(&fleet, "s"), ["a", "b"]);
    let alive = [("a", 150.0), ("b", 95.0), ("c", 96.0)];
    pass(&mut fleet, 1.0, 20.0, &alive);
    assert_eq!(
        names(&fleet, "s"),
        ["c", "b"],
        "the one that stays keeps its way"
    );
}

#[test]
fn switches_end_all_and_bring_it_back_with_new_epochs() {
    let mut fleet = fleet(&[("a", 1.0, 40)]);
    fleet.join(at(1.0), session("s", 9));
    let epoch = fleet.assigned("s")[0].epoch;
    drain(&mut fleet);
    fleet.switch(at(2.0), false);
    let out = drain(&mut fleet);
    assert_eq!(
        kinds(&out),
        ["host policy", "policy", "unroute", "unserve", "hosts"]
    );
    assert_eq!(told(&out, "s"), [(vec![], HostsReason::Policy)]);
    let policy = fleet.policy(ZONE, &[], 5).unwrap();
    assert!(!policy.p2p && policy.fallback && policy.expires == 5 + POLICY_LIFETIME);
    fleet.switch(at(2.0), false);
    assert!(drain(&mut fleet).is_empty());
    pass(&mut fleet, 2.0, 5.0, &[("a", 1.0)]);
    assert!(names(&fleet, "s").is_empty());
    fleet.switch(at(6.0), true);
    fleet.handle_timeout(at(6.0));
    assert!(fleet.assigned("s")[0].epoch > epoch);
    let off = ZoneRules {
        p2p: false,
        ..rules(ZONE)
    };
    fleet.put_zone(at(7.0), off);
    assert!(names(&fleet, "s").is_empty());
    fleet.put_zone(at(8.0), rules(ZONE));
    fleet.handle_timeout(at(8.0));
    assert_eq!(names(&fleet, "s"), ["a"]);
    fleet.remove_zone(at(9.0), ZONE);
    assert!(names(&fleet, "s").is_empty());
    assert!(fleet.policy(ZONE, &[], 5).is_none());
}

#[test]
fn policies_are_told_again_before_they_expire() {
    let mut fleet = fleet(&[("a", 1.0, 40)]);
    fleet.join(at(1.0), session("s", 9));
    drain(&mut fleet);
    let out = pass(&mut fleet, 1.0, 4000.0, &[("a", 1.0)]);
    let told = kinds(&out);
    let policies = told.iter().filter(|kind| **kind == "policy").count();
    let host_policies = told.iter().filter(|kind| **kind == "host policy").count();
    assert!(
        policies >= 2 && policies == host_policies,
        "{policies} {host_policies}"
    );
}

#[test]
fn without_fallback_only_a_host_can_carry() {
    let mut fleet = fleet(&[]);
    assert!(fleet.can_carry(ZONE, 9));
    let strict = ZoneRules {
        fallback: false,
        ..rules(ZONE)
    };
    fleet.put_zone(at(0.0), strict.clone());
    assert!(!fleet.can_carry(ZONE, 9));
    fleet.register(at(0.0), record("a", 1, 40)).unwrap();
    assert!(!fleet.can_carry(ZONE, 9), "its socket is not up");
    fleet.attached(at(0.0), "a");
    assert!(fleet.can_carry(ZONE, 9));
    assert!(!fleet.can_carry(ZONE, 1), "its own");
    fleet.switch(at(0.0), false);
    assert!(fleet.can_carry(ZONE, 9), "the endpoint serves");
    assert!(fleet.can_carry("unknown", 9));
}

#[test]
fn a_host_that_registers_again_keeps_its_place_or_begins_anew() {
    let mut fleet = fleet(&[("a", 1.0, 40)]);
    fleet.join(at(1.0), session("s", 9));
    let before = fleet.assigned("s");
    drain(&mut fleet);
    let renewed = HostRecord {
        certificate: "11".into(),
        ..record("a", 1, 40)
    };
    fleet.register(at(2.0), renewed).unwrap();
    assert_eq!(
        kinds(&drain(&mut fleet)),
        ["hosts"],
        "with the new certificate"
    );
    assert_eq!(fleet.assigned("s")[0].epoch, before[0].epoch);
    assert_eq!(fleet.assigned("s")[0].certificate, "11");
    let moved = HostRecord {
        room: "elsewhere".into(),
        ..record("a", 1, 40)
    };
    fleet.register(at(3.0), moved).unwrap();
    let out = drain(&mut fleet);
    assert_eq!(kinds(&out), ["unroute", "unserve", "hosts", "end"]);
    assert!(names(&fleet, "s").is_empty());
    // Another account gets nowhere near it, not even when it is offline.
    let taken = fleet.register(at(4.0), record("a", 2, 40));
    assert_eq!(taken, Err(HostRefused::NotYours));
    assert_eq!(
        fleet.heartbeat(at(4.0), "a", 2, beat(1.0)),
        Err(HostRefused::NotYours)
    );
    assert_eq!(
        fleet.heartbeat(at(4.0), "x", 2, beat(1.0)),
        Err(HostRefused::UnknownHost)
    );
}

#[test]
fn a_host_whose_certificate_has_expired_gets_no_members_until_it_brings_another() {
    let mut fleet = fleet(&[("a", 1.0, 40)]);
    let until = |seconds| HostRecord {
        valid_until: Some(at(seconds)),
        ..record("a", 1, 40)
    };
    fleet.register(at(1.0), until(10.0)).unwrap();
    fleet.join(at(1.0), session("s", 9));
    pass(&mut fleet, 1.0, 9.0, &[("a", 1.0)]);
    assert_eq!(fleet.next_deadline(), Some(at(10.0)));
    assert!(fleet.best(ZONE, 9).is_some());
    pass(&mut fleet, 9.0, 30.0, &[("a", 1.0)]);
    assert!(fleet.best(ZONE, 9).is_none() && fleet.available().is_empty());
    assert_eq!(names(&fleet, "s"), ["a"], "what is connected stays");
    fleet.register(at(30.0), until(100.0)).unwrap();
    assert!(fleet.best(ZONE, 9).is_some());
}

#[test]
fn a_host_with_fewer_places_gives_members_away() {
    let mut fleet = fleet(&[("a", 1.0, 10)]);
    for number in 0..6 {
        fleet.join(at(1.0), session(&format!("s{number}"), 100 + number));
    }
    fleet.register(at(2.0), record("a", 1, 4)).unwrap();
    let view = fleet.host("a").unwrap();
    assert_eq!((view.current_players, view.status), (4, HostStatus::Busy));
    let without = (0..6).filter(|n| names(&fleet, &format!("s{n}")).is_empty());
    assert_eq!(without.count(), 2);
}

#[test]
fn what_a_host_says_is_checked_and_refusals_say_why() {
    let mut fleet = fleet(&[]);
    let mut weak = record("a", 1, 40);
    weak.hardware.network_speed_mbps = 12;
    let refused = fleet.register(at(0.0), weak.clone()).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "zone `prontera` wants 20 Mbit/s of upload; the host has 12 Mbit/s, 8 Mbit/s too little"
    );
    // Another zone takes it, and that one is what it gets.
    let easy = ZoneRules {
        min_bandwidth_mbps: 1,
        ..rules("geffen")
    };
    fleet.put_zone(at(0.0), easy);
    weak.zones.push("geffen".into());
    assert_eq!(fleet.register(at(0.0), weak).unwrap().zones, ["geffen"]);
    let with = |change: fn(&mut HostRecord)| {
        let mut record = record("b", 1, 40);
        change(&mut record);
        record
    };
    for (record, refused) in [
        (with(|r| r.host_id = "a b".into()), HostRefused::BadId),
        (with(|r| r.zones.clear()), HostRefused::BadZones),
        (
            with(|r| r.zones = vec!["x".into()]),
            HostRefused::UnknownZone("x".into()),
        ),
        (
            with(|r| r.max_players = 0),
            HostRefused::Impossible {
                field: "max_players",
                allowed: "1 to 1000",
            },
        ),
        (
            with(|r| r.hardware.memory_mb = 0),
            HostRefused::Impossible {
                field: "memory_mb",
                allowed: "at least 1",
            },
        ),
        (
            with(|r| {
                let upstream = "192.0.2.1:5121".parse().unwrap();
                r.hosted = Some(HostedOffer { upstream });
            }),
            HostRefused::NotHosted(ZONE.into()),
        ),
    ] {
        assert_eq!(fleet.register(at(0.0), record), Err(refused));
    }
    fleet.register(at(0.0), with(|_| {})).unwrap();
    for (wrong, field) in [
        (
            HostHeartbeat {
                latency_ms: Some(-1.0),
                ..beat(0.0)
            },
            "latency_ms",
        ),
        (
            HostHeartbeat {
                packet_loss_percent: Some(100.5),
                ..beat(0.0)
            },
            "packet_loss_percent",
        ),
        (
            HostHeartbeat {
                bandwidth_usage_mbps: f64::NAN,
                ..beat(0.0)
            },
            "bandwidth_usage_mbps",
        ),
    ] {
        let refused = fleet.heartbeat(at(0.0), "b", 1, wrong).unwrap_err();
        assert!(matches!(refused, HostRefused::Impossible { field: f, .. } if f == field));
    }
}

#[test]
fn tables_are_bounded() {
    let mut fleet = Fleet::new(FleetLimits {
        hosts: 3,
        hosts_per_account: 2,
        sessions: 2,
        ..FleetLimits::default()
    });
    fleet.put_zone(at(0.0), rules(ZONE));
    fleet.register(at(0.0), record("a", 1, 40)).unwrap();
    fleet.register(at(0.0), record("b", 1, 40)).unwrap();
    let third = fleet.register(at(0.0), record("c", 1, 40));
    assert_eq!(third, Err(HostRefused::TooManyOfAccount));
    fleet.register(at(1.0), record("d", 2, 40)).unwrap();
    assert_eq!(
        fleet.register(at(1.0), record("e", 3, 40)),
        Err(HostRefused::Full)
    );
    fleet.handle_timeout(at(15.0));
    fleet.register(at(15.5), record("e", 3, 40)).unwrap();
    assert_eq!(fleet.hosts(HostFilter::default()).len(), 3);
    for name in ["s", "t", "u"] {
        fleet.join(at(1.0), session(name, 9));
    }
    drain(&mut fleet);
    fleet.entered("u");
    assert!(drain(&mut fleet).is_empty(), "not in the table");
    fleet.handle_timeout(at(16.0 + 24.0 * 3600.0));
    fleet.handle_timeout(at(16.0 + 48.0 * 3600.0));
    assert!(fleet.hosts(HostFilter::default()).is_empty(), "forgotten");
}

#[test]
fn lists_are_filtered() {
    let mut fleet = fleet(&[("a", 1.0, 40), ("b", 90.0, 40), ("c", 1.0, 40)]);
    fleet.drain(at(1.0), "c");
    let of = |status, min_score| {
        let views = fleet.hosts(HostFilter { status, min_score });
        views
            .into_iter()
            .map(|view| view.host_id)
            .collect::<Vec<_>>()
    };
    assert_eq!(of(None, None), ["a", "b", "c"]);
    assert_eq!(of(Some(HostStatus::Online), None), ["a", "b"]);
    assert_eq!(of(Some(HostStatus::Maintenance), None), ["c"]);
    assert_eq!(of(None, Some(95.0)), ["a", "c"]);
    let page = |offset, limit| {
        let (views, total) = fleet.best_hosts(HostFilter::default(), offset, limit);
        let names: Vec<_> = views.into_iter().map(|view| view.host_id).collect();
        (names.join(" "), total)
    };
    assert_eq!(page(0, 9), ("a c b".to_owned(), 3), "the best first");
    assert_eq!(page(1, 1), ("c".to_owned(), 3));
    assert_eq!(page(3, 9), (String::new(), 3));
    let available = fleet.available();
    let available: Vec<_> = available.iter().map(|view| view.host_id.as_str()).collect();
    assert_eq!(available, ["a", "b"]);
}

#[test]
fn fifty_sessions_outlive_one_of_five_hosts_without_a_stampede() {
    let names_of_hosts = ["a", "b", "c", "d", "e"];
    let mut fleet = fleet(&names_of_hosts.map(|name| (name, 20.0, 40)));
    for number in 0..50 {
        fleet.join(at(1.0), session(&format!("s{number:02}"), 100 + number));
    }
    drain(&mut fleet);
    let load = |fleet: &Fleet, name: &str| fleet.host(name).unwrap().current_players;
    let lost = load(&fleet, "c");
    assert!(lost >= 15, "{lost}");
    let alive = ["a", "b", "d", "e"].map(|name| (name, 20.0));
    let out = pass(&mut fleet, 1.0, 16.0, &alive);
    let moved = fleet.counters().moves[HostsReason::Silent as usize];
    assert_eq!(moved, u64::from(lost), "only those of the dead host move");
    let told = out.iter().filter(|output| {
        let hosts = |signal: &ServerSignal| matches!(signal, ServerSignal::Hosts { .. });
        matches!(output, FleetOutput::ToMember { signal, .. } if hosts(signal))
    });
    assert_eq!(told.count(), lost as usize, "and each is told once");
    let loads: Vec<u32> = alive.iter().map(|(name, _)| load(&fleet, name)).collect();
    let (most, least) = (loads.iter().max().unwrap(), loads.iter().min().unwrap());
    assert!(most - least <= 2, "{loads:?}");
    for number in 0..50 {
        let hosts = names(&fleet, &format!("s{number:02}"));
        assert!(
            hosts.len() == 2 && !hosts.contains(&"c".to_owned()),
            "{hosts:?}"
        );
    }
}

#[test]
fn a_host_that_was_silent_and_starts_anew_has_a_lease_at_once_but_not_again_and_again() {
    let mut fleet = fleet(&[("a", 10.0, 10), ("b", 20.0, 10)]);
    fleet.join(at(0.0), session("s", 100));
    let silent = |fleet: &mut Fleet, now: f64, verdict| {
        let offers = fleet.assigned("s");
        let offer = offers.into_iter().find(|offer| offer.host_id == "a");
        let report = Report {
            host_id: "a".into(),
            epoch: offer.unwrap().epoch,
            verdict,
            rtt_ms: None,
            loss_percent: None,
        };
        fleet.report(at(now), "s", &report);
        assert_eq!(names(fleet, "s"), ["b"]);
        fleet.detached(at(now), "a");
    };
    let back = |fleet: &mut Fleet, now: f64| {
        fleet.register(at(now), record("a", 1, 10)).unwrap();
        fleet.attached(at(now), "a");
        fleet.heartbeat(at(now), "a", 1, beat(10.0)).unwrap();
        fleet.heartbeat(at(now), "b", 2, beat(20.0)).unwrap();
        fleet.handle_timeout(at(now));
        fleet.available().iter().any(|host| host.host_id == "a")
    };
    silent(&mut fleet, 1.0, HostVerdict::Silent);
    assert!(back(&mut fleet, 2.0));
    // The member avoids it for a while itself.
    fleet.leave(at(3.0), "s");
    fleet.join(at(3.0), session("s", 101));
    silent(&mut fleet, 4.0, HostVerdict::Silent);
    assert!(!back(&mut fleet, 5.0), "so soon again");
    assert!(back(&mut fleet, 34.0));
}

#[test]
fn a_host_that_tampered_is_not_forgiven_for_a_new_start() {
    let mut fleet = fleet(&[("a", 10.0, 10), ("b", 20.0, 10)]);
    fleet.join(at(0.0), session("s", 100));
    let offers = fleet.assigned("s");
    let report = Report {
        host_id: "a".into(),
        epoch: offers[0].epoch,
        verdict: HostVerdict::Tampering,
        rtt_ms: None,
        loss_percent: None,
    };
    fleet.report(at(1.0), "s", &report);
    fleet.detached(at(1.0), "a");
    fleet.register(at(2.0), record("a", 1, 10)).unwrap();
    fleet.attached(at(2.0), "a");
    fleet.heartbeat(at(2.0), "a", 1, beat(10.0)).unwrap();
    fleet.handle_timeout(at(2.0));
    assert!(fleet.available().iter().all(|host| host.host_id != "a"));
}

#[test]
fn one_account_has_one_voice_and_none_alone() {
    let mut fleet = fleet(&[("a", 10.0, 20), ("b", 20.0, 20)]);
    let good = |fleet: &mut Fleet, name: &str, loss: f64| {
        let offers = fleet.assigned(name);
        let offer = offers.iter().find(|offer| offer.host_id == "a");
        let report = Report {
            host_id: "a".into(),
            epoch: offer.unwrap().epoch,
            verdict: HostVerdict::Good,
            rtt_ms: Some(12.0),
            loss_percent: Some(loss),
        };
        fleet.report(at(2.0), name, &report);
    };
    for number in 0..5 {
        let name = format!("liar{number}");
        fleet.join(at(1.0), session(&name, 10));
        good(&mut fleet, &name, 100.0);
    }
    assert_eq!(
        fleet.best(ZONE, 12).unwrap().host_id,
        "a",
        "nobody else says so"
    );
    fleet.join(at(1.0), session("s", 11));
    good(&mut fleet, "s", 0.0);
    let view = fleet.host("a").unwrap();
    assert_eq!(view.packet_loss_percent, Some(0.0), "word against word");
    assert_eq!(fleet.best(ZONE, 12).unwrap().host_id, "a");
    // A third one who finds the same as the liar decides it.
    fleet.join(at(1.0), session("t", 12));
    good(&mut fleet, "t", 60.0);
    assert_eq!(fleet.best(ZONE, 13).unwrap().host_id, "b");
}

#[test]
fn who_alone_finds_a_host_lossy_is_moved_and_nobody_else() {
    let mut fleet = fleet(&[("a", 10.0, 20), ("b", 20.0, 20)]);
    for (name, account) in [("s", 9), ("quiet", 10)] {
        fleet.join(at(1.0), session(name, account));
    }
    for step in 1..=5 {
        let now = 5.0 * f64::from(step);
        let offers = fleet.assigned("s");
        let Some(offer) = offers.iter().find(|offer| offer.host_id == "a") else {
            break;
        };
        let report = Report {
            host_id: "a".into(),
            epoch: offer.epoch,
            verdict: HostVerdict::Good,
            rtt_ms: Some(12.0),
            loss_percent: Some(40.0),
        };
        fleet.report(at(now), "s", &report);
        pass(&mut fleet, now, now + 5.0, &[("a", 10.0), ("b", 20.0)]);
    }
    assert_eq!(names(&fleet, "s"), ["b"]);
    assert_eq!(names(&fleet, "quiet"), ["a", "b"]);
}
