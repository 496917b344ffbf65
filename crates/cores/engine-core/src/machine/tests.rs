//! Tests of the state machine, in virtual time.

use warp_link_core::{CloseReason, LinkEvent};

use super::*;
use crate::command::P2pCommand;
use crate::event::{ConsoleAnswer, TokenStore};
use crate::view::Metrics;
use warp_protocol::rest::{AccountRole, AccountView, SessionGrant};
use warp_protocol::zone::{GameServer, ReadLevel, ZoneFile, ZoneStatus};

mod diagnosis;
mod games;
mod hosting;
mod numbers;
mod plain;
mod prepare;
mod rejoin;
mod zones;

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
            fallback_zone: None,
            plain_tcp: None,
            hosted: None,
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
        endpoint_certificate: None,
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
            attempt: 1,
            account: AccountView {
                name: "poring".into(),
                role: AccountRole::Player,
            },
            kept: TokenStore::Memory,
            device: Some(("302a".into(), TokenStore::MemoryNoKeyring)),
        },
    );
    let device = Event::Device {
        key: "302a".into(),
        kept: TokenStore::MemoryNoKeyring,
    };
    assert!(drain(&mut machine).contains(&Effect::Emit(device)));
    machine
}

#[test]
fn what_comes_of_a_sign_in_that_was_given_up_counts_for_nobody() {
    let came = |attempt, name: &str| Outcome::SignedIn {
        attempt,
        account: AccountView {
            name: name.into(),
            role: AccountRole::Player,
        },
        kept: TokenStore::Keyring,
        device: None,
    };
    let failed = |attempt| Outcome::SignInFailed {
        attempt,
        problem: Problem::new(ProblemCode::CoordinatorUnreachable, "coordinator"),
    };
    let mut machine = Machine::new(Settings::of(&Config::default()));
    machine.on_command(NOW, Command::Resume { user: "ann".into() });
    machine.on_command(NOW, Command::LeaveAccount);
    machine.on_command(NOW, Command::Resume { user: "bob".into() });
    let effects = drain(&mut machine);
    assert!(matches!(effects[0], Effect::Resume { attempt: 1, .. }));
    assert!(matches!(
        effects.last(),
        Some(Effect::Resume { attempt: 2, .. })
    ));
    for late in [failed(1), came(1, "ann")] {
        machine.on_outcome(NOW, late);
        assert_eq!(drain(&mut machine), []);
    }
    machine.on_outcome(NOW, came(2, "bob"));
    let signed_in = |effect: &Effect| matches!(effect, Effect::Emit(Event::SignedIn { account, .. }) if account.name == "bob");
    assert!(drain(&mut machine).iter().any(signed_in));
    // Nor does one that fails late end a session.
    machine.on_outcome(NOW, failed(1));
    assert_eq!(drain(&mut machine), []);
}

fn playing() -> Machine {
    playing_with(&Config::default())
}

fn playing_with(config: &Config) -> Machine {
    let mut machine = signed_in_with(config);
    start(&mut machine);
    machine
}

/// Play, up to a game that runs.
fn start(machine: &mut Machine) {
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
fn a_revoked_device_is_told_so_and_play_ends() {
    let mut machine = playing();
    drain(&mut machine);
    let code = u64::from(warp_protocol::stream::reset::DEVICE_REVOKED);
    machine.on_outcome(
        NOW,
        Outcome::Link {
            link: LinkId::CHOSEN,
            event: LinkEvent::Closed(CloseReason::Peer(code)),
        },
    );
    let effects = drain(&mut machine);
    assert_eq!(problems(&effects), [ProblemCode::DeviceRevoked]);
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
