//! Carries out what [`ReEntry`] decides, for one client that has lost its map server.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BytesMut;
use tokio::net::TcpStream;
use tokio::net::tcp::WriteHalf;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until, timeout};
use warp_bridge_core::{
    Action, GaveUp, NotOpened as Away, ReEntry, Recall, Sealed, SessionIds, Standing,
    StepDownReason, Unable,
};
use warp_protocol::stream::{OpenRefused, ServerRole, encode_message, reset as reset_code};

use crate::bridge::Shared;
use crate::connection::{Connection, Leg, NotOpened, Ready, open};
use crate::doors::{Upstream, server_role};
use crate::home::Watcher;
use crate::lanes::{Broken, Lanes, Tally, UpEnd, UpState, write_out};
use crate::notice::{BridgeNotice, RefusedReason};
use crate::opener::{self, GameRead, GameWriter, Origin, WriteGone};

/// A client that loses its server within this time of being back...
const SOON: Duration = Duration::from_secs(10);
/// ...this often in a row is not kept.
const SOON_LIMIT: u32 = 3;
/// Nor is one that loses it more often...
const OFTEN_LIMIT: usize = 10;
/// ...within this time: signing in may itself be what ends a server.
const OFTEN: Duration = Duration::from_secs(600);

/// How long a server that has done its part may take to close its side.
const FAREWELL: Duration = Duration::from_secs(2);

/// How often a client was signed in again.
#[derive(Default)]
pub(crate) struct Again {
    back: Option<Instant>,
    soon: u32,
    lost: VecDeque<Instant>,
}

impl Again {
    /// Whether a connection that ended so is to be given another server.
    pub(crate) fn wanted(
        &mut self,
        shared: &Shared,
        connection: &Connection,
        outcome: Result<UpEnd, Broken>,
    ) -> bool {
        let lost = match outcome {
            Err(Broken::Server(code)) => {
                ![reset_code::DEVICE_REVOKED, reset_code::BANNED].contains(&code)
            }
            Err(Broken::ServerClosed | Broken::Link) => true,
            Err(Broken::Client | Broken::Framing | Broken::Stopped) | Ok(_) => false,
        };
        if !(lost && may_return(shared, connection)) {
            return false;
        }
        if self.too_often(Instant::now()) {
            failed(shared, connection, GaveUp::TooOften);
            return false;
        }
        true
    }

    /// The client has lost its server at `now`. Whether that was once too often.
    fn too_often(&mut self, now: Instant) -> bool {
        let since_back = self.back.map(|back| now.saturating_duration_since(back));
        let soon = since_back.is_some_and(|time| time < SOON);
        self.soon = if soon { self.soon + 1 } else { 0 };
        while self
            .lost
            .front()
            .is_some_and(|first| now.saturating_duration_since(*first) >= OFTEN)
        {
            self.lost.pop_front();
        }
        self.lost.push_back(now);
        self.soon >= SOON_LIMIT || self.lost.len() > OFTEN_LIMIT
    }

    /// The client is back on a map since `now`.
    pub(crate) fn is_back(&mut self, now: Instant) {
        self.back = Some(now);
    }
}

/// Whether the client of a connection can be signed in again. While the packet version is uncertain it
/// cannot: what a new server says could not be cut where the old one's was.
pub(crate) fn may_return(shared: &Shared, connection: &Connection) -> bool {
    let standing = connection.core.lock().standing();
    let stands = matches!(standing, Standing::OnMap | Standing::Loading);
    shared.reentry && stands && shared.versions_certain()
}

fn failed(shared: &Shared, connection: &Connection, why: GaveUp) {
    tracing::info!(n = connection.n, %why, "the client could not be kept");
    *connection.lost.lock() = None;
    shared.tell(BridgeNotice::ReEntryFailed {
        n: connection.n,
        client: shared.client_of(connection.n),
        reason: why.code(),
        detail: why.to_string(),
    });
}

/// Takes whatever a client says that has no server: the core lets nothing through.
struct Nowhere;

impl GameWriter for Nowhere {
    fn poll_write(
        &mut self,
        _cx: &mut Context<'_>,
        data: &mut &[u8],
    ) -> Poll<Result<(), WriteGone>> {
        *data = &[];
        Poll::Ready(Ok(()))
    }

    fn poll_stopped(&mut self, _cx: &mut Context<'_>) -> Poll<Option<u32>> {
        Poll::Pending
    }

    fn finish(&mut self) {}

    fn reset(&mut self, _code: u32) {}
}

/// Signs the client in again. `None`: it could not be kept, which was told.
pub(crate) async fn run(
    shared: &Arc<Shared>,
    connection: &Arc<Connection>,
    client: &mut TcpStream,
    state: &mut UpState,
) -> Option<Leg> {
    let n = connection.n;
    let whose = shared.client_of(n);
    connection.lost.lock().get_or_insert_with(Instant::now);
    let (loading, table) = {
        let mut core = connection.core.lock();
        let loading = core.standing() == Standing::Loading;
        core.suspend();
        (loading, core.table())
    };
    let lanes = Lanes::new(shared, connection, Arc::new(|| None));
    shared.tell(BridgeNotice::ReEntryStarted { n, client: whose });
    let mut home = shared.home.watch();
    let servers = home.servers();
    let machine = whose.zip(table).and_then(|(whose, table)| {
        let mut limits = shared.limits.reentry;
        limits.away = servers.away;
        let now = shared.now();
        let new = |recall: &mut Recall| {
            recall.login_at(servers.login);
            ReEntry::new(recall, table, limits, loading, now)
        };
        shared.recalls.with(whose, new)
    });
    let machine = match machine {
        Some(Ok(machine)) => machine,
        Some(Err(unable)) => {
            failed(shared, connection, GaveUp::Unable(unable));
            return None;
        }
        None => {
            failed(shared, connection, GaveUp::Unable(Unable::NotSeen));
            return None;
        }
    };
    let (from_client, to_client) = client.split();
    let (mut tally, mut nowhere) = (Tally::default(), Nowhere);
    let mut driver = Driver {
        shared,
        connection,
        lanes: &lanes,
        machine,
        home,
        asked: Arc::new(Notify::new()),
        to_client,
        at: None,
        out: Vec::new(),
    };
    let outcome = tokio::select! {
        biased;
        () = shared.stop.cancelled() => Err(GaveUp::Stopped),
        // It only ends when the client has gone.
        _gone = lanes.up(from_client, &mut nowhere, state, &mut tally) => Err(GaveUp::ClientLeft),
        outcome = driver.run() => outcome,
    };
    match outcome {
        Ok(leg) => Some(leg),
        Err(why) => {
            failed(shared, connection, why);
            None
        }
    }
}

/// The connection to the server that is asked now.
struct At {
    upstream: Upstream,
    leg: Leg,
}

type Opening<'a> = Pin<Box<dyn Future<Output = Result<Ready, NotOpened>> + Send + 'a>>;

struct Driver<'a> {
    shared: &'a Arc<Shared>,
    connection: &'a Arc<Connection>,
    lanes: &'a Lanes<'a>,
    machine: ReEntry,
    home: Watcher,
    /// Rings when the endpoint has been asked to dial.
    asked: Arc<Notify>,
    to_client: WriteHalf<'a>,
    at: Option<At>,
    out: Vec<u8>,
}

impl<'a> Driver<'a> {
    async fn run(&mut self) -> Result<Leg, GaveUp> {
        let mut opening: Option<(Upstream, Opening<'a>)> = None;
        loop {
            while let Some(action) = self.machine.poll() {
                match action {
                    Action::Step(step) => self.shared.tell(BridgeNotice::ReEntryStep {
                        n: self.connection.n,
                        client: self.shared.client_of(self.connection.n),
                        step: step.name(),
                    }),
                    Action::Open { role, target, map } => {
                        let role = server_role(role);
                        let upstream = Upstream { role, target };
                        opening = Some((upstream, self.open(upstream, map)));
                    }
                    Action::Send { packet, alone } => self.send(packet, alone).await,
                    Action::Close => self.close(),
                    Action::Ready { welcome, ids } => return self.ready(&welcome, ids).await,
                    Action::ServersAway => self.shared.tell(BridgeNotice::ServersAway {
                        n: self.connection.n,
                        client: self.shared.client_of(self.connection.n),
                    }),
                    Action::GiveUp(why) => return Err(why),
                }
            }
            let next = self.machine.next_time().unwrap_or_default();
            let wait = next.saturating_sub(self.shared.now());
            tokio::select! {
                biased;
                () = self.connection.away.notified() => {}
                // Before what an endpoint says of the address of a server that was left.
                servers = self.home.moved() => {
                    self.machine.moved(self.shared.now(), servers.login, servers.away);
                }
                () = self.asked.notified() => self.machine.asked(self.shared.now()),
                () = self.connection.due_down.notified() => self.answer().await?,
                opened = opened(&mut opening) => {
                    let upstream = opening.take().map(|(upstream, _)| upstream);
                    self.opened(upstream, opened);
                }
                read = read(&mut self.at) => self.read(read),
                () = sleep_until(Instant::now() + wait) => {}
            }
            let away = self.connection.core.lock().away();
            match away {
                // Opaque now: nothing can be put into its streams.
                None => return Err(GaveUp::ClientUnreadable),
                Some(away) if away.left => self.machine.left(),
                Some(away) if away.loaded => self.machine.loaded(self.shared.now()),
                Some(_) => {}
            }
            self.machine.time(self.shared.now());
        }
    }

    fn open(&mut self, upstream: Upstream, map: Option<String>) -> Opening<'a> {
        // One that was rung for the try before says nothing of this one.
        self.asked = Arc::new(Notify::new());
        let asked = Arc::clone(&self.asked);
        let shared: &'a Shared = self.shared;
        let n = self.connection.n;
        if let (ServerRole::Map, Some(map)) = (upstream.role, &map) {
            shared.with_clients(|clients, _now| clients.announced(n, upstream.target, Some(map)));
        }
        let origin = Origin {
            client: shared.client_of(n),
            map,
        };
        Box::pin(async move { open(shared, upstream, &origin, || asked.notify_one()).await })
    }

    fn opened(&mut self, upstream: Option<Upstream>, opened: Result<Ready, NotOpened>) {
        let now = self.shared.now();
        match (upstream, opened) {
            (Some(upstream), Ok(ready)) => {
                if upstream.role == ServerRole::Char {
                    self.shared.home.led_to_char(upstream.target);
                }
                let leg = Leg {
                    ready,
                    up: Tally::default(),
                    down: Tally::default(),
                };
                self.at = Some(At { upstream, leg });
                self.machine.opened(now);
                // Whatever came behind the answer that opened the stream.
                self.take_messages(false);
            }
            (_, Err(NotOpened::Refused(RefusedReason::Endpoint(OpenRefused::NotAllowed)))) => {
                self.machine.not_opened(now, Away::NotAllowed);
            }
            (_, Err(NotOpened::Refused(RefusedReason::Endpoint(_)))) => {
                self.machine.not_opened(now, Away::Away);
            }
            _ => self.machine.not_opened(now, Away::NoLink),
        }
    }

    async fn send(&mut self, mut packet: Sealed, alone: bool) {
        let Some(At { upstream, leg }) = &mut self.at else {
            return;
        };
        if upstream.role == ServerRole::Map {
            let mut core = self.connection.core.lock();
            core.encipher_enter(packet.reveal_mut());
            drop(core);
            leg.up.add(packet.reveal(), &self.connection.up_bytes);
        }
        let mut wire = BytesMut::new();
        encode_message(&mut wire, packet.reveal(), alone);
        // What has gone is seen by the next read.
        let _ = opener::write(&mut *leg.ready.stream.writer, &wire).await;
    }

    fn close(&mut self) {
        if let Some(At { leg, .. }) = self.at.take() {
            let Ready { mut stream, .. } = leg.ready;
            stream.writer.finish();
            // Left at once, the stream would reset the server's socket.
            let farewell = async move {
                while let GameRead::Data(_) = opener::read(&mut *stream.reader).await {}
            };
            let stop = self.shared.stop.clone();
            self.shared.tasks.spawn(async move {
                tokio::select! {
                    () = stop.cancelled() => {}
                    _ended = timeout(FAREWELL, farewell) => {}
                }
            });
        }
    }

    /// Hands the machine what the server said.
    fn read(&mut self, read: GameRead) {
        let ended = match (read, &mut self.at) {
            (GameRead::Data(bytes), Some(At { leg, .. })) => {
                leg.ready.decoder.push(&bytes);
                false
            }
            _ => true,
        };
        self.take_messages(ended);
    }

    fn take_messages(&mut self, mut ended: bool) {
        let now = self.shared.now();
        let Some(At { upstream, leg }) = &mut self.at else {
            return;
        };
        let decoder = &mut leg.ready.decoder;
        // What comes behind the welcome stays in the decoder, for the client.
        while !self.machine.is_over() {
            match decoder.next_message() {
                Ok(Some(message)) => {
                    if upstream.role == ServerRole::Map {
                        leg.down.add(&message.body, &self.connection.down_bytes);
                    }
                    self.machine.bytes(now, &message.body);
                }
                Ok(None) => break,
                Err(_) => {
                    ended = true;
                    break;
                }
            }
        }
        if ended {
            self.machine.ended(now);
        }
    }

    /// Answers to commands are shown without a server, too.
    async fn answer(&mut self) -> Result<(), GaveUp> {
        let out = &mut self.out;
        self.lanes
            .work(|core| core.release_to_client(None, &mut |bytes| out.extend_from_slice(bytes)));
        self.write_out().await
    }

    async fn write_out(&mut self) -> Result<(), GaveUp> {
        let written = write_out(&mut self.to_client, &mut self.out).await;
        written.map_err(|_gone| GaveUp::ClientLeft)
    }

    /// The server that is asked now is the client's.
    async fn ready(&mut self, welcome: &[u8], ids: SessionIds) -> Result<Leg, GaveUp> {
        let Some(At { upstream, leg }) = self.at.take() else {
            return Err(GaveUp::TimedOut);
        };
        let (shared, connection) = (self.shared, self.connection);
        let client = shared.client_of(connection.n);
        if let Some(client) = client {
            shared.recalls.with(client, |recall| recall.signed_in(ids));
        }
        *connection.moved_to.lock() = Some(upstream.target);
        shared.tell(BridgeNotice::Opened {
            n: connection.n,
            role: upstream.role,
            target: upstream.target,
            peer: connection.peer,
            client,
        });
        self.lanes.work(|core| {
            core.resume();
            // Another zone's link may carry it now.
            core.step_down(leg.ready.stream.at_most, StepDownReason::ByZone)
        });
        self.lanes.server_bytes(welcome, &mut self.out);
        self.write_out().await?;
        Ok(leg)
    }
}

/// Waits for the connection that is being opened.
async fn opened(opening: &mut Option<(Upstream, Opening<'_>)>) -> Result<Ready, NotOpened> {
    match opening {
        Some((_, opening)) => opening.await,
        None => std::future::pending().await,
    }
}

/// Waits for what the server says. Safe to cancel.
async fn read(at: &mut Option<At>) -> GameRead {
    match at {
        Some(At { leg, .. }) => opener::read(&mut *leg.ready.stream.reader).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many losses are lived through, where each re-entry takes `signing_in` and each stay `stay`.
    fn lived_through(signing_in: Duration, stay: Duration) -> usize {
        let mut again = Again::default();
        let mut now = Instant::now();
        (0..100)
            .take_while(|_| {
                now += stay;
                let lives = !again.too_often(now);
                now += signing_in;
                again.is_back(now);
                lives
            })
            .count()
    }

    #[test]
    fn a_server_that_every_sign_in_ends_is_not_signed_in_to_for_ever() {
        let (short, long) = (Duration::from_secs(1), Duration::from_secs(31));
        assert_eq!(lived_through(short, short), 3);
        // The account is locked for a while each time.
        assert_eq!(lived_through(long, short), 3);
        assert_eq!(lived_through(short, Duration::from_secs(20)), 10);
        // A server that is started anew now and then.
        assert_eq!(lived_through(long, Duration::from_secs(60)), 100);
    }
}
