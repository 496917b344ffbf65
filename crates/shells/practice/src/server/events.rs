//! What the server tells about its connections.

use std::net::SocketAddr;

use serde::Serialize;
use tokio::sync::broadcast;
use warp_ro_packet::Role;

use crate::report::ConnectionReport;

/// Why the server's end of a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum CloseReason {
    /// The client closed its side.
    ClientClosed,
    /// The connection broke (reset, unreachable).
    ClientReset,
    /// A read ended inside a packet.
    SplitPacket,
    /// A read did not end where a record of the shield does: somebody has cut a write.
    SplitRecord,
    /// A packet id that the version does not have.
    UnknownPacket,
    /// A variable packet shorter than its header, or an empty record of the shield.
    BadLength,
    /// The packet that enters a map did not come whole and alone.
    MalformedEnter,
    /// Something else came first on a map connection.
    NotEntered,
    /// The ids were wrong or used up.
    Refused,
    /// The same ids came a second time while the first connection lives.
    StillOnline,
    /// The same account logged in again.
    Kicked,
    /// Something was asked of the char server before the right pin.
    PinMissing,
    /// No client data for the idle limit.
    Idle,
    /// The client did not read what it was sent.
    SlowReader,
    /// The server was shut down.
    Shutdown,
}

impl CloseReason {
    /// The reason in kebab case, as events carry it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            CloseReason::ClientClosed => "client-closed",
            CloseReason::ClientReset => "client-reset",
            CloseReason::SplitPacket => "split-packet",
            CloseReason::SplitRecord => "split-record",
            CloseReason::UnknownPacket => "unknown-packet",
            CloseReason::BadLength => "bad-length",
            CloseReason::MalformedEnter => "malformed-enter",
            CloseReason::NotEntered => "not-entered",
            CloseReason::Refused => "refused",
            CloseReason::StillOnline => "still-online",
            CloseReason::Kicked => "kicked",
            CloseReason::PinMissing => "pin-missing",
            CloseReason::Idle => "idle",
            CloseReason::SlowReader => "slow-reader",
            CloseReason::Shutdown => "shutdown",
        }
    }
}

/// Something that happened at the server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum ServerEvent {
    /// A client connected.
    ConnectionOpened {
        /// Which server it came to.
        role: Role,
        /// A number of this server's own, which the closing event repeats.
        id: u64,
        /// Where it came from.
        peer: SocketAddr,
    },
    /// A connection ended; its socket is closed.
    ConnectionClosed {
        /// The number of the opening event.
        id: u64,
        /// What travelled.
        #[serde(flatten)]
        report: ConnectionReport,
    },
    /// A line of public chat has reached a map server ([`ServerConfig::tell_chat`]).
    ///
    /// [`ServerConfig::tell_chat`]: super::ServerConfig::tell_chat
    Chat {
        /// Who said it.
        user: String,
        /// The line as it came, with the speaker's name; what is no UTF-8 is replaced.
        text: String,
    },
    /// The reader was too slow: this many events are missing here.
    EventsMissed {
        /// How many.
        count: u64,
    },
}

/// The sending end: a ring, the oldest events are dropped for a reader that falls behind.
pub(super) struct EventSender(broadcast::Sender<ServerEvent>);

impl EventSender {
    pub(super) fn new(capacity: usize) -> Self {
        Self(broadcast::Sender::new(capacity))
    }

    pub(super) fn send(&self, event: ServerEvent) {
        // An error only says that nobody listens.
        let _nobody = self.0.send(event);
    }

    pub(super) fn subscribe(&self) -> EventReceiver {
        EventReceiver(self.0.subscribe())
    }
}

/// A reader of server events.
#[derive(Debug)]
pub struct EventReceiver(broadcast::Receiver<ServerEvent>);

impl EventReceiver {
    /// The next event, or `None` once the server has ended and all events were read.
    pub async fn recv(&mut self) -> Option<ServerEvent> {
        match self.0.recv().await {
            Ok(event) => Some(event),
            Err(broadcast::error::RecvError::Lagged(count)) => {
                Some(ServerEvent::EventsMissed { count })
            }
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(id: u64) -> ServerEvent {
        ServerEvent::ConnectionOpened {
            role: Role::Map,
            id,
            peer: "127.0.0.1:9".parse().unwrap(),
        }
    }

    #[tokio::test]
    async fn a_slow_reader_is_told_what_it_missed() {
        let sender = EventSender::new(2);
        let mut receiver = sender.subscribe();
        (0..5).for_each(|id| sender.send(opened(id)));
        drop(sender);
        assert_eq!(
            receiver.recv().await,
            Some(ServerEvent::EventsMissed { count: 3 })
        );
        assert_eq!(receiver.recv().await, Some(opened(3)));
        assert_eq!(receiver.recv().await, Some(opened(4)));
        assert_eq!(receiver.recv().await, None);
    }

    #[test]
    fn events_are_flat_lines() {
        assert_eq!(
            serde_json::to_string(&opened(4)).unwrap(),
            r#"{"event":"connection-opened","role":"map","id":4,"peer":"127.0.0.1:9"}"#
        );
        let stream = |bytes| crate::report::StreamReport {
            bytes,
            packets: 1,
            sha256: "ab".into(),
        };
        let closed = ServerEvent::ConnectionClosed {
            id: 4,
            report: ConnectionReport {
                role: Role::Map,
                key: "map:test1:00000001-1".into(),
                reason: CloseReason::SplitPacket.as_str().into(),
                c2s: stream(5),
                s2c: stream(6),
            },
        };
        assert_eq!(
            serde_json::to_string(&closed).unwrap(),
            r#"{"event":"connection-closed","id":4,"role":"map","key":"map:test1:00000001-1","reason":"split-packet","c2s":{"bytes":5,"packets":1,"sha256":"ab"},"s2c":{"bytes":6,"packets":1,"sha256":"ab"}}"#
        );
    }
}
