//! Which path carries the game.
//!
//! The engine's side runs all of it; the endpoint's side only follows the status that it is told
//! and reports a path on which it hears nothing.
//!
//! 1. A path whose carrier is up, that QUIC has validated and that was heard lately is *usable*.
//! 2. The first usable path takes the game at once (reason `first`).
//! 3. When the path in use loses its carrier, or is silent for three heartbeats, or the other side
//!    says that it hears nothing on it, or has not shown for three heartbeats that it does, the best
//!    usable path takes over. Without one the game
//!    stays where it is, the state is Reconnecting, and the streams are held.
//! 4. A path that is better by preference takes over when it has been heard without a suspicion
//!    for the proving time (reason `better`), unless it is measured to be worse, the path in use
//!    was taken because it is measured to be better, or a person left it lately: then it is
//!    benched, and taken only when nothing else is usable. A carrier that is opened anew does not
//!    change what a person wished.
//! 5. Whatever the preference, a proven path that is measured to be better than the one in use,
//!    by a margin and several times in a row, takes over (reason `measured`; see [`crate::choice`]).
//! 6. A path over which altered or replayed datagrams come is left and benched (`tampering`).
//! 7. A path that is silent for the give-up time, or on which the other side has not shown for so long
//!    that it hears us, is reported once; so is a host over which it says that it hears nothing. Out of use
//!    such a path is closed when nothing of it can be in flight any more.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use noq_proto::PathId;
use warp_protocol::carrier::PathKind;

use crate::State;
use crate::books::Book;
use crate::choice::{self, Contest, Costs, Measured};
use crate::flow::Flow;
use crate::link::{Link, LinkEvent};
use crate::paths::set_status;
use crate::quality::Figures;
use crate::view::{PathPhase, SwitchReason};

/// Time between attempts to open a path that had no id or connection id free.
const OPEN_RETRY: Duration = Duration::from_millis(50);

/// Benches for which a path that was chosen by hand is kept.
const BY_HAND: u32 = 10;

/// Time between two comparisons of costs.
const COMPARED: Duration = Duration::from_millis(100);

/// The policy's own state.
#[derive(Debug)]
pub(crate) struct Policy {
    client: bool,
    pub(crate) in_use: Option<PathId>,
    /// When the path in use was taken.
    taken_at: Option<Instant>,
    reason: Option<SwitchReason>,
    state: State,
    shown_path: Option<PathKind>,
    /// Set when the game was moved for a failure, until the new path is heard.
    moved_at: Option<Instant>,
    retry: BTreeSet<PathKind>,
    retry_at: Option<Instant>,
    failed_kinds: BTreeSet<PathKind>,
    /// Kinds that are the last choice until then, whichever opening of their carriers it is.
    benched: BTreeMap<PathKind, Instant>,
    proven: BTreeSet<PathId>,
    contest: Contest,
    /// When paths were compared by their costs, in the order of preference.
    compared: Option<Instant>,
}

impl Policy {
    pub(crate) fn new(client: bool) -> Self {
        Self {
            client,
            in_use: None,
            taken_at: None,
            reason: None,
            state: State::Disconnected,
            shown_path: None,
            moved_at: None,
            retry: BTreeSet::new(),
            retry_at: None,
            failed_kinds: BTreeSet::new(),
            benched: BTreeMap::new(),
            proven: BTreeSet::new(),
            contest: Contest::default(),
            compared: None,
        }
    }

    pub(crate) fn authenticating(&mut self) {
        if self.state == State::Disconnected {
            self.state = State::Connecting;
        }
    }

    pub(crate) fn forget(&mut self, id: PathId) {
        self.proven.remove(&id);
        if self.in_use == Some(id) {
            self.in_use = None;
        }
    }

    pub(crate) fn retry_open(&mut self, kind: PathKind) {
        self.retry.insert(kind);
    }
}

impl Link {
    /// State of the link.
    pub fn state(&self) -> State {
        self.policy.state
    }

    /// Path in use, and why.
    pub fn in_use(&self) -> (Option<PathKind>, Option<SwitchReason>) {
        let kind = self
            .policy
            .in_use
            .and_then(|id| self.books.get(&id))
            .map(|book| book.label.kind);
        (kind, self.policy.reason)
    }

    pub(crate) fn policy_deadline(&self, now: Instant) -> Option<Instant> {
        if self.is_closed() {
            return None;
        }
        let silence = self.config.silence();
        let ahead = |at: &Instant| *at > now;
        let (contest, compare) = if self.policy.client {
            let compare = self.policy.compared.map(|at| at + COMPARED);
            (self.policy.contest.deadline(), compare)
        } else {
            (None, None)
        };
        let ours = [contest.filter(ahead), compare.filter(ahead)];
        let paths = self.books.values().flat_map(|book| {
            let proven = book
                .steady_since
                .map(|since| since + self.proving_time(book));
            let give_up = book.heard.unwrap_or(book.opened) + self.config.give_up;
            [
                book.established.then_some(book.next_beat),
                Some(book.next_doubt(now, silence)).filter(ahead),
                Some(give_up).filter(|at| ahead(at) && !book.given_up),
                proven.filter(ahead),
                book.benched_until.filter(ahead),
            ]
        });
        let all = ours.into_iter().chain([self.policy.retry_at]).chain(paths);
        all.flatten().min()
    }

    fn proving_time(&self, book: &Book) -> Duration {
        if self.policy.failed_kinds.contains(&book.label.kind) {
            self.config.prove_again
        } else {
            self.config.prove_first
        }
    }

    pub(crate) fn carrier_of(&self, book: &Book) -> bool {
        self.carriers
            .get(book.label.kind)
            .is_some_and(|carrier| carrier.up && carrier.generation == book.label.generation)
    }

    fn usable(&self, book: &Book, now: Instant) -> bool {
        book.established
            && self.carrier_of(book)
            && book.heard.is_some()
            && book.silent_for(now) < self.config.silence()
    }

    /// Ready to take over, and without a suspicion.
    pub(crate) fn is_standby(&self, book: &Book, now: Instant) -> bool {
        self.is_proven(book, now) && !book.is_benched(now)
    }

    fn is_proven(&self, book: &Book, now: Instant) -> bool {
        self.usable(book, now)
            && self.unanswered_for(book, now) < self.config.silence() * 2
            && !book.suspect(now)
            && book
                .steady_since
                .is_some_and(|since| now >= since + self.proving_time(book))
    }

    /// How long the other side has not shown that it hears us over this path; of the engine's side alone,
    /// which chooses. A path that is dead in this direction only is heard all the same.
    fn unanswered_for(&self, book: &Book, now: Instant) -> Duration {
        if !self.policy.client {
            return Duration::ZERO;
        }
        let flow = self.flows.get(book.label.kind);
        let answered = flow.and_then(Flow::answered).unwrap_or(book.opened);
        now.saturating_duration_since(answered.max(book.opened))
    }

    /// The other side has not shown for three heartbeats that it hears us over this path.
    fn is_unheard(&self, book: &Book, now: Instant) -> bool {
        self.unanswered_for(book, now) >= self.config.silence()
    }

    /// That, while it hears us over another: where it hears nothing at all, no other path is better.
    fn is_unheard_beside_another(&self, current: &Book, now: Instant) -> bool {
        self.is_unheard(current, now)
            && self
                .best_other(Some(current.id), now)
                .and_then(|id| self.books.get(&id))
                .is_some_and(|other| !self.is_unheard(other, now))
    }

    /// How long it has been dead in one direction at least.
    fn dead_for(&self, book: &Book, now: Instant) -> Duration {
        book.silent_for(now).max(self.unanswered_for(book, now))
    }

    fn rank(&self, kind: PathKind) -> usize {
        let preference = &self.config.preference;
        preference
            .iter()
            .position(|known| *known == kind)
            .unwrap_or(preference.len())
    }

    /// Best usable path but `except`. One that a person left is the last choice, then one that is dead in
    /// one direction, then a host beyond the zone's latency, then one with a suspicion.
    fn best_other(&self, except: Option<PathId>, now: Instant) -> Option<PathId> {
        self.books
            .values()
            .filter(|book| Some(book.id) != except && self.usable(book, now))
            .min_by_key(|book| {
                let kind = book.label.kind;
                let dead = self.is_unheard(book, now);
                let slow = !self.is_quick_enough(kind, now);
                let benched = self.is_benched(book, now);
                (benched, dead, slow, book.suspect(now), self.rank(kind))
            })
            .map(|book| book.id)
    }

    pub(crate) fn run_policy(&mut self, now: Instant) {
        self.note_unsteady(now);
        if self.policy.client {
            self.retry_opens(now);
            self.choose(now);
        } else {
            self.report_deafness(now);
        }
        self.give_up(now);
        self.update_state(now);
    }

    /// A path that is overdue or silent has to prove itself from the start.
    fn note_unsteady(&mut self, now: Instant) {
        let silence = self.config.silence();
        for book in self.books.values_mut() {
            if book.silent_for(now) >= silence && book.steady_since.take().is_some() {
                self.policy.failed_kinds.insert(book.label.kind);
                self.policy.proven.remove(&book.id);
            }
        }
    }

    fn retry_opens(&mut self, now: Instant) {
        if self.policy.retry_at.is_some_and(|at| now >= at) {
            self.policy.retry_at = None;
            for kind in std::mem::take(&mut self.policy.retry) {
                if self.has_carrier(kind) {
                    self.open_path(kind, now);
                }
            }
        }
        if !self.policy.retry.is_empty() && self.policy.retry_at.is_none() {
            self.policy.retry_at = Some(now + OPEN_RETRY);
        }
    }

    fn choose(&mut self, now: Instant) {
        let Some(current) = self.policy.in_use.and_then(|id| self.books.get(&id)) else {
            if let Some(id) = self.best_other(None, now) {
                let reason = self
                    .policy
                    .reason
                    .map_or(SwitchReason::First, |_| SwitchReason::Better);
                self.take(id, reason, now);
            }
            return;
        };
        let deaf = self.peer_is_deaf(current, now);
        let silent = current.silent_for(now) >= self.config.silence() || deaf;
        let reason = if !self.carrier_of(current) {
            Some(SwitchReason::CarrierClosed)
        } else if silent || self.is_unheard_beside_another(current, now) {
            Some(SwitchReason::Silence)
        } else {
            None
        };
        if let Some(reason) = reason {
            let left = self.leave_current(reason, now);
            // A host could make up that our stamps come back, and be taken again and again.
            if let Some((kind, _)) = left.filter(|(kind, _)| deaf && kind.is_host()) {
                self.events.push_back(LinkEvent::GivenUp(kind));
            }
            return;
        }
        if let Some(id) = self.better_by_order(current.id, now) {
            self.move_to(id, SwitchReason::Better, now);
        } else if self.policy.contest.window_ends(now)
            && let Some(id) = self.better_by_cost(now)
        {
            self.move_to(id, SwitchReason::Measured, now);
        }
    }

    /// A proven path that is preferred to the one in use, and not measured to be worse. Costs are
    /// sums over many samples, so they are compared ten times a second at most.
    fn better_by_order(&mut self, current: PathId, now: Instant) -> Option<PathId> {
        if self.policy.contest.holds(now) {
            return None;
        }
        let current = self.books.get(&current)?;
        let rank = self.rank(current.label.kind);
        let preferred = |book: &&Book| {
            self.rank(book.label.kind) < rank
                && !self.is_benched(book, now)
                && self.is_proven(book, now)
                && self.is_quick_enough(book.label.kind, now)
        };
        let candidates: Vec<&Book> = self.books.values().filter(preferred).collect();
        if candidates.is_empty() || self.policy.compared.is_some_and(|at| now < at + COMPARED) {
            return None;
        }
        let cost = self.cost(current, now);
        let limit = cost.map(|cost| cost + choice::SLIGHT_MS);
        let worse = |book: &Book| match (self.cost(book, now), limit) {
            (Some(cost), Some(limit)) => cost > limit,
            // Both are known a second or two after a path is proven.
            (None, Some(_)) => current.label.kind.is_host() || book.label.kind.is_host(),
            _ => false,
        };
        let best = candidates
            .iter()
            .filter(|book| !worse(book))
            .min_by_key(|book| self.rank(book.label.kind))
            .map(|book| book.id);
        self.policy.compared = Some(now);
        best
    }

    /// A window has ended: the path that has won often enough, if any.
    fn better_by_cost(&mut self, now: Instant) -> Option<PathId> {
        let current = self.books.get(&self.policy.in_use?)?;
        let incumbent = self.cost(current, now)?;
        let challengers: Vec<(PathKind, f64)> = self
            .books
            .values()
            .filter(|book| book.id != current.id && !self.is_benched(book, now))
            .filter(|book| self.is_proven(book, now))
            .filter_map(|book| Some((book.label.kind, self.cost(book, now)?)))
            .filter(|(kind, _)| self.is_quick_enough(*kind, now))
            .collect();
        let winner = self.policy.contest.judge(incumbent, &challengers)?;
        let proven = self
            .books
            .values()
            .find(|book| book.label.kind == winner && self.is_proven(book, now));
        proven.map(|book| book.id)
    }

    /// Left by choice, or for what it did, not long ago.
    fn is_benched(&self, book: &Book, now: Instant) -> bool {
        let of_kind = self.policy.benched.get(&book.label.kind);
        book.is_benched(now) || of_kind.is_some_and(|until| now < *until)
    }

    /// Forgets what was left by choice.
    pub(crate) fn forget_benches(&mut self) {
        self.policy.benched.clear();
        for book in self.books.values_mut() {
            book.benched_until = None;
        }
    }

    /// A host's path is not used beyond the zone's latency, however good it is beside the others, as long
    /// as there is another.
    fn is_quick_enough(&self, kind: PathKind, now: Instant) -> bool {
        if !kind.is_host() {
            return true;
        }
        let trip = self.flows.get(kind).and_then(|flow| flow.trip(now));
        match (self.config.host_max_rtt, trip) {
            (Some(limit), Some(trip)) => trip <= limit,
            _ => true,
        }
    }

    /// What a path costs; `None` while one of its figures is not known.
    pub(crate) fn cost(&self, book: &Book, now: Instant) -> Option<f64> {
        let Figures {
            mut rtt_ms,
            jitter_ms,
            mut loss_percent,
        } = self.figures_of(book, now)?;
        if self.policy.in_use == Some(book.id) {
            // What is known of QUIC's own packets cannot be falsified on the way.
            if let Some(seen) = book.trips.smoothed() {
                rtt_ms = rtt_ms.max(seen.as_secs_f64() * 1000.0);
            }
            let mut lost = [&book.lost.out, &book.lost.back];
            if !self.is_client() {
                lost.reverse();
            }
            for (shown, lost) in loss_percent.iter_mut().zip(lost) {
                *shown = shown.max(lost.lost_percent.unwrap_or_default());
            }
        }
        Some(choice::cost_ms(&Measured {
            rtt_ms,
            jitter_ms: jitter_ms[0].max(jitter_ms[1]),
            loss_percent,
        }))
    }

    /// Altered or replayed datagrams came over `carrier`: some may be of another making, many are
    /// somebody's work.
    pub(crate) fn suspect_tampering(&mut self, carrier: PathKind, now: Instant) {
        if !self.policy.client || !self.flow(carrier).on_refused(now) {
            return;
        }
        self.events.push_back(LinkEvent::Tampered(carrier));
        let until = now + self.config.bench * 5;
        for book in self.books.values_mut() {
            if book.label.kind == carrier {
                book.benched_until = Some(until);
            }
        }
        // The way to the endpoint stays the same one; a host is replaced.
        if !carrier.is_host() {
            self.policy.benched.insert(carrier, until);
        }
        let current = self.policy.in_use.and_then(|id| self.books.get(&id));
        if current.is_some_and(|book| book.label.kind == carrier) {
            self.leave_current(SwitchReason::Tampering, now);
        }
    }

    /// The other side marks the path in use as backup although it was told otherwise long enough
    /// ago to have followed: it hears nothing on it.
    fn peer_is_deaf(&self, book: &Book, now: Instant) -> bool {
        let trip = book.trips.smoothed().unwrap_or_default();
        let grace = self.config.silence() + trip * 2;
        !book.peer_available
            && self
                .policy
                .taken_at
                .is_some_and(|taken| now.saturating_duration_since(taken) >= grace)
    }

    /// Moves the game away from the path in use, if there is another.
    pub(crate) fn leave_current(
        &mut self,
        reason: SwitchReason,
        now: Instant,
    ) -> Option<(PathKind, PathKind)> {
        let from = self.policy.in_use?;
        let to = self.best_other(Some(from), now)?;
        let bench = self.config.bench;
        if let Some(book) = self.books.get_mut(&from) {
            self.policy.failed_kinds.insert(book.label.kind);
            book.steady_since = None;
            match reason {
                SwitchReason::Asked => {
                    self.policy.benched.insert(book.label.kind, now + bench);
                }
                SwitchReason::Withdrawn => {
                    book.benched_until = Some(now + bench);
                    // The endpoint may have let go of it already.
                    book.reroute_until = Some(Self::reroute_after(now));
                }
                _ => book.reroute_until = Some(Self::reroute_after(now)),
            }
        }
        self.move_to(to, reason, now)
    }

    /// Moves the game to the path of this kind, and benches all others for [`BY_HAND`] benches. From where
    /// to where; both are the kind when it is in use already.
    pub(crate) fn take_by_hand(
        &mut self,
        kind: PathKind,
        now: Instant,
    ) -> Option<(PathKind, PathKind)> {
        let to = self
            .books
            .values()
            .find(|book| book.label.kind == kind && self.usable(book, now))
            .map(|book| book.id)?;
        let until = now + self.config.bench * BY_HAND;
        let others = PathKind::ALL.into_iter().filter(|other| *other != kind);
        self.policy.benched = others.map(|other| (other, until)).collect();
        if let Some(book) = self.books.get_mut(&to) {
            book.benched_until = None;
        }
        if self.policy.in_use == Some(to) {
            return Some((kind, kind));
        }
        self.move_to(to, SwitchReason::Asked, now)
    }

    fn move_to(
        &mut self,
        to: PathId,
        reason: SwitchReason,
        now: Instant,
    ) -> Option<(PathKind, PathKind)> {
        let from = self.policy.in_use?;
        let from_book = self.books.get(&from)?;
        let from_kind = from_book.label.kind;
        let silent = match reason {
            SwitchReason::Silence | SwitchReason::CarrierClosed => from_book.silent_for(now),
            _ => Duration::ZERO,
        };
        let to_book = self.books.get(&to)?;
        let to_kind = to_book.label.kind;
        let costs = self.cost(from_book, now).zip(self.cost(to_book, now));
        let costs = costs.map(|(from_ms, to_ms)| Costs { from_ms, to_ms });
        self.take(to, reason, now);
        let by_cost = reason == SwitchReason::Measured;
        if let Some(bench) = self.policy.contest.moved(from_kind, to_kind, by_cost, now)
            && let Some(book) = self.books.get_mut(&from)
        {
            book.benched_until = Some(now + bench);
        }
        if !by_cost && reason != SwitchReason::Better {
            self.policy.moved_at = Some(now);
            self.set_state(State::FailingOver, Some(to_kind), Some(reason));
        }
        self.events.push_back(LinkEvent::Moved {
            from: from_kind,
            to: to_kind,
            reason,
            silent,
            costs,
        });
        Some((from_kind, to_kind))
    }

    /// Makes `id` the one available path.
    fn take(&mut self, id: PathId, reason: SwitchReason, now: Instant) {
        if let Some((_, connection)) = &mut self.connection {
            self.quiet &= !set_status(connection, id, true);
            for other in self.books.keys().filter(|other| **other != id) {
                self.quiet &= !set_status(connection, *other, false);
            }
        }
        if let Some(book) = self.books.get_mut(&id) {
            book.reroute_until = None;
            book.unanswered = None;
        }
        self.policy.in_use = Some(id);
        self.policy.reason = Some(reason);
        self.policy.moved_at = None;
        self.policy.taken_at = Some(now);
        // The old path's data is probed for at once instead of at its next probe timeout.
        self.ping_all();
    }

    /// The endpoint's side: one path is available, the one that the engine uses. Where nothing is
    /// heard on it while another is heard, that one is, which tells the engine that this direction
    /// is dead; heard again, the engine's wish is followed again. Never are all of them backups:
    /// QUIC would send the game over any, one that the engine has closed meanwhile among them.
    fn report_deafness(&mut self, now: Instant) {
        let Some(id) = self.policy.in_use else {
            return;
        };
        let Some(book) = self.books.get(&id) else {
            return;
        };
        let available = if book.silent_for(now) < self.config.silence() {
            id
        } else {
            self.best_other(Some(id), now).unwrap_or(id)
        };
        if let Some((_, connection)) = &mut self.connection {
            for id in self.books.keys() {
                self.quiet &= !set_status(connection, *id, *id == available);
            }
        }
    }

    fn give_up(&mut self, now: Instant) {
        let alive: Vec<PathId> = (self.books.values())
            .filter(|book| self.dead_for(book, now) < self.config.silence() * 2)
            .map(|book| book.id)
            .collect();
        for id in alive {
            if let Some(book) = self.books.get_mut(&id) {
                book.given_up = false;
            }
        }
        let lost: Vec<(PathId, PathKind, bool)> = self
            .books
            .values()
            .map(|book| (book, self.carrier_of(book)))
            .filter(|(book, carrier)| {
                book.given_up || !carrier || self.dead_for(book, now) >= self.config.give_up
            })
            .map(|(book, carrier)| (book.id, book.label.kind, carrier))
            .collect();
        for (id, kind, had_carrier) in lost {
            let Some(book) = self.books.get_mut(&id) else {
                continue;
            };
            if had_carrier && !book.given_up {
                book.given_up = true;
                self.events.push_back(LinkEvent::GivenUp(kind));
            }
            if self.policy.client && self.policy.in_use != Some(id) && book.may_close(now) {
                self.close_path(id, now);
            }
        }
    }

    fn update_state(&mut self, now: Instant) {
        let handshaking = match &self.connection {
            None => {
                let state = if self.carriers.is_empty() {
                    State::Disconnected
                } else {
                    State::Connecting
                };
                return self.set_state(state, None, None);
            }
            Some((_, connection)) => connection.is_handshaking(),
        };
        if handshaking {
            return self.set_state(State::Authenticating, None, None);
        }
        self.announce_proven(now);
        let current = self.policy.in_use.and_then(|id| self.books.get(&id));
        let kind = current.map(|book| book.label.kind);
        let reason = self.policy.reason;
        let usable = current.is_some_and(|book| {
            self.carrier_of(book) && book.silent_for(now) < self.config.silence()
        });
        let heard_since_move = match (self.policy.moved_at, current.and_then(|book| book.heard)) {
            (Some(moved), Some(heard)) => heard > moved,
            (Some(_), None) => false,
            (None, _) => true,
        };
        let state = match (usable, heard_since_move) {
            (true, true) => {
                self.policy.moved_at = None;
                State::Connected
            }
            (true, false) => State::FailingOver,
            (false, _) => State::Reconnecting,
        };
        self.set_state(state, kind, reason);
    }

    fn announce_proven(&mut self, now: Instant) {
        let fresh: Vec<(PathId, PathKind)> = self
            .books
            .values()
            .filter(|book| self.is_proven(book, now) && !self.policy.proven.contains(&book.id))
            .map(|book| (book.id, book.label.kind))
            .collect();
        for (id, kind) in fresh {
            self.policy.proven.insert(id);
            self.events.push_back(LinkEvent::Proven(kind));
        }
    }

    pub(crate) fn set_state(
        &mut self,
        state: State,
        path: Option<PathKind>,
        reason: Option<SwitchReason>,
    ) {
        if self.policy.state == state && self.policy.shown_path == path {
            return;
        }
        self.policy.state = state;
        self.policy.shown_path = path;
        self.events.push_back(LinkEvent::State {
            state,
            path,
            reason,
        });
    }

    /// How far a path has come.
    pub(crate) fn phase_of(&self, book: &Book, now: Instant) -> PathPhase {
        if !self.carrier_of(book) || book.given_up {
            PathPhase::Down
        } else if !book.established {
            PathPhase::Opening
        } else if book.silent_for(now) >= self.config.silence() || book.suspect(now) {
            PathPhase::Suspect
        } else if self.policy.in_use == Some(book.id) {
            PathPhase::InUse
        } else if self.is_proven(book, now) {
            PathPhase::Standby
        } else {
            PathPhase::Proving
        }
    }
}
