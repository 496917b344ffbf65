//! The two framers of a connection that is cut into packets.

use std::sync::Arc;

use warp_ro_packet::{Direction, Framer, IdCipher, PacketLength, PacketTable, Role, Roles};

use crate::reading::Reading;

pub(crate) const UP: Direction = Direction::ClientToServer;
pub(crate) const DOWN: Direction = Direction::ServerToClient;

/// What a connection that is cut into packets needs.
#[derive(Debug)]
pub(crate) struct Framing {
    pub(crate) table: Arc<PacketTable>,
    /// The table's, by hand.
    pub(crate) roles: Roles,
    pub(crate) client: Framer,
    pub(crate) server: Framer,
    /// In front of the next packet that really goes to the server: it is behind the client's own
    /// once something was withheld.
    pub(crate) sent: Option<IdCipher>,
    /// The client has sent a packet.
    pub(crate) client_spoke: bool,
    /// The server has sent a packet.
    pub(crate) server_spoke: bool,
}

impl Framing {
    pub(crate) fn new(role: Role, table: Arc<PacketTable>, ciphered: bool) -> Framing {
        let cipher = Reading::cipher(&table, role, ciphered);
        let mut client = Framer::new(Arc::clone(&table), role, UP);
        if let Some(cipher) = &cipher {
            client.set_cipher(cipher.clone());
        }
        Framing {
            roles: *table.roles(),
            client,
            server: Framer::new(Arc::clone(&table), role, DOWN),
            table,
            sent: cipher,
            client_spoke: false,
            server_spoke: false,
        }
    }

    /// A framing by another table that goes on where this one is.
    pub(crate) fn go_on_with(
        &mut self,
        role: Role,
        table: Arc<PacketTable>,
        ciphered: bool,
    ) -> Framing {
        let mut new = Framing::new(role, table, ciphered);
        if self.server_spoke && role == Role::Char {
            // The raw account id has passed.
            new.server = Framer::new(Arc::clone(&new.table), Role::Map, DOWN);
        }
        for (old, new) in [
            (&mut self.client, &mut new.client),
            (&mut self.server, &mut new.server),
        ] {
            if let Some(rest) = old.finish() {
                new.push(&rest.bytes);
            }
        }
        new.client_spoke = self.client_spoke;
        new.server_spoke = self.server_spoke;
        new
    }

    /// A time sync with tick 0, which stands in until the client has sent one itself; empty where
    /// there is none: only map connections have it.
    pub(crate) fn time_sync(&self, role: Role) -> Vec<u8> {
        let id = self.roles.time_sync.filter(|_| role == Role::Map);
        let Some(id) = id else {
            return Vec::new();
        };
        let Some(PacketLength::Fixed(length)) = self.table.length_of(id) else {
            return Vec::new();
        };
        let mut packet = vec![0; usize::from(length)];
        set_id(&mut packet, id);
        packet
    }
}

/// Writes the id of a packet.
pub(crate) fn set_id(packet: &mut [u8], id: u16) {
    if let Some(head) = packet.first_chunk_mut() {
        *head = id.to_le_bytes();
    }
}
