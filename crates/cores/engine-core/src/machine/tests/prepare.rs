//! Paths that are opened before Play; choices by hand; what only staff may.

use super::*;
use crate::config::RedundantSending;
use crate::machine::prepare::HOLD;
use crate::staff::StaffAsk;

fn prepare(machine: &mut Machine, zone: Option<&str>) -> Vec<Effect> {
    let zone = zone.map(str::to_owned);
    machine.on_command(NOW, Command::Prepare { zone });
    drain(machine)
}

fn told(effects: &[Effect]) -> Vec<(LinkState, bool)> {
    let each = effects.iter().filter_map(|effect| match effect {
        Effect::Emit(Event::Prepared { state, problem, .. }) => Some((*state, problem.is_some())),
        _ => None,
    });
    each.collect()
}

fn joins(effects: &[Effect]) -> usize {
    let joins = effects
        .iter()
        .filter(|effect| matches!(effect, Effect::Join { .. }));
    joins.count()
}

/// The link is there.
fn prepared() -> Machine {
    let mut machine = signed_in();
    let effects = prepare(&mut machine, Some("prontera"));
    assert_eq!((joins(&effects), told(&effects).len()), (1, 1));
    let link = LinkId::CHOSEN;
    machine.on_outcome(
        NOW,
        Outcome::Joined {
            link,
            grant: grant(),
        },
    );
    let effects = drain(&mut machine);
    assert!(
        matches!(effects.as_slice(), [Effect::OpenLink { .. }]),
        "{effects:?}"
    );
    let event = LinkEvent::State {
        state: LinkState::Connected,
        path: Some(PathKind::Wss),
        reason: Some(SwitchReason::First),
    };
    machine.on_outcome(NOW, Outcome::Link { link, event });
    machine.on_outcome(NOW, Outcome::LinkReady { link });
    assert_eq!(told(&drain(&mut machine)), [(LinkState::Connected, false)]);
    assert!(machine.is_preparing());
    machine
}

#[test]
fn play_takes_over_what_was_prepared_at_once() {
    let mut machine = prepared();
    let play = Command::Play {
        zone: "prontera".into(),
        launch: false,
    };
    machine.on_command(NOW, play);
    let effects = drain(&mut machine);
    assert_eq!(joins(&effects), 0, "{effects:?}");
    let bridge = |effect: &Effect| matches!(effect, Effect::OpenBridge { .. });
    assert!(effects.iter().any(bridge), "{effects:?}");
    assert_eq!(machine.snapshot().state, LinkState::Connected);
    assert_eq!(machine.snapshot().path, Some(PathKind::Wss));
    assert!(!machine.is_preparing());
}

#[test]
fn play_takes_over_at_any_step() {
    let link = LinkId::CHOSEN;
    let mut machine = signed_in();
    prepare(&mut machine, Some("prontera"));
    let play = Command::Play {
        zone: "prontera".into(),
        launch: false,
    };
    machine.on_command(NOW, play);
    assert_eq!(joins(&drain(&mut machine)), 0, "it is being asked for");
    let grant = grant();
    machine.on_outcome(NOW, Outcome::Joined { link, grant });
    let effects = drain(&mut machine);
    assert!(
        effects
            .iter()
            .any(|one| matches!(one, Effect::OpenLink { .. }))
    );
    machine.on_outcome(NOW, Outcome::LinkReady { link });
    let effects = drain(&mut machine);
    assert!(
        effects
            .iter()
            .any(|one| matches!(one, Effect::OpenBridge { .. }))
    );
}

#[test]
fn another_zone_the_time_and_signing_out_close_it() {
    let mut machine = prepared();
    let effects = prepare(&mut machine, Some("geffen"));
    let close = effects.iter().position(|one| *one == CLOSE_CHOSEN).unwrap();
    let join = |one: &Effect| matches!(one, Effect::Join { .. });
    assert!(close < effects.iter().position(join).unwrap());

    let mut machine = prepared();
    let play = Command::Play {
        zone: "geffen".into(),
        launch: false,
    };
    machine.on_command(NOW, play);
    let effects = drain(&mut machine);
    assert!(
        effects.contains(&CLOSE_CHOSEN) && joins(&effects) == 1,
        "{effects:?}"
    );

    let mut machine = prepared();
    assert_eq!(machine.next_time(), Some(NOW + HOLD));
    machine.on_command(
        NOW + HOLD / 2,
        Command::Prepare {
            zone: Some("prontera".into()),
        },
    );
    machine.on_time(NOW + HOLD);
    assert!(machine.is_preparing(), "it was asked for again meanwhile");
    machine.on_time(NOW + HOLD + HOLD / 2);
    let effects = drain(&mut machine);
    assert!(effects.contains(&CLOSE_CHOSEN));
    assert_eq!(told(&effects), [(LinkState::Disconnected, false)]);

    for command in [Command::SignOut, Command::LeaveAccount, Command::Quit] {
        let mut machine = prepared();
        machine.on_command(NOW, command);
        assert!(drain(&mut machine).contains(&CLOSE_CHOSEN));
        assert!(!machine.is_preparing());
    }
}

#[test]
fn what_goes_wrong_beforehand_is_told_with_the_zone_and_is_no_problem() {
    let mut machine = signed_in();
    prepare(&mut machine, Some("prontera"));
    machine.on_outcome(
        NOW,
        Outcome::LinkFailed {
            link: LinkId::CHOSEN,
            problem: Problem::new(ProblemCode::ZoneClosed, "prontera"),
        },
    );
    let effects = drain(&mut machine);
    assert_eq!(problems(&effects), []);
    assert_eq!(told(&effects), [(LinkState::Disconnected, true)]);
    assert!(!machine.is_preparing());
    // Without an account, and while something is played, nothing is prepared.
    assert_eq!(prepare(&mut self::machine(), Some("prontera")), []);
    let mut played = playing();
    drain(&mut played);
    assert_eq!(prepare(&mut played, Some("prontera")), []);
    // A session that ends before Play is no news.
    let mut machine = prepared();
    machine.on_outcome(
        NOW,
        Outcome::Told(Event::SessionEnded {
            zone: "prontera".into(),
            reason: warp_protocol::signal::EndedReason::Unused,
            code: ProblemCode::UnknownSession,
        }),
    );
    assert_eq!(drain(&mut machine), []);
}

#[test]
fn a_path_by_hand_and_redundancy_go_to_the_shell_and_debug_ends_by_itself() {
    let line = |line: &str| Command::Console { line: line.into() };
    let mut machine = playing();
    drain(&mut machine);
    machine.on_command(NOW, line("/p2p use wss"));
    let effects = drain(&mut machine);
    let [Effect::UsePath { path, links, .. }] = effects.as_slice() else {
        panic!("{effects:?}");
    };
    assert_eq!(
        (*path, links.as_slice()),
        (Some(PathKind::Wss), [LinkId::CHOSEN].as_slice())
    );
    machine.on_command(NOW, line("/p2p redundant always"));
    let effects = drain(&mut machine);
    assert!(matches!(
        effects.as_slice(),
        [Effect::SetRedundancy {
            mode: RedundantSending::Always,
            ..
        }]
    ));

    machine.on_command(NOW, line("/p2p debug on 10"));
    assert!(drain(&mut machine).contains(&Effect::SetDebug(true)));
    assert!(machine.snapshot().debug);
    let end = NOW + Duration::from_secs(600);
    machine.on_time(end - Duration::from_secs(1));
    assert!(!drain(&mut machine).contains(&Effect::SetDebug(false)));
    assert!(machine.next_time().is_some_and(|next| next <= end));
    machine.on_time(end);
    assert!(drain(&mut machine).contains(&Effect::SetDebug(false)));
    assert!(!machine.snapshot().debug);
    // Switched on without an end it stays.
    machine.on_command(NOW, line("/p2p debug on"));
    machine.on_time(end + end);
    assert!(machine.snapshot().debug);
}

#[test]
fn packets_are_shown_only_after_the_coordinator_has_said_so() {
    let mut machine = playing();
    drain(&mut machine);
    let packets = || Outcome::Packets {
        packets: Vec::new(),
        dropped: 1,
    };
    machine.on_outcome(NOW, packets());
    assert_eq!(drain(&mut machine), [], "nobody has asked");
    machine.on_command(NOW, Command::Inspect { on: true });
    assert_eq!(drain(&mut machine), [Effect::Inspect { on: true }]);
    let problem = Problem::new(ProblemCode::Forbidden, "links");
    machine.on_outcome(NOW, Outcome::NotInspecting(problem));
    let effects = drain(&mut machine);
    assert_eq!(problems(&effects), [ProblemCode::Forbidden]);
    assert!(effects.contains(&Effect::Emit(Event::Inspecting { on: false })));
    machine.on_outcome(NOW, packets());
    assert_eq!(drain(&mut machine), []);

    machine.on_command(NOW, Command::Inspect { on: true });
    machine.on_outcome(NOW, Outcome::Inspecting(true));
    machine.on_outcome(NOW, packets());
    assert_eq!(drain(&mut machine).len(), 3);
    machine.on_command(NOW, Command::SignOut);
    assert!(drain(&mut machine).contains(&Effect::Inspect { on: false }));

    let mut late = playing();
    drain(&mut late);
    late.on_command(NOW, Command::Inspect { on: true });
    late.on_command(NOW, Command::Inspect { on: false });
    drain(&mut late);
    late.on_outcome(NOW, Outcome::Inspecting(true));
    assert_eq!(drain(&mut late), [Effect::Inspect { on: false }]);

    let mut out = self::machine();
    out.on_command(NOW, Command::Inspect { on: true });
    let ask = StaffAsk::Sessions;
    out.on_command(NOW, Command::Staff { ask });
    let effects = drain(&mut out);
    assert_eq!(problems(&effects), [ProblemCode::NotSignedIn; 2]);
}
