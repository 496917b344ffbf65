//! What the fleet decides, carried out: by the endpoint, the hub, and the log.

use warp_coordinator_core::{
    FleetOutput,
    fleet::{FleetEvent, POLICY_LIFETIME, Routed},
};
use warp_endpoint::HostRoute;
use warp_protocol::{hosting::SignedPolicy, signal::ServerSignal};

use super::{Hosting, State};
use crate::{hub::Closing, tokens::unix_now, ws::close};

impl Hosting {
    pub(super) fn carry_out(&self, state: &mut State) {
        while let Some(output) = state.fleet.poll() {
            state.follow(&output);
            if state.let_go {
                if let FleetOutput::EndHost { room, .. } = &output {
                    // Frees its room here; the endpoint is not told.
                    self.endpoint.end_host(room);
                }
                continue;
            }
            match output {
                FleetOutput::Route(routed) => {
                    self.route_at_endpoint(&routed);
                    self.seat_host(state, routed);
                }
                FleetOutput::Held(routed) => self.seat_host(state, routed),
                FleetOutput::Unroute(routed) => {
                    self.endpoint.unroute(&routed.room, routed.slot);
                    let slot = (routed.room, routed.slot);
                    state.seats.remove(&slot);
                    let member = (routed.host_id, routed.peer_id);
                    if state.members.get(&member) == Some(&slot) {
                        state.members.remove(&member);
                    }
                }
                FleetOutput::ToHost { host_id, signal } => {
                    self.to_host(state, &host_id, signal);
                }
                FleetOutput::ToMember { session_id, signal } => {
                    self.to_member(state, &session_id, signal);
                }
                FleetOutput::PolicyToHost { host_id, zone_id } => {
                    if let Some(policy) = state.policy(self, &zone_id) {
                        self.to_host(state, &host_id, ServerSignal::Policy { policy });
                    }
                }
                FleetOutput::PolicyToMember {
                    session_id,
                    zone_id,
                } => {
                    if let Some(policy) = state.policy(self, &zone_id) {
                        self.to_member(state, &session_id, ServerSignal::Policy { policy });
                    }
                }
                FleetOutput::EndHost { host_id, room } => {
                    let hub = &self.hub;
                    state.places.retain(|_, place| {
                        let stays = place.room != room;
                        if !stays {
                            // Nobody is reached over it any more; the host has to register anew.
                            hub.expel(&place.peer_id, Closing::Ended);
                        }
                        stays
                    });
                    if let Some(carrier) = self.carriers.lock().remove(&room) {
                        carrier.stop(close::SESSION_ENDED);
                    }
                    self.endpoint.end_host(&room);
                    self.hub.close(&room);
                    tracing::info!(host = host_id, room, "host ended");
                }
                FleetOutput::Event(event) => {
                    self.recent.note(&event);
                    log(&event);
                }
            }
        }
    }

    pub(super) fn route_at_endpoint(&self, routed: &Routed) {
        let routed_to = HostRoute {
            host: routed.room.clone(),
            slot: routed.slot,
            epoch: routed.epoch,
            session_id: routed.session_id.clone(),
            way: routed.way,
        };
        if let Err(error) = self.endpoint.route(routed_to) {
            // The member finds that nothing comes through, reports it, and is given another.
            tracing::warn!(?routed, error, "the endpoint did not take a route");
        }
    }

    /// Gives a host its seat in the room of a member.
    fn seat_host(&self, state: &mut State, routed: Routed) {
        let Routed {
            session_id,
            host_peer,
            peer_id,
            ..
        } = &routed;
        match self.hub.connect_host(session_id, host_peer, peer_id) {
            Ok(seat) => {
                let slot = (routed.room, routed.slot);
                state.seats.insert(slot.clone(), seat);
                let member = (routed.host_id, routed.peer_id);
                state.members.insert(member, slot);
            }
            Err(error) => {
                tracing::warn!(?routed, %error, "a host could not enter a member's room");
            }
        }
    }

    fn to_host(&self, state: &State, host_id: &str, signal: ServerSignal) {
        if let Some(place) = state.places.get(host_id) {
            self.hub.send_to(&place.peer_id, signal);
        }
    }

    fn to_member(&self, state: &State, session_id: &str, signal: ServerSignal) {
        if let Some(peer_id) = state.peers.get(session_id) {
            self.hub.send_to(peer_id, signal);
        }
    }
}

impl State {
    /// The policy of a zone, signed; signed anew when it says something else, and when half of its
    /// time is over.
    pub(super) fn policy(&mut self, hosting: &Hosting, zone_id: &str) -> Option<SignedPolicy> {
        let now = u64::try_from(unix_now()).unwrap_or(0);
        let endpoints: Vec<_> = hosting.endpoint.known_key().into_iter().collect();
        let issued = self
            .policies
            .get(zone_id)
            .map_or(now, |(says, _)| says.issued);
        let same = self.fleet.policy(zone_id, &endpoints, issued)?;
        if let Some((says, signed)) = self.policies.get(zone_id)
            && *says == same
            && now < issued.saturating_add(POLICY_LIFETIME / 2)
        {
            return Some(signed.clone());
        }
        // Whoever has it takes none that was signed earlier, also when our clock was set back.
        let says = self.fleet.policy(zone_id, &endpoints, now.max(issued))?;
        let signed = hosting.authority.sign_policy(&says)?;
        self.policies
            .insert(zone_id.to_owned(), (says, signed.clone()));
        Some(signed)
    }
}

/// One line for each lease and move.
fn log(event: &FleetEvent) {
    match event {
        FleetEvent::LeaseGranted {
            zone_id,
            host_id,
            epoch,
        } => tracing::info!(zone = zone_id, host = host_id, epoch, "lease granted"),
        FleetEvent::LeaseEnded {
            zone_id,
            host_id,
            epoch,
            reason,
        } => tracing::info!(
            zone = zone_id,
            host = host_id,
            epoch,
            ?reason,
            "lease ended"
        ),
        FleetEvent::Moved {
            session_id,
            way,
            from,
            to,
            reason,
        } => {
            let session = session_id;
            tracing::info!(
                session,
                ?way,
                ?from,
                ?to,
                ?reason,
                "session moved between hosts"
            );
        }
        FleetEvent::HostOffline { host_id } => tracing::info!(host = host_id, "host is silent"),
        FleetEvent::Drained { host_id } => tracing::info!(host = host_id, "host is drained"),
        FleetEvent::StaleReport { session_id } => {
            tracing::debug!(session = session_id, "report about a lease that is no more");
        }
        FleetEvent::Contradicted {
            host_id,
            claim,
            said,
            found,
        } => tracing::warn!(
            host = host_id,
            claim = claim.name(),
            said,
            found,
            "what a host says of itself is not so: it is not believed for a while"
        ),
        FleetEvent::MemberReported {
            host_id,
            peer_id,
            verdict,
            dropped,
        } => tracing::warn!(
            host = host_id,
            member = peer_id,
            ?verdict,
            dropped,
            "member reported"
        ),
    }
}
