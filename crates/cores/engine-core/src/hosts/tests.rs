use proptest::prelude::*;
use warp_protocol::carrier::PathKind;
use warp_protocol::identity::PublicKey;

use super::*;

const TRIES: Tries = Tries {
    attempts: 3,
    delay: Duration::from_millis(250),
};
const T0: Duration = Duration::from_secs(10);

fn offer(host: u8, epoch: u32) -> HostOffer {
    HostOffer {
        way: PathKind::Host,
        host_id: format!("host-{host}"),
        peer_id: format!("peer-{host}"),
        epoch,
        device_key: PublicKey::from_raw([host; 32]),
        certificate: String::new(),
    }
}

fn report(host: u8, epoch: u32, verdict: HostVerdict) -> WayAction {
    WayAction::Report {
        host_id: format!("host-{host}"),
        epoch,
        verdict,
    }
}

/// Goes to the deadline and gives what is to be done then.
fn at_deadline(way: &mut HostWay) -> (Duration, Vec<WayAction>) {
    let at = way.deadline().unwrap();
    way.on_time(at);
    (at, way.drain())
}

fn connected(now: Duration) -> HostWay {
    let mut way = HostWay::new(TRIES);
    way.told(now, Some(offer(1, 1)), 0.0);
    assert_eq!(at_deadline(&mut way).1, [WayAction::Connect(offer(1, 1))]);
    way.opened(now);
    way
}

#[test]
fn a_host_is_connected_to_after_a_pause_by_chance() {
    let mut way = HostWay::new(TRIES);
    assert_eq!(way.deadline(), None);
    way.told(T0, Some(offer(1, 1)), 0.5);
    assert_eq!(way.deadline(), Some(T0 + STAMPEDE / 2));
    way.on_time(T0);
    assert!(way.drain().is_empty(), "not yet");
    assert_eq!(at_deadline(&mut way).1, [WayAction::Connect(offer(1, 1))]);
}

#[test]
fn tries_that_fail_are_told_after_the_configured_number() {
    let mut way = HostWay::new(TRIES);
    way.told(T0, Some(offer(1, 1)), 0.0);
    let mut now = T0;
    for _ in 1..TRIES.attempts {
        assert_eq!(at_deadline(&mut way).1, [WayAction::Connect(offer(1, 1))]);
        way.failed(now);
        assert!(way.drain().is_empty());
        assert_eq!(way.deadline(), Some(now + TRIES.delay));
        now += TRIES.delay;
    }
    at_deadline(&mut way);
    way.failed(now);
    assert_eq!(way.drain(), [report(1, 1, HostVerdict::Unreachable)]);
    assert_eq!(way.deadline(), Some(now + REST));
}

#[test]
fn another_host_takes_the_place_and_a_new_epoch_keeps_the_connection() {
    let mut way = connected(T0);
    way.told(T0, Some(offer(1, 2)), 0.5);
    assert!(way.drain().is_empty());
    assert_eq!(way.host().map(|host| host.epoch), Some(2));
    way.told(T0, Some(offer(2, 3)), 0.0);
    assert_eq!(way.drain(), [WayAction::Disconnect]);
    assert_eq!(at_deadline(&mut way).1, [WayAction::Connect(offer(2, 3))]);
    way.told(T0, None, 0.0);
    assert_eq!(way.drain(), [WayAction::Disconnect]);
    assert_eq!(way.deadline(), None);
    // What was being made is of no use any more, whatever came of it.
    way.opened(T0);
    assert_eq!(way.deadline(), None);
}

#[test]
fn silence_is_told_and_the_connection_made_anew() {
    let mut way = connected(T0);
    way.lost(T0, true);
    assert_eq!(
        way.drain(),
        [report(1, 1, HostVerdict::Silent), WayAction::Disconnect]
    );
    let (at, actions) = at_deadline(&mut way);
    assert_eq!(at, T0 + TRIES.delay);
    assert_eq!(actions, [WayAction::Connect(offer(1, 1))]);
}

#[test]
fn a_host_that_alters_is_left_until_another_is_named() {
    let mut way = connected(T0);
    way.tampered(T0);
    assert_eq!(
        way.drain(),
        [report(1, 1, HostVerdict::Tampering), WayAction::Disconnect]
    );
    way.told(T0, Some(offer(1, 1)), 0.0);
    // The coordinator may not have heard it.
    for n in 1..4 {
        let (at, actions) = at_deadline(&mut way);
        assert_eq!(at, T0 + TELL * n);
        assert_eq!(actions, [report(1, 1, HostVerdict::Tampering)]);
    }
    way.told(T0, Some(offer(2, 2)), 0.0);
    assert_eq!(at_deadline(&mut way).1, [WayAction::Connect(offer(2, 2))]);
}

#[test]
fn a_host_that_carries_is_told_of_again_and_again() {
    let mut way = connected(T0);
    for n in 1..4 {
        let (at, actions) = at_deadline(&mut way);
        assert_eq!(at, T0 + TELL * n);
        assert_eq!(actions, [report(1, 1, HostVerdict::Good)]);
    }
}

#[test]
fn a_host_is_not_blamed_while_nothing_else_carries() {
    let mut way = connected(T0);
    way.lost(T0, false);
    assert_eq!(way.drain(), [WayAction::Disconnect]);
    let (at, actions) = at_deadline(&mut way);
    assert_eq!(at, T0 + TRIES.delay);
    assert_eq!(actions, [WayAction::Connect(offer(1, 1))]);
}

#[test]
fn another_network_makes_the_connection_anew_at_once() {
    let mut way = connected(T0);
    way.network_changed(T0 + TELL / 2);
    assert_eq!(way.drain(), [WayAction::Disconnect]);
    let (at, actions) = at_deadline(&mut way);
    assert_eq!(at, T0 + TELL / 2);
    assert_eq!(actions, [WayAction::Connect(offer(1, 1))]);
    let mut none = HostWay::new(TRIES);
    none.network_changed(T0);
    assert_eq!(none.deadline(), None);
}

#[derive(Debug, Clone)]
enum Step {
    Told(Option<(u8, u32)>),
    Opened,
    Failed,
    Lost(bool),
    Tampered,
    Network,
    Time(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        prop::option::of((1u8..4, 1u32..5)).prop_map(Step::Told),
        Just(Step::Opened),
        Just(Step::Failed),
        any::<bool>().prop_map(Step::Lost),
        Just(Step::Tampered),
        Just(Step::Network),
        (0u64..40_000).prop_map(Step::Time),
    ]
}

proptest! {
    /// At no time are there two connections, or one to a host that is not the present one.
    #[test]
    fn there_is_one_connection_at_most_and_to_the_present_host(
        steps in prop::collection::vec(step(), 1..200),
    ) {
        let mut way = HostWay::new(TRIES);
        let mut now = T0;
        let mut connection: Option<String> = None;
        for step in steps {
            match step {
                Step::Told(told) => {
                    way.told(now, told.map(|(host, epoch)| offer(host, epoch)), 0.3);
                }
                // A shell answers only for what it was asked for.
                Step::Opened => if connection.is_some() { way.opened(now) },
                Step::Failed => {
                    if connection.is_some() && way.stage == Stage::Opening {
                        way.failed(now);
                        connection = None;
                    }
                }
                Step::Lost(others) => way.lost(now, others),
                Step::Tampered => way.tampered(now),
                Step::Network => way.network_changed(now),
                Step::Time(ms) => {
                    now += Duration::from_millis(ms);
                    way.on_time(now);
                }
            }
            for action in way.drain() {
                match action {
                    WayAction::Connect(offer) => {
                        prop_assert!(connection.is_none(), "two connections");
                        connection = Some(offer.host_id);
                    }
                    WayAction::Disconnect => {
                        prop_assert!(connection.is_some(), "nothing to close");
                        connection = None;
                    }
                    WayAction::Report { .. } => {}
                }
            }
            let host = way.host().map(|host| host.host_id.clone());
            if connection.is_some() {
                prop_assert_eq!(&connection, &host);
            }
        }
    }
}
