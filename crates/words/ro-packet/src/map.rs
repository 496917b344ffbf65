//! The map that a packet sends the player to.

/// Length of a map name field, zero-padded.
const MAP_FIELD: usize = 16;

/// Where the map name lies, by packet id.
const MAP_AT: [(u16, usize); 5] = [
    (0x0AC5, 6), // HC_NOTIFY_ZONESVR: behind the character id
    (0x0071, 6), // the same before 2017-03-15
    (0x0AC7, 2), // ZC_NPCACK_SERVERMOVE
    (0x0092, 2), // the same before 2017-03-15
    (0x0091, 2), // ZC_NPCACK_MAPMOVE
];

/// The map that the whole packet `frame` sends the player to: its name as the server wrote it
/// (`prontera.gat`), or `None` if the packet names no map or a name that is not printable ASCII.
///
/// Reads 0AC5 and 0071 (char server: where to enter), 0AC7 and 0092 (the map lies on another map
/// server) and 0091 (another map of this server, and once at a fresh login).
#[must_use]
pub fn map_name(frame: &[u8]) -> Option<&str> {
    let id = u16::from_le_bytes(*frame.first_chunk()?);
    let (_, at) = MAP_AT.iter().find(|(known, _)| *known == id)?;
    let field = frame.get(*at..at + MAP_FIELD)?;
    let name = field.split(|byte| *byte == 0).next()?;
    if name.is_empty() || !name.iter().all(u8::is_ascii_graphic) {
        return None;
    }
    std::str::from_utf8(name).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(id: u16, at: usize, name: &[u8], length: usize) -> Vec<u8> {
        let mut packet = vec![0; length];
        packet[..2].copy_from_slice(&id.to_le_bytes());
        packet[at..at + name.len()].copy_from_slice(name);
        packet
    }

    #[test]
    fn packets_of_both_generations_name_their_map() {
        assert_eq!(
            map_name(&packet(0x0AC5, 6, b"prontera.gat", 156)),
            Some("prontera.gat")
        );
        assert_eq!(
            map_name(&packet(0x0AC7, 2, b"izlude.gat", 156)),
            Some("izlude.gat")
        );
        assert_eq!(
            map_name(&packet(0x0091, 2, b"sixteen_long.gat", 22)),
            Some("sixteen_long.gat")
        );
        assert_eq!(
            map_name(&packet(0x0071, 6, b"prontera.gat", 28)),
            Some("prontera.gat")
        );
        assert_eq!(
            map_name(&packet(0x0092, 2, b"izlude.gat", 28)),
            Some("izlude.gat")
        );
    }

    #[test]
    fn odd_packets_name_none() {
        assert_eq!(map_name(&[]), None);
        assert_eq!(map_name(&[0x91, 0x00, b'a']), None);
        assert_eq!(map_name(&packet(0x0091, 2, b"", 22)), None);
        assert_eq!(map_name(&packet(0x0091, 2, b"a\nb.gat", 22)), None);
        assert_eq!(map_name(&packet(0x0091, 2, b"\xC3\xA4.gat", 22)), None);
        assert_eq!(map_name(&packet(0x0087, 2, b"prontera.gat", 22)), None);
    }
}
