//! The task of one peer.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use warp_peer_core::{Action, AttemptId, Machine, PeerState, Signal};

use super::attempt::{self, Begin, Input, Report};
use super::trust::{Notary, SignedSignal, Verdict};
use super::{ManagerConfig, NamedSignal, PeerEvent, Refused};

/// How many answers and candidates wait for a connection that is being made, and reports of it for
/// the peer. Full: the other side waits.
const QUEUE: usize = 128;

/// How long the last signals may take when everything is closed.
const GOODBYE: Duration = Duration::from_millis(200);

/// What the application wants of a peer.
#[derive(Debug, Clone, Copy)]
pub(super) enum Order {
    Connect,
    Close,
    NetworkChanged,
}

/// The orders that a peer's task has not taken yet. Of each kind one is as good as many, so they take
/// no more than their place, and none is lost.
#[derive(Debug, Default)]
pub(super) struct Orders {
    pending: Mutex<Pending>,
    more: Notify,
}

#[derive(Debug, Default)]
struct Pending {
    /// Comes first: what was ordered before it has no meaning any more.
    close: bool,
    network_changed: bool,
    connect: bool,
}

impl Orders {
    pub(super) fn put(&self, order: Order) {
        let mut pending = self.pending.lock();
        match order {
            Order::Connect => pending.connect = true,
            Order::NetworkChanged => pending.network_changed = true,
            Order::Close => {
                *pending = Pending {
                    close: true,
                    ..Pending::default()
                };
            }
        }
        self.more.notify_one();
    }

    /// Whether a connection was ordered after all that was taken. A task that has closed its peer
    /// leaves that to the next one.
    pub(super) fn wants_connection(&self) -> bool {
        self.pending.lock().connect
    }

    /// Waits for an order. Safe to cancel.
    async fn next(&self) -> Order {
        loop {
            if let Some(order) = self.take() {
                return order;
            }
            self.more.notified().await;
        }
    }

    fn take(&self) -> Option<Order> {
        let pending = &mut *self.pending.lock();
        for (wanted, order) in [
            (&mut pending.close, Order::Close),
            (&mut pending.network_changed, Order::NetworkChanged),
            (&mut pending.connect, Order::Connect),
        ] {
            if std::mem::take(wanted) {
                return Some(order);
            }
        }
        None
    }
}

/// What a peer's task shares with the manager.
pub(super) struct Links {
    pub(super) config: Arc<ManagerConfig>,
    pub(super) outbound: mpsc::Sender<NamedSignal>,
    pub(super) events: mpsc::Sender<PeerEvent>,
    pub(super) tasks: TaskTracker,
    pub(super) refused: Arc<Refused>,
}

/// The connection of the current attempt.
struct Running {
    id: AttemptId,
    input: mpsc::Sender<Input>,
    /// Closes the connection, also when the worker panics.
    _stop: tokio_util::sync::DropGuard,
}

pub(super) struct Worker {
    name: String,
    machine: Machine,
    notary: Notary,
    links: Links,
    running: Option<Running>,
    report: attempt::Reports,
    reports: mpsc::Receiver<(AttemptId, Report)>,
}

impl Worker {
    pub(super) fn new(name: String, machine: Machine, links: Links) -> Self {
        let (report, reports) = mpsc::channel(QUEUE);
        let config = &links.config;
        let notary = Notary::new(config.trust.clone(), &config.local, &name);
        Self {
            name,
            machine,
            notary,
            links,
            running: None,
            report,
            reports,
        }
    }

    /// Runs until the peer is closed; returns its name, and the newest of its attempts.
    pub(super) async fn run(
        mut self,
        mut signals: mpsc::Receiver<SignedSignal>,
        orders: Arc<Orders>,
        stop: CancellationToken,
    ) -> (String, Option<AttemptId>) {
        while !matches!(self.machine.state(), PeerState::Closed(_)) {
            let deadline = self.machine.poll_timeout();
            let sleep = async {
                match deadline {
                    Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = stop.cancelled() => break,
                () = sleep => self.machine.handle_timeout(Instant::now()),
                order = orders.next() => self.on_order(order),
                signal = signals.recv() => match signal {
                    Some(signal) => self.on_signal(signal).await,
                    None => self.machine.close(),
                },
                Some((id, report)) = self.reports.recv() => self.on_report(id, report).await,
            }
            tokio::select! {
                () = stop.cancelled() => break,
                () = self.drain() => {}
            }
        }
        self.machine.close();
        // Nobody may take signals or events any more.
        let _ = tokio::time::timeout(GOODBYE, self.drain()).await;
        (self.name, self.machine.heard())
    }

    fn on_order(&mut self, order: Order) {
        let now = Instant::now();
        match order {
            Order::Connect => self.machine.connect(now),
            Order::Close => self.machine.close(),
            Order::NetworkChanged => self.machine.network_changed(now),
        }
    }

    async fn on_signal(&mut self, said: SignedSignal) {
        let now = Instant::now();
        let offer = match self.notary.check(&said) {
            Verdict::Said => None,
            Verdict::Offered(offer) => Some(offer),
            Verdict::Old => {
                return tracing::debug!(peer = self.name, "a late answer is passed over");
            }
            Verdict::Refused(reason) => return self.links.refused.count(&self.name, reason),
        };
        let signal = said.signal;
        if let Signal::Refuse { id, code } = signal
            && self.machine.current() == Some(id)
        {
            let peer = self.name.clone();
            self.event(PeerEvent::Refused { peer, code }).await;
        }
        self.machine.handle_signal(signal, now);
        if let Some(offer) = offer {
            self.notary.believe(offer, self.machine.current());
        }
    }

    async fn on_report(&mut self, id: AttemptId, report: Report) {
        match report {
            Report::Offered(sdp) => self.machine.offered(id, sdp),
            Report::Answered(sdp) => self.machine.answered(id, sdp),
            Report::Candidate(round, candidate) => self.machine.found(id, round, candidate),
            Report::RestartOffered(round, sdp) => self.machine.restart_offered(id, round, sdp),
            Report::RestartAnswered(round, sdp) => self.machine.restart_answered(id, round, sdp),
            Report::RoundFailed(round) => self.machine.round_failed(id, round),
            Report::Restarted(round, way) => {
                self.machine.restarted(id, round);
                if self.machine.state() == PeerState::Open && self.machine.current() == Some(id) {
                    self.drain().await;
                    let peer = self.name.clone();
                    self.event(PeerEvent::Moved { peer, way }).await;
                }
            }
            Report::Open(channels, way) => {
                self.machine.opened(id);
                if self.machine.state() == PeerState::Open && self.machine.current() == Some(id) {
                    self.drain().await;
                    let peer = self.name.clone();
                    let open = PeerEvent::Open {
                        peer,
                        channels,
                        way,
                    };
                    self.event(open).await;
                }
            }
            Report::Ended(code) => {
                tracing::debug!(peer = self.name, code, "the connection to a peer has ended");
                self.machine.lost(id, Instant::now());
            }
        }
    }

    /// Carries out what the machine wants.
    async fn drain(&mut self) {
        while let Some(action) = self.machine.poll_action() {
            match action {
                Action::Offer(id) => self.begin(id, Begin::Offer),
                Action::Answer(id, sdp) => self.begin(id, Begin::Answer(sdp)),
                Action::AcceptAnswer(id, sdp) => self.input(id, Input::Answer(sdp)),
                Action::Hold(id) => self.input(id, Input::Hold),
                Action::Restart(id, round) => self.input(id, Input::Restart(round)),
                Action::AnswerRestart(id, round, sdp) => {
                    self.input(id, Input::AnswerRestart(round, sdp));
                }
                Action::AcceptRestart(id, round, sdp) => {
                    self.input(id, Input::AcceptRestart(round, sdp));
                }
                Action::AddCandidate(id, candidate) => self.input(id, Input::Candidate(candidate)),
                Action::Drop(id) => {
                    // Its task closes the connection and ends.
                    self.running.take_if(|running| running.id == id);
                }
                Action::Send(signal) => {
                    let named = (self.name.clone(), self.notary.sign(signal));
                    if self.links.outbound.send(named).await.is_err() {
                        tracing::debug!(peer = self.name, "signaling has ended");
                    }
                }
                Action::State(state) => {
                    tracing::debug!(peer = self.name, ?state, "peer");
                    let peer = self.name.clone();
                    self.event(PeerEvent::State { peer, state }).await;
                }
            }
        }
    }

    fn begin(&mut self, id: AttemptId, begin: Begin) {
        let (input, inputs) = mpsc::channel(QUEUE);
        let stop = CancellationToken::new();
        let config = self.links.config.peer.clone();
        let reports = self.report.clone();
        let stopped = stop.clone();
        self.links.tasks.spawn(async move {
            Box::pin(attempt::run(id, begin, config, inputs, reports, stopped)).await;
        });
        self.running = Some(Running {
            id,
            input,
            _stop: stop.drop_guard(),
        });
    }

    fn input(&self, id: AttemptId, input: Input) {
        if let Some(running) = self.running.as_ref().filter(|running| running.id == id)
            && running.input.try_send(input).is_err()
        {
            tracing::debug!(
                peer = self.name,
                "a connection takes no more from signaling"
            );
        }
    }

    async fn event(&self, event: PeerEvent) {
        // An application that has let go of its end does not want to know.
        let _ = self.links.events.send(event).await;
    }
}
