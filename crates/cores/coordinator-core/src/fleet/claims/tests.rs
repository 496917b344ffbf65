use warp_protocol::hosting::{HostHeartbeat, HostVerdict};

use super::super::model::{FleetOutput, Report};
use super::super::tests::{at, beat, drain, fleet, names, pass, record, session};
use super::*;

/// Two hosts of which the first is the best by what it says, and two players of two accounts on both.
fn scene() -> Fleet {
    let mut fleet = fleet(&[("liar", 0.0, 50), ("honest", 20.0, 50)]);
    fleet.join(at(0.0), session("a", 100));
    fleet.join(at(0.0), session("b", 101));
    assert_eq!(names(&fleet, "a"), ["liar", "honest"]);
    assert_eq!(names(&fleet, "b"), ["liar", "honest"]);
    drain(&mut fleet);
    fleet
}

/// A player measures something over a host of its.
fn measures(fleet: &mut Fleet, now: f64, session_id: &str, host_id: &str, rtt: f64, loss: f64) {
    let offers = fleet.assigned(session_id);
    let Some(offer) = offers.into_iter().find(|offer| offer.host_id == host_id) else {
        return;
    };
    let report = Report {
        host_id: host_id.into(),
        epoch: offer.epoch,
        verdict: HostVerdict::Good,
        rtt_ms: Some(rtt),
        loss_percent: Some(loss),
    };
    fleet.report(at(now), session_id, &report);
}

fn carries(latency_ms: f64, current_players: u32) -> HostHeartbeat {
    HostHeartbeat {
        current_players,
        ..beat(latency_ms)
    }
}

/// For so many seconds both hosts tell, and both players measure, as given for each second. The
/// contradictions that came out.
fn told(
    fleet: &mut Fleet,
    from: f64,
    seconds: u32,
    liar: HostHeartbeat,
    measured: [(f64, f64); 2],
) -> Vec<(Claim, f64, f64)> {
    let mut told = Vec::new();
    for second in 1..=seconds {
        let now = from + f64::from(second);
        for (player, (rtt, loss)) in ["a", "b"].into_iter().zip(measured) {
            measures(fleet, now, player, "liar", rtt, loss);
            measures(fleet, now, player, "honest", 40.0, 0.0);
        }
        fleet.heartbeat(at(now), "liar", 1, liar).unwrap();
        fleet
            .heartbeat(at(now), "honest", 2, carries(20.0, 2))
            .unwrap();
        fleet.handle_timeout(at(now));
        for output in drain(fleet) {
            if let FleetOutput::Event(FleetEvent::Contradicted {
                host_id,
                claim,
                said,
                found,
            }) = output
            {
                assert_eq!(host_id, "liar");
                told.push((claim, said, found));
            }
        }
    }
    told
}

#[test]
fn a_host_that_says_it_carries_nobody_is_told_once_and_not_believed() {
    let mut fleet = scene();
    let before = fleet.host("liar").unwrap().quality_score.unwrap();
    let lies = carries(0.0, 0);
    assert_eq!(told(&mut fleet, 0.0, 10, lies, [(10.0, 0.0); 2]), []);
    let said = told(&mut fleet, 10.0, 20, lies, [(10.0, 0.0); 2]);
    assert_eq!(said, [(Claim::Players, 0.0, 2.0)]);
    assert_eq!(fleet.counters().contradicted, [1, 0, 0]);
    let after = fleet.host("liar").unwrap().quality_score.unwrap();
    assert!(before > 90.0 && after < 50.0, "{before} and {after}");
    assert_eq!(
        fleet.best(super::super::tests::ZONE, 102).unwrap().host_id,
        "honest"
    );
}

#[test]
fn what_all_members_measure_outweighs_the_word_even_after_they_are_gone() {
    let mut fleet = scene();
    let lies = carries(0.0, 2);
    let said = told(&mut fleet, 0.0, 30, lies, [(250.0, 0.0), (180.0, 12.0)]);
    assert_eq!(said, [(Claim::Latency, 0.0, 180.0)], "the best of both");
    fleet.leave(at(30.0), "a");
    fleet.leave(at(30.0), "b");
    pass(&mut fleet, 30.0, 130.0, &[("liar", 0.0), ("honest", 20.0)]);
    // No measurement of the last minute is left, and it still says that it is the best.
    let view = fleet.host("liar").unwrap();
    assert_eq!(view.latency_ms, Some(180.0), "of the one who left last");
    fleet.join(at(130.0), session("c", 103));
    assert_eq!(names(&fleet, "c"), ["honest"], "above the zone's 100 ms");
    pass(&mut fleet, 130.0, 646.0, &[("liar", 0.0), ("honest", 20.0)]);
    assert_eq!(
        fleet.host("liar").unwrap().latency_ms,
        Some(0.0),
        "believed again"
    );
}

#[test]
fn a_host_that_offers_room_and_loses_what_it_is_given_is_contradicted() {
    let mut fleet = scene();
    let lies = HostHeartbeat {
        packet_loss_percent: None,
        ..carries(0.0, 2)
    };
    let lost = [(10.0, 30.0), (10.0, 40.0)];
    // Its members are moved off before that is known for long enough; the doubt stays.
    assert_eq!(told(&mut fleet, 0.0, 30, lies, lost), []);
    assert_eq!(names(&fleet, "a"), ["honest"]);
    // It has members again when what these measured is old.
    let said = told(&mut fleet, 30.0, 120, lies, lost);
    assert_eq!(said, [(Claim::Loss, 0.0, 30.0)]);
}

#[test]
fn one_account_alone_contradicts_nobody() {
    let mut fleet = scene();
    let honest = carries(5.0, 2);
    assert_eq!(
        told(&mut fleet, 0.0, 60, honest, [(9000.0, 100.0), (30.0, 0.0)]),
        []
    );
    // Two sessions of one account are one.
    fleet.leave(at(60.0), "b");
    fleet.join(at(60.0), session("b", 100));
    assert_eq!(told(&mut fleet, 60.0, 60, honest, [(9000.0, 100.0); 2]), []);
    assert_eq!(fleet.counters().contradicted, [0; 3]);
}

/// The host's own second account, say, which finds it excellent.
#[test]
fn one_accomplice_does_not_vouch_for_a_host() {
    let mut fleet = scene();
    let lies = carries(0.0, 3);
    fleet.join(at(0.0), session("accomplice", 102));
    assert_eq!(names(&fleet, "accomplice"), ["liar", "honest"]);
    drain(&mut fleet);
    let mut said = Vec::new();
    for second in 0..40 {
        let now = f64::from(second);
        measures(&mut fleet, now, "accomplice", "liar", 0.1, 0.0);
        said.extend(told(&mut fleet, now, 1, lies, [(250.0, 0.0), (180.0, 0.0)]));
    }
    assert_eq!(said, [(Claim::Latency, 0.0, 180.0)]);
}

#[test]
fn what_is_not_so_for_a_moment_is_held_against_nobody() {
    let mut fleet = scene();
    for round in 0..10 {
        let from = f64::from(round) * 9.0;
        let slow = [(300.0, 0.0); 2];
        assert_eq!(told(&mut fleet, from, 8, carries(5.0, 0), slow), []);
        let calm = [(30.0, 0.0); 2];
        assert_eq!(told(&mut fleet, from + 8.0, 1, carries(5.0, 2), calm), []);
    }
}

#[test]
fn what_was_lost_in_a_moment_counts_once_however_long_it_is_remembered() {
    let mut fleet = scene();
    let honest = carries(5.0, 2);
    // Two seconds of silence are a fifth of what members see of the last ten seconds.
    let lost = [(10.0, 20.0); 2];
    assert_eq!(told(&mut fleet, 0.0, 12, honest, lost), []);
    // Then they are moved to others, and nobody measures anew what is known of it.
    for second in 13..40 {
        let now = at(f64::from(second));
        fleet.heartbeat(now, "liar", 1, honest).unwrap();
        fleet.handle_timeout(now);
    }
    assert_eq!(fleet.counters().contradicted, [0; 3]);
}

#[test]
fn registering_anew_as_another_makes_nobody_believed() {
    let mut fleet = scene();
    told(&mut fleet, 0.0, 22, carries(0.0, 2), [(250.0, 0.0); 2]);
    let mut again = record("liar", 1, 1000);
    again.room = "another".into();
    again.hardware.cpu_cores = 64;
    fleet.register(at(22.0), again).unwrap();
    fleet.attached(at(22.0), "liar");
    fleet
        .heartbeat(at(23.0), "liar", 1, carries(0.0, 0))
        .unwrap();
    let view = fleet.host("liar").unwrap();
    assert_eq!(view.latency_ms, Some(250.0));
    assert!(view.quality_score.unwrap() <= 25.0, "{view:?}");
}
