//! The offers of members.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use warp_link::Carrier;
use warp_link::peer::PeerConfig;
use warp_link_core::Identity;
use warp_link_driver::{Answering, Room, RoomKeys};
use warp_protocol::hosting::Member;
use warp_protocol::identity::RefusedReason;
use warp_protocol::signal::{ClientSignal, ServerSignal};

use crate::plane::Plane;

/// A member's session, as far as this host is in it.
struct MemberRoom {
    member: Member,
    keys: RoomKeys,
    plane: Arc<Plane>,
    stop: CancellationToken,
}

impl Room for MemberRoom {
    fn id(&self) -> &str {
        &self.member.session_id
    }

    fn keys(&self) -> &RoomKeys {
        &self.keys
    }

    fn takes_offers(&self) -> bool {
        true
    }

    fn stop(&self) -> &CancellationToken {
        &self.stop
    }

    fn attach(&self, carrier: Carrier) {
        let stop = self.stop.clone();
        self.plane
            .attach_member(&self.member.peer_id, carrier, stop);
    }

    fn refuse(&self, reason: RefusedReason) {
        let session = self.member.session_id.as_str();
        tracing::warn!(session, reason = reason.name(), "refused at the host");
    }
}

struct Served {
    member: Member,
    answering: Answering,
    stop: CancellationToken,
}

/// Everybody who is served.
pub(crate) struct Members {
    plane: Arc<Plane>,
    ours: Identity,
    config: PeerConfig,
    tasks: TaskTracker,
    /// At most as many as the plane's forwarder takes.
    served: HashMap<String, Served>,
}

impl Members {
    pub(crate) fn new(plane: Arc<Plane>, ours: Identity, config: PeerConfig) -> Self {
        Self {
            plane,
            ours,
            config,
            tasks: TaskTracker::new(),
            served: HashMap::new(),
        }
    }

    /// The signaling socket is open again, and the coordinator names all members now.
    pub(crate) fn on_signaling(&mut self) {
        self.plane.on_signaling();
    }

    /// Ends those whom the plane let go.
    pub(crate) fn look(&mut self) {
        while let Some(peer_id) = self.plane.poll_gone() {
            tracing::debug!(peer = &*peer_id, "a member went unheard");
            if let Some(served) = self.served.remove(&*peer_id) {
                served.stop.cancel();
            }
        }
    }

    /// Carries a member from now on, or under another epoch.
    pub(crate) fn serve(&mut self, member: Member, outbox: mpsc::Sender<ClientSignal>) {
        let taken = self.plane.serve(&member);
        self.look();
        if let Err(refused) = taken {
            tracing::warn!(session = member.session_id, %refused, "a member was not taken");
            return;
        }
        if let Some(served) = self.served.get_mut(&member.peer_id) {
            let same = served.member.session_id == member.session_id
                && served.member.device_key == member.device_key;
            if same {
                served.member = member;
                return;
            }
            // Another session of the same name: its connection is not this one's.
            served.stop.cancel();
        }
        let stop = CancellationToken::new();
        let room = MemberRoom {
            member: member.clone(),
            keys: RoomKeys {
                ours: self.ours.clone(),
                theirs: member.device_key,
                signed_offers: true,
            },
            plane: Arc::clone(&self.plane),
            stop: stop.clone(),
        };
        let (tasks, config) = (self.tasks.clone(), self.config.clone());
        let answering = Answering::new(Arc::new(room), tasks, outbox, config);
        let peer_id = member.peer_id.clone();
        let served = Served {
            member,
            answering,
            stop,
        };
        self.served.insert(peer_id, served);
    }

    /// Carries a member no longer.
    pub(crate) fn unserve(&mut self, peer_id: &str) {
        if let Some(served) = self.served.remove(peer_id) {
            served.stop.cancel();
        }
        self.plane.unserve(peer_id);
    }

    /// Carries no longer those of zones that `allowed` does not have.
    pub(crate) fn keep_zones(&mut self, allowed: &[String]) {
        let others = self.served.iter().filter(|(_, served)| {
            let zone = &served.member.zone_id;
            !allowed.contains(zone)
        });
        let others: Vec<String> = others.map(|(peer_id, _)| peer_id.clone()).collect();
        for peer_id in others {
            self.unserve(&peer_id);
        }
    }

    /// Carries nobody any more.
    pub(crate) fn clear(&mut self) {
        self.keep_zones(&[]);
    }

    /// A message of a member; false: it is none.
    pub(crate) fn on_signal(&mut self, from: &str, signal: ServerSignal) -> bool {
        let Some(served) = self.served.get_mut(from) else {
            return false;
        };
        served.answering.on_signal(signal);
        true
    }

    /// Waits until all connections are closed.
    pub(crate) async fn gone(mut self) {
        self.clear();
        self.tasks.close();
        self.tasks.wait().await;
    }
}
