//! An operator moves a session.

use std::time::Duration;

use warp_protocol::hosting::HostsReason;

use super::{Fleet, WAYS, choice::Mode, leases::Change};

impl Fleet {
    /// Moves a session off the hosts that it has: to others as far as there are any, or, with
    /// `to_endpoint`, to none. False if no session of that id is carried by the fleet.
    pub fn move_session(&mut self, now: Duration, session_id: &str, to_endpoint: bool) -> bool {
        let Some(session) = self.sessions.get_mut(session_id) else {
            return false;
        };
        session.held = to_endpoint;
        let shunned = now + self.limits.shun;
        let had = session.ways.iter().flatten();
        let had: Vec<String> = had.map(|place| place.host_id.clone()).collect();
        for host_id in had {
            session.avoid.insert(host_id, shunned);
        }
        let change = Change {
            reason: HostsReason::Policy,
            grace: self.limits.grace,
        };
        for way in 0..WAYS {
            let to = self.pick(now, session_id, Some(way), Mode::Spread);
            let to = to.map(|picked| picked.host_id);
            self.move_way(now, session_id, way, to, change);
        }
        self.tell(session_id, change.reason);
        true
    }
}
