//! Signaling rooms: one room per session, opened and closed by the coordinator, with the peer ids
//! that its grant named.
//!
//! Rules:
//! * A *connection* is one socket; a *peer id* is a name. Every input names the connection, so an
//!   old socket of a peer can never undo what its newer socket did.
//! * A peer id has at most one connection. A newer one closes the older one with
//!   [`CloseReason::Replaced`]; the older one's room learns that the peer left.
//! * A *service* connection (the endpoint's end) lives in one room from its start to its end, under
//!   a name that counts in that room only: every room may have an `endpoint` of its own.
//! * Only peers that the session's grant names, or that its owner has let in since, may join its room. Whether a room exists is told to
//!   nobody else: both cases answer `unknown-session`.
//! * A connection is in at most one room; joining another one leaves the first. A join that is
//!   refused changes nothing.
//! * Offers, answers and candidates pass between members of one room only, unchanged, with the
//!   sender's name as the coordinator knows it.
//! * Everything that cannot be carried out is answered with an `error` signal.
//! * Connections and rooms are bounded in number; a full table refuses.
//!
//! Each input returns what to do, in order.

use std::collections::{BTreeMap, HashMap};

use warp_protocol::{
    ProblemCode,
    signal::{ClientSignal, ServerSignal},
};

use crate::frame::{bad_request, clip, error};

/// Longest peer id, bytes.
pub const MAX_PEER_ID: usize = 128;

/// Bounds of the table; names are at most [`MAX_PEER_ID`] long, so an entry is below 1 KiB.
#[derive(Debug, Clone, Copy)]
pub struct RoomsLimits {
    /// Connections, services included.
    pub connections: usize,
    /// Rooms.
    pub rooms: usize,
    /// Peer ids that one grant may name.
    pub peers_per_room: usize,
}

impl Default for RoomsLimits {
    fn default() -> Self {
        Self {
            connections: 16_384,
            rooms: 4096,
            peers_per_room: 64,
        }
    }
}

/// One socket, for as long as it lives. Never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnId(u64);

/// Why a connection is to be closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseReason {
    /// A newer connection has the same peer id.
    Replaced,
}

/// Something to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// Send this.
    Deliver {
        /// To whom.
        conn: ConnId,
        /// What.
        signal: ServerSignal,
    },
    /// Close the socket; the connection is already gone from the table.
    Close {
        /// Which.
        conn: ConnId,
        /// Why.
        reason: CloseReason,
    },
}

/// Why a connection or a room was not entered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RoomsRefused {
    /// The peer id is empty, too long, or holds control characters.
    #[error("a peer id is 1 to {MAX_PEER_ID} bytes without control characters")]
    BadPeerId,
    /// There is no such room.
    #[error("there is no such room")]
    UnknownRoom,
    /// The name is taken in that room, or the room exists already.
    #[error("that name is taken")]
    Taken,
    /// A bound is reached.
    #[error("the table of rooms is full; try again later")]
    Full,
}

#[derive(Debug)]
struct Connection {
    peer_id: String,
    room: Option<String>,
    service: bool,
}

#[derive(Debug)]
struct Room {
    named: Vec<String>,
    members: BTreeMap<String, ConnId>,
}

/// The table of connections and rooms.
#[derive(Debug)]
pub struct Rooms {
    limits: RoomsLimits,
    next: u64,
    connections: HashMap<ConnId, Connection>,
    by_peer: HashMap<String, ConnId>,
    rooms: HashMap<String, Room>,
}

impl Rooms {
    /// An empty table.
    pub fn new(limits: RoomsLimits) -> Self {
        Self {
            limits,
            next: 0,
            connections: HashMap::new(),
            by_peer: HashMap::new(),
            rooms: HashMap::new(),
        }
    }

    /// Opens the room of a session for the peers that its grant names.
    ///
    /// # Errors
    /// The room exists, a name breaks the rules, or a bound is reached.
    pub fn open(&mut self, session_id: &str, peers: &[&str]) -> Result<(), RoomsRefused> {
        if !peers.iter().chain([&session_id]).all(|p| name_ok(p)) {
            return Err(RoomsRefused::BadPeerId);
        }
        if self.rooms.contains_key(session_id) {
            return Err(RoomsRefused::Taken);
        }
        if self.rooms.len() >= self.limits.rooms || peers.len() > self.limits.peers_per_room {
            return Err(RoomsRefused::Full);
        }
        self.rooms.insert(
            session_id.to_owned(),
            Room {
                named: peers.iter().map(|p| (*p).to_owned()).collect(),
                members: BTreeMap::new(),
            },
        );
        Ok(())
    }

    /// Lets a further peer into a room, for as long as the room lives. Naming it again does nothing.
    ///
    /// # Errors
    /// There is no such room, the name breaks the rules or is a service's there, or a bound is
    /// reached.
    pub fn admit(&mut self, session_id: &str, peer_id: &str) -> Result<(), RoomsRefused> {
        if !name_ok(peer_id) {
            return Err(RoomsRefused::BadPeerId);
        }
        let limit = self.limits.peers_per_room;
        let room = self
            .rooms
            .get_mut(session_id)
            .ok_or(RoomsRefused::UnknownRoom)?;
        if room.named.iter().any(|named| named == peer_id) {
            return Ok(());
        }
        if room.members.contains_key(peer_id) {
            return Err(RoomsRefused::Taken);
        }
        if room.named.len() >= limit {
            return Err(RoomsRefused::Full);
        }
        room.named.push(peer_id.to_owned());
        Ok(())
    }

    /// Whether a peer may enter a room.
    pub fn admits(&self, session_id: &str, peer_id: &str) -> bool {
        self.rooms
            .get(session_id)
            .is_some_and(|room| room.named.iter().any(|named| named == peer_id))
    }

    /// Closes the room of a session: members get `session-left` and keep their connection; the
    /// room's services are gone.
    pub fn close(&mut self, session_id: &str) -> Vec<Output> {
        let Some(room) = self.rooms.remove(session_id) else {
            return Vec::new();
        };
        let mut out = Vec::new();
        for conn in room.members.into_values() {
            let Some(connection) = self.connections.get_mut(&conn) else {
                continue;
            };
            connection.room = None;
            let signal = ServerSignal::SessionLeft {
                session_id: session_id.to_owned(),
            };
            out.push(Output::Deliver { conn, signal });
            if connection.service {
                self.connections.remove(&conn);
            }
        }
        out
    }

    /// Enters a socket under its peer id. The caller has made sure that the name is its own.
    ///
    /// # Errors
    /// The name breaks the rules or the table is full.
    pub fn connect(&mut self, peer_id: &str) -> Result<(ConnId, Vec<Output>), RoomsRefused> {
        if !name_ok(peer_id) {
            return Err(RoomsRefused::BadPeerId);
        }
        let older = self.by_peer.get(peer_id).copied();
        let freed = usize::from(older.is_some());
        if self.connections.len() - freed >= self.limits.connections {
            return Err(RoomsRefused::Full);
        }
        let mut out = Vec::new();
        if let Some(conn) = older {
            out.extend(self.disconnect(conn));
            let reason = CloseReason::Replaced;
            out.push(Output::Close { conn, reason });
        }
        let conn = self.enter(Connection {
            peer_id: peer_id.to_owned(),
            room: None,
            service: false,
        });
        self.by_peer.insert(peer_id.to_owned(), conn);
        Ok((conn, out))
    }

    /// Enters a service in one room. It gets `session-joined` like any other member.
    ///
    /// # Errors
    /// There is no such room, the name is taken or wrong, or the table is full.
    pub fn connect_service(
        &mut self,
        session_id: &str,
        name: &str,
    ) -> Result<(ConnId, Vec<Output>), RoomsRefused> {
        if !name_ok(name) {
            return Err(RoomsRefused::BadPeerId);
        }
        let room = self
            .rooms
            .get(session_id)
            .ok_or(RoomsRefused::UnknownRoom)?;
        // A name that the grant gives to a player is not a service's.
        if room.members.contains_key(name) || room.named.iter().any(|n| n == name) {
            return Err(RoomsRefused::Taken);
        }
        if self.connections.len() >= self.limits.connections {
            return Err(RoomsRefused::Full);
        }
        let conn = self.enter(Connection {
            peer_id: name.to_owned(),
            room: None,
            service: true,
        });
        let out = self.seat(conn, name, session_id);
        Ok((conn, out))
    }

    /// Carries out a message of a connection. `timestamp` (RFC 3339) goes into what is relayed.
    pub fn handle(&mut self, conn: ConnId, signal: ClientSignal, timestamp: &str) -> Vec<Output> {
        if !self.connections.contains_key(&conn) {
            return Vec::new();
        }
        match signal {
            ClientSignal::Join { session_id } => self.join(conn, &session_id),
            ClientSignal::Leave => self.leave(conn),
            ClientSignal::Offer { to, sdp } => self.relay(conn, &to, |from| ServerSignal::Offer {
                from,
                sdp,
                timestamp: timestamp.to_owned(),
            }),
            ClientSignal::Answer { to, sdp } => {
                self.relay(conn, &to, |from| ServerSignal::Answer {
                    from,
                    sdp,
                    timestamp: timestamp.to_owned(),
                })
            }
            ClientSignal::IceCandidate { to, candidate } => {
                self.relay(conn, &to, |from| ServerSignal::IceCandidate {
                    from,
                    candidate,
                    timestamp: timestamp.to_owned(),
                })
            }
            // Reports are for whoever keeps the hosts, and concern no room.
            ClientSignal::HostReport { .. } | ClientSignal::MemberReport { .. } => Vec::new(),
        }
    }

    /// The connection of a peer id, whichever room it is in.
    pub fn conn_of(&self, peer_id: &str) -> Option<ConnId> {
        self.by_peer.get(peer_id).copied()
    }

    /// Whether a peer is in a room.
    pub fn is_in(&self, session_id: &str, peer_id: &str) -> bool {
        self.rooms
            .get(session_id)
            .is_some_and(|room| room.members.contains_key(peer_id))
    }

    /// The socket has ended. Does nothing for a connection that was replaced before.
    pub fn disconnect(&mut self, conn: ConnId) -> Vec<Output> {
        let out = self.unseat(conn);
        if let Some(gone) = self.connections.remove(&conn)
            && self.by_peer.get(&gone.peer_id) == Some(&conn)
        {
            self.by_peer.remove(&gone.peer_id);
        }
        out
    }

    /// Connections and rooms that are in the table.
    pub fn counts(&self) -> (usize, usize) {
        (self.connections.len(), self.rooms.len())
    }

    fn enter(&mut self, connection: Connection) -> ConnId {
        self.next += 1;
        let conn = ConnId(self.next);
        self.connections.insert(conn, connection);
        conn
    }

    fn join(&mut self, conn: ConnId, session_id: &str) -> Vec<Output> {
        let Some(connection) = self.connections.get(&conn) else {
            return Vec::new();
        };
        if connection.service {
            return refuse(conn, bad_request("a service stays in its room"));
        }
        let peer_id = connection.peer_id.clone();
        let Some(room) = self
            .rooms
            .get(session_id)
            .filter(|room| room.named.contains(&peer_id))
        else {
            let text = format!(
                "there is no session `{}` that was granted to you",
                clip(session_id)
            );
            return refuse(conn, error(ProblemCode::UnknownSession, text));
        };
        match room.members.get(&peer_id) {
            // Joining again just tells who is there.
            Some(present) if *present == conn => self.joined(conn, &peer_id, session_id),
            Some(_) => refuse(conn, error(ProblemCode::Forbidden, "that name is taken")),
            None => {
                let mut out = Vec::new();
                if let Some(old) = self.room_of(conn) {
                    out.extend(self.unseat(conn));
                    let signal = ServerSignal::SessionLeft { session_id: old };
                    out.push(Output::Deliver { conn, signal });
                }
                out.extend(self.seat(conn, &peer_id, session_id));
                out
            }
        }
    }

    fn leave(&mut self, conn: ConnId) -> Vec<Output> {
        if self.connections.get(&conn).is_some_and(|c| c.service) {
            return refuse(conn, bad_request("a service stays in its room"));
        }
        let Some(session_id) = self.room_of(conn) else {
            return refuse(conn, bad_request("leave: you are in no session"));
        };
        let mut out = self.unseat(conn);
        let signal = ServerSignal::SessionLeft { session_id };
        out.push(Output::Deliver { conn, signal });
        out
    }

    fn relay(
        &self,
        conn: ConnId,
        to: &str,
        make: impl FnOnce(String) -> ServerSignal,
    ) -> Vec<Output> {
        let Some(sender) = self.connections.get(&conn) else {
            return Vec::new();
        };
        let Some(room) = sender.room.as_ref().and_then(|id| self.rooms.get(id)) else {
            let text = "join a session before you send to its members";
            return refuse(conn, error(ProblemCode::UnknownSession, text));
        };
        match room.members.get(to) {
            Some(receiver) if *receiver == conn => {
                refuse(conn, bad_request("that is your own peer id"))
            }
            Some(receiver) => vec![Output::Deliver {
                conn: *receiver,
                signal: make(sender.peer_id.clone()),
            }],
            None => {
                let to = clip(to);
                let signal = ServerSignal::Error {
                    code: ProblemCode::PeerUnreachable,
                    message: format!("`{to}` is not in the session"),
                    to: Some(to),
                };
                refuse(conn, signal)
            }
        }
    }

    /// Puts a connection that is in no room into an existing one.
    fn seat(&mut self, conn: ConnId, peer_id: &str, session_id: &str) -> Vec<Output> {
        let Some(room) = self.rooms.get_mut(session_id) else {
            return Vec::new();
        };
        room.members.insert(peer_id.to_owned(), conn);
        if let Some(connection) = self.connections.get_mut(&conn) {
            connection.room = Some(session_id.to_owned());
        }
        let mut out = self.joined(conn, peer_id, session_id);
        out.extend(
            self.tell_others(session_id, conn, || ServerSignal::PeerJoined {
                peer_id: peer_id.to_owned(),
            }),
        );
        out
    }

    /// Takes a connection out of its room, if it is in one, and tells the others.
    fn unseat(&mut self, conn: ConnId) -> Vec<Output> {
        let Some(connection) = self.connections.get_mut(&conn) else {
            return Vec::new();
        };
        let Some(session_id) = connection.room.take() else {
            return Vec::new();
        };
        let peer_id = connection.peer_id.clone();
        if let Some(room) = self.rooms.get_mut(&session_id) {
            room.members.remove(&peer_id);
        }
        self.tell_others(&session_id, conn, || ServerSignal::PeerLeft {
            peer_id: peer_id.clone(),
        })
    }

    fn joined(&self, conn: ConnId, peer_id: &str, session_id: &str) -> Vec<Output> {
        let peers = self.rooms.get(session_id).map_or_else(Vec::new, |room| {
            room.members
                .keys()
                .filter(|name| *name != peer_id)
                .cloned()
                .collect()
        });
        vec![Output::Deliver {
            conn,
            signal: ServerSignal::SessionJoined {
                session_id: session_id.to_owned(),
                peers,
            },
        }]
    }

    fn tell_others(
        &self,
        session_id: &str,
        conn: ConnId,
        make: impl Fn() -> ServerSignal,
    ) -> Vec<Output> {
        self.rooms.get(session_id).map_or_else(Vec::new, |room| {
            room.members
                .values()
                .filter(|member| **member != conn)
                .map(|member| Output::Deliver {
                    conn: *member,
                    signal: make(),
                })
                .collect()
        })
    }

    fn room_of(&self, conn: ConnId) -> Option<String> {
        self.connections.get(&conn)?.room.clone()
    }
}

fn name_ok(name: &str) -> bool {
    (1..=MAX_PEER_ID).contains(&name.len()) && !name.chars().any(char::is_control)
}

fn refuse(conn: ConnId, signal: ServerSignal) -> Vec<Output> {
    vec![Output::Deliver { conn, signal }]
}

#[cfg(test)]
#[path = "rooms_tests.rs"]
mod tests;
