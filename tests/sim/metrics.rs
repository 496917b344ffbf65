//! What a link shows of its paths, held against what the emulated network was set to.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test tool fails by panicking, and prints its figures"
)]

use std::time::Duration;

use warp_link_core::quality::{QualityCause, Towards};
use warp_link_core::view::{DirectionView, PathView};
use warp_link_core::{LinkConfig, Redundancy, State, StreamId};
use warp_protocol::carrier::PathKind::{Direct, Wss};
use warp_tests::sim::{Side, Weather, World, identities};

/// Delay plus or minus up to this much, ms, like the emulated link of the lab.
const JITTER_MS: u64 = 5;

/// A line that keeps the order, as the lab's does.
fn line(delay_ms: u64, jitter_ms: u64, loss_percent: f64) -> Weather {
    Weather {
        delay: Duration::from_millis(delay_ms - jitter_ms),
        jitter: Duration::from_millis(2 * jitter_ms),
        loss: loss_percent / 100.0,
        cut: false,
        ordered: true,
    }
}

fn world(seed: u64, redundancy: Redundancy, up: Weather, down: Weather) -> (World, StreamId) {
    let config = LinkConfig {
        redundancy,
        ..LinkConfig::default()
    };
    let mut world = World::new(seed, config, &identities());
    world.weather.insert((Direct, Side::Engine), up);
    world.weather.insert((Direct, Side::Endpoint), down);
    world.open(Direct);
    let connected = world.run(Duration::from_secs(20), |world| {
        world.engine.state() == State::Connected
    });
    assert!(connected, "seed {seed}: {:?}", world.states);
    let id = world.open_stream();
    (world, id)
}

/// Both sides say something every `pause`, for a while.
fn play(world: &mut World, id: StreamId, lasts: Duration, pause: Duration) {
    let end = world.elapsed() + lasts;
    while world.elapsed() < end {
        world.say(Side::Engine, id, 20);
        world.say(Side::Endpoint, id, 60);
        let next = world.elapsed() + pause;
        world.run(next, |_| false);
    }
}

fn direct(world: &mut World) -> PathView {
    let now = world.now;
    let paths = world.engine.paths(now);
    paths.into_iter().find(|path| path.kind == Direct).unwrap()
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

fn within_tenth(what: &str, shown: f64, set: f64) {
    let off = (shown - set).abs() / set;
    assert!(off <= 0.1, "{what}: {shown:.3} shown, {set} set");
}

/// The share that was lost since the carrier was opened, percent.
fn total_loss(direction: &DirectionView) -> f64 {
    let (lost, of) = (direction.lost.unwrap(), direction.datagrams.unwrap());
    lost as f64 / of as f64 * 100.0
}

/// Figures of a line with this one-way delay and these losses, against the settings.
fn hold_against_the_setting(delay_ms: u64, loss: [f64; 2], redundancy: Redundancy, seed: u64) {
    let up = line(delay_ms, JITTER_MS, loss[0]);
    let down = line(delay_ms, JITTER_MS, loss[1]);
    let (mut world, id) = world(seed, redundancy, up, down);
    let label = format!("seed {seed}, {delay_ms} ms, loss {loss:?} %, {redundancy:?}");
    // The windows fill.
    let pause = Duration::from_millis(10);
    play(&mut world, id, Duration::from_secs(11), pause);
    let (mut rtt, mut jitter, mut losses) = (vec![], [vec![], vec![]], [vec![], vec![]]);
    for _second in 0..400 {
        play(&mut world, id, Duration::from_secs(1), pause);
        let path = direct(&mut world);
        within_tenth(&label, path.rtt_ms.unwrap(), 2.0 * delay_ms as f64);
        rtt.push(path.rtt_ms.unwrap());
        for (place, direction) in [path.to_endpoint, path.to_player].iter().enumerate() {
            jitter[place].push(direction.jitter_ms.unwrap());
            losses[place].push(direction.loss_percent.unwrap());
        }
    }
    let path = direct(&mut world);
    let ways = [
        ("to the endpoint", path.to_endpoint, Side::Engine),
        ("to the player", path.to_player, Side::Endpoint),
    ];
    println!("{label}: round trip {:.2} ms", mean(&rtt));
    within_tenth(&label, mean(&rtt), 2.0 * delay_ms as f64);
    for (place, (way, direction, from)) in ways.into_iter().enumerate() {
        let (shown, total) = (mean(&losses[place]), total_loss(&direction));
        let (sent, lost) = world.fates[&(Direct, from)];
        println!(
            "  {way}: jitter {:.2} ms, loss {shown:.3} % shown, {total:.3} % of {} in all",
            mean(&jitter[place]),
            direction.datagrams.unwrap()
        );
        within_tenth(
            &format!("{label}, jitter {way}"),
            mean(&jitter[place]),
            JITTER_MS as f64,
        );
        within_tenth(&format!("{label}, loss {way}"), shown, loss[place]);
        within_tenth(&format!("{label}, all loss {way}"), total, loss[place]);
        // Not only close: nothing is missed but what is still under way and, towards the
        // endpoint, what came after its last report.
        let missed = lost.abs_diff(direction.lost.unwrap());
        assert!(
            missed <= 60,
            "{label}: of {sent} {lost} lost, {direction:?}"
        );
    }
    let copied = world.engine.duplicated() > 0;
    assert_eq!(copied, redundancy == Redundancy::Auto, "{label}");
}

#[test]
fn figures_are_those_of_the_line_at_20_ms_while_copies_are_sent() {
    hold_against_the_setting(20, [1.0, 2.0], Redundancy::Auto, 101);
}

#[test]
fn figures_are_those_of_the_line_at_50_ms_while_copies_are_sent() {
    hold_against_the_setting(50, [2.0, 5.0], Redundancy::Auto, 102);
}

#[test]
fn figures_are_those_of_the_line_at_80_ms_while_copies_are_sent() {
    hold_against_the_setting(80, [5.0, 1.0], Redundancy::Auto, 103);
}

#[test]
fn figures_are_those_of_the_line_at_20_ms_without_copies() {
    hold_against_the_setting(20, [1.0, 2.0], Redundancy::Off, 104);
}

#[test]
fn figures_are_those_of_the_line_at_50_ms_without_copies() {
    hold_against_the_setting(50, [2.0, 5.0], Redundancy::Off, 105);
}

#[test]
fn figures_are_those_of_the_line_at_80_ms_without_copies() {
    hold_against_the_setting(80, [5.0, 1.0], Redundancy::Off, 106);
}

#[test]
fn a_loss_is_told_for_the_way_that_it_happens_on() {
    for (loss, towards) in [
        ([6.0, 0.0], Towards::Endpoint),
        ([0.0, 6.0], Towards::Player),
    ] {
        let (up, down) = (line(10, 0, loss[0]), line(10, 0, loss[1]));
        let (mut world, id) = world(7, Redundancy::Auto, up, down);
        play(
            &mut world,
            id,
            Duration::from_secs(15),
            Duration::from_millis(20),
        );
        let path = direct(&mut world);
        let (bad, good) = match towards {
            Towards::Endpoint => (path.to_endpoint, path.to_player),
            Towards::Player => (path.to_player, path.to_endpoint),
        };
        assert_eq!(good.loss_percent, Some(0.0), "{path:?}");
        assert!(bad.loss_percent.unwrap() > 3.0, "{path:?}");
        let quality = path.quality.unwrap();
        let Some(QualityCause::Loss { towards: told, .. }) = quality.cause else {
            panic!("{quality:?}");
        };
        assert_eq!(told, towards);
        assert!(quality.score < 90, "{quality:?}");
    }
}

#[test]
fn a_clean_line_has_lost_nothing_from_the_first_packet_on() {
    let clean = line(15, 0, 0.0);
    let (mut world, id) = world(8, Redundancy::Auto, clean, clean);
    let wss = Weather {
        ordered: true,
        ..Weather::clean(30)
    };
    world.set_weather(Wss, wss);
    world.open(Wss);
    play(
        &mut world,
        id,
        Duration::from_secs(30),
        Duration::from_millis(20),
    );
    let now = world.now;
    for path in world.engine.paths(now) {
        let rtt = if path.kind == Direct { 30.0 } else { 60.0 };
        assert!((path.rtt_ms.unwrap() - rtt).abs() < 0.1, "{path:?}");
        for direction in [path.to_endpoint, path.to_player] {
            assert_eq!(
                (direction.loss_percent, direction.lost),
                (Some(0.0), Some(0)),
                "{path:?}"
            );
            assert_eq!(direction.late_percent, Some(0.0));
            assert_eq!(direction.jitter_ms, Some(0.0));
            assert!(direction.bytes_per_second.unwrap() > 100.0);
        }
        assert!(path.quality.unwrap().score >= 94, "{path:?}");
        assert_eq!(path.resent_packets, 0);
    }
}

#[test]
fn what_is_not_measured_is_unknown_first_and_again_after_an_outage() {
    let clean = line(15, 0, 0.0);
    let (mut world, id) = world(9, Redundancy::Auto, clean, clean);
    let first = direct(&mut world);
    assert_eq!(first.quality, None, "{first:?}");
    assert_eq!(first.to_endpoint.loss_percent, None, "{first:?}");
    assert_eq!(first.to_player.bytes_per_second, None, "{first:?}");
    play(
        &mut world,
        id,
        Duration::from_secs(5),
        Duration::from_millis(20),
    );
    assert!(direct(&mut world).quality.is_some());
    // Only the way to the player is dead: what the endpoint hears is not told any more either.
    world
        .weather
        .get_mut(&(Direct, Side::Endpoint))
        .unwrap()
        .cut = true;
    world.run(world.elapsed() + Duration::from_secs(11), |_| false);
    let path = direct(&mut world);
    assert_eq!((path.quality, path.rtt_ms), (None, None), "{path:?}");
    assert_eq!(
        (path.loss_percent, path.jitter_ms),
        (None, None),
        "{path:?}"
    );
}

#[test]
fn packets_that_overtake_each_other_are_late_and_not_lost() {
    let swapping = Weather {
        ordered: false,
        ..line(40, 15, 0.0)
    };
    let (mut world, id) = world(10, Redundancy::Off, swapping, swapping);
    play(
        &mut world,
        id,
        Duration::from_secs(20),
        Duration::from_millis(10),
    );
    let path = direct(&mut world);
    for direction in [path.to_endpoint, path.to_player] {
        assert!(direction.late_percent.unwrap() > 5.0, "{path:?}");
        assert!(direction.loss_percent.unwrap() < 1.0, "{path:?}");
    }
    // Nor does the path cost as if they were: 80 ms and what the jitter adds, to QUIC's own measure of
    // the round trip too.
    let cost = path.cost_ms.unwrap();
    assert!((80.0..160.0).contains(&cost), "{cost} ms: {path:?}");
}

/// As a host could that wants to be used: the labels' numbers tell of no loss, packet numbers do.
#[test]
fn a_carrier_that_hides_its_losses_costs_what_it_loses() {
    let (clean, lossy) = (line(15, 0, 0.0), line(15, 0, 10.0));
    for (seed, up, down) in [(12, lossy, clean), (13, clean, lossy)] {
        let (mut world, id) = world(seed, Redundancy::Off, up, down);
        world.hides_losses = Some(Direct);
        play(
            &mut world,
            id,
            Duration::from_secs(20),
            Duration::from_millis(20),
        );
        let now = world.now;
        for link in [&mut world.engine, &mut world.endpoint] {
            let path = link.paths(now).remove(0);
            assert_eq!(path.loss_percent, Some(0.0), "as its labels say: {path:?}");
            // 30 ms of round trip, and ten for each percent of about ten.
            let cost = path.cost_ms.unwrap();
            assert!((90.0..190.0).contains(&cost), "{cost} ms: {path:?}");
        }
    }
}

#[test]
fn the_endpoint_knows_both_directions_as_the_engine_does() {
    let lossy = line(15, 0, 10.0);
    let clean = line(15, 0, 0.0);
    let (mut world, id) = world(11, Redundancy::Off, lossy, clean);
    play(
        &mut world,
        id,
        Duration::from_secs(12),
        Duration::from_millis(20),
    );
    let now = world.now;
    let [here, there] =
        [&mut world.engine, &mut world.endpoint].map(|link| link.paths(now).remove(0));
    let [up, down] = [&there.to_endpoint, &there.to_player].map(|one| one.loss_percent.unwrap());
    assert!((5.0..15.0).contains(&up), "{up} up, {down} down");
    assert!(down < 0.5, "{up} up, {down} down");
    // What each knows of the other's hearing is a second old at most.
    assert!(
        (here.to_endpoint.loss_percent.unwrap() - up).abs() < 3.0,
        "{here:?}"
    );
    assert!(
        (here.to_player.loss_percent.unwrap() - down).abs() < 3.0,
        "{here:?}"
    );
    assert!(there.quality.is_some());
}
