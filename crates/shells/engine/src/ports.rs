//! Ports that the router of this machine opens for WebRTC, with `webrtc.port_mapping`.
//!
//! Each port has a task, which asks for it, holds it, and gives it back: it goes on when whoever asked
//! has gone, so that what the router opens late is given back too, and the router that was found is kept.

use std::net::SocketAddrV4;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{Mutex, Semaphore, oneshot, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use warp_link::peer::{OpenedPort, PortOpener};
use warp_reach::mapping::{OpenPort, Router, local_address};

/// How long a router that opened nothing is left alone: asking takes seconds, and those who come to a
/// host may be many.
const LEFT_ALONE: Duration = Duration::from_secs(60);
/// Requests in a row that it may fail before: one answer may be lost.
const FAILURES: u32 = 2;
/// How long a router is known: by NAT-PMP its address outside is asked for as it is looked for, and a line
/// at home has another one each day.
const KNOWN: Duration = Duration::from_secs(300);
/// Requests at once.
const AT_ONCE: usize = 4;
/// How long the router may take to take its ports back, and to open those that it was just asked for; they
/// close by themselves in the end.
const PORTS_BACK: Duration = Duration::from_millis(2500);

/// The router, looked for when a port is wanted first, and again on another network or after [`KNOWN`].
#[derive(Debug)]
pub(crate) struct RouterPorts {
    shared: Arc<Shared>,
    tasks: TaskTracker,
    /// Every port is given back.
    stop: CancellationToken,
}

#[derive(Debug)]
struct Shared {
    network: watch::Receiver<u64>,
    known: Mutex<Option<Known>>,
    asking: Semaphore,
}

#[derive(Debug)]
struct Known {
    router: Router,
    /// Of which network it is the router.
    network: u64,
    since: Instant,
    /// Requests in a row that it opened nothing for.
    failures: u32,
    left_alone_until: Option<Instant>,
}

impl Known {
    /// Whether a router is to be looked for again.
    fn is_old(&self, network: u64, now: Instant) -> bool {
        self.network != network
            || now >= self.since + KNOWN
            || self.left_alone_until.is_some_and(|until| now >= until)
    }
}

impl Shared {
    /// The router, and since when it is known; `None` while it is left alone. Who comes while it is looked
    /// for waits for what is found.
    async fn router(&self) -> Option<(Router, Instant)> {
        let mut known = self.known.lock().await;
        let network = *self.network.borrow();
        let old = |known: &Known| known.is_old(network, Instant::now());
        if known.as_ref().is_none_or(old) {
            *known = Some(Known {
                router: Router::find().await,
                network,
                since: Instant::now(),
                failures: 0,
                left_alone_until: None,
            });
        }
        let known = known.as_ref()?;
        (known.left_alone_until.is_none()).then(|| (known.router.clone(), known.since))
    }

    /// Asks for a port; not once `stop` is cancelled.
    async fn open(&self, inside: SocketAddrV4, stop: &CancellationToken) -> Option<OpenPort> {
        let port = NonZeroU16::new(inside.port())?;
        let turn = async {
            let (router, since) = self.router().await?;
            let turn = self.asking.acquire().await.ok()?;
            Some((router, since, turn))
        };
        let (mut router, since, turn) = tokio::select! {
            biased;
            () = stop.cancelled() => return None,
            turn = turn => turn?,
        };
        let opened = router.open(*inside.ip(), port).await;
        drop(turn);
        self.note(since, opened.is_some());
        opened
    }

    /// What came of asking the router that is known since then. Whoever looks for another one meanwhile has
    /// no use for it.
    fn note(&self, since: Instant, opened: bool) {
        let Ok(mut known) = self.known.try_lock() else {
            return;
        };
        if let Some(known) = known.as_mut().filter(|known| known.since == since) {
            known.failures = if opened { 0 } else { known.failures + 1 };
            if known.failures >= FAILURES {
                known.left_alone_until = Some(Instant::now() + LEFT_ALONE);
            }
        }
    }
}

impl RouterPorts {
    /// `network` counts up when this machine is on another one.
    pub(crate) fn new(network: watch::Receiver<u64>) -> Self {
        Self {
            shared: Arc::new(Shared {
                network,
                known: Mutex::default(),
                asking: Semaphore::new(AT_ONCE),
            }),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
        }
    }

    /// Gives all ports back, whatever still uses them, and waits for that within reason.
    pub(crate) async fn give_back(&self) {
        self.stop.cancel();
        self.tasks.close();
        if tokio::time::timeout(PORTS_BACK, self.tasks.wait())
            .await
            .is_err()
        {
            tracing::debug!("the router has not taken its ports back yet");
        }
    }
}

#[async_trait]
impl PortOpener for RouterPorts {
    async fn open(&self, sockets: &[SocketAddrV4]) -> Option<OpenedPort> {
        let address = local_address().await?;
        let inside = *sockets.iter().find(|socket| *socket.ip() == address)?;
        if self.stop.is_cancelled() {
            return None;
        }
        let (tell, told) = oneshot::channel();
        let (held, mut released) = oneshot::channel::<()>();
        let (shared, stop) = (self.shared.clone(), self.stop.clone());
        self.tasks.spawn(async move {
            let Some(port) = shared.open(inside, &stop).await else {
                return;
            };
            // Nobody may wait for it any more.
            if tell.send(port.outside()).is_ok() {
                tokio::select! {
                    _ = &mut released => {}
                    () = stop.cancelled() => {}
                }
            }
            port.close().await;
        });
        let outside = told.await.ok()?;
        Some(OpenedPort {
            outside,
            inside,
            held: Box::new(held),
        })
    }
}
