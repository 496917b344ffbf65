//! Mapping, filtering, and the type that they make.
//!
//! | mapping | filtering: endpoint-independent | address-dependent | address and port-dependent |
//! |---|---|---|---|
//! | none | `open` | `restricted-cone` (a firewall) | `port-restricted-cone` (a firewall) |
//! | endpoint-independent | `full-cone` | `restricted-cone` | `port-restricted-cone` |
//! | dependent in any way | `symmetric` | `symmetric` | `symmetric` |
//!
//! The names are those of RFC 3489, section 5, which players and routers' menus know; the
//! behaviours behind them are those of RFC 4787. A firewall that translates nothing has the name of
//! the router that peers have to treat in the same way. Where filtering is unknown the type is too,
//! except behind a mapping that depends on the destination. Several routers in a row have the type
//! of the strictest: what a single test from inside can see is the row as a whole.

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

/// How ports outside are chosen (RFC 4787, section 4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ts_rs::TS)]
#[serde(rename_all = "kebab-case")]
#[ts(rename = "NatMapping")]
pub enum Mapping {
    /// Not measured, or with one server only.
    #[default]
    Unknown,
    /// The address outside is the machine's own.
    None,
    /// The same for every destination.
    EndpointIndependent,
    /// Another for each address.
    AddressDependent,
    /// Another for each address and port.
    AddressAndPortDependent,
    /// Differs between destinations; not told which of the two above.
    Dependent,
}

/// Who gets in through a port that was used (RFC 4787, section 5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ts_rs::TS)]
#[serde(rename_all = "kebab-case")]
#[ts(rename = "NatFiltering")]
pub enum Filtering {
    /// Not measured, or by no server that can (RFC 5780).
    #[default]
    Unknown,
    /// Everybody.
    EndpointIndependent,
    /// Addresses that something was sent to.
    AddressDependent,
    /// Addresses and ports that something was sent to.
    AddressAndPortDependent,
}

/// The six types, and not knowing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ts_rs::TS)]
#[serde(rename_all = "kebab-case")]
pub enum NatType {
    /// Not told.
    #[default]
    Unknown,
    /// No translation and no filter.
    Open,
    /// One port outside, reachable by all.
    FullCone,
    /// One port outside, reachable by contacted addresses.
    RestrictedCone,
    /// One port outside, reachable by contacted addresses and ports.
    PortRestrictedCone,
    /// Another port outside for each destination.
    Symmetric,
    /// No datagram comes back at all.
    UdpBlocked,
}

impl NatType {
    /// The six, without [`Unknown`](Self::Unknown).
    pub const ALL: [Self; 6] = [
        Self::Open,
        Self::FullCone,
        Self::RestrictedCone,
        Self::PortRestrictedCone,
        Self::Symmetric,
        Self::UdpBlocked,
    ];

    /// As it is written in a report.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Open => "open",
            Self::FullCone => "full-cone",
            Self::RestrictedCone => "restricted-cone",
            Self::PortRestrictedCone => "port-restricted-cone",
            Self::Symmetric => "symmetric",
            Self::UdpBlocked => "udp-blocked",
        }
    }

    /// The table at the top. `udp`: whether datagrams come back at all.
    pub fn of(udp: Option<bool>, mapping: Mapping, filtering: Filtering) -> Self {
        match udp {
            None => return Self::Unknown,
            Some(false) => return Self::UdpBlocked,
            Some(true) => {}
        }
        match (mapping, filtering) {
            (
                Mapping::AddressDependent | Mapping::AddressAndPortDependent | Mapping::Dependent,
                _,
            ) => Self::Symmetric,
            (Mapping::Unknown, _) | (_, Filtering::Unknown) => Self::Unknown,
            (Mapping::None, Filtering::EndpointIndependent) => Self::Open,
            (Mapping::EndpointIndependent, Filtering::EndpointIndependent) => Self::FullCone,
            (_, Filtering::AddressDependent) => Self::RestrictedCone,
            (_, Filtering::AddressAndPortDependent) => Self::PortRestrictedCone,
        }
    }
}

/// One answer to one socket: which server was asked, and from where it saw the question come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mapped {
    /// The address and port that were asked.
    pub server: SocketAddr,
    /// The sender's address and port as the server saw them.
    pub seen: SocketAddr,
}

impl Mapping {
    /// What the answers to one socket at `local` say together, in any order.
    ///
    /// RFC 5780, section 4.3, in terms of what was seen: two addresses that saw the same prove
    /// independence; two ports of one address that saw different ones prove dependence on ports;
    /// ports that saw the same beside addresses that did not, dependence on addresses alone.
    pub fn of(local: SocketAddr, answers: &[Mapped]) -> Self {
        let Some(first) = answers.first() else {
            return Self::Unknown;
        };
        if answers.iter().all(|one| one.seen == local) {
            return Self::None;
        }
        let pairs = || {
            let indexed = answers.iter().enumerate();
            indexed.flat_map(|(at, one)| answers[at + 1..].iter().map(move |two| (one, two)))
        };
        let same_address = |(one, two): &(&Mapped, &Mapped)| {
            one.server.ip() == two.server.ip() && one.server.port() != two.server.port()
        };
        if answers.iter().any(|one| one.seen != first.seen) {
            let mut ports = pairs().filter(same_address).peekable();
            if ports.peek().is_none() {
                return Self::Dependent;
            }
            return if ports.all(|(one, two)| one.seen == two.seen) {
                Self::AddressDependent
            } else {
                Self::AddressAndPortDependent
            };
        }
        if pairs().any(|(one, two)| one.server.ip() != two.server.ip()) {
            Self::EndpointIndependent
        } else {
            Self::Unknown
        }
    }
}

/// What came of the tests of RFC 5780, section 4.4, over one socket that had sent nothing but a
/// question to the server's first address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FilteringSeen {
    /// The answer from the server's other address and other port came.
    pub other_address: bool,
    /// The answer from the server's first address and other port came.
    pub other_port: bool,
    /// The server still answered from its first address and port afterwards: what did not come was
    /// filtered, and not lost with the network.
    pub alive_after: bool,
}

impl Filtering {
    /// What they say together.
    pub fn of(seen: FilteringSeen) -> Self {
        match seen {
            FilteringSeen {
                other_address: true,
                ..
            } => Self::EndpointIndependent,
            FilteringSeen {
                alive_after: false, ..
            } => Self::Unknown,
            FilteringSeen {
                other_port: true, ..
            } => Self::AddressDependent,
            _ => Self::AddressAndPortDependent,
        }
    }
}

/// Whether a server's word that `other` is its other address may be followed: something is sent
/// there, so a lying server could have us knock on doors it does not see. It must be of the same
/// family, differ in address and port (RFC 5780, section 7.4), be an ordinary address, and lie in
/// the private part of the internet only when the server does.
pub fn may_follow(server: SocketAddr, other: SocketAddr) -> bool {
    server.is_ipv4() == other.is_ipv4()
        && server.ip() != other.ip()
        && server.port() != other.port()
        && other.port() != 0
        && is_host(other.ip())
        && (!is_private(other.ip()) || is_private(server.ip()))
        && (!other.ip().is_loopback() || server.ip().is_loopback())
}

/// An address that one host has, and that means the same to whoever hears of it: not unspecified,
/// multicast or broadcast, not `0/8` and no IPv4 address in IPv6 clothes, and not link-local, which
/// IPv6 sockets reach with a scope only. Loopback counts as one.
pub fn is_host(ip: IpAddr) -> bool {
    let special = match ip {
        IpAddr::V4(ip) => ip.is_broadcast() || ip.is_link_local() || ip.octets()[0] == 0,
        IpAddr::V6(ip) => ip.is_unicast_link_local() || ip.to_ipv4_mapped().is_some(),
    };
    !special && !ip.is_unspecified() && !ip.is_multicast()
}

/// Addresses that mean something else in every network: RFC 1918, RFC 6598, RFC 4193, loopback.
fn is_private(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            let [a, b, ..] = ip.octets();
            ip.is_private() || ip.is_loopback() || (a == 100 && b & 0xc0 == 64)
        }
        IpAddr::V6(ip) => ip.is_unique_local() || ip.is_loopback(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn answers(list: &[(&str, &str)]) -> Vec<Mapped> {
        let one = |(server, seen): &(&str, &str)| Mapped {
            server: at(server),
            seen: at(seen),
        };
        list.iter().map(one).collect()
    }

    const LOCAL: &str = "10.0.0.2:5000";
    const PORT: &str = "198.51.100.7:5000";
    const ELSEWHERE: &str = "198.51.100.7:6000";
    const THIRD: &str = "198.51.100.7:7000";
    const ONE: &str = "203.0.113.1:3478";
    const ONE_B: &str = "203.0.113.1:3479";
    const TWO: &str = "203.0.113.2:3478";
    const TWO_B: &str = "203.0.113.2:3479";

    #[test]
    fn mappings_are_told_by_what_was_seen_where() {
        for (seen, mapping) in [
            (vec![], Mapping::Unknown),
            (vec![(ONE, LOCAL)], Mapping::None),
            (vec![(ONE, LOCAL), (TWO, LOCAL)], Mapping::None),
            (vec![(ONE, PORT)], Mapping::Unknown),
            (vec![(ONE, PORT), (ONE_B, PORT)], Mapping::Unknown),
            (vec![(ONE, PORT), (TWO, PORT)], Mapping::EndpointIndependent),
            (
                vec![(ONE, PORT), (TWO, PORT), (TWO_B, PORT)],
                Mapping::EndpointIndependent,
            ),
            (vec![(ONE, PORT), (TWO, ELSEWHERE)], Mapping::Dependent),
            (
                vec![(ONE, PORT), (TWO, ELSEWHERE), (TWO_B, ELSEWHERE)],
                Mapping::AddressDependent,
            ),
            (
                vec![(ONE, PORT), (TWO, ELSEWHERE), (TWO_B, THIRD)],
                Mapping::AddressAndPortDependent,
            ),
            (
                vec![(ONE, PORT), (ONE_B, ELSEWHERE)],
                Mapping::AddressAndPortDependent,
            ),
        ] {
            assert_eq!(Mapping::of(at(LOCAL), &answers(&seen)), mapping, "{seen:?}");
        }
    }

    #[test]
    fn filtering_that_was_not_proven_is_unknown() {
        let of = |other_address, other_port, alive_after| {
            Filtering::of(FilteringSeen {
                other_address,
                other_port,
                alive_after,
            })
        };
        for alive in [true, false] {
            assert_eq!(of(true, true, alive), Filtering::EndpointIndependent);
            assert_eq!(of(true, false, alive), Filtering::EndpointIndependent);
        }
        assert_eq!(of(false, true, true), Filtering::AddressDependent);
        assert_eq!(of(false, false, true), Filtering::AddressAndPortDependent);
        assert_eq!(of(false, false, false), Filtering::Unknown);
        assert_eq!(of(false, true, false), Filtering::Unknown);
    }

    #[test]
    fn the_six_types_follow_from_mapping_and_filtering() {
        use Filtering as F;
        use Mapping as M;
        let of = |mapping, filtering| NatType::of(Some(true), mapping, filtering);
        assert_eq!(of(M::None, F::EndpointIndependent), NatType::Open);
        assert_eq!(
            of(M::EndpointIndependent, F::EndpointIndependent),
            NatType::FullCone
        );
        for cone in [M::None, M::EndpointIndependent] {
            assert_eq!(of(cone, F::AddressDependent), NatType::RestrictedCone);
            assert_eq!(
                of(cone, F::AddressAndPortDependent),
                NatType::PortRestrictedCone
            );
            assert_eq!(of(cone, F::Unknown), NatType::Unknown);
        }
        let dependent = [
            M::AddressDependent,
            M::AddressAndPortDependent,
            M::Dependent,
        ];
        for mapping in dependent {
            assert_eq!(of(mapping, F::Unknown), NatType::Symmetric);
            assert_eq!(of(mapping, F::EndpointIndependent), NatType::Symmetric);
        }
        assert_eq!(of(M::Unknown, F::AddressDependent), NatType::Unknown);
        let blocked = NatType::of(Some(false), M::Unknown, F::Unknown);
        assert_eq!(blocked, NatType::UdpBlocked);
        let unknown = NatType::of(None, M::EndpointIndependent, F::AddressDependent);
        assert_eq!(unknown, NatType::Unknown);
    }

    #[test]
    fn names_are_those_that_are_serialised() {
        for kind in NatType::ALL.into_iter().chain([NatType::Unknown]) {
            assert_eq!(serde_json::json!(kind), kind.name());
        }
    }

    #[test]
    fn a_server_cannot_send_us_where_it_likes() {
        let server = at(ONE);
        assert!(may_follow(server, at(TWO_B)));
        for other in [
            ONE,
            ONE_B,
            TWO,
            "203.0.113.2:0",
            "127.0.0.1:22",
            "10.0.0.1:53",
            "192.168.1.1:80",
            "100.64.0.1:80",
            "224.0.0.1:5",
            "255.255.255.255:9",
            "0.0.0.0:9",
            "169.254.1.1:80",
            "[2001:db8::1]:3479",
        ] {
            assert!(!may_follow(server, at(other)), "{other}");
        }
        let six = at("[2001:db8::1]:3478");
        assert!(may_follow(six, at("[2001:db8::2]:3479")));
        for other in [
            "[::1]:3479",
            "[fd00::1]:3479",
            "[fe80::1]:3479",
            "[ff02::1]:3479",
        ] {
            assert!(!may_follow(six, at(other)), "{other}");
        }
        assert!(may_follow(at("127.0.0.1:3478"), at("127.0.0.2:3479")));
        assert!(may_follow(at("10.0.0.1:3478"), at("10.0.0.2:3479")));
    }

    /// How a simulated router chooses the port outside.
    #[derive(Debug, Clone, Copy)]
    enum Chooses {
        Own,
        One,
        ByAddress,
        ByEndpoint,
    }

    fn address(host: u8) -> IpAddr {
        IpAddr::from([203, 0, 113, host])
    }

    proptest! {
        /// Any set of servers behind any router: what is said is never wrong, only less.
        #[test]
        fn mapping_never_says_more_than_is_true(
            kind in prop_oneof![
                Just(Chooses::Own), Just(Chooses::One),
                Just(Chooses::ByAddress), Just(Chooses::ByEndpoint),
            ],
            servers in prop::collection::vec((1_u8..4, 1_u16..4), 0..8),
        ) {
            let local = at(LOCAL);
            let list: Vec<Mapped> = servers.iter().map(|(host, port)| {
                let out = |port| SocketAddr::from(([198, 51, 100, 7], port));
                let seen = match kind {
                    Chooses::Own => local,
                    Chooses::One => out(1000),
                    Chooses::ByAddress => out(1000 + u16::from(*host)),
                    Chooses::ByEndpoint => out(1000 + u16::from(*host) * 16 + port),
                };
                Mapped { server: SocketAddr::new(address(*host), *port), seen }
            }).collect();
            let said = Mapping::of(local, &list);
            let allowed: &[Mapping] = match kind {
                Chooses::Own => &[Mapping::None],
                Chooses::One => &[Mapping::EndpointIndependent],
                Chooses::ByAddress => &[Mapping::AddressDependent, Mapping::Dependent],
                Chooses::ByEndpoint => &[Mapping::AddressAndPortDependent, Mapping::Dependent],
            };
            prop_assert!(said == Mapping::Unknown || allowed.contains(&said), "{said:?}");
            // Order does not matter.
            let mut turned = list;
            turned.reverse();
            prop_assert_eq!(Mapping::of(local, &turned), said);
        }

        /// Whatever a server claims, nothing but an ordinary address elsewhere is followed.
        #[test]
        fn only_ordinary_addresses_are_followed(octets: [u8; 4], port: u16, wide: [u8; 16]) {
            let server = at(ONE);
            let four = SocketAddr::from((octets, port));
            if may_follow(server, four) {
                prop_assert!(!is_private(four.ip()) && is_host(four.ip()));
                prop_assert!(four.ip() != server.ip() && port != server.port() && port != 0);
            }
            prop_assert!(!may_follow(server, SocketAddr::from((wide, port))));
        }
    }
}
