//! Watching a direction while the packet version is not certain.

use std::time::Duration;

use bytes::BytesMut;
use tokio::time::{Instant, sleep_until};
use warp_bridge_core::{Level, Reading, Scout};
use warp_ro_packet::{Direction, Role};

use crate::lanes::Lanes;

/// How long the rest of a packet that was cut short may take. It is on its way already: its beginning
/// came from the same write.
const SETTLE: Duration = Duration::from_millis(100);
/// What is kept of a server's beginning; a list of twenty characters fits, which is what tells most.
const MOST: usize = 4096;

/// What is watched of one direction; nothing once the version is certain.
pub(crate) struct Watch {
    role: Role,
    /// The beginning of what the server says, as long as it can still tell something.
    head: Option<Vec<u8>>,
    scout: Option<Scout>,
    /// When the version was not told by what is held.
    undecided_since: Option<Instant>,
}

impl Watch {
    pub(crate) fn new(lanes: &Lanes<'_>, role: Role, direction: Direction) -> Self {
        let by_packets = lanes.look(|core| {
            let hidden = direction == Direction::ClientToServer && core.hides_ids();
            core.level() != Level::Opaque && !hidden
        });
        let uncertain = by_packets && !lanes.versions_certain();
        let server = direction == Direction::ServerToClient;
        Self {
            role,
            head: (uncertain && server).then(Vec::new),
            scout: uncertain.then(|| Scout::new(role, direction)),
            undecided_since: None,
        }
    }

    /// Takes what came. Returns what of it and of what was held may be read now; `None`: all that
    /// came, as it is.
    pub(crate) fn take(&mut self, lanes: &Lanes<'_>, bytes: &[u8]) -> Option<BytesMut> {
        self.learn_head(lanes, bytes);
        self.scout.as_mut()?.push(bytes);
        Some(self.pass(lanes, false))
    }

    /// Nothing more has come for [`SETTLE`], or nothing will.
    pub(crate) fn settle(&mut self, lanes: &Lanes<'_>) -> BytesMut {
        self.pass(lanes, true)
    }

    /// The direction has ended or is not read by packets: everything that is held.
    pub(crate) fn end(&mut self) -> BytesMut {
        self.head = None;
        self.undecided_since = None;
        self.scout
            .take()
            .map_or_else(BytesMut::new, |mut scout| scout.give_up())
    }

    pub(crate) fn held(&self) -> usize {
        self.scout.as_ref().map_or(0, Scout::held)
    }

    /// Waits until it is time to [settle](Watch::settle).
    pub(crate) async fn settled(&self) {
        match self.undecided_since {
            Some(since) => sleep_until(since + SETTLE).await,
            None => std::future::pending().await,
        }
    }

    fn pass(&mut self, lanes: &Lanes<'_>, settled: bool) -> BytesMut {
        let Some(scout) = &mut self.scout else {
            return BytesMut::new();
        };
        if lanes.look(|core| core.level() == Level::Opaque) {
            return self.end();
        }
        let (reading, passed) = lanes.versions(|all| scout.pass(all, settled));
        if let Some(reading) = reading {
            lanes.choose(reading);
        }
        // From the first time on: what goes on coming must not put it off.
        let since = self.undecided_since.unwrap_or_else(Instant::now);
        self.undecided_since = scout.undecided().then_some(since);
        if lanes.versions_certain() {
            self.scout = None;
            self.head = None;
        }
        passed
    }

    fn learn_head(&mut self, lanes: &Lanes<'_>, bytes: &[u8]) {
        let Some(head) = &mut self.head else {
            return;
        };
        if lanes.look(|core| core.level() == Level::Opaque) {
            self.head = None;
            return;
        }
        let room = MOST.saturating_sub(head.len());
        head.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
        let reading: Option<Reading> = lanes.versions(|all| all.on_server(self.role, head));
        if let Some(reading) = reading {
            lanes.choose(reading);
        }
        if head.len() >= MOST || lanes.versions_certain() {
            self.head = None;
        }
    }
}
