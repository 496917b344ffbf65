//! A launcher on the embedded house, driven as the window drives it: paths before Play, choices by
//! hand, and what game masters may.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test program")]

use std::time::Duration;

use warp_embedded::{Embedded, ZONE_ID};
use warp_engine::{
    Command, EngineHandle, EngineOptions, Event, EventStream, Keeping, config::Config,
};
use warp_engine_core::event::ConsoleAnswer;
use warp_engine_core::staff::{StaffAnswer, StaffAsk};
use warp_engine_core::view::{LinkState, PacketView};
use warp_practice::client::{ClientConfig, run};
use warp_protocol::carrier::PathKind;
use warp_protocol::rest::AccountRole;
use warp_protocol::zone::ZoneStatus;
use warp_protocol::{ProblemCode, Secret};

/// Far more than anything here takes, on a loaded machine too.
const LONG: Duration = Duration::from_secs(120);

struct Launcher {
    engine: EngineHandle,
    events: EventStream,
}

impl Launcher {
    async fn start(house: &Embedded, user: &str) -> Self {
        let mut config = Config::default();
        config.coordinator.rest_api_url = house.rest_api_url();
        config.coordinator.public_key = house.coordinator().public_key().to_string();
        config.bridge.login_listen = ([127, 0, 0, 1], 0).into();
        let mut options = EngineOptions::new(config);
        options.keeping = Keeping::nothing();
        let engine = EngineHandle::start(options).unwrap();
        let events = engine.subscribe();
        let mut launcher = Self { engine, events };
        launcher.tell(Command::SignIn {
            user: user.into(),
            password: Secret::new(PASSWORD),
            remember: false,
        });
        launcher
            .until("the sign-in", |event| {
                matches!(event, Event::SignedIn { .. }).then_some(())
            })
            .await;
        launcher
    }

    fn tell(&self, command: Command) {
        self.engine.send(command).unwrap();
    }

    async fn until<T>(&mut self, what: &str, wanted: impl Fn(&Event) -> Option<T>) -> T {
        let looked = async {
            loop {
                let event = self.events.recv().await.expect("the engine runs");
                if let Some(found) = wanted(&event) {
                    return found;
                }
            }
        };
        let found = tokio::time::timeout(LONG, looked).await;
        found.unwrap_or_else(|_| panic!("{what} did not come"))
    }

    async fn ask(&mut self, ask: StaffAsk) -> StaffAnswer {
        self.tell(Command::Staff { ask: ask.clone() });
        self.until("an answer", |event| match event {
            Event::Staff { ask: of, answer } if *of == ask => Some(StaffAnswer::clone(answer)),
            _ => None,
        })
        .await
    }

    async fn line(&mut self, line: &str) -> ConsoleAnswer {
        self.tell(Command::Console { line: line.into() });
        self.until(line, |event| match event {
            Event::Console { line: of, answer } if of == line => Some(answer.clone()),
            _ => None,
        })
        .await
    }

    /// The paths of the zone, opened before Play and measured.
    async fn prepare(&mut self) {
        let zone = Some(ZONE_ID.to_owned());
        self.tell(Command::Prepare { zone });
        self.until("a measured path", |event| match event {
            Event::Prepared {
                state,
                rtt_ms,
                problem,
                ..
            } => {
                assert_eq!(*problem, None);
                (*state == LinkState::Connected && rtt_ms.is_some()).then_some(())
            }
            _ => None,
        })
        .await;
    }

    /// Play without a game; gives the address for one.
    async fn play(&mut self) -> std::net::SocketAddr {
        self.tell(Command::Play {
            zone: ZONE_ID.into(),
            launch: false,
        });
        self.until("the bridge", |event| match event {
            Event::BridgeReady { login, .. } => Some(*login),
            _ => None,
        })
        .await
    }

    async fn quit(mut self) {
        self.tell(Command::Quit);
        self.until("the end", |event| (*event == Event::Ended).then_some(()))
            .await;
    }
}

const PASSWORD: &str = "a good password";

async fn house(folder: &tempfile::TempDir) -> Embedded {
    let house = Embedded::start(folder.path()).await.unwrap();
    for (name, role) in [
        ("alice", AccountRole::Player),
        ("gm-anna", AccountRole::Gm),
        ("boss", AccountRole::Admin),
    ] {
        let made = house
            .coordinator()
            .ensure_user(name, Secret::new(PASSWORD), role);
        made.await.unwrap();
    }
    house
}

fn refused(answer: StaffAnswer) -> ProblemCode {
    match answer {
        StaffAnswer::Refused { problem } => problem.code,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn paths_are_there_before_play_and_a_person_chooses_among_them() {
    let folder = tempfile::tempdir().unwrap();
    let house = house(&folder).await;
    let mut alice = Launcher::start(&house, "alice").await;
    alice.prepare().await;
    let before = alice.engine.snapshot();
    assert_eq!(before.zone, None, "nobody has pressed Play");
    alice.play().await;
    let both = |event: &Event| match event {
        Event::Metrics { metrics } => {
            let standing = metrics
                .paths
                .iter()
                .filter(|path| path.phase.carries_game() || path.rtt_ms.is_some());
            (standing.count() >= 2 && metrics.path == Some(PathKind::Direct)).then_some(())
        }
        _ => None,
    };
    alice.tell(Command::Watch { on: true });
    alice.until("two paths", both).await;
    let moved = alice.line("/p2p use wss").await;
    let expected = ConsoleAnswer::FailedOver {
        from: PathKind::Direct,
        to: PathKind::Wss,
    };
    assert_eq!(moved, expected);
    alice.line("/p2p redundant always").await;
    alice
        .until("packets sent twice", |event| match event {
            Event::Metrics { metrics } => {
                let always = warp_engine_core::config::RedundantSending::Always;
                (metrics.redundant == always && metrics.path == Some(PathKind::Wss)).then_some(())
            }
            _ => None,
        })
        .await;
    assert_eq!(alice.line("/p2p use auto").await, ConsoleAnswer::Automatic);
    alice
        .until("the best path again", |event| match event {
            Event::Moved {
                to: PathKind::Direct,
                ..
            } => Some(()),
            _ => None,
        })
        .await;
    alice.quit().await;
    house.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_game_masters_may_is_the_coordinators_to_say() {
    let folder = tempfile::tempdir().unwrap();
    let house = house(&folder).await;
    let mut alice = Launcher::start(&house, "alice").await;
    alice.play().await;
    for ask in [StaffAsk::Sessions, StaffAsk::Bans, StaffAsk::Audit] {
        assert_eq!(refused(alice.ask(ask).await), ProblemCode::Forbidden);
    }
    alice.tell(Command::Inspect { on: true });
    let off = alice.until("no", |event| match event {
        Event::Inspecting { on } => Some(*on),
        _ => None,
    });
    assert!(!off.await, "a player is shown no packets");

    let mut anna = Launcher::start(&house, "gm-anna").await;
    let StaffAnswer::Sessions { sessions } = anna.ask(StaffAsk::Sessions).await else {
        panic!("no sessions");
    };
    let of_alice = sessions.iter().find(|one| one.account == "alice").unwrap();
    let ban = StaffAsk::Ban {
        account: Some("alice".into()),
        device: None,
        reason: "a test".into(),
        until: None,
    };
    assert_eq!(refused(anna.ask(ban.clone()).await), ProblemCode::Forbidden);
    let status = StaffAsk::ZoneStatus {
        zone: ZONE_ID.into(),
        status: ZoneStatus::Maintenance,
    };
    assert_eq!(anna.ask(status).await, StaffAnswer::Done);
    let end = StaffAsk::EndSession {
        session_id: of_alice.session_id.clone(),
    };
    assert_eq!(anna.ask(end).await, StaffAnswer::Done);
    alice
        .until("the end of the session", |event| {
            matches!(event, Event::SessionEnded { .. } | Event::Stopped).then_some(())
        })
        .await;

    let mut boss = Launcher::start(&house, "boss").await;
    assert_eq!(boss.ask(ban).await, StaffAnswer::Done);
    let StaffAnswer::Bans { bans } = boss.ask(StaffAsk::Bans).await else {
        panic!("no bans");
    };
    assert_eq!(bans[0].account.as_deref(), Some("alice"));
    let lift = StaffAsk::LiftBan { id: bans[0].id };
    assert_eq!(boss.ask(lift).await, StaffAnswer::Done);
    assert_eq!(
        boss.ask(StaffAsk::SetFleet { on: false }).await,
        StaffAnswer::Fleet { on: false }
    );
    assert_eq!(
        boss.ask(StaffAsk::Fleet).await,
        StaffAnswer::Fleet { on: false }
    );
    assert_eq!(
        boss.ask(StaffAsk::Hosts).await,
        StaffAnswer::Hosts { hosts: Vec::new() }
    );
    assert!(matches!(
        boss.ask(StaffAsk::Refusals).await,
        StaffAnswer::Refusals { .. }
    ));
    let StaffAnswer::Audit { entries } = boss.ask(StaffAsk::Audit).await else {
        panic!("no audit log");
    };
    for action in ["ban", "unban", "zone-status"] {
        assert!(
            entries.iter().any(|one| one.action == action),
            "{action}: {entries:?}"
        );
    }
    let nobody = StaffAsk::EndSession {
        session_id: "nobody".into(),
    };
    assert_eq!(refused(boss.ask(nobody).await), ProblemCode::UnknownSession);
    for launcher in [alice, anna, boss] {
        launcher.quit().await;
    }
    house.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_game_master_sees_packets_of_a_real_session_without_its_password() {
    let folder = tempfile::tempdir().unwrap();
    let house = house(&folder).await;
    let mut anna = Launcher::start(&house, "gm-anna").await;
    let login = anna.play().await;
    anna.tell(Command::Inspect { on: true });
    let on = anna.until("yes", |event| match event {
        Event::Inspecting { on } => Some(*on),
        _ => None,
    });
    assert!(on.await);
    let (user, password) = ("test1", "test1");
    let mut game = ClientConfig::new(login, user, password);
    game.play_for = Some(Duration::from_secs(2));
    let played = tokio::spawn(Box::pin(run(game, |_| {})));
    let mut seen = Vec::new();
    let walks = |seen: &[PacketView]| {
        let mut names = seen.iter().filter_map(|packet| packet.name.as_deref());
        names.any(|name| name.starts_with("CZ_REQUEST_MOVE"))
    };
    while !walks(seen.as_slice()) {
        let packets = anna.until("packets", |event| match event {
            Event::Packets { packets, .. } => Some(packets.clone()),
            _ => None,
        });
        seen.extend(packets.await);
    }
    played.await.unwrap().unwrap();
    let named = |wanted: &str| {
        seen.iter().find(|packet| {
            packet
                .name
                .as_deref()
                .is_some_and(|name| name.starts_with(wanted))
        })
    };
    let login = named("CA_LOGIN").expect("the login packet");
    assert!(login.up && login.bytes > 20);
    let secret = login
        .fields
        .iter()
        .find(|field| field.name.starts_with("pass"))
        .unwrap();
    assert_eq!(secret.value, "***");
    assert!(
        seen.iter()
            .any(|packet| !packet.up && packet.path.is_some())
    );
    anna.quit().await;
    house.shutdown().await;
}
