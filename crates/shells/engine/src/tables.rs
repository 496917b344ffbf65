//! The operator's packet tables, read once at the start.

use std::io::Read;
use std::sync::Arc;

use warp_bridge::PacketTable;
use warp_engine_core::config::BridgeSection;
use warp_protocol::{Problem, ProblemCode};

/// Longest file, bytes: 8192 packets of a line each, with room for comments.
const MAX_FILE: u64 = 1024 * 1024;

/// Reads all of `bridge.packet_tables`.
///
/// # Errors
/// [`ProblemCode::ConfigValue`] with the key, the file and the line that is wrong.
pub(crate) fn read(section: &BridgeSection) -> Result<Vec<Arc<PacketTable>>, Problem> {
    let tables = section.packet_tables.iter().enumerate();
    tables
        .map(|(place, table)| {
            let refuse = |why: String| {
                let subject = format!("bridge.packet_tables[{place}].file: {}", table.file);
                Problem::new(ProblemCode::ConfigValue, subject).with_detail(why)
            };
            let text = read_file(&table.file).map_err(|error| refuse(error.to_string()))?;
            PacketTable::from_recvpackets(table.version, &text)
                .map(Arc::new)
                .map_err(|error| refuse(error.to_string()))
        })
        .collect()
}

fn read_file(file: &str) -> std::io::Result<String> {
    let mut text = String::new();
    let file = std::fs::File::open(file)?;
    let read = file.take(MAX_FILE + 1).read_to_string(&mut text)?;
    if read as u64 > MAX_FILE {
        let why = "the file is longer than 1 MiB, which no packet table is";
        return Err(std::io::Error::other(why));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use warp_engine_core::config::PacketTableFile;

    fn section(file: &std::path::Path) -> BridgeSection {
        BridgeSection {
            packet_tables: vec![PacketTableFile {
                version: 20_990_101,
                file: file.display().to_string(),
            }],
            ..BridgeSection::default()
        }
    }

    #[test]
    fn a_table_is_read_and_a_wrong_one_is_refused_with_file_and_line() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("recvpackets.txt");
        std::fs::write(&file, "# login\n0064 55\n0069 -1\n").unwrap();
        let tables = read(&section(&file)).unwrap();
        assert_eq!(tables[0].version(), 20_990_101);

        std::fs::write(&file, "0064 55\nsixty 5\n").unwrap();
        let problem = read(&section(&file)).unwrap_err();
        assert_eq!(problem.code, ProblemCode::ConfigValue);
        assert!(problem.subject.contains("packet_tables[0]"));
        assert!(problem.subject.contains("recvpackets.txt"));
        assert!(problem.detail.unwrap().contains("line 2"));

        std::fs::write(&file, vec![b'#'; 1024 * 1024 + 1]).unwrap();
        assert!(read(&section(&file)).is_err());
        assert!(read(&section(&folder.path().join("none"))).is_err());
    }
}
