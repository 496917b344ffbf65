//! Everything at once.

use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout, timeout_at};
use warp_protocol::rest::IceServer;
use warp_reach_core::nat::{Mapping, NatType};
use warp_reach_core::report::{
    Family as FamilyReport, Nat, PortMapping, Reached, Report, Server, ServerAnswer, ServerKind,
};

use crate::mapping::{Router, local_address};
use crate::servers::{Addresses, Named, named, resolve};
use crate::udp::{Family, Findings};
use crate::{coordinator, machine, turn, udp};

/// How long a report takes at most.
pub const LIMIT: Duration = Duration::from_millis(4800);
/// How long the servers of the configuration wait for those that the coordinator names.
const COORDINATOR_FIRST: Duration = Duration::from_millis(800);

/// What is looked at, and with what.
#[derive(Debug, Clone)]
pub struct Plan {
    /// STUN and TURN servers.
    pub ice_servers: Vec<IceServer>,
    /// The coordinator's `/health`.
    pub health_url: String,
    /// The client that also carries the coordinator's other requests.
    pub http: reqwest::Client,
    /// The proxy that this client goes through.
    pub proxy: Option<String>,
    /// A port may be opened at the router, and is given back.
    pub port_mapping: bool,
}

/// Looks at everything, within [`LIMIT`]. What is not found out by then is unknown.
pub async fn look(plan: Plan) -> Report {
    let start = Instant::now();
    let end = start + LIMIT;
    let (named_stun, stun) = oneshot::channel();
    let coordinator = async {
        let (found, servers) = coordinator::look(&plan.http, &plan.health_url).await;
        // The servers may have stopped to wait.
        named_stun.send(servers).ok();
        found
    };
    let network = async {
        let mut servers = plan.ice_servers.clone();
        servers.extend(
            timeout(COORDINATOR_FIRST, stun)
                .await
                .ok()
                .and_then(Result::ok)
                .flatten(),
        );
        network(named(&servers)).await
    };
    let (coordinator, network, mapping, loopback) = tokio::join!(
        timeout_at(end, Box::pin(coordinator)),
        timeout_at(end, Box::pin(network)),
        timeout_at(end, Box::pin(port_mapping(plan.port_mapping))),
        machine::loopback(),
    );
    let mut report = Report {
        coordinator: coordinator.unwrap_or_default(),
        port_mapping: mapping.unwrap_or_default(),
        loopback: Some(loopback),
        firewall_asks: warp_platform::FIREWALL_ASKS,
        proxy: machine::proxy(plan.proxy),
        ..network.unwrap_or_default()
    };
    report.udp = udp_at_all(&report);
    report.nat.kind = NatType::of(report.udp, report.nat.mapping, report.nat.filtering);
    report.nat.double = double(&report);
    report.took_ms = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
    report
}

/// Addresses, router and servers.
async fn network(servers: Vec<Named>) -> Report {
    let resolving = servers.iter().map(|server| {
        let server = server.clone();
        tokio::spawn(async move { resolve(&server).await })
    });
    let mut addresses: Vec<Addresses> = Vec::new();
    for task in resolving.collect::<Vec<_>>() {
        addresses.push(task.await.unwrap_or_default());
    }
    let of = |family: Family| -> Vec<(usize, SocketAddr)> {
        let pick = |one: &Addresses| match family {
            Family::V4 => one.v4,
            Family::V6 => one.v6,
        };
        let indexed = addresses.iter().enumerate();
        indexed
            .filter_map(|(at, one)| Some((at, pick(one)?)))
            .collect()
    };
    let (list_v4, list_v6) = (of(Family::V4), of(Family::V6));
    let bare = |list: &[(usize, SocketAddr)]| list.iter().map(|(_, one)| *one).collect::<Vec<_>>();
    let (bare_v4, bare_v6) = (bare(&list_v4), bare(&list_v6));
    let (four, six, relays) = tokio::join!(
        Box::pin(udp::look(Family::V4, &bare_v4)),
        Box::pin(udp::look(Family::V6, &bare_v6)),
        relays(&servers, &addresses),
    );
    let mut list: Vec<Server> = Vec::new();
    for (at, server) in servers.iter().enumerate() {
        let answer = |list: &[(usize, SocketAddr)], found: &Findings| {
            let place = list.iter().position(|(server, _)| *server == at)?;
            *found.answers.get(place)?
        };
        let answer = answer(&list_v4, &four).or_else(|| answer(&list_v6, &six));
        let asked = addresses[at] != Addresses::default();
        let silent_or = match (&server.target, asked, answer) {
            (None, ..) => ServerAnswer::NotUsed,
            (Some(_), false, _) => ServerAnswer::NoAddress,
            (_, true, None) => ServerAnswer::Silent,
            (_, true, Some(_)) => ServerAnswer::Good,
        };
        list.push(Server {
            url: server.url.clone(),
            kind: server.kind,
            answer: relays[at].unwrap_or(silent_or),
            rtt_ms: answer.map(|answer| answer.rtt.as_secs_f64() * 1000.0),
            tells_filtering: answer.map(|answer| answer.other.is_some()),
        });
    }
    let seen = if four.answers.iter().any(Option::is_some) || list_v6.is_empty() {
        &four
    } else {
        &six
    };
    Report {
        nat: Nat {
            mapping: seen.mapping,
            filtering: seen.filtering,
            hairpinning: seen.hairpinning,
            ..Nat::default()
        },
        ipv4: family(&four),
        ipv6: family(&six),
        servers: list,
        ..Report::default()
    }
}

fn family(found: &Findings) -> FamilyReport {
    let seen = found.answers.iter().flatten().next().map(|one| one.seen);
    FamilyReport {
        local: found.local,
        seen,
        udp: (!found.answers.is_empty() && found.local.is_some()).then_some(seen.is_some()),
    }
}

/// What the relays say, each asked with its credentials at the same time; `None` for other servers
/// and for relays without an address.
async fn relays(servers: &[Named], addresses: &[Addresses]) -> Vec<Option<ServerAnswer>> {
    let mut tasks = Vec::new();
    for (server, addresses) in servers.iter().zip(addresses) {
        let address = addresses.v4.or(addresses.v6);
        let relay = match (server.kind, &server.credentials, address) {
            (ServerKind::Turn, Some((user, password)), Some(address)) => {
                let (user, password) = (user.clone(), password.clone());
                Some(tokio::spawn(async move {
                    turn::allocate(address, &user, &password).await
                }))
            }
            _ => None,
        };
        tasks.push(relay);
    }
    let mut answers = Vec::new();
    for task in tasks {
        answers.push(match task {
            Some(task) => task.await.ok(),
            None => None,
        });
    }
    answers
}

/// Whether datagrams come back. No only where something else came back: a machine without a
/// network says nothing about UDP.
fn udp_at_all(report: &Report) -> Option<bool> {
    let families = [report.ipv4.udp, report.ipv6.udp];
    if families.contains(&Some(true)) {
        return Some(true);
    }
    let reached = matches!(
        report.coordinator.reached,
        Reached::Coordinator | Reached::Unwell | Reached::SomethingElse | Reached::Untrusted
    );
    (reached && families.contains(&Some(false))).then_some(false)
}

/// A second router: the first one's address outside is not the one that servers see.
fn double(report: &Report) -> Option<bool> {
    let (outside, seen) = (report.port_mapping.router?, report.ipv4.seen?);
    (report.nat.mapping != Mapping::None).then(|| outside != seen.ip())
}

async fn port_mapping(enabled: bool) -> PortMapping {
    let mut router = Router::find().await;
    let external = if enabled {
        open_and_close(&mut router).await
    } else {
        None
    };
    PortMapping {
        enabled,
        upnp: Some(router.upnp()),
        nat_pmp: router.nat_pmp(),
        pcp: router.pcp(),
        router: router.address(),
        external,
    }
}

/// Opens a port that a socket of ours holds meanwhile, and gives it back.
async fn open_and_close(router: &mut Router) -> Option<SocketAddr> {
    let local = local_address().await?;
    let socket = UdpSocket::bind((local, 0)).await.ok()?;
    let port = NonZeroU16::new(socket.local_addr().ok()?.port())?;
    let open = router.open(local, port).await?;
    let outside = open.outside();
    open.close().await;
    Some(outside)
}
