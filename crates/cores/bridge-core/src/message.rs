//! What goes out of a connection, and what it asks its owner.

use std::fmt;
use std::net::SocketAddrV4;

use warp_protocol::stream::MessageKind;
use warp_ro_packet::{PacketClass, Role};

/// Decides where the client is told to find a server.
pub trait AddressBook {
    /// The loopback address behind which the bridge carries connections to `upstream`, a server
    /// of the kind `role` that was just announced. The client connects there as soon as it has
    /// read the packet, so it must be listened on by then.
    ///
    /// The same question must get the same answer. `upstream` itself as the answer leaves the
    /// packet as it is. One packet may announce up to 409 servers, and a server may send any
    /// number of packets: what an implementation keeps per address must be bounded by itself.
    fn loopback_for(&mut self, role: Role, upstream: SocketAddrV4) -> SocketAddrV4;
}

/// One message for the endpoint.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ToServer<'a> {
    /// The bytes: one whole packet if `id` is set, else raw bytes. Empty only where the packet that
    /// keeps the session alive is taken away.
    pub payload: &'a [u8],
    /// Whether it is written, written alone (map entry), or kept for the time that the client is
    /// silent.
    pub kind: MessageKind,
    /// What the packet is about; `Other` for raw bytes.
    pub class: PacketClass,
    /// The packet's id, plain; `None` for bytes that were not framed, and for what is kept.
    pub id: Option<u16>,
}

/// Shows no content: login packets carry passwords.
impl fmt::Debug for ToServer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ToServer")
            .field("id", &self.id.map(|id| format!("{id:04X}")))
            .field("class", &self.class)
            .field("kind", &self.kind)
            .field("len", &self.payload.len())
            .finish()
    }
}
