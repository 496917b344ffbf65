//! Routers that translate addresses, with the behaviours that RFC 4787 names, out of nftables.
//!
//! ```text
//!   player ── inside ── router (Nat) ── outside ── internet ── servers on addresses of its own
//! ```
//!
//! Connection tracking keeps the source port of a host inside where it can and lets in what answers,
//! so a plain `masquerade` maps by host and port alone and filters by address and port. What the
//! other kinds do differently is told at [`NatKind`]. Two hosts behind one router must not use the
//! same port: one of them would get another one, and its mapping would depend on the destination.
//!
//! A datagram that a router does not let in is dropped before connection tracking keeps it. Were it
//! answered or kept, a later one outwards to the same address would get another port, and a hole
//! that two peers punch at the same time would fail in a way that no real router knows.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};

use crate::emulator::LinkEmulator;
use crate::namespace::{Namespace, ip, next_number};
use crate::veth::{VethPair, public_pair, veth_pair};

/// How long a mapping of UDP lasts without a datagram outwards. RFC 4787 (REQ-5) wants at least two
/// minutes.
const MAPPING: &str = "2m";

/// What a router does with the datagrams of those behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NatKind {
    /// Passes everything and translates nothing.
    None,
    /// Endpoint-independent mapping and filtering: a port that was used may be reached by anyone.
    FullCone,
    /// Endpoint-independent mapping, address-dependent filtering: a port that was used may be
    /// reached from every port of an address that something was sent to.
    RestrictedCone,
    /// Endpoint-independent mapping, address and port-dependent filtering.
    PortRestrictedCone,
    /// Another port for each destination, and only this destination gets in.
    Symmetric,
    /// TCP is translated; UDP vanishes in both directions.
    UdpBlocked,
    /// Only TCP to this one address and port gets out: a network with nothing but a proxy.
    OnlyTcpTo(SocketAddrV4),
}

/// One interface of a router, and who is at the other end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// Name of the interface in the router.
    pub interface: String,
    /// The router's address on it.
    pub own: Ipv4Addr,
    /// The address at the other end of the cable.
    pub other: Ipv4Addr,
}

impl VethPair {
    /// The end in the first namespace.
    #[must_use]
    pub fn port_a(&self) -> Port {
        Port {
            interface: self.interface_a.clone(),
            own: self.address_a,
            other: self.address_b,
        }
    }

    /// The end in the second namespace.
    #[must_use]
    pub fn port_b(&self) -> Port {
        Port {
            interface: self.interface_b.clone(),
            own: self.address_b,
            other: self.address_a,
        }
    }
}

impl LinkEmulator {
    /// The end in the first namespace.
    #[must_use]
    pub fn port_a(&self) -> Port {
        Port {
            interface: self.interface_a().to_owned(),
            own: self.address_a(),
            other: self.address_b(),
        }
    }

    /// The end in the second namespace.
    #[must_use]
    pub fn port_b(&self) -> Port {
        Port {
            interface: self.interface_b().to_owned(),
            own: self.address_b(),
            other: self.address_a(),
        }
    }
}

/// A namespace made into a router of some kind; it stops to pass anything new when this value ends,
/// so that another kind can take its place.
#[derive(Debug)]
pub struct Nat {
    router: String,
    table: String,
    kind: NatKind,
}

impl Nat {
    /// Makes `router` translate between its two ports. Its routes are the caller's
    /// ([`route_default`], [`route`]); [`Home`] sets up both.
    ///
    /// # Errors
    /// `nft` or `ip` fail; the text is what they said.
    pub fn new(kind: NatKind, router: &Namespace, inside: &Port, outside: &Port) -> Result<Self> {
        Self::make(kind, false, router, inside, outside)
    }

    /// As [`new`](Self::new), and those behind it reach each other, and themselves, by the address
    /// outside (RFC 4787, section 6).
    ///
    /// # Errors
    /// As [`new`](Self::new); or the kind keeps no mapping that could be reached from inside.
    pub fn hairpinning(
        kind: NatKind,
        router: &Namespace,
        inside: &Port,
        outside: &Port,
    ) -> Result<Self> {
        Self::make(kind, true, router, inside, outside)
    }

    fn make(
        kind: NatKind,
        hairpin: bool,
        router: &Namespace,
        inside: &Port,
        outside: &Port,
    ) -> Result<Self> {
        if hairpin && !kind.is_cone() {
            bail!("{kind:?} cannot hairpin");
        }
        forward(router)?;
        let table = format!("warpnat{}", next_number());
        router.nft(&rules(&table, kind, hairpin, inside, outside))?;
        Ok(Self {
            router: router.name().to_owned(),
            table,
            kind,
        })
    }

    /// The kind that it was made as.
    #[must_use]
    pub fn kind(&self) -> NatKind {
        self.kind
    }
}

impl Drop for Nat {
    fn drop(&mut self) {
        // The namespace may have ended before; then the rules have as well.
        let delete = ["nft", "delete", "table", "ip", &self.table];
        ip(&[&["netns", "exec", &self.router][..], &delete[..]].concat()).ok();
    }
}

impl NatKind {
    /// One port outside for each port inside, whatever the destination.
    fn is_cone(self) -> bool {
        matches!(
            self,
            Self::FullCone | Self::RestrictedCone | Self::PortRestrictedCone
        )
    }
}

/// The rule set of a router.
fn rules(table: &str, kind: NatKind, hairpin: bool, inside: &Port, outside: &Port) -> String {
    let (within, without) = (&inside.interface, &outside.interface);
    let public = outside.own;
    if kind == NatKind::None {
        return format!("table ip {table} {{\n}}\n");
    }
    let random = match kind {
        NatKind::Symmetric => " random,fully-random",
        _ => "",
    };
    let mut text = format!(
        "table ip {table} {{\n\
         chain after {{\n type nat hook postrouting priority srcnat; policy accept;\n \
         oifname {without:?} masquerade{random}\n}}\n\
         chain own {{\n type filter hook input priority 0; policy accept;\n \
         iifname {without:?} meta l4proto udp drop\n}}\n"
    );
    match kind {
        NatKind::UdpBlocked => text.push_str(
            "chain pass {\n type filter hook forward priority 0; policy accept;\n \
             meta l4proto udp drop\n}\n",
        ),
        NatKind::OnlyTcpTo(proxy) => text.push_str(&format!(
            "chain pass {{\n type filter hook forward priority 0; policy drop;\n \
             ct state established accept\n \
             iifname {within:?} ip daddr {} tcp dport {} accept\n}}\n",
            proxy.ip(),
            proxy.port()
        )),
        _ => {}
    }
    if kind.is_cone() {
        // What went out, by its port, which stays the same outside.
        text.push_str(&format!(
            "map mapped {{\n type inet_service : ipv4_addr\n flags dynamic,timeout\n \
             timeout {MAPPING}\n size 4096\n}}\n\
             set contacted {{\n type inet_service . ipv4_addr\n flags dynamic,timeout\n \
             timeout {MAPPING}\n size 4096\n}}\n\
             chain learn {{\n type filter hook forward priority 0; policy accept;\n \
             iifname {within:?} oifname {without:?} meta l4proto udp \
             update @mapped {{ udp sport : ip saddr }} \
             update @contacted {{ udp sport . ip daddr }}\n}}\n"
        ));
    }
    if kind == NatKind::RestrictedCone {
        text.push_str(&format!(
            "chain screen {{\n type filter hook prerouting priority mangle; policy accept;\n \
             iifname {without:?} ip daddr {public} ct state new meta l4proto udp \
             udp dport . ip saddr != @contacted drop\n}}\n"
        ));
    }
    let to_mapped = format!("ip daddr {public} meta l4proto udp dnat to udp dport map @mapped\n");
    let mut before = String::new();
    if matches!(kind, NatKind::FullCone | NatKind::RestrictedCone) {
        before.push_str(&format!(" iifname {without:?} {to_mapped}"));
    }
    if hairpin {
        before.push_str(&format!(" iifname {within:?} {to_mapped}"));
        text.push_str(&format!(
            "chain turn {{\n type nat hook postrouting priority srcnat - 1; policy accept;\n \
             iifname {within:?} oifname {within:?} ct status dnat snat to {public}\n}}\n"
        ));
    }
    if !before.is_empty() {
        text.push_str(&format!(
            "chain before {{\n type nat hook prerouting priority dstnat; policy accept;\n{before}}}\n"
        ));
    }
    text.push_str("}\n");
    text
}

/// Makes a namespace pass packets between its interfaces.
fn forward(namespace: &Namespace) -> Result<()> {
    // These files are those of the namespace of whoever opens them.
    namespace
        .within(|| std::fs::write("/proc/sys/net/ipv4/ip_forward", "1"))?
        .context("cannot switch forwarding on")
}

/// Sends everything that a namespace has no route for through `port`.
///
/// # Errors
/// `ip` fails; the text is what it said.
pub fn route_default(namespace: &Namespace, port: &Port) -> Result<()> {
    route(namespace, "default", port)
}

/// Sends what goes to `network` (as `ip route` reads it) through `port`.
///
/// # Errors
/// `ip` fails; the text is what it said.
pub fn route(namespace: &Namespace, network: &str, port: &Port) -> Result<()> {
    let via = port.other.to_string();
    ip(&[
        "-n",
        namespace.name(),
        "route",
        "add",
        network,
        "via",
        &via,
        "dev",
        &port.interface,
    ])
    .map(drop)
}

/// What all homes are connected to: a namespace that routes, with addresses for servers.
#[derive(Debug)]
pub struct Internet {
    namespace: Arc<Namespace>,
}

impl Internet {
    /// An internet in which servers have the given addresses, for instance of 203.0.113.0/24
    /// (TEST-NET-3, RFC 5737). Programs started in [`namespace`](Self::namespace) bind them.
    ///
    /// # Errors
    /// `ip` fails; the text is what it said.
    pub fn new(servers: &[Ipv4Addr]) -> Result<Self> {
        let namespace = Arc::new(Namespace::new("internet")?);
        forward(&namespace)?;
        for address in servers {
            let address = format!("{address}/32");
            let name = namespace.name();
            ip(&["-n", name, "addr", "add", &address, "dev", "lo"])?;
        }
        Ok(Self { namespace })
    }

    /// Where servers run.
    #[must_use]
    pub fn namespace(&self) -> &Arc<Namespace> {
        &self.namespace
    }

    /// A home behind routers of these kinds, from the player outwards; none: connected directly.
    ///
    /// # Errors
    /// `ip` or `nft` fail; the text is what they said.
    pub fn home(&self, kinds: &[NatKind]) -> Result<Home> {
        Home::new(&self.namespace, kinds, false)
    }

    /// As [`home`](Self::home), with routers that hairpin.
    ///
    /// # Errors
    /// As [`home`](Self::home); or a kind that cannot hairpin.
    pub fn hairpinning_home(&self, kinds: &[NatKind]) -> Result<Home> {
        Home::new(&self.namespace, kinds, true)
    }
}

/// A player and the routers between them and the internet.
#[derive(Debug)]
pub struct Home {
    /// Where the player's programs run.
    pub player: Arc<Namespace>,
    /// The player's own address.
    pub address: Ipv4Addr,
    /// The address that the internet sees.
    pub public: Ipv4Addr,
    /// The routers, from the player outwards, each with its namespace.
    pub routers: Vec<Router>,
}

/// One of the routers of a [`Home`].
#[derive(Debug)]
pub struct Router {
    /// Where it runs.
    pub namespace: Arc<Namespace>,
    /// What it does.
    pub nat: Nat,
    /// Towards the player.
    pub inside: Port,
    /// Towards the internet.
    pub outside: Port,
}

impl Home {
    fn new(internet: &Arc<Namespace>, kinds: &[NatKind], hairpin: bool) -> Result<Self> {
        let player = Arc::new(Namespace::new("player")?);
        let mut hosts = vec![Arc::clone(&player)];
        for _ in kinds {
            hosts.push(Arc::new(Namespace::new("router")?));
        }
        hosts.push(Arc::clone(internet));
        let mut cables = Vec::new();
        for (at, pair) in hosts.windows(2).enumerate() {
            let [from, to] = pair else { continue };
            let cable = if at == kinds.len() {
                public_pair(from, to)?
            } else {
                veth_pair(from, to)?
            };
            route_default(from, &cable.port_a())?;
            cables.push(cable);
        }
        let mut routers = Vec::new();
        for (at, kind) in kinds.iter().enumerate() {
            let namespace = Arc::clone(&hosts[at + 1]);
            let (inside, outside) = (cables[at].port_b(), cables[at + 1].port_a());
            let nat = Nat::make(*kind, hairpin, &namespace, &inside, &outside)?;
            if *kind == NatKind::None {
                // Its own address is what those outside answer to.
                for outer in at + 1..cables.len() {
                    let network = format!("{}/32", cables[at].address_a);
                    route(&hosts[outer + 1], &network, &cables[outer].port_b())?;
                    let translates = kinds.get(outer).is_some_and(|kind| *kind != NatKind::None);
                    if translates {
                        break;
                    }
                }
            }
            routers.push(Router {
                namespace,
                nat,
                inside,
                outside,
            });
        }
        let translating = routers.iter().rev();
        let mut translating = translating.filter(|router| router.nat.kind() != NatKind::None);
        let address = cables[0].address_a;
        let public = translating.next().map_or(address, |one| one.outside.own);
        Ok(Self {
            player,
            address,
            public,
            routers,
        })
    }
}
