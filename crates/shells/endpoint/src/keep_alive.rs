//! The packet that keeps a game server's connection alive while the client is silent.

use std::time::Duration;

use tokio::time::Instant;

/// What a stream keeps for its server, and when it is due.
///
/// The packet is written `after` without any write, at most until `limit` after the client's last
/// message. It is the client's own packet or one that the bridge made: nothing is known of it here.
#[derive(Debug)]
pub(crate) struct KeepAlive {
    /// Empty: there is none. One message at most, so 64 KiB.
    packet: Vec<u8>,
    after: Duration,
    limit: Duration,
    /// When something was written to the server last.
    wrote: Instant,
    /// When the client's last message came.
    heard: Instant,
}

impl KeepAlive {
    pub(crate) fn new(after: Duration, limit: Duration, now: Instant) -> Self {
        Self {
            packet: Vec::new(),
            after,
            limit,
            wrote: now,
            heard: now,
        }
    }

    /// Keeps this packet from now on; an empty one takes the kept one away.
    pub(crate) fn keep(&mut self, packet: &[u8]) {
        self.packet.clear();
        self.packet.extend_from_slice(packet);
    }

    /// A message of the client was written.
    pub(crate) fn client_wrote(&mut self, now: Instant) {
        self.wrote = now;
        self.heard = now;
    }

    /// The kept packet was written.
    pub(crate) fn written(&mut self, now: Instant) {
        self.wrote = now;
    }

    pub(crate) fn packet(&self) -> &[u8] {
        &self.packet
    }

    /// When the packet is to be written, if nothing else happens until then.
    pub(crate) fn due(&self) -> Option<Instant> {
        let due = self.wrote + self.after;
        (!self.packet.is_empty() && due <= self.heard + self.limit).then_some(due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn kept(start: Instant) -> KeepAlive {
        let mut keep = KeepAlive::new(45 * SECOND, 600 * SECOND, start);
        keep.keep(b"tick");
        keep
    }

    #[test]
    fn it_is_due_after_a_silence() {
        let start = Instant::now();
        let mut keep = kept(start);
        assert_eq!(keep.due(), Some(start + 45 * SECOND));
        keep.client_wrote(start + 10 * SECOND);
        assert_eq!(keep.due(), Some(start + 55 * SECOND));
        keep.written(start + 55 * SECOND);
        assert_eq!(keep.due(), Some(start + 100 * SECOND));
    }

    #[test]
    fn it_stops_at_the_limit_until_the_client_is_heard_again() {
        let start = Instant::now();
        let mut keep = kept(start);
        let mut writes = 0;
        while let Some(due) = keep.due() {
            assert!(due <= start + 600 * SECOND);
            keep.written(due);
            writes += 1;
        }
        // 45, 90, ... 585 s.
        assert_eq!(writes, 13);
        keep.client_wrote(start + 700 * SECOND);
        assert_eq!(keep.due(), Some(start + 745 * SECOND));
    }

    #[test]
    fn nothing_kept_is_never_due() {
        let start = Instant::now();
        let mut keep = KeepAlive::new(45 * SECOND, 600 * SECOND, start);
        assert_eq!(keep.due(), None);
        keep.keep(b"tick");
        assert_eq!(keep.packet(), b"tick");
        keep.keep(b"newer");
        assert_eq!(keep.packet(), b"newer");
        keep.keep(b"");
        assert_eq!(keep.due(), None);
    }
}
