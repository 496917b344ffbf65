//! The closed set of problems that a person can meet, with stable codes.
//!
//! The window translates a code, the terminal has an English text for each; neither ever shows a
//! text that was made somewhere deeper.

use serde::{Deserialize, Serialize};

/// A stable code. Names are part of the contract: they are only ever added.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ts_rs::TS)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum ProblemCode {
    // sign-in
    /// Name or password is wrong.
    WrongPassword,
    /// That account name is taken.
    NameTaken,
    /// The account name breaks the rules.
    BadName,
    /// The password breaks the rules.
    BadPassword,
    /// The access token has expired or is not valid; sign in again.
    TokenExpired,
    /// Nobody is signed in.
    NotSignedIn,
    /// The account may not do that.
    Forbidden,
    /// Too many tries; wait.
    TooManyRequests,
    // identity
    /// A certificate is required and none was shown.
    CertificateMissing,
    /// A certificate is not one, was not issued by the coordinator, or is somebody else's.
    CertificateInvalid,
    /// A certificate has expired.
    CertificateExpired,
    /// The device was revoked; sign in with the password, which makes it a new one.
    DeviceRevoked,
    /// The account or the device is banned; the detail says why and until when.
    Banned,
    /// The coordinator did not prove its key.
    CoordinatorUnproven,
    /// The coordinator's key is not the one that it had before.
    CoordinatorKeyChanged,
    /// A WebRTC description was changed on its way, or is not signed by the endpoint.
    SignalingUntrusted,
    // coordinator
    /// The coordinator cannot be reached.
    CoordinatorUnreachable,
    /// The proxy on the way to the coordinator cannot be reached.
    ProxyUnreachable,
    /// The proxy wants a name and password, or does not take the configured ones.
    ProxyPassword,
    /// The proxy opens no way to the coordinator, or is no HTTP proxy.
    ProxyRefused,
    /// The coordinator's certificate is not trusted.
    CoordinatorUntrusted,
    /// The coordinator answered something that this launcher does not understand.
    CoordinatorProtocol,
    /// The coordinator has a fault of its own.
    CoordinatorFault,
    /// The request was not well formed.
    BadRequest,
    /// There is no such route or thing.
    NotFound,
    /// It does not fit the present state of the thing; look at it again.
    Conflict,
    // zones and sessions
    /// There is no such zone.
    UnknownZone,
    /// The zone is closed for now.
    ZoneClosed,
    /// The zone's session is gone or was never granted.
    UnknownSession,
    /// The receiver of a signaling message is not in the room.
    PeerUnreachable,
    /// The zone of a player's map could not be joined; the chosen zone carries its maps.
    ZoneNotJoined,
    /// The session in the zone of a player's map was lost; the chosen zone carries its maps.
    ZoneLost,
    /// Only hosts carry this zone's players, and none can just now.
    NoHost,
    /// The endpoint, a process of its own, is not connected to the coordinator just now.
    EndpointUnreachable,
    // hosts
    /// This machine may not host in the zone, or says what cannot be.
    HostRefused,
    /// The host belongs to another account.
    HostNotYours,
    // link
    /// What came over a path was altered or replayed on the way; it is not used for a while.
    PathTampered,
    /// No path to the endpoint could be opened in time.
    NoPath,
    /// Play goes over plain TCP to the game servers, because there is no path to the endpoint: it is not sealed,
    /// and a connection that breaks is not held. The detail says why.
    PlainTcp,
    /// The session link was closed by the endpoint or lost for longer than the hold time.
    LinkLost,
    /// The endpoint could not prove that it is the one that the coordinator named.
    EndpointUntrusted,
    // bridge
    /// The loopback port is in use.
    PortInUse,
    /// The loopback port cannot be listened on.
    PortRefused,
    /// The endpoint may not dial that game server address.
    AddressNotAllowed,
    /// The game server refused the connection.
    GameServerRefused,
    /// The game server did not answer.
    GameServerTimeout,
    /// The game server's address cannot be reached from the endpoint.
    GameServerUnreachable,
    /// The game client has too many connections open.
    TooManyConnections,
    /// Packets that are not in the table: passed on untouched, without rewriting.
    UnknownPackets,
    // game process
    /// The game's executable is missing.
    GameMissing,
    /// The game's executable cannot be started.
    GameNotStarted,
    /// The game ended with a failure.
    GameFailed,
    /// A file that the game needs beside it cannot be written, or another one is in its place.
    GameFiles,
    // updates and profiles
    /// An update is not signed by the key that this launcher was built with.
    UpdateForged,
    /// An update is genuine, but not the one that was announced: another version, channel or system,
    /// or no newer one.
    UpdateSwapped,
    /// An update arrived in part, or damaged.
    UpdateIncomplete,
    /// An update could not be installed; the version before is still there.
    UpdateNotInstalled,
    /// This launcher takes no updates: it was built without a key for them.
    UpdatesOff,
    /// The file is no server profile, or was changed after it was signed.
    ProfileInvalid,
    // configuration and machine
    /// The configuration file is not readable.
    ConfigUnreadable,
    /// A configuration value is not allowed.
    ConfigValue,
    /// The secret store of the system is not available.
    KeyringUnavailable,
    /// A command is not known or does not fit the present state.
    BadCommand,
    /// A fault of our own.
    Internal,
}

impl ProblemCode {
    /// The stable code as it is written: `no-path`.
    pub fn name(self) -> String {
        // A unit variant becomes a JSON string of its own name, which needs no escaping.
        serde_json::to_string(&self).map_or_else(
            |_| format!("{self:?}"),
            |text| text.trim_matches('"').to_owned(),
        )
    }

    /// True when signing in again is what helps.
    pub fn needs_sign_in(self) -> bool {
        matches!(
            self,
            Self::TokenExpired | Self::NotSignedIn | Self::DeviceRevoked
        )
    }

    /// True when the same thing may work a little later without anybody changing anything.
    pub fn may_pass(self) -> bool {
        matches!(
            self,
            Self::CoordinatorUnreachable
                | Self::ProxyUnreachable
                | Self::CoordinatorFault
                | Self::TooManyRequests
                | Self::NoPath
                | Self::LinkLost
                | Self::GameServerRefused
                | Self::GameServerTimeout
                | Self::GameServerUnreachable
                | Self::ZoneClosed
                | Self::PeerUnreachable
                | Self::ZoneNotJoined
                | Self::ZoneLost
                | Self::NoHost
                | Self::EndpointUnreachable
        )
    }
}

/// A problem: what happened, and to what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ts_rs::TS, thiserror::Error)]
#[error("{code:?}: {subject}")]
pub struct Problem {
    /// What happened.
    pub code: ProblemCode,
    /// To what: an address, a file, a zone id, a key path. Never a secret.
    pub subject: String,
    /// More for a person who looks closer: the system's own words, the allowed values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub detail: Option<String>,
}

impl Problem {
    /// A problem with `subject`.
    pub fn new(code: ProblemCode, subject: impl Into<String>) -> Self {
        Self {
            code,
            subject: subject.into(),
            detail: None,
        }
    }

    /// Adds the closer look.
    pub fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }
}
