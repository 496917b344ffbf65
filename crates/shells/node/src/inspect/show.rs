//! Streams as lines: one per packet, and one where packets can no longer be told apart.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;

use serde::Serialize;
use warp_ro_packet::{
    Decoded, Detection, Detector, Direction, Field, FieldValue, Frame, FrameKind, Framer, IdCipher,
    OpaqueReason, PacketClass, PacketLength, PacketTable, Role, decode,
};

use super::stream::{Origin, Sink, Trouble};

/// Name of the four bytes that a char server sends first, which have no id.
const RAW_AID: &str = "RAW_AID";

/// Writes streams as lines.
pub(super) struct Show<W> {
    out: W,
    table: Arc<PacketTable>,
    json: bool,
    /// Those that have not ended, by number.
    streams: BTreeMap<u64, Stream>,
    next: u64,
    /// Whether every stream so far was framed to its end.
    sound: bool,
}

struct Stream {
    origin: Origin,
    /// `map#5`, with its session in front where there is one: `s1/map#5`.
    label: String,
    framer: Framer,
    /// The first bytes while it is open whether a cipher hides the ids; `None` from then on.
    head: Option<Vec<u8>>,
    /// A cipher hides the ids.
    ciphered: bool,
    /// Where the next frame begins.
    offset: u64,
    /// The rest cannot be told apart.
    broken: bool,
    time_us: u64,
}

/// A packet as one JSON object.
#[derive(Serialize)]
struct PacketLine<'a> {
    #[serde(flatten)]
    place: Place<'a>,
    #[serde(flatten)]
    packet: &'a Decoded,
}

/// The raw account id as one JSON object: like a packet, without an id.
#[derive(Serialize)]
struct RawLine<'a> {
    #[serde(flatten)]
    place: Place<'a>,
    id: Option<u16>,
    name: &'static str,
    class: PacketClass,
    length: usize,
    fields: RawFields,
}

#[derive(Serialize)]
struct RawFields {
    #[serde(rename = "AID")]
    aid: u32,
}

/// What is wrong with a stream as one JSON object.
#[derive(Serialize)]
struct ProblemLine<'a> {
    #[serde(flatten)]
    place: Place<'a>,
    problem: &'a str,
    offset: u64,
    id: Option<String>,
    detail: &'a str,
}

#[derive(Serialize)]
struct Place<'a> {
    time_ms: f64,
    file: &'a str,
    connection: &'a str,
    role: Role,
    direction: Direction,
}

/// Whether a cipher hides the ids of a stream.
enum Hidden {
    TooShort,
    No,
    Yes(IdCipher),
}

/// Why the packets of a stream cannot be shown from here on.
struct Problem {
    /// A stable code.
    code: &'static str,
    /// The id that stands there, if one does.
    id: Option<u16>,
    detail: String,
}

impl Stream {
    fn place(&self) -> Place<'_> {
        Place {
            time_ms: self.time_us as f64 / 1000.0,
            file: &self.origin.file,
            connection: &self.label,
            role: self.origin.role,
            direction: self.origin.direction,
        }
    }
}

impl<W: Write> Show<W> {
    pub(super) fn new(out: W, table: Arc<PacketTable>, json: bool) -> Show<W> {
        Show {
            out,
            table,
            json,
            streams: BTreeMap::new(),
            next: 0,
            sound: true,
        }
    }

    /// Ends what has not ended. Returns the output, and whether every stream was framed to its end.
    pub(super) fn finish(mut self) -> Result<(W, bool), Trouble> {
        while let Some((&stream, one)) = self.streams.first_key_value() {
            let time_us = one.time_us;
            self.end(stream, time_us)?;
        }
        Ok((self.out, self.sound))
    }

    /// Shows the frames that are whole.
    fn drain(&mut self, stream: &mut Stream) -> Result<(), Trouble> {
        while !stream.broken
            && let Some(frame) = stream.framer.next_frame()
        {
            let length = frame.bytes.len() as u64;
            match frame.kind {
                FrameKind::Packet(id) => self.packet(stream, id, frame)?,
                FrameKind::RawAid => self.raw_aid(stream, &frame.bytes)?,
                FrameKind::Raw => {
                    let reason = stream.framer.opaque_reason();
                    self.problem(stream, &unframeable(reason))?;
                }
            }
            stream.offset += length;
        }
        Ok(())
    }

    fn packet(&mut self, stream: &Stream, id: u16, mut frame: Frame) -> Result<(), Trouble> {
        // A cipher may hide the id in the bytes; the framer has the plain one.
        if let Some(head) = frame.bytes.first_chunk_mut() {
            *head = id.to_le_bytes();
        }
        let packet = decode(&self.table, stream.origin.direction, &frame.bytes);
        if self.json {
            return self.object(&PacketLine {
                place: stream.place(),
                packet: &packet,
            });
        }
        let name = packet.name.unwrap_or("-");
        self.line(stream, &format!("{id:04X}"), name, &packet)
    }

    fn raw_aid(&mut self, stream: &Stream, bytes: &[u8]) -> Result<(), Trouble> {
        let aid = bytes.first_chunk().copied().map(u32::from_le_bytes);
        let aid = aid.unwrap_or_default();
        let shown = Decoded {
            id: 0,
            name: Some(RAW_AID),
            class: PacketClass::System,
            length: bytes.len(),
            fields: vec![Field {
                name: "AID",
                value: FieldValue::Number(aid.into()),
            }],
        };
        if self.json {
            return self.object(&RawLine {
                place: stream.place(),
                id: None,
                name: RAW_AID,
                class: shown.class,
                length: shown.length,
                fields: RawFields { aid },
            });
        }
        self.line(stream, "----", RAW_AID, &shown)
    }

    fn problem(&mut self, stream: &mut Stream, problem: &Problem) -> Result<(), Trouble> {
        self.sound = false;
        stream.broken = true;
        let Problem { code, id, detail } = problem;
        if self.json {
            return self.object(&ProblemLine {
                place: stream.place(),
                problem: code,
                offset: stream.offset,
                id: id.map(|id| format!("{id:04X}")),
                detail,
            });
        }
        let head = line_head(stream);
        let offset = stream.offset;
        writeln!(self.out, "{head} !! {code} at byte {offset}: {detail}").map_err(Trouble::Output)
    }

    /// Whether a cipher hides the ids of a stream that begins with `head`.
    fn detect_cipher(&self, head: &[u8]) -> Hidden {
        let mut detector = Detector::new(vec![Arc::clone(&self.table)]);
        match detector.note(Role::Map, Direction::ClientToServer, head) {
            Detection::NeedMore => Hidden::TooShort,
            Detection::Table {
                table,
                ciphered: true,
                ..
            } => match table.cipher() {
                Some(keys) => Hidden::Yes(IdCipher::new(keys)),
                None => Hidden::No,
            },
            Detection::Table { .. } | Detection::Unknown { .. } => Hidden::No,
        }
    }

    fn line(
        &mut self,
        stream: &Stream,
        id: &str,
        name: &str,
        packet: &Decoded,
    ) -> Result<(), Trouble> {
        let mut line = line_head(stream);
        let class = packet.class.as_str();
        line.push_str(&format!(" {id} {name} {class} {}", packet.length));
        for field in &packet.fields {
            line.push_str(&format!(" {field}"));
        }
        writeln!(self.out, "{line}").map_err(Trouble::Output)
    }

    fn object(&mut self, line: &impl Serialize) -> Result<(), Trouble> {
        serde_json::to_writer(&mut self.out, line)
            .map_err(|error| Trouble::Output(error.into()))?;
        writeln!(self.out).map_err(Trouble::Output)
    }
}

/// Time, connection and direction.
fn line_head(stream: &Stream) -> String {
    let (ms, us) = (stream.time_us / 1000, stream.time_us % 1000);
    let arrow = match stream.origin.direction {
        Direction::ClientToServer => "C>S",
        Direction::ServerToClient => "S>C",
    };
    format!("{ms:>8}.{us:03} {} {arrow}", stream.label)
}

fn unframeable(reason: Option<OpaqueReason>) -> Problem {
    let id = match reason {
        Some(OpaqueReason::UnknownId(id) | OpaqueReason::BadLength { id, .. }) => Some(id),
        None => None,
    };
    let detail = reason.map(|reason| reason.to_string()).unwrap_or_default();
    Problem {
        code: reason.map_or("opaque", |reason| reason.code()),
        id,
        detail: format!("{detail}; the rest of this direction is not shown"),
    }
}

/// `rest` is the beginning of a packet whose rest never came.
fn unfinished(table: &PacketTable, stream: &Stream, rest: &[u8]) -> Problem {
    let raw_aid = stream.offset == 0
        && (stream.origin.role, stream.origin.direction) == (Role::Char, Direction::ServerToClient);
    let id = rest
        .first_chunk()
        .filter(|_| !stream.ciphered && !raw_aid)
        .map(|id| u16::from_le_bytes(*id));
    let length = id.and_then(|id| match table.length_of(id)? {
        PacketLength::Fixed(length) => Some(length),
        PacketLength::Variable => {
            let field = rest.get(2..)?.first_chunk()?;
            Some(u16::from_le_bytes(*field))
        }
    });
    let name = id.map_or_else(String::new, |id| format!(" of packet {id:04X}"));
    let whole = length.map_or_else(String::new, |length| format!(" of {length}"));
    Problem {
        code: "unfinished-packet",
        id,
        detail: format!("the stream ends after {}{whole} bytes{name}", rest.len()),
    }
}

impl<W: Write> Sink for Show<W> {
    fn open(&mut self, origin: Origin) -> u64 {
        let role = match origin.role {
            Role::Login => "login",
            Role::Char => "char",
            Role::Map => "map",
        };
        let label = match &origin.session {
            Some(session) => format!("{session}/{role}#{}", origin.number),
            None => format!("{role}#{}", origin.number),
        };
        let client = origin.direction == Direction::ClientToServer;
        // In the middle of a stream there is no raw account id, and a cipher's turn is not known.
        let framed_as = if origin.whole { origin.role } else { Role::Map };
        let may_hide_ids =
            client && origin.whole && origin.role == Role::Map && self.table.cipher().is_some();
        if !origin.whole {
            eprintln!(
                "warp-node: {}: {label} began before the capture; its first packet may be none",
                origin.file
            );
        }
        self.next += 1;
        let stream = Stream {
            framer: Framer::new(Arc::clone(&self.table), framed_as, origin.direction),
            head: may_hide_ids.then(Vec::new),
            ciphered: false,
            origin,
            label,
            offset: 0,
            broken: false,
            time_us: 0,
        };
        self.streams.insert(self.next, stream);
        self.next
    }

    fn data(&mut self, stream: u64, time_us: u64, bytes: &[u8]) -> Result<(), Trouble> {
        let Some(mut one) = self.streams.remove(&stream) else {
            return Ok(());
        };
        one.time_us = time_us;
        if !one.broken {
            one.framer.push(bytes);
            if let Some(head) = &mut one.head {
                head.extend_from_slice(bytes);
                match self.detect_cipher(head) {
                    Hidden::TooShort => {}
                    Hidden::No => one.head = None,
                    Hidden::Yes(cipher) => {
                        one.head = None;
                        one.ciphered = true;
                        one.framer.set_cipher(cipher);
                    }
                }
            }
            if one.head.is_none() {
                self.drain(&mut one)?;
            }
        }
        self.streams.insert(stream, one);
        Ok(())
    }

    fn gap(&mut self, stream: u64, time_us: u64, missing: u64) -> Result<(), Trouble> {
        let Some(mut one) = self.streams.remove(&stream) else {
            return Ok(());
        };
        if !one.broken {
            one.time_us = time_us;
            let waiting = one.framer.pending();
            let problem = Problem {
                code: "gap",
                id: None,
                detail: format!(
                    "{missing} bytes are not in the capture, behind {waiting} bytes of a packet; \
                     the rest of this direction is not shown"
                ),
            };
            self.problem(&mut one, &problem)?;
        }
        self.streams.insert(stream, one);
        Ok(())
    }

    fn end(&mut self, stream: u64, time_us: u64) -> Result<(), Trouble> {
        let Some(mut one) = self.streams.remove(&stream) else {
            return Ok(());
        };
        one.time_us = time_us;
        if !one.broken
            && let Some(rest) = one.framer.finish()
        {
            let problem = unfinished(&self.table, &one, &rest.bytes);
            self.problem(&mut one, &problem)?;
        }
        Ok(())
    }

    fn wants(&self, stream: u64) -> bool {
        self.streams.get(&stream).is_some_and(|one| !one.broken)
    }
}
