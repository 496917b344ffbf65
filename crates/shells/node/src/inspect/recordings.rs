//! Text recordings, one after another or put together by time.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::rc::Rc;

use warp_ro_packet::recording::{Item, MAX_LINE, Mistake, Parser};
use warp_ro_packet::{Direction, Role};

use super::stream::{Origin, Sink, Trouble};

/// What the command line says about recordings; it wins over what they say themselves.
#[derive(Debug, Clone, Copy)]
pub(super) struct Hints {
    pub(super) role: Option<Role>,
    pub(super) direction: Option<Direction>,
}

/// One recording that is being read.
struct Reader {
    parser: Parser,
    lines: BufReader<File>,
    line: Vec<u8>,
    origin: Origin,
    stream: Option<u64>,
    /// What comes next.
    next: Option<Item>,
    /// When the last item was.
    time_us: u64,
}

/// Reads recordings into `sink`. Those of one tag and one clock are put together by time, clocks
/// follow one another in the order of their first file. Returns whether all could be read to
/// their ends; `tell` hears why not.
pub(super) fn read(
    paths: &[&Path],
    hints: Hints,
    sink: &mut dyn Sink,
    tell: &mut dyn FnMut(&str),
) -> Result<bool, Trouble> {
    let mut readable = true;
    let mut groups: Vec<Vec<Reader>> = Vec::new();
    for (path, number) in paths.iter().zip(1..) {
        match Reader::open(path, number, hints) {
            Ok(reader) => {
                let group = groups
                    .iter_mut()
                    .find(|group| group.iter().any(|one| one.shares_clock(&reader)));
                match group {
                    Some(group) => group.push(reader),
                    None => groups.push(vec![reader]),
                }
            }
            Err(message) => {
                readable = false;
                tell(&message);
            }
        }
    }
    for group in groups {
        readable &= merge(group, sink, tell)?;
    }
    Ok(readable)
}

fn merge(
    mut readers: Vec<Reader>,
    sink: &mut dyn Sink,
    tell: &mut dyn FnMut(&str),
) -> Result<bool, Trouble> {
    let mut readable = true;
    loop {
        let earliest = readers
            .iter_mut()
            .filter_map(|reader| Some((time_of(reader.next.as_ref()?), reader)))
            // The first of equals: the order of the files.
            .min_by_key(|(time_us, _)| *time_us);
        let Some((_, reader)) = earliest else {
            return Ok(readable);
        };
        if let Err(message) = reader.step(sink)? {
            readable = false;
            tell(&message);
        }
    }
}

fn time_of(item: &Item) -> u64 {
    match item {
        Item::Data { time_us, .. } | Item::End { time_us } => *time_us,
    }
}

impl Reader {
    /// Opens a recording and reads to its first item.
    fn open(path: &Path, number: u32, hints: Hints) -> Result<Reader, String> {
        let name = path.display().to_string();
        let file = File::open(path).map_err(|error| format!("cannot read {name}: {error}"))?;
        let mut reader = Reader {
            parser: Parser::new(&name),
            lines: BufReader::new(file),
            line: Vec::new(),
            origin: Origin {
                file: name.into(),
                session: None,
                role: Role::Map,
                direction: Direction::ClientToServer,
                number,
                whole: true,
            },
            stream: None,
            next: None,
            time_us: 0,
        };
        reader.next = reader.read_item()?;
        let header = reader.parser.header();
        let missing = |what| reader.parser.error(what).to_string();
        let role = hints.role.or(header.role);
        let direction = hints.direction.or(reader.parser.direction());
        let origin = Origin {
            file: Rc::clone(&reader.origin.file),
            role: role.ok_or_else(|| format!("{}, or --role", missing(Mistake::NoRole)))?,
            session: header.tag.as_deref().map(Rc::from),
            direction: direction.ok_or_else(|| missing(Mistake::Empty))?,
            number: header.connection.unwrap_or(number),
            whole: true,
        };
        reader.origin = origin;
        Ok(reader)
    }

    fn shares_clock(&self, other: &Reader) -> bool {
        let (one, two) = (self.parser.header(), other.parser.header());
        one.epoch_us.is_some() && (&one.tag, one.epoch_us) == (&two.tag, two.epoch_us)
    }

    /// Hands the next item on and reads the one behind it. The inner error says why the file
    /// cannot be read further.
    fn step(&mut self, sink: &mut dyn Sink) -> Result<Result<(), String>, Trouble> {
        let stream = match self.stream {
            Some(stream) => stream,
            None => *self.stream.insert(sink.open(self.origin.clone())),
        };
        match self.next.take() {
            Some(Item::Data { time_us, bytes }) => {
                self.time_us = time_us;
                sink.data(stream, time_us, &bytes)?;
            }
            Some(Item::End { time_us }) => self.time_us = time_us,
            None => return Ok(Ok(())),
        }
        let next = if sink.wants(stream) {
            self.read_item()
        } else {
            Ok(None)
        };
        let problem = match next {
            Ok(item) => {
                self.next = item;
                Ok(())
            }
            Err(message) => Err(message),
        };
        if self.next.is_none() {
            sink.end(stream, self.time_us)?;
        }
        Ok(problem)
    }

    fn read_item(&mut self) -> Result<Option<Item>, String> {
        loop {
            self.line.clear();
            // One byte more than the longest line with its end: the parser then sees that it is too long.
            let limit = MAX_LINE as u64 + 2;
            let read = (&mut self.lines)
                .take(limit)
                .read_until(b'\n', &mut self.line)
                .map_err(|error| format!("cannot read {}: {error}", self.origin.file))?;
            if read == 0 {
                return Ok(None);
            }
            let item = self.parser.line(&self.line);
            if let Some(item) = item.map_err(|error| error.to_string())? {
                return Ok(Some(item));
            }
        }
    }
}
