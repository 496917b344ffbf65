//! Which packet version the files speak.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use warp_ro_packet::{Detection, Detector, PacketTable};

use super::stream::{Origin, Sink, Trouble};
use super::unreadable;

/// The table that the command line names, if it does.
pub(super) fn given(
    version: Option<u32>,
    file: Option<&Path>,
) -> Result<Option<Arc<PacketTable>>, Trouble> {
    let Some(version) = version else {
        return Ok(None);
    };
    if let Some(path) = file {
        let text = std::fs::read_to_string(path).map_err(|error| unreadable(path, &error))?;
        let table = PacketTable::from_recvpackets(version, &text)
            .map_err(|error| Trouble::Input(format!("{}: {error}", path.display())))?;
        return Ok(Some(Arc::new(table)));
    }
    let table = PacketTable::for_version(version).ok_or_else(|| {
        let known: Vec<String> = PacketTable::versions().map(|one| one.to_string()).collect();
        Trouble::Input(format!(
            "packet version {version} is not known. Known are {}; --packet-table FILE reads another",
            known.join(", ")
        ))
    })?;
    Ok(Some(table))
}

/// Lets `read` show the beginnings of all streams, and says on standard error what they tell.
pub(super) fn detect(
    read: impl FnOnce(&mut dyn Sink) -> Result<(), Trouble>,
) -> Result<Arc<PacketTable>, Trouble> {
    let tables = PacketTable::versions()
        .filter_map(PacketTable::for_version)
        .collect();
    let mut heads = Heads {
        detector: Detector::new(tables),
        told: false,
        streams: HashMap::new(),
        next: 0,
    };
    read(&mut heads)?;
    let Some(table) = heads.detector.best() else {
        return Err(Trouble::Input(
            "this program knows no packet version".to_owned(),
        ));
    };
    let why = match (heads.told, heads.detector.certain()) {
        (true, true) => "the only known version that fits",
        (true, false) => "the newest version that fits; --packetver chooses another",
        (false, _) => "the newest version; no stream tells another, --packetver chooses one",
    };
    eprintln!("warp-node: packet version {}: {why}", table.version());
    Ok(Arc::clone(table))
}

/// Shows the detector how streams begin.
struct Heads {
    detector: Detector,
    /// At least one stream fitted a version.
    told: bool,
    /// The beginnings of streams that the detector has not seen, at most
    /// [`Detector::MAX_HEAD`] bytes of each.
    streams: HashMap<u64, (Origin, Vec<u8>)>,
    next: u64,
}

impl Heads {
    fn note(&mut self, origin: &Origin, head: &[u8]) {
        let detection = self.detector.note(origin.role, origin.direction, head);
        self.told |= matches!(detection, Detection::Table { .. });
    }
}

impl Sink for Heads {
    fn open(&mut self, origin: Origin) -> u64 {
        self.next += 1;
        if origin.whole {
            self.streams.insert(self.next, (origin, Vec::new()));
        }
        self.next
    }

    fn data(&mut self, stream: u64, time_us: u64, bytes: &[u8]) -> Result<(), Trouble> {
        let Some((_, head)) = self.streams.get_mut(&stream) else {
            return Ok(());
        };
        let room = Detector::MAX_HEAD.saturating_sub(head.len());
        head.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
        if head.len() < Detector::MAX_HEAD {
            return Ok(());
        }
        self.end(stream, time_us)
    }

    fn gap(&mut self, stream: u64, time_us: u64, _: u64) -> Result<(), Trouble> {
        self.end(stream, time_us)
    }

    fn end(&mut self, stream: u64, _: u64) -> Result<(), Trouble> {
        if let Some((origin, head)) = self.streams.remove(&stream) {
            self.note(&origin, &head);
        }
        Ok(())
    }

    fn wants(&self, stream: u64) -> bool {
        self.streams.contains_key(&stream)
    }
}
