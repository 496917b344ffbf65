//! A connection that outlives its server: what is known of signing in, and the time without a server.

use std::sync::Arc;

use warp_protocol::carrier::PathKind;
use warp_protocol::stream::MessageKind;
use warp_ro_packet::{Framer, IdCipher, PacketTable, Role, announces_addresses};

use super::BridgeConnection;
use crate::event::{BridgeEvent, Level};
use crate::framing::{DOWN, UP, set_id};
use crate::gate::{Away, Gate, Passage};
use crate::message::ToServer;
use crate::recall::{NOTICE, Recorded, SessionIds, u16_at};
use crate::stage::Stage;

/// ZC_ACCEPT_ENTER of all versions.
pub(crate) const ACCEPT_ENTER: [u16; 3] = [0x0073, 0x02EB, 0x0A18];
/// A refusal, on a map connection of a packet that enters it.
pub(crate) const REFUSE_ENTER: u16 = 0x006A;
/// The way back to the character selection is free.
const RESTART_GRANTED: u16 = 0x00B3;
const QUIT_GRANTED: u16 = 0x018B;

/// Whether a connection that lost its server can be given another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// The client stands on a map.
    OnMap,
    /// The client was let in and loads a map. Whoever signs in now locks the account: wait for
    /// its 007D.
    Loading,
    /// No: it is no map connection, it is not read at *assist*, or the client has not been let in.
    Never,
    /// No: the server has said why it ends the session, or the client is on its way out.
    Over,
}

/// What the owner has to know of being away; see `gate`.
#[derive(Debug, Default)]
pub(super) struct Resume {
    pub(super) gate: Option<Gate>,
    /// The server has let the client onto a map.
    accepted: bool,
    /// The server has said a last word.
    farewell: bool,
    /// What the client's own session numbers have become.
    ids: Option<SessionIds>,
}

impl Resume {
    /// A packet of the map server went to the client.
    pub(super) fn server(&mut self, id: u16, packet: &[u8]) {
        self.accepted |= ACCEPT_ENTER.contains(&id);
        self.farewell |= [NOTICE, REFUSE_ENTER, RESTART_GRANTED].contains(&id)
            || announces_addresses(id)
            || (id == QUIT_GRANTED && u16_at(packet, 2) == Some(0));
    }

    /// Gives a packet that enters a char or map server the numbers that these know.
    pub(super) fn renew_ids(&self, role: Role, packet: &mut [u8]) {
        let Some(ids) = &self.ids else { return };
        let mut put = |at: usize, number: u32| {
            if let Some(place) = packet.get_mut(at..at + 4) {
                place.copy_from_slice(&number.to_le_bytes());
            }
        };
        match role {
            Role::Login => {}
            Role::Char => {
                put(6, ids.login_id1);
                put(10, ids.login_id2);
            }
            Role::Map => put(10, ids.login_id1),
        }
    }
}

impl BridgeConnection {
    /// The next thing that was seen of signing in, for the client's [`crate::Recall`].
    pub fn poll_recorded(&mut self) -> Option<Recorded> {
        self.recorder.poll()
    }

    /// From now on the packets that enter a char or map server carry these session numbers: the client
    /// does not know that it was signed in again.
    pub fn set_ids(&mut self, ids: SessionIds) {
        self.resume.ids = Some(ids);
    }

    /// Whether another server can be put behind the connection.
    #[must_use]
    pub fn standing(&self) -> Standing {
        if self.role != Role::Map || self.level != Level::Assist || self.framing.is_none() {
            return Standing::Never;
        }
        match self.stage {
            _ if self.resume.farewell => Standing::Over,
            Stage::Leaving => Standing::Over,
            _ if !self.resume.accepted => Standing::Never,
            Stage::Loading => Standing::Loading,
            Stage::Loaded | Stage::Playing => Standing::OnMap,
        }
    }

    /// The table that its packets are cut by; `None` on an opaque connection.
    #[must_use]
    pub fn table(&self) -> Option<Arc<PacketTable>> {
        let framing = self.framing.as_ref();
        framing.map(|framing| Arc::clone(&framing.table))
    }

    /// There is no server any more: what the client says waits or is dropped from now on (see the
    /// table in the crate's rules), and the unfinished packet of the server is forgotten.
    pub fn suspend(&mut self) {
        let gate = self.resume.gate.get_or_insert_default();
        gate.server = false;
        gate.away = Away {
            loaded: self.stage != Stage::Loading,
            left: false,
        };
        self.keep_alive.forget();
        if let Some(framing) = &mut self.framing {
            framing.server = Framer::new(Arc::clone(&framing.table), self.role, DOWN);
        }
    }

    /// How far the client is while it has no server; `None` while it has one.
    #[must_use]
    pub fn away(&self) -> Option<Away> {
        let gate = self.resume.gate.as_ref();
        gate.filter(|gate| !gate.server).map(|gate| gate.away)
    }

    /// Makes ready the plain packet that enters a map for a new connection to a map server: where ids
    /// are hidden, its key begins anew. For each connection that is tried, before it is written.
    pub fn encipher_enter(&mut self, packet: &mut [u8]) {
        let Some(framing) = &mut self.framing else {
            return;
        };
        if framing.sent.is_none() {
            return;
        }
        framing.sent = framing.table.cipher().map(IdCipher::new);
        if let (Some(sent), Some(id)) = (&mut framing.sent, u16_at(packet, 0)) {
            set_id(packet, sent.apply(id));
        }
    }

    /// There is a server again, which has just been entered. What it says, from the 0091 of its
    /// welcome or earlier on, goes to [`BridgeConnection::server_bytes`]; the client's next 007D goes
    /// to it, and the lines that were kept behind that.
    pub fn resume(&mut self) {
        if let Some(gate) = &mut self.resume.gate {
            gate.server = true;
        }
        self.resume.farewell = false;
        self.enter_stage(Stage::Loading);
    }

    /// A packet of the client, with its plain id, while the gate is there. Returns whether it goes on.
    pub(super) fn passes(&mut self, id: u16, packet: &[u8]) -> bool {
        let (Some(gate), Some(framing)) = (&mut self.resume.gate, &self.framing) else {
            return true;
        };
        let before = gate.away;
        let passage = gate.client(&framing.roles, id, packet.into());
        if gate.away != before {
            self.events.push(BridgeEvent::Away);
        }
        passage == Passage::Opens
    }

    /// The 007D has passed: the lines that were kept follow it.
    pub(super) fn open_gate(&mut self, path: Option<PathKind>, out: &mut impl FnMut(ToServer<'_>)) {
        let Some(mut gate) = self.resume.gate.take_if(|gate| gate.server) else {
            return;
        };
        let mut kept = 0;
        for mut line in gate.take_held() {
            let (Some(id), Some(framing)) = (u16_at(&line, 0), &mut self.framing) else {
                continue;
            };
            let class = framing.table.class_of(id);
            if let Some(sent) = &mut framing.sent {
                set_id(&mut line, sent.apply(id));
            }
            self.counters.count_packet(UP, class, path, line.len());
            kept += 1;
            out(ToServer {
                payload: &line,
                kind: MessageKind::Plain,
                class,
                id: Some(id),
            });
        }
        self.events.push(BridgeEvent::Resumed {
            kept,
            dropped: gate.dropped,
        });
    }
}
