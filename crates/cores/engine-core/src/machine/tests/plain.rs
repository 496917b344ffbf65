//! The last resort: plain TCP from here.

use super::*;
use warp_protocol::zone::PlainTcp;

const LINK: LinkId = LinkId::CHOSEN;

/// The zone, which may be played past its endpoint.
fn open_zone() -> ZoneView {
    let mut view = zone();
    let address = |port: u16| SocketAddr::from(([192, 0, 2, 7], port));
    view.zone.plain_tcp = Some(PlainTcp {
        login: address(6900),
        char: vec![address(6121)],
        map: vec![address(5121)],
    });
    view
}

fn play(machine: &mut Machine) {
    let play = Command::Play {
        zone: "prontera".into(),
        launch: false,
    };
    machine.on_command(NOW, play);
    drain(machine);
}

fn failed(machine: &mut Machine, code: ProblemCode) -> Vec<Effect> {
    let problem = Problem::new(code, "prontera").with_detail("nobody answered");
    machine.on_outcome(
        NOW,
        Outcome::LinkFailed {
            link: LINK,
            problem,
        },
    );
    drain(machine)
}

/// The zone that is opened past its endpoint.
fn opened(effects: &[Effect]) -> Option<&ZoneView> {
    assert!(effects.contains(&CLOSE_CHOSEN), "{effects:?}");
    effects.iter().find_map(|effect| match effect {
        Effect::OpenPlain { zone, .. } => Some(&**zone),
        _ => None,
    })
}

fn told(effects: &[Effect]) -> Option<&str> {
    effects.iter().find_map(|effect| match effect {
        Effect::Emit(Event::Problem { problem }) if problem.code == ProblemCode::PlainTcp => {
            problem.detail.as_deref()
        }
        _ => None,
    })
}

#[test]
fn a_link_without_a_path_becomes_plain_tcp_and_the_bridge_learns_its_addresses() {
    let mut machine = signed_in();
    play(&mut machine);
    let grant = Box::new(SessionGrant {
        zone: open_zone(),
        ..*grant()
    });
    machine.on_outcome(NOW, Outcome::Joined { link: LINK, grant });
    drain(&mut machine);
    let effects = failed(&mut machine, ProblemCode::NoPath);
    let game = open_zone().zone.plain_game().unwrap();
    assert_eq!(opened(&effects).map(|view| &view.zone.game), Some(&game));
    assert_eq!(told(&effects), Some("no-path: nobody answered"));
    machine.on_outcome(NOW, Outcome::LinkReady { link: LINK });
    let effects = drain(&mut machine);
    assert!(
        effects
            .iter()
            .any(|effect| matches!(effect, Effect::OpenBridge { zone } if zone.zone.game == game)),
        "{effects:?}"
    );
}

#[test]
fn without_a_coordinator_the_zone_of_the_list_is_played() {
    for code in [
        ProblemCode::CoordinatorUnreachable,
        ProblemCode::EndpointUnreachable,
    ] {
        let mut machine = signed_in();
        machine.on_outcome(NOW, Outcome::Zones(vec![open_zone()]));
        play(&mut machine);
        let effects = failed(&mut machine, code);
        assert!(opened(&effects).is_some(), "{effects:?}");
        // It fails too: that is the end, and not once more.
        let effects = failed(&mut machine, ProblemCode::NoPath);
        assert_eq!(problems(&effects), [ProblemCode::NoPath]);
        assert_eq!(machine.snapshot().state, LinkState::Disconnected);
        // The next play begins anew.
        play(&mut machine);
        assert!(opened(&failed(&mut machine, code)).is_some());
    }
}

#[test]
fn a_refusal_that_comes_before_the_list_of_zones_waits_for_it() {
    // The list is on its way after signing in.
    let code = ProblemCode::EndpointUnreachable;
    let mut machine = signed_in();
    play(&mut machine);
    assert_eq!(failed(&mut machine, code), []);
    machine.on_outcome(NOW, Outcome::Zones(vec![open_zone()]));
    assert!(opened(&drain(&mut machine)).is_some());

    // The list does not have it, or does not come.
    let no_list = Outcome::Failed(Problem::new(ProblemCode::CoordinatorUnreachable, "zones"));
    for (list, told) in [
        (Outcome::Zones(vec![zone()]), vec![code]),
        (no_list, vec![ProblemCode::CoordinatorUnreachable, code]),
    ] {
        let mut machine = signed_in();
        play(&mut machine);
        failed(&mut machine, code);
        machine.on_outcome(NOW, list);
        assert_eq!(problems(&drain(&mut machine)), told);
        assert_eq!(machine.snapshot().state, LinkState::Disconnected);
    }

    // Stopped meanwhile: the list changes nothing any more.
    let mut machine = signed_in();
    play(&mut machine);
    failed(&mut machine, code);
    machine.on_command(NOW, Command::Stop);
    drain(&mut machine);
    machine.on_outcome(NOW, Outcome::Zones(vec![open_zone()]));
    assert!(opened_none(&drain(&mut machine)));
}

fn opened_none(effects: &[Effect]) -> bool {
    !effects
        .iter()
        .any(|effect| matches!(effect, Effect::OpenPlain { .. } | Effect::CloseLink { .. }))
}

#[test]
fn nothing_is_dialled_that_zone_configuration_or_coordinator_forbid() {
    let mut without = Config::default();
    without.p2p.paths.retain(|path| *path != PathKind::Tcp);
    let cases = [
        (Config::default(), zone(), ProblemCode::NoPath),
        (without, open_zone(), ProblemCode::NoPath),
        (Config::default(), open_zone(), ProblemCode::ZoneClosed),
        (Config::default(), open_zone(), ProblemCode::Banned),
        (
            Config::default(),
            open_zone(),
            ProblemCode::EndpointUntrusted,
        ),
        (
            Config::default(),
            open_zone(),
            ProblemCode::CoordinatorKeyChanged,
        ),
    ];
    for (config, zone, code) in cases {
        let mut machine = signed_in_with(&config);
        machine.on_outcome(NOW, Outcome::Zones(vec![zone]));
        play(&mut machine);
        let effects = failed(&mut machine, code);
        assert_eq!(problems(&effects), [code]);
        assert_eq!(machine.snapshot().state, LinkState::Disconnected);
    }
}

#[test]
fn a_play_over_plain_tcp_is_not_joined_again() {
    let mut machine = signed_in();
    machine.on_outcome(NOW, Outcome::Zones(vec![open_zone()]));
    play(&mut machine);
    failed(&mut machine, ProblemCode::EndpointUnreachable);
    machine.on_outcome(NOW, Outcome::LinkReady { link: LINK });
    machine.on_outcome(NOW, Outcome::BridgeReady("127.0.0.1:6900".parse().unwrap()));
    let map = "prontera".into();
    let client = Some(1);
    machine.on_outcome(NOW, Outcome::MapChanged { client, map });
    drain(&mut machine);
    let event = LinkEvent::Closed(CloseReason::Protocol);
    machine.on_outcome(NOW, Outcome::Link { link: LINK, event });
    let effects = drain(&mut machine);
    assert_eq!(problems(&effects), [ProblemCode::LinkLost]);
    assert!(effects.contains(&Effect::CloseBridge));
}
