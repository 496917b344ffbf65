//! A port that the router opened, as a candidate for the other side.
//!
//! The library knows nothing of it: to it, what comes in through that port comes to the socket that
//! it bound. So the candidate is only told to the other side, which then has one more address to
//! try, and one that answers whatever the router's filtering is. A side that answers needs it as much
//! as one that offers: a host is behind a router as its members are.

use std::net::{SocketAddr, SocketAddrV4};
use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::config::PeerConfig;

/// Priority of a server-reflexive candidate with the best local preference: type preference 100,
/// component 1 (RFC 8445, section 5.1.2).
const PRIORITY: u32 = (100 << 24) | (65_535 << 8) | 255;

/// Has the router forward ports to sockets of this machine.
#[async_trait]
pub trait PortOpener: std::fmt::Debug + Send + Sync {
    /// Opens a port for that one of `sockets` that the router reaches; `None`: it opens none. What it
    /// opens after this was cancelled is given back.
    async fn open(&self, sockets: &[SocketAddrV4]) -> Option<OpenedPort>;
}

/// A port that the router forwards.
pub struct OpenedPort {
    /// Its address outside.
    pub outside: SocketAddr,
    /// The socket that it leads to.
    pub inside: SocketAddrV4,
    /// Gives it back when it is dropped.
    pub held: Box<dyn Send + Sync>,
}

impl std::fmt::Debug for OpenedPort {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OpenedPort")
            .field("outside", &self.outside)
            .field("inside", &self.inside)
            .finish_non_exhaustive()
    }
}

/// What a connection's port is opened with.
pub(super) struct Mapping {
    pub(super) opener: Arc<dyn PortOpener>,
    pub(super) candidates: mpsc::Sender<Value>,
}

impl Mapping {
    /// `None`: the router is not to be asked.
    pub(super) fn wanted(config: &PeerConfig, candidates: &mpsc::Sender<Value>) -> Option<Self> {
        config.ports.clone().map(|opener| Self {
            opener,
            candidates: candidates.clone(),
        })
    }

    /// Has a port opened for one of the sockets in `description`, tells it, and holds it until `gone`.
    /// Where nobody listens for candidates any more, as on the side that offered once it is connected, it
    /// goes without.
    pub(super) async fn hold(self, description: String, gone: CancellationToken) {
        let Self { opener, candidates } = self;
        let sockets = sockets(&description);
        let opened = tokio::select! {
            opened = opener.open(&sockets) => opened,
            () = candidates.closed() => None,
            () = gone.cancelled() => None,
        };
        let Some(port) = opened else {
            return;
        };
        tracing::info!(outside = %port.outside, "the router opened a port");
        let candidate = candidate(port.outside, port.inside);
        let told = tokio::select! {
            told = candidates.send(candidate) => told.is_ok(),
            () = gone.cancelled() => false,
        };
        drop(candidates);
        if told {
            gone.cancelled().await;
        }
    }
}

/// The sockets that `description` lists for UDP over IPv4.
fn sockets(description: &str) -> Vec<SocketAddrV4> {
    let candidates = description
        .lines()
        .filter_map(|line| line.trim_end().strip_prefix("a=candidate:"));
    let of = |candidate: &str| {
        // foundation, component, transport, priority, address, port, "typ", type (RFC 8839, 5.1)
        let fields: Vec<&str> = candidate.split_ascii_whitespace().take(8).collect();
        match fields[..] {
            [_, _, transport, _, host, port, "typ", "host"]
                if transport.eq_ignore_ascii_case("udp") =>
            {
                Some(SocketAddrV4::new(host.parse().ok()?, port.parse().ok()?))
            }
            _ => None,
        }
    };
    candidates.filter_map(of).collect()
}

/// What is told to the other side: `outside` leads to `inside`.
fn candidate(outside: SocketAddr, inside: SocketAddrV4) -> Value {
    let (ip, port) = (outside.ip(), outside.port());
    let (local_ip, local_port) = (inside.ip(), inside.port());
    json!({
        "candidate": format!(
            "candidate:mapped 1 udp {PRIORITY} {ip} {port} typ srflx raddr {local_ip} rport {local_port}"
        ),
        "sdpMid": "0",
        "sdpMLineIndex": 0,
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use parking_lot::Mutex;
    use tokio::sync::watch;

    use super::super::{Answerer, Offerer};
    use super::*;

    #[test]
    fn sockets_are_what_is_bound_for_udp() {
        let offer = "v=0\r\nm=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n\
                     a=candidate:1 1 udp 2130706431 127.0.0.1 4000 typ host\r\n\
                     a=candidate:2 1 tcp 2130706431 10.0.0.2 4001 typ host tcptype passive\r\n\
                     a=candidate:3 1 udp 1694498815 10.0.0.2 4002 typ srflx raddr 10.0.0.2 rport 1\r\n\
                     a=candidate:4 1 udp 2130706431 fd00::1 4003 typ host\r\n\
                     a=candidate:5 1 UDP 2130706431 10.0.0.2 4004 typ host\r\n\
                     a=candidate:6 1 UDP 2130706431 10.0.0.2 70000 typ host\r\n\
                     a=candidate:\r\n";
        let expected: [SocketAddrV4; 2] =
            ["127.0.0.1:4000", "10.0.0.2:4004"].map(|text| text.parse().unwrap());
        assert_eq!(sockets(offer), expected);
    }

    /// A router that opens ports at `OUTSIDE`, and tells which are open.
    #[derive(Debug, Default)]
    struct Router {
        open: Arc<watch::Sender<u32>>,
        /// Goes while the router is asked.
        listener: Mutex<Option<mpsc::Receiver<Value>>>,
    }

    const OUTSIDE: &str = "198.51.100.7:40000";

    struct Held(Arc<watch::Sender<u32>>);

    impl Drop for Held {
        fn drop(&mut self) {
            self.0.send_modify(|open| *open -= 1);
        }
    }

    impl Router {
        async fn until_none_is_open(&self) {
            let mut open = self.open.subscribe();
            let none = open.wait_for(|open| *open == 0);
            let waited = tokio::time::timeout(Duration::from_secs(10), none).await;
            waited.expect("it is given back").unwrap();
        }
    }

    #[async_trait]
    impl PortOpener for Router {
        async fn open(&self, sockets: &[SocketAddrV4]) -> Option<OpenedPort> {
            self.open.send_modify(|open| *open += 1);
            self.listener.lock().take();
            Some(OpenedPort {
                outside: OUTSIDE.parse().unwrap(),
                inside: *sockets.first()?,
                held: Box::new(Held(self.open.clone())),
            })
        }
    }

    #[tokio::test]
    async fn both_sides_tell_their_routers_port_and_give_it_back() {
        let sides = [Arc::new(Router::default()), Arc::new(Router::default())];
        let config = |router: &Arc<Router>| PeerConfig {
            include_loopback: true,
            ports: Some(router.clone()),
            ..Default::default()
        };
        let (offerer, mut offered) = Offerer::new(config(&sides[0])).await.unwrap();
        let offer = offerer.create_offer().await.unwrap();
        let (answerer, answer, mut answered) =
            Answerer::accept(config(&sides[1]), &offer).await.unwrap();
        offerer.accept_answer(&answer).await.unwrap();
        for (candidates, description, other) in [
            (&mut offered, &offer, &*answerer),
            (&mut answered, &answer, &*offerer),
        ] {
            let mapped = loop {
                let candidate = candidates.next().await.expect("the router's port is told");
                if candidate["candidate"].to_string().contains("mapped") {
                    break candidate;
                }
            };
            let text = mapped["candidate"].as_str().unwrap();
            assert!(
                text.contains("198.51.100.7 40000 typ srflx raddr"),
                "{text}"
            );
            let known = sockets(description);
            let [.., inside_ip, _, inside_port] = text.split(' ').collect::<Vec<_>>()[..] else {
                panic!("{text}");
            };
            let inside = format!("{inside_ip}:{inside_port}").parse().unwrap();
            assert!(known.contains(&inside), "{inside} of {known:?}");
            // The other side reads it.
            other.add_remote_candidate(&mapped).await.unwrap();
        }
        assert!(sides.iter().all(|side| *side.open.borrow() == 1));
        offerer.close().await;
        sides[0].until_none_is_open().await;
        drop(answerer);
        sides[1].until_none_is_open().await;
        let none_left = tokio::time::timeout(Duration::from_secs(10), offered.next()).await;
        assert!(none_left.expect("the candidates end").is_none());
    }

    #[tokio::test]
    async fn a_port_that_nobody_is_told_of_is_given_back_at_once() {
        let router = Arc::new(Router::default());
        let (candidates, listener) = mpsc::channel(1);
        *router.listener.lock() = Some(listener);
        let mapping = Mapping {
            opener: router.clone(),
            candidates,
        };
        let description = "a=candidate:1 1 udp 2130706431 127.0.0.1 4000 typ host\r\n";
        let gone = CancellationToken::new();
        let held = mapping.hold(description.to_owned(), gone);
        let ended = tokio::time::timeout(Duration::from_secs(10), held).await;
        ended.expect("it waits for no end of the connection");
        assert_eq!(*router.open.borrow(), 0);
        assert!(router.listener.lock().is_none(), "it was asked");
    }
}
