//! Everything that is measured. `None` and `unknown` mean: not measured, or not answered in time.

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use crate::nat::{Filtering, Mapping, NatType};

/// The whole report.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ts_rs::TS)]
#[ts(rename = "NetworkReport")]
pub struct Report {
    /// How long it took, ms.
    #[ts(type = "number")]
    pub took_ms: u64,
    /// Whether datagrams come back from outside, over any family.
    pub udp: Option<bool>,
    /// IPv4.
    pub ipv4: Family,
    /// IPv6.
    pub ipv6: Family,
    /// The router, as seen over IPv4, or over IPv6 where only that is answered.
    pub nat: Nat,
    /// Whether the router opens ports when asked.
    pub port_mapping: PortMapping,
    /// Each STUN and TURN server.
    pub servers: Vec<Server>,
    /// The coordinator.
    pub coordinator: Coordinator,
    /// Whether programs on this machine reach each other over 127.0.0.1.
    pub loopback: Option<bool>,
    /// The system's firewall asks before a program may be reached; `false` where it does not.
    pub firewall_asks: bool,
    /// What stands between this machine and the web by its own settings.
    pub proxy: Proxy,
}

/// One family of addresses.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ts_rs::TS)]
#[ts(rename = "FamilyReport")]
pub struct Family {
    /// This machine's address towards the first server.
    #[ts(type = "string | null")]
    pub local: Option<IpAddr>,
    /// Address and port that a server saw.
    #[ts(type = "string | null")]
    pub seen: Option<SocketAddr>,
    /// Whether any server answered over UDP.
    pub udp: Option<bool>,
}

/// The router.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ts_rs::TS)]
#[ts(rename = "NatReport")]
pub struct Nat {
    /// The type by name.
    pub kind: NatType,
    /// How ports outside are chosen.
    pub mapping: Mapping,
    /// Who gets in.
    pub filtering: Filtering,
    /// Whether the own address outside is reached from inside. Unknown without a translation.
    pub hairpinning: Option<bool>,
    /// Whether a second router translates behind the first. Known only where the first one tells
    /// its own address outside.
    pub double: Option<bool>,
}

/// Port mapping by the router.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ts_rs::TS)]
#[ts(rename = "PortMappingReport")]
pub struct PortMapping {
    /// `webrtc.port_mapping`: a port may really be opened, and was tried.
    pub enabled: bool,
    /// UPnP Internet Gateway Device.
    pub upnp: Option<bool>,
    /// NAT Port Mapping Protocol (RFC 6886).
    pub nat_pmp: Option<bool>,
    /// Port Control Protocol (RFC 6887). Beside NAT-PMP only a request for a port tells.
    pub pcp: Option<bool>,
    /// The router's own address outside, as it says.
    #[ts(type = "string | null")]
    pub router: Option<IpAddr>,
    /// The address and port outside that the router gave.
    #[ts(type = "string | null")]
    pub external: Option<SocketAddr>,
}

impl PortMapping {
    /// Whether any protocol is there; unknown while one is and none is found.
    pub fn available(&self) -> Option<bool> {
        let all = [self.upnp, self.nat_pmp, self.pcp];
        if all.contains(&Some(true)) {
            Some(true)
        } else if all.contains(&None) {
            None
        } else {
            Some(false)
        }
    }
}

/// What a server is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ts_rs::TS)]
#[serde(rename_all = "kebab-case")]
#[ts(rename = "IceServerKind")]
pub enum ServerKind {
    /// Where this machine is seen from.
    Stun,
    /// A relay.
    Turn,
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ts_rs::TS)]
#[serde(rename_all = "kebab-case")]
#[ts(rename = "IceServerAnswer")]
pub enum ServerAnswer {
    /// Not asked, or the time was over.
    #[default]
    Unknown,
    /// As it should; of a relay: an allocation was made and given back.
    Good,
    /// Its name has no address.
    NoAddress,
    /// It did not answer.
    Silent,
    /// It answered and refused: wrong credentials, or no room.
    Refused,
    /// Over TCP or TLS, which the WebRTC path does not use.
    NotUsed,
}

/// A STUN or TURN server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ts_rs::TS)]
#[ts(rename = "IceServerReport")]
pub struct Server {
    /// As it was configured; it holds no credentials.
    pub url: String,
    /// What it is.
    pub kind: ServerKind,
    /// What came of it.
    pub answer: ServerAnswer,
    /// Round trip of a binding request, ms.
    pub rtt_ms: Option<f64>,
    /// It has a second address (RFC 5780), and so can tell filtering.
    pub tells_filtering: Option<bool>,
}

/// Who answers at the coordinator's address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ts_rs::TS)]
#[serde(rename_all = "kebab-case")]
#[ts(rename = "CoordinatorReached")]
pub enum Reached {
    /// Not asked, or the time was over.
    #[default]
    Unknown,
    /// The coordinator.
    Coordinator,
    /// The coordinator, which says that it is not well.
    Unwell,
    /// Something else: a sign-in page of the network, or a wrong address.
    SomethingElse,
    /// Somebody whose certificate does not prove the name.
    Untrusted,
    /// Nobody.
    Nobody,
}

/// The coordinator.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ts_rs::TS)]
#[ts(rename = "CoordinatorReport")]
pub struct Coordinator {
    /// Its address, without credentials.
    pub url: String,
    /// Who answers there.
    pub reached: Reached,
    /// Round trip of a request over an open connection, ms.
    pub rtt_ms: Option<f64>,
    /// How much this machine's clock is ahead of the coordinator's, ms.
    #[ts(type = "number | null")]
    pub clock_ahead_ms: Option<i64>,
    /// How far that may be off, ms.
    #[ts(type = "number | null")]
    pub clock_within_ms: Option<u64>,
}

/// Proxies by the environment of this process.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ts_rs::TS)]
#[ts(rename = "ProxyReport")]
pub struct Proxy {
    /// The proxy that requests to the coordinator go through, without credentials.
    pub used: Option<String>,
    /// A proxy is set, and the coordinator is exempt from it or of another scheme.
    pub set_but_not_used: bool,
}
