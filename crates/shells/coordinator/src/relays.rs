//! Who is on the relay: for each pair of peers up to two sockets, of which each sends to the other.
//!
//! A socket is a carrier: a queue of 256 KiB for each direction that drops the newest when it is full.
//! With [`MAX_SOCKETS`] of them that is 512 MiB at the very worst.

use std::collections::HashMap;

use bytes::Bytes;
use parking_lot::Mutex;
use warp_link::{CarrierSender, SendRefused};
use warp_protocol::ProblemCode;

use crate::{live::CarrierStop, problem::Refused, ws::close};

/// Relay sockets in all.
const MAX_SOCKETS: usize = 1024;
/// Relay sockets of one account.
const MAX_PER_ACCOUNT: usize = 64;

/// One direction between two peers of a room.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Way {
    /// The room.
    pub(crate) session_id: String,
    /// Whose socket it is.
    pub(crate) from: String,
    /// To whom it sends.
    pub(crate) to: String,
}

impl Way {
    fn back(&self) -> Self {
        Self {
            session_id: self.session_id.clone(),
            from: self.to.clone(),
            to: self.from.clone(),
        }
    }
}

struct Socket {
    account: i64,
    /// The session that its owner holds; the room's, or a guest's own.
    own_session: String,
    tx: CarrierSender,
    stop: CarrierStop,
}

/// What became of a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Passed {
    /// It waits for the other side's socket.
    On,
    /// The other side has no socket here.
    Away,
    /// The other side's queue is full.
    Full,
}

/// All relay sockets.
#[derive(Default)]
pub(crate) struct Relays {
    sockets: Mutex<HashMap<Way, Socket>>,
}

impl Relays {
    /// Enters a socket; an older one for the same way is closed.
    ///
    /// # Errors
    /// There are as many as there may be.
    pub(crate) fn enter(
        &self,
        way: Way,
        account: i64,
        own_session: &str,
        tx: CarrierSender,
        stop: CarrierStop,
    ) -> Result<(), Refused> {
        let mut sockets = self.sockets.lock();
        if !sockets.contains_key(&way) {
            let own = sockets.values().filter(|s| s.account == account).count();
            if own >= MAX_PER_ACCOUNT || sockets.len() >= MAX_SOCKETS {
                let text = "there are as many relay sockets as there may be; close some";
                return Err(Refused::new(ProblemCode::TooManyRequests, text));
            }
        }
        let own_session = own_session.to_owned();
        let socket = Socket {
            account,
            own_session,
            tx,
            stop,
        };
        if let Some(older) = sockets.insert(way, socket) {
            older.stop.stop(close::REPLACED);
        }
        Ok(())
    }

    /// Takes a socket out, unless a newer one has its place.
    pub(crate) fn leave(&self, way: &Way, stop: &CarrierStop) {
        let mut sockets = self.sockets.lock();
        if sockets.get(way).is_some_and(|socket| socket.stop.is(stop)) {
            sockets.remove(way);
        }
    }

    /// Passes a datagram on, or drops it.
    pub(crate) fn pass(&self, way: &Way, datagram: Bytes) -> Passed {
        let sockets = self.sockets.lock();
        let Some(other) = sockets.get(&way.back()) else {
            return Passed::Away;
        };
        match other.tx.try_send(datagram) {
            Ok(()) => Passed::On,
            Err(SendRefused::Full | SendRefused::TooLong) => Passed::Full,
            Err(SendRefused::Closed) => Passed::Away,
        }
    }

    /// Whether a session has a relay socket open.
    pub(crate) fn serve(&self, own_session: &str) -> bool {
        let sockets = self.sockets.lock();
        sockets.values().any(|s| s.own_session == own_session)
    }

    /// A session has ended: closes the sockets of its room and those of its player.
    pub(crate) fn end_session(&self, session_id: &str, code: u16) {
        let sockets = self.sockets.lock();
        for (way, socket) in sockets.iter() {
            if way.session_id == session_id || socket.own_session == session_id {
                socket.stop.stop(code);
            }
        }
    }
}
