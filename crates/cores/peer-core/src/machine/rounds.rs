//! Rounds: a connection that is open looks for another way.

use std::time::Instant;

use super::{Action, AttemptId, Current, EARLY_CANDIDATES, Machine, PeerState, SAY_AGAIN, Signal};

impl Machine {
    /// The addresses of this machine are others; the connection is open.
    pub(super) fn another_network(&mut self, now: Instant) {
        let Some(current) = &mut self.current else {
            return;
        };
        let (id, round) = (current.id, current.round.saturating_add(1));
        if current.ours {
            return self.restart(round, now);
        }
        let want = Signal::WantRestart { id, round };
        current.wanted = round;
        current.pending = Some(want.clone());
        self.send(want);
        self.look_for_another_way(now);
    }

    /// What was not answered.
    pub(super) fn say_again(&mut self) {
        let Some(current) = &mut self.current else {
            return;
        };
        if std::mem::take(&mut current.unmade) && current.ours {
            let (id, round) = (current.id, current.round);
            self.actions.push_back(Action::Restart(id, round));
        } else if let Some(signal) = current.pending.clone() {
            self.send(signal);
        }
    }

    /// The offer of a round is made.
    pub fn restart_offered(&mut self, id: AttemptId, round: u32, sdp: String) {
        if self.is_in(id, round) {
            let offer = Signal::Restart { id, round, sdp };
            if let Some(current) = &mut self.current {
                current.pending = Some(offer.clone());
            }
            self.send(offer);
        }
    }

    /// The answer of a round is made.
    pub fn restart_answered(&mut self, id: AttemptId, round: u32, sdp: String) {
        if self.is_in(id, round) {
            self.described();
            let answer = Signal::Restarted { id, round, sdp };
            if let Some(current) = &mut self.current {
                current.answer = Some(answer.clone());
            }
            self.send(answer);
        }
    }

    /// The connection could not begin the round, for instance for want of an address: it is tried again
    /// when it is said again.
    pub fn round_failed(&mut self, id: AttemptId, round: u32) {
        if self.is_in(id, round)
            && let Some(current) = &mut self.current
        {
            current.unmade = true;
        }
    }

    /// The connection uses a way that was found in this round.
    pub fn restarted(&mut self, id: AttemptId, round: u32) {
        let wanted = self.current.as_ref().map_or(0, |current| current.wanted);
        if self.is_in(id, round) && round >= wanted && self.state == PeerState::Restarting {
            self.deadline = None;
            self.go(PeerState::Open);
        }
    }

    pub(super) fn on_candidate(&mut self, id: AttemptId, round: u32, candidate: String) {
        let early = match &self.current {
            Some(current) if current.id == id => {
                if round < current.round {
                    // Of addresses that are gone.
                    return;
                }
                // The connection itself keeps those of its first round.
                round > current.round || round > 0 && !current.described
            }
            _ => self.is_theirs(id) && self.heard.is_none_or(|heard| id > heard),
        };
        if !early {
            if self.current() == Some(id) {
                self.actions.push_back(Action::AddCandidate(id, candidate));
            }
        } else if self.early.len() < EARLY_CANDIDATES {
            self.early.push_back((id, round, candidate));
        }
    }

    /// Begins a round.
    pub(super) fn restart(&mut self, round: u32, now: Instant) {
        if let Some(current) = &mut self.current {
            current.round = round;
            current.described = false;
            current.pending = None;
            current.unmade = false;
            let id = current.id;
            self.actions.push_back(Action::Restart(id, round));
            self.look_for_another_way(now);
        }
    }

    pub(super) fn on_restart(&mut self, id: AttemptId, round: u32, sdp: String, now: Instant) {
        let open = matches!(self.state, PeerState::Open | PeerState::Restarting);
        let theirs = |current: &&mut Current| current.id == id && !current.ours && open;
        let Some(current) = self.current.as_mut().filter(theirs) else {
            return;
        };
        if round == current.round && std::mem::take(&mut current.unmade) {
            self.actions
                .push_back(Action::AnswerRestart(id, round, sdp));
        } else if round == current.round {
            // They may not have got it.
            let answer = current.answer.clone();
            answer.into_iter().for_each(|signal| self.send(signal));
        } else if round > current.round {
            current.round = round;
            current.described = false;
            current.answer = None;
            current.unmade = false;
            if round >= current.wanted {
                current.pending = None;
            }
            self.actions
                .push_back(Action::AnswerRestart(id, round, sdp));
            self.look_for_another_way(now);
        }
    }

    pub(super) fn look_for_another_way(&mut self, now: Instant) {
        self.again = Some(now + SAY_AGAIN);
        self.deadline = Some(now + self.config.restart_timeout);
        if let Some(id) = self.current() {
            self.actions.push_back(Action::Hold(id));
        }
        self.go(PeerState::Restarting);
    }

    /// Whether this is the round that the connection is in.
    pub(super) fn is_in(&self, id: AttemptId, round: u32) -> bool {
        let it = |current: &Current| current.id == id && current.round == round;
        self.current.as_ref().is_some_and(it)
    }

    /// The descriptions of the round are there, and its candidates may follow.
    pub(super) fn described(&mut self) {
        let Some(current) = &mut self.current else {
            return;
        };
        current.described = true;
        let (id, round) = (current.id, current.round);
        for (of, in_round, candidate) in std::mem::take(&mut self.early) {
            if (of, in_round) == (id, round) {
                self.actions.push_back(Action::AddCandidate(id, candidate));
            } else if (of, in_round) > (id, round) {
                self.early.push_back((of, in_round, candidate));
            }
        }
    }

    pub(super) fn on_restarted(&mut self, id: AttemptId, round: u32, sdp: String) {
        let waits = |current: &Current| current.ours && !current.described;
        if self.is_in(id, round) && self.current.as_ref().is_some_and(waits) {
            self.actions
                .push_back(Action::AcceptRestart(id, round, sdp));
            self.described();
            if let Some(current) = &mut self.current {
                current.pending = None;
            }
        }
    }

    pub(super) fn on_wish(&mut self, id: AttemptId, round: u32, now: Instant) {
        let newer = |current: &Current| current.ours && current.round < round;
        if self.current() == Some(id)
            && self.current.as_ref().is_some_and(newer)
            && matches!(self.state, PeerState::Open | PeerState::Restarting)
        {
            self.restart(round, now);
        }
    }
}
