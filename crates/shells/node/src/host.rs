//! `host`: has the engine be a host until it is told to end.

use std::path::Path;
use std::process::ExitCode;

use tokio::io::{AsyncBufReadExt, BufReader};
use warp_engine::{Command, EngineHandle, Event};
use warp_protocol::Problem;

use crate::HostArgs;
use crate::play::{END_LIMIT, exit_code, print_event, refuse, send, sign_in, signals};
use crate::setup::{load, options};
use crate::text::host_line;

/// Where it is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    SigningIn,
    Hosting,
    /// The engine was asked to end.
    Quitting,
}

pub(crate) async fn host(args: HostArgs) -> ExitCode {
    let json = args.json;
    let mut config = match load(&args.sign_in.config) {
        Ok(config) => config,
        Err(problem) => return refuse(&problem, json),
    };
    // It is asked for here.
    config.hosting.enabled = false;
    let mut stdin = BufReader::new(tokio::io::stdin()).lines();
    let command = match sign_in(&args.sign_in, &mut stdin).await {
        Ok(command) => command,
        Err(problem) => return refuse(&problem, json),
    };
    let mut signals = match signals() {
        Ok(signals) => signals,
        Err(problem) => return refuse(&problem, json),
    };
    let folder = args.sign_in.config.parent().map(Path::to_owned);
    let engine = match options(config, folder.as_deref()).and_then(EngineHandle::start) {
        Ok(engine) => engine,
        Err(problem) => return refuse(&problem, json),
    };
    let mut events = engine.subscribe();
    send(&engine, command, json);
    let mut run = Run {
        engine,
        args,
        stage: Stage::SigningIn,
        code: 0,
        told: None,
    };
    let mut input = true;
    loop {
        tokio::select! {
            event = events.recv() => {
                let Some(event) = event else { break };
                if event == Event::Ended {
                    print_event(&event, json);
                    break;
                }
                run.on_event(&event);
            }
            line = stdin.next_line(), if input => match line {
                Ok(Some(line)) if line.trim() == "/quit" => run.end(),
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => input = false,
            },
            () = signals.next() => run.end(),
        }
    }
    let code = run.code;
    drop(run);
    let farewell = async { while events.recv().await.is_some() {} };
    let _ = tokio::time::timeout(END_LIMIT, farewell).await;
    ExitCode::from(code)
}

struct Run {
    engine: EngineHandle,
    args: HostArgs,
    stage: Stage,
    code: u8,
    /// The last line that was printed.
    told: Option<String>,
}

impl Run {
    fn on_event(&mut self, event: &Event) {
        match event {
            Event::HostState { host } if !self.args.json => {
                let line = host_line(host);
                if self.told.as_ref() != Some(&line) {
                    println!("{line}");
                    self.told = Some(line);
                }
            }
            event => print_event(event, self.args.json),
        }
        match event {
            Event::SignedIn { .. } if self.stage == Stage::SigningIn => {
                self.stage = Stage::Hosting;
                let start = Command::HostStart {
                    zones: self.args.zones.clone(),
                    max_players: self.args.max_players,
                    upload_mbps: self.args.upload_mbps,
                    upstreams: (!self.args.upstreams.is_empty())
                        .then(|| self.args.upstreams.clone()),
                };
                send(&self.engine, start, self.args.json);
            }
            Event::Problem { problem } if self.stage == Stage::SigningIn => self.fail(problem),
            // No zone was named.
            Event::Problem { problem } if problem.subject == "host-start" => self.fail(problem),
            Event::HostState { host } if host.state == warp_host_core::HostState::Stopped => {
                match &host.problem {
                    Some(problem) if self.stage == Stage::Hosting => {
                        let mut problem = problem.clone();
                        if problem.subject.is_empty() {
                            problem.subject = "hosting".into();
                        }
                        if !self.args.json {
                            let problem = problem.clone();
                            print_event(&Event::Problem { problem }, false);
                        }
                        self.fail(&problem);
                    }
                    _ => self.quit(),
                }
            }
            Event::SignedOut => self.quit(),
            _ => {}
        }
    }

    fn fail(&mut self, problem: &Problem) {
        self.code = exit_code(problem.code);
        self.quit();
    }

    /// Asked to end: with the players moved away first, and at once when asked again.
    fn end(&mut self) {
        if self.stage == Stage::Hosting {
            self.stage = Stage::Quitting;
            send(&self.engine, Command::HostStop, self.args.json);
        } else {
            self.quit();
        }
    }

    fn quit(&mut self) {
        self.stage = Stage::Quitting;
        send(&self.engine, Command::Quit, self.args.json);
    }
}
