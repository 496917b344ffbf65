//! One peer as a state machine: who offers, who answers, when to try again.
//!
//! ```text
//!          connect              answer came             open
//!   New ────────────▶ Offering ─────────────▶ Connecting ───▶ Open
//!    │                  │  ▲                   ▲   │            │
//!    │ their offer      │  │ in time           │   │ time over  │ lost
//!    └──▶ Answering ────┼──┼───────────────────┘   ▼            ▼
//!            ▲          │  └───────────────── Reconnecting ◀────┘
//!            └──────────┴─ their offer, anywhere        │ too often, or told so
//!                                                       ▼
//!                                                     Closed
//!
//!          network changed, or the other side's         another way is in use
//!   Open ──────────────────────────────▶ Restarting ──────────────────────────▶ Open
//! ```
//!
//! Rules:
//! - **There is one connection at a time**, the one of the current attempt. Before another attempt
//!   begins, the old connection is dropped.
//! - **An attempt has an id**: the offerer's incarnation (grows with each start of the program) and a
//!   number. An offer that is no newer than the newest known of the other side is stale, whatever
//!   signaling made of the order. An answer says what the newest one of its sender is.
//! - **Glare**: when both sides offer, the offer of the side with the greater peer id counts. It
//!   passes over the other's offer and sends its own once more; the other drops its own and answers.
//! - **An offer that is newer counts** in every other state: its sender has lost the connection, or
//!   was started anew, and knows it first.
//! - What is not answered in time, or lost, is tried again by the schedule of [`Reconnects`]; by both
//!   sides, because neither knows what the other knows.
//! - **Another network is another round of the same connection** (ICE restart, RFC 8445, section 9):
//!   its channels stay. The side that offered the attempt offers each round, the other one asks for
//!   it; so there is no glare. Until it is answered it is said again once a second, because the
//!   signaling may be on the old network too. A round that is not done in time, or whose connection is
//!   lost, ends the attempt, and the next one begins at once.
//! - Lost signals cost time and nothing else.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::backoff::{ReconnectConfig, Reconnects};

mod rounds;

/// How many candidates of an offer that has not come yet are kept; further ones are dropped.
const EARLY_CANDIDATES: usize = 32;

/// How often a round is offered or asked for until it is answered.
const SAY_AGAIN: Duration = Duration::from_secs(1);

/// What can be set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MachineConfig {
    /// How long an attempt may take.
    pub connect_timeout: Duration,
    /// How long a round may take in which a connection looks for another way.
    pub restart_timeout: Duration,
    /// When to try again.
    pub reconnect: ReconnectConfig,
}

impl Default for MachineConfig {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(10),
            restart_timeout: Duration::from_secs(5),
            reconnect: ReconnectConfig::default(),
        }
    }
}

/// Names an attempt; ordered by age.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttemptId {
    /// Of the offerer: grows with each start of its program, for instance the time.
    pub incarnation: u64,
    /// Counts the attempts of an incarnation.
    pub number: u32,
    /// The offerer is the one of the two with the greater peer id: the two may have been started at
    /// the same moment.
    pub greater: bool,
}

/// Why a connection is refused or ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RefusalCode {
    /// As many peers as may be are connected.
    Full,
    /// The application does not want the connection, or no longer.
    Closed,
}

impl RefusalCode {
    /// Stable code for signaling, events and logs.
    pub fn code(self) -> &'static str {
        match self {
            RefusalCode::Full => "p2p-full",
            RefusalCode::Closed => "p2p-closed",
        }
    }

    /// Reads [`RefusalCode::code`].
    pub fn from_code(code: &str) -> Option<Self> {
        [RefusalCode::Full, RefusalCode::Closed]
            .into_iter()
            .find(|refusal| refusal.code() == code)
    }
}

/// What the two sides tell each other through signaling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signal {
    /// A session description to be answered.
    Offer {
        /// The attempt, an own one of the sender.
        id: AttemptId,
        /// Session description.
        sdp: String,
    },
    /// The answer.
    Answer {
        /// The attempt that is answered.
        id: AttemptId,
        /// The newest own attempt of the sender; `None`: it never offered.
        newest: Option<AttemptId>,
        /// Session description.
        sdp: String,
    },
    /// The offer of another round, to be answered by the connection that there is.
    Restart {
        /// The attempt, an own one of the sender.
        id: AttemptId,
        /// Counts the rounds of the attempt; its first description is round 0.
        round: u32,
        /// Session description.
        sdp: String,
    },
    /// The answer to it.
    Restarted {
        /// The attempt.
        id: AttemptId,
        /// The round that is answered.
        round: u32,
        /// Session description.
        sdp: String,
    },
    /// The side that answered the attempt is on another network, and wants this round.
    WantRestart {
        /// The attempt.
        id: AttemptId,
        /// The round that is wanted.
        round: u32,
    },
    /// A candidate.
    Candidate {
        /// The attempt that it belongs to.
        id: AttemptId,
        /// The round that it was found in.
        round: u32,
        /// As the shell writes it.
        candidate: String,
    },
    /// No, or no longer.
    Refuse {
        /// The attempt that is refused or ended.
        id: AttemptId,
        /// Why.
        code: RefusalCode,
    },
}

/// Why a machine is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GaveUp {
    /// This side closed it.
    Local,
    /// The other side did, or refused.
    Remote(RefusalCode),
    /// As many attempts failed as may.
    Attempts,
}

/// Where a peer stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PeerState {
    /// Nobody has asked for a connection.
    New,
    /// We offer.
    Offering,
    /// They offered; our answer is being made.
    Answering,
    /// Both descriptions are there.
    Connecting,
    /// The channels are open.
    Open,
    /// They stay, and what is sent waits until another way is found.
    Restarting,
    /// Waiting for the next attempt.
    Reconnecting,
    /// For good.
    Closed(GaveUp),
}

/// What the shell has to do, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Make a connection and an offer, then call [`Machine::offered`].
    Offer(AttemptId),
    /// Make a connection and an answer to this offer, then call [`Machine::answered`].
    Answer(AttemptId, String),
    /// Give the answer to the connection.
    AcceptAnswer(AttemptId, String),
    /// Another way is looked for: the connection is not given up for its silence before the round is over.
    Hold(AttemptId),
    /// Have the connection offer another round, then call [`Machine::restart_offered`].
    Restart(AttemptId, u32),
    /// Have the connection answer the offer of a round, then call [`Machine::restart_answered`].
    AnswerRestart(AttemptId, u32, String),
    /// Give the answer of a round to the connection.
    AcceptRestart(AttemptId, u32, String),
    /// Give a candidate to the connection.
    AddCandidate(AttemptId, String),
    /// Close the connection; never heard of again.
    Drop(AttemptId),
    /// Hand to signaling.
    Send(Signal),
    /// Tell the application.
    State(PeerState),
}

/// See the module's documentation.
#[derive(Debug)]
pub struct Machine {
    config: MachineConfig,
    wins_glare: bool,
    newest: AttemptId,
    offered_once: bool,
    /// The newest attempt of the other side.
    heard: Option<AttemptId>,
    state: PeerState,
    current: Option<Current>,
    /// The attempt that failed last.
    failed: Option<AttemptId>,
    /// An attempt of theirs that we gave up before it was open, because the network changed.
    unopened: Option<AttemptId>,
    reconnects: Reconnects,
    deadline: Option<Instant>,
    /// When what is pending is said again.
    again: Option<Instant>,
    early: VecDeque<(AttemptId, u32, String)>,
    actions: VecDeque<Action>,
}

/// The attempt that has a connection.
#[derive(Debug)]
struct Current {
    id: AttemptId,
    /// We offered.
    ours: bool,
    /// Our offer, to be sent again.
    offer: Option<String>,
    /// The newest round that has begun.
    round: u32,
    /// Its answer has been taken, or made.
    described: bool,
    /// The newest round that this side knows to be needed: ways of older ones are of no use.
    wanted: u32,
    /// The offer of the round, or the wish for one: said again until it is answered.
    pending: Option<Signal>,
    /// Our answer of the round.
    answer: Option<Signal>,
    /// The connection could not begin the round.
    unmade: bool,
}

impl Current {
    fn new(id: AttemptId, ours: bool) -> Self {
        Self {
            id,
            ours,
            offer: None,
            round: 0,
            described: false,
            wanted: 0,
            pending: None,
            answer: None,
            unmade: false,
        }
    }
}

impl Machine {
    /// `incarnation` must be greater than in every earlier life of this peer id; `seed` decides the
    /// jitter. Two peers must not have the same id.
    pub fn new(
        config: MachineConfig,
        local: &str,
        remote: &str,
        incarnation: u64,
        seed: u64,
    ) -> Self {
        Self {
            config,
            wins_glare: local > remote,
            newest: AttemptId {
                incarnation,
                number: 0,
                greater: local > remote,
            },
            offered_once: false,
            heard: None,
            state: PeerState::New,
            current: None,
            failed: None,
            unopened: None,
            reconnects: Reconnects::new(config.reconnect, seed),
            deadline: None,
            again: None,
            early: VecDeque::new(),
            actions: VecDeque::new(),
        }
    }

    /// Where the peer stands.
    pub fn state(&self) -> PeerState {
        self.state
    }

    /// The attempt that has a connection now.
    pub fn current(&self) -> Option<AttemptId> {
        self.current.as_ref().map(|current| current.id)
    }

    /// The next thing to do.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When to call [`Machine::handle_timeout`].
    pub fn poll_timeout(&self) -> Option<Instant> {
        let again = (self.state == PeerState::Restarting)
            .then_some(self.again)
            .flatten();
        [self.deadline, again].into_iter().flatten().min()
    }

    /// What is known of an earlier life of the connection: offers up to `heard` are stale.
    pub fn remember(&mut self, heard: AttemptId) {
        self.heard = self.heard.max(Some(heard));
    }

    /// The newest attempt of the other side that is known.
    pub fn heard(&self) -> Option<AttemptId> {
        self.heard
    }

    /// The application wants the connection. Does nothing where one is there or coming.
    pub fn connect(&mut self, now: Instant) {
        if matches!(self.state, PeerState::New | PeerState::Reconnecting) {
            self.offer(now);
        }
    }

    /// The machine's addresses are others now. A connection that is open looks for another way; one
    /// that is being made begins anew, and no time is lost.
    pub fn network_changed(&mut self, now: Instant) {
        match self.state {
            PeerState::New | PeerState::Closed(_) => {}
            PeerState::Open | PeerState::Restarting => {
                self.another_network(now);
            }
            PeerState::Offering
            | PeerState::Answering
            | PeerState::Connecting
            | PeerState::Reconnecting => {
                let theirs = self.current.as_ref().filter(|current| !current.ours);
                self.unopened = theirs.map(|current| current.id);
                self.drop_current();
                self.offer(now);
            }
        }
    }

    /// The application wants it no more.
    pub fn close(&mut self) {
        self.end(GaveUp::Local, Some(RefusalCode::Closed));
    }

    /// The deadline has come.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.state == PeerState::Restarting && self.again.is_some_and(|again| again <= now) {
            self.again = Some(now + SAY_AGAIN);
            self.say_again();
        }
        if self.deadline.is_none_or(|deadline| deadline > now) {
            return;
        }
        match self.state {
            PeerState::Reconnecting => self.offer(now),
            PeerState::Offering | PeerState::Answering | PeerState::Connecting => self.fail(now),
            PeerState::Restarting => self.begin_anew(now),
            PeerState::New | PeerState::Open | PeerState::Closed(_) => self.deadline = None,
        }
    }

    /// The offer is made.
    pub fn offered(&mut self, id: AttemptId, sdp: String) {
        if self.state == PeerState::Offering
            && let Some(current) = self.current.as_mut().filter(|current| current.id == id)
        {
            current.offer = Some(sdp.clone());
            self.send(Signal::Offer { id, sdp });
        }
    }

    /// The answer is made.
    pub fn answered(&mut self, id: AttemptId, sdp: String) {
        if self.state == PeerState::Answering && self.current() == Some(id) {
            let newest = self.offered_once.then_some(self.newest);
            self.send(Signal::Answer { id, newest, sdp });
            self.go(PeerState::Connecting);
        }
    }

    /// A candidate of ours was found.
    pub fn found(&mut self, id: AttemptId, round: u32, candidate: String) {
        if self.current() == Some(id) {
            let signal = Signal::Candidate {
                id,
                round,
                candidate,
            };
            self.send(signal);
        }
    }

    /// The channels of an attempt are open.
    pub fn opened(&mut self, id: AttemptId) {
        // The offerer's may be open before its answerer knows that the answer has left.
        if self.current() == Some(id)
            && !matches!(self.state, PeerState::Open | PeerState::Restarting)
        {
            self.reconnects.succeeded();
            self.deadline = None;
            self.go(PeerState::Open);
        }
    }

    /// The connection of an attempt failed, broke or fell silent.
    pub fn lost(&mut self, id: AttemptId, now: Instant) {
        if self.current() != Some(id) {
            return;
        }
        if self.state == PeerState::Restarting {
            self.begin_anew(now);
        } else {
            self.fail(now);
        }
    }

    /// A signal of the other side.
    pub fn handle_signal(&mut self, signal: Signal, now: Instant) {
        match signal {
            Signal::Offer { id, sdp } => self.on_offer(id, sdp, now),
            Signal::Answer { id, newest, sdp } => {
                if self.state != PeerState::Offering || self.current() != Some(id) {
                    return;
                }
                let theirs = newest.filter(|newest| self.is_theirs(*newest));
                self.heard = self.heard.max(theirs);
                self.actions.push_back(Action::AcceptAnswer(id, sdp));
                self.described();
                self.go(PeerState::Connecting);
            }
            Signal::Restart { id, round, sdp } => self.on_restart(id, round, sdp, now),
            Signal::Restarted { id, round, sdp } => self.on_restarted(id, round, sdp),
            Signal::WantRestart { id, round } => self.on_wish(id, round, now),
            Signal::Candidate {
                id,
                round,
                candidate,
            } => self.on_candidate(id, round, candidate),
            Signal::Refuse { id, code } => {
                // A farewell may come behind the end of the connection that it is about.
                let again = matches!(self.state, PeerState::Reconnecting | PeerState::Offering);
                let late = again && code == RefusalCode::Closed && self.failed == Some(id);
                if self.current() != Some(id) && !late {
                    return;
                }
                match code {
                    // There may be room later.
                    RefusalCode::Full => self.fail(now),
                    RefusalCode::Closed => self.end(GaveUp::Remote(code), None),
                }
            }
        }
    }

    fn on_offer(&mut self, id: AttemptId, sdp: String, now: Instant) {
        if let PeerState::Closed(_) = self.state {
            let code = RefusalCode::Closed;
            self.send(Signal::Refuse { id, code });
            return;
        }
        // The other side's own offer again, which wins over the one that we have made since.
        let again = self.unopened == Some(id)
            && self.state == PeerState::Offering
            && !self.wins_glare
            && self.heard == Some(id);
        let old = self.heard.is_some_and(|heard| id <= heard);
        let stale = old && !again && !self.may_be_older(id);
        if stale || !self.is_theirs(id) {
            return;
        }
        self.heard = Some(id);
        self.unopened = None;
        if self.state == PeerState::Offering && self.wins_glare {
            // They may not have got ours.
            if let Some(current) = &self.current
                && let Some(sdp) = current.offer.clone()
            {
                let id = current.id;
                self.send(Signal::Offer { id, sdp });
            }
            return;
        }
        self.drop_current();
        self.current = Some(Current::new(id, false));
        self.deadline = Some(now + self.config.connect_timeout);
        self.actions.push_back(Action::Answer(id, sdp));
        self.described();
        self.go(PeerState::Answering);
    }

    fn is_theirs(&self, id: AttemptId) -> bool {
        id.greater != self.wins_glare
    }

    /// An offer of another incarnation that counts as older: the other side's clock may have been
    /// set back. As long as nothing is there to be lost, it is taken.
    fn may_be_older(&self, id: AttemptId) -> bool {
        matches!(self.state, PeerState::New | PeerState::Reconnecting)
            && self
                .heard
                .is_some_and(|heard| heard.incarnation != id.incarnation)
    }

    fn offer(&mut self, now: Instant) {
        self.newest.number = self.newest.number.saturating_add(1);
        self.offered_once = true;
        let id = self.newest;
        self.current = Some(Current::new(id, true));
        self.deadline = Some(now + self.config.connect_timeout);
        self.actions.push_back(Action::Offer(id));
        self.go(PeerState::Offering);
    }

    /// A connection that was open has ended, by no fault of an attempt: the next one begins at once.
    fn begin_anew(&mut self, now: Instant) {
        self.failed = self.current();
        self.drop_current();
        self.offer(now);
    }

    fn fail(&mut self, now: Instant) {
        self.failed = self.current();
        self.drop_current();
        match self.reconnects.failed() {
            Some(wait) => {
                self.deadline = Some(now + wait);
                self.go(PeerState::Reconnecting);
            }
            None => self.end(GaveUp::Attempts, None),
        }
    }

    fn end(&mut self, why: GaveUp, tell: Option<RefusalCode>) {
        if let PeerState::Closed(_) = self.state {
            return;
        }
        if let Some((id, code)) = self.current().zip(tell) {
            self.send(Signal::Refuse { id, code });
        }
        self.drop_current();
        self.deadline = None;
        self.early.clear();
        self.go(PeerState::Closed(why));
    }

    fn drop_current(&mut self) {
        if let Some(current) = self.current.take() {
            self.actions.push_back(Action::Drop(current.id));
        }
    }

    /// Whether the current connection was offered by this side.
    pub fn is_offerer(&self) -> bool {
        self.current.as_ref().is_some_and(|current| current.ours)
    }

    fn send(&mut self, signal: Signal) {
        self.actions.push_back(Action::Send(signal));
    }

    fn go(&mut self, state: PeerState) {
        self.state = state;
        self.actions.push_back(Action::State(state));
    }
}

#[cfg(test)]
#[allow(
    clippy::disallowed_methods,
    reason = "a test needs an instant to start from"
)]
mod tests;
