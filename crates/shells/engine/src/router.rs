//! Which link carries a connection of the game, and the streams over it.
//!
//! Login and char connections go over the chosen zone's link. A map connection whose client was
//! sent to a map of another zone goes over the link of the visit there, if that is connected within
//! [`ROUTE_WAIT`] and the zone's endpoint may dial the server; else over the chosen zone's. What is
//! decided holds for the connection's whole life: its TCP connection lies at that endpoint.
//!
//! One lock guards routes, links and open map connections together. So a map connection is counted
//! from the moment that a route leads it to a visit, and the machine, which is told of the count
//! after it has changed the routes, never leaves a visit that one is about to use. The lock is never
//! held across an await.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};
use warp_bridge::{LinkGone, OpenedStream, Origin, StreamOpener};
use warp_engine_core::machine::{LinkId, MapStream, Routes, Way};
use warp_engine_core::roaming::ROUTE_WAIT;
use warp_link_driver::LinkHandle;
use warp_protocol::stream::{OpenRequest, ServerRole};
use warp_protocol::zone::GameServer;

use crate::opener;

/// The link of a visit.
#[derive(Clone)]
struct Visit {
    handle: LinkHandle,
    game: GameServer,
}

#[derive(Default)]
struct Table {
    routes: Routes,
    visits: BTreeMap<LinkId, Visit>,
    /// Open map connections, at most as many as the bridge allows at once.
    streams: BTreeMap<u64, MapStream>,
    last: u64,
}

/// See the module.
pub(crate) struct Router {
    chosen: Mutex<LinkHandle>,
    table: Mutex<Table>,
    /// Rings when routes or links have changed.
    changed: Notify,
    /// Rings when a map connection came or went.
    streams_changed: Arc<Notify>,
}

/// Where a map connection may go now.
enum Choice {
    Chosen(Counted),
    Visit(Counted, Visit),
    Wait,
}

impl Router {
    pub(crate) fn new(chosen: LinkHandle, streams_changed: Arc<Notify>) -> Arc<Self> {
        Arc::new(Self {
            chosen: Mutex::new(chosen),
            table: Mutex::new(Table::default()),
            changed: Notify::new(),
            streams_changed,
        })
    }

    pub(crate) fn set_routes(&self, routes: Routes) {
        self.table.lock().routes = routes;
        self.changed.notify_waiters();
    }

    /// The chosen zone has another link now, perhaps not yet connected. Streams of the old one end with it.
    pub(crate) fn set_chosen(&self, handle: LinkHandle) {
        *self.chosen.lock() = handle;
    }

    fn chosen(&self) -> LinkHandle {
        self.chosen.lock().clone()
    }

    /// The link of a visit is there, perhaps not yet connected.
    pub(crate) fn add(&self, link: LinkId, handle: LinkHandle, game: GameServer) {
        let visit = Visit { handle, game };
        self.table.lock().visits.insert(link, visit);
    }

    pub(crate) fn remove(&self, link: LinkId) {
        self.table.lock().visits.remove(&link);
        self.changed.notify_waiters();
    }

    /// The map connections that are open or being opened.
    pub(crate) fn streams(&self) -> Vec<MapStream> {
        self.table.lock().streams.values().copied().collect()
    }

    /// Chooses, and counts the connection where it goes. `late`: there is no more time to wait.
    fn choose(self: &Arc<Self>, request: &OpenRequest, origin: &Origin, late: bool) -> Choice {
        let mut table = self.table.lock();
        let client = origin.client;
        let way = match (client, &origin.map) {
            (Some(client), Some(map)) if !late => table.routes.way(client, map),
            // Of whom nothing is known nothing can be decided.
            _ => Way::Chosen,
        };
        let visit = match way {
            Way::Wait => return Choice::Wait,
            Way::Chosen => None,
            Way::Visit(link) => {
                let visit = table.visits.get(&link);
                visit
                    .filter(|visit| visit.game.allows(request.target))
                    .map(|visit| (link, visit.clone()))
            }
        };
        let link = visit.as_ref().map_or(LinkId::CHOSEN, |(link, _)| *link);
        table.last += 1;
        let number = table.last;
        let stream = MapStream {
            number,
            client,
            link,
        };
        table.streams.insert(number, stream);
        drop(table);
        self.streams_changed.notify_one();
        let counted = Counted {
            router: Arc::clone(self),
            number,
        };
        match visit {
            Some((_, visit)) => Choice::Visit(counted, visit),
            None => Choice::Chosen(counted),
        }
    }

    /// Opens a map connection's stream.
    async fn open_map(
        self: &Arc<Self>,
        request: &OpenRequest,
        origin: &Origin,
    ) -> Result<OpenedStream, LinkGone> {
        let deadline = Instant::now() + ROUTE_WAIT;
        let mut late = false;
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            // Registered before the look, so that no change in between is missed.
            changed.as_mut().enable();
            match self.choose(request, origin, late) {
                Choice::Chosen(counted) => {
                    return opener::open(&self.chosen(), request.role, Some(counted)).await;
                }
                Choice::Visit(counted, Visit { handle, game }) => {
                    match timeout_at(deadline, connected(&handle)).await {
                        Ok(Ok(stream)) => {
                            return Ok(OpenedStream {
                                at_most: game.level,
                                ..opener::wrap(&handle, stream, request.role, Some(counted))
                            });
                        }
                        Ok(Err(LinkGone)) | Err(_) => {
                            tracing::info!(server = %request.target, "the link of the map's zone was not there in time");
                        }
                    }
                }
                Choice::Wait => {
                    if timeout_at(deadline, changed).await.is_ok() {
                        continue;
                    }
                    tracing::info!(server = %request.target, "it was not decided in time which zone carries the map");
                }
            }
            late = true;
        }
    }
}

/// A stream of a link that carries game now; waits for that.
async fn connected(handle: &LinkHandle) -> Result<warp_link_driver::GameStream, LinkGone> {
    let mut status = handle.watch_status();
    let ready = |status: &warp_link_driver::LinkStatus| opener::carries(status.state);
    tokio::select! {
        ready = status.wait_for(ready) => drop(ready.map_err(|_| LinkGone)?),
        _end = handle.closed() => return Err(LinkGone),
    }
    handle.open_stream().await.map_err(|_| LinkGone)
}

/// A map connection in the table; dropped, it is out of it.
pub(crate) struct Counted {
    router: Arc<Router>,
    number: u64,
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.router.table.lock().streams.remove(&self.number);
        self.router.streams_changed.notify_one();
    }
}

/// The router as the bridge takes it.
pub(crate) struct Opener(pub(crate) Arc<Router>);

#[async_trait]
impl StreamOpener for Opener {
    async fn open(&self, request: &OpenRequest, origin: &Origin) -> Result<OpenedStream, LinkGone> {
        match request.role {
            ServerRole::Map => self.0.open_map(request, origin).await,
            ServerRole::Login | ServerRole::Char => {
                opener::open(&self.0.chosen(), request.role, None).await
            }
        }
    }
}

#[cfg(test)]
mod tests;
