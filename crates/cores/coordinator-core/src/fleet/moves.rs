//! An operator moves a session.

use std::time::Duration;

use warp_protocol::hosting::HostsReason;

use super::{CannotServe, Fleet, WAYS, choice::Mode, leases::Change};

impl Fleet {
    /// Moves a session off the hosts that it has: to others as far as there are any, or, with
    /// `to_endpoint`, to none. False if no session of that id is carried by the fleet.
    pub fn move_session(&mut self, now: Duration, session_id: &str, to_endpoint: bool) -> bool {
        if !self.sessions.contains_key(session_id) {
            return false;
        }
        self.lead_elsewhere(now, session_id, to_endpoint, None);
        true
    }

    /// Moves a session to this host and off those that it has; a further one is given to it beside as
    /// far as there is any.
    ///
    /// # Errors
    /// Why that cannot be; nothing has changed then.
    pub fn move_to_host(
        &mut self,
        now: Duration,
        session_id: &str,
        host_id: &str,
    ) -> Result<(), CannotServe> {
        if self.way_of(session_id, host_id).is_none() {
            self.may_take(now, session_id, host_id)?;
        }
        self.lead_elsewhere(now, session_id, false, Some(host_id));
        Ok(())
    }

    /// Leads all ways of a session away from its hosts; the first free one to `named`.
    fn lead_elsewhere(
        &mut self,
        now: Duration,
        session_id: &str,
        to_endpoint: bool,
        named: Option<&str>,
    ) {
        let shunned = now + self.limits.shun;
        let Some(session) = self.sessions.get_mut(session_id) else {
            return;
        };
        session.held = to_endpoint;
        let had = session.ways.iter().flatten();
        let had: Vec<String> = had.map(|place| place.host_id.clone()).collect();
        for host_id in had {
            session.avoid.insert(host_id, shunned);
        }
        let change = Change {
            reason: HostsReason::Policy,
            grace: self.limits.grace,
        };
        let mut stays = None;
        if let Some(named) = named {
            session.avoid.remove(named);
            stays = self.way_of(session_id, named);
            if stays.is_none() {
                // A host that it is just leaving would carry it twice.
                self.retire_of(session_id, named);
                self.move_way(now, session_id, 0, Some(named.to_owned()), change);
                stays = self.way_of(session_id, named);
            }
        }
        for way in (0..WAYS).filter(|way| Some(*way) != stays) {
            let to = self.pick(now, session_id, Some(way), Mode::Spread);
            let to = to.map(|picked| picked.host_id);
            self.move_way(now, session_id, way, to, change);
        }
        self.tell(session_id, change.reason);
    }
}
