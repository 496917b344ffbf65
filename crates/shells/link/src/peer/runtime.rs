//! The host runtime of one peer connection: tokio, with seven differences.
//!
//! - **Flush.** The library's driver sends what it has produced, *then* handles events and messages,
//!   then sleeps. What the handling produced (the first SCTP packet after the DTLS handshake, say)
//!   stays until the next packet or timer. So until the channel is open each first sleep of the
//!   driver ends at once, which makes it go round once more and send, and no sleep is longer than
//!   [`NUDGE`].
//! - **Socket buffers** are larger than the default, so that a burst does not overflow them.
//! - **Sockets** without what the batched ones ask for, as Wine's, move one datagram at a time.
//! - **What sets a connection up is sent more than once**, see [`super::again`].
//! - **A name server that is slow** in a restart is not waited for.
//! - **Tasks are counted**, so that closing can wait until they are gone, and the end of the driver
//!   is noticed even when it panicked.
//! - **Tasks can be ended**: the library's driver outlives the connection that is dropped and not
//!   closed, and with it the sockets.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use webrtc::runtime::{
    AsyncInterval, AsyncTcpListener, AsyncTcpStream, AsyncUdpSocket, JoinHandle, Runtime,
    TokioRuntime, UdpSockRef, UdpSocketState,
};

use super::again::Again;
use super::config::SOCKET_BUFFER;
use super::plain::Plain;

/// Longest sleep of the driver until the channel is open.
const NUDGE: Duration = Duration::from_millis(3);

/// How long the name of a STUN or TURN server may take in a restart.
const RESOLVE: Duration = Duration::from_millis(500);

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct CarrierRuntime {
    tokio: TokioRuntime,
    settled: Arc<AtomicBool>,
    /// The UDP sockets, to send again what sets the connection up.
    copies: Mutex<Vec<Arc<std::net::UdpSocket>>>,
    /// Whether the driver has had its extra round since it last slept.
    went_round: AtomicBool,
    driver_started: AtomicBool,
    /// Cancelled when the driver's task is gone.
    pub(super) driver_gone: CancellationToken,
    /// Every task of the library.
    pub(super) tasks: TaskTracker,
    /// Ends all of them once it is cancelled, wherever they are.
    abandoned: CancellationToken,
}

impl CarrierRuntime {
    pub(super) fn new() -> Arc<Self> {
        let tasks = TaskTracker::new();
        // Closed means that `wait` may return; tasks can still be added.
        tasks.close();
        Arc::new(Self {
            tokio: TokioRuntime,
            settled: Arc::default(),
            copies: Mutex::default(),
            went_round: AtomicBool::new(false),
            driver_started: AtomicBool::new(false),
            driver_gone: CancellationToken::new(),
            tasks,
            abandoned: CancellationToken::new(),
        })
    }

    /// Whoever holds it cleans up; when it is dropped, what tasks there still are end.
    pub(super) fn abandon_on_drop(&self) -> DropGuard {
        self.abandoned.clone().drop_guard()
    }

    /// The channel is open: from now on sleeps are what they say, and nothing is sent again.
    pub(super) fn settle(&self) {
        self.settled.store(true, Ordering::Relaxed);
        self.copies.lock().clear();
    }

    fn wrap_batched(&self, socket: std::net::UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        let state = match UdpSocketState::new(UdpSockRef::from(&socket)) {
            Ok(state) => state,
            Err(error) => {
                tracing::debug!(%error, "the UDP socket moves one datagram at a time");
                return Plain::wrap(socket);
            }
        };
        // The kernel grants what it is allowed to; less is slower, not wrong.
        let sizes = state
            .set_recv_buffer_size(UdpSockRef::from(&socket), SOCKET_BUFFER)
            .and_then(|()| state.set_send_buffer_size(UdpSockRef::from(&socket), SOCKET_BUFFER));
        if let Err(error) = sizes {
            tracing::debug!(%error, "the UDP socket keeps its default buffers");
        }
        self.tokio.wrap_udp_socket(socket)
    }
}

type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

impl Runtime for CarrierRuntime {
    fn spawn(&self, future: BoxFuture<'static, ()>) -> Box<dyn JoinHandle> {
        let abandoned = self.abandoned.clone();
        let tracked = self.tasks.track_future(async move {
            abandoned.run_until_cancelled_owned(future).await;
        });
        if self.driver_started.swap(true, Ordering::Relaxed) {
            return self.tokio.spawn(Box::pin(tracked));
        }
        // The first task of a connection is its driver.
        let gone = self.driver_gone.clone().drop_guard();
        self.tokio.spawn(Box::pin(async move {
            let _gone = gone;
            tracked.await;
        }))
    }

    fn wrap_udp_socket(&self, socket: std::net::UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        if self.settled.load(Ordering::Relaxed) {
            // After a restart there is nothing to set up but what STUN repeats by itself.
            return self.wrap_batched(socket);
        }
        let copy = Arc::new(socket.try_clone()?);
        let batched = self.wrap_batched(socket)?;
        let (settled, ended) = (Arc::clone(&self.settled), self.abandoned.clone());
        let again = Again::wrap(batched, &copy, settled, ended);
        self.copies.lock().push(copy);
        Ok(again)
    }

    fn wrap_tcp_listener(
        &self,
        listener: std::net::TcpListener,
    ) -> io::Result<Arc<dyn AsyncTcpListener>> {
        self.tokio.wrap_tcp_listener(listener)
    }

    fn connect_tcp<'a>(
        &'a self,
        remote_addr: SocketAddr,
    ) -> BoxFuture<'a, io::Result<Arc<dyn AsyncTcpStream>>> {
        self.tokio.connect_tcp(remote_addr)
    }

    fn resolve_host<'a>(&'a self, host: &'a str) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>> {
        if !self.settled.load(Ordering::Relaxed) {
            return self.tokio.resolve_host(host);
        }
        // In a restart the driver waits for it, and all that the connection carries with it.
        Box::pin(async move {
            let found = tokio::time::timeout(RESOLVE, self.tokio.resolve_host(host)).await;
            found.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
        })
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        if self.settled.load(Ordering::Relaxed) {
            return self.tokio.sleep(duration);
        }
        if self.went_round.swap(true, Ordering::Relaxed) {
            self.went_round.store(false, Ordering::Relaxed);
            self.tokio.sleep(duration.min(NUDGE))
        } else {
            self.tokio.yield_now()
        }
    }

    fn interval(&self, period: Duration) -> Box<dyn AsyncInterval> {
        self.tokio.interval(period)
    }

    fn block_on(&self, future: Pin<Box<dyn Future<Output = ()> + '_>>) {
        self.tokio.block_on(future);
    }

    fn yield_now(&self) -> BoxFuture<'static, ()> {
        self.tokio.yield_now()
    }

    fn name(&self) -> &'static str {
        "tokio-carrier"
    }
}
