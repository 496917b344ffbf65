//! English for the terminal: what happened, to what, and what the person can do.

use warp_engine_core::event::{Event, PlayStep, TokenStore};
use warp_engine_core::text::{
    answer_lines, brief, figure, figure_value, level, reason, reentry, state,
};
use warp_engine_core::view::Costs;
use warp_host_core::{HostState, HostStatusView, UpstreamKind};
use warp_protocol::{Problem, ProblemCode, signal::EndedReason};

/// A problem in one or more lines.
pub(crate) fn problem(problem: &Problem) -> String {
    let (what, help) = explain(problem.code);
    let mut text = format!("{what}: {}", problem.subject);
    if let Some(detail) = &problem.detail {
        text.push_str(&format!(" ({detail})"));
    }
    if !help.is_empty() {
        text.push_str(&format!("\n  {help}"));
    }
    text
}

/// What happened, and what to do.
fn explain(code: ProblemCode) -> (&'static str, &'static str) {
    use ProblemCode as C;
    match code {
        C::WrongPassword => (
            "wrong name or password",
            "Check both, also for capital letters.",
        ),
        C::NameTaken => (
            "this account name is taken",
            "Choose another, or sign in with it.",
        ),
        C::BadName => (
            "this account name is not allowed",
            "Use 1 to 32 letters, digits, dots, dashes or underscores.",
        ),
        C::BadPassword => ("this password is not allowed", "Use 6 to 128 characters."),
        C::TokenExpired => ("the sign-in has expired", "Sign in again."),
        C::NotSignedIn => ("nobody is signed in", "Sign in first."),
        C::Forbidden => ("this account may not do that", "Ask the operator."),
        C::TooManyRequests => ("too many tries", "Wait a minute and try again."),
        C::CertificateMissing => (
            "a certificate is required and none was shown",
            "Bring launcher and coordinator to one version, or tell the operator.",
        ),
        C::CertificateInvalid => (
            "a certificate is not believed",
            "Do not play over this network; tell the operator.",
        ),
        C::CertificateExpired => (
            "a certificate has expired",
            "Try again; if it stays, tell the operator to look at the server's clock.",
        ),
        C::DeviceRevoked => (
            "this device was revoked",
            "Sign in again with the password: it becomes a new device.",
        ),
        C::Banned => (
            "this account or device is banned",
            "The details say why and until when; ask the operator if you think it is a mistake.",
        ),
        C::CoordinatorUnproven => (
            "the coordinator did not prove its key",
            "Do not sign in over this network; check coordinator.rest_api_url and its version.",
        ),
        C::CoordinatorKeyChanged => (
            "the coordinator has another key than before",
            "Ask the operator whether it was changed; only then accept the new one.",
        ),
        C::SignalingUntrusted => (
            "a WebRTC description was changed on its way",
            "Somebody may be listening in on signaling; the direct path stays closed.",
        ),
        C::CoordinatorUnreachable => (
            "the coordinator cannot be reached",
            "Check the network and coordinator.rest_api_url; what is open stays open.",
        ),
        C::ProxyUnreachable => (
            "the proxy on the way to the coordinator cannot be reached",
            "Check coordinator.proxy and the system's proxy settings; `none` uses no proxy.",
        ),
        C::ProxyPassword => (
            "the proxy wants a name and password, or does not take these",
            "Set coordinator.proxy_user and coordinator.proxy_password.",
        ),
        C::ProxyRefused => (
            "the proxy opens no way to the coordinator",
            "Ask whoever runs the proxy to allow the coordinator's address, or set another one.",
        ),
        C::CoordinatorUntrusted => (
            "the coordinator's certificate is not trusted",
            "Check the address; for an operator's own certificate set coordinator.ca_file.",
        ),
        C::CoordinatorProtocol => (
            "the coordinator's answer is not understood",
            "Check coordinator.rest_api_url and that launcher and coordinator are of one version.",
        ),
        C::CoordinatorFault => (
            "the coordinator has a fault",
            "Try again; tell the operator.",
        ),
        C::BadRequest => ("the coordinator refused the request", "Tell the operator."),
        C::NotFound => (
            "the coordinator does not know that",
            "Check the address and version.",
        ),
        C::Conflict => (
            "that does not fit the present state",
            "Look at it again; somebody else may have changed it.",
        ),
        C::UnknownZone => ("there is no such zone", "Choose one of the list."),
        C::ZoneClosed => (
            "the zone is closed for now",
            "Choose another, or try later.",
        ),
        C::ZoneNotJoined => (
            "the zone of this map could not be joined",
            "Play goes on through the zone that was chosen.",
        ),
        C::NoHost => (
            "no player's computer can carry this zone just now",
            "Try again in a while, or choose another zone.",
        ),
        C::EndpointUnreachable => (
            "the zone's endpoint is not connected to the coordinator just now",
            "Try again in a moment; the operator looks whether warp-endpoint runs.",
        ),
        C::HostRefused => (
            "this computer cannot host here",
            "The text behind says what is missing.",
        ),
        C::HostNotYours => (
            "this host belongs to another account",
            "Sign in with that account, or choose another host id.",
        ),
        C::ZoneLost => (
            "the connection to the zone of this map is lost",
            "Its connections are closed; the chosen zone goes on.",
        ),
        C::UnknownSession => (
            "the coordinator no longer knows the session",
            "Press Play again.",
        ),
        C::PeerUnreachable => ("the endpoint is not there", "Try again in a moment."),
        C::PathTampered => (
            "what came over a path was altered on the way",
            "Nothing was lost, and the path is not used for a while.",
        ),
        C::NoPath => (
            "no path to the game's endpoint could be opened",
            "Check the network; a firewall must let out HTTPS at least.",
        ),
        C::PlainTcp => (
            "there is no path to the endpoint; play goes over plain TCP to the game server",
            "It is not encrypted here, and a connection that breaks is not held. Press Play again later for a better path.",
        ),
        C::LinkLost => ("the connection is lost", "Press Play again."),
        C::EndpointUntrusted => (
            "the endpoint could not prove who it is",
            "Do not play over this network; tell the operator.",
        ),
        C::PortInUse => (
            "the loopback port is in use",
            "Close the other launcher or server, or set bridge.login_listen to another port.",
        ),
        C::PortRefused => (
            "the loopback port cannot be listened on",
            "Set bridge.login_listen to a port above 1024.",
        ),
        C::AddressNotAllowed => (
            "the zone does not allow that game server",
            "The operator has to add it to the zone's list.",
        ),
        C::GameServerRefused => (
            "the game server refused the connection",
            "It may be down; try later.",
        ),
        C::GameServerTimeout => ("the game server did not answer", "Try later."),
        C::GameServerUnreachable => ("the game server cannot be reached", "Tell the operator."),
        C::TooManyConnections => (
            "the game has too many connections open",
            "Restart the game.",
        ),
        C::UnknownPackets => ("unknown packets were passed on untouched", ""),
        C::GameMissing => ("the game's program is missing", "Check game.executable."),
        C::GameNotStarted => (
            "the game's program cannot be started",
            "Check its permissions.",
        ),
        C::GameFailed => ("the game ended with a failure", ""),
        C::GameFiles => (
            "the game's clientinfo file cannot be put in its place",
            "Check that you may write in the game's folder and that no other launcher uses it.",
        ),
        C::UpdateForged => (
            "the update is not signed by the key that this launcher trusts",
            "It was not installed. Tell the server's staff.",
        ),
        C::UpdateSwapped => (
            "what was sent is not the update that was announced",
            "It was not installed. Tell the server's staff.",
        ),
        C::UpdateIncomplete => (
            "the update arrived in part",
            "It was not installed. Try again.",
        ),
        C::UpdateNotInstalled => (
            "the update could not be installed",
            "The version before is still there. Check the free space and that you may install programs.",
        ),
        C::UpdatesOff => (
            "this launcher takes no updates",
            "It was built without a key for them: install newer versions by hand.",
        ),
        C::ProfileInvalid => (
            "the file is no server profile, or was changed after it was signed",
            "Download it again from the server's site.",
        ),
        C::ConfigUnreadable => (
            "the configuration cannot be read",
            "It must be a JSON object.",
        ),
        C::ConfigValue => (
            "a configuration value is not allowed",
            "Correct it and start again.",
        ),
        C::KeyringUnavailable => (
            "the system's secret store does not work",
            "Sign in with the password.",
        ),
        C::BadCommand => ("this cannot be done now", ""),
        C::Internal => ("a fault of the launcher", "Please report it."),
    }
}

/// An event as a line; `None` for those that a person does not follow one by one.
pub(crate) fn event(event: &Event) -> Option<String> {
    Some(match event {
        Event::SignedIn { account, kept } => {
            let kept = match kept {
                TokenStore::Keyring => "remembered in the system's secret store",
                TokenStore::Memory => "not remembered",
                TokenStore::MemoryNoKeyring => {
                    "not remembered: the system has no secret store that works"
                }
            };
            format!("signed in as {} ({kept})", account.name)
        }
        Event::Device { key, kept } => {
            let kept = match kept {
                TokenStore::Keyring => "kept in the system's secret store",
                TokenStore::Memory => "kept in memory",
                TokenStore::MemoryNoKeyring => {
                    "kept in memory: the system has no secret store that works"
                }
            };
            format!("this device is {key} ({kept})")
        }
        Event::SignedOut => "signed out".into(),
        Event::Zones { zones } => format!("{} zones", zones.len()),
        Event::Playing { zone, step } => {
            let step = match step {
                PlayStep::Joining => "asking for a session",
                PlayStep::OpeningPath => "opening a path",
                PlayStep::Authenticating => "proving who is who",
                PlayStep::OpeningBridge => "opening the loopback side",
                PlayStep::StartingGame => "starting the game",
                PlayStep::Ready => "ready",
            };
            format!("{zone}: {step}")
        }
        Event::BridgeReady { login, .. } => format!("the game's login server is {login}"),
        Event::State {
            state: now,
            path,
            reason: why,
        } => {
            let path = path.map_or(String::new(), |path| format!(" over {path}"));
            let why = why.map_or(String::new(), |why| format!(" ({})", reason(why)));
            format!("{}{path}{why}", state(*now))
        }
        Event::Moved {
            from,
            to,
            reason: why,
            silent_ms,
            costs,
        } => {
            let measured = costs.map_or(String::new(), |Costs { from_ms, to_ms }| {
                format!("; cost {from_ms:.0} ms, now {to_ms:.0} ms")
            });
            format!(
                "moved from {from} to {to}: {} (silent for {silent_ms:.0} ms{measured})",
                reason(*why)
            )
        }
        Event::Metrics { metrics } => brief(metrics),
        Event::LevelChanged {
            figure: what,
            from,
            to,
            value,
            path,
        } => {
            let path = path.map_or(String::new(), |path| format!(" over {path}"));
            let (what, value) = (figure(*what), figure_value(*what, *value));
            let (from, to) = (level(*from), level(*to));
            format!("{what}{path} is {to} now, {value} (was {from})")
        }
        Event::StreamOpened { .. } | Event::StreamClosed { .. } => return None,
        Event::ReentryStarted { client, .. } => {
            format!("client {client} lost its game server; it is signed in again")
        }
        Event::ReentryStep { client, step, .. } => {
            format!("client {client} is signed in again: {}", reentry(step))
        }
        Event::ReentryDone { client, ms, .. } => {
            format!("client {client} is on its map again after {ms:.0} ms")
        }
        Event::ReentryFailed { client, reason, .. } => {
            format!("client {client} could not be kept: {}", reentry(reason))
        }
        Event::SteppedDown {
            stream,
            level,
            reason,
        } => format!("connection {stream} is now handled as {level} ({reason})"),
        Event::GameStarted {
            game, pid, program, ..
        } => format!("game {game} started: {program} (process {pid})"),
        Event::GameExited { game, code, ok } => {
            let how = code.map_or("by a signal".to_owned(), |code| format!("with code {code}"));
            let failure = if *ok { "" } else { ": a failure" };
            format!("game {game} ended {how}{failure}")
        }
        Event::ClientSeen { .. } | Event::ClientGone { .. } => return None,
        Event::MapChanged { client, map, zone } => {
            let who = match client {
                0 => "a client".to_owned(),
                client => format!("client {client}"),
            };
            let zone = zone
                .as_deref()
                .map_or(String::new(), |zone| format!(" (zone {zone})"));
            format!("{who} goes to {map}{zone}")
        }
        Event::ZoneJoined { zone } => format!("also joined: zone {zone}"),
        Event::ZoneLeft { zone } => format!("left: zone {zone}"),
        Event::VersionKnown {
            version,
            ciphered,
            certain,
        } => {
            let ciphered = if *ciphered { ", with ciphered ids" } else { "" };
            let certain = if *certain {
                ""
            } else {
                ", as far as can be told yet"
            };
            format!("the game client speaks packet version {version}{ciphered}{certain}")
        }
        Event::Console { answer: told, .. } => answer_lines(told).join("\n"),
        Event::Problem { problem: told } => problem(told),
        Event::Notice {
            text, from, zone, ..
        } => {
            let of = zone
                .as_ref()
                .map_or(String::new(), |zone| format!(" ({zone})"));
            format!("notice from {}{of}: {}", plain(from), plain(text))
        }
        Event::SessionEnded { zone, reason, .. } => {
            let why = match reason {
                EndedReason::Staff => "staff ended it",
                EndedReason::Revoked => "this device was revoked",
                EndedReason::Banned => "this account or device is banned",
                EndedReason::Unused => "nothing was attached to it",
                EndedReason::Endpoint => "the zone's endpoint ended it",
                EndedReason::Stopped => "the coordinator stops",
                EndedReason::Fault => "the coordinator has a fault",
                EndedReason::Ended | EndedReason::Left | EndedReason::Replaced => "it is over",
            };
            format!("{zone}: the session has ended: {why}")
        }
        // Once a second; `warp-node host` tells what changed.
        Event::HostState { .. } => return None,
        Event::Stopped => "stopped".into(),
        // Asked for by the window; `warp-node doctor` and `inspect` show their own.
        Event::Diagnosed { .. }
        | Event::Prepared { .. }
        | Event::Staff { .. }
        | Event::Inspecting { .. }
        | Event::Packets { .. }
        | Event::Ended => return None,
    })
}

/// What somebody else wrote, as one line that cannot command the terminal.
fn plain(text: &str) -> String {
    let shown = |c: char| if c.is_control() { ' ' } else { c };
    text.chars().map(shown).collect()
}

/// How hosting goes, in a line that changes only when something happens.
pub(crate) fn host_line(host: &HostStatusView) -> String {
    let state = match host.state {
        HostState::Registering => "asking for a place as a host",
        HostState::Serving => "hosting",
        HostState::Paused => "hosting, and taking no new players now",
        HostState::Draining => "the players are moved away",
        HostState::Stopped => return "hosting has ended".into(),
    };
    let zones = host.zones.join(", ");
    let upstream = match host.upstream {
        Some(UpstreamKind::Webrtc) => "endpoint over WebRTC",
        Some(UpstreamKind::Wss) => "endpoint over a WebSocket",
        None => "no way to the endpoint",
    };
    let connected = host.members.iter().filter(|it| it.connected).count();
    let signaling = if host.signaling {
        ""
    } else {
        ", coordinator away"
    };
    format!(
        "{state}: {zones}; {connected} of {} players connected, {} at most; {upstream}{signaling}",
        host.members.len(),
        host.max_members
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_says_what_to_what_and_what_to_do() {
        let text =
            problem(&Problem::new(ProblemCode::PortInUse, "127.0.0.1:6900").with_detail("in use"));
        assert!(text.contains("in use") && text.contains("127.0.0.1:6900"));
        assert!(text.contains("bridge.login_listen"));
    }
}
