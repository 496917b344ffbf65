//! Who may hold a connection: at most so many in all, and so many from one address.
//!
//! A trusted proxy brings many clients over one address: its connections count among all only.
//!
//! A connection counts from its acceptance to the end of its socket, whatever it becomes in between:
//! a request that comes slowly, an idle one, a WebSocket. Whoever is turned away is counted in the
//! metrics, and the log says so at most once in [`TOLD_EVERY`].

use std::{
    collections::HashMap,
    io,
    net::IpAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Sleep,
};
use warp_coordinator_core::client_address::Network;

use crate::{capacity::Capacity, limits::bucket_of, monitoring::metrics::Metrics};

/// How often the log tells of connections that were turned away.
const TOLD_EVERY: Duration = Duration::from_secs(5);

/// Longest that a peer may take nothing of what is written to it.
const STUCK_TIME: Duration = Duration::from_secs(30);

/// Why a connection is turned away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Full {
    /// There are as many as there may be.
    All,
    /// That address has as many as one may have.
    Address,
}

impl Full {
    /// Its label in the metrics.
    fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Address => "address",
        }
    }

    /// What is answered on a connection without TLS before it is closed: an `ErrorBody`.
    pub(crate) fn answer(self) -> &'static [u8] {
        match self {
            Self::All => {
                b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\n\
                content-length: 89\r\nretry-after: 5\r\nconnection: close\r\n\r\n\
                {\"detail\":\"the coordinator has as many connections as it may\",\"code\":\"coordinator-fault\"}"
            }
            Self::Address => {
                b"HTTP/1.1 429 Too Many Requests\r\ncontent-type: application/json\r\n\
                content-length: 86\r\nretry-after: 5\r\nconnection: close\r\n\r\n\
                {\"detail\":\"too many connections from your address at once\",\"code\":\"too-many-requests\"}"
            }
        }
    }
}

#[derive(Default)]
struct State {
    open: usize,
    by_address: HashMap<IpAddr, usize>,
    told: Option<Instant>,
    /// Turned away since the log told of it.
    untold: u64,
}

/// Counts connections.
pub(crate) struct Gate {
    connections: usize,
    per_address: usize,
    /// Whose connections do not count for their address.
    trusted: Arc<[Network]>,
    state: Mutex<State>,
    metrics: Metrics,
}

impl Gate {
    pub(crate) fn new(capacity: Capacity, trusted: Arc<[Network]>, metrics: Metrics) -> Arc<Self> {
        Arc::new(Self {
            connections: capacity.connections,
            per_address: capacity.connections_per_address,
            trusted,
            state: Mutex::default(),
            metrics,
        })
    }

    /// Lets a connection in, until its pass is dropped.
    pub(crate) fn enter(self: &Arc<Self>, from: IpAddr) -> Result<Pass, Full> {
        let counted = !self.trusted.iter().any(|network| network.contains(from));
        let address = bucket_of(from);
        let mut state = self.state.lock();
        let there = state.by_address.get(&address).copied().unwrap_or(0);
        let full = if counted && there >= self.per_address {
            Some(Full::Address)
        } else if state.open >= self.connections {
            Some(Full::All)
        } else {
            None
        };
        if let Some(full) = full {
            let total = self.metrics.turned_away(full.name());
            state.untold += 1;
            if state.told.is_none_or(|at| at.elapsed() >= TOLD_EVERY) {
                state.told = Some(Instant::now());
                let count = std::mem::take(&mut state.untold);
                let open = state.open;
                drop(state);
                tracing::warn!(%address, ?full, count, total, open, "connections turned away");
            }
            return Err(full);
        }
        state.open += 1;
        self.metrics.connected();
        if counted {
            *state.by_address.entry(address).or_default() += 1;
        }
        Ok(Pass {
            gate: Arc::clone(self),
            address: counted.then_some(address),
        })
    }
}

/// A connection's place; dropping it gives it up.
pub(crate) struct Pass {
    gate: Arc<Gate>,
    /// Whom it counts for.
    address: Option<IpAddr>,
}

impl Drop for Pass {
    fn drop(&mut self) {
        let mut state = self.gate.state.lock();
        state.open -= 1;
        self.gate.metrics.disconnected();
        let Some(address) = self.address else {
            return;
        };
        if let Some(there) = state.by_address.get_mut(&address) {
            *there -= 1;
            if *there == 0 {
                state.by_address.remove(&address);
            }
        }
    }
}

/// A connection with its pass, whatever it is upgraded to. It fails when its peer takes nothing for
/// [`STUCK_TIME`]: a client that asks and never reads must not hold an answer for ever.
pub(crate) struct Admitted<S> {
    inner: S,
    /// There while a write waits.
    stuck: Option<Pin<Box<Sleep>>>,
    stuck_time: Duration,
    pass: Pass,
}

impl<S> Admitted<S> {
    pub(crate) fn new(inner: S, pass: Pass) -> Self {
        Self {
            inner,
            stuck: None,
            stuck_time: STUCK_TIME,
            pass,
        }
    }

    /// Looks at what a write gave; fails when writes have waited for too long.
    fn watch<T>(
        &mut self,
        cx: &mut Context<'_>,
        wrote: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if wrote.is_ready() {
            self.stuck = None;
            return wrote;
        }
        let time = self.stuck_time;
        let fresh = || Box::pin(tokio::time::sleep(time));
        let stuck = self.stuck.get_or_insert_with(fresh);
        ready!(stuck.as_mut().poll(cx));
        self.stuck = None;
        self.pass.gate.metrics.cut("not-reading");
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Admitted<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Admitted<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.inner).poll_write(cx, buf);
        self.watch(cx, wrote)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.inner).poll_write_vectored(cx, bufs);
        self.watch(cx, wrote)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.inner).poll_flush(cx);
        self.watch(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt;

    /// `10.0.0.0/8` is trusted.
    fn gate(connections: usize, connections_per_address: usize) -> Arc<Gate> {
        let capacity = Capacity {
            connections,
            connections_per_address,
            ..Capacity::default()
        };
        let trusted = ["10.0.0.0/8".parse().unwrap()];
        Gate::new(capacity, trusted.into(), Metrics::new())
    }

    #[test]
    fn one_address_cannot_take_all_places() {
        let gate = gate(3, 2);
        let (one, two): (IpAddr, IpAddr) = ([127, 0, 0, 1].into(), [127, 0, 0, 2].into());
        let first = gate.enter(one).ok().unwrap();
        let _second = gate.enter(one).ok().unwrap();
        assert_eq!(gate.enter(one).err(), Some(Full::Address));
        let _third = gate.enter(two).ok().unwrap();
        assert_eq!(gate.enter(two).err(), Some(Full::All));
        drop(first);
        assert!(gate.enter(one).is_ok());
        assert_eq!(gate.metrics.turned_away("address"), 2);
        assert_eq!(gate.metrics.turned_away("all"), 2);
    }

    #[test]
    fn a_trusted_proxy_is_bounded_by_all_places_only() {
        let gate = gate(3, 1);
        // As a listener on IPv6 names it, too.
        let proxy: [IpAddr; 2] = [
            [10, 0, 0, 1].into(),
            std::net::Ipv4Addr::new(10, 0, 0, 1).to_ipv6_mapped().into(),
        ];
        let stranger: IpAddr = [127, 0, 0, 1].into();
        let held: Vec<_> = [proxy[0], proxy[1], stranger]
            .map(|ip| gate.enter(ip).ok().unwrap())
            .into();
        assert_eq!(gate.enter(proxy[0]).err(), Some(Full::All));
        assert_eq!(gate.enter(stranger).err(), Some(Full::Address));
        drop(held);
        assert_eq!(gate.state.lock().open, 0);
        assert!(gate.state.lock().by_address.is_empty());
    }

    #[test]
    fn answers_are_whole_http() {
        for full in [Full::All, Full::Address] {
            let text = std::str::from_utf8(full.answer()).unwrap();
            let (head, body) = text.split_once("\r\n\r\n").unwrap();
            let length = head
                .lines()
                .find_map(|l| l.strip_prefix("content-length: "));
            assert_eq!(length.unwrap().parse(), Ok(body.len()), "{text}");
            let body: warp_protocol::rest::ErrorBody = serde_json::from_str(body).unwrap();
            assert!(!body.detail.is_empty());
        }
    }

    #[tokio::test]
    async fn whoever_does_not_read_is_given_up() {
        let (ours, _theirs) = tokio::io::duplex(16);
        let gate = gate(1, 1);
        let pass = gate.enter([127, 0, 0, 1].into()).ok().unwrap();
        let mut admitted = Admitted::new(ours, pass);
        admitted.stuck_time = Duration::from_millis(20);
        let error = admitted.write_all(&[0; 64]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        drop(admitted);
        assert_eq!(gate.state.lock().open, 0);
        assert!(gate.state.lock().by_address.is_empty());
    }
}
