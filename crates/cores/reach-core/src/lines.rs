//! The report as lines: what was looked at, what was found, how bad it is, what to do.

use serde::{Deserialize, Serialize};

use crate::nat::{Filtering, Mapping, NatType};
use crate::report::{Family, Reached, Report, Server, ServerAnswer, ServerKind};

/// From how much on a difference of clocks is worth a word, ms: certificates and tokens that are
/// just made or nearly over begin to be refused.
const CLOCK_NOTE_MS: u64 = 30_000;

/// What was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ts_rs::TS)]
#[serde(rename_all = "kebab-case")]
#[ts(rename = "NetworkItem")]
pub enum Item {
    /// The coordinator's address.
    Coordinator,
    /// Whether the network lets the coordinator through or shows a page of its own.
    CaptivePortal,
    /// The clock.
    Clock,
    /// The proxy.
    Proxy,
    /// Programs on this machine among themselves.
    Loopback,
    /// The system's firewall.
    Firewall,
    /// Datagrams.
    Udp,
    /// IPv4.
    Ipv4,
    /// IPv6.
    Ipv6,
    /// The type of the router by name.
    NatType,
    /// How it chooses ports.
    Mapping,
    /// Whom it lets in.
    Filtering,
    /// The own address outside from inside.
    Hairpinning,
    /// A second router.
    DoubleNat,
    /// Opening ports.
    PortMapping,
    /// A STUN server.
    StunServer,
    /// A TURN server.
    TurnServer,
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ts_rs::TS)]
#[serde(rename_all = "kebab-case")]
#[ts(rename = "FindingLevel")]
pub enum Level {
    /// As it should be.
    Ok,
    /// Play works, maybe not as well as it could; or it is not known.
    Note,
    /// Play cannot work.
    Bad,
}

/// What to do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ts_rs::TS)]
#[serde(rename_all = "kebab-case")]
#[ts(rename = "NetworkAdvice")]
pub enum Advice {
    /// Check the network and the address of the coordinator.
    CheckCoordinator,
    /// The operator has to look at the coordinator.
    TellOperator,
    /// Open a page in a browser and sign in to the network, or check the address.
    SignInToNetwork,
    /// Name the operator's certificate authority, or do not trust this network.
    CheckCertificate,
    /// Set the clock.
    SetClock,
    /// Something on this machine blocks 127.0.0.1.
    AllowLoopback,
    /// Let the launcher through when the system asks.
    AllowInFirewall,
    /// The game goes over the WebSocket path; let UDP out for a better one.
    AllowUdp,
    /// Name a STUN server.
    NameStunServer,
    /// Name a STUN server with a second address, or two servers.
    NameBetterStunServer,
    /// Direct connections to some peers need a relay.
    NeedsRelay,
    /// Switch on `webrtc.port_mapping`.
    SwitchOnPortMapping,
    /// Put one of the routers into bridge mode.
    OneRouterTooMany,
    /// Check name and port of the server.
    CheckServer,
    /// Check user name and password of the relay.
    CheckRelayCredentials,
    /// Use a URL over UDP.
    UseUdpUrl,
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ts_rs::TS)]
#[ts(rename = "NetworkLine")]
pub struct Line {
    /// What was looked at.
    pub item: Item,
    /// How bad it is.
    pub level: Level,
    /// What was found: words of the closed sets of the report, addresses and numbers with units.
    pub value: String,
    /// What to do.
    pub advice: Option<Advice>,
}

/// A check of this machine itself, in words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ts_rs::TS)]
#[ts(rename = "MachineCheck")]
pub struct Check {
    /// What was checked.
    pub name: CheckName,
    /// Whether it is as play needs it; `None`: play works without.
    pub ok: Option<bool>,
    /// What was found, and what to do about it.
    pub detail: String,
}

/// What of this machine is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ts_rs::TS)]
#[serde(rename_all = "kebab-case")]
#[ts(rename = "MachineCheckName")]
pub enum CheckName {
    /// What of the configuration the coordinator needs.
    Settings,
    /// The key that the coordinator proves, and the one that it has to have.
    CoordinatorKey,
    /// The port that the game is pointed at.
    LoginPort,
    /// The system's secret store.
    SecretStore,
    /// The game's program.
    Game,
}

/// Everything that a diagnosis found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ts_rs::TS)]
pub struct Diagnosis {
    /// This machine.
    pub checks: Vec<Check>,
    /// The network, as it was measured.
    pub network: Report,
    /// The network, line by line.
    pub lines: Vec<Line>,
    /// Whether play can work.
    pub play: Play,
}

impl Diagnosis {
    /// Of a machine and its network.
    pub fn new(checks: Vec<Check>, network: Report) -> Self {
        let lines = lines(&network);
        let bad = checks.iter().any(|check| check.ok == Some(false));
        Self {
            play: if bad { Play::Impossible } else { play(&lines) },
            checks,
            network,
            lines,
        }
    }
}

/// Whether play can work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ts_rs::TS)]
#[serde(rename_all = "kebab-case")]
#[ts(rename = "PlayVerdict")]
pub enum Play {
    /// Nothing speaks against it.
    Works,
    /// Some line is bad.
    Impossible,
}

/// Whether play can work by these lines.
pub fn play(lines: &[Line]) -> Play {
    if lines.iter().any(|line| line.level == Level::Bad) {
        Play::Impossible
    } else {
        Play::Works
    }
}

fn line(item: Item, level: Level, value: impl Into<String>, advice: Option<Advice>) -> Line {
    Line {
        item,
        level,
        value: value.into(),
        advice,
    }
}

fn yes_no(answer: Option<bool>) -> &'static str {
    match answer {
        Some(true) => "yes",
        Some(false) => "no",
        None => "unknown",
    }
}

fn ms(rtt: f64) -> String {
    format!("{rtt:.1} ms")
}

/// The report as lines, what play needs first.
pub fn lines(report: &Report) -> Vec<Line> {
    let mut lines = vec![coordinator(report), captive_portal(report), clock(report)];
    lines.push(proxy(report));
    lines.push(loopback(report.loopback));
    if report.firewall_asks {
        let advice = Some(Advice::AllowInFirewall);
        lines.push(line(Item::Firewall, Level::Note, "asks", advice));
    }
    lines.push(udp(report));
    lines.push(family(Item::Ipv4, &report.ipv4));
    lines.push(family(Item::Ipv6, &report.ipv6));
    lines.extend(router(report));
    lines.push(port_mapping(report));
    lines.extend(report.servers.iter().map(server));
    lines
}

fn coordinator(report: &Report) -> Line {
    let found = &report.coordinator;
    let rtt = found.rtt_ms.map(ms);
    let with_rtt = |word: &str| match &rtt {
        Some(rtt) => format!("{word}, {rtt}"),
        None => word.to_owned(),
    };
    let item = Item::Coordinator;
    match found.reached {
        Reached::Coordinator => line(item, Level::Ok, with_rtt("answers"), None),
        Reached::Unwell => {
            let advice = Some(Advice::TellOperator);
            line(item, Level::Bad, with_rtt("unwell"), advice)
        }
        Reached::SomethingElse => {
            let advice = Some(Advice::CheckCoordinator);
            line(item, Level::Bad, "something-else", advice)
        }
        Reached::Untrusted => {
            let advice = Some(Advice::CheckCertificate);
            line(item, Level::Bad, "untrusted", advice)
        }
        Reached::Nobody | Reached::Unknown => {
            let advice = Some(Advice::CheckCoordinator);
            line(item, Level::Bad, "nobody", advice)
        }
    }
}

fn captive_portal(report: &Report) -> Line {
    let item = Item::CaptivePortal;
    match report.coordinator.reached {
        Reached::Coordinator | Reached::Unwell => line(item, Level::Ok, "no", None),
        Reached::SomethingElse => line(item, Level::Bad, "likely", Some(Advice::SignInToNetwork)),
        Reached::Untrusted => line(item, Level::Note, "possible", Some(Advice::SignInToNetwork)),
        Reached::Nobody | Reached::Unknown => line(item, Level::Note, "unknown", None),
    }
}

fn clock(report: &Report) -> Line {
    let item = Item::Clock;
    let found = &report.coordinator;
    match (found.clock_ahead_ms, found.clock_within_ms) {
        (Some(ahead), Some(within)) => {
            let value = format!(
                "{:+.1} s (±{:.1} s)",
                seconds(ahead),
                within as f64 / 1000.0
            );
            let far = ahead.unsigned_abs() > CLOCK_NOTE_MS.saturating_add(within);
            if far {
                line(item, Level::Note, value, Some(Advice::SetClock))
            } else {
                line(item, Level::Ok, value, None)
            }
        }
        _ => line(item, Level::Note, "unknown", None),
    }
}

fn seconds(ms: i64) -> f64 {
    ms as f64 / 1000.0
}

fn proxy(report: &Report) -> Line {
    let item = Item::Proxy;
    match &report.proxy.used {
        Some(address) => line(item, Level::Note, address, None),
        None if report.proxy.set_but_not_used => line(item, Level::Ok, "not-for-us", None),
        None => line(item, Level::Ok, "none", None),
    }
}

fn loopback(works: Option<bool>) -> Line {
    let item = Item::Loopback;
    match works {
        Some(true) => line(item, Level::Ok, "yes", None),
        Some(false) => line(item, Level::Bad, "no", Some(Advice::AllowLoopback)),
        None => line(item, Level::Note, "unknown", None),
    }
}

fn udp(report: &Report) -> Line {
    let item = Item::Udp;
    match report.udp {
        Some(true) => line(item, Level::Ok, "yes", None),
        Some(false) => line(item, Level::Note, "no", Some(Advice::AllowUdp)),
        None if report.servers.is_empty() => {
            line(item, Level::Note, "unknown", Some(Advice::NameStunServer))
        }
        None => line(item, Level::Note, "unknown", None),
    }
}

fn family(item: Item, family: &Family) -> Line {
    let value = match (family.local, family.seen) {
        (Some(local), Some(seen)) if local == seen.ip() => format!("{local}"),
        (Some(local), Some(seen)) => format!("{local} → {seen}"),
        (Some(local), None) => format!("{local}"),
        (None, _) => "none".to_owned(),
    };
    let level = match family.udp {
        Some(true) => Level::Ok,
        // A machine without IPv6 is a usual one.
        _ if item == Item::Ipv6 && family.local.is_none() => Level::Ok,
        _ => Level::Note,
    };
    line(item, level, value, None)
}

fn router(report: &Report) -> Vec<Line> {
    let nat = &report.nat;
    let (level, advice) = match nat.kind {
        NatType::Open | NatType::FullCone | NatType::RestrictedCone => (Level::Ok, None),
        NatType::PortRestrictedCone => (Level::Ok, None),
        NatType::Symmetric => (Level::Note, Some(Advice::NeedsRelay)),
        NatType::UdpBlocked => (Level::Note, Some(Advice::AllowUdp)),
        NatType::Unknown if report.udp == Some(true) => {
            (Level::Note, Some(Advice::NameBetterStunServer))
        }
        NatType::Unknown => (Level::Note, None),
    };
    let mut lines = vec![line(Item::NatType, level, nat.kind.name(), advice)];
    if report.udp != Some(true) {
        return lines;
    }
    let known = |known: bool| if known { Level::Ok } else { Level::Note };
    lines.push(line(
        Item::Mapping,
        known(nat.mapping != Mapping::Unknown),
        mapping_name(nat.mapping),
        None,
    ));
    lines.push(line(
        Item::Filtering,
        known(nat.filtering != Filtering::Unknown),
        filtering_name(nat.filtering),
        None,
    ));
    if nat.mapping != Mapping::None {
        lines.push(line(
            Item::Hairpinning,
            known(nat.hairpinning.is_some()),
            yes_no(nat.hairpinning),
            None,
        ));
        let advice = (nat.double == Some(true)).then_some(Advice::OneRouterTooMany);
        let level = known(nat.double == Some(false));
        lines.push(line(Item::DoubleNat, level, yes_no(nat.double), advice));
    }
    lines
}

fn mapping_name(mapping: Mapping) -> &'static str {
    match mapping {
        Mapping::Unknown => "unknown",
        Mapping::None => "none",
        Mapping::EndpointIndependent => "endpoint-independent",
        Mapping::AddressDependent => "address-dependent",
        Mapping::AddressAndPortDependent => "address-and-port-dependent",
        Mapping::Dependent => "dependent",
    }
}

fn filtering_name(filtering: Filtering) -> &'static str {
    match filtering {
        Filtering::Unknown => "unknown",
        Filtering::EndpointIndependent => "endpoint-independent",
        Filtering::AddressDependent => "address-dependent",
        Filtering::AddressAndPortDependent => "address-and-port-dependent",
    }
}

fn port_mapping(report: &Report) -> Line {
    let item = Item::PortMapping;
    let found = &report.port_mapping;
    let protocols = [
        ("upnp", found.upnp),
        ("nat-pmp", found.nat_pmp),
        ("pcp", found.pcp),
    ];
    let there = protocols.iter().filter(|(_, there)| *there == Some(true));
    let there: Vec<&str> = there.map(|(name, _)| *name).collect();
    match (found.available(), found.external) {
        (Some(true), Some(external)) => {
            let value = format!("{}: {external}", there.join(", "));
            line(item, Level::Ok, value, None)
        }
        (Some(true), None) if !found.enabled => {
            let value = format!("{} (off)", there.join(", "));
            line(item, Level::Note, value, Some(Advice::SwitchOnPortMapping))
        }
        (Some(true), None) => line(item, Level::Note, there.join(", "), None),
        (Some(false), _) => line(item, Level::Note, "none", None),
        (None, _) => line(item, Level::Note, "unknown", None),
    }
}

fn server(server: &Server) -> Line {
    let (item, refused) = match server.kind {
        ServerKind::Stun => (Item::StunServer, Advice::CheckServer),
        ServerKind::Turn => (Item::TurnServer, Advice::CheckRelayCredentials),
    };
    let (level, word, advice) = match server.answer {
        ServerAnswer::Good => (Level::Ok, "answers", None),
        ServerAnswer::Unknown => (Level::Note, "unknown", None),
        ServerAnswer::NoAddress => (Level::Note, "no-address", Some(Advice::CheckServer)),
        ServerAnswer::Silent => (Level::Note, "silent", Some(Advice::CheckServer)),
        ServerAnswer::Refused => (Level::Note, "refused", Some(refused)),
        ServerAnswer::NotUsed => (Level::Note, "not-used", Some(Advice::UseUdpUrl)),
    };
    let value = match server.rtt_ms {
        Some(rtt) => format!("{} {word}, {}", server.url, ms(rtt)),
        None => format!("{} {word}", server.url),
    };
    line(item, level, value, advice)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Coordinator;

    fn good() -> Report {
        Report {
            udp: Some(true),
            loopback: Some(true),
            coordinator: Coordinator {
                reached: Reached::Coordinator,
                ..Coordinator::default()
            },
            ..Report::default()
        }
    }

    fn find(report: &Report, item: Item) -> Line {
        let mut lines = lines(report).into_iter();
        lines.find(|line| line.item == item).unwrap()
    }

    #[test]
    fn nothing_measured_is_unknown_and_no_play() {
        let report = Report::default();
        let lines = lines(&report);
        assert_eq!(play(&lines), Play::Impossible);
        for one in &lines {
            assert!(one.level != Level::Ok || matches!(one.item, Item::Proxy | Item::Ipv6));
        }
        assert_eq!(find(&report, Item::NatType).value, "unknown");
        assert_eq!(
            find(&report, Item::Udp).advice,
            Some(Advice::NameStunServer)
        );
    }

    #[test]
    fn only_what_prevents_play_is_bad() {
        assert_eq!(play(&lines(&good())), Play::Works);
        let blocked = Report {
            udp: Some(false),
            ..good()
        };
        assert_eq!(
            play(&lines(&blocked)),
            Play::Works,
            "there is the WebSocket"
        );
        let no_loopback = Report {
            loopback: Some(false),
            ..good()
        };
        assert_eq!(play(&lines(&no_loopback)), Play::Impossible);
        for reached in [
            Reached::Unknown,
            Reached::Unwell,
            Reached::SomethingElse,
            Reached::Untrusted,
            Reached::Nobody,
        ] {
            let mut report = good();
            report.coordinator.reached = reached;
            assert_eq!(play(&lines(&report)), Play::Impossible, "{reached:?}");
        }
    }

    #[test]
    fn a_wrong_clock_is_noted_only_beyond_doubt() {
        for (ahead, within, level) in [
            (0, 1000, Level::Ok),
            (30_900, 1000, Level::Ok),
            (31_100, 1000, Level::Note),
            (-40_000, 50, Level::Note),
            (i64::MIN, 50, Level::Note),
        ] {
            let mut report = good();
            report.coordinator.clock_ahead_ms = Some(ahead);
            report.coordinator.clock_within_ms = Some(within);
            assert_eq!(find(&report, Item::Clock).level, level, "{ahead}");
        }
    }

    #[test]
    fn port_mapping_is_none_only_when_all_three_said_no() {
        let mut report = good();
        report.port_mapping.upnp = Some(false);
        report.port_mapping.pcp = Some(false);
        assert_eq!(find(&report, Item::PortMapping).value, "unknown");
        report.port_mapping.nat_pmp = Some(false);
        assert_eq!(find(&report, Item::PortMapping).value, "none");
        report.port_mapping.nat_pmp = Some(true);
        let off = find(&report, Item::PortMapping);
        assert_eq!(off.advice, Some(Advice::SwitchOnPortMapping));
    }
}
