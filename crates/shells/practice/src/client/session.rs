//! The session: login, character selection, map connections, one after the other.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};
use warp_ro_packet::Role;

use super::announced::Announced;
use super::expect::{Expectations, Verdict, shown};
use super::plan::Plan;
use super::play::Walkabout;
use super::sights::Sights;
use super::socket::Socket;
use super::tally::{Summary, Tally};
use super::{ClientConfig, ClientError, ClientEvent, Deviation, DeviationCode, Halt};
use crate::game::{Account, GREETING, Place};
use crate::report::{role_name, session_key};
use crate::wire::packets::{self, LoginIds};
use crate::wire::{Dialect, Fields, Head, id_of, requests, tick};

/// 0081 and its code for "still online".
const STILL_ONLINE: u8 = 8;

/// How long, and how often, a login is tried again while the account is still online.
const LOGIN_PATIENCE: Duration = Duration::from_secs(2);
const LOGIN_PAUSE: Duration = Duration::from_millis(100);

/// Who plays, once logged in.
#[derive(Debug, Clone, Copy)]
pub(super) struct Identity {
    pub(super) account: Account,
    pub(super) ids: LoginIds,
}

/// How a map connection ends properly.
pub(super) enum Next {
    /// 0AC7 or 0092: on to the other map server.
    Server(Place, SocketAddr),
    /// 00B3: back to the character selection.
    CharSelect,
    /// 018B: the end.
    End,
}

/// A session in progress.
pub(super) struct Session<F> {
    pub(super) config: ClientConfig,
    pub(super) tally: Tally,
    pub(super) plan: Plan,
    pub(super) dialect: Arc<Dialect>,
    on_event: F,
    started: Instant,
    refused_logins: u32,
    char_connections: u32,
    map_connections: u32,
}

impl<F: FnMut(&ClientEvent) + Send> Session<F> {
    pub(super) fn new(config: ClientConfig, dialect: Arc<Dialect>, on_event: F) -> Self {
        Self {
            plan: Plan::default(),
            tally: Tally::default(),
            dialect,
            on_event,
            started: Instant::now(),
            refused_logins: 0,
            char_connections: 0,
            map_connections: 0,
            config,
        }
    }

    /// The whole session.
    pub(super) async fn run(&mut self) -> Result<(), Halt> {
        let (me, char_server) = self.login().await?;
        loop {
            let mut server = self.select(me, char_server).await?;
            let (mut place, mut fresh) = (Place::HOME, true);
            loop {
                match self.visit(me, server, place, fresh).await? {
                    Next::Server(to, address) => {
                        self.tally.server_changes += 1;
                        (server, place, fresh) = (address, to, false);
                    }
                    Next::CharSelect => break,
                    Next::End => return Ok(()),
                }
            }
        }
    }

    /// The outcome: an error only if the client never got onto a map.
    pub(super) fn finish(mut self, halt: Option<Halt>) -> Result<Summary, ClientError> {
        self.tally.interrupted = self.config.stop.is_cancelled();
        let errors = match halt {
            None => Vec::new(),
            Some(Halt::Deviation(deviation)) => vec![deviation],
            Some(Halt::Error(error)) if self.tally.entered => {
                vec![Deviation::new(DeviationCode::Refused, error.to_string())]
            }
            Some(Halt::Error(error)) => return Err(error),
        };
        let to_say = self.config.say.len();
        let user = self.config.user.clone();
        Ok(self.tally.summary(user, to_say, errors))
    }

    pub(super) fn emit(&mut self, event: &ClientEvent) {
        (self.on_event)(event);
    }

    /// The client's tick: milliseconds since it started.
    pub(super) fn tick(&self) -> u32 {
        (self.started.elapsed().as_millis() % (1 << 32)) as u32
    }

    async fn connect(&mut self, role: Role, address: SocketAddr) -> Result<Socket, Halt> {
        let limit = self.config.answer_timeout;
        let shield = self.config.shield;
        let socket = Socket::connect(role, address, &self.dialect, shield, limit).await?;
        self.tally.connections += 1;
        self.emit(&ClientEvent::Connected { role, address });
        Ok(socket)
    }

    /// Closes a connection (properly if all went well) and reports it.
    async fn close<T>(
        &mut self,
        mut socket: Socket,
        outcome: Result<T, Halt>,
        leftover: impl FnMut(&[u8]) -> Result<(), Deviation>,
    ) -> Result<T, Halt> {
        let outcome = match outcome {
            Ok(value) => match socket.close(leftover).await {
                Ok(()) => Ok(value),
                Err(deviation) => Err(deviation.into()),
            },
            Err(halt) => Err(halt),
        };
        let reason = match &outcome {
            Ok(_) => "done",
            Err(Halt::Error(error)) => error.code(),
            Err(Halt::Deviation(_)) => "deviation",
        };
        let (sent, received) = socket.traffic();
        let report = socket.report(reason);
        self.tally.bytes_sent += sent;
        self.tally.bytes_received += received;
        self.tally.packets_sent += report.c2s.packets;
        self.tally.packets_received += report.s2c.packets;
        self.emit(&ClientEvent::ConnectionClosed(report));
        outcome
    }

    /// The next packet, in time. A server tick that nothing called for is counted and passed over.
    async fn frame(&mut self, socket: &mut Socket, due: &str) -> Result<Vec<u8>, Deviation> {
        loop {
            let frame = self.in_time(socket.role, due, socket.frame()).await?;
            let stamp = Fields(&frame).u32(2);
            let extra = socket.role == Role::Map
                && frame == packets::server_time(stamp)
                && tick::is_sound(stamp);
            if !extra {
                return Ok(frame);
            }
            self.tally.extra_time += 1;
        }
    }

    async fn in_time<T>(
        &self,
        role: Role,
        due: &str,
        receiving: impl Future<Output = Result<T, Deviation>>,
    ) -> Result<T, Deviation> {
        match timeout(self.config.answer_timeout, receiving).await {
            Ok(result) => result,
            Err(_late) => {
                let message = format!(
                    "{due} did not come from the {} server in time",
                    role_name(role)
                );
                Err(Deviation::new(DeviationCode::AnswerMissing, message))
            }
        }
    }

    /// Takes packets until they are exactly `bytes`, a row of whole packets. `first` was taken
    /// already.
    async fn expect(
        &mut self,
        socket: &mut Socket,
        mut bytes: &[u8],
        mut first: Option<Vec<u8>>,
    ) -> Result<(), Deviation> {
        let cutter = self.dialect.cutter();
        while let Head::Whole(length) = cutter.head(bytes) {
            let (due, rest) = bytes.split_at(length);
            let frame = match first.take() {
                Some(frame) => frame,
                None => self.frame(socket, &shown(due)).await?,
            };
            if frame != due {
                return Err(unexpected(&shown(due), id_of(due), &frame));
            }
            bytes = rest;
        }
        Ok(())
    }

    /// Logs in, patiently while the account is still online.
    async fn login(&mut self) -> Result<(Identity, SocketAddr), Halt> {
        let patience = Instant::now() + LOGIN_PATIENCE;
        loop {
            match self.try_login().await {
                Err(Halt::Error(ClientError::StillOnline)) if Instant::now() < patience => {
                    self.tally.login_retries += 1;
                    sleep(LOGIN_PAUSE).await;
                }
                outcome => return outcome,
            }
        }
    }

    async fn try_login(&mut self) -> Result<(Identity, SocketAddr), Halt> {
        let mut socket = self.connect(Role::Login, self.config.login).await?;
        let outcome = self.login_on(&mut socket).await;
        socket.key = if let Ok((me, _)) = &outcome {
            session_key(Role::Login, &self.config.user, me.ids.login_id1, 1)
        } else {
            self.refused_logins += 1;
            format!("login:{}:refused-{}", self.config.user, self.refused_logins)
        };
        self.close(socket, outcome, nothing_more).await
    }

    async fn login_on(&mut self, socket: &mut Socket) -> Result<(Identity, SocketAddr), Halt> {
        socket
            .send(&requests::login(&self.config.user, &self.config.password))
            .await?;
        let frame = self.frame(socket, "the answer to the login").await?;
        let fields = Fields(&frame);
        let (accepted, _) = self.dialect.facts.announcing.login;
        match id_of(&frame) {
            Some(id) if id == accepted => {
                Ok(accepted_login(&self.dialect, &frame, &self.config.user)?)
            }
            Some(0x083E) if frame == packets::refuse_login(0) => {
                Err(ClientError::UnknownAccount.into())
            }
            Some(0x083E) if frame == packets::refuse_login(1) => {
                Err(ClientError::WrongPassword.into())
            }
            Some(0x083E) => Err(ClientError::LoginRefused {
                code: fields.u32(2),
            }
            .into()),
            Some(0x0081) if fields.u8(2) == STILL_ONLINE => Err(ClientError::StillOnline.into()),
            Some(0x0081) => Err(ClientError::LoginRefused {
                code: fields.u8(2).into(),
            }
            .into()),
            id => Err(unexpected(&format!("{accepted:04X}, 083E or 0081"), id, &frame).into()),
        }
    }

    /// The character selection: where the map server is.
    async fn select(&mut self, me: Identity, char_server: SocketAddr) -> Result<SocketAddr, Halt> {
        let mut socket = self.connect(Role::Char, char_server).await?;
        self.char_connections += 1;
        let LoginIds { login_id1, .. } = me.ids;
        socket.key = session_key(
            Role::Char,
            &self.config.user,
            login_id1,
            self.char_connections,
        );
        let outcome = self.select_on(&mut socket, me).await;
        self.close(socket, outcome, nothing_more).await
    }

    async fn select_on(&mut self, socket: &mut Socket, me: Identity) -> Result<SocketAddr, Halt> {
        let dialect = Arc::clone(&self.dialect);
        let LoginIds {
            login_id1,
            login_id2,
            sex,
        } = me.ids;
        let aid = me.account.aid();
        socket
            .send(&requests::char_enter(aid, login_id1, login_id2, sex))
            .await?;
        let raw = self
            .in_time(Role::Char, "the raw account id", socket.raw::<4>())
            .await?;
        if raw != aid.to_le_bytes() {
            let message = format!(
                "the raw account id is {}, not {aid}",
                u32::from_le_bytes(raw)
            );
            return Err(Deviation::new(DeviationCode::WrongBytes, message).into());
        }
        let first = self.frame(socket, "the character list").await?;
        if id_of(&first) == Some(0x006C) {
            return Err(ClientError::CharRefused {
                code: Fields(&first).u8(2),
            }
            .into());
        }
        let burst = dialect.char_burst(me.account);
        self.expect(socket, &burst, Some(first)).await?;
        self.pin_state(socket, me).await?;
        for _ in 0..packets::LIST_PAGES {
            socket.send(&requests::ask_list_page()).await?;
        }
        for _ in 0..packets::LIST_PAGES {
            self.expect(socket, &dialect.list_page(me.account), None)
                .await?;
        }
        socket.send(&requests::select_char(0)).await?;
        let id = dialect.facts.announcing.map_server;
        let due = format!("{id:04X}");
        let frame = self.frame(socket, &due).await?;
        let map = Place::HOME.map.name();
        match Announced::of(&dialect, &frame) {
            Some(zone) if zone.plain == dialect.go_to_map_server(me.account, map, zone.binary) => {
                Ok(zone.address)
            }
            _ => Err(unexpected(&due, Some(id), &frame).into()),
        }
    }

    /// The pin state at the end of the burst, and the pin if it is asked for.
    async fn pin_state(&mut self, socket: &mut Socket, me: Identity) -> Result<(), Halt> {
        let account = me.account;
        let state = self.frame(socket, "08B9").await?;
        let seed = Fields(&state).u32(2);
        if let Some(pin) = self.config.pin
            && state == packets::pin_state(account, seed, packets::PIN_ASKED)
        {
            let keys = packets::pin_keys(seed, pin);
            let enter = requests::enter_pin(account.aid(), keys);
            socket.send(&enter).await?;
            let state = self.frame(socket, "08B9").await?;
            let seed = Fields(&state).u32(2);
            return same(&state, &packets::pin_state(account, seed, packets::PIN_OFF));
        }
        // Signed in again by a bridge, the client does not know the session numbers any more.
        let own = me.ids.login_id1 & 0xFFFF;
        let seed = if self.tally.reentries > 0 { seed } else { own };
        same(&state, &packets::pin_state(account, seed, packets::PIN_OFF))
    }

    /// What follows the friends in the burst of a new session.
    async fn new_session(&mut self, socket: &mut Socket) -> Result<(), Halt> {
        let mut burst = packets::own_line(GREETING);
        burst.extend(packets::load_map(Place::HOME));
        burst.extend(self.dialect.entry_status());
        self.expect(socket, &burst, None).await?;
        self.tally.reentries += 1;
        Ok(())
    }

    /// The burst of a new session has begun in the middle of play, with the friends: a bridge has signed
    /// the client in again.
    pub(super) async fn reenter(
        &mut self,
        socket: &mut Socket,
        walk: &mut Walkabout,
    ) -> Result<(), Halt> {
        let given_up = walk.due.give_up();
        self.new_session(socket).await?;
        self.load(socket, walk.own, Place::HOME).await?;
        walk.arrive(Place::HOME);
        self.emit(&ClientEvent::Reentered { given_up });
        Ok(())
    }

    /// One map connection, from the first packet to its end.
    async fn visit(
        &mut self,
        me: Identity,
        server: SocketAddr,
        place: Place,
        fresh: bool,
    ) -> Result<Next, Halt> {
        let mut socket = self.connect(Role::Map, server).await?;
        self.map_connections += 1;
        let LoginIds { login_id1, .. } = me.ids;
        socket.key = session_key(
            Role::Map,
            &self.config.user,
            login_id1,
            self.map_connections,
        );
        let mut walk = Walkabout::new(Arc::clone(&self.dialect), me.account, place);
        let outcome = self.visit_on(&mut socket, me, &mut walk, fresh).await;
        let (mut others, mut times) = (0, 0);
        let outcome = self
            .close(socket, outcome, |frame| {
                match walk.judge(frame)? {
                    Verdict::ExtraTime => times += 1,
                    _ => others += 1,
                }
                Ok(())
            })
            .await;
        self.tally.about_others += others;
        self.tally.extra_time += times;
        outcome
    }

    async fn visit_on(
        &mut self,
        socket: &mut Socket,
        me: Identity,
        walk: &mut Walkabout,
        fresh: bool,
    ) -> Result<Next, Halt> {
        let first_tick = self.enter(socket, me, walk.here(), fresh).await?;
        let (dialect, notices) = (Arc::clone(&self.dialect), self.config.notices);
        walk.due = Expectations::new(dialect, me.account, first_tick, notices);
        self.load(socket, me.account, walk.here()).await?;
        self.tally.entered = true;
        self.play(socket, walk).await
    }

    /// The first packet and the burst after it; the server's tick.
    async fn enter(
        &mut self,
        socket: &mut Socket,
        me: Identity,
        place: Place,
        fresh: bool,
    ) -> Result<u32, Halt> {
        let dialect = Arc::clone(&self.dialect);
        let (aid, LoginIds { login_id1, sex, .. }) = (me.account.aid(), me.ids);
        let enter = dialect.map_enter(aid, me.account.gid(), login_id1, self.tick(), sex);
        socket.send(&enter).await?;
        let first = self.frame(socket, "0283").await?;
        if id_of(&first) == Some(0x006A) {
            return Err(ClientError::MapRefused {
                code: Fields(&first).u8(2),
            }
            .into());
        }
        self.expect(socket, &packets::map_aid(aid), Some(first))
            .await?;
        let accepted = dialect.facts.accept_enter;
        let due = format!("{accepted:04X}");
        let mut frame = self.frame(socket, &due).await?;
        if id_of(&frame) == Some(0x0081) {
            return Err(ClientError::MapRefused {
                code: Fields(&frame).u8(2),
            }
            .into());
        }
        let slots = dialect.bag_slots();
        if !slots.is_empty() {
            self.expect(socket, &slots, Some(frame)).await?;
            frame = self.frame(socket, &due).await?;
        }
        let stamp = Fields(&frame).u32(2);
        if frame != dialect.accept_enter(stamp, place, sex) || !tick::is_sound(stamp) {
            return Err(unexpected(&due, Some(accepted), &frame).into());
        }
        let mut burst = packets::friends();
        if fresh {
            burst.extend(packets::own_line(GREETING));
            burst.extend(packets::load_map(place));
        }
        burst.extend(dialect.entry_status());
        self.expect(socket, &burst, None).await?;
        Ok(stamp)
    }

    /// 007D and the burst after it.
    pub(super) async fn load(
        &mut self,
        socket: &mut Socket,
        own: Account,
        mut place: Place,
    ) -> Result<(), Halt> {
        let dialect = Arc::clone(&self.dialect);
        let first = loop {
            if !self.config.load_time.is_zero() {
                self.emit(&ClientEvent::Loading);
                sleep(self.config.load_time).await;
            }
            socket.send(&requests::map_loaded()).await?;
            let first = self.frame(socket, "01D7").await?;
            if !(self.config.reentry && first == packets::friends()) {
                break first;
            }
            // The server was lost while the map was loaded; a bridge has signed us in again.
            self.new_session(socket).await?;
            place = Place::HOME;
            self.emit(&ClientEvent::Reentered { given_up: 0 });
        };
        self.expect(socket, &dialect.load_head(own), Some(first))
            .await?;
        let mut sights = Sights::default();
        let after = loop {
            let frame = self.frame(socket, "the units in sight").await?;
            if !dialect.is_standing(&frame) {
                break frame;
            }
            sights.add(&dialect, &frame, place.map, own)?;
        };
        sights.finish(place.map)?;
        self.tally.about_others += sights.players();
        self.expect(socket, &dialect.load_tail(), Some(after))
            .await?;
        let Place { map, x, y } = place;
        self.emit(&ClientEvent::OnMap {
            map: map.name(),
            x,
            y,
        });
        Ok(())
    }
}

/// Reads the answer to a login: every byte of it is known but the session numbers and the address.
fn accepted_login(
    dialect: &Dialect,
    frame: &[u8],
    user: &str,
) -> Result<(Identity, SocketAddr), Deviation> {
    let (id, _) = dialect.facts.announcing.login;
    let wrong = || unexpected(&format!("{id:04X}"), Some(id), frame);
    let account = Account::by_user(user.as_bytes()).ok_or_else(wrong)?;
    let fields = Fields(frame);
    let ids = LoginIds {
        login_id1: fields.u32(4),
        login_id2: fields.u32(12),
        sex: account.sex(),
    };
    let char_server = Announced::of(dialect, frame).ok_or_else(wrong)?;
    if char_server.plain != dialect.accept_login(account, ids, char_server.binary) {
        return Err(wrong());
    }
    Ok((Identity { account, ids }, char_server.address))
}

/// The packet that is due has come.
fn same(frame: &[u8], due: &[u8]) -> Result<(), Halt> {
    if frame == due {
        return Ok(());
    }
    Err(unexpected(&shown(due), id_of(due), frame).into())
}

/// After the last answer of a login or char connection nothing may come.
fn nothing_more(frame: &[u8]) -> Result<(), Deviation> {
    let message = format!("nothing was due, but {} came", shown(frame));
    Err(Deviation::new(DeviationCode::UnexpectedPacket, message))
}

fn unexpected(due: &str, id: Option<u16>, frame: &[u8]) -> Deviation {
    let code = if id_of(frame) == id {
        DeviationCode::WrongBytes
    } else {
        DeviationCode::UnexpectedPacket
    };
    Deviation::new(code, format!("{due} was due, but {} came", shown(frame)))
}
