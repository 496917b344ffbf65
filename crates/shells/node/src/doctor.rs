//! `warp-node doctor`: what play needs, in words.

use std::path::Path;
use std::process::ExitCode;

use warp_engine::{InPlay, Keeping};
use warp_engine_core::config::Config;
use warp_reach_core::{Advice, CheckName, Diagnosis, Item, Level, Line, Play};

use crate::DoctorArgs;
use crate::setup::{USAGE, known_coordinators, load};
use crate::text;

/// Runs the checks and shows them.
pub(crate) async fn doctor(args: DoctorArgs) -> ExitCode {
    let config = if args.config.is_file() {
        load(&args.config)
    } else {
        eprintln!(
            "{} is missing: the defaults are checked",
            args.config.display()
        );
        Ok(Config::default())
    };
    let config = match config {
        Ok(config) => config,
        Err(problem) => {
            eprintln!("{}", text::problem(&problem));
            return ExitCode::from(USAGE);
        }
    };
    let keeping = Keeping {
        keyring: false,
        known_coordinators: known_coordinators(args.config.parent()),
    };
    let now = InPlay::default();
    let diagnosis = Box::pin(warp_engine::doctor(&config, &keeping, None, &now)).await;
    if args.json {
        println!("{}", serde_json::json!(diagnosis));
    } else {
        show(&diagnosis);
    }
    if let Some(file) = &args.export
        && let Err(error) = write(file, &diagnosis, &config)
    {
        eprintln!("{}: {error}", file.display());
        return ExitCode::from(USAGE);
    }
    match diagnosis.play {
        Play::Works => ExitCode::SUCCESS,
        Play::Impossible => ExitCode::FAILURE,
    }
}

fn write(file: &Path, diagnosis: &Diagnosis, config: &Config) -> std::io::Result<()> {
    let text = format!(
        "{:#}\n",
        warp_engine::export(diagnosis, config, &InPlay::default())
    );
    std::fs::write(file, text)
}

fn show(diagnosis: &Diagnosis) {
    for check in &diagnosis.checks {
        let level = match check.ok {
            Some(true) => Level::Ok,
            Some(false) => Level::Bad,
            None => Level::Note,
        };
        println!(
            "{}  {:<20} {}",
            mark(level),
            check_name(check.name),
            check.detail
        );
    }
    for line in &diagnosis.lines {
        println!("{}", shown(line));
    }
    let seconds = diagnosis.network.took_ms as f64 / 1000.0;
    match diagnosis.play {
        Play::Works => println!("play can work (looked at the network for {seconds:.1} s)"),
        Play::Impossible => println!("play cannot work: see the lines with FAIL"),
    }
}

fn shown(line: &Line) -> String {
    let text = format!(
        "{}  {:<20} {}",
        mark(line.level),
        item(line.item),
        line.value
    );
    match line.advice {
        Some(found) => format!("{text}\n{:26} {}", "", advice(found)),
        None => text,
    }
}

fn mark(level: Level) -> &'static str {
    match level {
        Level::Ok => "ok  ",
        Level::Note => "note",
        Level::Bad => "FAIL",
    }
}

fn check_name(name: CheckName) -> &'static str {
    match name {
        CheckName::Settings => "settings",
        CheckName::CoordinatorKey => "coordinator's key",
        CheckName::LoginPort => "login port",
        CheckName::SecretStore => "secret store",
        CheckName::Game => "game",
    }
}

fn item(item: Item) -> &'static str {
    match item {
        Item::Coordinator => "coordinator",
        Item::CaptivePortal => "captive portal",
        Item::Clock => "clock",
        Item::Proxy => "proxy",
        Item::Loopback => "loopback",
        Item::Firewall => "firewall",
        Item::Udp => "UDP",
        Item::Ipv4 => "IPv4",
        Item::Ipv6 => "IPv6",
        Item::NatType => "NAT type",
        Item::Mapping => "mapping",
        Item::Filtering => "filtering",
        Item::Hairpinning => "hairpinning",
        Item::DoubleNat => "second router",
        Item::PortMapping => "port mapping",
        Item::StunServer => "STUN server",
        Item::TurnServer => "TURN server",
    }
}

fn advice(advice: Advice) -> &'static str {
    match advice {
        Advice::CheckCoordinator => {
            "Check the network and coordinator.rest_api_url, and that the coordinator runs."
        }
        Advice::TellOperator => "Try again later; tell the operator.",
        Advice::SignInToNetwork => {
            "Open any page in a browser and sign in to this network, if it asks."
        }
        Advice::CheckCertificate => {
            "For an operator's own certificate set coordinator.ca_file; else do not trust this network."
        }
        Advice::SetClock => "Set the clock, best from the network: certificates depend on it.",
        Advice::AllowLoopback => {
            "A firewall or security program blocks 127.0.0.1; the game reaches the launcher there."
        }
        Advice::AllowInFirewall => "Allow the launcher when Windows asks, for better connections.",
        Advice::AllowUdp => {
            "No server answers over UDP; the game goes over the WebSocket. Let UDP out for less delay."
        }
        Advice::NameStunServer => "No STUN server is known; name one in webrtc.stun_servers.",
        Advice::NameBetterStunServer => {
            "Name two STUN servers, or one with two addresses (RFC 5780), to know more."
        }
        Advice::NeedsRelay => {
            "Direct connections to some players need a relay; to the game's endpoint they do not."
        }
        Advice::SwitchOnPortMapping => {
            "Set webrtc.port_mapping to true to be reached better; it opens a port while you play."
        }
        Advice::OneRouterTooMany => {
            "Two routers translate in a row; put one into bridge mode to be reached better."
        }
        Advice::CheckServer => "Check its name and port; tell the operator.",
        Advice::CheckRelayCredentials => "Check its user name and password.",
        Advice::UseUdpUrl => "The WebRTC path uses relays over UDP only.",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_what_to_do() {
        let line = Line {
            item: Item::Udp,
            level: Level::Note,
            value: "no".into(),
            advice: Some(Advice::AllowUdp),
        };
        let text = shown(&line);
        assert!(
            text.starts_with("note  UDP                  no\n"),
            "{text}"
        );
        assert!(text.contains("Let UDP out"), "{text}");
    }
}
