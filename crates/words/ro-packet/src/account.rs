//! The account that a packet names.

use crate::table::PacketTable;
use crate::{Direction, Role};

/// AC_ACCEPT_LOGIN of both generations: the account id lies at 8.
const ACCEPT_LOGIN: [u16; 2] = [0x0069, 0x0AC4];

/// The account id (AID) that the whole packet `frame` names when it is the login server's
/// acceptance, CH_ENTER or CZ_ENTER of the table's version; `None` for any other packet and for
/// one that is cut short.
///
/// On a map connection with a cipher the id must be plain already.
#[must_use]
pub fn account_of(
    table: &PacketTable,
    role: Role,
    direction: Direction,
    frame: &[u8],
) -> Option<u32> {
    let id = u16::from_le_bytes(*frame.first_chunk()?);
    let roles = table.roles();
    let at = match (role, direction) {
        (Role::Login, Direction::ServerToClient) if ACCEPT_LOGIN.contains(&id) => 8,
        (Role::Char, Direction::ClientToServer) if roles.char_enter == Some(id) => 2,
        (Role::Map, Direction::ClientToServer) if roles.map_enter == Some(id) => 2,
        _ => return None,
    };
    Some(u32::from_le_bytes(*frame.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use Direction::{ClientToServer, ServerToClient};

    fn packet(id: u16, at: usize, length: usize) -> Vec<u8> {
        let mut packet = vec![0xEE; length];
        packet[..2].copy_from_slice(&id.to_le_bytes());
        packet[at..at + 4].copy_from_slice(&2_000_001u32.to_le_bytes());
        packet
    }

    #[test]
    fn the_three_packets_of_every_version_name_the_account() {
        for version in PacketTable::versions() {
            let table = PacketTable::for_version(version).unwrap();
            let enter = table.roles().map_enter.unwrap();
            for (role, direction, packet) in [
                (Role::Login, ServerToClient, packet(0x0069, 8, 79)),
                (Role::Login, ServerToClient, packet(0x0AC4, 8, 224)),
                (Role::Char, ClientToServer, packet(0x0065, 2, 17)),
                (Role::Map, ClientToServer, packet(enter, 2, 19)),
            ] {
                assert_eq!(
                    account_of(&table, role, direction, &packet),
                    Some(2_000_001),
                    "{version} {role:?}"
                );
                for other in [Role::Login, Role::Char, Role::Map] {
                    for way in [ClientToServer, ServerToClient] {
                        if (other, way) != (role, direction) {
                            assert_eq!(account_of(&table, other, way, &packet), None);
                        }
                    }
                }
                assert_eq!(account_of(&table, role, direction, &packet[..5]), None);
            }
        }
    }

    #[test]
    fn the_map_login_of_another_version_names_none() {
        let table = PacketTable::for_version(20_170_614).unwrap();
        let packet = packet(0x0436, 2, 19);
        assert_eq!(account_of(&table, Role::Map, ClientToServer, &packet), None);
        assert_eq!(account_of(&table, Role::Map, ClientToServer, &[]), None);
    }
}
