//! What QUIC tells of the connection, its streams and its paths.

use std::time::Instant;

use noq_proto::{Dir, Event, PathEvent, PathId, PathStatus, StreamEvent};
use warp_protocol::carrier::PathKind;

use crate::books::Book;
use crate::link::{Link, LinkEvent, REROUTE_AFTER};
use crate::setup::{address_label, close_reason};

impl Link {
    pub(crate) fn on_quic_event(&mut self, event: Event, now: Instant) {
        match event {
            Event::Connected => self.on_connected(now),
            Event::ConnectionLost { reason } => {
                self.end(close_reason(&reason));
            }
            Event::Stream(event) => self.on_stream_event(event),
            Event::Path(event) => self.on_path_event(event, now),
            Event::DatagramReceived => self.take_reports(now),
            _ => {}
        }
    }

    fn on_connected(&mut self, now: Instant) {
        let Some((_, connection)) = &mut self.connection else {
            return;
        };
        if let Ok(network_path) = connection.network_path(PathId::ZERO)
            && let Some(label) = address_label(network_path.remote())
        {
            let book = self
                .books
                .entry(PathId::ZERO)
                .or_insert_with(|| Book::new(PathId::ZERO, label, now, self.config.heartbeat));
            book.established = true;
            book.on_heard(now);
        }
        self.next_report = Some(now);
        if self.client.is_none() {
            self.policy.in_use = Some(PathId::ZERO);
        } else {
            let waiting: Vec<PathKind> = self
                .carriers
                .iter()
                .filter(|(_, carrier)| carrier.up)
                .map(|(kind, _)| kind)
                .collect();
            for kind in waiting {
                self.open_path(kind, now);
            }
        }
    }

    fn on_stream_event(&mut self, event: StreamEvent) {
        match event {
            StreamEvent::Opened { dir: Dir::Bi } => {
                while let Some(id) = self
                    .connection
                    .as_mut()
                    .and_then(|(_, connection)| connection.streams().accept(Dir::Bi))
                {
                    self.events.push_back(LinkEvent::StreamOpened(id));
                    self.quiet = false;
                }
            }
            StreamEvent::Readable { id } => self.events.push_back(LinkEvent::Readable(id)),
            StreamEvent::Writable { id } => self.events.push_back(LinkEvent::Writable(id)),
            StreamEvent::Stopped { id, error_code } => self
                .events
                .push_back(LinkEvent::Stopped(id, error_code.into_inner())),
            _ => {}
        }
    }

    fn on_path_event(&mut self, event: PathEvent, now: Instant) {
        match event {
            PathEvent::Established { id, .. } => {
                let Some((_, connection)) = &mut self.connection else {
                    return;
                };
                let label = connection
                    .network_path(id)
                    .ok()
                    .and_then(|path| address_label(path.remote()));
                if let Some(label) = label {
                    let book = self
                        .books
                        .entry(id)
                        .or_insert_with(|| Book::new(id, label, now, self.config.heartbeat));
                    book.established = true;
                }
            }
            PathEvent::Abandoned { id, .. } | PathEvent::Discarded { id, .. } => {
                self.books.remove(&id);
                self.keys.packets().forget(id);
                self.policy.forget(id);
            }
            PathEvent::RemoteStatus { id, .. } => {
                // The event carries what the frame said, which may be older than another frame.
                let status = self
                    .connection
                    .as_ref()
                    .and_then(|(_, connection)| connection.remote_path_status(id));
                self.on_peer_status(id, status == Some(PathStatus::Available), now);
            }
            _ => {}
        }
    }

    fn on_peer_status(&mut self, id: PathId, available: bool, now: Instant) {
        let Some(book) = self.books.get_mut(&id) else {
            return;
        };
        book.peer_available = available;
        if self.client.is_some() {
            return;
        }
        if available {
            book.unanswered = None;
            let left = self.policy.in_use.replace(id).filter(|left| *left != id);
            // The engine tells the new path before the old one: what is in flight on the old one
            // goes over the others too until QUIC knows what of it was lost.
            if let Some(left) = left.and_then(|left| self.books.get_mut(&left)) {
                left.reroute_until = Some(now + REROUTE_AFTER);
            }
        } else if self.policy.in_use == Some(id) {
            book.reroute_until = Some(now + REROUTE_AFTER);
        }
    }
}
