//! Ports that the router opens when asked: PCP, NAT-PMP, UPnP-IGD, in this order.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroU16;
use std::time::Duration;

use crab_nat::{GatewayAddress, InternetProtocol, PortMapping, PortMappingOptions, TimeoutConfig};
use igd_next::aio::Gateway;
use igd_next::aio::tokio::{Tokio, search_gateway};
use igd_next::{PortMappingProtocol, SearchOptions};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

/// How long UPnP devices are searched for: they answer within a second (the search says so), and
/// their description is fetched after that.
const SEARCH: Duration = Duration::from_millis(1600);
/// How long a UPnP device may take to answer.
const UPNP_ANSWER: Duration = Duration::from_millis(1000);
/// And how long it is listened to after that, to give back what it opened too late.
const UPNP_LATE: Duration = Duration::from_secs(30);
/// PCP and NAT-PMP: first wait, and how often it is asked again after the double.
const PMP: TimeoutConfig = TimeoutConfig {
    initial_timeout: Duration::from_millis(200),
    max_retries: 1,
    max_retry_timeout: None,
};
/// How long a port stays open after a launcher that was killed, s. RFC 6886, section 3.3,
/// recommends two hours; half of it is enough for a table that is full of dead entries.
const LIFETIME: u32 = 3600;
/// How long giving a port back may take.
const GIVE_BACK: Duration = Duration::from_millis(1500);
/// What the router's own table shows.
const DESCRIPTION: &str = "Warp Launcher";

/// What the router next to this machine speaks.
#[derive(Debug, Clone)]
pub struct Router {
    gateway: Option<Ipv4Addr>,
    upnp: Option<Gateway<Tokio>>,
    nat_pmp: Option<bool>,
    pcp: Option<bool>,
    address: Option<IpAddr>,
}

impl Router {
    /// Asks what it speaks. Changes nothing at the router.
    pub async fn find() -> Self {
        let known = warp_platform::default_gateway();
        let asking = async {
            match known {
                Some(gateway) => pmp(gateway).await,
                None => (None, None, None),
            }
        };
        let (upnp, (mut nat_pmp, mut pcp, mut address)) = tokio::join!(Box::pin(search()), asking);
        let mut gateway = known;
        if let (None, Some(found)) = (known, &upnp)
            && let IpAddr::V4(ip) = found.addr.ip()
        {
            // The system does not say who the router is, but this one does.
            gateway = Some(ip);
            (nat_pmp, pcp, address) = pmp(ip).await;
        }
        if let (None, Some(found)) = (address, &upnp) {
            let asked = timeout(UPNP_ANSWER, found.get_external_ip()).await;
            address = asked.ok().and_then(Result::ok);
        }
        Self {
            gateway,
            upnp,
            nat_pmp,
            pcp,
            address,
        }
    }

    /// UPnP Internet Gateway Device.
    pub fn upnp(&self) -> bool {
        self.upnp.is_some()
    }

    /// NAT-PMP (RFC 6886); `None` where it is not known who the router is.
    pub fn nat_pmp(&self) -> Option<bool> {
        self.nat_pmp
    }

    /// PCP (RFC 6887); `None` also while only a request for a port would tell.
    pub fn pcp(&self) -> Option<bool> {
        self.pcp
    }

    /// The router's own address outside, as it says.
    pub fn address(&self) -> Option<IpAddr> {
        self.address
    }

    /// Has the router forward a UDP port to `port` of this machine, whose address is `local`. When this is
    /// cancelled, what the router opens all the same is given back.
    pub async fn open(&mut self, local: Ipv4Addr, port: NonZeroU16) -> Option<OpenPort> {
        let mut asking = self.clone();
        // A task of its own hears the answer in any case; a port that nobody takes is dropped.
        let asked = tokio::spawn(async move {
            let opened = asking.request(local, port).await;
            (opened, asking.pcp)
        });
        let (opened, pcp) = asked.await.ok()?;
        self.pcp = pcp;
        opened
    }

    async fn request(&mut self, local: Ipv4Addr, port: NonZeroU16) -> Option<OpenPort> {
        let options = PortMappingOptions {
            external_port: Some(port),
            lifetime_seconds: Some(LIFETIME),
            timeout_config: Some(PMP),
        };
        if let Some(gateway) = self.gateway
            && (self.nat_pmp == Some(true) || self.pcp == Some(true))
        {
            let (gateway, udp) = (GatewayAddress::IpV4(gateway), InternetProtocol::Udp);
            match PortMapping::new(gateway, local.into(), udp, port, options).await {
                Ok(lease) => return self.leased(lease),
                Err(error) => tracing::debug!(%error, "no port by PCP or NAT-PMP"),
            }
        }
        let gateway = self.upnp.clone()?;
        let local = SocketAddr::from((local, port.get()));
        let mut asked = Box::pin(async move {
            let protocol = PortMappingProtocol::UDP;
            let asked = gateway.get_any_address(protocol, local, LIFETIME, DESCRIPTION);
            let outside = asked
                .await
                .inspect_err(|error| tracing::debug!(%error, "no port by UPnP"))
                .ok()?;
            let lease = Lease::Upnp {
                gateway,
                outside: outside.port(),
                local,
            };
            Some(OpenPort::hold(outside, lease))
        });
        match timeout(UPNP_ANSWER, &mut asked).await {
            Ok(opened) => opened,
            Err(_elapsed) => {
                tokio::spawn(timeout(UPNP_LATE, asked));
                None
            }
        }
    }

    fn leased(&mut self, lease: PortMapping) -> Option<OpenPort> {
        let by_pcp = matches!(lease.mapping_type(), crab_nat::PortMappingType::Pcp { .. });
        let address = match lease.mapping_type() {
            crab_nat::PortMappingType::Pcp { external_ip, .. } => Some(external_ip),
            crab_nat::PortMappingType::NatPmp => self.address,
        };
        self.pcp = Some(by_pcp);
        let port = lease.external_port().get();
        let lease = Lease::Pmp(lease);
        let Some(address) = address else {
            // Nobody could be told where it leads from.
            tokio::spawn(lease.give_back());
            return None;
        };
        Some(OpenPort::hold(SocketAddr::new(address, port), lease))
    }
}

/// A port of the router that leads to this machine; given back when it is closed or dropped, and
/// renewed until then.
#[derive(Debug)]
pub struct OpenPort {
    outside: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

/// What is held at the router.
enum Lease {
    Pmp(PortMapping),
    Upnp {
        gateway: Gateway<Tokio>,
        outside: u16,
        local: SocketAddr,
    },
}

impl OpenPort {
    fn hold(outside: SocketAddr, mut lease: Lease) -> Self {
        let (stop, mut stopped) = oneshot::channel();
        let task = tokio::spawn(async move {
            loop {
                let half = Duration::from_secs(u64::from(lease.lifetime() / 2).max(1));
                tokio::select! {
                    // Closed, or dropped.
                    _ = &mut stopped => return lease.give_back().await,
                    () = sleep(half) => lease.renew().await,
                }
            }
        });
        Self {
            outside,
            stop,
            task,
        }
    }

    /// The address and port outside.
    pub fn outside(&self) -> SocketAddr {
        self.outside
    }

    /// Gives the port back.
    pub async fn close(self) {
        // The task may have ended with its runtime.
        self.stop.send(()).ok();
        if timeout(GIVE_BACK, self.task).await.is_err() {
            tracing::debug!("the router did not take the port back in time");
        }
    }
}

impl Lease {
    fn lifetime(&self) -> u32 {
        match self {
            Self::Pmp(lease) => lease.lifetime(),
            Self::Upnp { .. } => LIFETIME,
        }
    }

    async fn renew(&mut self) {
        let failed = match self {
            Self::Pmp(lease) => lease.renew().await.err().map(|error| error.to_string()),
            Self::Upnp {
                gateway,
                outside,
                local,
            } => {
                let protocol = PortMappingProtocol::UDP;
                let asked = gateway.add_port(protocol, *outside, *local, LIFETIME, DESCRIPTION);
                asked.await.err().map(|error| error.to_string())
            }
        };
        if let Some(error) = failed {
            tracing::info!(%error, "the router did not renew the port");
        }
    }

    async fn give_back(self) {
        let failed = match self {
            Self::Pmp(lease) => (lease.try_drop().await.err()).map(|(error, _)| error.to_string()),
            Self::Upnp {
                gateway, outside, ..
            } => {
                let asked = gateway.remove_port(PortMappingProtocol::UDP, outside);
                asked.await.err().map(|error| error.to_string())
            }
        };
        if let Some(error) = failed {
            tracing::debug!(%error, "the router did not take the port back");
        }
    }
}

/// This machine's address that the router forwards to; `None` without a route. Sends nothing.
pub async fn local_address() -> Option<Ipv4Addr> {
    match crate::udp::local_address(crate::udp::Family::V4.documentation()).await? {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(_) => None,
    }
}

async fn search() -> Option<Gateway<Tokio>> {
    let mut options = SearchOptions::default();
    options.timeout = Some(SEARCH);
    options.single_search_timeout = Some(SEARCH);
    search_gateway(options)
        .await
        .inspect_err(|error| tracing::debug!(%error, "no UPnP gateway"))
        .ok()
}

/// NAT-PMP, PCP, and the address outside. A router with PCP alone answers the older question too,
/// by saying that it does not understand it (RFC 6887, appendix A).
async fn pmp(gateway: Ipv4Addr) -> (Option<bool>, Option<bool>, Option<IpAddr>) {
    let gateway = GatewayAddress::IpV4(gateway);
    match crab_nat::natpmp::external_address(gateway, Some(PMP)).await {
        Ok(address) if address.is_unspecified() => (Some(true), None, None),
        Ok(address) => (Some(true), None, Some(address.into())),
        Err(crab_nat::natpmp::Failure::UnsupportedVersion(_)) => (Some(false), Some(true), None),
        Err(error) => {
            tracing::debug!(%error, "no NAT-PMP");
            (Some(false), Some(false), None)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket as StdSocket;

    use tokio::net::UdpSocket;

    use super::*;

    /// An address of this machine where no router answers.
    const GATEWAY: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 53);
    const PORT: NonZeroU16 = NonZeroU16::new(4004).unwrap();
    /// RFC 6886, section 1.1: where it is asked.
    const ASKED_AT: u16 = 5351;

    /// A router that speaks NAT-PMP (RFC 6886, sections 3.3 to 3.5).
    struct Fake(UdpSocket);

    /// A request for a port: the port inside, the lifetime in seconds, and who asks.
    struct Asked {
        inside: u16,
        lifetime: u32,
        request: [u8; 12],
        by: SocketAddr,
    }

    impl Fake {
        /// Refuses PCP, as a router without it does.
        async fn asked(&self) -> Asked {
            let mut bytes = [0; 1100];
            loop {
                let (length, by) = self.0.recv_from(&mut bytes).await.unwrap();
                if bytes[0] != 0 {
                    let version = [0, 128, 0, 1, 0, 0, 0, 1];
                    self.0.send_to(&version, by).await.unwrap();
                    continue;
                }
                let request: [u8; 12] = bytes[..length].try_into().unwrap();
                return Asked {
                    inside: u16::from_be_bytes([request[4], request[5]]),
                    lifetime: u32::from_be_bytes(request[8..].try_into().unwrap()),
                    request,
                    by,
                };
            }
        }

        async fn grant(&self, asked: &Asked) {
            let mut answer = vec![0, 128 + asked.request[1], 0, 0, 0, 0, 0, 1];
            answer.extend_from_slice(&asked.request[4..]);
            self.0.send_to(&answer, asked.by).await.unwrap();
        }
    }

    async fn cancelled(address: Option<IpAddr>, drop_it: bool) -> Asked {
        let socket = StdSocket::bind((GATEWAY, ASKED_AT)).unwrap();
        socket.set_nonblocking(true).unwrap();
        let fake = Fake(UdpSocket::from_std(socket).unwrap());
        let mut router = Router {
            gateway: Some(GATEWAY),
            upnp: None,
            nat_pmp: Some(true),
            pcp: None,
            address,
        };
        let mut open = Box::pin(router.open(Ipv4Addr::LOCALHOST, PORT));
        let asked = tokio::select! {
            _ = &mut open => panic!("nothing was granted yet"),
            asked = fake.asked() => asked,
        };
        assert_eq!((asked.inside, asked.lifetime), (PORT.get(), LIFETIME));
        if drop_it {
            drop(open);
            fake.grant(&asked).await;
        } else {
            fake.grant(&asked).await;
            assert!(open.await.is_none());
        }
        loop {
            let next = timeout(Duration::from_secs(20), fake.asked())
                .await
                .unwrap();
            // The same may have been asked twice, on a busy machine.
            if next.lifetime == 0 {
                return next;
            }
            fake.grant(&next).await;
        }
    }

    #[tokio::test]
    async fn a_port_that_nobody_waits_for_any_more_is_given_back() {
        let address = Some(IpAddr::from([198, 51, 100, 7]));
        assert_eq!(cancelled(address, true).await.inside, PORT.get());
        // One whose place outside is not known is of no use either.
        assert_eq!(cancelled(None, false).await.inside, PORT.get());
    }
}
