//! What the policy does with QUIC paths: opening, status, heartbeats, loss.

use std::time::{Duration, Instant};

use noq_proto::{Connection, FourTuple, PathId, PathStatus, VarInt};
use warp_protocol::carrier::{PathKind, PathLabel};

use crate::Redundancy;
use crate::books::Book;
use crate::copies::{COPY_HOLD, COPY_JITTER};
use crate::link::{CloseReason, Link};
use crate::setup::label_address;

/// Time between two looks at the losses while there are none.
const LOSS_LOOK: Duration = Duration::from_millis(100);

/// Says whether a path is available; false: that is known already.
pub(crate) fn set_status(connection: &mut Connection, id: PathId, available: bool) -> bool {
    let status = if available {
        PathStatus::Available
    } else {
        PathStatus::Backup
    };
    // A path that closed meanwhile has no status to set.
    connection
        .path_status(id)
        .is_ok_and(|known| known != status)
        && connection.set_path_status(id, status).is_ok()
}

impl Link {
    /// Opens a QUIC path over the present generation of a carrier, or the connection itself.
    pub(crate) fn open_path(&mut self, kind: PathKind, now: Instant) {
        let Some(carrier) = self.carriers.get(kind).copied() else {
            return;
        };
        let label = PathLabel {
            kind,
            generation: carrier.generation,
        };
        let address = label_address(label);
        self.quiet = false;
        match (&mut self.connection, &self.client) {
            (None, Some(client)) => {
                let made = self
                    .endpoint
                    .connect(now, client.clone(), address, "endpoint.warp");
                match made {
                    Ok(connection) => {
                        self.connection = Some(connection);
                        self.policy.authenticating();
                        self.books.insert(
                            PathId::ZERO,
                            Book::new(PathId::ZERO, label, now, self.config.heartbeat),
                        );
                    }
                    Err(_) => self.end(CloseReason::Protocol),
                }
            }
            (Some((_, connection)), Some(_)) if connection.is_multipath_negotiated() => {
                let four = FourTuple::from_remote(address);
                match connection.open_path_ensure(four, PathStatus::Backup, now) {
                    Ok((id, _existed)) => {
                        self.books
                            .entry(id)
                            .or_insert_with(|| Book::new(id, label, now, self.config.heartbeat));
                    }
                    // No id or no connection id is free yet; the policy asks again.
                    Err(_) => self.policy.retry_open(kind),
                }
            }
            _ => {}
        }
    }

    pub(crate) fn close_path(&mut self, id: PathId, now: Instant) {
        if let Some((_, connection)) = &mut self.connection {
            // The last path stays: QUIC needs one to hold the connection.
            let _ = connection.close_path(now, id, VarInt::from_u32(0));
            self.quiet = false;
        }
    }

    /// One ping per path and heartbeat, from both sides. The paths' heartbeats are brought into step,
    /// so that a side wakes once for all of them, and the other side acknowledges them together.
    pub(crate) fn beat(&mut self, now: Instant) {
        let Some((_, connection)) = &mut self.connection else {
            return;
        };
        let due = |book: &Book, by: Instant| book.established && book.next_beat <= by;
        if !self.books.values().any(|book| due(book, now)) {
            return;
        }
        let soon = now + self.config.heartbeat / 2;
        for book in self.books.values_mut().filter(|book| due(book, soon)) {
            book.next_beat = now + self.config.heartbeat;
            // A path that closed meanwhile needs no heartbeat.
            let _ = connection.ping_path(book.id);
        }
        self.quiet = false;
    }

    pub(crate) fn ping_all(&mut self) {
        if let Some((_, connection)) = &mut self.connection {
            for id in connection.paths() {
                let _ = connection.ping_path(id);
            }
            self.quiet = false;
        }
    }

    /// Looks at what QUIC found lost: when it has found something, else every [`LOSS_LOOK`].
    pub(crate) fn sample_loss(&mut self, now: Instant) {
        if self.connection.is_none() {
            return;
        }
        let lost = self.keys.lost();
        let fresh = |at: Instant| now.saturating_duration_since(at) < LOSS_LOOK;
        if self
            .loss_look
            .is_some_and(|(at, then)| then == lost && fresh(at))
        {
            return;
        }
        self.loss_look = Some((now, lost));
        let copies = self.copies();
        let jitter = PathKind::ALL.map(|kind| (kind, self.jitter_there(kind, now)));
        let Some((_, connection)) = &mut self.connection else {
            return;
        };
        for book in self.books.values_mut() {
            let Some(stats) = connection.path_stats(book.id) else {
                continue;
            };
            let (_, lost) = book
                .loss
                .since_start(stats.sent_packets, stats.lost_packets);
            let sampled = book
                .loss
                .sample(now, stats.sent_packets, stats.lost_packets);
            // Two lost packets in ten seconds at a few dozen a second: half a percent. While copies
            // are sent they hide losses, so then one is enough to go on.
            let copying = book.redundant_until.is_some_and(|until| now < until);
            let lossy = lost >= if copying { 1 } else { 2 } && !book.suspect(now);
            if sampled {
                let uneven =
                    |(kind, jitter)| kind == book.label.kind && jitter >= Some(COPY_JITTER);
                book.uneven = jitter.into_iter().any(uneven);
            }
            let wanted = match copies {
                Redundancy::Off => false,
                Redundancy::Auto => lossy || (book.uneven && !book.suspect(now)),
                Redundancy::Always => true,
            };
            if wanted {
                book.redundant_until = Some(now + COPY_HOLD);
            }
        }
    }
}
