//! Why a bridge does not start.

use std::io;
use std::net::SocketAddr;

use warp_protocol::ProblemCode;

/// Why a bridge does not start.
#[derive(Debug, thiserror::Error)]
pub enum BridgeError {
    /// Something else listens there.
    #[error(
        "{address} is in use by another program; close it (another launcher, or a game server on \
         this machine), or choose another login port"
    )]
    PortInUse {
        /// Where the bridge wanted to listen.
        address: SocketAddr,
    },
    /// Something else listens where an opaque zone's server has to be found.
    #[error(
        "{address} is in use by another program; the zone is opaque, so its {role} server \
         {target} can only be found at that port of this machine; close the other program (another \
         launcher, or a game server on this machine)"
    )]
    FixedPortInUse {
        /// Where the bridge wanted to listen.
        address: SocketAddr,
        /// Which server.
        role: &'static str,
        /// Where it really is.
        target: SocketAddr,
    },
    /// The system does not let us listen there.
    #[error("cannot listen on {address}: {cause}; choose another login port")]
    PortRefused {
        /// Where the bridge wanted to listen.
        address: SocketAddr,
        /// What the system said.
        cause: io::Error,
    },
    /// The address could be reached from other machines.
    #[error("{address} is not a loopback address; the bridge listens on loopback only")]
    NotLoopback {
        /// The address asked for.
        address: SocketAddr,
    },
}

impl BridgeError {
    /// The code that a person is shown.
    pub fn code(&self) -> ProblemCode {
        match self {
            BridgeError::PortInUse { .. } | BridgeError::FixedPortInUse { .. } => {
                ProblemCode::PortInUse
            }
            BridgeError::PortRefused { .. } | BridgeError::NotLoopback { .. } => {
                ProblemCode::PortRefused
            }
        }
    }

    /// The address that it is about.
    pub fn address(&self) -> SocketAddr {
        match self {
            BridgeError::PortInUse { address }
            | BridgeError::FixedPortInUse { address, .. }
            | BridgeError::PortRefused { address, .. }
            | BridgeError::NotLoopback { address } => *address,
        }
    }

    pub(crate) fn listen(address: SocketAddr, cause: io::Error) -> Self {
        match cause.kind() {
            io::ErrorKind::AddrInUse => BridgeError::PortInUse { address },
            _ => BridgeError::PortRefused { address, cause },
        }
    }
}
