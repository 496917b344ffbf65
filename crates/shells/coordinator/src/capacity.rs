//! How much one coordinator holds at once: `capacity` in the configuration file. Every table follows
//! from it, so that one number is never the hidden bound of another.
//!
//! | what | bound |
//! |---|---|
//! | sessions, here and at the embedded endpoint | `sessions` |
//! | rooms | one for each session and each host |
//! | places in rooms | two for each session and each host: its own socket, and the endpoint; each session's hosts besides |
//! | open connections | `connections`, of which `connections_per_address` from one address |

use serde::Deserialize;
use warp_coordinator_core::{RoomsLimits, SessionsLimits};
use warp_protocol::hosting::WAYS;

/// Descriptors that are no connections of clients: the database, logs, sockets of the endpoint.
const OTHER_DESCRIPTORS: u64 = 256;

/// Bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capacity {
    /// Sessions at once.
    pub sessions: usize,
    /// Sessions of one account, over all its devices.
    pub sessions_per_account: usize,
    /// Hosts that are remembered.
    pub hosts: usize,
    /// Hosts of one account.
    pub hosts_per_account: usize,
    /// TCP connections at once, sockets included. Each may hold some 10 KiB of a request.
    pub connections: usize,
    /// Of these, from one address (IPv6: from one /64) that is no trusted proxy's.
    pub connections_per_address: usize,
}

impl Default for Capacity {
    fn default() -> Self {
        Self {
            sessions: 10_000,
            sessions_per_account: 8,
            hosts: 1000,
            hosts_per_account: 8,
            // A session has two sockets and a connection for requests.
            connections: 32_768,
            // Two hundred players of one house, with five connections each.
            connections_per_address: 1024,
        }
    }
}

impl Capacity {
    /// Bounds of the rooms.
    pub(crate) fn rooms(self) -> RoomsLimits {
        let rooms = self.sessions.saturating_add(self.hosts);
        // A host has a seat in the room of each member that it carries.
        let places = rooms.saturating_mul(2);
        let seats = self.sessions.saturating_mul(WAYS);
        RoomsLimits {
            rooms,
            connections: places.saturating_add(seats),
            ..RoomsLimits::default()
        }
    }

    /// Bounds of the table of sessions.
    pub(crate) fn table(self, unused: std::time::Duration) -> SessionsLimits {
        SessionsLimits {
            total: self.sessions,
            per_account: self.sessions_per_account,
            unused,
        }
    }
}

/// `capacity` in the file.
#[derive(Default, Deserialize)]
pub(crate) struct CapacityPart {
    sessions: Option<usize>,
    sessions_per_account: Option<usize>,
    hosts: Option<usize>,
    hosts_per_account: Option<usize>,
    connections: Option<usize>,
    connections_per_address: Option<usize>,
}

impl CapacityPart {
    /// Fills in the defaults. `wrong` makes the refusal of a value at a path.
    pub(crate) fn checked<E>(
        self,
        wrong: impl Fn(&'static str, String) -> E,
    ) -> Result<Capacity, E> {
        let default = Capacity::default();
        let number = |path, value: Option<usize>, default, high| match value {
            None => Ok(default),
            Some(n) if (1..=high).contains(&n) => Ok(n),
            Some(_) => Err(wrong(path, format!("allowed are 1 to {high}"))),
        };
        let million = 1_000_000;
        let sessions = number(
            "capacity.sessions",
            self.sessions,
            default.sessions,
            million,
        )?;
        let connections = number(
            "capacity.connections",
            self.connections,
            default.connections.max(sessions.saturating_mul(3)),
            10 * million,
        )?;
        Ok(Capacity {
            sessions,
            sessions_per_account: number(
                "capacity.sessions_per_account",
                self.sessions_per_account,
                default.sessions_per_account,
                million,
            )?,
            hosts: number("capacity.hosts", self.hosts, default.hosts, 100_000)?,
            hosts_per_account: number(
                "capacity.hosts_per_account",
                self.hosts_per_account,
                default.hosts_per_account,
                100_000,
            )?,
            connections,
            connections_per_address: number(
                "capacity.connections_per_address",
                self.connections_per_address,
                default.connections_per_address,
                10 * million,
            )?,
        })
    }
}

/// Raises this process's limit of open files, as far as the system lets it, to what so many
/// connections need; warns where that is too low. For a program of its own: it changes the process.
pub fn raise_descriptor_limit(connections: usize) {
    let wanted = u64::try_from(connections)
        .unwrap_or(u64::MAX)
        .saturating_add(OTHER_DESCRIPTORS);
    if let Err(allowed) = warp_platform::raise_open_files(wanted) {
        tracing::warn!(
            wanted,
            allowed,
            "the system lets this process open fewer files than `capacity.connections` needs; raise \
             the hard limit (LimitNOFILE of the service, ulimit -n) or lower the capacity"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_follow_the_number_of_sessions() {
        let capacity = Capacity {
            sessions: 20_000,
            hosts: 1000,
            ..Capacity::default()
        };
        let rooms = capacity.rooms();
        assert_eq!(rooms.rooms, 21_000);
        assert_eq!(rooms.connections, 42_000 + 20_000 * WAYS);
        assert_eq!(capacity.table(std::time::Duration::ZERO).total, 20_000);
    }

    #[test]
    fn numbers_are_checked_and_connections_follow_the_sessions() {
        let read = |text: &str| {
            let part: CapacityPart = serde_json::from_str(text).unwrap();
            part.checked(|path, why| format!("{path}: {why}"))
        };
        assert_eq!(read("{}"), Ok(Capacity::default()));
        let many = read(r#"{"sessions": 50000, "connections_per_address": 7}"#).unwrap();
        assert_eq!(many.connections, 150_000);
        assert_eq!(many.connections_per_address, 7);
        assert_eq!(
            read(r#"{"sessions": 0}"#),
            Err("capacity.sessions: allowed are 1 to 1000000".to_owned())
        );
    }
}
