//! End-to-end sealing of lanes from one to many.
//!
//! A player's frames go to everybody in the zone through whoever forwards them. Each member seals
//! with a key of its own, the *sender key*, which every other member gets handed over. Who forwards
//! sees heads and lengths, reads nothing, and can change nothing unnoticed.
//!
//! One [`Lane`] is one member's end for one membership. It is fed rosters, frames, messages and the
//! time; it has no IO, no clock and no randomness but its seed. After every call drain
//! [`Lane::poll_message`] until it is empty, then sleep until [`Lane::poll_timeout`].
//!
//! # What everything begins with
//! Numbers are big-endian. Versions and suites are not negotiated: there is one of each, it is part of
//! what is sealed and signed, and anything else is refused as [`Refusal::Downgraded`].
//!
//! | bytes | field |
//! |---|---|
//! | 0 | version, 1 |
//! | 1 | kind: 1 frame, 2 handover, 3 confirmation |
//! | 2 | suite, 1: X25519, HKDF-SHA256, AES-256-GCM, Ed25519 |
//! | 3..11 | zone: first 8 bytes of SHA-256 over `warp sealing zone 1`, coordinator and zone id, each with its length in front (8 bytes) |
//! | 11..15 | zone epoch |
//! | 15..19 | key epoch of the key's owner, from 1 |
//! | 19..23 | sender |
//!
//! **Frame**: 23..31 counter, from 0; then the payload under AES-256-GCM, then 16 bytes of tag. Bytes
//! 0..31 are the associated data. The nonce is key epoch and counter, 12 bytes: under one key no
//! counter comes twice, and a key that has come to its limit seals nothing any more.
//!
//! **Handover**, 171 bytes: 23..27 recipient; 27..59 encapsulated key, 59..107 the sender key (32
//! bytes and tag), sealed by HPKE (RFC 9180, base mode; DHKEM(X25519, HKDF-SHA256), HKDF-SHA256,
//! AES-256-GCM) to the recipient's session key with bytes 0..27 as associated data; 107..171 Ed25519
//! signature of the sender's device.
//!
//! **Confirmation**, 91 bytes: 23..27 the owner of the key; 27..91 signature of the sender's device.
//!
//! HPKE's `info` and the signed texts begin with their purpose (`warp sealing sender key 1`,
//! `... handover 1`, `... confirm 1`) and bind the whole zone digest, and of sender and recipient the
//! revision of joining, the device key and the session key; then the signed texts have all bytes
//! before the signature.
//!
//! **In a roster** each member stands with a voucher, 64 bytes: the signature of its device over
//! `warp sealing session key 1`, zone digest, member id, revision of joining and session key. A member
//! without a good one is not taken for a member, see [`Refusal::Unvouched`].
//!
//! # When keys change
//! 1. **Somebody left** (or the zone epoch has risen): at once. The next frame is sealed with a new
//!    key. Members who have not got it yet miss that frame, which a lane without delivery may do;
//!    that the one who left reads it may not be.
//! 2. **Somebody joined**: those of one second share a change. The new key goes to everybody; the
//!    newcomers never get the old one.
//! 3. **Every [`LaneConfig::key_interval`]**, after 15/16 of [`LaneConfig::frames_per_key`] (at the
//!    limit itself without waiting), and by [`Lane::rotate`].
//!
//! In 2 and 3 the new key is used when all have confirmed it, or after [`LaneConfig::switch_after`].
//! Receivers keep the key before for [`LaneConfig::overlap`] after the new one has come, which is
//! longer than that, by the time that a frame may be under way. A lane makes its first key with
//! its first frame, or by [`Lane::rotate`] before, so members who never send hand nothing over.
//!
//! Handovers are sent again after 0.25, 0.5, 1, 2, 4 and then every 8 s until they are confirmed.
//!
//! # What is wiped
//! A sender key that is not current any more, receivers' keys after the overlap and of members who
//! left, everything when this member left. Keys come from a seed that overwrites itself with every
//! draw, so they cannot be made again from what is in memory later. The session key lives as long as
//! the lane: who takes it from memory and has recorded the handovers can read this membership.
//!
//! # Refusals
//! [`Refusal`] is closed, has stable codes, and each is counted. The checks come in this order: length,
//! version and suite, kind, zone, zone epoch, reflection, (recipient,) sender, key epoch, replay,
//! authenticity. Only what is authentic moves a replay window or takes a key's place. Rosters are the
//! coordinator's and have errors of their own; of their members only the voucher is checked.
//!
//! # Numbers
//! | what | value | source |
//! |---|---|---|
//! | key interval | 3600 s | `KeyRotationInterval` of the seeds |
//! | frames per key | 2^20 | architecture, section 5; NIST SP 800-38D 8.3 allows 2^32 |
//! | replay window | 1024 frames per key | ten seconds at 100 frames a second |
//! | switch, overlap | 2 s, 5 s | a few round trips on a bad path with a lost message; that and 3 s for what is under way |
//! | keys held per sender | 4 | three changes within an overlap: three members who leave |
//! | members | 256 | issue 4 wants 200 |
//! | frame, payload | 1200, 1153 bytes | one carrier datagram |
//! | memory | [`Lane::budget`] | below 1.5 MiB with 256 members |
//!
//! Everything is bounded by the members: per member at most four keys, one handover on its way and
//! one confirmation owed, the newest of each. More members than the configured number are refused
//! with the whole roster.
//!
//! # What it does not do
//! * A sender key is symmetric: a *member* could seal a frame in another member's name for third
//!   ones. Whoever forwards knows from which link a frame came, and has to compare its sender.
//! * It hides neither who sends, nor when, nor how much.
//! * It does not limit how many messages a member sends; one costs a signature check, a handover an
//!   HPKE opening too. That is for the carrier, like the rate of frames.
//! * It believes the roster: who is in it is the coordinator's word, whose device is whose is proven
//!   by certificates before it gets here. Whose session key is whose it proves itself.

mod config;
mod handover;
mod key;
mod lane;
mod peer;
mod refusal;
mod roster;
mod seed;
mod sending;
mod window;
mod wire;

pub use config::{ConfigError, LaneConfig, MAX_FRAMES_PER_KEY, MAX_MEMBERS};
pub use handover::{DeviceKey, NotEd25519};
pub use lane::{Counts, Lane, Opened, SealError};
pub use peer::{MAX_KEYS, PEER_BUDGET};
pub use refusal::{Refusal, Refusals};
pub use roster::{Member, MemberId, Roster, RosterError, Zone};
pub use window::WINDOW;
pub use wire::{CONFIRM_LEN, FRAME_OVERHEAD, HANDOVER_LEN, MAX_FRAME, MAX_PAYLOAD};
