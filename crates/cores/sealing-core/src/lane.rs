//! One member's end of a lane.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use ring::digest::SHA256;

use crate::config::{ConfigError, LaneConfig};
use crate::handover::{DeviceKey, Route, SessionKey};
use crate::key::{ReceiverKey, SenderKey};
use crate::peer::{PEER_BUDGET, Peer};
use crate::refusal::{Refusal, Refusals};
use crate::roster::{Member, MemberId, Roster, RosterError, Zone};
use crate::seed::Seed;
use crate::sending::Sending;
use crate::wire::{Common, FRAME_HEAD, Frame, Kind, MAX_FRAME, MAX_PAYLOAD, Message};

/// Why nothing is sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// No roster names this member (any more).
    #[error("this member is not in the zone's roster")]
    NotMember,
    /// More than [`MAX_PAYLOAD`](crate::MAX_PAYLOAD) bytes.
    #[error("the payload is longer than a frame can hold")]
    TooLong,
    /// There is no further key epoch: 2^32 changes of key.
    #[error("the key epochs are used up; join anew")]
    Exhausted,
}

/// A frame that was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opened<'a> {
    /// Whose key it was sealed with.
    pub sender: MemberId,
    /// Which of that member's keys.
    pub key_epoch: u32,
    /// Which frame under that key; they may come in any order.
    pub counter: u64,
    /// What was sealed.
    pub payload: &'a [u8],
}

/// What a lane has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Frames sealed.
    pub sealed: u64,
    /// Frames opened.
    pub opened: u64,
    /// Sender keys made.
    pub keys_made: u64,
    /// Handovers sent, repetitions too.
    pub handovers_sent: u64,
    /// Handovers taken.
    pub handovers_taken: u64,
    /// Members whose session key nothing can be sealed to; they get no key.
    pub unreachable: u64,
}

/// One member's end of a lane. See the crate's documentation.
pub struct Lane {
    config: LaneConfig,
    zone: Zone,
    zone_epoch: u32,
    revision: Option<u64>,
    id: MemberId,
    device: Arc<DeviceKey>,
    session: SessionKey,
    seed: Seed,
    /// This member as the roster has it; `None`: not a member.
    own: Option<Member>,
    sending: Sending,
    peers: BTreeMap<MemberId, Peer>,
    /// Members for whom something is to be sent now.
    due: BTreeSet<MemberId>,
    counts: Counts,
    refusals: Refusals,
    sealed: Vec<u8>,
    opened: Vec<u8>,
}

impl Lane {
    /// A lane for one membership, which begins with the first [`Lane::set_roster`] that names `id`
    /// with this device and this lane's session key, see [`Lane::member`]. `seed` is random.
    ///
    /// # Errors
    /// A number in the configuration is out of range.
    pub fn new(
        config: LaneConfig,
        zone: Zone,
        id: MemberId,
        device: Arc<DeviceKey>,
        seed: [u8; 32],
    ) -> Result<Self, ConfigError> {
        config.check()?;
        let mut seed = Seed::new(seed);
        let session = SessionKey::new(&mut seed);
        Ok(Self {
            config,
            zone,
            zone_epoch: 0,
            revision: None,
            id,
            device,
            session,
            seed,
            own: None,
            sending: Sending::default(),
            peers: BTreeMap::new(),
            due: BTreeSet::new(),
            counts: Counts::default(),
            refusals: Refusals::default(),
            sealed: Vec::with_capacity(MAX_FRAME),
            opened: Vec::with_capacity(MAX_FRAME),
        })
    }

    /// This member as it is to stand in rosters, with the public key that the others hand their keys
    /// over to, signed by its device. `joined` is the coordinator's to say.
    pub fn member(&self, joined: u64) -> Member {
        Member::vouched(
            &self.zone,
            self.id,
            joined,
            self.session.public,
            &self.device,
        )
    }

    // ---- members

    /// Follows a roster.
    ///
    /// Whoever is gone, or has another session key, device or time of joining than before, is
    /// forgotten; a new sender key is used from the next frame on. For those who have joined there
    /// is a new one after [`LaneConfig::gather`]. A roster without this member wipes everything.
    /// A member whose device did not sign its session key is taken for one who is not there, and
    /// counted as [`Refusal::Unvouched`]: nobody can hold up a roster with it.
    ///
    /// # Errors
    /// The roster is not newer, too large, or names somebody twice; the lane stays as it was.
    pub fn set_roster(&mut self, roster: &Roster, now: Instant) -> Result<(), RosterError> {
        if self
            .revision
            .is_some_and(|known| roster.revision <= known || roster.zone_epoch < self.zone_epoch)
        {
            return Err(RosterError::Stale);
        }
        if roster.members.len() > self.config.max_members {
            return Err(RosterError::TooMany);
        }
        let named: BTreeMap<MemberId, &Member> = roster.members.iter().map(|m| (m.id, m)).collect();
        if named.len() != roster.members.len() {
            return Err(RosterError::Twice);
        }
        self.revision = Some(roster.revision);
        let anew = self.zone_epoch != roster.zone_epoch;
        self.zone_epoch = roster.zone_epoch;

        let own = named
            .get(&self.id)
            .copied()
            .filter(|own| own.session == self.session.public && own.device == self.device.public());
        let Some(own) = own else {
            self.leave();
            return Ok(());
        };
        let rejoined = self.own.is_some_and(|known| known != *own);
        self.own = Some(*own);

        let before = self.peers.len();
        self.peers
            .retain(|id, peer| named.get(id) == Some(&&peer.member));
        let left = self.peers.len() != before;
        if anew {
            self.peers.values_mut().for_each(Peer::drop_keys);
        }
        let mut joined = Vec::new();
        for (id, member) in named {
            if id == self.id || self.peers.contains_key(&id) {
                continue;
            }
            if !member.is_vouched(&self.zone) {
                self.refusals.count(Refusal::Unvouched);
                continue;
            }
            self.peers.insert(id, Peer::new(*member));
            joined.push(id);
        }
        self.due.retain(|id| self.peers.contains_key(id));
        if self.sending.newest().is_none() {
            return Ok(());
        }
        if left || anew || rejoined {
            self.new_key(true, now);
        } else if !joined.is_empty() {
            self.welcome(&joined, now);
        }
        Ok(())
    }

    /// True while a roster names this member.
    pub fn is_member(&self) -> bool {
        self.own.is_some()
    }

    /// Wipes every key.
    fn leave(&mut self) {
        self.own = None;
        let last_epoch = self.sending.last_epoch;
        self.sending = Sending {
            last_epoch,
            ..Sending::default()
        };
        self.peers.clear();
        self.due.clear();
    }

    /// Members have joined. A key that nothing was sealed with yet is as good as a new one.
    fn welcome(&mut self, joined: &[MemberId], now: Instant) {
        if self.sending.next.is_some() {
            for id in joined {
                if let Some(peer) = self.peers.get_mut(id) {
                    peer.owe_key(now);
                    self.due.insert(*id);
                }
            }
        } else {
            let until = now + self.config.gather;
            self.sending.gather_until.get_or_insert(until);
        }
    }

    // ---- this member's key

    /// A new sender key now, used as soon as everybody has it. Before the first frame this prepares
    /// the lane, so that the others can read it.
    pub fn rotate(&mut self, now: Instant) {
        if self.own.is_some() {
            self.new_key(false, now);
        }
    }

    /// Makes a key and hands it to everybody; `at_once`: the old one may not be used any more.
    fn new_key(&mut self, at_once: bool, now: Instant) {
        self.sending.gather_until = None;
        self.sending.made_at = Some(now);
        let Some(epoch) = self.sending.last_epoch.checked_add(1) else {
            // Rather silent than under a key that somebody has who should not.
            if at_once {
                (self.sending.current, self.sending.next) = (None, None);
            }
            return;
        };
        self.sending.last_epoch = epoch;
        self.counts.keys_made += 1;
        let key = SenderKey::new(epoch, self.seed.bytes(), self.config.frames_per_key);
        for (id, peer) in &mut self.peers {
            peer.owe_key(now);
            self.due.insert(*id);
        }
        if at_once || self.sending.current.is_none() || self.peers.is_empty() {
            self.sending.current = Some(key);
            self.sending.next = None;
        } else {
            self.sending.next = Some((key, now + self.config.switch_after));
        }
    }

    // ---- frames

    /// Seals a payload for all members; the frame is lent until the next call.
    ///
    /// # Errors
    /// See [`SealError`]; nothing was sealed.
    pub fn seal(&mut self, payload: &[u8], now: Instant) -> Result<&[u8], SealError> {
        if self.own.is_none() {
            return Err(SealError::NotMember);
        }
        if payload.len() > MAX_PAYLOAD {
            return Err(SealError::TooLong);
        }
        self.sending.switch_if_due(now);
        match self.sending.current.as_deref().map(SenderKey::sealed) {
            None => self.new_key(true, now),
            Some(sealed) if sealed >= self.config.frames_per_key => {
                if self.sending.next.is_some() {
                    self.sending.switch();
                } else {
                    self.new_key(true, now);
                }
            }
            Some(sealed) if sealed >= self.config.early() && self.sending.next.is_none() => {
                self.new_key(false, now);
            }
            Some(_) => {}
        }
        let zone = self.zone.tag();
        let key = self.sending.current.as_mut().ok_or(SealError::Exhausted)?;
        let common = Common {
            zone,
            zone_epoch: self.zone_epoch,
            key_epoch: key.epoch,
            sender: self.id,
        };
        let counter = key.next_counter().ok_or(SealError::Exhausted)?;
        self.sealed.clear();
        common.write_frame(counter, &mut self.sealed);
        self.sealed.extend_from_slice(payload);
        key.seal(&mut self.sealed, FRAME_HEAD)
            .ok_or(SealError::Exhausted)?;
        self.counts.sealed += 1;
        Ok(&self.sealed)
    }

    /// Opens a frame of another member; the payload is lent until the next call.
    ///
    /// # Errors
    /// Why it is refused, which is also counted. A refused frame changes nothing else.
    pub fn open(&mut self, frame: &[u8], now: Instant) -> Result<Opened<'_>, Refusal> {
        match self.try_open(frame, now) {
            Ok((sender, key_epoch, counter)) => {
                self.counts.opened += 1;
                Ok(Opened {
                    sender,
                    key_epoch,
                    counter,
                    payload: &self.opened,
                })
            }
            Err(refusal) => {
                self.refusals.count(refusal);
                Err(refusal)
            }
        }
    }

    fn try_open(&mut self, frame: &[u8], now: Instant) -> Result<(MemberId, u32, u64), Refusal> {
        let frame = Frame::read(frame)?;
        let common = frame.common;
        self.check_common(&common)?;
        let peer = self
            .peers
            .get_mut(&common.sender)
            .ok_or(Refusal::UnknownSender)?;
        peer.key(common.key_epoch, now)?
            .open(&frame, &mut self.opened)?;
        Ok((common.sender, common.key_epoch, frame.counter))
    }

    /// What frames and messages have in common.
    fn check_common(&self, common: &Common) -> Result<(), Refusal> {
        if common.zone != self.zone.tag() {
            return Err(Refusal::CrossZone);
        }
        if common.zone_epoch < self.zone_epoch {
            return Err(Refusal::StaleZoneEpoch);
        }
        if common.zone_epoch > self.zone_epoch {
            return Err(Refusal::UnknownEpoch);
        }
        if common.sender == self.id {
            return Err(Refusal::Reflected);
        }
        Ok(())
    }

    // ---- messages

    /// A message of another member has come: a handover or a confirmation.
    ///
    /// # Errors
    /// Why it is refused, which is also counted. A refused message changes nothing else.
    pub fn handle_message(&mut self, message: &[u8], now: Instant) -> Result<(), Refusal> {
        let result = self.take_message(message, now);
        if let Err(refusal) = result {
            self.refusals.count(refusal);
        }
        result
    }

    fn take_message(&mut self, bytes: &[u8], now: Instant) -> Result<(), Refusal> {
        let message = Message::read(bytes)?;
        self.check_common(&message.common)?;
        if message.recipient != self.id {
            return Err(Refusal::Misdirected);
        }
        match message.kind {
            Kind::Handover => self.on_handover(bytes, &message, now),
            Kind::Frame | Kind::Confirm => self.on_confirm(&message),
        }
    }

    fn on_handover(
        &mut self,
        bytes: &[u8],
        message: &Message<'_>,
        now: Instant,
    ) -> Result<(), Refusal> {
        let sender = message.common.sender;
        let epoch = message.common.key_epoch;
        let (Some(own), Some(peer)) = (&self.own, self.peers.get_mut(&sender)) else {
            return Err(Refusal::UnknownSender);
        };
        let mut digest = [0; 32];
        digest.copy_from_slice(ring::digest::digest(&SHA256, bytes).as_ref());
        let new = peer.judge(epoch, &digest)?;
        if new {
            let route = Route {
                zone: &self.zone,
                from: &peer.member,
                to: own,
            };
            route.verify(message)?;
            let key = route.take_key(message, &self.session)?;
            peer.expire(now);
            peer.take(
                ReceiverKey::new(epoch, &key),
                digest,
                now + self.config.overlap,
            );
            self.counts.handovers_taken += 1;
        }
        // The confirmation of the first one may be lost.
        peer.owed = Some(epoch);
        self.due.insert(sender);
        Ok(())
    }

    fn on_confirm(&mut self, message: &Message<'_>) -> Result<(), Refusal> {
        let sender = message.common.sender;
        let (Some(own), Some(peer)) = (&self.own, self.peers.get_mut(&sender)) else {
            return Err(Refusal::UnknownSender);
        };
        let newest = self.sending.newest().map_or(0, |key| key.epoch);
        match message.common.key_epoch {
            epoch if epoch > newest => return Err(Refusal::UnknownEpoch),
            epoch if epoch < newest => return Err(Refusal::Expired),
            _ => {}
        }
        let route = Route {
            zone: &self.zone,
            from: &peer.member,
            to: own,
        };
        route.verify(message)?;
        peer.pending = None;
        if self.peers.values().all(|peer| peer.pending.is_none()) {
            self.sending.switch();
        }
        Ok(())
    }

    /// The next message to send, and to whom. Any way will do, also one that loses, doubles and
    /// reorders: what is not confirmed is sent again.
    pub fn poll_message(&mut self, now: Instant) -> Option<(MemberId, Vec<u8>)> {
        while let Some(id) = self.due.pop_first() {
            let (Some(own), Some(peer)) = (&self.own, self.peers.get_mut(&id)) else {
                continue;
            };
            let common = |key_epoch| Common {
                zone: self.zone.tag(),
                zone_epoch: self.zone_epoch,
                key_epoch,
                sender: own.id,
            };
            let member = peer.member;
            let route = Route {
                zone: &self.zone,
                from: own,
                to: &member,
            };
            if let Some(epoch) = peer.owed.take() {
                // There may be a handover for the same member.
                self.due.insert(id);
                return Some((id, route.confirm(common(epoch), &self.device)));
            }
            let (Some(pending), Some(key)) = (&mut peer.pending, self.sending.newest()) else {
                continue;
            };
            if pending.next > now {
                continue;
            }
            if pending.message.is_none() {
                pending.message =
                    route.handover(common(key.epoch), key.bytes(), &self.device, &mut self.seed);
            }
            if let Some(message) = pending.message.clone() {
                pending.sent(now);
                self.counts.handovers_sent += 1;
                return Some((id, message));
            }
            // Nothing can be sealed to it, now or later; it holds nobody up.
            peer.pending = None;
            self.counts.unreachable += 1;
        }
        None
    }

    // ---- time

    /// When to call [`Lane::handle_timeout`] next, and why.
    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        let sending = &self.sending;
        let interval = match (&sending.current, &sending.next, sending.made_at) {
            (Some(_), None, Some(made)) => Some(made + self.config.key_interval),
            _ => None,
        };
        let peers = self.peers.values().flat_map(Peer::deadlines).min();
        [
            (interval, "key interval"),
            (sending.next.as_ref().map(|(_, at)| *at), "key switch"),
            (sending.gather_until, "members joined"),
            (peers, "handovers and old keys"),
        ]
        .into_iter()
        .filter_map(|(at, why)| Some((at?, why)))
        .min_by_key(|(at, _)| *at)
    }

    /// The deadline of [`Lane::poll_timeout`] has come.
    pub fn handle_timeout(&mut self, now: Instant) {
        for (id, peer) in &mut self.peers {
            peer.expire(now);
            if peer
                .pending
                .as_ref()
                .is_some_and(|pending| pending.next <= now)
            {
                self.due.insert(*id);
            }
        }
        self.sending.switch_if_due(now);
        let sending = &self.sending;
        let gathered = sending.gather_until.is_some_and(|until| now >= until);
        let old = sending.current.is_some()
            && sending
                .made_at
                .is_some_and(|made| now >= made + self.config.key_interval);
        if (gathered || old) && sending.next.is_none() {
            self.new_key(false, now);
        }
    }

    // ---- views

    /// The epoch of the key that the next frame is sealed with; `None` before the first.
    pub fn key_epoch(&self) -> Option<u32> {
        self.sending.current.as_ref().map(|key| key.epoch)
    }

    /// Members who have not confirmed the newest key.
    pub fn unconfirmed(&self) -> usize {
        let pending = |peer: &&Peer| peer.pending.is_some();
        self.peers.values().filter(pending).count()
    }

    /// Keys of others that are held.
    pub fn keys_held(&self) -> usize {
        self.peers.values().map(Peer::keys).sum()
    }

    /// What was done.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// What was refused.
    pub fn refusals(&self) -> &Refusals {
        &self.refusals
    }

    /// Bytes that this lane holds, without the allocator's own.
    pub fn bytes(&self) -> usize {
        let peers: usize = self.peers.values().map(Peer::bytes).sum();
        let ids = self.due.len() * size_of::<MemberId>();
        size_of::<Self>() + peers + ids + self.sealed.capacity() + self.opened.capacity()
    }

    /// The most that [`Lane::bytes`] comes to with so many members.
    pub const fn budget(members: usize) -> usize {
        size_of::<Self>() + members * PEER_BUDGET + 2 * MAX_FRAME
    }
}

impl std::fmt::Debug for Lane {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lane")
            .field("id", &self.id)
            .field("zone_epoch", &self.zone_epoch)
            .field("members", &self.peers.len())
            .finish_non_exhaustive()
    }
}
