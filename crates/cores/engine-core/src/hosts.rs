//! One way of a session over a host: when to connect, how often to try, what to tell the coordinator.
//!
//! # Rules
//! * The coordinator says which host the way leads over ([`HostOffer`]). Another host takes the place
//!   of the one before after a pause of up to [`STAMPEDE`], so that the members of a host that died do
//!   not all come at once. The same host under a new epoch keeps its connection.
//! * A connection that does not come about is tried so often and with such pauses as is configured;
//!   then the coordinator is told (`unreachable`) and the host is tried again every [`REST`].
//! * A connection that falls silent or ends is told (`silent`) and made anew, from the first try. It is
//!   not told while no other way carries either: then it is the own network that is away, and who said
//!   otherwise would have good hosts taken from itself and from others for half a minute. One
//!   that was altered on the way is told (`tampering`) and not made again before the coordinator
//!   names another host, or the same under a new epoch. It is told every [`TELL`] until then: the
//!   coordinator may be away, or hear no further report of this account just now.
//! * While connected, what is measured is told every [`TELL`].

use std::time::Duration;

use warp_protocol::hosting::{HostOffer, HostVerdict};

/// Longest pause before a host that is told anew is connected to.
pub const STAMPEDE: Duration = Duration::from_millis(500);
/// Time between two tries of a host that could not be reached.
pub const REST: Duration = Duration::from_secs(30);
/// Time between two reports of how a host is doing.
pub const TELL: Duration = Duration::from_secs(5);

/// How often and with which pauses a host is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tries {
    /// Before the coordinator is told.
    pub attempts: u32,
    /// Between two.
    pub delay: Duration,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WayAction {
    /// Connect to this host; answer with [`HostWay::opened`] or [`HostWay::failed`].
    Connect(HostOffer),
    /// Close the connection, or give up the one that is being made.
    Disconnect,
    /// Tell the coordinator; with what is measured, where the verdict is good.
    Report {
        /// The host.
        host_id: String,
        /// Epoch of its lease.
        epoch: u32,
        /// How it is found.
        verdict: HostVerdict,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// There is no host, or none that is wanted.
    Idle,
    /// It is connected to then.
    Waiting { until: Duration },
    /// A connection is being made.
    Opening,
    /// Connected; the next report is due then.
    Open { tell: Duration },
    /// It was altered, and is connected to no more; the next report is due then.
    Tampered { tell: Duration },
}

/// See the module's documentation. Time is since any fixed start.
#[derive(Debug)]
pub struct HostWay {
    tries: Tries,
    offer: Option<HostOffer>,
    stage: Stage,
    failed: u32,
    actions: Vec<WayAction>,
}

impl HostWay {
    /// A way without a host.
    pub fn new(tries: Tries) -> Self {
        Self {
            tries,
            offer: None,
            stage: Stage::Idle,
            failed: 0,
            actions: Vec::new(),
        }
    }

    /// The host that the way leads over, if any.
    pub fn host(&self) -> Option<&HostOffer> {
        self.offer.as_ref()
    }

    /// The coordinator says which host it is, or that there is none. `chance` is random, of 0 to 1.
    pub fn told(&mut self, now: Duration, offer: Option<HostOffer>, chance: f64) {
        let same = match (&self.offer, &offer) {
            (Some(old), Some(new)) => {
                old.host_id == new.host_id
                    && old.peer_id == new.peer_id
                    && old.device_key == new.device_key
            }
            (None, None) => true,
            _ => false,
        };
        let newer = self.offer.as_ref().map(|old| old.epoch) != offer.as_ref().map(|new| new.epoch);
        self.offer = offer;
        if same {
            // A new lease is a new chance for a host that was given up.
            if newer && !matches!(self.stage, Stage::Opening | Stage::Open { .. }) {
                self.start(now, chance);
            }
            return;
        }
        if matches!(self.stage, Stage::Opening | Stage::Open { .. }) {
            self.actions.push(WayAction::Disconnect);
        }
        self.start(now, chance);
    }

    fn start(&mut self, now: Duration, chance: f64) {
        self.failed = 0;
        self.stage = match self.offer {
            Some(_) => Stage::Waiting {
                until: now + STAMPEDE.mul_f64(chance.clamp(0.0, 1.0)),
            },
            None => Stage::Idle,
        };
    }

    /// The connection is made.
    pub fn opened(&mut self, now: Duration) {
        if self.stage == Stage::Opening {
            self.failed = 0;
            self.stage = Stage::Open { tell: now + TELL };
        }
    }

    /// No connection came about.
    pub fn failed(&mut self, now: Duration) {
        if self.stage != Stage::Opening {
            return;
        }
        self.failed = self.failed.saturating_add(1);
        let mut pause = self.tries.delay;
        if self.failed >= self.tries.attempts {
            self.report(HostVerdict::Unreachable);
            pause = REST;
        }
        self.stage = Stage::Waiting { until: now + pause };
    }

    /// The connection has ended, or nothing comes over it any more; whether `others` carry.
    pub fn lost(&mut self, now: Duration, others: bool) {
        if !matches!(self.stage, Stage::Open { .. }) {
            return;
        }
        if others {
            self.report(HostVerdict::Silent);
        }
        self.actions.push(WayAction::Disconnect);
        self.failed = 0;
        let until = now + self.tries.delay;
        self.stage = Stage::Waiting { until };
    }

    /// What came over it was altered or replayed.
    pub fn tampered(&mut self, now: Duration) {
        if !matches!(self.stage, Stage::Open { .. }) {
            return;
        }
        self.report(HostVerdict::Tampering);
        self.actions.push(WayAction::Disconnect);
        self.stage = Stage::Tampered { tell: now + TELL };
    }

    /// The network is another one: what is being waited for is tried now, and a connection is made
    /// anew.
    pub fn network_changed(&mut self, now: Duration) {
        match self.stage {
            Stage::Open { .. } | Stage::Opening => self.actions.push(WayAction::Disconnect),
            Stage::Waiting { .. } => {}
            Stage::Idle | Stage::Tampered { .. } => return,
        }
        self.failed = 0;
        self.stage = Stage::Waiting { until: now };
    }

    fn report(&mut self, verdict: HostVerdict) {
        if let Some(offer) = &self.offer {
            self.actions.push(WayAction::Report {
                host_id: offer.host_id.clone(),
                epoch: offer.epoch,
                verdict,
            });
        }
    }

    /// When [`HostWay::on_time`] is to be called.
    pub fn deadline(&self) -> Option<Duration> {
        match self.stage {
            Stage::Waiting { until } => Some(until),
            Stage::Open { tell } | Stage::Tampered { tell } => Some(tell),
            Stage::Idle | Stage::Opening => None,
        }
    }

    /// The deadline may have come.
    pub fn on_time(&mut self, now: Duration) {
        match self.stage {
            Stage::Waiting { until } if now >= until => match &self.offer {
                Some(offer) => {
                    self.actions.push(WayAction::Connect(offer.clone()));
                    self.stage = Stage::Opening;
                }
                None => self.stage = Stage::Idle,
            },
            Stage::Open { tell } if now >= tell => {
                self.report(HostVerdict::Good);
                self.stage = Stage::Open { tell: now + TELL };
            }
            Stage::Tampered { tell } if now >= tell => {
                self.report(HostVerdict::Tampering);
                self.stage = Stage::Tampered { tell: now + TELL };
            }
            _ => {}
        }
    }

    /// What is to be done, in this order.
    pub fn drain(&mut self) -> Vec<WayAction> {
        std::mem::take(&mut self.actions)
    }
}

#[cfg(test)]
#[path = "hosts/tests.rs"]
mod tests;
