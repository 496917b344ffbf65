//! What the loopback bridge does with the bytes of one TCP connection of the game client, and which
//! connections belong to the same client.
//!
//! Pure: bytes and time come in as arguments, what to forward goes out through closures, facts are
//! polled as events. One [`BridgeConnection`] per TCP connection, which knows both directions; one
//! [`Versions`] and one [`Clients`] for all connections of a zone.
//!
//! # Levels
//!
//! | level | client to server | server to client |
//! |---|---|---|
//! | [`Level::Assist`] | as *rewrite*; commands in the chat are taken out, and the endpoint is given what keeps the session alive | as *rewrite*; answers to commands are put in |
//! | [`Level::Rewrite`] | whole packets, one [`ToServer`] each, with their class | announced server addresses become loopback ones |
//! | [`Level::Opaque`] | one [`ToServer`] per call, as the client wrote it | untouched |
//!
//! A connection starts at *assist*. A level only ever steps down, for both directions at once, and
//! each step is one [`BridgeEvent::SteppedDown`] with its reason; the zone's own choice is one too. If
//! one direction cannot be framed, the other one cannot be trusted to be either: a shield encrypts
//! both, and waiting for the rest of a packet that is none would hold bytes back.
//!
//! # Which table
//!
//! [`Versions`] looks at the first packets of the zone's connections ([`Reading`]). Clients from
//! 2011-08-17 to 2018-03-07 may hide the ids that they send to a map server behind a rolling xor;
//! where its keys are known they are read through it. The first packet also names the account, by
//! which [`Clients`] tells clients apart.
//!
//! Versions that no beginning tells apart may still cut later packets differently. As long as more
//! than one is left, what a connection carries goes through a [`Scout`], which lets pass what all of
//! them read alike, and holds the rest until what follows tells, or nothing follows.
//!
//! # What is kept
//!
//! - Concatenated, the messages for the server are the client's bytes, exactly, without the commands
//!   that were withheld. Concatenated, the bytes for the client are the server's, with only address
//!   fields changed and whole 008E lines put in between packets. At the end of a stream,
//!   `finish_client` and `finish_server` hand out the beginning of an unfinished packet.
//! - A packet leaves as soon as its last byte is in. What waits is less than one packet, so less
//!   than 64 KiB per direction: the length field is 16 bits.
//! - Writes to the server: rAthena closes a login or map connection whose packet comes in two
//!   pieces, and a map connection whose 0436 comes together with anything else. So each framed
//!   [`ToServer`] is one write, and one that is `Alone` is followed by nothing before the server
//!   has answered.
//! - A packet costs no allocation: what goes out is lent.
//!
//! # Commands in the chat
//!
//! At *assist*, a public chat line that is `/p2p` or `@p2p`, in any case, alone or followed by a space, is
//! withheld from the server and becomes [`BridgeEvent::Command`]. Everything else passes, also what merely
//! contains it, and whispers, party and guild chat. [`BridgeConnection::answer`] puts lines into the
//! chat (008E) at a packet border, when the player is on a map.
//!
//! With hidden ids a withheld packet puts the server's key behind the client's. The ids that go to
//! the server are therefore enciphered anew by a key that only goes on for packets that are really
//! sent. If such a connection becomes opaque after a command was withheld, nobody can do that any
//! more, and the server will not understand the client.
//!
//! # Keeping a session alive
//!
//! While the player is on a map of a connection at *assist* with plain ids, the endpoint is given a packet
//! to write when the client is silent ([`MessageKind::KeepAlive`]): the last time sync that the client
//! sent, or one with tick 0. It is taken away (an empty payload) as soon as the server sends the player
//! to a map, or the client asks to leave. Loading ends when the client has said so (007D) and a packet
//! of the server has come in after that; from the map entry or move until then nothing is injected on either side.
//!
//! # When the server is gone
//! A map connection at *assist* can outlive its server: [`Recall`] holds what the client said to sign
//! in, [`ReEntry`] says it again to a login, a char and a map server, and the 0091 of the new session
//! makes the client load the map anew. Meanwhile the client has no server
//! ([`BridgeConnection::suspend`], [`BridgeConnection::resume`]). Until its 007D has gone to the new one
//! only lines of chat are kept ([`MAX_HELD`]); all else that it says is dropped and counted, because it
//! was meant for a world that is gone. Later packets that enter a char or map server get the session
//! numbers of the new sign-in ([`BridgeConnection::set_ids`]).
//!
//! # What the owner of a connection does
//!
//! After each call: poll events until `None`, and where something is [`BridgeConnection::due`] in a
//! direction, call its `release_*`: the other direction may have made the connection opaque, ended the
//! loading, or begun it. If a direction keeps [`BridgeConnection::waiting`] bytes for seconds, it is not
//! what the table says: step down with [`StepDownReason::Stalled`].
//!
//! [`MessageKind::KeepAlive`]: warp_protocol::stream::MessageKind::KeepAlive

mod clients;
mod command;
mod connection;
mod counters;
mod event;
mod framing;
mod gate;
mod message;
mod pin;
mod reading;
mod recall;
mod reentry;
mod scout;
mod stage;
mod tap;

pub use clients::{Client, ClientChange, Clients, FORGET_AFTER, MAX_CLIENTS};
pub use command::{MAX_ANSWERS, MAX_COMMAND};
pub use connection::{BridgeConnection, Standing};
pub use counters::{Counter, Counters};
pub use event::{BridgeEvent, Level, MAX_EVENTS, StepDownReason};
pub use gate::{Away, MAX_HELD, MAX_HELD_BYTES};
pub use message::{AddressBook, ToServer};
pub use reading::{FirstPacket, KnownVersion, Reading, Versions};
pub use recall::{Recall, Recorded, Sealed, SessionIds, Unable};
pub use reentry::{
    Action, GaveUp, MAX_SAID, MAX_WELCOME, NotOpened, ReEntry, ReEntryLimits, ReEntryStep,
};
pub use scout::Scout;
pub use tap::{MAX_SEEN, Seen};
