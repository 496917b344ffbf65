//! A lost link is got again while game clients are kept.

use super::*;

const LINK: LinkId = LinkId::CHOSEN;

fn closed(reason: CloseReason) -> Outcome {
    Outcome::Link {
        link: LINK,
        event: LinkEvent::Closed(reason),
    }
}

fn state(state: LinkState, path: Option<PathKind>) -> Outcome {
    Outcome::Link {
        link: LINK,
        event: LinkEvent::State {
            state,
            path,
            reason: None,
        },
    }
}

fn failed(code: ProblemCode) -> Outcome {
    Outcome::LinkFailed {
        link: LINK,
        problem: Problem::new(code, "prontera"),
    }
}

fn joined(grant: Box<SessionGrant>) -> Outcome {
    Outcome::Joined { link: LINK, grant }
}

fn rejoin(zone: &str) -> Effect {
    let zone = zone.into();
    Effect::Rejoin { zone }
}

/// A client is on a map of the chosen zone.
fn with_client(config: &Config) -> Machine {
    let mut machine = playing_with(config);
    let map = "prontera".into();
    machine.on_outcome(
        NOW,
        Outcome::MapChanged {
            client: Some(1),
            map,
        },
    );
    machine.on_outcome(NOW, state(LinkState::Connected, Some(PathKind::Direct)));
    drain(&mut machine);
    machine
}

/// One whose link has just been lost.
fn lost(config: &Config) -> Machine {
    let mut machine = with_client(config);
    machine.on_outcome(NOW, closed(CloseReason::Lost));
    let effects = drain(&mut machine);
    assert!(effects.contains(&CLOSE_CHOSEN), "{effects:?}");
    assert_eq!(effects.last(), Some(&rejoin("prontera")));
    assert!(!effects.contains(&Effect::CloseBridge));
    assert_eq!(problems(&effects), []);
    assert_eq!(machine.snapshot().state, LinkState::Reconnecting);
    machine
}

#[test]
fn a_lost_link_is_joined_again_under_the_open_bridge() {
    let mut machine = lost(&Config::default());
    machine.on_outcome(NOW, joined(grant()));
    let open = Effect::OpenLink {
        link: LINK,
        grant: grant(),
    };
    assert_eq!(drain(&mut machine), [open]);
    machine.on_outcome(NOW, state(LinkState::Connected, Some(PathKind::Wss)));
    machine.on_outcome(NOW, Outcome::LinkReady { link: LINK });
    let effects = drain(&mut machine);
    assert!(
        !effects
            .iter()
            .any(|effect| matches!(effect, Effect::OpenBridge { .. })),
        "{effects:?}"
    );
    assert_eq!(machine.snapshot().state, LinkState::Connected);
    // Nothing is left of it: an hour later all is as it was.
    machine.on_time(NOW + Duration::from_secs(3600));
    assert_eq!(problems(&drain(&mut machine)), []);
}

#[test]
fn a_link_is_joined_again_also_where_no_client_can_be_kept() {
    // A player at the sign-in or the choice of a character, and one whose clients are not signed in again.
    let mut off = Config::default();
    off.bridge.reentry = false;
    for mut machine in [playing(), with_client(&off)] {
        machine.on_outcome(NOW, closed(CloseReason::Lost));
        let effects = drain(&mut machine);
        assert_eq!(effects.last(), Some(&rejoin("prontera")));
        let ends =
            |effect: &Effect| matches!(effect, Effect::CloseBridge | Effect::StopGame { .. });
        assert!(!effects.iter().any(ends), "{effects:?}");
        machine.on_outcome(NOW, joined(grant()));
        machine.on_outcome(NOW, state(LinkState::Connected, Some(PathKind::Wss)));
        assert_eq!(machine.snapshot().state, LinkState::Connected);
    }
}

#[test]
fn the_coordinator_is_asked_until_the_time_is_over() {
    let mut machine = lost(&Config::default());
    let mut now = NOW;
    let mut pauses = Vec::new();
    let effects = loop {
        machine.on_outcome(now, failed(ProblemCode::CoordinatorUnreachable));
        let next = machine.next_time().unwrap();
        pauses.push((next - now).as_millis());
        now = next;
        machine.on_time(now);
        let effects = drain(&mut machine);
        if effects != [rejoin("prontera")] {
            break effects;
        }
    };
    assert_eq!(pauses[..5], [250, 500, 1000, 2000, 2000]);
    assert_eq!(now, NOW + Duration::from_secs(45));
    assert_eq!(problems(&effects), [ProblemCode::LinkLost]);
    assert!(effects.contains(&Effect::CloseBridge));
    assert!(effects.contains(&Effect::Emit(Event::Stopped)));
    // A grant that comes after all is given back.
    machine.on_outcome(now, joined(grant()));
    assert_eq!(drain(&mut machine), [CLOSE_CHOSEN]);
}

#[test]
fn a_link_that_is_lost_again_before_it_carries_is_got_once_more() {
    let mut machine = lost(&Config::default());
    // The old link says once more that it is lost.
    machine.on_outcome(NOW, closed(CloseReason::Lost));
    assert_eq!(drain(&mut machine), []);
    machine.on_outcome(NOW, joined(grant()));
    drain(&mut machine);
    machine.on_outcome(NOW, closed(CloseReason::Lost));
    assert!(drain(&mut machine).contains(&CLOSE_CHOSEN));
    let next = machine.next_time().unwrap();
    machine.on_time(next);
    assert_eq!(drain(&mut machine), [rejoin("prontera")]);
}

#[test]
fn a_zone_that_is_gone_has_its_fallback() {
    let mut other = grant();
    other.zone.zone.zone_id = "other".into();
    for (fallback, expected) in [(Some("other"), true), (None, false)] {
        let mut machine = with_client(&Config::default());
        if let Play::Playing { zone } = &mut machine.play {
            zone.zone.fallback_zone = fallback.map(str::to_owned);
        }
        machine.on_outcome(NOW, closed(CloseReason::Peer(2)));
        drain(&mut machine);
        machine.on_outcome(NOW, failed(ProblemCode::UnknownZone));
        let effects = drain(&mut machine);
        assert_eq!(effects == [rejoin("other")], expected, "{effects:?}");
        if expected {
            machine.on_outcome(NOW, joined(other.clone()));
            machine.on_outcome(NOW, state(LinkState::Connected, Some(PathKind::Wss)));
            assert_eq!(machine.play.zone(), Some("other"));
        } else {
            let told = [ProblemCode::UnknownZone, ProblemCode::LinkLost];
            assert_eq!(problems(&effects), told);
        }
    }
}

/// A client on a map of a zone that names this fallback.
fn with_fallback(fallback: Option<&str>) -> Machine {
    with_fallback_in(&Config::default(), fallback)
}

fn with_fallback_in(config: &Config, fallback: Option<&str>) -> Machine {
    let mut machine = with_client(config);
    if let Play::Playing { zone } = &mut machine.play {
        zone.zone.fallback_zone = fallback.map(str::to_owned);
    }
    machine
}

fn away() -> Outcome {
    Outcome::ServersAway { client: Some(1) }
}

/// One that was taken to "other", which names `fallback` in turn.
fn in_the_other(fallback: Option<&str>) -> Machine {
    let mut machine = with_fallback(Some("other"));
    machine.on_outcome(NOW, away());
    let mut other = grant();
    other.zone.zone.zone_id = "other".into();
    other.zone.zone.fallback_zone = fallback.map(str::to_owned);
    machine.on_outcome(NOW, joined(other));
    machine.on_outcome(NOW, state(LinkState::Connected, Some(PathKind::Wss)));
    assert_eq!(machine.play.zone(), Some("other"));
    drain(&mut machine);
    machine
}

#[test]
fn a_zone_whose_servers_are_all_away_is_left_for_its_fallback() {
    let mut machine = with_fallback(Some("other"));
    machine.on_outcome(NOW, away());
    let effects = drain(&mut machine);
    assert!(effects.contains(&CLOSE_CHOSEN), "{effects:?}");
    assert_eq!(effects.last(), Some(&rejoin("other")));
    assert!(!effects.contains(&Effect::CloseBridge));
    assert_eq!(problems(&effects), []);
    // Every client says so; and the old link may have something to say still.
    machine.on_outcome(NOW, away());
    machine.on_outcome(NOW, state(LinkState::Connected, Some(PathKind::Wss)));
    assert_eq!(rejoins(&drain(&mut machine)), 0);
    let mut other = grant();
    other.zone.zone.zone_id = "other".into();
    machine.on_outcome(NOW, joined(other.clone()));
    let open = Effect::OpenLink {
        link: LINK,
        grant: other,
    };
    assert_eq!(drain(&mut machine), [open]);
    machine.on_outcome(NOW, state(LinkState::Connected, Some(PathKind::Wss)));
    assert_eq!(machine.play.zone(), Some("other"));
    assert_eq!(machine.snapshot().zone.as_deref(), Some("other"));
    machine.on_time(NOW + Duration::from_secs(3600));
    assert_eq!(problems(&drain(&mut machine)), []);
}

fn rejoins(effects: &[Effect]) -> usize {
    let rejoins = effects.iter();
    rejoins
        .filter(|effect| matches!(effect, Effect::Rejoin { .. }))
        .count()
}

#[test]
fn a_zone_is_not_left_where_nothing_or_somebody_else_would_be_lost_by_it() {
    let ignored = |mut machine: Machine| {
        machine.on_outcome(NOW, away());
        assert_eq!(drain(&mut machine), []);
    };
    // No fallback, and one that switched re-entry off.
    ignored(with_fallback(None));
    let mut off = Config::default();
    off.bridge.reentry = false;
    ignored(with_fallback_in(&off, Some("other")));
    // Without a path nobody knows of the servers.
    let mut machine = with_fallback(Some("other"));
    machine.on_outcome(NOW, state(LinkState::Reconnecting, None));
    drain(&mut machine);
    ignored(machine);
    let mut machine = with_fallback(Some("other"));
    machine.on_outcome(NOW, closed(CloseReason::Lost));
    assert_eq!(drain(&mut machine).last(), Some(&rejoin("prontera")));
    ignored(machine);
    // Another client plays on.
    let mut machine = with_fallback(Some("other"));
    let stream = |number, client| MapStream {
        number,
        client: Some(client),
        link: LINK,
    };
    machine.set_streams(vec![stream(1, 1), stream(2, 2)]);
    machine.on_outcome(NOW, away());
    assert_eq!(drain(&mut machine), []);
    machine.set_streams(vec![stream(1, 1)]);
    machine.on_outcome(NOW, away());
    assert_eq!(drain(&mut machine).last(), Some(&rejoin("other")));
}

#[test]
fn two_zones_without_servers_are_not_gone_between() {
    let seconds = Duration::from_secs;
    for (at, back) in [
        (NOW, false),
        (NOW + seconds(8), false),
        (NOW + seconds(44), false),
        // Another loss, later.
        (NOW + seconds(45), true),
    ] {
        let mut machine = in_the_other(Some("prontera"));
        machine.on_outcome(at, away());
        assert_eq!(rejoins(&drain(&mut machine)) > 0, back, "{at:?}");
    }
    // What was said of the first zone is not taken for the second's.
    for (at, on) in [(NOW + seconds(7), false), (NOW + seconds(8), true)] {
        let mut machine = in_the_other(Some("third"));
        machine.on_outcome(at, away());
        assert_eq!(rejoins(&drain(&mut machine)) > 0, on, "{at:?}");
    }
    // Nor is one that was closed gone back to.
    let mut machine = with_fallback(Some("other"));
    machine.on_outcome(NOW, closed(CloseReason::Peer(2)));
    machine.on_outcome(NOW, failed(ProblemCode::ZoneClosed));
    let mut other = grant();
    other.zone.zone.zone_id = "other".into();
    other.zone.zone.fallback_zone = Some("prontera".into());
    machine.on_outcome(NOW, joined(other));
    machine.on_outcome(NOW, state(LinkState::Connected, Some(PathKind::Wss)));
    drain(&mut machine);
    machine.on_outcome(NOW + seconds(8), away());
    assert_eq!(drain(&mut machine), []);
}

#[test]
fn a_fallback_that_cannot_be_joined_ends_play_with_both_reasons() {
    let mut machine = with_fallback(Some("other"));
    machine.on_outcome(NOW, away());
    drain(&mut machine);
    machine.on_outcome(NOW, failed(ProblemCode::UnknownZone));
    let effects = drain(&mut machine);
    let told = [ProblemCode::UnknownZone, ProblemCode::GameServerUnreachable];
    assert_eq!(problems(&effects), told);
    assert!(effects.contains(&Effect::CloseBridge));
    // One that cannot be reached is asked for until the time is over.
    let mut machine = with_fallback(Some("other"));
    let mut now = NOW;
    machine.on_outcome(now, away());
    assert_eq!(drain(&mut machine).last(), Some(&rejoin("other")));
    let effects = loop {
        machine.on_outcome(now, failed(ProblemCode::EndpointUnreachable));
        now = machine.next_time().unwrap();
        machine.on_time(now);
        let effects = drain(&mut machine);
        if effects != [rejoin("other")] {
            break effects;
        }
    };
    assert_eq!(now, NOW + Duration::from_secs(45));
    assert_eq!(problems(&effects), [ProblemCode::GameServerUnreachable]);
}

#[test]
fn the_time_for_servers_to_come_back_is_well_below_that_of_a_reentry() {
    let away = |seconds| servers_away(Duration::from_secs(seconds)).as_secs();
    assert_eq!([45, 300, 20, 4].map(away), [8, 8, 5, 1]);
}

#[test]
fn what_cannot_come_back_ends_at_once() {
    let untrusted = closed(CloseReason::Untrusted);
    let revoked = closed(CloseReason::Peer(u64::from(
        warp_protocol::stream::reset::DEVICE_REVOKED,
    )));
    let banned = closed(CloseReason::Peer(u64::from(
        warp_protocol::stream::reset::BANNED,
    )));
    for (outcome, code) in [
        (untrusted, ProblemCode::EndpointUntrusted),
        (revoked, ProblemCode::DeviceRevoked),
        (banned, ProblemCode::Banned),
    ] {
        let mut machine = with_client(&Config::default());
        machine.on_outcome(NOW, outcome);
        assert_eq!(problems(&drain(&mut machine)), [code]);
    }
    let mut machine = lost(&Config::default());
    machine.on_outcome(NOW, failed(ProblemCode::DeviceRevoked));
    let told = [ProblemCode::DeviceRevoked, ProblemCode::LinkLost];
    assert_eq!(problems(&drain(&mut machine)), told);
    // Stopped meanwhile.
    let mut machine = lost(&Config::default());
    machine.on_command(NOW, Command::Stop);
    assert!(drain(&mut machine).contains(&Effect::CloseBridge));
    assert_eq!(machine.rejoin_next(), None);
}
