//! Writes what the window's front end knows of the engine: `ui/src/generated/`.
//!
//! * `bindings.ts`: the TypeScript types of commands, events and views, and beside each closed set
//!   of words the list of them, so that a test can ask for a text of every one;
//! * `fold.json`: recorded events, and the [`Snapshot`] after each. The front end folds the same
//!   events and must come to the same.
//!
//! `cargo run -q -p warp-engine-core --example bindings` writes them; with `-- --check` it writes
//! nothing and fails with the difference when they have drifted.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "the difference is this program's output, and its files are its work"
)]

use std::{
    collections::BTreeMap,
    error::Error,
    fmt::Write as _,
    path::{Path, PathBuf},
    process::ExitCode,
};

use serde::Serialize;
use ts_rs::{Config, TS, TypeVisitor};
use warp_engine_core::{
    command::{Command, P2pCommand},
    config::RedundantSending,
    event::{ConsoleAnswer, Event, PlayStep, TokenStore},
    import::Imported,
    levels::{Figure, Level},
    snapshot::{About, Snapshot},
    staff::{StaffAnswer, StaffAsk},
    view::{
        ClassCount, ClientMetrics, Counter, DirectionView, LinkState, Metrics, PathPhase, PathView,
        Quality, QualityCause, StreamDigest, SwitchReason, Towards,
    },
};
use warp_host_core::{HostState, HostStatusView, MemberView, UpstreamKind};
use warp_protocol::{
    Problem, ProblemCode,
    carrier::PathKind,
    rest::{AccountRole, AccountView, MAX_NAME, MAX_PASSWORD, MIN_PASSWORD},
    signal::EndedReason,
    stream::ServerRole,
    zone::{GameServer, ReadLevel, ZoneFile, ZoneStatus, ZoneView},
};
use warp_reach_core::{Diagnosis, Report};

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let check = match std::env::args().skip(1).collect::<Vec<_>>().as_slice() {
        [] => false,
        [flag] if flag == "--check" => true,
        _ => return Err("usage: bindings [--check]".into()),
    };
    // At run time: several clones may share one build directory.
    let package = std::env::var_os("CARGO_MANIFEST_DIR").ok_or("start it with `cargo run`")?;
    let folder = Path::new(&package).join("../../../ui/src/generated");
    let files = [
        (folder.join("bindings.ts"), bindings()?),
        (folder.join("fold.json"), recording()?),
    ];
    if !check {
        std::fs::create_dir_all(&folder)?;
        for (path, text) in files {
            std::fs::write(path, text)?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let mut drifted = false;
    for (path, text) in files {
        drifted |= differs(&path, &text);
    }
    if drifted {
        eprintln!("write them anew: cargo run -q -p warp-engine-core --example bindings");
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

/// Tells the lines that only one side has.
fn differs(path: &PathBuf, wanted: &str) -> bool {
    let found = std::fs::read_to_string(path).unwrap_or_default();
    if found == wanted {
        return false;
    }
    println!("{} has drifted:", path.display());
    let (old, new): (Vec<_>, Vec<_>) = (found.lines().collect(), wanted.lines().collect());
    for line in old.iter().filter(|line| !new.contains(line)) {
        println!("- {line}");
    }
    for line in new.iter().filter(|line| !old.contains(line)) {
        println!("+ {line}");
    }
    true
}

/// Every type that the roots reach, by name.
struct Collect<'a> {
    config: &'a Config,
    types: BTreeMap<String, String>,
}

impl Collect<'_> {
    fn add<T: TS + 'static + ?Sized>(&mut self) {
        <Self as TypeVisitor>::visit::<T>(self);
    }
}

impl TypeVisitor for Collect<'_> {
    fn visit<T: TS + 'static + ?Sized>(&mut self) {
        if T::output_path().is_none() {
            // Of the language's own types (vectors, options) only the content is ours.
            T::visit_generics(self);
            return;
        }
        let name = T::ident(self.config);
        if self.types.contains_key(&name) {
            return;
        }
        let mut text = T::docs().unwrap_or_default();
        let declaration = T::decl(self.config);
        let _ = writeln!(text, "export {declaration}");
        if let Some(list) = word_list(&name, &declaration) {
            text.push_str(&list);
        }
        self.types.insert(name, text);
        T::visit_dependencies(self);
        T::visit_generics(self);
    }
}

/// `export const LINK_STATES = [...] as const` for a type that is a plain choice of words.
fn word_list(name: &str, declaration: &str) -> Option<String> {
    let choice = declaration.split_once(" = ")?.1.trim_end_matches(';');
    let words: Vec<&str> = choice.split(" | ").map(str::trim).collect();
    let plain = |word: &&str| {
        word.len() > 2 && word.starts_with('"') && word.ends_with('"') && !word.contains('{')
    };
    if !words.iter().all(plain) {
        return None;
    }
    let mut constant = String::new();
    for (at, letter) in name.char_indices() {
        if letter.is_ascii_uppercase() && at > 0 {
            constant.push('_');
        }
        constant.push(letter.to_ascii_uppercase());
    }
    Some(format!(
        "/** Every {name}. */\nexport const {constant}_LIST = [{}] as const satisfies readonly {name}[];\n",
        words.join(", ")
    ))
}

fn bindings() -> Result<String, Box<dyn Error>> {
    let config = Config::new();
    let mut collect = Collect {
        config: &config,
        types: BTreeMap::new(),
    };
    collect.add::<Command>();
    collect.add::<Event>();
    collect.add::<Snapshot>();
    collect.add::<About>();
    collect.add::<Problem>();
    collect.add::<Imported>();
    let mut text = String::from(
        "// Generated from the engine's types by `cargo run -q -p warp-engine-core --example bindings`.\n\
         // Do not edit; a test fails when it drifts.\n\n",
    );
    for declaration in collect.types.values() {
        text.push_str(declaration);
        text.push('\n');
    }
    let words = serde_json::to_string(&P2pCommand::WORDS)?;
    let _ = write!(
        text,
        "/** Every console command, as it is typed. */\n\
         export const P2P_WORDS: readonly string[] = {words};\n\n\
         /** Limits of names and passwords. */\n\
         export const LIMITS = {{ maxName: {MAX_NAME}, minPassword: {MIN_PASSWORD}, maxPassword: {MAX_PASSWORD} }} as const;\n"
    );
    Ok(text)
}

#[derive(Serialize)]
struct Step {
    event: Event,
    after: Snapshot,
}

fn recording() -> Result<String, Box<dyn Error>> {
    let mut snapshot = Snapshot::default();
    let mut steps = Vec::new();
    for event in events()? {
        snapshot.apply(&event);
        steps.push(Step {
            event,
            after: snapshot.clone(),
        });
    }
    let mut text = serde_json::to_string_pretty(&steps)?;
    text.push('\n');
    Ok(text)
}

fn zone() -> Result<ZoneView, Box<dyn Error>> {
    let game = GameServer {
        packet_version: 20_211_103,
        level: ReadLevel::Assist,
        login: "192.0.2.10:6900".parse()?,
        char: vec!["192.0.2.10:6121".parse()?],
        map: vec!["192.0.2.10:5121".parse()?],
    };
    Ok(ZoneView {
        zone: ZoneFile {
            zone_id: "prontera".into(),
            zone_name: "prontera".into(),
            zone_display_name: "Prontera and its fields".into(),
            map_name: "prontera".into(),
            maps: vec!["prontera".into(), "prt_fild08".into()],
            max_players: 100,
            recommended_players: 50,
            p2p_enabled: true,
            p2p_priority: 5,
            fallback_enabled: true,
            min_host_quality_score: 7.0,
            min_bandwidth_mbps: 100,
            max_latency_ms: 100,
            description: None,
            fallback_zone: None,
            plain_tcp: None,
            hosted: None,
            game,
        },
        status: ZoneStatus::Enabled,
        players: 12,
    })
}

fn counter(packets: u64, bytes: u64) -> Counter {
    Counter { packets, bytes }
}

fn direction(loss_percent: f64) -> DirectionView {
    DirectionView {
        loss_percent: Some(loss_percent),
        jitter_ms: Some(1.25),
        late_percent: Some(0.0),
        bytes_per_second: Some(1_200.0),
        datagrams: Some(400),
        lost: Some(4),
    }
}

fn metrics(path: PathKind, phase: PathPhase) -> Metrics {
    let quality = Some(Quality {
        score: 91,
        cause: Some(QualityCause::Loss {
            towards: Towards::Endpoint,
            loss_percent: 1.0,
        }),
    });
    let (to_endpoint, to_player) = (direction(1.0), direction(0.0));
    Metrics {
        at_ms: 1_000,
        state: LinkState::Connected,
        path: Some(path),
        rtt_ms: Some(21.5),
        jitter_ms: Some(1.25),
        loss_percent: Some(0.5),
        quality,
        to_endpoint,
        to_player,
        paths: vec![PathView {
            kind: path,
            phase,
            rtt_ms: Some(21.5),
            jitter_ms: Some(1.25),
            loss_percent: Some(0.5),
            quality,
            to_endpoint,
            to_player,
            cost_ms: Some(44.0),
            resent_packets: 4,
            queued_bytes: Some(0),
            queue_ms: Some(0.25),
            sent_bytes: 1_200,
            received_bytes: 2_400,
            silent_ms: Some(40.0),
        }],
        streams: 1,
        bytes_up: 300,
        bytes_down: 900,
        failovers: 1,
        refused: 0,
        duplicated: 2,
        redundant: RedundantSending::Auto,
        classes: vec![ClassCount {
            class: "movement".into(),
            lane: true,
            path: Some(path),
            up: counter(10, 50),
            down: counter(12, 144),
        }],
        clients: vec![ClientMetrics {
            client: 1,
            map: Some("geffen".into()),
            connections: 1,
            bytes_up: 300,
            bytes_down: 900,
            packets_up: 40,
            packets_down: 60,
        }],
    }
}

fn game_started(game: u64) -> Event {
    Event::GameStarted {
        game,
        pid: 4_241 + game as u32,
        program: "game".into(),
        since_ms: game * 1_000,
    }
}

fn host(state: HostState) -> Event {
    let host = HostStatusView {
        host_id: "host-0011223344556677".into(),
        state,
        zones: vec!["prontera".into()],
        allowed: vec!["prontera".into()],
        max_members: 50,
        members: vec![MemberView {
            slot: 3,
            zone: "prontera".into(),
            connected: true,
            up_bytes_per_s: 1_500.0,
            down_bytes_per_s: 4_000.0,
        }],
        upstream: Some(UpstreamKind::Webrtc),
        signaling: true,
        latency_ms: Some(12.5),
        upload_bytes_per_s: 5_500.0,
        download_bytes_per_s: 5_500.0,
        uploaded_bytes: 1_000_000,
        downloaded_bytes: 1_000_000,
        uptime_ms: 90_000,
        ..HostStatusView::default()
    };
    Event::HostState {
        host: Box::new(host),
    }
}

/// One play from sign-in to the end, with every kind of event in it.
fn events() -> Result<Vec<Event>, Box<dyn Error>> {
    let zone_id = || String::from("prontera");
    let state = |state, path, reason| Event::State {
        state,
        path,
        reason,
    };
    let playing = |step| Event::Playing {
        zone: zone_id(),
        step,
    };
    let digest = |bytes| StreamDigest {
        bytes,
        sha256: "00".repeat(32),
    };
    let account = AccountView {
        name: "poring".into(),
        role: AccountRole::Player,
    };
    Ok(vec![
        Event::SignedIn {
            account,
            kept: TokenStore::MemoryNoKeyring,
        },
        Event::Device {
            key: "302a300506032b6570032100".to_owned() + &"ab".repeat(32),
            kept: TokenStore::MemoryNoKeyring,
        },
        Event::Zones {
            zones: vec![zone()?],
        },
        host(HostState::Serving),
        playing(PlayStep::Joining),
        state(LinkState::Connecting, None, None),
        playing(PlayStep::OpeningPath),
        state(LinkState::Authenticating, Some(PathKind::Wss), None),
        playing(PlayStep::Authenticating),
        state(
            LinkState::Connected,
            Some(PathKind::Wss),
            Some(SwitchReason::First),
        ),
        playing(PlayStep::OpeningBridge),
        Event::BridgeReady {
            zone: zone_id(),
            login: "127.0.0.1:6900".parse()?,
        },
        playing(PlayStep::StartingGame),
        game_started(1),
        playing(PlayStep::Ready),
        Event::StreamOpened {
            stream: 0,
            role: ServerRole::Login,
            target: "192.0.2.10:6900".parse()?,
        },
        Event::ClientSeen { client: 1 },
        Event::VersionKnown {
            version: 20_211_103,
            ciphered: false,
            certain: true,
        },
        Event::MapChanged {
            client: 1,
            map: "geffen".into(),
            zone: None,
        },
        Event::ZoneJoined {
            zone: "geffen".into(),
        },
        Event::MapChanged {
            client: 1,
            map: "geffen".into(),
            zone: Some("geffen".into()),
        },
        Event::MapChanged {
            client: 0,
            map: "prontera".into(),
            zone: None,
        },
        game_started(2),
        Event::GameExited {
            game: 1,
            code: Some(0),
            ok: true,
        },
        Event::ClientSeen { client: 2 },
        Event::Metrics {
            metrics: Box::new(metrics(PathKind::Wss, PathPhase::InUse)),
        },
        Event::LevelChanged {
            figure: Figure::LossToEndpoint,
            from: Level::Good,
            to: Level::Fair,
            value: 4.0,
            path: Some(PathKind::Wss),
        },
        Event::Moved {
            from: PathKind::Wss,
            to: PathKind::Direct,
            reason: SwitchReason::Better,
            silent_ms: 0.0,
            costs: None,
        },
        state(LinkState::Connected, Some(PathKind::Direct), None),
        Event::Console {
            line: "/p2p debug on".into(),
            answer: ConsoleAnswer::Debug { on: true },
        },
        Event::Diagnosed {
            diagnosis: Box::new(Diagnosis::new(Vec::new(), Report::default())),
            export: "{}".into(),
        },
        Event::SteppedDown {
            stream: 0,
            level: "opaque".into(),
            reason: "unknown-id".into(),
        },
        Event::ReentryStarted {
            stream: 3,
            client: 1,
        },
        Event::ReentryStep {
            stream: 3,
            client: 1,
            step: "still-online".into(),
        },
        Event::ReentryDone {
            stream: 3,
            client: 1,
            ms: 812.5,
            kept: 1,
            dropped: 12,
        },
        Event::ReentryFailed {
            stream: 3,
            client: 1,
            reason: "timed-out".into(),
            detail: "it took too long".into(),
        },
        Event::StreamClosed {
            stream: 0,
            role: ServerRole::Login,
            clean: true,
            up: digest(300),
            down: digest(900),
        },
        Event::Prepared {
            zone: zone_id(),
            state: LinkState::Connected,
            path: Some(PathKind::Direct),
            rtt_ms: Some(21.5),
            quality: None,
            problem: None,
        },
        Event::Staff {
            ask: StaffAsk::Fleet,
            answer: Box::new(StaffAnswer::Fleet { on: true }),
        },
        Event::Inspecting { on: true },
        Event::Packets {
            packets: Vec::new(),
            dropped: 1,
        },
        state(LinkState::FailingOver, Some(PathKind::Direct), None),
        Event::Moved {
            from: PathKind::Direct,
            to: PathKind::Wss,
            reason: SwitchReason::Silence,
            silent_ms: 812.0,
            costs: None,
        },
        state(LinkState::Reconnecting, Some(PathKind::Wss), None),
        state(LinkState::Reconnecting, None, None),
        Event::Problem {
            problem: Problem::new(ProblemCode::LinkLost, "prontera").with_detail("held for 30 s"),
        },
        Event::Notice {
            text: "The server restarts in ten minutes.".into(),
            from: "gm-anna".into(),
            zone: None,
            timestamp: "2026-01-01T12:00:00Z".into(),
        },
        Event::SessionEnded {
            zone: "geffen".into(),
            reason: EndedReason::Staff,
            code: EndedReason::Staff.code(),
        },
        Event::ClientGone { client: 1 },
        Event::ZoneLeft {
            zone: "geffen".into(),
        },
        Event::GameExited {
            game: 2,
            code: None,
            ok: true,
        },
        Event::Stopped,
        Event::SignedOut,
        Event::Ended,
    ])
}
