//! Recorded sessions as text: one file per TCP connection and direction.
//!
//! ```text
//! # tag=s1 conn=5 role=map (client to server) epoch0=1795213830.389  t_ms is ms since epoch0
//! 6819.333 C 360482841e00f2490200bdad4661000000009323d30000
//! 6822.379 C 7d00
//! 160919.582 C EOF
//! ```
//!
//! Lines are `t_ms DIR hex`, the bytes as one read of the socket returned them, before any
//! rewriting; `t_ms DIR EOF` ends the stream. `DIR` is `C` for what the client sent and `S` for
//! what the server sent, the same in a whole file. `t_ms` are milliseconds since `epoch0` with up
//! to three decimals; files of one tag and one `epoch0` share one clock. The first comment with a
//! `role=` is the header; what it does not say can be given from outside. Empty lines and other
//! comments are passed over.
//!
//! [`Parser`] takes line after line, for files of any size; [`parse`] takes a whole file. A line
//! is at most [`MAX_LINE`] bytes long. Errors name file, line and what was expected, and never
//! show what stood there: recordings hold passwords.

use std::fmt;

use bytes::Bytes;

use crate::{Direction, Role};

/// Longest line in bytes, without its end.
pub const MAX_LINE: usize = 256 * 1024;

/// What the header line of a recording says; everything is optional there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Header {
    /// `tag=`: the session that the file belongs to.
    pub tag: Option<String>,
    /// `conn=`: the number of the connection in that session.
    pub connection: Option<u32>,
    /// `role=`: which server the connection leads to.
    pub role: Option<Role>,
    /// `(client to server)` or `(server to client)`.
    pub direction: Option<Direction>,
    /// `epoch0=`: the clock of the session began at this Unix time, in microseconds.
    pub epoch_us: Option<u64>,
}

/// What one line says.
#[derive(Clone, PartialEq, Eq)]
pub enum Item {
    /// Bytes were read.
    Data {
        /// Microseconds since the header's epoch.
        time_us: u64,
        /// What was read; never empty.
        bytes: Bytes,
    },
    /// The stream ended.
    End {
        /// Microseconds since the header's epoch.
        time_us: u64,
    },
}

impl fmt::Debug for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Item::Data { time_us, bytes } => f
                .debug_struct("Data")
                .field("time_us", time_us)
                .field("len", &bytes.len())
                .finish(),
            Item::End { time_us } => f.debug_struct("End").field("time_us", time_us).finish(),
        }
    }
}

/// A whole recording.
#[derive(Clone, PartialEq, Eq)]
pub struct Recording {
    /// What the header says.
    pub header: Header,
    /// Which server the connection leads to.
    pub role: Role,
    /// Which way the bytes travel.
    pub direction: Direction,
    /// Microseconds since the header's epoch, and what was read then.
    pub items: Vec<(u64, Bytes)>,
    /// When the stream ended, if the recording says so.
    pub eof: Option<u64>,
}

impl fmt::Debug for Recording {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recording")
            .field("header", &self.header)
            .field("role", &self.role)
            .field("direction", &self.direction)
            .field("items", &self.items.len())
            .field("eof", &self.eof)
            .finish()
    }
}

/// Why a recording cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}, line {line}: {what}")]
pub struct RecordingError {
    /// The file's name as it was given.
    pub file: String,
    /// Counted from 1.
    pub line: usize,
    /// What is wrong there, and what is expected.
    pub what: Mistake,
}

/// What is wrong in a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Mistake {
    /// The line is too long.
    #[error("the line is longer than {MAX_LINE} bytes")]
    LineTooLong,
    /// The line is not `t_ms DIR hex`.
    #[error("expected `t_ms DIR hex` or `t_ms DIR EOF`")]
    Shape,
    /// The time is not a number.
    #[error("expected a time in milliseconds as the first word, such as 6819.333")]
    Time,
    /// The direction is neither `C` nor `S`.
    #[error("expected C (client) or S (server) as the second word")]
    Side,
    /// The direction differs from the file's.
    #[error("a file holds one direction, and this line has the other")]
    OtherSide,
    /// The bytes are not hex.
    #[error("expected pairs of hex digits, or EOF, as the third word")]
    Hex,
    /// There is something behind the end of the stream.
    #[error("expected nothing behind EOF")]
    BehindEnd,
    /// The header names no role.
    #[error("expected a header line `# tag=.. conn=.. role=login|char|map ..` first")]
    NoRole,
    /// The header names an unknown role.
    #[error("expected role=login, role=char or role=map")]
    Role,
    /// A value of the header is no number.
    #[error("expected a number behind {0}=")]
    HeaderNumber(&'static str),
    /// The file holds no line that says a direction.
    #[error("the file is empty")]
    Empty,
}

/// Reads a recording line by line.
#[derive(Debug, Clone)]
pub struct Parser {
    file: String,
    line: usize,
    header: Header,
    /// The direction that the lines have in common.
    side: Option<Direction>,
    ended: bool,
}

impl Parser {
    /// A parser in front of the first line of the file called `file`.
    #[must_use]
    pub fn new(file: impl Into<String>) -> Parser {
        Parser {
            file: file.into(),
            line: 0,
            header: Header::default(),
            side: None,
            ended: false,
        }
    }

    /// Takes the next line, with or without its end. `None`: it says nothing about the stream.
    ///
    /// # Errors
    ///
    /// When the line is none of the format; the next line can be given all the same.
    pub fn line(&mut self, line: &[u8]) -> Result<Option<Item>, RecordingError> {
        self.line += 1;
        self.read(line).map_err(|what| self.error(what))
    }

    /// What the header line said; empty until it was read.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The direction: the header's, or that of the lines so far.
    #[must_use]
    pub fn direction(&self) -> Option<Direction> {
        self.header.direction.or(self.side)
    }

    /// An error about the line that was read last.
    #[must_use]
    pub fn error(&self, what: Mistake) -> RecordingError {
        RecordingError {
            file: self.file.clone(),
            line: self.line.max(1),
            what,
        }
    }

    fn read(&mut self, line: &[u8]) -> Result<Option<Item>, Mistake> {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        if line.len() > MAX_LINE {
            return Err(Mistake::LineTooLong);
        }
        let line = line.trim_ascii();
        if line.is_empty() {
            return Ok(None);
        }
        if let Some(comment) = line.strip_prefix(b"#") {
            if self.header.role.is_none() && self.side.is_none() {
                self.header = header(&String::from_utf8_lossy(comment))?;
            }
            return Ok(None);
        }
        let mut words = line
            .split(u8::is_ascii_whitespace)
            .filter(|word| !word.is_empty());
        let (Some(time), Some(side), Some(content), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(Mistake::Shape);
        };
        let time_us = thousandths(time).ok_or(Mistake::Time)?;
        let side = match side {
            b"C" => Direction::ClientToServer,
            b"S" => Direction::ServerToClient,
            _ => return Err(Mistake::Side),
        };
        if self.direction().is_some_and(|known| known != side) {
            return Err(Mistake::OtherSide);
        }
        self.side = Some(side);
        if self.ended {
            return Err(Mistake::BehindEnd);
        }
        if content == b"EOF" {
            self.ended = true;
            return Ok(Some(Item::End { time_us }));
        }
        let bytes = hex::decode(content).map_err(|_| Mistake::Hex)?;
        Ok(Some(Item::Data {
            time_us,
            bytes: bytes.into(),
        }))
    }
}

/// Reads a whole recording. `file` is its name, for errors.
///
/// # Errors
///
/// The first line that is none of the format, or a file without role or direction.
pub fn parse(file: &str, text: &str) -> Result<Recording, RecordingError> {
    let mut parser = Parser::new(file);
    let mut items = Vec::new();
    let mut eof = None;
    for line in text.lines() {
        match parser.line(line.as_bytes())? {
            Some(Item::Data { time_us, bytes }) => items.push((time_us, bytes)),
            Some(Item::End { time_us }) => eof = Some(time_us),
            None => {}
        }
    }
    let role = parser.header.role.ok_or_else(|| RecordingError {
        line: 1,
        ..parser.error(Mistake::NoRole)
    })?;
    let direction = parser
        .direction()
        .ok_or_else(|| parser.error(Mistake::Empty))?;
    Ok(Recording {
        header: parser.header,
        role,
        direction,
        items,
        eof,
    })
}

fn header(comment: &str) -> Result<Header, Mistake> {
    let mut header = Header::default();
    for word in comment.split_whitespace() {
        match word.split_once('=') {
            Some(("tag", tag)) => header.tag = Some(tag.to_owned()),
            Some(("conn", number)) => {
                let number = number.parse().map_err(|_| Mistake::HeaderNumber("conn"))?;
                header.connection = Some(number);
            }
            Some(("role", role)) => {
                header.role = Some(match role {
                    "login" => Role::Login,
                    "char" => Role::Char,
                    "map" => Role::Map,
                    _ => return Err(Mistake::Role),
                });
            }
            Some(("epoch0", seconds)) => {
                let epoch = millionths(seconds).ok_or(Mistake::HeaderNumber("epoch0"))?;
                header.epoch_us = Some(epoch);
            }
            _ => {}
        }
    }
    if comment.contains("(client to server)") {
        header.direction = Some(Direction::ClientToServer);
    } else if comment.contains("(server to client)") {
        header.direction = Some(Direction::ServerToClient);
    }
    Ok(header)
}

/// A decimal number of milliseconds, in microseconds. Digits beyond are dropped.
fn thousandths(word: &[u8]) -> Option<u64> {
    decimal(std::str::from_utf8(word).ok()?, 3)
}

/// A decimal number of seconds, in microseconds. Digits beyond are dropped.
fn millionths(word: &str) -> Option<u64> {
    decimal(word, 6)
}

/// `word` times ten to the power of `digits`, without floats: nothing is rounded.
fn decimal(word: &str, digits: usize) -> Option<u64> {
    let (whole, fraction) = word.split_once('.').unwrap_or((word, ""));
    let digit = |byte: &u8| byte.is_ascii_digit();
    if !whole
        .as_bytes()
        .iter()
        .chain(fraction.as_bytes())
        .all(digit)
    {
        return None;
    }
    let fraction = format!("{:0<digits$}", fraction.get(..digits).unwrap_or(fraction));
    let fraction: u64 = fraction.parse().ok()?;
    let scale = 10u64.checked_pow(u32::try_from(digits).ok()?)?;
    whole
        .parse::<u64>()
        .ok()?
        .checked_mul(scale)?
        .checked_add(fraction)
}
