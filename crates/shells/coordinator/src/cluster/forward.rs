//! Requests on their way from node to node.
//!
//! * A request that needs the live state goes to its owner, once: it arrives there on the address for
//!   nodes, and what arrives there is answered or refused, and never passed on.
//! * It carries the client's address, so that limits count the client. That, the request line and the
//!   time are sealed with the cluster's secret ([`Peers`]).
//! * WebSockets are copied byte by byte after the handshake. They end when another node owns the live
//!   state: its owner of before may stand still, and then nobody else would end them.

use std::{
    net::SocketAddr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use axum::{
    body::Body,
    extract::Request,
    http::{
        HeaderMap, HeaderName, HeaderValue, StatusCode, Version,
        header::{CONNECTION, HOST, TE, TRAILER, TRANSFER_ENCODING, UPGRADE},
    },
    response::Response,
};
use hyper_util::rt::TokioIo;
use ring::hmac;
use tokio::{
    io::copy_bidirectional_with_sizes,
    net::TcpStream,
    sync::watch,
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use warp_protocol::ProblemCode;

use super::store::NodeView;
use crate::{extract::ClientAddr, problem::Refused};

/// What a forwarded request has beside what the client sent: client's address, ms since 1970, seal.
const HEADER: HeaderName = HeaderName::from_static("x-warp-node");

/// Longest that the connection to the owner may take.
const CONNECT_TIME: Duration = Duration::from_secs(1);

/// Longest until the owner's answer begins; it has 20 s itself.
const ANSWER_TIME: Duration = Duration::from_secs(22);

/// Longest until both sides have changed to a WebSocket.
const UPGRADE_TIME: Duration = Duration::from_secs(10);

/// How far clocks of nodes may be apart, and how long a sealed request may be on its way.
const FRESH: Duration = Duration::from_secs(30);

/// Bytes on the way in each direction of a forwarded socket.
const BUFFER: usize = 16 * 1024;

/// Seals and checks what nodes send each other.
pub(super) struct Peers(hmac::Key);

impl Peers {
    pub(super) fn new(secret: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, secret))
    }

    /// Tells nothing of `bytes` to whoever does not know the secret.
    pub(super) fn fingerprint(&self, of: &str, bytes: &[u8]) -> String {
        let message = [b"fingerprint\0", of.as_bytes(), b"\0", bytes].concat();
        hex::encode(&hmac::sign(&self.0, &message).as_ref()[..8])
    }

    fn seal(&self, request: &str, client: SocketAddr, now: Duration) -> String {
        let ms = now.as_millis();
        let tag = hmac::sign(&self.0, message(request, client, ms).as_bytes());
        format!("{client} {ms} {}", hex::encode(tag))
    }

    /// The address of the client whose request another node has passed on.
    fn open(&self, request: &str, sealed: &str, now: Duration) -> Result<SocketAddr, &'static str> {
        let mut parts = sealed.split(' ');
        let mut next = || parts.next().ok_or("no seal");
        let (client, ms, tag) = (next()?, next()?, next()?);
        let client: SocketAddr = client.parse().map_err(|_| "no address")?;
        let ms: u64 = ms.parse().map_err(|_| "no time")?;
        let tag = hex::decode(tag).map_err(|_| "no seal")?;
        let sealed = message(request, client, ms.into());
        hmac::verify(&self.0, sealed.as_bytes(), &tag)
            .map_err(|_| "not sealed with this cluster's secret")?;
        if now.abs_diff(Duration::from_millis(ms)) > FRESH {
            return Err("sealed too long ago, or the nodes' clocks are far apart");
        }
        Ok(client)
    }

    /// Checks a request that has come from another node, and makes it look like the client's own.
    ///
    /// # Errors
    /// It has not.
    pub(super) fn arrived(&self, request: &mut Request) -> Result<(), Refused> {
        let line = line(request);
        let sealed = request.headers_mut().remove(HEADER);
        let sealed = sealed.as_ref().and_then(|value| value.to_str().ok());
        let client = sealed
            .ok_or("no seal")
            .and_then(|sealed| self.open(&line, sealed, unix_now()));
        match client {
            Ok(client) => {
                request.extensions_mut().insert(ClientAddr(client));
                Ok(())
            }
            Err(why) => {
                tracing::warn!(why, "a request on the address for nodes is refused");
                let text = "this address is for the nodes of the cluster";
                Err(Refused::new(ProblemCode::Forbidden, text))
            }
        }
    }
}

fn message(request: &str, client: SocketAddr, ms: u128) -> String {
    format!("request\0{request}\0{client}\0{ms}")
}

fn line(request: &Request) -> String {
    let path = request.uri().path_and_query();
    let path = path.map_or("/", |path| path.as_str());
    format!("{} {path}", request.method())
}

fn unix_now() -> Duration {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap_or_default()
}

/// The way to the owner.
pub(super) struct Forward<'a> {
    pub(super) peers: &'a Peers,
    pub(super) owner: NodeView,
    /// Who the owner is from now on.
    pub(super) owners: watch::Receiver<Option<NodeView>>,
    pub(super) stop: CancellationToken,
    pub(super) tasks: TaskTracker,
}

impl Forward<'_> {
    /// Passes a request on, and gives the owner's answer.
    ///
    /// # Errors
    /// `coordinator-fault`: the owner is not reached, or is not the owner any more.
    pub(super) async fn pass(self, mut request: Request) -> Result<Response, Refused> {
        let client = request.extensions().get::<ClientAddr>().copied();
        let ClientAddr(client) =
            client.ok_or_else(|| crate::problem::internal("the client's address is not known"))?;
        let seal = self.peers.seal(&line(&request), client, unix_now());
        let upgrades = request.headers().contains_key(UPGRADE);
        let to_client = upgrades.then(|| hyper::upgrade::on(&mut request));
        let (parts, body) = request.into_parts();
        let mut onward = Request::new(body);
        *onward.method_mut() = parts.method;
        if let Some(path) = parts.uri.path_and_query() {
            *onward.uri_mut() = path.as_str().parse().map_err(|_| away())?;
        }
        *onward.version_mut() = Version::HTTP_11;
        *onward.headers_mut() = parts.headers;
        prepare(onward.headers_mut(), upgrades);
        let headers = onward.headers_mut();
        headers.insert(HEADER, HeaderValue::from_str(&seal).map_err(|_| away())?);
        if !headers.contains_key(HOST) {
            headers.insert(HOST, HeaderValue::from_static("warp-coordinator"));
        }
        let mut owners = self.owners.clone();
        let mut response = tokio::select! {
            answer = self.ask(onward) => answer.map_err(|why| {
                tracing::info!(owner = self.owner.url, why, "the owner is not reached");
                away()
            })?,
            () = replaced(&mut owners, &self.owner.token) => return Err(away()),
            () = sleep(ANSWER_TIME) => return Err(away()),
        };
        if response.status() == StatusCode::SWITCHING_PROTOCOLS
            && let Some(to_client) = to_client
        {
            let to_owner = hyper::upgrade::on(&mut response);
            let (tasks, stop) = (self.tasks.clone(), self.stop.clone());
            let token = self.owner.token.clone();
            tasks.spawn(async move {
                let both = async { tokio::try_join!(to_client, to_owner) };
                let Ok(Ok((client, owner))) = timeout(UPGRADE_TIME, both).await else {
                    return;
                };
                let (mut client, mut owner) = (TokioIo::new(client), TokioIo::new(owner));
                tokio::select! {
                    _ = copy_bidirectional_with_sizes(&mut client, &mut owner, BUFFER, BUFFER) => {}
                    () = replaced(&mut owners, &token) => {
                        tracing::debug!("a forwarded socket ends: another node owns the live state");
                    }
                    () = stop.cancelled() => {}
                }
            });
        }
        let (mut parts, body) = response.into_parts();
        prepare(
            &mut parts.headers,
            parts.status == StatusCode::SWITCHING_PROTOCOLS,
        );
        Ok(Response::from_parts(parts, Body::new(body)))
    }

    async fn ask(
        &self,
        request: Request,
    ) -> Result<hyper::Response<hyper::body::Incoming>, String> {
        let authority = super::config::authority(&self.owner.url).ok_or("its address is none")?;
        let stream = timeout(CONNECT_TIME, TcpStream::connect(authority)).await;
        let stream = stream.map_err(|_| "it takes too long to connect")?;
        let stream = stream.map_err(|error| error.to_string())?;
        // Datagrams of games are small and must not wait for one another.
        let _ = stream.set_nodelay(true);
        let shaken = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = shaken.map_err(|error| error.to_string())?;
        self.tasks.spawn(async move {
            if let Err(error) = connection.with_upgrades().await {
                tracing::debug!(%error, "a connection to the owner ended");
            }
        });
        let answer = sender.send_request(request).await;
        answer.map_err(|error| error.to_string())
    }
}

/// Takes out what belongs to one connection, unless it is what a WebSocket is agreed on by.
fn prepare(headers: &mut HeaderMap, upgrades: bool) {
    let keep_alive = HeaderName::from_static("keep-alive");
    for name in [TE, TRAILER, TRANSFER_ENCODING, keep_alive] {
        headers.remove(name);
    }
    if !upgrades {
        headers.remove(CONNECTION);
        headers.remove(UPGRADE);
    }
}

/// Ends when the owner is known to be another run than `token`.
async fn replaced(owners: &mut watch::Receiver<Option<NodeView>>, token: &str) {
    let other = |now: &Option<NodeView>| now.as_ref().is_some_and(|now| now.token != token);
    if owners.wait_for(other).await.is_err() {
        std::future::pending::<()>().await;
    }
}

fn away() -> Refused {
    let text = "the node that owns the sessions is not reached; another will take over, try again";
    Refused::new(ProblemCode::CoordinatorFault, text).retry_after(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seal_is_good_for_one_request_of_one_client_for_a_while() {
        let peers = Peers::new(b"0123456789abcdef0123456789abcdef");
        let client = "192.0.2.1:50".parse().unwrap();
        let now = Duration::from_secs(1_700_000_000);
        let sealed = peers.seal("GET /api/zones", client, now);
        assert_eq!(peers.open("GET /api/zones", &sealed, now), Ok(client));
        assert!(peers.open("GET /api/hosts", &sealed, now).is_err());
        assert!(
            peers
                .open("GET /api/zones", &sealed, now + 2 * FRESH)
                .is_err()
        );
        let other = Peers::new(b"another secret of thirty-two char");
        assert!(other.open("GET /api/zones", &sealed, now).is_err());
        let moved = sealed.replace("192.0.2.1", "192.0.2.2");
        assert!(peers.open("GET /api/zones", &moved, now).is_err());
        for text in ["", "a b c", "192.0.2.1:50 1", "192.0.2.1:50 1 zz"] {
            assert!(peers.open("GET /api/zones", text, now).is_err());
        }
    }
}
