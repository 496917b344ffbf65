//! The pipeline of one connection.

use std::sync::Arc;

use bytes::BytesMut;
use warp_protocol::carrier::PathKind;
use warp_protocol::stream::MessageKind;
use warp_ro_packet::{
    Direction, Frame, FrameKind, PacketClass, Role, account_of, announces_addresses, map_name,
    rewrite_addresses,
};

use crate::command::{Answers, command_line, line_of};
use crate::counters::Counters;
use crate::event::{BridgeEvent, EventQueue, Level, StepDownReason};
use crate::framing::{DOWN, Framing, UP, set_id};
use crate::message::{AddressBook, ToServer};
use crate::reading::Reading;
use crate::recall::Recorder;
use crate::stage::{ClientDid, KeepAlive, Stage};
use crate::tap::{Seen, Tap};

mod resume;

use resume::Resume;
pub use resume::Standing;
pub(crate) use resume::{ACCEPT_ENTER, REFUSE_ENTER};

/// One TCP connection of the game client to one game server. See the crate's rules.
#[derive(Debug)]
pub struct BridgeConnection {
    role: Role,
    level: Level,
    framing: Option<Framing>,
    commands: bool,
    stage: Stage,
    keep_alive: KeepAlive,
    answers: Answers,
    counters: Counters,
    events: EventQueue,
    account: Option<u32>,
    map: Option<String>,
    recorder: Recorder,
    resume: Resume,
    tap: Tap,
}

impl BridgeConnection {
    /// A new connection to the server `role`, read as `reading` says and as far as the zone's
    /// `level` allows. A level below [`Level::Assist`] is a step down with an event, and so is a
    /// `reading` without a table. `commands`: whether `/p2p` in the chat is the bridge's own.
    #[must_use]
    pub fn new(role: Role, level: Level, reading: Reading, commands: bool) -> BridgeConnection {
        let mut connection = BridgeConnection {
            role,
            level: Level::Assist,
            framing: None,
            commands,
            stage: Stage::Loading,
            keep_alive: KeepAlive::default(),
            answers: Answers::default(),
            counters: Counters::default(),
            events: EventQueue::default(),
            account: None,
            map: None,
            recorder: Recorder::default(),
            resume: Resume::default(),
            tap: Tap::default(),
        };
        connection.step_down(level, StepDownReason::ByZone);
        if connection.level != Level::Opaque {
            match reading {
                Reading::Framed { table, ciphered } => {
                    let framing = Framing::new(role, table, ciphered);
                    connection.keep_alive.replace(&framing.time_sync(role));
                    connection.framing = Some(framing);
                }
                Reading::Opaque(reason) => {
                    connection.step_down(Level::Opaque, reason);
                }
            }
        }
        connection
    }

    /// Reads on as `reading` says, for an owner that has learned more since the beginning. Nothing
    /// changes when the connection is opaque, and the client's cipher only as long as it has sent no
    /// packet. Returns whether the connection is read so now.
    pub fn choose(&mut self, reading: Reading) -> bool {
        let Some(framing) = self
            .framing
            .as_mut()
            .filter(|_| self.level != Level::Opaque)
        else {
            return false;
        };
        match reading {
            Reading::Framed { table, ciphered } => {
                let same_cipher = ciphered == framing.sent.is_some();
                if same_cipher && Arc::ptr_eq(&table, &framing.table) {
                    return true;
                }
                if framing.client_spoke && (ciphered || !same_cipher) {
                    return false;
                }
                let new = framing.go_on_with(self.role, table, ciphered);
                let old = std::mem::replace(framing, new);
                if old.roles.time_sync != framing.roles.time_sync {
                    self.keep_alive.replace(&framing.time_sync(self.role));
                }
            }
            Reading::Opaque(reason) => {
                self.step_down(Level::Opaque, reason);
            }
        }
        true
    }

    /// Which server this connection leads to.
    #[must_use]
    pub fn role(&self) -> Role {
        self.role
    }

    /// How far the connection is read now.
    #[must_use]
    pub fn level(&self) -> Level {
        self.level
    }

    /// Whether the client hides its ids on this connection.
    #[must_use]
    pub fn hides_ids(&self) -> bool {
        let framing = self.framing.as_ref();
        framing.is_some_and(|framing| framing.sent.is_some())
    }

    /// The account that the connection belongs to, once a packet has named it.
    #[must_use]
    pub fn account(&self) -> Option<u32> {
        self.account
    }

    /// The map that the server last sent the player to on this connection, without its `.gat`.
    #[must_use]
    pub fn map(&self) -> Option<&str> {
        self.map.as_deref()
    }

    /// What was handed on so far.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Whether packets are shown from now on ([`BridgeConnection::take_seen`]).
    pub fn inspect(&mut self, on: bool) {
        self.tap.on = on;
        if !on {
            self.tap.take();
        }
    }

    /// The packets that passed since the last call while they are shown, oldest first, and how many
    /// more there were than [`crate::MAX_SEEN`].
    pub fn take_seen(&mut self) -> (Vec<Seen>, u64) {
        self.tap.take()
    }

    /// The next event, oldest first; `None` when all are told.
    pub fn poll_event(&mut self) -> Option<BridgeEvent> {
        self.events.pop()
    }

    /// How many events were dropped because nobody polled them; see [`crate::MAX_EVENTS`].
    #[must_use]
    pub fn events_lost(&self) -> u64 {
        self.events.lost()
    }

    /// How many bytes of one direction wait for the rest of their packet.
    #[must_use]
    pub fn waiting(&self, direction: Direction) -> usize {
        self.framing.as_ref().map_or(0, |framing| match direction {
            Direction::ClientToServer => framing.client.pending(),
            Direction::ServerToClient => framing.server.pending(),
        })
    }

    /// Whether [`BridgeConnection::release_to_server`] or [`BridgeConnection::release_to_client`]
    /// has something to hand out in this direction.
    #[must_use]
    pub fn due(&self, direction: Direction) -> bool {
        let held_back = self.level == Level::Opaque && self.waiting(direction) > 0;
        held_back
            || match direction {
                Direction::ClientToServer => self.keep_alive.is_stale(),
                Direction::ServerToClient => self.may_answer() && !self.answers.is_empty(),
            }
    }

    /// Steps down to `to` and emits the event; does nothing (and returns `false`) unless `to` is
    /// below the level now.
    pub fn step_down(&mut self, to: Level, reason: StepDownReason) -> bool {
        if !to.is_below(self.level) {
            return false;
        }
        let from = std::mem::replace(&mut self.level, to);
        if to == Level::Opaque
            && let Some(framing) = &mut self.framing
        {
            framing.client.make_opaque();
            framing.server.make_opaque();
        }
        // Below assist nothing is put into the streams.
        self.answers.clear();
        self.keep_alive.want(false);
        self.recorder.clear();
        self.resume.gate = None;
        self.events
            .push(BridgeEvent::SteppedDown { from, to, reason });
        true
    }

    /// Takes what the client wrote, and gives `out` what to send to the endpoint, in order: one
    /// whole packet each, or, when opaque, the bytes of this call as one message. `path`: what
    /// carries it.
    pub fn client_bytes(
        &mut self,
        bytes: &[u8],
        path: Option<PathKind>,
        out: &mut impl FnMut(ToServer<'_>),
    ) {
        if bytes.is_empty() {
            return;
        }
        match &mut self.framing {
            Some(framing) => framing.client.push(bytes),
            None => return self.raw_to_server(bytes, path, out),
        }
        self.drain_client(path, out);
        self.tell_keep_alive(out);
    }

    /// Takes what the server wrote, and gives `out` what to write to the client: all packets that
    /// are whole by now in one piece, the addresses in them replaced through `book`, then answers
    /// that wait. `path`: what carried it.
    pub fn server_bytes(
        &mut self,
        bytes: &[u8],
        path: Option<PathKind>,
        book: &mut dyn AddressBook,
        out: &mut impl FnMut(&[u8]),
    ) {
        if bytes.is_empty() {
            return;
        }
        match &mut self.framing {
            Some(framing) => framing.server.push(bytes),
            None => {
                self.counters.count_raw(DOWN, path, bytes.len());
                return out(bytes);
            }
        }
        self.drain_server(path, Some(book), out);
        self.give_answers(out);
    }

    /// Hands out what is [due](BridgeConnection::due) towards the server: what was held back when
    /// the connection became opaque, and a change of what keeps the session alive.
    pub fn release_to_server(
        &mut self,
        path: Option<PathKind>,
        out: &mut impl FnMut(ToServer<'_>),
    ) {
        if self.level == Level::Opaque {
            self.drain_client(path, out);
        }
        self.tell_keep_alive(out);
    }

    /// Hands out what is [due](BridgeConnection::due) towards the client: what was held back when
    /// the connection became opaque, and answers.
    pub fn release_to_client(&mut self, path: Option<PathKind>, out: &mut impl FnMut(&[u8])) {
        if self.level == Level::Opaque {
            self.drain_server(path, None, out);
        }
        self.give_answers(out);
    }

    /// The client's stream has ended: hands out what is left of it, as it is.
    pub fn finish_client(&mut self, path: Option<PathKind>, out: &mut impl FnMut(ToServer<'_>)) {
        self.release_to_server(path, out);
        let rest = self.framing.as_mut().and_then(|f| f.client.finish());
        if let Some(rest) = rest {
            self.note_partial(UP, rest.bytes.len());
            self.raw_to_server(&rest.bytes, path, out);
        }
    }

    /// The server's stream has ended: hands out what is left of it, as it is.
    pub fn finish_server(&mut self, path: Option<PathKind>, out: &mut impl FnMut(&[u8])) {
        self.release_to_client(path, out);
        let rest = self.framing.as_mut().and_then(|f| f.server.finish());
        if let Some(rest) = rest {
            self.note_partial(DOWN, rest.bytes.len());
            self.counters.count_raw(DOWN, path, rest.bytes.len());
            out(&rest.bytes);
        }
    }

    /// Lines to be shown in the game's chat, at a packet border, as soon as the player is on a map.
    /// At most [`crate::MAX_ANSWERS`] wait, the oldest are kept; the rest is dropped with an event.
    /// Returns `false`, and takes nothing, on connections that have no chat to show them in: login,
    /// char, and those below [`Level::Assist`].
    pub fn answer(&mut self, lines: &[String]) -> bool {
        if !self.has_chat() {
            return false;
        }
        let taken = lines
            .iter()
            .take_while(|line| self.answers.push(line))
            .count();
        if taken < lines.len() {
            self.events.push(BridgeEvent::AnswersDropped {
                lines: lines.len() - taken,
            });
        }
        true
    }

    fn has_chat(&self) -> bool {
        let framing = self.framing.as_ref();
        self.role == Role::Map
            && self.level == Level::Assist
            && framing.is_some_and(|framing| framing.roles.system_chat.is_some())
    }

    /// The client is always at a packet border here: it gets whole packets only.
    fn may_answer(&self) -> bool {
        self.stage == Stage::Playing && self.level == Level::Assist
    }

    fn give_answers(&mut self, out: &mut impl FnMut(&[u8])) {
        if self.may_answer() {
            self.answers.drain(out);
        }
    }

    /// Whether the endpoint should keep the session alive now.
    fn may_keep_alive(&self) -> bool {
        let framing = self.framing.as_ref();
        self.stage == Stage::Playing
            && self.level == Level::Assist
            // What is injected would put the server's key a packet ahead of the client's.
            && framing.is_some()
            && !self.hides_ids()
            && self.resume.gate.is_none()
    }

    fn tell_keep_alive(&mut self, out: &mut impl FnMut(ToServer<'_>)) {
        if !self.keep_alive.is_stale() {
            return;
        }
        let wanted = self.may_keep_alive();
        if let Some(payload) = self.keep_alive.change(wanted) {
            out(ToServer {
                payload,
                kind: MessageKind::KeepAlive,
                class: PacketClass::Other,
                id: None,
            });
        }
    }

    fn enter_stage(&mut self, stage: Stage) {
        if stage != self.stage {
            self.stage = stage;
            let wanted = self.may_keep_alive();
            self.keep_alive.want(wanted);
        }
    }

    fn note_partial(&mut self, direction: Direction, bytes: usize) {
        self.events.push(BridgeEvent::Partial { direction, bytes });
    }

    fn note_account(&mut self, direction: Direction, packet: &[u8]) {
        if self.account.is_some() {
            return;
        }
        let framing = self.framing.as_ref();
        let named = framing.and_then(|f| account_of(&f.table, self.role, direction, packet));
        if let Some(account) = named {
            self.account = Some(account);
            self.events.push(BridgeEvent::Account { account });
        }
    }

    fn raw_to_server(
        &mut self,
        payload: &[u8],
        path: Option<PathKind>,
        out: &mut impl FnMut(ToServer<'_>),
    ) {
        self.counters.count_raw(UP, path, payload.len());
        out(ToServer {
            payload,
            kind: MessageKind::Plain,
            class: PacketClass::Other,
            id: None,
        });
    }

    fn drain_client(&mut self, path: Option<PathKind>, out: &mut impl FnMut(ToServer<'_>)) {
        while let Some(framing) = &mut self.framing
            && let Some(Frame { kind, bytes }) = framing.client.next_frame()
        {
            match kind {
                FrameKind::Packet(id) => self.client_packet(id, bytes, path, out),
                // No client stream begins with a raw account id; as raw bytes nothing would be lost.
                FrameKind::RawAid | FrameKind::Raw => self.raw_to_server(&bytes, path, out),
            }
        }
        self.step_down_if_unframeable(UP);
    }

    fn client_packet(
        &mut self,
        id: u16,
        mut packet: BytesMut,
        path: Option<PathKind>,
        out: &mut impl FnMut(ToServer<'_>),
    ) {
        let Some(framing) = &mut self.framing else {
            return;
        };
        framing.client_spoke = true;
        let (roles, class) = (framing.roles, framing.table.class_of(id));
        let hidden = framing.sent.is_some();
        if hidden {
            set_id(&mut packet, id);
        }
        self.tap.see(&framing.table, UP, path, &packet);
        self.note_account(UP, &packet);
        if self.level == Level::Assist {
            self.recorder.client(self.role, &roles, id, &packet);
        }
        let enters = self.role == Role::Map && roles.map_enter == Some(id);
        if enters || (self.role == Role::Char && roles.char_enter == Some(id)) {
            self.resume.renew_ids(self.role, &mut packet);
        }
        if self.role == Role::Map {
            if roles.time_sync == Some(id) {
                self.keep_alive.replace(&packet);
            }
            self.enter_stage(self.stage.on_client(match Some(id) {
                id if id == roles.map_enter => ClientDid::Enter,
                id if id == roles.map_loaded => ClientDid::Load,
                id if id == roles.restart => ClientDid::AskToLeave,
                _ => ClientDid::Other,
            }));
            if self.commands
                && roles.public_chat == Some(id)
                && self.has_chat()
                && let Some(typed) = command_line(&packet)
            {
                let line = line_of(typed);
                self.events.push(BridgeEvent::Command { line });
                return;
            }
            if !self.passes(id, &packet) {
                return;
            }
        }
        if let Some(sent) = self.framing.as_mut().and_then(|f| f.sent.as_mut()) {
            set_id(&mut packet, sent.apply(id));
        }
        self.counters.count_packet(UP, class, path, packet.len());
        out(ToServer {
            payload: &packet,
            kind: if enters {
                MessageKind::Alone
            } else {
                MessageKind::Plain
            },
            class,
            id: Some(id),
        });
        self.open_gate(path, out);
    }

    /// `book` is absent where only raw bytes can come.
    fn drain_server(
        &mut self,
        path: Option<PathKind>,
        mut book: Option<&mut dyn AddressBook>,
        out: &mut impl FnMut(&[u8]),
    ) {
        // Frames of one push lie behind one another: joining them again copies nothing.
        let mut whole = BytesMut::new();
        while let Some(framing) = &mut self.framing
            && let Some(Frame { kind, mut bytes }) = framing.server.next_frame()
        {
            framing.server_spoke = true;
            match kind {
                FrameKind::Packet(id) => {
                    let class = framing.table.class_of(id);
                    self.tap.see(&framing.table, DOWN, path, &bytes);
                    self.counters.count_packet(DOWN, class, path, bytes.len());
                    if announces_addresses(id)
                        && let Some(book) = &mut book
                    {
                        self.rewrite(&mut bytes, *book);
                    }
                    self.server_packet(id, &bytes);
                }
                FrameKind::RawAid => {
                    let class = PacketClass::Other;
                    self.counters.count_packet(DOWN, class, path, bytes.len());
                }
                FrameKind::Raw => self.counters.count_raw(DOWN, path, bytes.len()),
            }
            whole.unsplit(bytes);
        }
        if !whole.is_empty() {
            out(&whole);
        }
        self.step_down_if_unframeable(DOWN);
    }

    fn server_packet(&mut self, id: u16, packet: &[u8]) {
        if self.role == Role::Login {
            self.note_account(DOWN, packet);
        }
        if self.level == Level::Assist {
            self.recorder.server(self.role, id, packet);
        }
        let map = map_name(packet);
        if self.role == Role::Map {
            self.resume.server(id, packet);
            self.enter_stage(
                self.stage
                    .on_server(map.is_some() || announces_addresses(id)),
            );
        }
        if let Some(name) = map {
            self.note_map(plain_map(name));
        }
    }

    fn rewrite(&mut self, packet: &mut [u8], book: &mut dyn AddressBook) {
        let map = map_name(packet).map(|name| plain_map(name).to_owned());
        let events = &mut self.events;
        rewrite_addresses(packet, &mut |role, upstream| {
            let loopback = book.loopback_for(role, upstream);
            events.push(BridgeEvent::ServerAnnounced {
                role,
                upstream,
                loopback,
                map: map.clone().filter(|_| role == Role::Map),
            });
            loopback
        });
    }

    fn note_map(&mut self, map: &str) {
        if self.map.as_deref() != Some(map) {
            self.map = Some(map.to_owned());
            self.events.push(BridgeEvent::MapChanged {
                map: map.to_owned(),
            });
        }
    }

    fn step_down_if_unframeable(&mut self, direction: Direction) {
        let reason = self.framing.as_ref().and_then(|framing| match direction {
            Direction::ClientToServer => framing.client.opaque_reason(),
            Direction::ServerToClient => framing.server.opaque_reason(),
        });
        if let Some(reason) = reason {
            let reason = StepDownReason::unframeable(direction, reason);
            self.step_down(Level::Opaque, reason);
        }
    }
}

fn plain_map(name: &str) -> &str {
    name.strip_suffix(".gat").unwrap_or(name)
}
