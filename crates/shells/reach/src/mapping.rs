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
#[derive(Debug)]
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

    /// Has the router forward a UDP port to `port` of this machine, whose address is `local`.
    pub async fn open(&mut self, local: Ipv4Addr, port: NonZeroU16) -> Option<OpenPort> {
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
        let protocol = PortMappingProtocol::UDP;
        let asked = gateway.get_any_address(protocol, local, LIFETIME, DESCRIPTION);
        match timeout(UPNP_ANSWER, asked).await {
            Ok(Ok(outside)) => Some(OpenPort::hold(
                outside,
                Lease::Upnp {
                    gateway,
                    outside: outside.port(),
                    local,
                },
            )),
            Ok(Err(error)) => {
                tracing::debug!(%error, "no port by UPnP");
                None
            }
            Err(_elapsed) => None,
        }
    }

    fn leased(&mut self, lease: PortMapping) -> Option<OpenPort> {
        let by_pcp = matches!(lease.mapping_type(), crab_nat::PortMappingType::Pcp { .. });
        let address = match lease.mapping_type() {
            crab_nat::PortMappingType::Pcp { external_ip, .. } => Some(external_ip),
            crab_nat::PortMappingType::NatPmp => self.address,
        };
        self.pcp = Some(by_pcp);
        let outside = SocketAddr::new(address?, lease.external_port().get());
        Some(OpenPort::hold(outside, Lease::Pmp(lease)))
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
