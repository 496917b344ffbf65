//! Ports that the router of this machine opens for WebRTC, with `webrtc.port_mapping`.

use std::net::{SocketAddr, SocketAddrV4};
use std::num::NonZeroU16;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{Mutex, watch};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;
use warp_link::peer::{OpenedPort, PortOpener};
use warp_reach::mapping::{OpenPort, Router, local_address};

/// How long a router that opened nothing is left alone: looking for one takes seconds, and those who
/// come to a host may be many.
const LEFT_ALONE: Duration = Duration::from_secs(60);
/// How long the router may take to take its ports back; they close by themselves in the end.
const PORTS_BACK: Duration = Duration::from_millis(1500);

/// The router, looked for when a port is wanted first, and again on another network.
#[derive(Debug)]
pub(crate) struct RouterPorts {
    network: watch::Receiver<u64>,
    known: Mutex<Option<Known>>,
    /// Ports that are open.
    held: TaskTracker,
}

#[derive(Debug)]
struct Known {
    router: Router,
    /// Of which network it is the router.
    network: u64,
    /// It opened nothing when it was asked last.
    left_alone_until: Option<Instant>,
}

impl Known {
    /// Whether a router is to be looked for again.
    fn is_old(&self, network: u64) -> bool {
        let again = |until| Instant::now() >= until;
        self.network != network || self.left_alone_until.is_some_and(again)
    }
}

impl RouterPorts {
    /// `network` counts up when this machine is on another one.
    pub(crate) fn new(network: watch::Receiver<u64>) -> Self {
        Self {
            network,
            known: Mutex::default(),
            held: TaskTracker::new(),
        }
    }

    /// Waits until the ports of connections that ended are given back, within reason.
    pub(crate) async fn given_back(&self) {
        self.held.close();
        if tokio::time::timeout(PORTS_BACK, self.held.wait())
            .await
            .is_err()
        {
            tracing::debug!("the router has not taken its ports back yet");
        }
    }
}

#[async_trait]
impl PortOpener for RouterPorts {
    async fn open(&self, sockets: &[SocketAddrV4]) -> Option<Box<dyn OpenedPort>> {
        let address = local_address().await?;
        let inside = *sockets.iter().find(|socket| *socket.ip() == address)?;
        let port = NonZeroU16::new(inside.port())?;
        // One after the other: who comes second has no router to look for.
        let mut known = self.known.lock().await;
        let network = *self.network.borrow();
        if known.as_ref().is_none_or(|known| known.is_old(network)) {
            *known = Some(Known {
                router: Router::find().await,
                network,
                left_alone_until: None,
            });
        }
        let Known {
            router,
            left_alone_until,
            ..
        } = known.as_mut()?;
        if left_alone_until.is_some() {
            return None;
        }
        let Some(opened) = router.open(address, port).await else {
            *left_alone_until = Some(Instant::now() + LEFT_ALONE);
            return None;
        };
        Some(Box::new(Held {
            opened,
            inside,
            _held: self.held.token(),
        }))
    }
}

struct Held {
    opened: OpenPort,
    inside: SocketAddrV4,
    _held: TaskTrackerToken,
}

#[async_trait]
impl OpenedPort for Held {
    fn outside(&self) -> SocketAddr {
        self.opened.outside()
    }

    fn inside(&self) -> SocketAddrV4 {
        self.inside
    }

    async fn close(self: Box<Self>) {
        let Self { opened, _held, .. } = *self;
        opened.close().await;
    }
}
