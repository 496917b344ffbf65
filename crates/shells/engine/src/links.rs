//! The session links of one play: that of the chosen zone, and those of visits.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::task::TaskTracker;
use warp_engine_core::config::{Config, RedundantSending};
use warp_engine_core::event::ConsoleAnswer;
use warp_engine_core::machine::{LinkId, Outcome};
use warp_link::WrapCarrier;
use warp_link_driver::{LinkCounters, LinkHandle};
use warp_protocol::carrier::PathKind;
use warp_protocol::rest::{IceServer, SessionGrant};
use warp_protocol::zone::ZoneView;
use warp_protocol::{Problem, ProblemCode};

use crate::coordinator::Coordinator;
use crate::network;
use crate::outbox::Outbox;
use crate::session::Session;

/// What is held of one link.
#[derive(Default)]
struct Held {
    /// Granted, and not yet a session.
    granted: Option<SessionGrant>,
    session: Option<Session>,
}

/// Bounded by what the machine asks for: the chosen zone's link and those of six visits.
pub(crate) struct Links {
    coordinator: Arc<Coordinator>,
    config: Config,
    wrap: Option<WrapCarrier>,
    outbox: Outbox,
    /// Counts up when the network is another one.
    network: watch::Receiver<u64>,
    held: BTreeMap<LinkId, Held>,
    /// Of links that were closed: datagrams that were refused, and sent twice.
    ended: (u64, u64),
}

impl Links {
    /// The same without any link, for outcomes of another play.
    pub(crate) fn anew(&self, outbox: Outbox) -> Self {
        Self::new(
            self.coordinator.clone(),
            self.config.clone(),
            self.wrap.clone(),
            outbox,
        )
    }

    pub(crate) fn new(
        coordinator: Arc<Coordinator>,
        config: Config,
        wrap: Option<WrapCarrier>,
        outbox: Outbox,
    ) -> Self {
        Self {
            network: network::watch(coordinator.clone()),
            coordinator,
            config,
            wrap,
            outbox,
            held: BTreeMap::new(),
            ended: (0, 0),
        }
    }

    /// Asks for a session with our device key; the answer comes as an outcome.
    pub(crate) fn join(&mut self, link: LinkId, zone: String) {
        self.held.entry(link).or_default();
        let (coordinator, outbox) = (self.coordinator.clone(), self.outbox.clone());
        tokio::spawn(async move {
            let outcome = match coordinator.join(&zone).await {
                Ok(grant) => Outcome::Joined {
                    link,
                    grant: Box::new(grant),
                },
                Err(problem) => Outcome::LinkFailed {
                    link,
                    problem: about(problem, zone),
                },
            };
            outbox.send(outcome).await;
        });
    }

    /// A grant is kept even when it comes too late, so that it can be given back.
    pub(crate) fn granted(&mut self, link: LinkId, grant: &SessionGrant) {
        self.held.entry(link).or_default().granted = Some(grant.clone());
    }

    /// Starts the link of a session and its carriers.
    pub(crate) fn open(
        &mut self,
        link: LinkId,
        grant: SessionGrant,
    ) -> Result<LinkHandle, Problem> {
        let held = self.held.entry(link).or_default();
        let session = Session::open(
            link,
            self.coordinator.clone(),
            &self.config,
            grant,
            self.wrap.clone(),
            (&self.outbox, self.network.clone()),
        )?;
        let handle = session.link().clone();
        held.granted = None;
        held.session = Some(session);
        Ok(handle)
    }

    /// Starts the link to an endpoint of our own.
    pub(crate) fn open_plain(
        &mut self,
        link: LinkId,
        zone: &ZoneView,
    ) -> Result<LinkHandle, Problem> {
        let session = Session::plain(link, &self.config, zone, &self.outbox)?;
        let handle = session.link().clone();
        self.held.entry(link).or_default().session = Some(session);
        Ok(handle)
    }

    /// Closes a link and gives its session back, in `closing`. While the session is only being asked
    /// for there is nothing to close.
    pub(crate) fn close(&mut self, link: LinkId, closing: &TaskTracker) {
        let Some(held) = self.held.remove(&link) else {
            return;
        };
        let (coordinator, outbox) = (self.coordinator.clone(), self.outbox.clone());
        match (held.session, held.granted) {
            (Some(session), _) => {
                self.ended = add(self.ended, &session.link().counters());
                closing.spawn(async move {
                    session.close().await;
                    outbox.send(Outcome::LinkLeft { link }).await;
                });
            }
            (None, Some(grant)) => {
                closing.spawn(async move {
                    coordinator.leave(&grant.session_id).await;
                    outbox.send(Outcome::LinkLeft { link }).await;
                });
            }
            (None, None) => {}
        }
    }

    pub(crate) fn handle(&self, link: LinkId) -> Option<&LinkHandle> {
        let session = self.held.get(&link)?.session.as_ref()?;
        Some(session.link())
    }

    /// STUN and TURN servers of the sessions.
    pub(crate) fn ice_servers(&self) -> Vec<IceServer> {
        let sessions = self.held.values().filter_map(|held| held.session.as_ref());
        let servers = sessions.flat_map(|session| session.ice_servers());
        servers.cloned().collect()
    }

    /// Datagrams that were refused, and sent twice, over all links of this play.
    pub(crate) fn counted(&self) -> (u64, u64) {
        let sessions = self.held.values().filter_map(|held| held.session.as_ref());
        sessions.fold(self.ended, |sum, session| {
            add(sum, &session.link().counters())
        })
    }

    /// Moves the game to the standby on these links; tells of the first that moved.
    pub(crate) fn fail_over(&self, links: &[LinkId]) -> ConsoleAnswer {
        let handles = links.iter().filter_map(|link| self.handle(*link));
        // Each of them moves; only what is told is the first's.
        let moved: Vec<_> = handles.filter_map(LinkHandle::fail_over).collect();
        match moved.first() {
            Some((from, to)) => ConsoleAnswer::FailedOver {
                from: *from,
                to: *to,
            },
            None => ConsoleAnswer::NoStandby,
        }
    }

    /// Moves the game to this path on these links, or lets the best be chosen again.
    pub(crate) fn use_path(&self, links: &[LinkId], path: Option<PathKind>) -> ConsoleAnswer {
        let handles: Vec<_> = links.iter().filter_map(|link| self.handle(*link)).collect();
        if handles.is_empty() {
            return ConsoleAnswer::NotConnected;
        }
        let Some(path) = path else {
            handles.iter().for_each(|link| link.unbench());
            return ConsoleAnswer::Automatic;
        };
        let moved: Vec<_> = handles
            .iter()
            .filter_map(|link| link.use_path(path))
            .collect();
        match moved.first() {
            Some((from, to)) if from == to => ConsoleAnswer::Kept { path: *to },
            Some((from, to)) => ConsoleAnswer::FailedOver {
                from: *from,
                to: *to,
            },
            None => ConsoleAnswer::NoStandby,
        }
    }

    /// When small packets are sent twice, on every link from now on and on those of later.
    pub(crate) fn set_redundancy(&mut self, mode: RedundantSending) {
        self.config.p2p.redundant_sending = mode;
        for session in self.held.values().filter_map(|held| held.session.as_ref()) {
            session.link().set_redundancy(mode.into());
        }
    }

    /// When small packets are sent twice.
    pub(crate) fn redundancy(&self) -> RedundantSending {
        self.config.p2p.redundant_sending
    }

    /// Asks for new keys on these links.
    pub(crate) fn update_keys(&self, links: &[LinkId]) -> ConsoleAnswer {
        let mut answer = ConsoleAnswer::NotConnected;
        for link in links.iter().filter_map(|link| self.handle(*link)) {
            link.update_keys();
            answer = ConsoleAnswer::KeysUpdating;
        }
        answer
    }

    /// Opens the WebRTC carriers of these links anew.
    pub(crate) fn reconnect(&self, links: &[LinkId]) -> ConsoleAnswer {
        let mut answer = ConsoleAnswer::NotConnected;
        for link in links {
            if let Some(session) = self.held.get(link).and_then(|held| held.session.as_ref()) {
                session.link().unbench();
                if session.renew_direct() {
                    answer = ConsoleAnswer::Reconnecting;
                } else if answer == ConsoleAnswer::NotConnected {
                    answer = ConsoleAnswer::NoDirect;
                }
            }
        }
        answer
    }
}

fn add((refused, duplicated): (u64, u64), counters: &LinkCounters) -> (u64, u64) {
    // Of the second a part is the other side's word.
    (
        refused + counters.refused,
        duplicated.saturating_add(counters.duplicated),
    )
}

/// A problem of joining is about the zone, unless it names something closer.
fn about(mut problem: Problem, zone: String) -> Problem {
    let of_the_zone = matches!(
        problem.code,
        ProblemCode::UnknownZone | ProblemCode::ZoneClosed | ProblemCode::NotFound
    );
    if of_the_zone {
        problem.subject = zone;
    }
    problem
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_that_the_other_side_made_up_does_not_run_over() {
        let lie = LinkCounters {
            refused: 2,
            duplicated: u64::MAX,
            ..LinkCounters::default()
        };
        assert_eq!(add((1, 5), &lie), (3, u64::MAX));
    }
}
