//! The practice game: a stand-in Ragnarok server and a stand-in client.
//!
//! Both are test tools, and what Play starts where no game is installed. They share no code with
//! the bridge but `warp-ro-packet` (packet lengths, packed coordinates and the cipher of ids).
//!
//! * [`server`]: login, char and one or two map servers in one process, as strict about how bytes
//!   arrive and which session numbers it takes as the real servers are.
//! * [`client`]: logs in, plays, changes maps and map servers, and compares every byte that it
//!   receives with what it expects.
//! * [`report`]: what both ends say about each connection, in the same shape, so that the two
//!   reports of one connection can be laid side by side.
//! * [`game`]: the made-up world that both ends agree on (accounts, maps, portals).
//! * [`version`]: the client versions that both ends can speak, 20211103 unless told otherwise.
//!
//! # Where the practice game differs from the real one
//!
//! The server is a stand-in. What it simplifies, so that a client can predict every byte:
//!
//! * A walk ends at once: the walker stands on its target as soon as it was asked for. The real
//!   server walks 150 ms per cell.
//! * Nothing is saved: each character selection starts at the home point of `prontera.gat`.
//! * Everybody on the same map is in sight; the real view range is 14 cells.
//! * A server tick is milliseconds since the server's start with the low byte replaced by a check
//!   byte, so that a damaged tick is noticed. It still never goes backwards.
//! * The pin seed repeats the low 16 bits of `login_id1`.
//! * There are no fights, so the 10 s and 30 s account locks of the real server do not occur.

pub mod client;
pub mod game;
pub mod report;
pub mod server;
pub mod version;
mod wire;
