//! The loopback side of play: the bridge, what it tells, and its numbers.

use std::sync::Arc;
use std::time::Duration;

use warp_bridge::{
    Bridge, BridgeConfig, BridgeCounters, BridgeLimits, BridgeNotice, ClientView, Direction,
    PacketClass, PacketTable, ReEntryLimits,
};
use warp_engine_core::config::Config;
use warp_engine_core::event::Event;
use warp_engine_core::machine::{Outcome, servers_away};
use warp_engine_core::view::{ClassCount, ClientMetrics, Counter, Metrics, PathView, StreamDigest};
use warp_link_driver::LinkHandle;
use warp_protocol::carrier::PathKind;
use warp_protocol::zone::ZoneView;
use warp_protocol::{Problem, ProblemCode};

use crate::outbox::Outbox;
use crate::router::{Opener, Router};

/// How often the counters are taken until those of all and those of each client fit together.
const TRIES: u32 = 8;
/// Name of the row of bytes that are not framed.
const RAW: &str = "raw";

/// Opens the loopback side.
pub(crate) fn open_bridge(
    config: &Config,
    tables: Vec<Arc<PacketTable>>,
    zone: &ZoneView,
    router: Arc<Router>,
    outbox: &Outbox,
) -> Result<Bridge, Problem> {
    let bridge = BridgeConfig {
        login_listen: config.bridge.login_listen,
        game: zone.zone.game.clone(),
        tables,
        commands: config.bridge.commands,
        reentry: config.bridge.reentry,
        limits: BridgeLimits {
            reentry: ReEntryLimits {
                timeout: Duration::from_millis(config.bridge.reentry_timeout_ms),
                away: away(config, zone),
                ..ReEntryLimits::default()
            },
            ..BridgeLimits::default()
        },
    };
    let teller = outbox.clone();
    let notify = Arc::new(move |notice| {
        if let Some(outcome) = bridge_outcome(notice) {
            teller.offer(outcome);
        }
    });
    Bridge::start(bridge, Arc::new(Opener(router)), notify).map_err(|error| {
        Problem::new(error.code(), error.address().to_string()).with_detail(error.to_string())
    })
}

/// How long the game servers of a zone may be away before its fallback is asked for.
pub(crate) fn away(config: &Config, zone: &ZoneView) -> Option<Duration> {
    let timeout = Duration::from_millis(config.bridge.reentry_timeout_ms);
    (zone.zone.fallback_zone.is_some()).then(|| servers_away(timeout))
}

fn bridge_outcome(notice: BridgeNotice) -> Option<Outcome> {
    let digest = |carried: warp_bridge::Carried| StreamDigest {
        bytes: carried.bytes,
        sha256: carried.sha256,
    };
    let event = match notice {
        BridgeNotice::Opened {
            n, role, target, ..
        } => Event::StreamOpened {
            stream: n,
            role,
            target,
        },
        BridgeNotice::Closed {
            n,
            role,
            clean,
            up,
            down,
            ..
        } => Event::StreamClosed {
            stream: n,
            role,
            clean,
            up: digest(up),
            down: digest(down),
        },
        BridgeNotice::SteppedDown { n, to, reason, .. } => Event::SteppedDown {
            stream: n,
            level: to.name().to_owned(),
            reason: reason.code().to_owned(),
        },
        BridgeNotice::Refused {
            role,
            target,
            reason,
            ..
        } => {
            return Some(Outcome::ConnectionRefused {
                role,
                target,
                code: reason.code(),
            });
        }
        BridgeNotice::DoorMissing { target, cause, .. } => {
            let problem = Problem::new(ProblemCode::PortRefused, format!("loopback for {target}"));
            return Some(Outcome::Failed(match cause {
                Some(cause) => problem.with_detail(cause),
                None => problem,
            }));
        }
        BridgeNotice::ReEntryStarted { n, client } => Event::ReentryStarted {
            stream: n,
            client: client.unwrap_or_default(),
        },
        BridgeNotice::ReEntryStep { n, client, step } => Event::ReentryStep {
            stream: n,
            client: client.unwrap_or_default(),
            step: step.to_owned(),
        },
        BridgeNotice::ServersAway { client, .. } => {
            return Some(Outcome::ServersAway { client });
        }
        BridgeNotice::ReEntryDone {
            n,
            client,
            took,
            kept,
            dropped,
        } => Event::ReentryDone {
            stream: n,
            client: client.unwrap_or_default(),
            ms: took.as_secs_f64() * 1000.0,
            kept: kept as u64,
            dropped,
        },
        BridgeNotice::ReEntryFailed {
            n,
            client,
            reason,
            detail,
        } => Event::ReentryFailed {
            stream: n,
            client: client.unwrap_or_default(),
            reason: reason.to_owned(),
            detail,
        },
        BridgeNotice::ClientSeen { client } => Event::ClientSeen { client },
        BridgeNotice::ClientGone { client } => return Some(Outcome::ClientGone { client }),
        BridgeNotice::MapChanged { client, map, .. } => {
            return Some(Outcome::MapChanged { client, map });
        }
        BridgeNotice::Command { n, client, line } => {
            return Some(Outcome::GameCommand {
                connection: n,
                client,
                line,
            });
        }
        BridgeNotice::VersionKnown {
            version,
            ciphered,
            certain,
        } => Event::VersionKnown {
            version,
            ciphered,
            certain,
        },
        BridgeNotice::ServerAnnounced { .. } | BridgeNotice::Partial { .. } => return None,
    };
    Some(Outcome::Bridge(event))
}

/// The numbers of play as they are now: state and paths of `shown`, and what the bridge counts. What
/// is summed over all links, and the time, is the caller's to fill in.
pub(crate) fn metrics(config: &Config, shown: &LinkHandle, bridge: &Bridge) -> Metrics {
    let status = shown.status();
    let paths = paths_of(shown);
    let (game, clients) = consistent(bridge);
    let current = paths
        .iter()
        .find(|path| Some(path.kind) == status.path && path.phase.carries_game());
    Metrics {
        state: status.state,
        path: status.path,
        rtt_ms: current.and_then(|path| path.rtt_ms),
        jitter_ms: current.and_then(|path| path.jitter_ms),
        loss_percent: current.and_then(|path| path.loss_percent),
        quality: current.and_then(|path| path.quality),
        to_endpoint: current.map(|path| path.to_endpoint).unwrap_or_default(),
        to_player: current.map(|path| path.to_player).unwrap_or_default(),
        streams: u32::try_from(bridge.connections().len()).unwrap_or(u32::MAX),
        bytes_up: game.total(Direction::ClientToServer).bytes,
        bytes_down: game.total(Direction::ServerToClient).bytes,
        classes: classes(config, &game),
        clients: clients.into_iter().map(client).collect(),
        paths,
        ..Metrics::default()
    }
}

/// The paths with what is measured of them. Of plain TCP nothing is: the link to our own endpoint says
/// nothing about the way from there to the game servers.
fn paths_of(link: &LinkHandle) -> Vec<PathView> {
    let mut paths = link.paths();
    for path in paths.iter_mut().filter(|path| path.kind == PathKind::Tcp) {
        *path = PathView {
            rtt_ms: None,
            jitter_ms: None,
            loss_percent: None,
            quality: None,
            cost_ms: None,
            to_endpoint: Default::default(),
            to_player: Default::default(),
            ..path.clone()
        };
    }
    paths
}

/// The numbers of a link on which nothing is played yet.
pub(crate) fn prepared(link: &LinkHandle) -> Outcome {
    let path = link.status().path;
    let paths = paths_of(link);
    let current = paths
        .iter()
        .find(|one| Some(one.kind) == path && one.phase.carries_game());
    Outcome::Prepared {
        path,
        rtt_ms: current.and_then(|path| path.rtt_ms),
        quality: current.and_then(|path| path.quality),
    }
}

/// Counters of all, and of each client, of the same moment as far as that can be had while the game
/// goes on: the bridge gives them one after the other.
fn consistent(bridge: &Bridge) -> (BridgeCounters, Vec<ClientView>) {
    let mut before = bridge.counters();
    for _ in 0..TRIES {
        let clients = bridge.clients();
        let after = bridge.counters();
        if before == after {
            return (after, clients);
        }
        before = after;
    }
    (before, bridge.clients())
}

fn client(view: ClientView) -> ClientMetrics {
    let up = view.counters.total(Direction::ClientToServer);
    let down = view.counters.total(Direction::ServerToClient);
    ClientMetrics {
        client: view.client,
        map: view.map,
        connections: view.connections,
        bytes_up: up.bytes,
        bytes_down: down.bytes,
        packets_up: up.packets,
        packets_down: down.packets,
    }
}

/// A row for each class and path that carried anything, and for what was not framed.
fn classes(config: &Config, game: &BridgeCounters) -> Vec<ClassCount> {
    let counter = |counter: warp_bridge::Counter| Counter {
        packets: counter.packets,
        bytes: counter.bytes,
    };
    let classes = PacketClass::ALL.map(Some);
    let mut rows = Vec::new();
    for class in classes.into_iter().chain([None]) {
        let name = class.map_or(RAW, PacketClass::as_str);
        let lane = config.p2p.packet_types.iter().any(|wanted| wanted == name);
        for path in PathKind::ALL.map(Some).into_iter().chain([None]) {
            let of = |direction| match class {
                Some(class) => counter(game.counter(direction, class, path)),
                None => counter(game.raw(direction, path)),
            };
            let up = of(Direction::ClientToServer);
            let down = of(Direction::ServerToClient);
            if up != Counter::default() || down != Counter::default() {
                rows.push(ClassCount {
                    class: name.to_owned(),
                    lane,
                    path,
                    up,
                    down,
                });
            }
        }
    }
    rows
}
