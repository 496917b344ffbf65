//! What the client expects, and how it judges what came.

use std::collections::{HashSet, VecDeque};
use std::net::{SocketAddr, SocketAddrV4};

use tokio::time::Instant;
use warp_ro_packet::coords::unpack_pos;

use super::{Deviation, DeviationCode};
use crate::game::{Account, Map, Place};
use crate::wire::units::{is_sound_unit, unit_id};
use crate::wire::{Fields, id_of, packets, tick};

/// One expected answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum What {
    /// Exactly these bytes.
    Bytes(Vec<u8>),
    /// 007F with a sound tick.
    Time,
    /// 0087 with a sound tick.
    Walk { from: (u16, u16), to: (u16, u16) },
    /// 0091 or 0AC7 to this place; in the first case followed by this line of chat.
    Journey {
        to: Place,
        line: Option<&'static str>,
    },
}

/// An expected answer and when its request was sent.
#[derive(Debug, Clone)]
pub(super) struct Expected {
    pub(super) what: What,
    pub(super) sent: Instant,
    /// The first answer to its request: its arrival is the round trip.
    pub(super) first: bool,
}

/// Where a journey leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Journey {
    /// 0091: load this map.
    Map(Place),
    /// 0AC7: go to this server.
    Server(Place, SocketAddr),
}

/// What became of a packet.
pub(super) enum Verdict {
    /// About another unit, and sound.
    Other,
    /// The expected answer.
    Answer(Expected, Option<Journey>),
}

/// The answers that are due, in the order in which they have to come.
pub(super) struct Expectations {
    own: Account,
    queue: VecDeque<Expected>,
    last: Vec<u8>,
    /// The last tick of this connection.
    tick: u32,
}

impl Expectations {
    pub(super) fn new(own: Account, first_tick: u32) -> Self {
        Self {
            own,
            queue: VecDeque::new(),
            last: Vec::new(),
            tick: first_tick,
        }
    }

    /// A request was sent at `sent`, and calls for these answers.
    pub(super) fn push(&mut self, sent: Instant, answers: impl IntoIterator<Item = What>) {
        let mut first = true;
        for what in answers {
            self.queue.push_back(Expected { what, sent, first });
            first = false;
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    /// The answer that is due next.
    pub(super) fn next(&self) -> Option<&Expected> {
        self.queue.front()
    }

    /// Judges a packet that came while standing on `map`.
    pub(super) fn judge(&mut self, frame: &[u8], map: Map) -> Result<Verdict, Deviation> {
        if let Some(unit) = subject(frame)
            && unit != self.own.aid()
        {
            return if is_sound_other(frame, unit, map) {
                Ok(Verdict::Other)
            } else {
                let message = format!("wrong packet about unit {unit}: {}", shown(frame));
                Err(Deviation::new(DeviationCode::WrongBytes, message))
            };
        }
        if id_of(frame) == Some(0x0081) {
            let message = format!(
                "the map server ends the session with 0081 code {}",
                Fields(frame).u8(2)
            );
            return Err(Deviation::new(DeviationCode::Kicked, message));
        }
        let journey = match self.queue.front() {
            Some(expected) => self.matches(&expected.what, frame),
            None => None,
        };
        let (Some(journey), Some(answer)) = (journey, self.queue.front().cloned()) else {
            return Err(self.complain(frame));
        };
        self.queue.pop_front();
        match &answer.what {
            What::Time | What::Walk { .. } => self.tick = Fields(frame).u32(2),
            What::Journey {
                line: Some(line), ..
            } if matches!(journey, Some(Journey::Map(_))) => {
                let what = What::Bytes(packets::own_line(line));
                self.queue.push_front(Expected {
                    what,
                    sent: answer.sent,
                    first: false,
                });
            }
            _ => {}
        }
        frame.clone_into(&mut self.last);
        Ok(Verdict::Answer(answer, journey))
    }

    /// `None` for no match; the inner value says where a journey leads.
    fn matches(&self, what: &What, frame: &[u8]) -> Option<Option<Journey>> {
        let stamp = Fields(frame).u32(2);
        let in_time = || tick::is_sound(stamp) && stamp >= self.tick;
        match what {
            What::Bytes(bytes) => (frame == bytes).then_some(None),
            What::Time => (frame == packets::server_time(stamp) && in_time()).then_some(None),
            What::Walk { from, to } => {
                (frame == packets::own_walk(stamp, *from, *to) && in_time()).then_some(None)
            }
            What::Journey { to, .. } if frame == packets::load_map(*to) => {
                Some(Some(Journey::Map(*to)))
            }
            What::Journey { to, .. } => {
                let announced = Announced::of(frame, 22, 28)?;
                (announced.plain == packets::change_server(*to, announced.binary))
                    .then_some(Some(Journey::Server(*to, announced.address)))
            }
        }
    }

    fn complain(&self, frame: &[u8]) -> Deviation {
        let Some(due) = self.queue.front() else {
            let code = if frame == self.last {
                DeviationCode::DuplicateAnswer
            } else {
                DeviationCode::UnexpectedPacket
            };
            return Deviation::new(code, format!("nothing was due, but {} came", shown(frame)));
        };
        let code = if frame == self.last {
            DeviationCode::DuplicateAnswer
        } else if self
            .queue
            .iter()
            .skip(1)
            .any(|later| self.matches(&later.what, frame).is_some())
        {
            DeviationCode::OutOfOrder
        } else if due.what.may_be(id_of(frame)) {
            DeviationCode::WrongBytes
        } else {
            DeviationCode::UnexpectedPacket
        };
        Deviation::new(
            code,
            format!("{} was due, but {} came", due.what.shown(), shown(frame)),
        )
    }
}

impl What {
    fn may_be(&self, id: Option<u16>) -> bool {
        match self {
            What::Bytes(bytes) => id_of(bytes) == id,
            What::Time => id == Some(0x007F),
            What::Walk { .. } => id == Some(0x0087),
            What::Journey { .. } => matches!(id, Some(0x0091 | 0x0AC7)),
        }
    }

    /// For messages.
    pub(super) fn shown(&self) -> String {
        match self {
            What::Bytes(bytes) => shown(bytes),
            What::Time => "007F".into(),
            What::Walk { from, to } => format!("0087 from {from:?} to {to:?}"),
            What::Journey { to, .. } => {
                format!("0091 or 0AC7 to {} {},{}", to.map.name(), to.x, to.y)
            }
        }
    }
}

/// A packet for a message: its id and its first bytes.
pub(super) fn shown(frame: &[u8]) -> String {
    const BYTES: usize = 48;
    let id = id_of(frame).unwrap_or_default();
    let start = frame.get(..BYTES).unwrap_or(frame);
    let more = if frame.len() > BYTES { ".." } else { "" };
    format!(
        "{id:04X} ({} bytes: {}{more})",
        frame.len(),
        hex::encode(start)
    )
}

/// A server address that a packet announces.
pub(super) struct Announced {
    /// The IPv4 and port fields.
    pub(super) binary: SocketAddrV4,
    /// Where to go: the text field if it is filled, else the binary ones.
    pub(super) address: SocketAddr,
    /// The packet with its text field zeroed.
    pub(super) plain: Vec<u8>,
}

impl Announced {
    /// IPv4 and port at `at`, 128 bytes of text at `text`. `None` if the packet is too short, or
    /// if the text field is filled with anything but `host:port` and zeros.
    pub(super) fn of(frame: &[u8], at: usize, text: usize) -> Option<Self> {
        let fields = Fields(frame);
        let field = text..text + 128;
        let mut plain = frame.to_vec();
        let filled = plain.get_mut(field)?;
        let written = fields.text(text, 128);
        let binary = SocketAddrV4::new(fields.array::<4>(at).into(), fields.u16(at + 4));
        if filled.iter().skip(written.len()).any(|byte| *byte != 0) {
            return None;
        }
        let address = if written.is_empty() {
            binary.into()
        } else {
            std::str::from_utf8(written).ok()?.parse().ok()?
        };
        filled.fill(0);
        Some(Self {
            binary,
            address,
            plain,
        })
    }
}

/// The unit that a packet is about, for packets that are about one.
fn subject(frame: &[u8]) -> Option<u32> {
    let fields = Fields(frame);
    match id_of(frame)? {
        0x09FD..=0x09FF => Some(unit_id(frame)),
        0x008D | 0x0983 | 0x0196 => Some(fields.u32(4)),
        0x00C0 | 0x0080 | 0x01D7 | 0x08C8 | 0x009C => Some(fields.u32(2)),
        _ => None,
    }
}

/// Whether a packet about another unit is right as far as can be known.
fn is_sound_other(frame: &[u8], unit: u32, map: Map) -> bool {
    let id = id_of(frame);
    if matches!(id, Some(0x09FD..=0x09FF)) {
        return is_sound_unit(frame, map);
    }
    let Some(account) = Account::by_aid(unit) else {
        return false;
    };
    let fields = Fields(frame);
    match id {
        Some(0x008D) => {
            let Some((0, text)) = fields.rest(8).split_last() else {
                return false;
            };
            let prefix = format!("{} : ", account.character());
            text.starts_with(prefix.as_bytes())
                && !text.contains(&0)
                && frame == packets::others_line(unit, text)
        }
        Some(0x00C0) => true,
        Some(0x0080) => matches!(fields.u8(6), 0 | 2 | 3),
        Some(0x01D7) => frame == packets::looks_changed(unit),
        Some(0x0983) => frame == packets::sits_status(unit),
        Some(0x0196) => frame == packets::stands_status(unit),
        Some(0x08C8) => [2, 3]
            .iter()
            .any(|kind| frame == packets::posture_action(unit, *kind)),
        Some(0x009C) => fields.u8(8) < 8,
        _ => false,
    }
}

/// Checks the units of a load burst: sound, each once, the map's portal among them.
#[derive(Default)]
pub(super) struct Sights(HashSet<u32>);

impl Sights {
    pub(super) fn add(&mut self, frame: &[u8], map: Map, own: Account) -> Result<(), Deviation> {
        let unit = unit_id(frame);
        let (x, y, _) = unpack_pos(Fields(frame).array(63));
        let wrong = if !is_sound_unit(frame, map) || unit == own.aid() {
            "wrong unit"
        } else if !self.0.insert(unit) {
            "the same unit twice"
        } else {
            return Ok(());
        };
        let message = format!("{wrong} at {x},{y} while loading: {}", shown(frame));
        Err(Deviation::new(DeviationCode::WrongBytes, message))
    }

    pub(super) fn players(&self) -> u64 {
        self.0
            .iter()
            .filter(|id| Account::by_aid(**id).is_some())
            .count() as u64
    }

    pub(super) fn finish(&self, map: Map) -> Result<(), Deviation> {
        if self.0.contains(&map.portal().id) {
            return Ok(());
        }
        let message = format!("the portal of {} was not announced", map.name());
        Err(Deviation::new(DeviationCode::AnswerMissing, message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::tick::tick_at;
    use crate::wire::units::{Looks, Posture};

    fn me() -> Account {
        Account::numbered(1).unwrap()
    }

    fn due(answers: impl IntoIterator<Item = What>) -> Expectations {
        let mut due = Expectations::new(me(), tick_at(1_000));
        due.push(Instant::now(), answers);
        due
    }

    fn code(due: &mut Expectations, frame: &[u8]) -> Result<(), DeviationCode> {
        due.judge(frame, Map::Prontera)
            .map(|_verdict| ())
            .map_err(|deviation| deviation.code)
    }

    #[test]
    fn deviations_are_told_apart() {
        let line = |text: &str| packets::own_line(text);
        let answers = || [What::Bytes(line("a")), What::Bytes(line("b")), What::Time];
        let mut expect = due(answers());
        assert_eq!(
            code(&mut expect, &line("b")),
            Err(DeviationCode::OutOfOrder)
        );
        assert_eq!(
            code(&mut expect, &line("x")),
            Err(DeviationCode::WrongBytes)
        );
        assert_eq!(
            code(&mut expect, &packets::quit_granted()),
            Err(DeviationCode::UnexpectedPacket)
        );
        assert_eq!(code(&mut expect, &line("a")), Ok(()));
        assert_eq!(
            code(&mut expect, &line("a")),
            Err(DeviationCode::DuplicateAnswer)
        );
        assert_eq!(
            code(&mut expect, &packets::notify_ban(2)),
            Err(DeviationCode::Kicked)
        );
        assert_eq!(code(&mut expect, &line("b")), Ok(()));
        assert_eq!(
            code(&mut expect, &packets::server_time(tick_at(10))),
            Err(DeviationCode::WrongBytes)
        );
        let time = packets::server_time(tick_at(2_000));
        assert_eq!(code(&mut expect, &time), Ok(()));
        assert!(expect.is_empty());
        assert_eq!(
            code(&mut expect, &time),
            Err(DeviationCode::DuplicateAnswer)
        );
        assert_eq!(
            code(&mut expect, &line("z")),
            Err(DeviationCode::UnexpectedPacket)
        );
    }

    #[test]
    fn a_journey_may_stay_or_leave() {
        let to = Map::Geffen.landing();
        let journey = || What::Journey {
            to,
            line: Some("Warped."),
        };
        let mut stay = due([journey()]);
        let verdict = stay
            .judge(&packets::load_map(to), Map::Prontera)
            .ok()
            .unwrap();
        assert!(matches!(verdict, Verdict::Answer(_, Some(Journey::Map(place))) if place == to));
        assert_eq!(code(&mut stay, &packets::own_line("Warped.")), Ok(()));
        assert!(stay.is_empty());

        let announced: SocketAddrV4 = "10.0.0.1:5122".parse().unwrap();
        let packet = packets::change_server(to, announced);
        let verdict = due([journey()]).judge(&packet, Map::Prontera).ok().unwrap();
        assert!(
            matches!(verdict, Verdict::Answer(_, Some(Journey::Server(_, address))) if address == announced.into())
        );

        let mut text = packet.clone();
        text[28..44].copy_from_slice(b"127.0.0.1:55555\0");
        let verdict = due([journey()]).judge(&text, Map::Prontera).ok().unwrap();
        assert!(
            matches!(verdict, Verdict::Answer(_, Some(Journey::Server(_, address))) if address.port() == 55_555)
        );
        text[60] = 1;
        assert_eq!(
            code(&mut due([journey()]), &text),
            Err(DeviationCode::WrongBytes)
        );
        let mut other = packet;
        other[18] ^= 1;
        assert_eq!(
            code(&mut due([journey()]), &other),
            Err(DeviationCode::WrongBytes)
        );
    }

    #[test]
    fn packets_about_others_pass_unless_they_are_wrong() {
        let other = Account::numbered(2).unwrap();
        let aid = other.aid();
        let looks = Looks::player(other);
        let good = [
            packets::others_line(aid, b"Practice 2 : hello"),
            packets::unit_emote(aid, 3),
            packets::vanish(aid, packets::Vanish::LoggedOff),
            packets::looks_changed(aid),
            packets::sits_status(aid),
            packets::stands_status(aid),
            packets::posture_action(aid, 2),
            packets::unit_looks(aid, 0, 7),
            looks.standing(1, 2, 3, Posture::Sitting),
            looks.arriving(1, 2, 3),
            looks.walking(tick_at(5), (1, 2), (3, 4)),
        ];
        for frame in &good {
            let verdict = due([]).judge(frame, Map::Prontera).ok().unwrap();
            assert!(matches!(verdict, Verdict::Other), "{}", shown(frame));
        }
        let bad = [
            packets::others_line(aid, b"Practice 3 : hello"),
            packets::others_line(aid, b"Practice 2 : he\0llo"),
            packets::unit_emote(77, 3),
            packets::posture_action(aid, 1),
            packets::unit_looks(aid, 0, 8),
            looks.standing(1, 2, 9, Posture::Sitting),
            looks.walking(tick_at(5) ^ 1, (1, 2), (3, 4)),
        ];
        for frame in &bad {
            assert_eq!(
                code(&mut due([]), frame),
                Err(DeviationCode::WrongBytes),
                "{}",
                shown(frame)
            );
        }
        let own = packets::vanish(me().aid(), packets::Vanish::LoggedOff);
        assert_eq!(
            code(&mut due([]), &own),
            Err(DeviationCode::UnexpectedPacket)
        );
    }

    #[test]
    fn a_load_burst_shows_the_portal_and_nobody_twice() {
        let map = Map::Prontera;
        let other =
            Looks::player(Account::numbered(2).unwrap()).standing(1, 2, 0, Posture::Standing);
        let portal = map.portal();
        let gate = Looks::portal(portal).standing(portal.at.x, portal.at.y, 0, Posture::Standing);
        let mut sights = Sights::default();
        sights.add(&other, map, me()).ok().unwrap();
        assert!(sights.finish(map).is_err());
        assert!(sights.add(&other, map, me()).is_err());
        sights.add(&gate, map, me()).ok().unwrap();
        assert!(sights.finish(map).is_ok());
        assert_eq!(sights.players(), 1);
        let own = Looks::player(me()).standing(1, 2, 0, Posture::Standing);
        assert!(Sights::default().add(&own, map, me()).is_err());
    }
}
