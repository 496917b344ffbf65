//! Two links joined by carriers in memory.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{sink, stream};
use ring::signature::Ed25519KeyPair;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use warp_link::{Carrier, Inbound};
use warp_link_core::{Identity, Link, LinkConfig};
use warp_link_driver::{IncomingStreams, LinkHandle, LinkNotices, spawn};

/// How long anything may take before a test counts as stuck.
pub(crate) const STUCK: Duration = Duration::from_secs(30);

/// A carrier in memory, and what can happen to it.
pub(crate) struct Wire {
    cut: CancellationToken,
}

impl Wire {
    /// Both ends see the carrier end.
    pub(crate) fn cut(&self) {
        self.cut.cancel();
    }
}

/// Two carriers, each the other's other end.
pub(crate) fn wire() -> (Carrier, Carrier, Wire) {
    let wire = Wire {
        cut: CancellationToken::new(),
    };
    let (left_tx, left_rx) = mpsc::channel(512);
    let (right_tx, right_rx) = mpsc::channel(512);
    let left = end(left_tx, right_rx, &wire);
    let right = end(right_tx, left_rx, &wire);
    (left, right, wire)
}

fn end(tx: mpsc::Sender<Bytes>, rx: mpsc::Receiver<Bytes>, wire: &Wire) -> Carrier {
    let sink = sink::unfold(tx, |tx, datagram: Bytes| async move {
        // A full pipe loses the datagram, as a network does.
        let _ = tx.try_send(datagram);
        Ok::<_, std::convert::Infallible>(tx)
    });
    let stream = stream::unfold(rx, |mut rx| async move {
        let datagram = rx.recv().await?;
        Some((Inbound::Datagram(datagram), rx))
    });
    Carrier::from_parts(sink, stream, wire.cut.child_token())
}

pub(crate) fn identity() -> Identity {
    let key = Ed25519KeyPair::generate_pkcs8(&ring::rand::SystemRandom::new()).unwrap();
    Identity::from_pkcs8_der(key.as_ref()).unwrap()
}

pub(crate) struct Side {
    pub(crate) handle: LinkHandle,
    pub(crate) notices: LinkNotices,
    pub(crate) incoming: IncomingStreams,
}

fn side(link: Link) -> Side {
    let (handle, notices, incoming) = spawn(link);
    Side {
        handle,
        notices,
        incoming,
    }
}

/// The engine's side and the endpoint's side, without carriers yet.
pub(crate) fn pair(config: &LinkConfig) -> (Side, Side) {
    let (engine, endpoint) = (identity(), identity());
    let client = Link::client(config.clone(), &engine, endpoint.public_key(), [1; 32]).unwrap();
    let server = Link::server(config.clone(), &endpoint, engine.public_key(), [2; 32]).unwrap();
    (side(client), side(server))
}

/// Waits for something, but not for ever.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(STUCK, future).await {
        Ok(value) => value,
        Err(_) => panic!("stuck: {what}"),
    }
}
