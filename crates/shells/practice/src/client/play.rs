//! Playing on a map: paced requests, their answers, changes of map.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior};

use super::expect::{Expectations, Journey, Verdict, What};
use super::plan::{Change, Hold};
use super::session::{Next, Session};
use super::socket::Socket;
use super::{ClientEvent, Deviation, DeviationCode, Halt, Mode};
use crate::game::{Account, CHAT_MARKER, Place};
use crate::wire::{Dialect, packets, requests};

/// How many answers may be due before requests wait. Even 0B72-sized answers for all of them fit
/// into the sockets' buffers, so that neither end can block the other.
const IN_FLIGHT: usize = 256;

/// The size of a probe request in bytes (19 in versions whose chat lines have no zero).
const PROBE_SIZE: usize = 20;

/// What a round of the session does, one request per tick (the look rides with the time sync).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Walk,
    Chat,
    Emote,
    Sit,
    Stand,
    Time,
    Name,
}

const ROUND: [Step; 7] = [
    Step::Walk,
    Step::Chat,
    Step::Emote,
    Step::Sit,
    Step::Stand,
    Step::Time,
    Step::Name,
];

/// The corners of the square that the walks follow, from where the character arrived.
const SQUARE: [(u16, u16); 4] = [(2, 0), (2, 2), (0, 2), (0, 0)];

/// The character on one map connection.
pub(super) struct Walkabout {
    pub(super) own: Account,
    here: Place,
    /// Where it came onto the map.
    arrived: Place,
    sitting: bool,
    /// A change of map is under way: nothing else is requested.
    travelling: bool,
    journey: Option<Journey>,
    /// System lines in answer to a command, as they came.
    pub(super) heard: Vec<(Instant, String)>,
    pub(super) due: Expectations,
}

impl Walkabout {
    pub(super) fn new(dialect: Arc<Dialect>, own: Account, place: Place) -> Self {
        Self {
            own,
            here: place,
            arrived: place,
            sitting: false,
            travelling: false,
            journey: None,
            heard: Vec::new(),
            due: Expectations::new(dialect, own, 0, false),
        }
    }

    pub(super) fn here(&self) -> Place {
        self.here
    }

    pub(super) fn judge(&mut self, frame: &[u8]) -> Result<Verdict, Deviation> {
        self.due.judge(frame, self.here.map)
    }

    pub(super) fn arrive(&mut self, place: Place) {
        (self.here, self.arrived) = (place, place);
        self.journey = None;
        (self.sitting, self.travelling) = (false, false);
    }
}

/// A text of the account's character that is sent as `PROBE_SIZE` bytes: name, colon and the
/// number in as many base-62 digits as fit.
fn probe_text(own: Account, number: u64) -> String {
    const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    const HEADER_AND_ZERO: usize = 5;
    let mut text = format!("{} : ", own.character());
    let width = (PROBE_SIZE - HEADER_AND_ZERO).saturating_sub(text.len());
    let mut rest = number;
    for _ in 0..width {
        let digit = DIGITS.get((rest % 62) as usize).copied().unwrap_or(b'0');
        text.push(char::from(digit));
        rest /= 62;
    }
    text
}

impl<F: FnMut(&ClientEvent) + Send> Session<F> {
    /// Plays on a loaded map until the connection shall end.
    pub(super) async fn play(
        &mut self,
        socket: &mut Socket,
        walk: &mut Walkabout,
    ) -> Result<Next, Halt> {
        self.plan.start(Instant::now(), &self.config);
        self.greet(socket, walk).await?;
        self.say_lines(socket, walk).await?;
        let mut pace = tokio::time::interval(Duration::from_secs(1) / self.config.rate);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let stop = self.config.stop.clone();
        loop {
            let now = Instant::now();
            let hold = self.hold(now, walk);
            let held = !matches!(hold, Hold::No(_));
            let over = self.plan.over(now, &self.config);
            if over && !held && walk.due.is_empty() {
                return self.leave(socket, walk).await;
            }
            let may_request = !over && !held && !walk.travelling && walk.due.len() < IN_FLIGHT;
            tokio::select! {
                frame = socket.frame() => {
                    let frame = frame?;
                    if self.config.reentry && frame == packets::friends() {
                        self.reenter(socket, walk).await?;
                        self.greet(socket, walk).await?;
                        continue;
                    }
                    self.take(&frame, walk)?;
                    if walk.due.is_empty() && let Some(journey) = walk.journey.take() {
                        match journey {
                            Journey::Server(to, address) => return Ok(Next::Server(to, address)),
                            Journey::Map(to) => self.change_map(socket, walk, to).await?,
                        }
                    }
                }
                _tick = pace.tick(), if may_request => self.request(socket, walk).await?,
                missing = self.missing(walk) => return Err(missing.into()),
                () = hold.passes() => {}
                () = stop.cancelled(), if !stop.is_cancelled() => {}
            }
        }
    }

    /// What the pause asks for; whoever wants the client to stop is not kept waiting by it.
    fn hold(&mut self, now: Instant, walk: &Walkabout) -> Hold {
        if self.config.stop.is_cancelled() || self.plan.leaving {
            return Hold::No(None);
        }
        let hold = self.plan.hold(now, walk.due.is_empty() && !walk.travelling);
        match hold {
            Hold::Begins(length) => {
                // What was not asked for leaves no gap between answers.
                self.tally.end_of_play();
                self.emit(&ClientEvent::Paused {
                    seconds: length.as_secs_f64(),
                });
                Hold::Until(now + length)
            }
            Hold::Ends => {
                self.emit(&ClientEvent::Resumed);
                Hold::No(None)
            }
            hold => hold,
        }
    }

    /// What a client asks for right after loading.
    async fn greet(&mut self, socket: &mut Socket, walk: &mut Walkabout) -> Result<(), Halt> {
        let own = walk.own;
        if self.config.mode == Mode::Session {
            let confirmed = self.dialect.load_confirmed().map(What::Bytes);
            self.ask(socket, walk, &requests::client_ready(), confirmed)
                .await?;
            self.ask_time(socket, walk).await?;
            self.ask_name(socket, walk, own.aid(), self.dialect.player_name(own))
                .await?;
        }
        Ok(())
    }

    pub(super) async fn ask_time(
        &mut self,
        socket: &mut Socket,
        walk: &mut Walkabout,
    ) -> Result<(), Halt> {
        let request = self.dialect.ask_time(self.tick());
        self.ask(socket, walk, &request, [What::Time]).await
    }

    async fn ask_name(
        &mut self,
        socket: &mut Socket,
        walk: &mut Walkabout,
        id: u32,
        answer: Vec<u8>,
    ) -> Result<(), Halt> {
        let request = self.dialect.ask_name(id);
        self.ask(socket, walk, &request, [What::Bytes(answer)])
            .await
    }

    /// Sends a request that calls for these answers.
    pub(super) async fn ask(
        &mut self,
        socket: &mut Socket,
        walk: &mut Walkabout,
        packet: &[u8],
        answers: impl IntoIterator<Item = What>,
    ) -> Result<(), Halt> {
        let sent = Instant::now();
        socket.send(packet).await?;
        walk.due.push(sent, answers);
        Ok(())
    }

    /// Takes a packet.
    pub(super) fn take(&mut self, frame: &[u8], walk: &mut Walkabout) -> Result<(), Deviation> {
        let now = Instant::now();
        match walk.judge(frame)? {
            Verdict::Other => self.tally.about_others += 1,
            Verdict::ExtraTime => self.tally.extra_time += 1,
            Verdict::Kept => self.tally.kept_lines += 1,
            Verdict::Line(line) => walk.heard.push((now, line)),
            Verdict::Notice(line) => self.emit(&ClientEvent::Notice { line }),
            Verdict::Answer(answer, journey) => {
                if answer.what == What::Bytes(self.dialect.unit_hits(walk.own.aid())) {
                    self.emit(&ClientEvent::Attacked);
                }
                if answer.first {
                    self.tally.answered(answer.sent, now);
                }
                if !self.plan.leaving {
                    self.tally.answer_in_play(now);
                }
                if journey.is_some() {
                    walk.journey = journey;
                }
            }
        }
        Ok(())
    }

    /// Returns when the next answer is overdue.
    async fn missing(&self, walk: &Walkabout) -> Deviation {
        let Some(next) = walk.due.next() else {
            return std::future::pending().await;
        };
        tokio::time::sleep_until(next.sent + self.config.answer_timeout).await;
        let message = format!(
            "{} did not come from the map server in time",
            next.what.shown()
        );
        Deviation::new(DeviationCode::AnswerMissing, message)
    }

    /// Takes packets until nothing is due.
    pub(super) async fn settle(
        &mut self,
        socket: &mut Socket,
        walk: &mut Walkabout,
    ) -> Result<(), Halt> {
        while !walk.due.is_empty() {
            tokio::select! {
                frame = socket.frame() => self.take(&frame?, walk)?,
                missing = self.missing(walk) => return Err(missing.into()),
            }
        }
        Ok(())
    }

    /// 0091 has come: load the new map.
    async fn change_map(
        &mut self,
        socket: &mut Socket,
        walk: &mut Walkabout,
        to: Place,
    ) -> Result<(), Halt> {
        self.tally.map_changes += 1;
        self.load(socket, walk.own, to).await?;
        self.tally.answer_in_play(Instant::now());
        walk.arrive(to);
        self.greet(socket, walk).await
    }

    /// The end of playing: back to the character selection, or away.
    async fn leave(&mut self, socket: &mut Socket, walk: &mut Walkabout) -> Result<Next, Halt> {
        self.tally.end_of_play();
        let again = self.config.mode == Mode::Session
            && !self.plan.leaving
            && !self.config.stop.is_cancelled();
        self.plan.leaving = true;
        let (request, answer, next) = if again {
            (
                requests::to_char_select(),
                packets::char_select_granted(),
                Next::CharSelect,
            )
        } else {
            (requests::quit(), packets::quit_granted(), Next::End)
        };
        self.ask(socket, walk, &request, [What::Bytes(answer)])
            .await?;
        self.settle(socket, walk).await?;
        Ok(next)
    }

    /// The next request of the plan.
    async fn request(&mut self, socket: &mut Socket, walk: &mut Walkabout) -> Result<(), Halt> {
        let dialect = Arc::clone(&self.dialect);
        if self.config.mode == Mode::EchoProbe {
            let text = probe_text(walk.own, self.plan.lines);
            self.plan.lines += 1;
            return self.say(socket, walk, &text).await;
        }
        if !walk.sitting
            && let Some(change) = self.plan.due_change(Instant::now(), &self.config)
        {
            return self.travel(socket, walk, change).await;
        }
        let step = ROUND
            .get(self.plan.steps % ROUND.len())
            .copied()
            .unwrap_or(Step::Time);
        self.plan.steps += 1;
        let aid = walk.own.aid();
        match step {
            Step::Walk => {
                let (dx, dy) = SQUARE
                    .get(self.plan.walks % SQUARE.len())
                    .copied()
                    .unwrap_or((0, 0));
                self.plan.walks += 1;
                let to = (walk.arrived.x + dx, walk.arrived.y + dy);
                self.walk(socket, walk, to).await
            }
            Step::Chat => {
                self.plan.lines += 1;
                let line = format!(
                    "{} : {CHAT_MARKER} {:06}",
                    walk.own.character(),
                    self.plan.lines
                );
                self.say(socket, walk, &line).await
            }
            Step::Emote if self.plan.attacks < self.config.attacks => {
                self.plan.attacks += 1;
                let answer = What::Bytes(dialect.unit_hits(aid));
                self.ask(socket, walk, &dialect.action(7), [answer]).await
            }
            Step::Emote => {
                // rAthena knows some 80 emotions; any will do.
                let kind = (self.plan.steps % 64) as u8;
                let answer = What::Bytes(packets::unit_emote(aid, kind));
                self.ask(socket, walk, &requests::emote(kind), [answer])
                    .await
            }
            Step::Sit => {
                walk.sitting = true;
                let answers = dialect.unit_sits(aid).map(What::Bytes);
                self.ask(socket, walk, &dialect.action(2), answers).await
            }
            Step::Stand if walk.sitting => {
                walk.sitting = false;
                let answers = dialect.unit_stands(aid).map(What::Bytes);
                self.ask(socket, walk, &dialect.action(3), answers).await
            }
            Step::Stand | Step::Time => {
                let direction = (self.plan.steps % 8) as u8;
                socket.send(&dialect.look(0, direction)).await?;
                self.ask_time(socket, walk).await
            }
            Step::Name => {
                let portal = walk.here.map.portal();
                let answer = dialect.npc_name(portal);
                self.ask_name(socket, walk, portal.id, answer).await
            }
        }
    }

    /// A line of chat that is no command.
    async fn say(
        &mut self,
        socket: &mut Socket,
        walk: &mut Walkabout,
        text: &str,
    ) -> Result<(), Halt> {
        let echo = What::Bytes(packets::own_line(text));
        let line = self.dialect.chat(text);
        self.ask(socket, walk, &line, [echo]).await
    }

    async fn walk(
        &mut self,
        socket: &mut Socket,
        walk: &mut Walkabout,
        to: (u16, u16),
    ) -> Result<(), Halt> {
        let from = (walk.here.x, walk.here.y);
        (walk.here.x, walk.here.y) = to;
        let request = self.dialect.walk_to(to.0, to.1);
        self.ask(socket, walk, &request, [What::Walk { from, to }])
            .await
    }

    async fn travel(
        &mut self,
        socket: &mut Socket,
        walk: &mut Walkabout,
        change: Change,
    ) -> Result<(), Halt> {
        walk.travelling = true;
        match change {
            Change::Command(map) => {
                let text = format!("{} : @go {}", walk.own.character(), map.go_number());
                let journey = What::Journey {
                    to: map.landing(),
                    line: Some("Warped."),
                };
                let line = self.dialect.chat(&text);
                self.ask(socket, walk, &line, [journey]).await
            }
            Change::Portal => {
                let portal = walk.here.map.portal();
                let (from, to) = ((walk.here.x, walk.here.y), (portal.at.x, portal.at.y));
                let answers = [
                    What::Walk { from, to },
                    What::Journey {
                        to: portal.to,
                        line: None,
                    },
                ];
                let request = self.dialect.walk_to(to.0, to.1);
                self.ask(socket, walk, &request, answers).await
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::game::Map;
    use crate::wire::dialect::tests::newest;

    #[test]
    fn every_probe_has_twenty_bytes_and_neighbours_differ() {
        for number in 1..=crate::game::ACCOUNTS {
            let own = Account::numbered(number).unwrap();
            for count in 0..200 {
                let packet = newest().chat(&probe_text(own, count));
                assert_eq!(packet.len(), PROBE_SIZE);
                assert_ne!(packet, newest().chat(&probe_text(own, count + 1)));
            }
        }
    }

    #[test]
    fn the_square_never_touches_a_portal_and_the_portal_is_in_reach_of_it() {
        let arrivals = Map::ALL
            .into_iter()
            .flat_map(|map| [map.landing(), map.portal().to]);
        for place in arrivals {
            let portal = place.map.portal().at;
            for (dx, dy) in SQUARE {
                let (x, y) = (place.x + dx, place.y + dy);
                assert_ne!((x, y), (portal.x, portal.y));
                assert!(x.abs_diff(portal.x) <= crate::game::WALK_RANGE);
                assert!(y.abs_diff(portal.y) <= crate::game::WALK_RANGE);
            }
        }
    }
}
