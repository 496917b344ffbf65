//! Close codes of all sockets. Those below 4000 are RFC 6455's, the others ours.

use crate::app::App;

/// The client has closed, or the session has no more use for the socket.
pub const NORMAL: u16 = 1000;
/// A message was larger than allowed.
pub const TOO_BIG: u16 = 1009;
/// The client did not answer pings.
pub const KEEP_ALIVE: u16 = 1011;
/// The coordinator stops; connect again in a while.
pub const RESTART: u16 = 1012;
/// A newer socket has taken this one's place: same peer id, or same session.
pub const REPLACED: u16 = 4001;
/// The client did not read what was sent to it.
pub const TOO_SLOW: u16 = 4002;
/// The session that the socket belongs to has ended, or the host is none any more.
pub const SESSION_ENDED: u16 = 4003;
/// The account or the device was banned; signing in says why and until when.
pub const BANNED: u16 = 4004;

/// What a socket is closed with whose session, host or room is not there any more. At its own end the
/// coordinator ends them all, which is not what the other side is to be told: they may go on.
pub(crate) fn gone(app: &App) -> u16 {
    match app.stop.is_cancelled() {
        true => RESTART,
        false => SESSION_ENDED,
    }
}

/// Text beside the code.
pub(crate) fn reason(code: u16) -> &'static str {
    match code {
        TOO_BIG => "message too large",
        KEEP_ALIVE => "keepalive ping timeout",
        RESTART => "the coordinator stops",
        REPLACED => "replaced by a newer connection",
        TOO_SLOW => "not reading",
        SESSION_ENDED => "session ended",
        BANNED => "banned",
        _ => "",
    }
}
