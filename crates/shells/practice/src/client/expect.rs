//! What the client expects, and how it judges what came.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::time::Instant;

use super::announced::Announced;
use super::{Deviation, DeviationCode};
use crate::game::{Account, Map, Place, unknown_command};
use crate::wire::units::unit_id;
use crate::wire::{Dialect, Fields, id_of, packets, tick};

/// One expected answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum What {
    /// Exactly these bytes.
    Bytes(Vec<u8>),
    /// 007F with a sound tick.
    Time,
    /// 0087 with a sound tick.
    Walk { from: (u16, u16), to: (u16, u16) },
    /// 0091 to this place, followed by this line of chat; or the other server's address.
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
    /// 0AC7 or 0092: go to this server.
    Server(Place, SocketAddr),
}

/// What became of a packet.
pub(super) enum Verdict {
    /// About another unit, and sound.
    Other,
    /// The expected answer.
    Answer(Expected, Option<Journey>),
    /// The server's tick (007F), which nothing called for: a bridge may ask for it to keep a
    /// connection alive while its client is away.
    ExtraTime,
    /// A line of the player's own from before the session was a new one.
    Kept,
    /// A system line in answer to a command that the bridge answers.
    Line(String),
    /// A line of a notice that the bridge shows.
    Notice(String),
}

/// The answers that are due, in the order in which they have to come.
pub(super) struct Expectations {
    dialect: Arc<Dialect>,
    own: Account,
    queue: VecDeque<Expected>,
    last: Vec<u8>,
    /// The last tick of this connection.
    tick: u32,
    /// Own lines of an earlier session, which a bridge may have kept, in order.
    given_up: VecDeque<Vec<u8>>,
    /// The message that a bridge is to answer; while it is here, system lines may come.
    command: Option<String>,
    /// Notices may come at any time.
    notices: bool,
}

impl Expectations {
    pub(super) fn new(dialect: Arc<Dialect>, own: Account, first_tick: u32, notices: bool) -> Self {
        Self {
            dialect,
            own,
            queue: VecDeque::new(),
            last: Vec::new(),
            tick: first_tick,
            given_up: VecDeque::new(),
            command: None,
            notices,
        }
    }

    /// From now on system lines may come, in answer to this message; with `None` no longer.
    pub(super) fn listen(&mut self, command: Option<String>) {
        self.command = command;
    }

    /// A request was sent at `sent`, and calls for these answers.
    pub(super) fn push(&mut self, sent: Instant, answers: impl IntoIterator<Item = What>) {
        let mut first = true;
        for what in answers {
            self.queue.push_back(Expected { what, sent, first });
            first = false;
        }
    }

    /// The session is a new one: nothing is due any more, though lines of chat may still come back.
    /// The server's tick begins anew. Returns how many answers were due.
    pub(super) fn give_up(&mut self) -> usize {
        let due = self.queue.len();
        let lines = self
            .queue
            .drain(..)
            .filter_map(|expected| match expected.what {
                What::Bytes(bytes) if id_of(&bytes) == Some(packets::OWN_LINE) => Some(bytes),
                _ => None,
            });
        self.given_up = lines.collect();
        self.tick = 0;
        due
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
        if let Some(unit) = subject(&self.dialect, frame)
            && unit != self.own.aid()
        {
            return if is_sound_other(&self.dialect, frame, unit, map) {
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
            return self.unasked(frame);
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

    /// Judges a packet that is not the answer that is due.
    fn unasked(&mut self, frame: &[u8]) -> Result<Verdict, Deviation> {
        if let Some(place) = self.given_up.iter().position(|line| line == frame) {
            self.given_up.drain(..=place);
            return Ok(Verdict::Kept);
        }
        if self.matches(&What::Time, frame).is_some() {
            self.tick = Fields(frame).u32(2);
            return Ok(Verdict::ExtraTime);
        }
        if let Some(line) = self.line_of_notice(frame) {
            return Ok(Verdict::Notice(line));
        }
        match &self.command {
            Some(command) if id_of(frame) == Some(packets::OWN_LINE) => {
                let line = packets::line_text(frame).ok_or_else(|| self.complain(frame))?;
                let said = format!("{} : {command}", self.own.character());
                if line == said || Some(line) == unknown_command(command).as_deref() {
                    let message =
                        format!("the server answers {command:?}, which a bridge should have");
                    return Err(Deviation::new(DeviationCode::ReachedServer, message));
                }
                Ok(Verdict::Line(line.to_owned()))
            }
            _ => Err(self.complain(frame)),
        }
    }

    /// A notice begins by saying whose it is; its further lines are indented.
    fn line_of_notice(&self, frame: &[u8]) -> Option<String> {
        if !self.notices || id_of(frame) != Some(packets::OWN_LINE) {
            return None;
        }
        let line = packets::line_text(frame)?;
        let is_one = line.starts_with("notice from ") || line.starts_with("  ");
        is_one.then(|| line.to_owned())
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
                let announced = Announced::of(&self.dialect, frame)?;
                (announced.plain == self.dialect.change_server(*to, announced.binary))
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
        } else if due.what.may_be(&self.dialect, id_of(frame)) {
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
    fn may_be(&self, dialect: &Dialect, id: Option<u16>) -> bool {
        match self {
            What::Bytes(bytes) => id_of(bytes) == id,
            What::Time => id == Some(packets::SERVER_TIME),
            What::Walk { .. } => id == Some(0x0087),
            What::Journey { .. } => [0x0091, dialect.facts.announcing.change_server]
                .map(Some)
                .contains(&id),
        }
    }

    /// For messages.
    pub(super) fn shown(&self) -> String {
        match self {
            What::Bytes(bytes) => shown(bytes),
            What::Time => "007F".into(),
            What::Walk { from, to } => format!("0087 from {from:?} to {to:?}"),
            What::Journey { to, .. } => {
                let (map, x, y) = (to.map.name(), to.x, to.y);
                format!("0091 or the other server's address, to {map} {x},{y},")
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

/// The unit that a packet is about, for packets that are about one.
fn subject(dialect: &Dialect, frame: &[u8]) -> Option<u32> {
    let fields = Fields(frame);
    if dialect.is_unit(frame) {
        return Some(unit_id(frame));
    }
    match id_of(frame)? {
        0x008D | 0x0983 | 0x0196 => Some(fields.u32(4)),
        0x00C0 | 0x0080 | 0x01D7 | 0x009C => Some(fields.u32(2)),
        id if id == dialect.facts.posture.0 => Some(fields.u32(2)),
        _ => None,
    }
}

/// Whether a packet about another unit is right as far as can be known.
fn is_sound_other(dialect: &Dialect, frame: &[u8], unit: u32, map: Map) -> bool {
    if dialect.is_unit(frame) {
        return dialect.is_sound_unit(frame, map);
    }
    let Some(account) = Account::by_aid(unit) else {
        return false;
    };
    let fields = Fields(frame);
    match id_of(frame) {
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
        Some(0x01D7) => frame == dialect.looks_changed(unit),
        Some(0x0983) => frame == packets::sits_status(unit),
        Some(0x0196) => frame == packets::stands_status(unit),
        Some(0x009C) => fields.u8(8) < 8,
        Some(id) if id == dialect.facts.posture.0 => [2, 3]
            .iter()
            .any(|kind| frame == dialect.posture_action(unit, *kind)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddrV4;

    use super::*;
    use crate::wire::dialect::tests::{all, newest};
    use crate::wire::tick::tick_at;
    use crate::wire::units::{Looks, Posture};

    fn me() -> Account {
        Account::numbered(1).unwrap()
    }

    fn due(answers: impl IntoIterator<Item = What>) -> Expectations {
        due_in(newest(), answers)
    }

    fn due_in(dialect: Arc<Dialect>, answers: impl IntoIterator<Item = What>) -> Expectations {
        let mut due = Expectations::new(dialect, me(), tick_at(1_000), false);
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
            code(&mut expect, &line("z")),
            Err(DeviationCode::UnexpectedPacket)
        );
    }

    #[test]
    fn a_time_may_come_unasked_but_not_a_wrong_one() {
        let line = packets::own_line("a");
        let mut expect = due([What::Bytes(line.clone())]);
        let time = |ms| packets::server_time(tick_at(ms));
        let extra = expect.judge(&time(5_000), Map::Prontera);
        assert!(matches!(extra, Ok(Verdict::ExtraTime)));
        let earlier = code(&mut expect, &time(2_000));
        assert_eq!(earlier, Err(DeviationCode::UnexpectedPacket));
        let unsound = code(&mut expect, &packets::server_time(tick_at(6_000) ^ 1));
        assert_eq!(unsound, Err(DeviationCode::UnexpectedPacket));
        assert_eq!(code(&mut expect, &line), Ok(()));
        let extra = expect.judge(&time(5_000), Map::Prontera);
        assert!(matches!(extra, Ok(Verdict::ExtraTime)));
    }

    #[test]
    fn system_lines_may_come_only_for_a_command_and_not_from_the_server() {
        let line = |text: &str| packets::own_line(text);
        let answer = line("path: direct");
        let mut expect = due([]);
        let unexpected = Err(DeviationCode::UnexpectedPacket);
        assert_eq!(code(&mut expect, &answer), unexpected);
        for command in ["/p2p status", "@p2p"] {
            expect.listen(Some(command.to_owned()));
            let verdict = expect.judge(&answer, Map::Prontera).unwrap();
            assert!(matches!(verdict, Verdict::Line(text) if text == "path: direct"));
            let echo = line(&format!("{} : {command}", me().character()));
            let reached = Err(DeviationCode::ReachedServer);
            assert_eq!(code(&mut expect, &echo), reached);
            let unknown = line(&format!("{command} is Unknown Command."));
            let is_at = command.starts_with('@');
            assert_eq!(
                code(&mut expect, &unknown),
                if is_at { reached } else { Ok(()) }
            );
            expect.listen(None);
            assert_eq!(code(&mut expect, &answer), unexpected);
        }
        expect.listen(Some("/p2p".to_owned()));
        let mut unfinished = answer;
        unfinished.pop();
        assert_eq!(code(&mut expect, &unfinished), unexpected);
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
        for dialect in all() {
            let packet = dialect.change_server(to, announced);
            let verdict = due_in(dialect, [journey()]).judge(&packet, Map::Prontera);
            assert!(
                matches!(verdict, Ok(Verdict::Answer(_, Some(Journey::Server(_, address)))) if address == announced.into())
            );
        }

        let packet = newest().change_server(to, announced);
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
        for dialect in all() {
            let good = [
                packets::others_line(aid, b"Practice 2 : hello"),
                packets::unit_emote(aid, 3),
                packets::vanish(aid, packets::Vanish::LoggedOff),
                dialect.looks_changed(aid),
                packets::sits_status(aid),
                packets::stands_status(aid),
                dialect.posture_action(aid, 2),
                packets::unit_looks(aid, 0, 7),
                dialect.standing(&looks, (1, 2), 3, Posture::Sitting),
                dialect.arriving(&looks, (1, 2), 3),
                dialect.walking(&looks, tick_at(5), (1, 2), (3, 4)),
            ];
            for frame in &good {
                let verdict = due_in(Arc::clone(&dialect), []).judge(frame, Map::Prontera);
                assert!(matches!(verdict, Ok(Verdict::Other)), "{}", shown(frame));
            }
            let bad = [
                packets::others_line(aid, b"Practice 3 : hello"),
                packets::others_line(aid, b"Practice 2 : he\0llo"),
                packets::unit_emote(77, 3),
                dialect.posture_action(aid, 1),
                packets::unit_looks(aid, 0, 8),
                dialect.standing(&looks, (1, 2), 9, Posture::Sitting),
                dialect.walking(&looks, tick_at(5) ^ 1, (1, 2), (3, 4)),
            ];
            for frame in &bad {
                let judged = code(&mut due_in(Arc::clone(&dialect), []), frame);
                assert_eq!(judged, Err(DeviationCode::WrongBytes), "{}", shown(frame));
            }
        }
        let own = packets::vanish(me().aid(), packets::Vanish::LoggedOff);
        assert_eq!(
            code(&mut due([]), &own),
            Err(DeviationCode::UnexpectedPacket)
        );
    }
}
