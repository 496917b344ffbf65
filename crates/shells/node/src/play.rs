//! `play` and `try`: drive the engine from standard input, print its events.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader, Lines, Stdin};
use warp_embedded::{Embedded, ZONE_ID};
use warp_engine::{Command, EngineHandle, Event};
use warp_engine_core::config::{Config, PracticeSection};
use warp_platform::Signals;
use warp_protocol::{Problem, ProblemCode, Secret};

use crate::setup::{USAGE, load, options};
use crate::{PlayArgs, SignInArgs, TryArgs, text};

/// How long the engine may take to end after it was asked to; SIGTERM promises two seconds.
pub(crate) const END_LIMIT: Duration = Duration::from_millis(1800);
/// Account of `try`. Its password never leaves the machine and works nowhere else.
const TRY_USER: &str = "player";
const TRY_PASSWORD: &str = "practice";

/// What a run is to do.
struct Run {
    sign_in: Command,
    zone: String,
    launch: bool,
    /// Game clients to start.
    clients: u32,
    json: bool,
    /// End by itself after this long.
    limit: Option<Duration>,
    /// Folder of the configuration; `None`: nothing is kept there.
    folder: Option<PathBuf>,
}

pub(crate) async fn play(args: PlayArgs) -> ExitCode {
    let config = match load(&args.sign_in.config) {
        Ok(config) => config,
        Err(problem) => return refuse(&problem, args.json),
    };
    let mut stdin = BufReader::new(tokio::io::stdin()).lines();
    let sign_in = match sign_in(&args.sign_in, &mut stdin).await {
        Ok(command) => command,
        Err(problem) => return refuse(&problem, args.json),
    };
    let run = Run {
        sign_in,
        zone: args.zone,
        launch: !args.no_game,
        clients: args.clients,
        json: args.json,
        limit: None,
        folder: args.sign_in.config.parent().map(Path::to_owned),
    };
    drive(config, run, stdin).await
}

/// The command that signs in as asked; reads the password where it is given.
pub(crate) async fn sign_in(
    args: &SignInArgs,
    stdin: &mut Lines<BufReader<Stdin>>,
) -> Result<Command, Problem> {
    let user = args.user.clone();
    if !args.password_stdin {
        return Ok(Command::Resume { user });
    }
    let line = stdin.next_line().await.ok().flatten().unwrap_or_default();
    let password = Secret::new(line.trim_end_matches('\r'));
    if password.is_empty() {
        return Err(Problem::new(ProblemCode::BadPassword, user)
            .with_detail("standard input has no password in its first line"));
    }
    let remember = args.remember;
    Ok(if args.register {
        Command::Register {
            user,
            password,
            remember,
        }
    } else {
        Command::SignIn {
            user,
            password,
            remember,
        }
    })
}

pub(crate) async fn try_out(args: TryArgs) -> ExitCode {
    let temporary = std::env::temp_dir().join(format!("warp-try-{}", std::process::id()));
    let folder = args.data.clone().unwrap_or_else(|| temporary.clone());
    let house = match Embedded::start(&folder).await {
        Ok(house) => house,
        Err(error) => {
            let problem = Problem::new(ProblemCode::Internal, "embedded house")
                .with_detail(error.to_string());
            return refuse(&problem, args.json);
        }
    };
    let config = Config {
        coordinator: warp_engine_core::config::CoordinatorSection {
            rest_api_url: house.rest_api_url(),
            public_key: house.coordinator().public_key().to_string(),
            ..Default::default()
        },
        bridge: warp_engine_core::config::BridgeSection {
            login_listen: ([127, 0, 0, 1], 0).into(),
            ..Default::default()
        },
        game: warp_engine_core::config::GameSection {
            practice: Some(PracticeSection {
                rate: args.rate,
                seconds: args.seconds,
                ..PracticeSection::default()
            }),
            ..Default::default()
        },
        ..Config::default()
    };
    let made = house
        .coordinator()
        .ensure_user(
            TRY_USER,
            Secret::new(TRY_PASSWORD),
            warp_protocol::rest::AccountRole::Player,
        )
        .await;
    let code = match made {
        Ok(()) => {
            let run = Run {
                sign_in: Command::SignIn {
                    user: TRY_USER.into(),
                    password: Secret::new(TRY_PASSWORD),
                    remember: false,
                },
                zone: ZONE_ID.into(),
                launch: true,
                clients: 1,
                json: args.json,
                limit: Some(Duration::from_secs(args.seconds)),
                folder: None,
            };
            let stdin = BufReader::new(tokio::io::stdin()).lines();
            drive(config, run, stdin).await
        }
        Err(error) => {
            let problem =
                Problem::new(ProblemCode::Internal, TRY_USER).with_detail(error.to_string());
            refuse(&problem, args.json)
        }
    };
    house.shutdown().await;
    if args.data.is_none() {
        // Left behind it would only take space; the system empties that folder itself.
        let _ = std::fs::remove_dir_all(&temporary);
    }
    code
}

pub(crate) fn refuse(problem: &Problem, json: bool) -> ExitCode {
    print_event(
        &Event::Problem {
            problem: problem.clone(),
        },
        json,
    );
    ExitCode::from(exit_code(problem.code))
}

pub(crate) fn exit_code(code: ProblemCode) -> u8 {
    use ProblemCode as C;
    match code {
        C::ConfigUnreadable | C::ConfigValue => USAGE,
        C::WrongPassword
        | C::NameTaken
        | C::BadName
        | C::BadPassword
        | C::TokenExpired
        | C::NotSignedIn
        | C::Forbidden
        | C::TooManyRequests
        | C::KeyringUnavailable
        | C::CertificateMissing
        | C::CertificateInvalid
        | C::CertificateExpired
        | C::DeviceRevoked
        | C::Banned => 3,
        C::CoordinatorUnreachable
        | C::ProxyUnreachable
        | C::ProxyPassword
        | C::ProxyRefused
        | C::CoordinatorUntrusted
        | C::CoordinatorProtocol
        | C::CoordinatorFault
        | C::CoordinatorUnproven
        | C::CoordinatorKeyChanged => 4,
        C::UnknownZone | C::ZoneClosed | C::NoPath | C::PortInUse | C::PortRefused => 5,
        _ => 1,
    }
}

pub(crate) fn print_event(event: &Event, json: bool) {
    if json {
        match serde_json::to_string(event) {
            Ok(line) => println!("{line}"),
            Err(error) => eprintln!("an event could not be written: {error}"),
        }
    } else if let Some(text) = text::event(event) {
        println!("{text}");
    }
}

/// Where a run is, and what its exit code will be.
struct Progress {
    playing: bool,
    code: u8,
    /// Game clients that were started or could not be, and those of them that are no more.
    started: u32,
    ended: u32,
}

impl Progress {
    /// True when that was the last one.
    fn game_ended(&mut self, ok: bool, run: &Run) -> bool {
        self.ended += 1;
        if !ok {
            self.code = 1;
        }
        self.ended == self.started && self.started >= run.clients
    }
}

async fn drive(mut config: Config, run: Run, mut stdin: Lines<BufReader<Stdin>>) -> ExitCode {
    config.game.max_instances = config.game.max_instances.max(run.clients);
    let mut signals = match signals() {
        Ok(signals) => signals,
        Err(problem) => return refuse(&problem, run.json),
    };
    let engine = match options(config, run.folder.as_deref()).and_then(EngineHandle::start) {
        Ok(engine) => engine,
        Err(problem) => return refuse(&problem, run.json),
    };
    let mut events = engine.subscribe();
    let mut progress = Progress {
        playing: false,
        code: 0,
        started: 0,
        ended: 0,
    };
    send(&engine, run.sign_in.clone(), run.json);
    let limit = run.limit.unwrap_or(Duration::MAX);
    let mut limit = std::pin::pin!(tokio::time::sleep(limit));
    let mut input = true;
    let mut quitting = false;
    loop {
        let mut quit = false;
        tokio::select! {
            event = events.recv() => {
                let Some(event) = event else { break };
                print_event(&event, run.json);
                if event == Event::Ended {
                    break;
                }
                quit = on_event(&event, &engine, &run, &mut progress);
            }
            line = stdin.next_line(), if input => match line {
                Ok(Some(line)) => quit = on_line(line, &engine, run.json),
                Ok(None) | Err(_) => input = false,
            },
            () = signals.next() => quit = true,
            () = &mut limit, if !quitting => quit = true,
        }
        if quit && !std::mem::replace(&mut quitting, true) {
            send(&engine, Command::Quit, run.json);
        }
    }
    drop(engine);
    // The stream ends when the engine has said goodbye to the endpoint and the coordinator.
    let farewell = async { while events.recv().await.is_some() {} };
    let _ = tokio::time::timeout(END_LIMIT, farewell).await;
    ExitCode::from(progress.code)
}

/// What was typed; true for `/quit`.
fn on_line(line: String, engine: &EngineHandle, json: bool) -> bool {
    let mut words = line.split_whitespace();
    let command = match (words.next(), words.next(), words.next()) {
        (None, ..) => return false,
        (Some("/quit"), None, _) => return true,
        (Some("/launch"), None, _) => Command::Launch,
        (Some("/stop-game"), Some(game), None) => match game.parse() {
            Ok(game) => Command::StopGame { game },
            Err(_) => Command::Console { line },
        },
        _ => Command::Console { line },
    };
    send(engine, command, json);
    false
}

pub(crate) fn send(engine: &EngineHandle, command: Command, json: bool) {
    if let Err(problem) = engine.send(command) {
        print_event(&Event::Problem { problem }, json);
    }
}

/// Takes the next step; true when the run is over.
fn on_event(event: &Event, engine: &EngineHandle, run: &Run, progress: &mut Progress) -> bool {
    match event {
        Event::SignedIn { .. } => {
            let command = Command::Play {
                zone: run.zone.clone(),
                launch: run.launch,
            };
            send(engine, command, run.json);
            false
        }
        Event::BridgeReady { .. } => {
            progress.playing = true;
            // The first is started by Play itself.
            for _ in 1..run.clients {
                send(engine, Command::Launch, run.json);
            }
            false
        }
        Event::GameStarted { .. } => {
            progress.started += 1;
            false
        }
        // The WebSocket may still carry the game.
        Event::Problem { problem } if problem.code == ProblemCode::SignalingUntrusted => false,
        // Another way was found.
        Event::Problem { problem } if problem.code == ProblemCode::PlainTcp => false,
        Event::Problem { problem } if !progress.playing => {
            progress.code = exit_code(problem.code);
            true
        }
        Event::Problem { problem } => match problem.code {
            ProblemCode::LinkLost
            | ProblemCode::EndpointUntrusted
            | ProblemCode::DeviceRevoked
            | ProblemCode::Banned => {
                progress.code = 1;
                true
            }
            // Those that run already are left alone.
            ProblemCode::GameMissing | ProblemCode::GameNotStarted | ProblemCode::GameFiles => {
                progress.started += 1;
                progress.game_ended(false, run)
            }
            _ => false,
        },
        Event::GameExited { ok, .. } => progress.game_ended(*ok, run),
        Event::Stopped => true,
        _ => false,
    }
}

/// Requests to end the program, which then ends what it has begun.
pub(crate) fn signals() -> Result<Signals, Problem> {
    Signals::listen().map_err(|error| {
        Problem::new(ProblemCode::Internal, "signals").with_detail(error.to_string())
    })
}
