//! When the numbers are told, and the levels of the figures.

use super::*;
use crate::levels::{Figure, Level};
use crate::view::DirectionView;

fn lossy(loss_percent: Option<f64>) -> Metrics {
    Metrics {
        path: Some(PathKind::Direct),
        to_endpoint: DirectionView {
            loss_percent,
            ..DirectionView::default()
        },
        ..Metrics::default()
    }
}

fn quiet() -> Machine {
    let mut machine = playing();
    drain(&mut machine);
    machine
}

/// Measures once a second; gives the seconds at which the numbers were told, and the other events.
fn measure(
    machine: &mut Machine,
    seconds: std::ops::Range<u64>,
    loss_percent: f64,
) -> (Vec<u64>, Vec<Event>) {
    let (mut told, mut others) = (Vec::new(), Vec::new());
    for second in seconds {
        let now = NOW + Duration::from_secs(second);
        let metrics = Box::new(lossy(Some(loss_percent)));
        machine.on_outcome(now, Outcome::Metrics(metrics));
        for effect in drain(machine) {
            match effect {
                Effect::Emit(Event::Metrics { .. }) => told.push(second),
                Effect::Emit(event) => others.push(event),
                _ => {}
            }
        }
    }
    (told, others)
}

#[test]
fn the_numbers_are_told_every_five_seconds_and_each_second_while_somebody_watches() {
    let mut machine = quiet();
    assert_eq!(measure(&mut machine, 0..12, 0.0).0, [0, 5, 10]);
    machine.on_command(NOW, Command::Watch { on: true });
    assert_eq!(measure(&mut machine, 12..15, 0.0).0, [12, 13, 14]);
    machine.on_command(NOW, Command::Watch { on: false });
    assert_eq!(measure(&mut machine, 15..22, 0.0).0, [19]);
    let line = String::from("/p2p debug on");
    machine.on_command(NOW, Command::Console { line });
    drain(&mut machine);
    assert_eq!(measure(&mut machine, 22..25, 0.0).0, [22, 23, 24]);
}

#[test]
fn the_interval_is_the_configurations() {
    let mut config = Config::default();
    config.p2p.metrics_interval_ms = 2000;
    let mut machine = playing_with(&config);
    assert_eq!(measure(&mut machine, 0..7, 0.0).0, [0, 2, 4, 6]);
}

#[test]
fn a_level_is_told_once_with_its_path_however_seldom_the_numbers_are() {
    let mut machine = quiet();
    assert!(measure(&mut machine, 0..30, 0.5).1.is_empty());
    let (_, events) = measure(&mut machine, 30..90, 4.0);
    let expected = Event::LevelChanged {
        figure: Figure::LossToEndpoint,
        from: Level::Good,
        to: Level::Fair,
        value: 4.0,
        path: Some(PathKind::Direct),
    };
    assert_eq!(events, [expected]);
    let json = serde_json::to_value(&events[0]).unwrap();
    assert_eq!(json["event"], "level-changed");
    assert_eq!(json["figure"], "loss-to-endpoint");
    assert_eq!(json["to"], "fair");
}

#[test]
fn a_new_play_begins_with_every_level_good() {
    let mut machine = quiet();
    assert_eq!(measure(&mut machine, 0..10, 20.0).1.len(), 1);
    machine.on_command(NOW, Command::Stop);
    drain(&mut machine);
    assert!(
        measure(&mut machine, 10..20, 20.0).0.is_empty(),
        "nothing is played"
    );
    start(&mut machine);
    drain(&mut machine);
    let (told, events) = measure(&mut machine, 20..30, 20.0);
    assert_eq!((told, events.len()), (vec![20, 25], 1));
}
