//! The control socket of a remote endpoint, `endpoints/ws?nonce=`; its contract stands in
//! [`warp_protocol::endpoint`].

use std::{collections::HashSet, sync::Arc, time::Duration};

use axum::{
    extract::{
        State,
        ws::{Message, WebSocket},
    },
    response::Response,
};
use futures_util::{
    SinkExt, StreamExt,
    stream::{SplitSink, SplitStream},
};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use tokio::time::{Instant, MissedTickBehavior, timeout};
use tracing::{Instrument, Span};
use warp_coordinator_core::{
    NewSession,
    fleet::{self, HeldPlace, HostRecord},
};
use warp_endpoint::control::{Frame, Outbound};
use warp_protocol::{
    ProblemCode,
    endpoint::{
        ALIVE_EVERY, EndpointCapacity, FromEndpoint, HeldHost, HeldSession, HostedClaim,
        MAX_CONTROL, MAX_HELD, MAX_HELD_WAYS, SILENT_AFTER, STEP_TIME, ToEndpoint, VERSION, read,
    },
    hosting::{MAX_ZONES, SignedPolicy},
    identity::PublicKey,
    rest::MAX_NAME,
    stream::reset,
    zone::ZoneFile,
};

use super::{close, close_message};
use crate::{
    api::{find, prove_device},
    app::App,
    extract::{Bearer, Caller, QueryOf, Upgrade, caller_of},
    hosting::Adopted,
    monitoring::metrics::SocketKind,
    problem::Refused,
    remote::{Adoption, Owner, Remote},
    running::sync_fleet,
    tokens::random,
};

/// Longest that all sessions may take to be named and looked at.
const ADOPTION_TIME: Duration = Duration::from_secs(30);

/// Longest that one frame may take to be written.
const WRITE_TIME: Duration = Duration::from_secs(10);

#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Params {
    /// Random bytes of the endpoint's, hex.
    nonce: String,
}

/// Why a control socket ended.
type Why = &'static str;

pub(crate) async fn open(
    State(app): State<App>,
    Bearer(shown): Bearer,
    QueryOf(Params { nonce }): QueryOf<Params>,
    Upgrade(upgrade): Upgrade,
) -> Result<Response, Refused> {
    // Of hashes, so that the time that it takes tells nothing of the token.
    let hash = |text: &str| Sha256::digest(text.as_bytes());
    let wanted = app.endpoint_token.as_ref();
    let enrolled = wanted.is_some_and(|wanted| hash(shown.reveal()) == hash(wanted.reveal()));
    let caller = if enrolled {
        None
    } else {
        let caller = caller_of(&app, &shown).map_err(|_| {
            let text = "neither this coordinator's enrolment token nor an access token";
            Refused::new(ProblemCode::TokenExpired, text)
        })?;
        Some(caller)
    };
    let mut asked = [0; 16];
    if hex::decode_to_slice(&nonce, &mut asked).is_err() {
        let text = "`nonce` is 16 random bytes, 32 hex digits";
        return Err(Refused::new(ProblemCode::BadRequest, text));
    }
    let tasks = app.tasks.clone();
    let span = Span::current();
    let run = move |socket| {
        let served = async move {
            let _counted = app.metrics.open(SocketKind::Endpoint);
            run(&app, socket, caller, &asked).await;
        };
        tasks.track_future(served.instrument(span))
    };
    Ok(upgrade
        .max_message_size(MAX_CONTROL)
        .max_frame_size(MAX_CONTROL)
        .on_upgrade(run))
}

/// Lets an endpoint in, and serves it.
async fn run(app: &App, mut socket: WebSocket, caller: Option<Caller>, asked: &[u8; 16]) {
    let proven = match greet(app, &mut socket, asked).await {
        Ok(proven) => proven,
        Err(why) => {
            tracing::warn!(why, "an endpoint was not let in");
            return;
        }
    };
    let placed = match app.tenure.check() {
        Ok(()) => place(app, caller.as_ref(), &proven).await,
        Err(refused) => Err(refused),
    };
    let entered = match placed {
        Ok(remote) => remote.enters(proven.key).map(|number| (remote, number)),
        Err(refused) => Err(refused),
    };
    match entered {
        Ok((remote, number)) => {
            let remote = &remote;
            Conversation { app, remote }
                .run(socket, number, &proven)
                .await;
        }
        Err(refused) => {
            let name = &proven.name;
            tracing::warn!(name, why = refused.detail(), "endpoint refused");
            let refused = ToEndpoint::Refused {
                code: refused.code(),
                message: refused.detail().to_owned(),
            };
            let _ = say(&mut socket, &refused).await;
            let _ = timeout(WRITE_TIME, socket.send(close_message(close::NORMAL))).await;
        }
    }
}

/// Which endpoint it is: the coordinator's own by the enrolment token, that of a hosted zone by the
/// certificate of its device.
async fn place(
    app: &App,
    caller: Option<&Caller>,
    proven: &Proven,
) -> Result<Arc<Remote>, Refused> {
    let forbidden = |text| Refused::new(ProblemCode::Forbidden, text);
    let (caller, claim) = match (caller, &proven.hosted) {
        (Some(caller), Some(claim)) => (caller, claim),
        (None, None) => {
            let remote = app.live.endpoint.remote().cloned();
            return remote.ok_or_else(|| forbidden("this coordinator's endpoint is embedded"));
        }
        _ => return Err(forbidden("the token does not fit what it wants to be")),
    };
    let certificate = Some(claim.certificate.as_str());
    let says = prove_device(app, caller, &proven.key, certificate).await?;
    let says = says.filter(|(says, _)| says.may_host);
    let (says, _) = says.ok_or_else(|| forbidden("this account may not host"))?;
    let (zone, _) = find(app, &claim.zone_id).await?;
    // So that a zone counts that was entered a moment ago.
    sync_fleet(app).await?;
    let names_all = zone
        .game
        .addresses()
        .all(|one| claim.upstreams.contains(&one));
    let remote = app.live.hosted(&claim.zone_id).filter(|_| names_all);
    let remote = remote.ok_or_else(|| {
        let text = "the zone is not hosted, or has game servers that were not named here";
        Refused::new(ProblemCode::HostRefused, text)
    })?;
    remote.enters_as(
        proven.key,
        Owner {
            account: caller.account,
            device_key: proven.key.spki(),
            certified: says.issued,
        },
    )?;
    Ok(remote)
}

struct Conversation<'a> {
    app: &'a App,
    remote: &'a Arc<Remote>,
}

/// An endpoint that proved its key.
struct Proven {
    name: String,
    key: PublicKey,
    hosted: Option<HostedClaim>,
}

/// A held session was not entered.
enum NotAdopted {
    /// It is to end.
    Refused(Why),
    /// It cannot be looked at now.
    NotNow(Why),
}

impl Conversation<'_> {
    async fn run(&self, socket: WebSocket, number: u64, proven: &Proven) {
        let out = Arc::new(Outbound::default());
        let (mut sink, mut stream) = socket.split();
        let why = tokio::select! {
            () = self.app.stop.cancelled() => "the coordinator stops",
            why = write(&mut sink, &out) => why,
            why = self.serve(number, proven, &mut stream, &out) => why,
        };
        out.close();
        tracing::warn!(
            name = proven.name,
            why,
            "the endpoint's control socket ended"
        );
        if self.remote.lost(number) && !self.app.stop.is_cancelled() {
            let (remote, stop) = (Arc::clone(self.remote), self.app.stop.clone());
            let lease = remote.lease();
            self.app.tasks.spawn(async move {
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = tokio::time::sleep(lease) => remote.expire(),
                }
            });
        }
        let code = if self.app.stop.is_cancelled() {
            close::RESTART
        } else {
            close::NORMAL
        };
        let _ = timeout(WRITE_TIME, sink.send(close_message(code))).await;
    }

    async fn serve(
        &self,
        number: u64,
        proven: &Proven,
        stream: &mut SplitStream<WebSocket>,
        out: &Arc<Outbound>,
    ) -> Why {
        let served = async {
            let config = &self.app.config;
            let certificate = self.certificate(proven)?;
            out.say(&ToEndpoint::Welcome {
                certificate,
                require_certificates: self.app.authority.required,
                key_rotation_seconds: config.key_rotation_interval.as_secs(),
                capacity: Some(EndpointCapacity {
                    sessions: u32::try_from(config.capacity.sessions).unwrap_or(u32::MAX),
                    hosts: u32::try_from(config.capacity.hosts).unwrap_or(u32::MAX),
                }),
                policy: self.policy(proven),
                fence: self.app.tenure.fence(),
                silent_after_ms: self
                    .silence()
                    .map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX)),
            });
            let adopting = self.adopt_held(number, proven, stream, out);
            let adopted = timeout(ADOPTION_TIME, adopting).await;
            adopted.map_err(|_| "it took too long to say what it holds")??;
            self.listen(number, proven, stream, out).await
        };
        match served.await {
            Ok(()) => "the endpoint closed it",
            Err(why) => why,
        }
    }

    /// In a cluster: after how long without a word the endpoint looks for another node.
    fn silence(&self) -> Option<Duration> {
        let silence = self.app.tenure.silence()?;
        Some(silence.min(SILENT_AFTER))
    }

    /// What the endpoint of a hosted zone may dial.
    fn policy(&self, proven: &Proven) -> Option<SignedPolicy> {
        let claim = proven.hosted.as_ref()?;
        self.app.live.hosting.policy(&claim.zone_id)
    }

    fn certificate(&self, proven: &Proven) -> Result<String, Why> {
        let authority = &self.app.authority;
        authority
            .certify_endpoint_as(proven.key, &proven.name)
            .map(hex::encode)
            .map_err(|_| "it could not be certified")
    }

    /// Enters what the endpoint holds, or revokes it.
    async fn adopt_held(
        &self,
        number: u64,
        proven: &Proven,
        stream: &mut SplitStream<WebSocket>,
        out: &Arc<Outbound>,
    ) -> Result<(), Why> {
        let (mut accepted, mut revoked) = (HashSet::new(), 0u32);
        let (mut hosts, mut named) = (0, 0);
        let mut routes = Vec::new();
        loop {
            let session = match next(stream, STEP_TIME).await? {
                FromEndpoint::HeldHost { host } => {
                    hosts += 1;
                    if hosts > MAX_HELD {
                        return Err("it holds more hosts than there can be");
                    }
                    let room = host.spec.room.clone();
                    match self.adopt_host(host).await {
                        Ok(true) => drop(accepted.insert(room)),
                        Ok(false) => {}
                        Err(NotAdopted::Refused(why)) => {
                            tracing::info!(room, why, "a held host is let go");
                            out.say(&ToEndpoint::EndHost { room });
                        }
                        Err(NotAdopted::NotNow(why)) => return Err(why),
                    }
                    continue;
                }
                FromEndpoint::Held { session } => session,
                FromEndpoint::Ready => break,
                _ => return Err("it did not say what it holds"),
            };
            named += 1;
            if named > MAX_HELD {
                return Err("it holds more sessions than there can be");
            }
            let session_id = session.who.session_id.clone();
            if session.ways.len() > MAX_HELD_WAYS {
                return Err("a session has more routes than there can be");
            }
            if self.is_own() {
                let ways = session.ways.iter();
                routes.extend(ways.map(|way| (way.host.clone(), way.slot)));
            }
            match self.adopt(session).await {
                Ok(true) => drop(accepted.insert(session_id)),
                // What ended meanwhile is told with the others that did.
                Ok(false) => {}
                Err(NotAdopted::Refused(why)) => {
                    revoked += 1;
                    tracing::info!(session = session_id, why, "a held session is revoked");
                    out.say(&ToEndpoint::Revoke {
                        session_id,
                        code: None,
                    });
                }
                // Nothing was found out about it; the endpoint comes again.
                Err(NotAdopted::NotNow(why)) => return Err(why),
            }
        }
        let sessions = accepted.iter().filter(|room| !self.remote.is_host(room));
        let kept = u32::try_from(sessions.count()).unwrap_or(u32::MAX);
        let told = self.remote.serves(number, &accepted, out);
        revoked += told.ok_or("a newer socket has taken its place")?;
        out.say(&ToEndpoint::Adopted {
            accepted: kept,
            revoked,
        });
        if self.is_own() {
            self.app.live.hosting.say_routes(&routes);
        }
        let (name, key) = (&proven.name, proven.key);
        let hosts = accepted.len() - kept as usize;
        tracing::info!(name, %key, accepted = kept, revoked, hosts, "endpoint connected");
        Ok(())
    }

    /// Enters a held session. False: it ended here while the endpoint was away.
    async fn adopt(&self, held: HeldSession) -> Result<bool, NotAdopted> {
        use NotAdopted::{NotNow, Refused};
        let HeldSession { who, up, ways } = held;
        let (app, store) = (self.app, &self.app.store);
        let account = i64::try_from(who.account).map_err(|_| Refused("no such account"))?;
        let database = |_| NotNow("the database does not answer");
        let untrusted = |reason| {
            app.authority.refuse(reason, "a held session is refused");
            Refused("its certificate is not believed")
        };
        let issued = app.authority.check_held(&who).map_err(untrusted)?;
        let known = store.account_by_id(account).await.map_err(database)?;
        known.ok_or(Refused("its account is gone"))?;
        let zone = store.zone(&who.zone_id).await.map_err(database)?;
        let (zone, _) = zone.ok_or(Refused("its zone is gone"))?;
        app.live.hosting.put_zone(&zone);
        if self.is_out_of_place(&zone) {
            return Err(Refused("another endpoint has its zone"));
        }
        if app
            .live
            .is_replaced(&who.session_id, account, &who.device_key, &who.zone_id)
        {
            return Err(Refused("its player has joined again since"));
        }
        let session_id = who.session_id.clone();
        match self.remote.adopt(&session_id, up) {
            Adoption::Over => return Ok(false),
            Adoption::There => {}
            Adoption::New(port) => {
                let new = NewSession {
                    session_id: who.session_id,
                    peer_id: who.peer_id,
                    account,
                    device_key: who.device_key.spki(),
                    certified: issued.unwrap_or(0),
                    zone_id: who.zone_id,
                };
                let ways = ways.into_iter().map(|way| HeldPlace {
                    room: way.host,
                    slot: way.slot,
                    epoch: way.epoch,
                    way: way.way,
                });
                let ways: Vec<HeldPlace> = ways.collect();
                let entered = app.live.adopt(new, port, up, &ways);
                entered.map_err(|_| {
                    self.remote.not_taken(&session_id);
                    Refused("there is no room for it")
                })?;
            }
        }
        // After it was entered: what is revoked from now on finds it.
        let device = store.is_device_revoked(&who.device_key).await;
        let mut gone = device.map_err(database)?;
        if let Some(issued) = issued {
            let revoked = store.is_account_revoked(account, issued).await;
            gone |= revoked.map_err(database)?;
        }
        if gone {
            // First, so that the launcher is told with this code.
            self.remote.revoke(&session_id, Some(reset::DEVICE_REVOKED));
            app.live.end(&session_id, "its device was revoked");
            return Ok(false);
        }
        let session = app.live.session(&session_id);
        let banned = |NewSession {
                          account,
                          device_key,
                          ..
                      }| app.bans.of(account, device_key).is_some();
        if session.is_some_and(|session| banned(session.grant)) {
            self.remote.revoke(&session_id, Some(reset::BANNED));
            app.live.end(&session_id, "its account or device is banned");
            return Ok(false);
        }
        Ok(true)
    }

    /// Enters a held host. False: it ended here while the endpoint was away.
    async fn adopt_host(&self, named: HeldHost) -> Result<bool, NotAdopted> {
        use NotAdopted::{NotNow, Refused};
        let (app, store) = (self.app, &self.app.store);
        let HeldHost {
            spec,
            next_slot,
            last_epoch,
        } = named;
        if !self.is_own() {
            return Err(Refused("only the coordinator's own endpoint has hosts"));
        }
        let account = i64::try_from(spec.account).map_err(|_| Refused("no such account"))?;
        let database = |_| NotNow("the database does not answer");
        let untrusted = |reason| {
            app.authority.refuse(reason, "a held host is refused");
            Refused("its certificate is not believed")
        };
        let says = app.authority.check_held_host(&spec).map_err(untrusted)?;
        let known = store.account_by_id(account).await.map_err(database)?;
        let known = known.ok_or(Refused("its account is gone"))?;
        let hosting = &app.live.hosting;
        let registered = spec.registration;
        for zone_id in registered.zones.iter().take(MAX_ZONES) {
            if let Some((zone, _)) = store.zone(zone_id).await.map_err(database)? {
                hosting.put_zone(&zone);
            }
        }
        let (host_id, key) = (registered.host_id.clone(), registered.device_key);
        let room = spec.room.clone();
        match self.remote.adopt_host(&room) {
            Adoption::Over => return Ok(false),
            Adoption::There => {}
            Adoption::New(port) => {
                let adopted = hosting.adopt(Adopted {
                    record: HostRecord {
                        host_id: registered.host_id,
                        account,
                        name: known.name,
                        device_key: key,
                        certificate: registered.certificate,
                        valid_until: None,
                        hardware: registered.hardware,
                        zones: registered.zones,
                        max_players: registered.max_players,
                        room: spec.room,
                        peer_id: spec.peer_id,
                        hosted: registered.hosted,
                    },
                    certified: says.issued,
                    expires: says.expires,
                    held: fleet::HeldHost {
                        next_slot,
                        last_epoch,
                    },
                    port,
                });
                if let Err(refused) = adopted {
                    self.remote.not_taken(&room);
                    tracing::info!(
                        host = host_id,
                        why = refused.detail(),
                        "a host is not taken"
                    );
                    return Err(Refused("it would not be registered now"));
                }
            }
        }
        // After it was entered: what is revoked or banned from now on finds it.
        let device = store.is_device_revoked(&key).await.map_err(database)?;
        let revoked = store.is_account_revoked(account, says.issued).await;
        let banned = app.bans.of(account, key.spki()).is_some();
        if device || revoked.map_err(database)? || banned {
            hosting.remove(&host_id);
            return Ok(false);
        }
        Ok(true)
    }

    /// Whether this is the coordinator's own endpoint, not that of a hosted zone.
    fn is_own(&self) -> bool {
        let own = self.app.live.endpoint.remote();
        own.is_some_and(|own| Arc::ptr_eq(own, self.remote))
    }

    /// Whether the endpoint of a hosted zone names a session of another zone.
    fn is_out_of_place(&self, zone: &ZoneFile) -> bool {
        let hosted = self.app.live.hosted(&zone.zone_id);
        !self.is_own() && !hosted.is_some_and(|hosted| Arc::ptr_eq(&hosted, self.remote))
    }

    /// Carries out what the endpoint says, until it has closed the socket.
    async fn listen(
        &self,
        number: u64,
        proven: &Proven,
        stream: &mut SplitStream<WebSocket>,
        out: &Arc<Outbound>,
    ) -> Result<(), Why> {
        let every = self.silence().map_or(ALIVE_EVERY, |time| time / 4);
        let mut alive = tokio::time::interval(every.min(ALIVE_EVERY));
        alive.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let renew_after = (self.app.authority.lifetime() / 2).max(Duration::from_secs(1));
        let mut renew = tokio::time::interval_at(Instant::now() + renew_after, renew_after);
        let mut heard = Instant::now();
        loop {
            let message = tokio::select! {
                _ = alive.tick() => {
                    if heard.elapsed() >= SILENT_AFTER {
                        return Err("nothing was heard from it for too long");
                    }
                    out.say(&ToEndpoint::Alive);
                    continue;
                }
                _ = renew.tick() => {
                    let certificate = self.certificate(proven)?;
                    out.say(&ToEndpoint::Certificate { certificate });
                    if let Some(policy) = self.policy(proven) {
                        out.say(&ToEndpoint::Policy { policy });
                    }
                    continue;
                }
                message = stream.next() => message,
            };
            heard = Instant::now();
            match message {
                Some(Ok(Message::Text(text))) => {
                    let said = read(&text).map_err(|_| "it said something unknown")?;
                    self.remote.take(number, said)?;
                }
                Some(Ok(Message::Binary(frame))) => self.remote.relayed(number, &frame),
                Some(Ok(Message::Close(_))) | None => return Ok(()),
                Some(Ok(_)) => {}
                Some(Err(_)) => return Err("the connection broke"),
            }
        }
    }
}

/// Both prove their keys.
async fn greet(app: &App, socket: &mut WebSocket, asked: &[u8; 16]) -> Result<Proven, Why> {
    let nonce: [u8; 16] = random().map_err(|_| "no random numbers")?;
    let proof = app.authority.prove(asked);
    let challenge = ToEndpoint::Challenge {
        proof: proof.map_err(|_| "the identity key does not sign")?,
        nonce: hex::encode(nonce),
    };
    say(socket, &challenge).await?;
    let hello = next(socket, STEP_TIME).await?;
    let FromEndpoint::Hello {
        version,
        name,
        key,
        proof,
        hosted,
    } = hello
    else {
        return Err("it did not say who it is");
    };
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
    if version != VERSION {
        return Err("it speaks another version");
    }
    if !(1..=MAX_NAME).contains(&name.len()) || !name.bytes().all(allowed) {
        return Err("its name cannot be in a certificate");
    }
    let authority = &app.authority;
    if !authority.check_endpoint(&key, (&name, &nonce), &proof) {
        return Err("it did not prove its key");
    }
    Ok(Proven { name, key, hosted })
}

async fn say(socket: &mut WebSocket, message: &ToEndpoint) -> Result<(), Why> {
    let text = serde_json::to_string(message).map_err(|_| "a message without a JSON form")?;
    match timeout(WRITE_TIME, socket.send(Message::Text(text.into()))).await {
        Ok(Ok(())) => Ok(()),
        _ => Err("it does not read"),
    }
}

async fn next<S>(stream: &mut S, limit: Duration) -> Result<FromEndpoint, Why>
where
    S: StreamExt<Item = Result<Message, axum::Error>> + Unpin,
{
    let text = async {
        loop {
            match stream.next().await {
                Some(Ok(Message::Text(text))) => return Ok(text),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                _ => return Err("the connection broke"),
            }
        }
    };
    let text = timeout(limit, text).await;
    let text = text.map_err(|_| "it took too long")??;
    read(&text).map_err(|_| "it said something unknown")
}

/// Writes what waits until the socket ends.
async fn write(sink: &mut SplitSink<WebSocket, Message>, out: &Outbound) -> Why {
    while let Some(frame) = out.next().await {
        let message = match frame {
            Frame::Text(text) => Message::Text(text.into()),
            Frame::Binary(bytes) => Message::Binary(bytes),
        };
        if !matches!(timeout(WRITE_TIME, sink.send(message)).await, Ok(Ok(()))) {
            return "it does not read";
        }
    }
    "it was ended here"
}
