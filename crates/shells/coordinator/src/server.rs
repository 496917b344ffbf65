//! The listener: plain TCP or TLS, HTTP/1.1 with upgrades, bounded in connections, and an end that
//! lets running requests finish.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use axum::Router;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower_service::Service;
use warp_coordinator_core::client_address::{Network, client_address};

use crate::{
    extract::ClientAddr,
    gate::{Admitted, Gate, Pass},
    monitoring::metrics::Metrics,
};

/// Longest that a TLS handshake may take.
const HANDSHAKE_TIME: Duration = Duration::from_secs(10);

/// Longest that the next request's head may take; also how long an idle connection is kept.
const HEAD_TIME: Duration = Duration::from_secs(30);

/// Unread bytes per connection: the longest head of a request.
const READ_BUFFER: usize = 16 * 1024;

/// How long running requests may go on after the end was asked for.
const DRAIN_TIME: Duration = Duration::from_secs(1);

/// What the accept loop works with.
pub(crate) struct Server {
    pub(crate) listener: TcpListener,
    pub(crate) tls: Option<TlsAcceptor>,
    pub(crate) router: Router,
    pub(crate) gate: Arc<Gate>,
    pub(crate) metrics: Metrics,
    /// Proxies that are believed when they say whose request it is.
    pub(crate) trusted: Arc<[Network]>,
    pub(crate) stop: CancellationToken,
    pub(crate) tasks: TaskTracker,
}

impl Server {
    /// Accepts until the stop.
    pub(crate) async fn run(self) {
        loop {
            let accepted = tokio::select! {
                () = self.stop.cancelled() => return,
                accepted = self.listener.accept() => accepted,
            };
            let (stream, from) = match accepted {
                Ok(accepted) => accepted,
                Err(error) if is_of_one_connection(&error) => continue,
                Err(error) => {
                    // Out of file descriptors or the like: going on at once would spin.
                    tracing::warn!(%error, "cannot accept connections");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let pass = match self.gate.enter(from.ip()) {
                Ok(pass) => pass,
                Err(full) => {
                    // Said if it can be said at once; nothing is read, and nobody is waited for.
                    if self.tls.is_none() {
                        let _ = stream.try_write(full.answer());
                    }
                    continue;
                }
            };
            let (tls, router, stop) = (self.tls.clone(), self.router.clone(), self.stop.clone());
            let peer = Peer {
                address: from,
                trusted: Arc::clone(&self.trusted),
                metrics: self.metrics.clone(),
            };
            self.tasks
                .spawn(serve(stream, pass, peer, tls, router, stop));
        }
    }
}

/// The other side of a connection.
struct Peer {
    address: SocketAddr,
    trusted: Arc<[Network]>,
    metrics: Metrics,
}

impl Peer {
    /// Whose request it is. The port is the connection's, whoever it is.
    fn client(&self, headers: &hyper::HeaderMap) -> SocketAddr {
        if self.trusted.is_empty() {
            return self.address;
        }
        let values = |name: &str| {
            let values = headers.get_all(name).iter();
            // What is not text is no address; an empty name stands for it.
            let texts = values.map(|value| value.to_str().unwrap_or_default());
            texts.collect::<Vec<_>>()
        };
        let (xff, forwarded) = (values("x-forwarded-for"), values("forwarded"));
        let ip = client_address(&self.trusted, self.address.ip(), xff, forwarded);
        SocketAddr::new(ip, self.address.port())
    }
}

fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset
    )
}

async fn serve(
    stream: TcpStream,
    pass: Pass,
    peer: Peer,
    tls: Option<TlsAcceptor>,
    router: Router,
    stop: CancellationToken,
) {
    // Datagrams of games are small and must not wait for one another.
    let _ = stream.set_nodelay(true);
    let stream = Admitted::new(stream, pass);
    let from = peer.address;
    let Some(tls) = tls else {
        return http(stream, peer, router, stop).await;
    };
    let handshake = tokio::time::timeout(HANDSHAKE_TIME, tls.accept(stream));
    let shaken = tokio::select! {
        () = stop.cancelled() => return,
        shaken = handshake => shaken,
    };
    match shaken {
        Ok(Ok(stream)) => http(stream, peer, router, stop).await,
        Ok(Err(error)) => tracing::debug!(%from, %error, "TLS handshake failed"),
        Err(_) => {
            peer.metrics.cut("handshake");
            tracing::debug!(%from, "TLS handshake took too long");
        }
    }
}

async fn http<S>(stream: S, peer: Peer, router: Router, stop: CancellationToken)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (from, metrics) = (peer.address, peer.metrics.clone());
    let service =
        hyper::service::service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
            let client = peer.client(request.headers());
            request.extensions_mut().insert(ClientAddr(client));
            // A router is always ready.
            router.clone().call(request)
        });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_buf_size(READ_BUFFER)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            match tokio::time::timeout(DRAIN_TIME, connection).await {
                Ok(ended) => ended,
                Err(_) => return,
            }
        }
    };
    if let Err(error) = ended {
        if error.is_timeout() {
            metrics.cut("no-request");
        } else if error.is_parse() {
            metrics.cut("no-http");
        }
        tracing::debug!(%from, %error, "connection ended");
    }
}
