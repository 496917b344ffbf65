//! TCP connections of a capture, put back together.
//!
//! Segments are put in order by their sequence numbers; what was sent twice counts once. What
//! comes too early waits, at most [`MAX_HELD`] bytes in one direction and [`MAX_HELD_ALL`] in all.
//! Bytes count as lost, and the stream has a gap, when
//!
//! - the receiver has acknowledged them for [`HOLE_US`] and they have not come,
//! - more waits behind them than may wait, or
//! - the connection or the capture ends.
//!
//! A connection is known by its SYN, or without one by its first segment; the side whose port
//! belongs to a server is the server. At most [`MAX_CONNECTIONS`] are followed at once.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::rc::Rc;

use warp_ro_packet::{Direction, Role};

use super::stream::{Origin, Sink, Trouble};

/// Bytes that may wait in one direction of one connection.
const MAX_HELD: usize = 1024 * 1024;
/// Bytes that may wait in all connections together.
const MAX_HELD_ALL: usize = 64 * 1024 * 1024;
/// How long acknowledged bytes may still come: segments of a capture are a little out of order.
const HOLE_US: u64 = 1_000_000;
/// Connections that are followed at once; beyond, the one that was silent for longest is given up.
const MAX_CONNECTIONS: usize = 4096;

/// One TCP segment.
pub(super) struct Segment<'a> {
    pub(super) source: SocketAddr,
    pub(super) destination: SocketAddr,
    pub(super) sequence: u32,
    /// The acknowledgement number, if the segment has one.
    pub(super) acknowledged: Option<u32>,
    pub(super) syn: bool,
    pub(super) fin: bool,
    pub(super) rst: bool,
    pub(super) payload: &'a [u8],
}

/// The connections of one capture.
pub(super) struct Connections {
    file: Rc<str>,
    session: Option<Rc<str>>,
    ports: Vec<(Role, u16)>,
    /// By client and server.
    table: HashMap<(SocketAddr, SocketAddr), Connection>,
    /// Connections that had data.
    opened: u32,
    /// Bytes that wait.
    held: usize,
}

struct Connection {
    role: Role,
    /// Given with the first data.
    number: Option<u32>,
    to_server: Half,
    to_client: Half,
    /// Time of the newest segment.
    active_us: u64,
    /// Both directions are over; segments that straggle in are of no use.
    closed: bool,
}

/// One direction of a connection.
#[derive(Default)]
struct Half {
    stream: Option<u64>,
    /// Its SYN was seen.
    whole: bool,
    /// The sequence number of its SYN or first segment.
    initial: Option<u32>,
    /// The sequence number of the byte at `offset`.
    next: u32,
    /// How many bytes were handed on or given up.
    offset: u64,
    /// What came too early, by offset.
    held: BTreeMap<u64, Vec<u8>>,
    held_bytes: usize,
    /// Since when something waits.
    waiting_us: Option<u64>,
    /// Up to where the receiver has acknowledged.
    acknowledged: u64,
    /// Where the FIN stands.
    end: Option<u64>,
    ended: bool,
}

impl Connections {
    pub(super) fn new(
        file: Rc<str>,
        session: Option<Rc<str>>,
        ports: &[(Role, u16)],
    ) -> Connections {
        Connections {
            file,
            session,
            ports: ports.to_vec(),
            table: HashMap::new(),
            opened: 0,
            held: 0,
        }
    }

    /// How many connections had data.
    pub(super) fn opened(&self) -> u32 {
        self.opened
    }

    /// Takes the next segment of the capture.
    pub(super) fn segment(
        &mut self,
        time_us: u64,
        segment: &Segment<'_>,
        sink: &mut dyn Sink,
    ) -> Result<(), Trouble> {
        let Some((key, role, direction)) = self.belongs(segment) else {
            return Ok(());
        };
        let begins = segment.syn && segment.acknowledged.is_none();
        if begins
            && let Some(old) = self.table.get_mut(&key)
            && old.to_server.initial != Some(segment.sequence)
        {
            // The same ports again: another connection.
            close(old, time_us, &mut self.held, sink)?;
            self.table.remove(&key);
        }
        if !self.table.contains_key(&key) {
            self.make_room(time_us, sink)?;
        }
        let connection = self.table.entry(key).or_insert_with(|| Connection {
            role,
            number: None,
            to_server: Half::default(),
            to_client: Half::default(),
            active_us: time_us,
            closed: false,
        });
        connection.active_us = time_us;
        if connection.closed {
            return Ok(());
        }
        let (half, other) = match direction {
            Direction::ClientToServer => (&mut connection.to_server, &mut connection.to_client),
            Direction::ServerToClient => (&mut connection.to_client, &mut connection.to_server),
        };
        half.meet(segment);
        if let Some(acknowledged) = segment.acknowledged {
            other.acknowledge(acknowledged);
        }
        if half.stream.is_none() && !half.ended && !segment.payload.is_empty() {
            let number = *connection.number.get_or_insert_with(|| {
                self.opened += 1;
                self.opened
            });
            half.stream = Some(sink.open(Origin {
                file: Rc::clone(&self.file),
                session: self.session.clone(),
                role,
                direction,
                number,
                whole: half.whole,
            }));
        }
        half.take(time_us, segment, &mut self.held, sink)?;
        for half in [&mut connection.to_server, &mut connection.to_client] {
            half.give_up_lost(time_us, &mut self.held, sink)?;
        }
        if segment.rst || (connection.to_server.ended && connection.to_client.ended) {
            close(connection, time_us, &mut self.held, sink)?;
        }
        Ok(())
    }

    /// Ends every connection at the end of the capture, in the order of their numbers.
    pub(super) fn finish(&mut self, time_us: u64, sink: &mut dyn Sink) -> Result<(), Trouble> {
        let mut open: Vec<Connection> = self.table.drain().map(|(_, one)| one).collect();
        open.sort_by_key(|one| one.number);
        for mut connection in open {
            close(&mut connection, time_us, &mut self.held, sink)?;
        }
        Ok(())
    }

    /// Client and server of a segment's connection, and which way it goes.
    fn belongs(
        &self,
        segment: &Segment<'_>,
    ) -> Option<((SocketAddr, SocketAddr), Role, Direction)> {
        let forth = (segment.source, segment.destination);
        let back = (segment.destination, segment.source);
        let to_server = |role| Some((forth, role, Direction::ClientToServer));
        let to_client = |role| Some((back, role, Direction::ServerToClient));
        let begins = segment.syn && segment.acknowledged.is_none();
        if !begins {
            if let Some(known) = self.table.get(&forth) {
                return to_server(known.role);
            }
            if let Some(known) = self.table.get(&back) {
                return to_client(known.role);
            }
        }
        let answers = segment.syn && !begins;
        let (source, destination) = (
            self.role_of(segment.source.port()),
            self.role_of(segment.destination.port()),
        );
        match (destination, source) {
            (Some(role), _) if !answers => to_server(role),
            (_, Some(role)) if !begins => to_client(role),
            _ => None,
        }
    }

    fn role_of(&self, port: u16) -> Option<Role> {
        let found = self.ports.iter().find(|(_, known)| *known == port);
        found.map(|(role, _)| *role)
    }

    fn make_room(&mut self, time_us: u64, sink: &mut dyn Sink) -> Result<(), Trouble> {
        if self.table.len() < MAX_CONNECTIONS {
            return Ok(());
        }
        let stalest = self
            .table
            .iter()
            .min_by_key(|(_, one)| (!one.closed, one.active_us))
            .map(|(key, _)| *key);
        if let Some(mut given_up) = stalest.and_then(|key| self.table.remove(&key)) {
            close(&mut given_up, time_us, &mut self.held, sink)?;
        }
        Ok(())
    }
}

fn close(
    connection: &mut Connection,
    time_us: u64,
    held: &mut usize,
    sink: &mut dyn Sink,
) -> Result<(), Trouble> {
    if std::mem::replace(&mut connection.closed, true) {
        return Ok(());
    }
    for half in [&mut connection.to_server, &mut connection.to_client] {
        if half.ended {
            continue;
        }
        while half.jump(time_us, held, sink)? {}
        if let (Some(stream), Some(end)) = (half.stream, half.end)
            && end > half.offset
        {
            sink.gap(stream, time_us, end - half.offset)?;
        }
        half.finish(time_us, held, sink)?;
    }
    Ok(())
}

impl Half {
    /// Learns where the stream begins from its first segment.
    fn meet(&mut self, segment: &Segment<'_>) {
        if self.initial.is_none() {
            self.initial = Some(segment.sequence);
            self.whole = segment.syn;
            self.next = segment.sequence.wrapping_add(u32::from(segment.syn));
        }
    }

    /// The offset of a sequence number; `None` for one before the stream's beginning.
    fn offset_of(&self, sequence: u32) -> Option<u64> {
        let distance = sequence.wrapping_sub(self.next).cast_signed();
        self.offset.checked_add_signed(distance.into())
    }

    fn acknowledge(&mut self, sequence: u32) {
        if self.initial.is_some()
            && let Some(offset) = self.offset_of(sequence)
        {
            self.acknowledged = self.acknowledged.max(offset);
        }
    }

    fn take(
        &mut self,
        time_us: u64,
        segment: &Segment<'_>,
        held: &mut usize,
        sink: &mut dyn Sink,
    ) -> Result<(), Trouble> {
        if self.ended {
            return Ok(());
        }
        let first = segment.sequence.wrapping_add(u32::from(segment.syn));
        let ahead = first.wrapping_sub(self.next).cast_signed();
        // Sent again, as a whole or in its first part; also what keeps connections alive.
        let known = usize::try_from(ahead.min(0).unsigned_abs()).unwrap_or(usize::MAX);
        let fresh = segment.payload.get(known..).unwrap_or_default();
        if segment.fin {
            let after = u32::try_from(segment.payload.len()).unwrap_or(u32::MAX);
            self.end = self.end.or(self.offset_of(first.wrapping_add(after)));
        }
        if !fresh.is_empty() {
            match u64::try_from(ahead) {
                Ok(ahead @ 1..) => self.hold(self.offset + ahead, fresh, time_us, held),
                Ok(0) | Err(_) => self.hand_on(fresh, time_us, sink)?,
            }
            self.drain(time_us, held, sink)?;
        }
        while self.held_bytes > MAX_HELD || (*held > MAX_HELD_ALL && self.held_bytes > 0) {
            self.jump(time_us, held, sink)?;
        }
        if self.end.is_some_and(|end| end <= self.offset) {
            self.finish(time_us, held, sink)?;
        }
        Ok(())
    }

    fn hold(&mut self, offset: u64, bytes: &[u8], time_us: u64, held: &mut usize) {
        let known = self.held.get(&offset).map_or(0, Vec::len);
        if bytes.len() > known {
            self.held.insert(offset, bytes.to_vec());
            self.held_bytes += bytes.len() - known;
            *held += bytes.len() - known;
        }
        self.waiting_us.get_or_insert(time_us);
    }

    fn hand_on(&mut self, bytes: &[u8], time_us: u64, sink: &mut dyn Sink) -> Result<(), Trouble> {
        self.offset += bytes.len() as u64;
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        self.next = self.next.wrapping_add(length);
        match self.stream {
            Some(stream) => sink.data(stream, time_us, bytes),
            None => Ok(()),
        }
    }

    /// Hands on what waited for what has come.
    fn drain(
        &mut self,
        time_us: u64,
        held: &mut usize,
        sink: &mut dyn Sink,
    ) -> Result<(), Trouble> {
        while let Some(entry) = self.held.first_entry() {
            if *entry.key() > self.offset {
                return Ok(());
            }
            let (at, bytes) = entry.remove_entry();
            self.held_bytes -= bytes.len();
            *held -= bytes.len();
            let known = usize::try_from(self.offset - at).unwrap_or(usize::MAX);
            if let Some(fresh) = bytes.get(known..).filter(|fresh| !fresh.is_empty()) {
                self.hand_on(fresh, time_us, sink)?;
            }
        }
        self.waiting_us = None;
        Ok(())
    }

    /// Gives up what is missing in front of what waits. Returns whether something waited.
    fn jump(
        &mut self,
        time_us: u64,
        held: &mut usize,
        sink: &mut dyn Sink,
    ) -> Result<bool, Trouble> {
        let Some((at, _)) = self.held.first_key_value() else {
            return Ok(false);
        };
        let missing = at.saturating_sub(self.offset);
        self.offset += missing;
        let low = u32::try_from(missing & u64::from(u32::MAX)).unwrap_or_default();
        self.next = self.next.wrapping_add(low);
        if let Some(stream) = self.stream {
            sink.gap(stream, time_us, missing)?;
        }
        self.waiting_us = Some(time_us);
        self.drain(time_us, held, sink)?;
        Ok(true)
    }

    /// Gives up what the receiver has and the capture has not.
    fn give_up_lost(
        &mut self,
        time_us: u64,
        held: &mut usize,
        sink: &mut dyn Sink,
    ) -> Result<(), Trouble> {
        while let (Some(since), Some((at, _))) = (self.waiting_us, self.held.first_key_value())
            && self.acknowledged >= *at
            && time_us.saturating_sub(since) >= HOLE_US
        {
            self.jump(time_us, held, sink)?;
        }
        if self.end.is_some_and(|end| end <= self.offset) {
            self.finish(time_us, held, sink)?;
        }
        Ok(())
    }

    /// The stream is over; what waits behind its end is none of it.
    fn finish(
        &mut self,
        time_us: u64,
        held: &mut usize,
        sink: &mut dyn Sink,
    ) -> Result<(), Trouble> {
        if std::mem::replace(&mut self.ended, true) {
            return Ok(());
        }
        *held -= self.held_bytes;
        self.held_bytes = 0;
        self.held.clear();
        match self.stream {
            Some(stream) => sink.end(stream, time_us),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
