//! The relay socket, `/api/v1/relay/ws?session_id=&peer_id=&to=`: the last way between two players
//! when no UDP passes. The coordinator passes datagrams on and reads nothing of them.
//!
//! - `peer_id` is the caller's own, `to` the other side's; the grant of the session or its guest list
//!   ([`crate::rest::GuestRequest`]) names both.
//! - Each side opens a socket of its own. One binary message is one datagram of at most
//!   [`MAX_DATAGRAM`] bytes. A message beyond [`MAX_MESSAGE`] closes the socket (1009), one between
//!   the two is dropped.
//! - It may lose: what is sent while the other side is away, what a queue of 256 KiB for each
//!   direction has no room for (the newest goes), and what is beyond the account's bytes a minute.
//! - A newer socket for the same two ends takes the older one's place (4001). One that has sent
//!   nothing for the coordinator's idle time is closed (1011), with the end of either side's session
//!   (4003) both are.

/// Longest datagram, bytes; as on every carrier.
pub const MAX_DATAGRAM: usize = 1280;

/// Longest message that does not close the socket, bytes.
pub const MAX_MESSAGE: usize = 2048;

/// Path and query of the socket, below the base of the REST routes.
///
/// Ids are the coordinator's: letters, digits, `.`, `_` and `-`, which need no escaping.
pub fn path(session_id: &str, own_peer: &str, other_peer: &str) -> String {
    format!("relay/ws?session_id={session_id}&peer_id={own_peer}&to={other_peer}")
}
