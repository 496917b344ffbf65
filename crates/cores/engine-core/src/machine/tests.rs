//! Tests of the state machine, in virtual time.

use warp_link_core::{CloseReason, LinkEvent};

use super::*;
use crate::command::P2pCommand;
use crate::event::{ConsoleAnswer, TokenStore};
use crate::view::Metrics;
use warp_protocol::rest::{AccountRole, AccountView, SessionGrant};
use warp_protocol::zone::{GameServer, ReadLevel, ZoneFile, ZoneStatus};

fn zone() -> ZoneView {
    let address: SocketAddr = "127.0.0.1:6900".parse().unwrap();
    ZoneView {
        zone: ZoneFile {
            zone_id: "prontera".into(),
            zone_name: "Prontera".into(),
            zone_display_name: "Prontera".into(),
            map_name: "prontera".into(),
            maps: Vec::new(),
            max_players: 100,
            recommended_players: 50,
            p2p_enabled: true,
            p2p_priority: 1,
            fallback_enabled: true,
            min_host_quality_score: 7.0,
            min_bandwidth_mbps: 100,
            max_latency_ms: 100,
            description: None,
            game: GameServer {
                packet_version: 20211103,
                level: ReadLevel::Assist,
                login: address,
                char: vec![address],
                map: vec![address],
            },
        },
        status: ZoneStatus::Enabled,
        players: 0,
    }
}

const CLOSE_CHOSEN: Effect = Effect::CloseLink {
    link: LinkId::CHOSEN,
};
const NOW: Duration = Duration::from_secs(1000);

fn machine() -> Machine {
    Machine::new(Settings::of(&Config::default()))
}

fn grant() -> Box<SessionGrant> {
    Box::new(SessionGrant {
        session_id: "session-1".into(),
        peer_id: "player-1".into(),
        endpoint_peer_id: "endpoint".into(),
        endpoint_key: String::new(),
        zone: zone(),
        ice_servers: Vec::new(),
    })
}

fn drain(machine: &mut Machine) -> Vec<Effect> {
    std::iter::from_fn(|| machine.poll_effect()).collect()
}

fn problems(effects: &[Effect]) -> Vec<ProblemCode> {
    effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Emit(Event::Problem { problem }) => Some(problem.code),
            _ => None,
        })
        .collect()
}

fn signed_in() -> Machine {
    signed_in_with(&Config::default())
}

fn signed_in_with(config: &Config) -> Machine {
    let mut machine = Machine::new(Settings::of(config));
    machine.on_command(
        NOW,
        Command::SignIn {
            user: "poring".into(),
            password: Secret::new("secret"),
            remember: false,
        },
    );
    machine.on_outcome(
        NOW,
        Outcome::SignedIn {
            account: AccountView {
                name: "poring".into(),
                role: AccountRole::Player,
            },
            kept: TokenStore::Memory,
        },
    );
    drain(&mut machine);
    machine
}

fn playing() -> Machine {
    playing_with(&Config::default())
}

fn playing_with(config: &Config) -> Machine {
    let mut machine = signed_in_with(config);
    machine.on_command(
        NOW,
        Command::Play {
            zone: "prontera".into(),
            launch: true,
        },
    );
    machine.on_outcome(
        NOW,
        Outcome::Joined {
            link: LinkId::CHOSEN,
            grant: grant(),
        },
    );
    machine.on_outcome(
        NOW,
        Outcome::LinkReady {
            link: LinkId::CHOSEN,
        },
    );
    machine.on_outcome(NOW, Outcome::BridgeReady("127.0.0.1:6900".parse().unwrap()));
    machine.on_outcome(
        NOW,
        Outcome::GameStarted {
            game: 1,
            pid: 5,
            program: "game".into(),
        },
    );
    machine
}

#[test]
fn play_goes_step_by_step_and_starts_the_game_once_the_bridge_listens() {
    let mut machine = playing();
    let effects = drain(&mut machine);
    let done: Vec<&Effect> = effects
        .iter()
        .filter(|effect| !matches!(effect, Effect::Emit(_)))
        .collect();
    assert!(matches!(
        done.as_slice(),
        [
            Effect::Join { .. },
            Effect::OpenLink { .. },
            Effect::OpenBridge { .. },
            Effect::StartGame { .. }
        ]
    ));
    assert_eq!(machine.snapshot().games.len(), 1);
}

#[test]
fn stop_undoes_everything_newest_first_and_the_asked_end_of_the_game_is_no_failure() {
    let mut machine = playing();
    drain(&mut machine);
    machine.on_command(NOW, Command::Stop);
    machine.on_outcome(
        NOW,
        Outcome::GameExited {
            game: 1,
            code: None,
            ok: false,
            how: "ended by signal 15 (SIGTERM)".into(),
            last_lines: Vec::new(),
        },
    );
    let effects = drain(&mut machine);
    let done: Vec<&Effect> = effects
        .iter()
        .filter(|effect| !matches!(effect, Effect::Emit(_)))
        .collect();
    assert_eq!(
        done,
        [
            &Effect::StopGame { game: 1 },
            &Effect::CloseBridge,
            &CLOSE_CHOSEN
        ]
    );
    assert!(problems(&effects).is_empty());
    machine.on_command(
        NOW,
        Command::Play {
            zone: "prontera".into(),
            launch: false,
        },
    );
    assert!(drain(&mut machine).contains(&Effect::Join {
        link: LinkId::CHOSEN,
        zone: "prontera".into()
    }));
}

#[test]
fn a_failed_step_tells_one_problem_and_undoes_the_steps_before() {
    let mut machine = signed_in();
    machine.on_command(
        NOW,
        Command::Play {
            zone: "prontera".into(),
            launch: true,
        },
    );
    machine.on_outcome(
        NOW,
        Outcome::Joined {
            link: LinkId::CHOSEN,
            grant: grant(),
        },
    );
    machine.on_outcome(
        NOW,
        Outcome::LinkReady {
            link: LinkId::CHOSEN,
        },
    );
    machine.on_outcome(
        NOW,
        Outcome::PlayFailed(Problem::new(ProblemCode::PortInUse, "127.0.0.1:6900")),
    );
    let effects = drain(&mut machine);
    assert_eq!(problems(&effects), [ProblemCode::PortInUse]);
    assert!(effects.contains(&CLOSE_CHOSEN));
    assert_eq!(machine.snapshot().zone, None);
}

#[test]
fn a_grant_that_comes_after_stop_is_given_back() {
    let mut machine = signed_in();
    machine.on_command(
        NOW,
        Command::Play {
            zone: "prontera".into(),
            launch: true,
        },
    );
    machine.on_command(NOW, Command::Stop);
    drain(&mut machine);
    machine.on_outcome(
        NOW,
        Outcome::Joined {
            link: LinkId::CHOSEN,
            grant: grant(),
        },
    );
    assert_eq!(drain(&mut machine), [CLOSE_CHOSEN]);
}

#[test]
fn commands_that_do_not_fit_are_refused_and_change_nothing() {
    let mut machine = machine();
    for command in [
        Command::RefreshZones,
        Command::Play {
            zone: "prontera".into(),
            launch: true,
        },
        Command::Stop,
    ] {
        machine.on_command(NOW, command);
        let effects = drain(&mut machine);
        assert_eq!(problems(&effects).len(), 1, "{effects:?}");
        assert_eq!(effects.len(), 1);
    }
    let mut machine = playing();
    drain(&mut machine);
    machine.on_command(
        NOW,
        Command::Play {
            zone: "prontera".into(),
            launch: true,
        },
    );
    assert_eq!(problems(&drain(&mut machine)), [ProblemCode::BadCommand]);
}

#[test]
fn a_crashed_game_is_told_and_the_bridge_stays() {
    let mut machine = playing();
    drain(&mut machine);
    machine.on_outcome(
        NOW,
        Outcome::GameExited {
            game: 1,
            code: Some(3),
            ok: false,
            how: "exit code 3".into(),
            last_lines: vec!["no memory".into()],
        },
    );
    let effects = drain(&mut machine);
    assert_eq!(problems(&effects), [ProblemCode::GameFailed]);
    assert!(!effects.contains(&Effect::CloseBridge));
    assert!(machine.snapshot().bridge.is_some());
}

#[test]
fn a_lost_link_ends_play_with_its_reason() {
    let mut machine = playing();
    drain(&mut machine);
    machine.on_outcome(
        NOW,
        Outcome::Link {
            link: LinkId::CHOSEN,
            event: LinkEvent::Closed(CloseReason::Untrusted),
        },
    );
    let effects = drain(&mut machine);
    assert_eq!(problems(&effects), [ProblemCode::EndpointUntrusted]);
    assert!(effects.contains(&Effect::CloseBridge));
}

#[test]
fn console_lines_are_answered_in_every_state() {
    for mut machine in [machine(), playing()] {
        for word in P2pCommand::WORDS {
            drain(&mut machine);
            machine.on_command(NOW, Command::Console { line: word.into() });
            let effects = drain(&mut machine);
            assert!(!effects.is_empty(), "{word}");
        }
        machine.on_command(
            NOW,
            Command::Console {
                line: "/p2p what".into(),
            },
        );
        assert!(drain(&mut machine).iter().any(|effect| matches!(
            effect,
            Effect::Emit(Event::Console {
                answer: ConsoleAnswer::Unknown,
                ..
            })
        )));
    }
}

fn game_exits(machine: &mut Machine, game: u64, code: Option<i32>) {
    machine.on_outcome(
        NOW,
        Outcome::GameExited {
            game,
            code,
            ok: code == Some(0),
            how: "somehow".into(),
            last_lines: Vec::new(),
        },
    );
}

fn started(effects: &[Effect]) -> Vec<(u64, u32)> {
    let starts = effects.iter().filter_map(|effect| match effect {
        Effect::StartGame { game, slot, .. } => Some((*game, *slot)),
        _ => None,
    });
    starts.collect()
}

fn stopped(effects: &[Effect]) -> Vec<u64> {
    let stops = effects.iter().filter_map(|effect| match effect {
        Effect::StopGame { game } => Some(*game),
        _ => None,
    });
    stops.collect()
}

#[test]
fn quit_closes_everything_and_ends_when_the_games_have() {
    let mut machine = playing();
    drain(&mut machine);
    machine.on_command(NOW, Command::Quit);
    machine.on_time(NOW);
    let effects = drain(&mut machine);
    assert_eq!(stopped(&effects), [1]);
    assert!(effects.contains(&CLOSE_CHOSEN));
    assert!(!effects.contains(&Effect::End), "a game still runs");
    machine.on_command(NOW, Command::RefreshZones);
    assert!(drain(&mut machine).is_empty());
    game_exits(&mut machine, 1, None);
    machine.on_time(NOW);
    let effects = drain(&mut machine);
    let ok = Event::GameExited {
        game: 1,
        code: None,
        ok: true,
    };
    let expected = [Effect::Emit(ok), Effect::Emit(Event::Ended), Effect::End];
    assert_eq!(effects, expected);
    machine.on_time(NOW);
    assert!(drain(&mut machine).is_empty());
}

#[test]
fn the_end_does_not_wait_for_ever_for_a_game() {
    let mut machine = playing();
    machine.on_command(NOW, Command::Quit);
    machine.on_time(NOW);
    drain(&mut machine);
    let by = machine.next_time().unwrap();
    assert!(by <= NOW + Duration::from_secs(2));
    machine.on_time(by);
    assert_eq!(drain(&mut machine).last(), Some(&Effect::End));
    assert_eq!(machine.next_time(), None);
}

#[test]
fn without_games_the_end_comes_at_once() {
    let mut machine = signed_in();
    machine.on_command(NOW, Command::Quit);
    machine.on_time(NOW);
    assert_eq!(drain(&mut machine).last(), Some(&Effect::End));
}

#[test]
fn several_games_have_numbers_and_places_and_end_one_by_one() {
    let mut machine = playing();
    drain(&mut machine);
    machine.on_command(NOW, Command::Launch);
    machine.on_command(NOW, Command::Launch);
    assert_eq!(started(&drain(&mut machine)), [(2, 1), (3, 2)]);
    for game in [2, 3] {
        machine.on_outcome(
            NOW + Duration::from_millis(1500),
            Outcome::GameStarted {
                game,
                pid: 10,
                program: "game".into(),
            },
        );
    }
    assert_eq!(machine.snapshot().games[2].since_ms, 1500);
    drain(&mut machine);
    machine.on_command(NOW, Command::StopGame { game: 2 });
    assert_eq!(drain(&mut machine), [Effect::StopGame { game: 2 }]);
    // Asked again while it is on its way out, and one that was never there.
    for game in [2, 9] {
        machine.on_command(NOW, Command::StopGame { game });
        assert_eq!(problems(&drain(&mut machine)), [ProblemCode::BadCommand]);
    }
    game_exits(&mut machine, 2, Some(1));
    let effects = drain(&mut machine);
    assert!(problems(&effects).is_empty(), "it was asked to end");
    let games = machine.snapshot().games.iter();
    assert_eq!(games.map(|game| game.game).collect::<Vec<_>>(), [1, 3]);
    // The free place is taken first, and the number is a new one.
    machine.on_command(NOW, Command::Launch);
    assert_eq!(started(&drain(&mut machine)), [(4, 1)]);
    machine.on_command(NOW, Command::Stop);
    assert_eq!(stopped(&drain(&mut machine)), [1, 3, 4]);
}

#[test]
fn there_are_no_more_games_than_the_configuration_allows() {
    let mut config = Config::default();
    config.game.max_instances = 2;
    let mut machine = playing_with(&config);
    drain(&mut machine);
    machine.on_command(NOW, Command::Launch);
    machine.on_command(NOW, Command::Launch);
    let effects = drain(&mut machine);
    assert_eq!(started(&effects), [(2, 1)]);
    assert_eq!(problems(&effects), [ProblemCode::BadCommand]);
    // One that cannot be started gives its place back.
    machine.on_outcome(
        NOW,
        Outcome::GameFailed {
            game: 2,
            problem: Problem::new(ProblemCode::GameMissing, "game"),
        },
    );
    machine.on_command(NOW, Command::Launch);
    assert_eq!(started(&drain(&mut machine)), [(3, 1)]);
}

#[test]
fn games_are_started_only_while_a_zone_is_played() {
    let mut machine = signed_in();
    machine.on_command(NOW, Command::Launch);
    assert_eq!(problems(&drain(&mut machine)), [ProblemCode::BadCommand]);
    // Where there is no program Play opens the bridge alone; a person who asks is told.
    let mut machine = playing();
    game_exits(&mut machine, 1, Some(0));
    drain(&mut machine);
    machine.on_outcome(NOW, Outcome::NoGame { game: 1 });
    assert!(drain(&mut machine).is_empty());
    machine.on_command(NOW, Command::Launch);
    machine.on_outcome(NOW, Outcome::NoGame { game: 2 });
    assert_eq!(problems(&drain(&mut machine)), [ProblemCode::BadCommand]);
}

/// A visit that is open, with one client on its map.
fn visiting(machine: &mut Machine) -> LinkId {
    drain(machine);
    machine.on_outcome(
        NOW,
        Outcome::MapChanged {
            client: Some(1),
            map: "cave".into(),
        },
    );
    let mut view = zone();
    view.zone.zone_id = "west".into();
    machine.on_outcome(
        NOW,
        Outcome::ZonesFound {
            map: "cave".into(),
            zones: vec![view],
        },
    );
    machine.on_time(NOW);
    let link = drain(machine)
        .into_iter()
        .find_map(|effect| match effect {
            Effect::Join { link, .. } => Some(link),
            _ => None,
        })
        .unwrap();
    machine.on_outcome(
        NOW,
        Outcome::Joined {
            link,
            grant: grant(),
        },
    );
    link_is(machine, link, PathKind::Wss);
    machine.on_outcome(NOW, Outcome::LinkReady { link });
    machine.on_time(NOW);
    link
}

fn link_is(machine: &mut Machine, link: LinkId, path: PathKind) {
    let event = LinkEvent::State {
        state: LinkState::Connected,
        path: Some(path),
        reason: Some(SwitchReason::First),
    };
    machine.on_outcome(NOW, Outcome::Link { link, event });
}

fn carries(machine: &mut Machine, link: LinkId) {
    machine.set_streams(vec![MapStream {
        number: 1,
        client: Some(1),
        link,
    }]);
    machine.on_time(NOW);
}

#[test]
fn what_is_told_is_of_the_link_that_carries_the_newest_map_connection() {
    let mut machine = playing();
    link_is(&mut machine, LinkId::CHOSEN, PathKind::Direct);
    let link = visiting(&mut machine);
    assert_eq!(machine.snapshot().path, Some(PathKind::Direct));
    assert_eq!(machine.snapshot().joined, ["west"]);
    carries(&mut machine, link);
    assert_eq!(machine.shown_link(), link);
    assert_eq!(machine.snapshot().path, Some(PathKind::Wss));
    drain(&mut machine);
    // A move of the other link is not the player's.
    let moved = |link| Outcome::Link {
        link,
        event: LinkEvent::Moved {
            from: PathKind::Direct,
            to: PathKind::Wss,
            reason: SwitchReason::Silence,
            silent: Duration::from_millis(800),
        },
    };
    machine.on_outcome(NOW, moved(LinkId::CHOSEN));
    assert!(drain(&mut machine).is_empty());
    machine.on_outcome(NOW, moved(link));
    assert!(matches!(
        drain(&mut machine).as_slice(),
        [Effect::Emit(Event::Moved { .. })]
    ));
    // Lost: the play goes on, and what is told is of the chosen zone again.
    machine.on_outcome(
        NOW,
        Outcome::Link {
            link,
            event: LinkEvent::Closed(CloseReason::Lost),
        },
    );
    let effects = drain(&mut machine);
    assert_eq!(problems(&effects), [ProblemCode::ZoneLost]);
    assert!(effects.contains(&Effect::CloseLink { link }));
    assert!(!effects.contains(&Effect::CloseBridge));
    assert_eq!(machine.shown_link(), LinkId::CHOSEN);
    assert_eq!(machine.snapshot().path, Some(PathKind::Direct));
    // The chosen zone's end is the end of all.
    machine.on_outcome(
        NOW,
        Outcome::Link {
            link: LinkId::CHOSEN,
            event: LinkEvent::Closed(CloseReason::Lost),
        },
    );
    let effects = drain(&mut machine);
    assert_eq!(problems(&effects), [ProblemCode::LinkLost]);
    assert!(effects.contains(&Effect::Emit(Event::Stopped)));
}

#[test]
fn stop_leaves_every_zone() {
    let mut machine = playing();
    let link = visiting(&mut machine);
    drain(&mut machine);
    machine.on_command(NOW, Command::Stop);
    let effects = drain(&mut machine);
    let place = |wanted: &Effect| effects.iter().position(|effect| effect == wanted).unwrap();
    let bridge = place(&Effect::CloseBridge);
    let visit = place(&Effect::CloseLink { link });
    assert!(bridge < visit && visit < place(&CLOSE_CHOSEN));
    assert!(
        place(&Effect::Emit(Event::ZoneLeft {
            zone: "west".into()
        })) < place(&Effect::Emit(Event::Stopped))
    );
    // A session that is granted only now is given back.
    machine.on_outcome(
        NOW,
        Outcome::Joined {
            link,
            grant: grant(),
        },
    );
    assert_eq!(drain(&mut machine), [Effect::CloseLink { link }]);
}

/// A line that was typed in the game, and what became of it.
fn says(machine: &mut Machine, client: Option<u64>, line: &str) -> Vec<Effect> {
    drain(machine);
    machine.on_outcome(
        NOW,
        Outcome::GameCommand {
            connection: 7,
            client,
            line: line.into(),
        },
    );
    drain(machine)
}

#[test]
fn lines_from_the_game_are_answered_there_and_told() {
    let mut machine = playing();
    let link = visiting(&mut machine);
    carries(&mut machine, link);
    for (line, wanted) in [
        ("/p2p status", "status"),
        ("@p2p metrics", "metrics"),
        ("/p2p debug on", "debug"),
        ("/p2p reconnect", "reconnecting"),
        ("/p2p failover", "no-standby"),
        ("/p2p help", "help"),
        ("/p2p fly", "unknown"),
    ] {
        let mut effects = says(&mut machine, Some(1), line);
        // What the shell has to look at is the link of that client.
        match effects.as_slice() {
            [Effect::Measure { asked, link: of }] => {
                assert_eq!(*of, link);
                let metrics = Metrics {
                    state: LinkState::Connected,
                    path: Some(PathKind::Wss),
                    streams: 3,
                    ..Metrics::default()
                };
                machine.on_outcome(
                    NOW,
                    Outcome::Measured {
                        asked: asked.clone(),
                        link,
                        metrics: Box::new(metrics),
                    },
                );
                effects = drain(&mut machine);
            }
            [Effect::FailOver { asked, links }] => {
                assert_eq!(*links, [link]);
                let (asked, answer) = (asked.clone(), ConsoleAnswer::NoStandby);
                machine.on_outcome(NOW, Outcome::Answered { asked, answer });
                effects = drain(&mut machine);
            }
            [Effect::Reconnect { asked, links }] => {
                assert_eq!(*links, [link]);
                let (asked, answer) = (asked.clone(), ConsoleAnswer::Reconnecting);
                machine.on_outcome(NOW, Outcome::Answered { asked, answer });
                effects = drain(&mut machine);
            }
            _ => {}
        }
        let lines = effects.iter().find_map(|effect| match effect {
            Effect::AnswerGame { connection, lines } => {
                assert_eq!(*connection, 7);
                Some(lines.clone())
            }
            _ => None,
        });
        assert!(lines.is_some_and(|lines| !lines.is_empty()), "{line}");
        let told = effects.iter().find_map(|effect| match effect {
            Effect::Emit(Event::Console { line, answer }) => Some((line, answer)),
            _ => None,
        });
        let (told_line, answer) = told.unwrap();
        assert_eq!(told_line, line);
        let json = serde_json::to_value(answer).unwrap();
        assert_eq!(json["answer"], wanted, "{line}");
        if let ConsoleAnswer::Status {
            path,
            reason,
            map,
            map_zone,
            games,
            ..
        } = answer
        {
            assert_eq!(*path, Some(PathKind::Wss));
            assert_eq!(*reason, Some(SwitchReason::First));
            assert_eq!(map.as_deref(), Some("cave"));
            assert_eq!(map_zone.as_deref(), Some("west"));
            assert_eq!(*games, 1);
        }
    }
    assert!(machine.snapshot().debug);
}

#[test]
fn a_client_without_a_map_connection_and_one_that_is_not_known_get_the_chosen_link() {
    let mut machine = playing();
    let link = visiting(&mut machine);
    carries(&mut machine, link);
    for client in [None, Some(2)] {
        let effects = says(&mut machine, client, "/p2p status");
        assert!(matches!(
            effects.as_slice(),
            [Effect::Measure { link, .. }] if link.is_chosen()
        ));
    }
}

#[test]
fn lines_of_the_console_are_about_the_shown_link_and_act_on_all() {
    let mut machine = playing();
    let link = visiting(&mut machine);
    carries(&mut machine, link);
    drain(&mut machine);
    let line = || String::from("/p2p failover");
    machine.on_command(NOW, Command::Console { line: line() });
    let effects = drain(&mut machine);
    let [Effect::FailOver { asked, links }] = effects.as_slice() else {
        panic!("{effects:?}");
    };
    assert_eq!(*links, [link, LinkId::CHOSEN], "the shown one answers");
    assert_eq!(asked.by, Asker::Console);
    let line = "/p2p status".to_owned();
    machine.on_command(NOW, Command::Console { line });
    let effects = drain(&mut machine);
    assert!(matches!(
        effects.as_slice(),
        [Effect::Measure { link: of, .. }] if *of == link
    ));
}
