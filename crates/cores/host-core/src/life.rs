//! A host's life.
//!
//! ```text
//! registering ──registered──▶ serving ──drain──▶ draining ──drained, alone, or time is up──▶ stopped
//!      ▲  │                    │   │                                                            ▲
//!      └──┘ not now            │   └── refused for good ────────────────────────────────────────┤
//!      ▲                       │                                                                │
//!      └── the coordinator forgot us                              refused for good, or drain ───┘
//! ```
//!
//! Nothing is performed here: [`Life::poll`] tells what is to be done, each thing once, and the shell
//! tells what came of it. Forwarding goes on whatever becomes of the coordinator: a heartbeat that does
//! not arrive is tried again, and only a coordinator that answers and does not know us is registered
//! with anew.

use std::time::{Duration, Instant};

use warp_protocol::{Problem, ProblemCode};

/// First wait after a try that failed; it doubles up to [`LAST_WAIT`]. A part of up to a quarter is
/// taken off by chance, so that hosts do not come all at once.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LAST_WAIT: Duration = Duration::from_secs(60);

/// Where a host is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// It has no place.
    Registering,
    /// It has one.
    Serving,
    /// Its members are moved away.
    Draining,
    /// It is over.
    Stopped,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// Register: [`Life::on_registered`] or [`Life::on_refused`].
    Register,
    /// Say how it is going: [`Life::on_heartbeat`].
    Heartbeat,
    /// Ask for the members to be moved away: [`Life::on_drain_asked`].
    Drain,
    /// Close everything; it is over.
    Leave,
}

/// The state.
#[derive(Debug)]
pub struct Life {
    phase: Phase,
    heartbeat_every: Duration,
    drain_limit: Duration,
    /// When the next act is due; `None` while one is under way or none is to come.
    due: Option<(Instant, Act)>,
    /// When the last heartbeat left: the next is due by that, however long its answer takes.
    beaten: Instant,
    /// When it got its place.
    registered: Instant,
    /// By when draining ends in any case.
    drained_by: Option<Instant>,
    failures: u32,
    members: usize,
    problem: Option<Problem>,
}

impl Life {
    /// Registers at once; draining takes `drain_limit` at most.
    pub fn new(now: Instant, drain_limit: Duration) -> Self {
        Self {
            phase: Phase::Registering,
            heartbeat_every: Duration::from_secs(10),
            drain_limit,
            due: Some((now, Act::Register)),
            beaten: now,
            registered: now,
            drained_by: None,
            failures: 0,
            members: 0,
            problem: None,
        }
    }

    /// Where it is.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Why it does not serve, or what keeps it from telling the coordinator; `None`: nothing does.
    pub fn problem(&self) -> Option<&Problem> {
        self.problem.as_ref()
    }

    /// What is to be done at `now`.
    pub fn poll(&mut self, now: Instant) -> Option<Act> {
        let over = self.drained_by.is_some_and(|by| now >= by);
        if self.phase == Phase::Draining && over {
            self.stop(now);
        }
        let (_, act) = self.due.take_if(|(at, _)| *at <= now)?;
        if act == Act::Heartbeat {
            self.beaten = now;
        }
        Some(act)
    }

    /// When to poll again without anything happening.
    pub fn next_time(&self) -> Option<Instant> {
        let due = self.due.map(|(at, _)| at);
        due.into_iter().chain(self.drained_by).min()
    }

    /// Has a place; heartbeats are due this often.
    pub fn on_registered(&mut self, now: Instant, heartbeat_every: Duration) {
        if self.phase != Phase::Registering {
            return;
        }
        self.phase = Phase::Serving;
        self.registered = now;
        self.problem = None;
        self.heartbeat_every = heartbeat_every.max(Duration::from_secs(1));
        self.due = Some((now + self.heartbeat_every, Act::Heartbeat));
    }

    /// Has no place. What may pass is tried again; `chance` is 0 to 1.
    pub fn on_refused(&mut self, now: Instant, problem: Problem, chance: f64) {
        if self.phase != Phase::Registering {
            return;
        }
        let passes = problem.code.may_pass();
        self.problem = Some(problem);
        if passes {
            self.due = Some((now + self.wait(chance), Act::Register));
        } else {
            self.stop(now);
        }
    }

    /// A heartbeat arrived, or why it did not.
    pub fn on_heartbeat(&mut self, now: Instant, outcome: Result<(), Problem>, chance: f64) {
        if self.phase != Phase::Serving {
            return;
        }
        let Err(problem) = outcome else {
            self.failures = 0;
            self.problem = None;
            self.due = Some((self.beaten + self.heartbeat_every, Act::Heartbeat));
            return;
        };
        let code = problem.code;
        self.problem = Some(problem);
        if code.may_pass() {
            let wait = self.wait(chance).min(self.heartbeat_every);
            self.due = Some((now + wait, Act::Heartbeat));
        } else if code.needs_sign_in()
            || matches!(code, ProblemCode::Forbidden | ProblemCode::Banned)
        {
            self.stop(now);
        } else {
            // It was forgotten: the coordinator started anew, or heard nothing for too long.
            self.phase = Phase::Registering;
            self.due = Some((now, Act::Register));
        }
    }

    /// The room that goes with the place is gone: register anew, with growing waits where it goes again
    /// before the first heartbeat, as when the endpoint has no room for another host. `chance` is 0 to 1.
    pub fn on_place_lost(&mut self, now: Instant, chance: f64) {
        if self.phase != Phase::Serving {
            return;
        }
        self.phase = Phase::Registering;
        let held = now.saturating_duration_since(self.registered);
        let at = if held < self.heartbeat_every {
            now + self.wait(chance)
        } else {
            now
        };
        self.due = Some((at, Act::Register));
    }

    /// Something changed that the coordinator should hear of now.
    pub fn hurry(&mut self, now: Instant) {
        if let Some((at, Act::Heartbeat)) = &mut self.due {
            *at = now.min(*at);
        }
    }

    /// Goes, and lets its members be moved before.
    pub fn drain(&mut self, now: Instant) {
        match self.phase {
            Phase::Registering => self.stop(now),
            Phase::Serving => {
                self.phase = Phase::Draining;
                self.due = Some((now, Act::Drain));
                self.drained_by = Some(now + self.drain_limit);
            }
            Phase::Draining | Phase::Stopped => {}
        }
    }

    /// The coordinator was asked to move the members, or could not be.
    pub fn on_drain_asked(&mut self, now: Instant, outcome: Result<(), Problem>) {
        if self.phase != Phase::Draining {
            return;
        }
        match outcome {
            // Without members there is nobody to wait for.
            Ok(()) if self.members == 0 => self.stop(now),
            Ok(()) => {}
            // Nobody moves them: their launchers find other ways when this one ends.
            Err(problem) => {
                self.problem = Some(problem);
                self.stop(now);
            }
        }
    }

    /// The last member was moved.
    pub fn on_drained(&mut self, now: Instant) {
        if self.phase == Phase::Draining {
            self.stop(now);
        }
    }

    /// Members now. Draining ends with the last one.
    pub fn set_members(&mut self, now: Instant, members: usize) {
        let last = members == 0 && self.members > 0;
        self.members = members;
        // While the coordinator is being asked its answer decides.
        let asked = self.due.is_none();
        if last && asked && self.phase == Phase::Draining {
            self.stop(now);
        }
    }

    /// Stops at once, because of a problem that nothing here can mend.
    pub fn fail(&mut self, now: Instant, problem: Problem) {
        if self.phase != Phase::Stopped {
            self.problem = Some(problem);
            self.stop(now);
        }
    }

    fn stop(&mut self, now: Instant) {
        self.phase = Phase::Stopped;
        self.drained_by = None;
        self.due = Some((now, Act::Leave));
    }

    fn wait(&mut self, chance: f64) -> Duration {
        let wait = FIRST_WAIT.saturating_mul(1 << self.failures.min(6));
        self.failures = self.failures.saturating_add(1);
        wait.min(LAST_WAIT)
            .mul_f64(1.0 - chance.clamp(0.0, 1.0) / 4.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(20);
    const BEAT: Duration = Duration::from_secs(10);

    #[allow(clippy::disallowed_methods, reason = "some instant to begin with")]
    fn life() -> (Life, Instant) {
        let now = Instant::now();
        (Life::new(now, LIMIT), now)
    }

    fn serving() -> (Life, Instant) {
        let (mut life, now) = life();
        assert_eq!(life.poll(now), Some(Act::Register));
        assert_eq!(life.poll(now), None, "each thing once");
        life.on_registered(now, BEAT);
        assert_eq!(life.phase(), Phase::Serving);
        (life, now)
    }

    fn problem(code: ProblemCode) -> Problem {
        Problem::new(code, "host")
    }

    #[test]
    fn heartbeats_come_at_their_time_and_are_tried_again() {
        let (mut life, now) = serving();
        assert_eq!(life.next_time(), Some(now + BEAT));
        assert_eq!(life.poll(now + BEAT), Some(Act::Heartbeat));
        let away = || Err(problem(ProblemCode::CoordinatorUnreachable));
        life.on_heartbeat(now + BEAT, away(), 0.0);
        assert_eq!(life.phase(), Phase::Serving);
        assert!(life.problem().is_some());
        let again = now + BEAT + Duration::from_secs(1);
        assert_eq!(life.next_time(), Some(again));
        let mut at = again;
        for _ in 0..10 {
            assert_eq!(life.poll(at), Some(Act::Heartbeat));
            life.on_heartbeat(at, away(), 1.0);
            let next = life.next_time().unwrap();
            assert!(next - at <= BEAT && next - at >= FIRST_WAIT);
            at = next;
        }
        assert_eq!(life.poll(at), Some(Act::Heartbeat));
        life.on_heartbeat(at + BEAT / 2, Ok(()), 0.0);
        assert_eq!(life.problem(), None);
        assert_eq!(life.next_time(), Some(at + BEAT));
    }

    #[test]
    fn a_coordinator_that_forgot_us_is_registered_with_anew() {
        let (mut life, now) = serving();
        assert_eq!(life.poll(now + BEAT), Some(Act::Heartbeat));
        life.on_heartbeat(now + BEAT, Err(problem(ProblemCode::NotFound)), 0.0);
        assert_eq!(life.phase(), Phase::Registering);
        assert_eq!(life.poll(now + BEAT), Some(Act::Register));
        life.on_registered(now + BEAT, BEAT);
        assert_eq!((life.phase(), life.problem()), (Phase::Serving, None));
        life.on_place_lost(now + BEAT * 2, 0.0);
        assert_eq!(life.poll(now + BEAT * 2), Some(Act::Register));
    }

    #[test]
    fn a_place_that_is_lost_at_once_each_time_is_asked_for_ever_less_often() {
        let (mut life, mut at) = serving();
        let mut waits = Vec::new();
        for _ in 0..4 {
            life.on_place_lost(at, 0.0);
            let next = life.next_time().unwrap();
            waits.push((next - at).as_secs());
            assert_eq!(life.poll(next), Some(Act::Register));
            life.on_registered(next, BEAT);
            at = next;
        }
        assert_eq!(waits, [1, 2, 4, 8]);
        // One heartbeat that arrives, and it begins anew.
        assert_eq!(life.poll(at + BEAT), Some(Act::Heartbeat));
        life.on_heartbeat(at + BEAT, Ok(()), 0.0);
        life.on_place_lost(at + BEAT, 0.0);
        assert_eq!(life.next_time(), Some(at + BEAT));
    }

    #[test]
    fn what_may_pass_is_tried_again_with_growing_waits_and_the_rest_ends_it() {
        let (mut life, begin) = life();
        let mut at = begin;
        let mut waits = Vec::new();
        for _ in 0..9 {
            assert_eq!(life.poll(at), Some(Act::Register));
            life.on_refused(at, problem(ProblemCode::CoordinatorUnreachable), 0.0);
            let next = life.next_time().unwrap();
            waits.push((next - at).as_secs());
            at = next;
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        assert_eq!(life.poll(at), Some(Act::Register));
        life.on_refused(at, problem(ProblemCode::Forbidden), 0.0);
        assert_eq!(life.phase(), Phase::Stopped);
        assert_eq!(life.problem().unwrap().code, ProblemCode::Forbidden);
        assert_eq!(life.poll(at), Some(Act::Leave));
        assert_eq!((life.poll(at), life.next_time()), (None, None));
    }

    #[test]
    fn draining_ends_with_the_last_member_or_with_its_time() {
        let (mut life, now) = serving();
        life.set_members(now, 2);
        life.drain(now);
        assert_eq!(life.poll(now), Some(Act::Drain));
        life.on_drain_asked(now, Ok(()));
        assert_eq!((life.phase(), life.poll(now)), (Phase::Draining, None));
        life.set_members(now, 1);
        assert_eq!(life.phase(), Phase::Draining);
        life.set_members(now, 0);
        assert_eq!(life.poll(now), Some(Act::Leave));

        let (mut life, now) = serving();
        life.set_members(now, 2);
        life.drain(now);
        assert_eq!(life.poll(now), Some(Act::Drain));
        life.on_drain_asked(now, Ok(()));
        assert_eq!(life.next_time(), Some(now + LIMIT));
        assert_eq!(life.poll(now + LIMIT), Some(Act::Leave));

        let (mut life, now) = serving();
        life.set_members(now, 2);
        life.drain(now);
        assert_eq!(life.poll(now), Some(Act::Drain));
        life.on_drained(now);
        assert_eq!(life.poll(now), Some(Act::Leave));
    }

    #[test]
    fn without_members_or_a_place_or_a_coordinator_nobody_is_waited_for() {
        let (mut alone, now) = serving();
        alone.drain(now);
        assert_eq!(alone.poll(now), Some(Act::Drain));
        alone.on_drain_asked(now, Ok(()));
        assert_eq!(alone.poll(now), Some(Act::Leave));

        let (mut placeless, now) = life();
        assert_eq!(placeless.poll(now), Some(Act::Register));
        placeless.drain(now);
        assert_eq!(placeless.poll(now), Some(Act::Leave));
        placeless.on_registered(now, BEAT);
        assert_eq!(placeless.phase(), Phase::Stopped);

        let (mut deaf, now) = serving();
        deaf.set_members(now, 1);
        deaf.drain(now);
        assert_eq!(deaf.poll(now), Some(Act::Drain));
        let away = Err(problem(ProblemCode::CoordinatorUnreachable));
        deaf.on_drain_asked(now, away);
        assert_eq!(deaf.poll(now), Some(Act::Leave));
    }
}
