//! Lanes of one zone, and messages that arrive at once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ring::signature::Ed25519KeyPair;
use warp_sealing_core::{DeviceKey, Lane, LaneConfig, MemberId, Roster, Zone};

pub(crate) struct Party {
    pub(crate) now: Instant,
    pub(crate) zone: Zone,
    pub(crate) roster: Roster,
    pub(crate) lanes: Vec<(MemberId, Lane)>,
    pub(crate) config: LaneConfig,
}

/// A device key that differs from others by its number.
pub(crate) fn device() -> Arc<DeviceKey> {
    let rng = ring::rand::SystemRandom::new();
    let der = Ed25519KeyPair::generate_pkcs8(&rng).unwrap();
    Arc::new(DeviceKey::from_pkcs8_der(der.as_ref()).unwrap())
}

impl Party {
    /// Members 1 to `count`, who have all been told of each other.
    pub(crate) fn new(count: u32, config: LaneConfig) -> Self {
        let mut party = Self {
            now: Instant::now(),
            zone: Zone::new(b"coordinator", "prontera"),
            roster: Roster {
                zone_epoch: 1,
                revision: 0,
                members: Vec::new(),
            },
            lanes: Vec::new(),
            config,
        };
        for id in 1..=count {
            party.add(id);
        }
        party.tell();
        party
    }

    /// Puts somebody in the roster, untold.
    pub(crate) fn add(&mut self, id: u32) {
        self.add_device(id, device());
    }

    /// The same with a device that is known.
    pub(crate) fn add_device(&mut self, id: u32, device: Arc<DeviceKey>) {
        let lane = Lane::new(
            self.config.clone(),
            self.zone,
            MemberId(id),
            device,
            [id as u8; 32],
        )
        .unwrap();
        let member = lane.member(self.roster.revision + 1);
        self.roster.members.push(member);
        self.lanes.push((MemberId(id), lane));
    }

    /// Takes somebody out of the roster, untold; the lane stays, as that of somebody who listens on.
    pub(crate) fn remove(&mut self, id: u32) {
        self.roster.members.retain(|m| m.id != MemberId(id));
    }

    /// Tells the roster to everybody in it.
    pub(crate) fn tell(&mut self) {
        self.roster.revision += 1;
        let roster = self.roster.clone();
        for (id, lane) in &mut self.lanes {
            if roster.members.iter().any(|m| m.id == *id) {
                lane.set_roster(&roster, self.now).unwrap();
            }
        }
    }

    pub(crate) fn lane(&mut self, id: u32) -> &mut Lane {
        let id = MemberId(id);
        &mut self.lanes.iter_mut().find(|(own, _)| *own == id).unwrap().1
    }

    /// The messages that a lane wants to send.
    pub(crate) fn messages(&mut self, from: u32) -> Vec<(MemberId, Vec<u8>)> {
        let now = self.now;
        let lane = self.lane(from);
        std::iter::from_fn(|| lane.poll_message(now)).collect()
    }

    /// Delivers messages until there are none.
    pub(crate) fn settle(&mut self) {
        loop {
            let ids: Vec<u32> = self.lanes.iter().map(|(id, _)| id.0).collect();
            let mut all = Vec::new();
            for id in ids {
                all.extend(self.messages(id));
            }
            if all.is_empty() {
                return;
            }
            for (to, message) in all {
                let now = self.now;
                self.lane(to.0).handle_message(&message, now).unwrap();
            }
        }
    }

    /// Time passes, in steps to every deadline, and messages arrive.
    pub(crate) fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            self.settle();
            let next = self
                .lanes
                .iter()
                .filter_map(|(_, lane)| lane.poll_timeout());
            let next = next.map(|(at, _)| at).min().filter(|at| *at <= end);
            let Some(next) = next else {
                self.now = end;
                return;
            };
            self.now = self.now.max(next);
            for (_, lane) in &mut self.lanes {
                lane.handle_timeout(self.now);
            }
        }
    }

    /// A frame of `from`.
    pub(crate) fn seal(&mut self, from: u32, payload: &[u8]) -> Vec<u8> {
        let now = self.now;
        self.lane(from).seal(payload, now).unwrap().to_vec()
    }

    /// What `to` makes of a frame.
    pub(crate) fn open(
        &mut self,
        to: u32,
        frame: &[u8],
    ) -> Result<Vec<u8>, warp_sealing_core::Refusal> {
        let now = self.now;
        let opened = self.lane(to).open(frame, now)?;
        Ok(opened.payload.to_vec())
    }
}
