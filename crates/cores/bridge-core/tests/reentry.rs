//! Signing in again: the machine against servers that are as strict as the real ones, and against
//! anything that a server may say; and a connection whose server goes and comes back.
#![allow(clippy::unwrap_used, reason = "a test's helpers fail the test")]

/// The recordings, read by the packet crate's test code.
#[path = "../../../words/ro-packet/tests/common/mod.rs"]
mod common;

mod support;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;
use proptest::sample::Index;
use support::{Identity, PATH, Tap, Version};
use warp_bridge_core::{
    Action, BridgeConnection, BridgeEvent, GaveUp, Level, MAX_HELD, NotOpened, ReEntry,
    ReEntryLimits, ReEntryStep, Recall, Standing, Unable,
};
use warp_ro_packet::{PacketTable, Role};

const AID: u32 = 2_000_001;
const GID: u32 = 150_001;
const PASSWORD: &[u8] = b"hunter2";
const SLOT: u8 = 3;
const SEED: u32 = 0x1234_5678;

fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

fn server(port: u16) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], port))
}

fn table() -> Arc<PacketTable> {
    PacketTable::for_version(20_211_103).unwrap()
}

fn packet(id: u16, length: usize, fields: &[(usize, &[u8])]) -> Vec<u8> {
    let mut packet = vec![0; length];
    packet[..2].copy_from_slice(&id.to_le_bytes());
    for (at, bytes) in fields {
        packet[*at..at + bytes.len()].copy_from_slice(bytes);
    }
    packet
}

fn sized(id: u16, length: usize, fields: &[(usize, &[u8])]) -> Vec<u8> {
    let mut packet = packet(id, length, fields);
    packet[2..4].copy_from_slice(&u16::try_from(length).unwrap().to_le_bytes());
    packet
}

fn login() -> Vec<u8> {
    packet(0x0064, 55, &[(6, b"player"), (30, PASSWORD)])
}

fn accept(account: u32, id1: u32, id2: u32) -> Vec<u8> {
    let fields: [(usize, &[u8]); 6] = [
        (4, &id1.to_le_bytes()),
        (8, &account.to_le_bytes()),
        (12, &id2.to_le_bytes()),
        (46, &[1]),
        (64, &[192, 0, 2, 1]),
        (68, &6121_u16.to_le_bytes()),
    ];
    sized(0x0AC4, 224, &fields)
}

fn char_enter(id1: u32, id2: u32) -> Vec<u8> {
    let fields: [(usize, &[u8]); 4] = [
        (2, &AID.to_le_bytes()),
        (6, &id1.to_le_bytes()),
        (10, &id2.to_le_bytes()),
        (16, &[1]),
    ];
    packet(0x0065, 17, &fields)
}

fn pin_state(seed: u32, state: u16) -> Vec<u8> {
    let fields: [(usize, &[u8]); 2] = [(2, &seed.to_le_bytes()), (10, &state.to_le_bytes())];
    packet(0x08B9, 12, &fields)
}

fn to_map(character: u32) -> Vec<u8> {
    let fields: [(usize, &[u8]); 4] = [
        (2, &character.to_le_bytes()),
        (6, b"prontera.gat"),
        (22, &[192, 0, 2, 1]),
        (26, &5121_u16.to_le_bytes()),
    ];
    packet(0x0AC5, 156, &fields)
}

fn map_enter(id1: u32) -> Vec<u8> {
    let fields: [(usize, &[u8]); 4] = [
        (2, &AID.to_le_bytes()),
        (6, &GID.to_le_bytes()),
        (10, &id1.to_le_bytes()),
        (22, &[1]),
    ];
    packet(0x0436, 23, &fields)
}

fn notice(code: u8) -> Vec<u8> {
    packet(0x0081, 3, &[(2, &[code])])
}

fn load_map() -> Vec<u8> {
    packet(0x0091, 22, &[(2, b"prontera.gat"), (18, &[100, 0, 50, 0])])
}

/// What follows the packet that lets in: greeting, 0091, and what the next read brings.
fn welcome() -> Vec<u8> {
    [
        sized(0x008E, 9, &[(4, b"hey!")]),
        load_map(),
        sized(0x008E, 8, &[(4, b"you")]),
    ]
    .concat()
}

fn let_in() -> Vec<u8> {
    [
        packet(0x0283, 6, &[(2, &AID.to_le_bytes())]),
        packet(0x0B18, 4, &[]),
        packet(0x02EB, 13, &[]),
        welcome(),
    ]
    .concat()
}

fn connection(role: Role, level: Level) -> Tap {
    Tap::new(Version::new(20_211_103, false).connection(role, level))
}

fn take(recall: &mut Recall, tap: &mut Tap, server: SocketAddr) -> usize {
    let recorded = std::iter::from_fn(|| tap.connection.poll_recorded());
    recorded.map(|one| recall.note(one, server)).count()
}

/// What is recorded of a client that signs in, with this pin if there is one.
fn recall(level: Level, pin: Option<&[u8; 4]>) -> Recall {
    let mut recall = Recall::default();
    let mut tap = connection(Role::Login, level);
    tap.client(&login());
    tap.server(&accept(AID, 1, 2));
    take(&mut recall, &mut tap, server(6900));
    let mut tap = connection(Role::Char, level);
    tap.client(&char_enter(1, 2));
    tap.server(&AID.to_le_bytes());
    if let Some(pin) = pin {
        tap.server(&pin_state(SEED, 1));
        tap.client(&packet(0x08B8, 10, &[(2, &AID.to_le_bytes()), (6, pin)]));
    }
    tap.server(&pin_state(9, 0));
    tap.client(&packet(0x0066, 3, &[(2, &[SLOT])]));
    take(&mut recall, &mut tap, server(6121));
    let mut tap = connection(Role::Map, level);
    tap.client(&map_enter(1));
    take(&mut recall, &mut tap, server(5121));
    recall
}

fn machine(loading: bool) -> ReEntry {
    let recall = recall(Level::Assist, Some(b"0123"));
    ReEntry::new(&recall, table(), ReEntryLimits::default(), loading, ms(0)).unwrap()
}

fn actions(machine: &mut ReEntry) -> Vec<Action> {
    std::iter::from_fn(|| machine.poll()).collect()
}

/// A game server whose tickets work once, with a pin and an account that is held for a while.
struct Strict {
    /// The account is online until then.
    held_until: Duration,
    pin: bool,
    next_id: u32,
    char_ticket: Option<(u32, u32)>,
    map_ticket: Option<u32>,
    logins: Vec<Duration>,
    pin_asked: bool,
}

impl Strict {
    fn new(held_until: Duration, pin: bool) -> Self {
        Self {
            held_until,
            pin,
            next_id: 100,
            char_ticket: None,
            map_ticket: None,
            logins: Vec::new(),
            pin_asked: false,
        }
    }

    fn answer(&mut self, now: Duration, role: Role, packet: &[u8]) -> Vec<u8> {
        let field = |at: usize| u32::from_le_bytes(packet[at..at + 4].try_into().unwrap());
        let id = u16::from_le_bytes([packet[0], packet[1]]);
        match (role, id) {
            (Role::Login, 0x0064) => {
                assert_eq!(packet, login());
                self.logins.push(now);
                if now < self.held_until {
                    return notice(8);
                }
                self.next_id += 2;
                self.char_ticket = Some((self.next_id, self.next_id + 1));
                accept(AID, self.next_id, self.next_id + 1)
            }
            (Role::Char, 0x0065) => {
                let mut answer = AID.to_le_bytes().to_vec();
                if self.char_ticket.take() != Some((field(6), field(10))) {
                    answer.extend(reentry_refused());
                    return answer;
                }
                self.map_ticket = Some(field(6));
                self.pin_asked = self.pin;
                answer.extend(pin_state(77, self.pin.into()));
                answer
            }
            (Role::Char, 0x08B8) => {
                // "0123" under SEED, sent under 77: the same pin, read back under 77.
                let mut again = Recall::default();
                let mut tap = connection(Role::Char, Level::Assist);
                tap.server(&AID.to_le_bytes());
                tap.server(&pin_state(77, 1));
                tap.client(packet);
                tap.server(&pin_state(0, 0));
                assert_eq!(take(&mut again, &mut tap, server(1)), 1);
                self.pin_asked = false;
                pin_state(5, 0)
            }
            (Role::Char, 0x0066) => {
                assert!(!self.pin_asked, "selected before the pin");
                assert_eq!(packet[2], SLOT);
                to_map(GID)
            }
            (Role::Map, 0x0436) => {
                assert_eq!(packet, map_enter(field(10)));
                if self.map_ticket.take() == Some(field(10)) {
                    let_in()
                } else {
                    [packet_0283(), notice(0)].concat()
                }
            }
            other => panic!("{other:?}"),
        }
    }
}

fn packet_0283() -> Vec<u8> {
    packet(0x0283, 6, &[(2, &AID.to_le_bytes())])
}

fn reentry_refused() -> Vec<u8> {
    packet(0x006C, 3, &[])
}

/// What came of a run.
#[derive(Debug, PartialEq, Eq)]
struct Run {
    steps: Vec<ReEntryStep>,
    opened: Vec<(Role, SocketAddr, Option<String>)>,
    end: Result<Bytes, GaveUp>,
    took: Duration,
}

/// Lets the machine talk to the server in virtual time, answers cut at `cuts`.
fn run(machine: &mut ReEntry, server: &mut Strict, cuts: &[Index], mut now: Duration) -> Run {
    let (mut steps, mut opened) = (Vec::new(), Vec::new());
    // What the client gets behind the welcome.
    let mut behind = Vec::new();
    let mut at = None;
    loop {
        let mut all = actions(machine).into_iter();
        let mut idle = true;
        for action in all.by_ref() {
            idle = false;
            match action {
                Action::Step(step) => steps.push(step),
                Action::Open { role, target, map } => {
                    opened.push((role, target, map));
                    at = Some(role);
                    machine.opened(now);
                }
                Action::Send { packet, alone } => {
                    let role = at.unwrap();
                    assert_eq!(alone, role == Role::Map);
                    let answer = server.answer(now, role, packet.reveal());
                    let mut ends: Vec<usize> =
                        cuts.iter().map(|cut| cut.index(answer.len() + 1)).collect();
                    ends.push(answer.len());
                    ends.sort_unstable();
                    let mut from = 0;
                    for end in ends {
                        if machine.is_over() {
                            behind.extend_from_slice(&answer[from..end]);
                        } else {
                            machine.bytes(now, &answer[from..end]);
                        }
                        from = end;
                    }
                }
                Action::Close => at = None,
                Action::ServersAway => {}
                Action::Ready { welcome, .. } => {
                    let welcome = [&welcome[..], &behind].concat().into();
                    return Run {
                        steps,
                        opened,
                        end: Ok(welcome),
                        took: now,
                    };
                }
                Action::GiveUp(why) => {
                    return Run {
                        steps,
                        opened,
                        end: Err(why),
                        took: now,
                    };
                }
            }
        }
        if idle {
            let next = machine.next_time().unwrap();
            assert!(next > now, "time does not stand still");
            now = next;
            machine.time(now);
        }
    }
}

#[test]
fn a_client_is_signed_in_again_with_new_numbers_and_its_pin() {
    use ReEntryStep::{Character, Login, Map};
    for pin in [false, true] {
        let mut strict = Strict::new(ms(0), pin);
        let run = run(&mut machine(false), &mut strict, &[], ms(0));
        assert_eq!(run.end, Ok(welcome().into()));
        assert_eq!(run.steps, [Login, Character, Map]);
        let map = Some("prontera".to_owned());
        let way = [
            (Role::Login, server(6900), None),
            (Role::Char, server(6121), None),
            (Role::Map, server(5121), map),
        ];
        assert_eq!(run.opened, way);
        assert_eq!(run.took, ms(0));
    }
}

#[test]
fn an_account_in_a_fight_is_asked_for_every_50_to_100_ms() {
    let mut strict = Strict::new(ms(9_800), false);
    let run = run(&mut machine(false), &mut strict, &[], ms(0));
    assert_eq!(run.end, Ok(welcome().into()));
    assert!(run.took < ms(9_900), "{:?}", run.took);
    for pair in strict.logins.windows(2) {
        let pause = pair[1] - pair[0];
        assert!((ms(50)..=ms(100)).contains(&pause), "{pause:?}");
    }
    // Told once, however often it was asked.
    let online = run
        .steps
        .iter()
        .filter(|step| **step == ReEntryStep::StillOnline);
    assert_eq!(online.count(), 1, "{:?}", run.steps);
}

#[test]
fn a_locked_account_is_waited_for_and_a_longer_lock_is_not() {
    let mut strict = Strict::new(ms(30_000), false);
    let within = run(&mut machine(false), &mut strict, &[], ms(0));
    assert_eq!(within.end, Ok(welcome().into()));
    assert!(within.took < ms(30_300), "{:?}", within.took);
    let mut strict = Strict::new(ms(60_000), false);
    let over = run(&mut machine(false), &mut strict, &[], ms(0));
    assert_eq!((over.end, over.took), (Err(GaveUp::TimedOut), ms(45_000)));
}

#[test]
fn nothing_begins_before_the_client_has_loaded() {
    let mut machine = machine(true);
    assert_eq!(actions(&mut machine), [Action::Step(ReEntryStep::Loading)]);
    machine.time(ms(20_000));
    assert_eq!(actions(&mut machine), []);
    machine.loaded(ms(20_000));
    assert!(matches!(
        actions(&mut machine)[..],
        [
            Action::Step(ReEntryStep::Login),
            Action::Open {
                role: Role::Login,
                ..
            }
        ]
    ));
    // A client that never loads is not waited for for ever.
    let mut waiting = self::machine(true);
    assert_eq!(waiting.next_time(), Some(ms(45_000)));
    waiting.time(ms(45_000));
    assert_eq!(
        actions(&mut waiting)[1..],
        [Action::GiveUp(GaveUp::TimedOut)]
    );
}

/// Says `answer` when the server of `role` is asked first.
fn told(role: Role, answer: &[u8]) -> Vec<Action> {
    let mut machine = machine(false);
    let mut strict = Strict::new(ms(0), false);
    let mut at = None;
    let mut last = Vec::new();
    loop {
        let all = actions(&mut machine);
        if all.is_empty() {
            return last;
        }
        last.clear();
        for action in all {
            match &action {
                Action::Open { role, .. } => {
                    at = Some(*role);
                    machine.opened(ms(0));
                }
                Action::Send { packet, .. } if at == Some(role) => {
                    let _ = packet;
                    machine.bytes(ms(0), answer);
                }
                Action::Send { packet, .. } => {
                    let answer = strict.answer(ms(0), at.unwrap(), packet.reveal());
                    machine.bytes(ms(0), &answer);
                }
                _ => {}
            }
            last.push(action);
        }
    }
}

#[test]
fn what_will_not_pass_ends_it_and_what_will_is_tried_again() {
    let raw = AID.to_le_bytes();
    let behind = |packet: Vec<u8>| [&raw[..], &packet].concat();
    let over = [
        (
            Role::Login,
            packet(0x083E, 26, &[(2, &[1])]),
            GaveUp::WrongPassword,
        ),
        (Role::Login, packet(0x006A, 23, &[]), GaveUp::WrongPassword),
        (
            Role::Login,
            packet(0x083E, 26, &[(2, &[6])]),
            GaveUp::LoginRefused { code: 6 },
        ),
        (Role::Login, notice(2), GaveUp::LoginRefused { code: 2 }),
        (Role::Login, accept(AID + 1, 5, 6), GaveUp::AnotherAccount),
        (Role::Login, vec![0xFF; 9], GaveUp::Unreadable),
        (
            Role::Char,
            behind(pin_state(1, 8)),
            GaveUp::PinRefused { state: 8 },
        ),
        (
            Role::Char,
            behind(to_map(GID + 1)),
            GaveUp::AnotherCharacter,
        ),
        (
            Role::Char,
            behind(notice(15)),
            GaveUp::CharRefused { code: 15 },
        ),
        (Role::Map, notice(15), GaveUp::MapRefused { code: 15 }),
        (
            Role::Map,
            packet(0x006A, 23, &[(2, &[1])]),
            GaveUp::MapRefused { code: 1 },
        ),
    ];
    for (role, answer, why) in over {
        assert_eq!(
            told(role, &answer).last(),
            Some(&Action::GiveUp(why)),
            "{role:?}"
        );
    }
    let again = [
        (Role::Login, notice(8)),
        (Role::Login, notice(1)),
        (Role::Char, behind(reentry_refused())),
        (Role::Char, behind(sized(0x0840, 24, &[]))),
        (Role::Char, behind(notice(8))),
        (Role::Map, [packet_0283(), notice(0)].concat()),
        (Role::Map, notice(8)),
    ];
    for (role, answer) in again {
        let last = told(role, &answer);
        assert!(last.contains(&Action::Close), "{role:?} {last:?}");
        assert!(
            !last
                .iter()
                .any(|action| matches!(action, Action::GiveUp(_)))
        );
    }
}

#[test]
fn servers_that_are_away_are_tried_again_ever_more_slowly() {
    let mut machine = machine(false);
    let mut now = ms(0);
    let mut pauses = Vec::new();
    while let Some(next) = machine.next_time() {
        for action in actions(&mut machine) {
            if let Action::Open { .. } = action {
                machine.not_opened(now, NotOpened::Away);
            }
        }
        let Some(next) = machine.next_time().or(Some(next)) else {
            break;
        };
        pauses.push(next - now);
        now = next;
        machine.time(now);
        if actions_end(&mut machine) {
            break;
        }
        // The action was taken: it has to be refused as well.
        machine.not_opened(now, NotOpened::Away);
        assert!(pauses.len() < 200);
    }
    assert_eq!(pauses[..5], [100, 200, 400, 800, 1000].map(ms));
    assert_eq!(now, ms(45_000));
    let mut forbidden = self::machine(false);
    actions(&mut forbidden);
    forbidden.not_opened(ms(1), NotOpened::NotAllowed);
    assert_eq!(
        actions(&mut forbidden),
        [Action::GiveUp(GaveUp::NotAllowed)]
    );
}

/// Where others may take the client when the servers have been away for 8 s.
fn machine_with_others() -> ReEntry {
    let recall = recall(Level::Assist, None);
    let limits = ReEntryLimits {
        away: Some(ms(8_000)),
        ..ReEntryLimits::default()
    };
    ReEntry::new(&recall, table(), limits, false, ms(0)).unwrap()
}

/// Refuses every try for this reason, from `now` until it is told that the servers are away, or it ends.
fn refuse(machine: &mut ReEntry, mut now: Duration, why: NotOpened) -> (Duration, Action) {
    loop {
        for action in actions(machine) {
            match action {
                Action::Open { .. } => machine.not_opened(now, why),
                Action::ServersAway | Action::GiveUp(_) => return (now, action),
                _ => {}
            }
        }
        if let Some(action) = machine.poll() {
            return (now, action);
        }
        now = machine.next_time().unwrap();
        machine.time(now);
    }
}

#[test]
fn servers_that_stay_away_are_told_and_others_take_the_client() {
    let mut machine = machine_with_others();
    let (now, action) = refuse(&mut machine, ms(0), NotOpened::Away);
    assert_eq!(action, Action::ServersAway);
    assert!((ms(8_000)..=ms(9_000)).contains(&now), "{now:?}");
    // Nobody has led it elsewhere: it is told again with the next try.
    let (again, action) = refuse(&mut machine, now, NotOpened::Away);
    assert_eq!(action, Action::ServersAway);
    assert!((now + ms(1)..=now + ms(1_000)).contains(&again));
    machine.moved(again, server(7900), None);
    let run = run(&mut machine, &mut Strict::new(ms(0), false), &[], again);
    assert_eq!(run.end, Ok(welcome().into()));
    assert_eq!(run.opened[0], (Role::Login, server(7900), None));
    assert_eq!(run.took, again, "at once");
    // Where there are no others, and where those are away too: as long as it may take.
    let mut alone = self::machine(false);
    let ended = (ms(45_000), Action::GiveUp(GaveUp::TimedOut));
    assert_eq!(refuse(&mut alone, ms(0), NotOpened::Away), ended);
    let mut machine = machine_with_others();
    let (now, _) = refuse(&mut machine, ms(0), NotOpened::Away);
    machine.moved(now, server(7900), None);
    assert_eq!(refuse(&mut machine, now, NotOpened::Away), ended);
}

#[test]
fn a_server_that_does_not_answer_is_away_and_a_link_that_is_gone_says_nothing() {
    let mut machine = machine_with_others();
    actions(&mut machine);
    // Until the endpoint dials, it is waited for the link.
    assert_eq!(machine.next_time(), Some(ms(45_000)));
    machine.time(ms(20_000));
    machine.asked(ms(20_000));
    assert_eq!(machine.next_time(), Some(ms(28_000)));
    machine.time(ms(27_999));
    assert_eq!(actions(&mut machine), []);
    machine.time(ms(28_000));
    assert_eq!(actions(&mut machine), [Action::ServersAway]);
    // Once for each try.
    assert_eq!(machine.next_time(), Some(ms(45_000)));
    machine.not_opened(ms(29_000), NotOpened::Away);
    assert_eq!(actions(&mut machine), []);
    // One that is there, and a link that is lost, begin it anew.
    for link in [false, true] {
        let mut machine = machine_with_others();
        actions(&mut machine);
        machine.asked(ms(0));
        if link {
            machine.not_opened(ms(7_000), NotOpened::NoLink);
        } else {
            machine.opened(ms(7_000));
            machine.ended(ms(7_000));
        }
        machine.time(ms(7_100));
        let last = actions(&mut machine);
        assert!(matches!(last.last(), Some(Action::Open { .. })), "{last:?}");
        machine.not_opened(ms(7_100), NotOpened::Away);
        let (now, _) = refuse(&mut machine, ms(7_100), NotOpened::Away);
        assert!(now >= ms(15_100), "{now:?}");
    }
}

#[test]
fn an_address_that_is_not_allowed_is_told_at_once_where_there_are_others() {
    let mut machine = machine_with_others();
    let told = refuse(&mut machine, ms(0), NotOpened::NotAllowed);
    assert_eq!(told, (ms(0), Action::ServersAway));
    let mut now = ms(0);
    let ended = loop {
        let (at, action) = refuse(&mut machine, now, NotOpened::NotAllowed);
        now = at;
        if action != Action::ServersAway {
            break action;
        }
    };
    assert_eq!(ended, Action::GiveUp(GaveUp::NotAllowed));
    assert!((ms(8_000)..=ms(9_000)).contains(&now), "{now:?}");
}

#[test]
fn other_servers_are_gone_to_from_wherever_it_is() {
    let open = |target| Action::Open {
        role: Role::Login,
        target,
        map: None,
    };
    let begun = [Action::Step(ReEntryStep::Login), open(server(7900))];
    // While a server is asked: its connection is closed first.
    let mut machine = machine_with_others();
    actions(&mut machine);
    machine.opened(ms(0));
    machine.bytes(ms(0), &notice(8));
    let next = machine.next_time().unwrap();
    machine.time(next);
    machine.opened(next);
    actions(&mut machine);
    machine.moved(next, server(7900), None);
    let [first, rest @ ..] = &actions(&mut machine)[..] else {
        panic!("nothing was done");
    };
    assert_eq!((first, rest), (&Action::Close, &begun[..]));
    // While the client loads: when it has.
    let mut machine = self::machine(true);
    actions(&mut machine);
    machine.moved(ms(1), server(7900), None);
    assert_eq!(actions(&mut machine), []);
    machine.loaded(ms(2));
    assert_eq!(actions(&mut machine), begun);
    // Over.
    machine.left();
    actions(&mut machine);
    machine.moved(ms(3), server(8900), None);
    assert_eq!(actions(&mut machine), []);
    // A later sign-in begins there too.
    let mut later = recall(Level::Assist, None);
    later.login_at(server(7900));
    let limits = ReEntryLimits::default();
    let mut machine = ReEntry::new(&later, table(), limits, false, ms(0)).unwrap();
    assert_eq!(actions(&mut machine), begun);
}

fn actions_end(machine: &mut ReEntry) -> bool {
    let all = actions(machine);
    all.iter().any(|action| matches!(action, Action::GiveUp(_)))
}

#[test]
fn a_server_that_says_nothing_or_closes_is_tried_again() {
    for closes in [false, true] {
        let mut machine = machine(false);
        actions(&mut machine);
        machine.opened(ms(0));
        actions(&mut machine);
        if closes {
            machine.ended(ms(10));
        } else {
            assert_eq!(machine.next_time(), Some(ms(5_000)));
            machine.time(ms(5_000));
        }
        assert_eq!(actions(&mut machine), [Action::Close]);
        let next = machine.next_time().unwrap();
        machine.time(next);
        assert!(matches!(
            actions(&mut machine)[..],
            [Action::Open {
                role: Role::Login,
                ..
            }]
        ));
    }
}

#[test]
fn a_client_that_leaves_is_not_signed_in() {
    let mut machine = machine(false);
    actions(&mut machine);
    machine.left();
    machine.opened(ms(1));
    machine.bytes(ms(1), &accept(AID, 1, 2));
    machine.time(ms(50_000));
    assert_eq!(actions(&mut machine), [Action::GiveUp(GaveUp::ClientLeft)]);
    assert_eq!(machine.next_time(), None);
}

#[test]
fn only_what_can_be_said_again_is_said_again() {
    let limits = ReEntryLimits::default();
    let unable = |recall: &Recall| ReEntry::new(recall, table(), limits, false, ms(0)).err();
    assert_eq!(unable(&recall(Level::Assist, None)), None);
    // Nothing is recorded where packets are not read, or nothing may be put into the streams.
    for level in [Level::Rewrite, Level::Opaque] {
        assert_eq!(unable(&recall(level, None)), Some(Unable::NotSeen));
        let mut tap = connection(Role::Login, level);
        tap.client(&login());
        assert_eq!(tap.connection.poll_recorded(), None);
    }
    // A refused login, and a quit, are forgotten.
    let mut refused = recall(Level::Assist, None);
    let mut tap = connection(Role::Login, Level::Assist);
    tap.client(&login());
    tap.server(&packet(0x083E, 26, &[(2, &[1])]));
    take(&mut refused, &mut tap, server(6900));
    assert_eq!(unable(&refused), Some(Unable::NotSeen));
    let mut quit = recall(Level::Assist, None);
    let mut tap = connection(Role::Map, Level::Assist);
    tap.server(&packet(0x018B, 4, &[]));
    assert_eq!(take(&mut quit, &mut tap, server(5121)), 1);
    assert_eq!(unable(&quit), Some(Unable::NotSeen));
    // A salt works once.
    for (salt, expected) in [(false, Some(Unable::NotSeen)), (true, Some(Unable::Salted))] {
        let mut tap = connection(Role::Login, Level::Assist);
        if salt {
            tap.client(&packet(0x01DB, 2, &[]));
        }
        tap.client(&packet(0x01DD, 47, &[(30, &[0xAB; 16])]));
        tap.server(&accept(AID, 1, 2));
        let mut recall = Recall::default();
        take(&mut recall, &mut tap, server(6900));
        assert_eq!(unable(&recall), expected);
    }
}

#[test]
fn every_form_of_the_login_is_recorded_whole_and_shown_by_nothing() {
    let forms = [
        login(),
        packet(0x0277, 84, &[(30, PASSWORD)]),
        packet(0x02B0, 85, &[(30, PASSWORD)]),
        sized(0x0825, 160, &[(92, PASSWORD)]),
        packet(0x01FA, 48, &[(30, PASSWORD)]),
        packet(0x027C, 60, &[(30, PASSWORD)]),
    ];
    for form in forms {
        let mut tap = connection(Role::Login, Level::Assist);
        tap.client(&packet(0x0204, 18, &[(2, b"hash")]));
        tap.client(&form);
        let recorded: Vec<_> = std::iter::from_fn(|| tap.connection.poll_recorded()).collect();
        assert_eq!(recorded.len(), 2);
        let shown = format!("{recorded:?} {:?}", tap.connection);
        let plain = String::from_utf8_lossy(PASSWORD).into_owned();
        let numbers = format!("{:?}", &PASSWORD[..3]);
        let numbers = numbers.trim_matches(['[', ']']);
        assert!(
            !shown.contains(&plain) && !shown.contains(numbers),
            "{shown}"
        );
    }
    let recall = recall(Level::Assist, Some(b"0123"));
    let machine = ReEntry::new(&recall, table(), ReEntryLimits::default(), false, ms(0)).unwrap();
    let shown = format!("{recall:?} {machine:?}");
    assert!(
        !shown.contains("104, 117") && !shown.contains("hunter2"),
        "{shown}"
    );
}

/// A connection on a map, as it was entered.
fn on_map() -> Tap {
    let mut tap = connection(Role::Map, Level::Assist);
    tap.client(&map_enter(1));
    assert_eq!(tap.connection.standing(), Standing::Never);
    tap.server(&let_in());
    assert_eq!(tap.connection.standing(), Standing::Loading);
    tap.client(&packet(0x007D, 2, &[]));
    tap.server(&sized(0x008E, 8, &[(4, b"abc")]));
    assert_eq!(tap.connection.standing(), Standing::OnMap);
    tap
}

fn chat(number: usize) -> Vec<u8> {
    let text = format!("Me : {number:03}");
    sized(0x00F3, 5 + text.len(), &[(4, text.as_bytes())])
}

fn walk() -> Vec<u8> {
    packet(0x035F, 5, &[(2, &[1, 2, 3])])
}

#[test]
fn the_last_word_of_a_server_ends_it() {
    for (word, standing) in [
        (notice(15), Standing::Over),
        (packet(0x00B3, 3, &[(2, &[1])]), Standing::Over),
        (packet(0x018B, 4, &[]), Standing::Over),
        (packet(0x0AC7, 156, &[(2, b"geffen.gat")]), Standing::Over),
        (packet(0x018B, 4, &[(2, &[1])]), Standing::OnMap),
        (packet(0x007F, 6, &[]), Standing::OnMap),
    ] {
        let mut tap = on_map();
        tap.server(&word);
        assert_eq!(tap.connection.standing(), standing, "{word:02x?}");
    }
    let mut leaving = on_map();
    leaving.client(&packet(0x00B2, 3, &[(2, &[1])]));
    assert_eq!(leaving.connection.standing(), Standing::Over);
    for role in [Role::Login, Role::Char] {
        let tap = connection(role, Level::Assist);
        assert_eq!(tap.connection.standing(), Standing::Never);
    }
}

#[test]
fn what_is_said_without_a_server_waits_or_is_dropped() {
    let mut tap = on_map();
    // Half a packet of the old server is forgotten.
    tap.server(&load_map()[..9]);
    let before = (tap.out.messages.len(), tap.out.client.len());
    tap.connection.suspend();
    assert!(tap.connection.away().unwrap().loaded);
    for piece in [walk(), chat(1), packet(0x0360, 6, &[]), chat(2), walk()] {
        tap.client(&piece);
    }
    // Even behind the new server's welcome, as long as the client has not loaded.
    tap.connection.resume();
    tap.server(&welcome());
    tap.client(&[walk(), chat(3)].concat());
    assert_eq!(tap.out.messages.len(), before.0, "nothing went out");
    assert_eq!(tap.out.client[before.1..], welcome());
    tap.client(&[packet(0x007D, 2, &[]), walk()].concat());
    let sent: Vec<&[u8]> = tap.out.messages[before.0..]
        .iter()
        .map(|message| &message.payload[..])
        .collect();
    let loaded = packet(0x007D, 2, &[]);
    let lines = [chat(1), chat(2), chat(3)];
    assert_eq!(
        sent,
        [&loaded[..], &lines[0], &lines[1], &lines[2], &walk()]
    );
    let resumed = BridgeEvent::Resumed {
        kept: 3,
        dropped: 4,
    };
    assert!(tap.out.events.contains(&resumed), "{:?}", tap.out.events);
    // The new endpoint is given what keeps the session alive.
    let kept = tap.out.kept.len();
    tap.server(&sized(0x008E, 8, &[(4, b"abc")]));
    assert_eq!(tap.out.kept.len(), kept + 1);
    assert!(!tap.out.kept[kept].is_empty());
    assert_eq!(tap.connection.standing(), Standing::OnMap);
}

#[test]
fn a_client_that_talks_on_and_on_is_bounded() {
    let mut tap = on_map();
    tap.connection.suspend();
    let before = tap.out.messages.len();
    for number in 0..1000 {
        tap.client(&chat(number));
    }
    tap.connection.resume();
    tap.server(&welcome());
    tap.client(&packet(0x007D, 2, &[]));
    assert_eq!(tap.out.messages.len(), before + 1 + MAX_HELD);
    let dropped = 1000 - MAX_HELD as u64;
    let resumed = BridgeEvent::Resumed {
        kept: MAX_HELD,
        dropped,
    };
    assert!(tap.out.events.contains(&resumed));
}

#[test]
fn loading_and_leaving_are_seen_without_a_server() {
    let mut tap = connection(Role::Map, Level::Assist);
    tap.client(&map_enter(1));
    tap.server(&let_in());
    tap.connection.suspend();
    assert!(!tap.connection.away().unwrap().loaded);
    let before = tap.out.messages.len();
    tap.client(&packet(0x007D, 2, &[]));
    assert!(tap.connection.away().unwrap().loaded);
    assert!(tap.out.events.contains(&BridgeEvent::Away));
    for (leave, left) in [
        (packet(0x00B2, 3, &[]), false),
        (packet(0x018A, 4, &[]), true),
        (packet(0x00B2, 3, &[(2, &[1])]), true),
    ] {
        tap.connection.suspend();
        tap.client(&leave);
        assert_eq!(tap.connection.away().unwrap().left, left, "{leave:02x?}");
    }
    assert_eq!(tap.out.messages.len(), before);
}

#[test]
fn later_servers_are_told_the_new_numbers() {
    let mut known = recall(Level::Assist, None);
    assert_eq!(known.ids(), None);
    let mut machine =
        ReEntry::new(&known, table(), ReEntryLimits::default(), false, ms(0)).unwrap();
    let mut strict = Strict::new(ms(0), false);
    let mut ids = None;
    let mut at = None;
    while ids.is_none() {
        match machine.poll().unwrap() {
            Action::Open { role, .. } => {
                at = Some(role);
                machine.opened(ms(0));
            }
            Action::Send { packet, .. } => {
                let answer = strict.answer(ms(0), at.unwrap(), packet.reveal());
                machine.bytes(ms(0), &answer);
            }
            Action::Ready { ids: new, .. } => ids = Some(new),
            _ => {}
        }
    }
    known.signed_in(ids.unwrap());
    for (role, old, new) in [
        (Role::Char, char_enter(1, 2), char_enter(102, 103)),
        (Role::Map, map_enter(1), map_enter(102)),
    ] {
        let mut tap = connection(role, Level::Assist);
        tap.connection.set_ids(known.ids().unwrap());
        tap.client(&old);
        assert_eq!(tap.out.to_server(), new);
    }
    // Signed in anew by itself, the client has its own numbers.
    let mut tap = connection(Role::Login, Level::Assist);
    tap.client(&login());
    take(&mut known, &mut tap, server(6900));
    assert_eq!(known.ids(), None);
}

#[test]
fn hidden_ids_begin_anew_with_the_new_server() {
    let version = Version::new(20_130_807, true);
    let enter = {
        let mut enter = packet(0x022D, 19, &[(2, &AID.to_le_bytes())]);
        enter[18] = 1;
        enter
    };
    let hidden = |packets: &[Vec<u8>]| version.enciphered(packets);
    let all = [
        enter.clone(),
        packet(0x007D, 2, &[]),
        packet(0x00BF, 3, &[]),
    ];
    let mut tap = Tap::new(version.connection(Role::Map, Level::Assist));
    let wire = hidden(&all);
    tap.client(&wire[0]);
    tap.server(&packet(0x02EB, 13, &[]));
    tap.server(&load_map());
    tap.connection.suspend();
    tap.client(&wire[1]);
    let mut again = enter.clone();
    tap.connection.encipher_enter(&mut again);
    assert_eq!(again, wire[0], "the first key again");
    tap.connection.resume();
    tap.server(&load_map());
    // The client's own keys go on; the server's begin behind its 022D.
    let more = hidden(&[
        all[0].clone(),
        all[1].clone(),
        all[1].clone(),
        all[2].clone(),
    ]);
    let before = tap.out.messages.len();
    tap.client(&[more[2].clone(), more[3].clone()].concat());
    let sent: Vec<Vec<u8>> = tap.out.messages[before..]
        .iter()
        .map(|message| message.payload.clone())
        .collect();
    assert_eq!(
        sent,
        hidden(&[all[0].clone(), all[1].clone(), all[2].clone()])[1..]
    );
}

fn hostile() -> impl Strategy<Value = Vec<u8>> {
    let pieces = vec![
        Just(accept(AID, 7, 8)).boxed(),
        Just(accept(AID, 7, 8)[..100].to_vec()).boxed(),
        Just(notice(8)).boxed(),
        Just(notice(1)).boxed(),
        any::<u8>().prop_map(notice).boxed(),
        Just(AID.to_le_bytes().to_vec()).boxed(),
        (any::<u32>(), 0..9_u16)
            .prop_map(|(seed, state)| pin_state(seed, state))
            .boxed(),
        Just(sized(0x006B, 27, &[])).boxed(),
        Just(to_map(GID)).boxed(),
        Just(let_in()).boxed(),
        Just(sized(0x008E, 60_000, &[])).boxed(),
        proptest::collection::vec(any::<u8>(), 0..80).boxed(),
    ];
    proptest::strategy::Union::new(pieces)
}

proptest! {
    #[test]
    fn any_segmentation_of_the_servers_answers_gives_the_same(
        cuts in proptest::collection::vec(any::<Index>(), 0..12), pin: bool, held in 0..2_000_u64,
    ) {
        let whole = run(&mut machine(false), &mut Strict::new(ms(held), pin), &[], ms(0));
        let cut = run(&mut machine(false), &mut Strict::new(ms(held), pin), &cuts, ms(0));
        prop_assert_eq!(whole, cut);
    }

    #[test]
    fn hostile_servers_cannot_break_or_hold_it(
        said in proptest::collection::vec((hostile(), 0..3_000_u64, 0..4_u8), 0..60),
        loading: bool,
    ) {
        let mut machine = machine(loading);
        let mut now = ms(0);
        let mut over = 0;
        for (bytes, pause, what) in said {
            match what {
                0 => machine.ended(now),
                1 => machine.loaded(now),
                2 => machine.opened(now),
                _ => {}
            }
            machine.bytes(now, &bytes);
            let mut actions = actions(&mut machine);
            prop_assert!(actions.len() < 64);
            for action in actions.drain(..) {
                match action {
                    Action::Open { .. } if pause % 3 == 0 => machine.not_opened(now, NotOpened::Away),
                    Action::Open { .. } => machine.opened(now),
                    Action::Ready { .. } | Action::GiveUp(_) => over += 1,
                    _ => {}
                }
            }
            now += ms(pause);
            machine.time(now);
        }
        while let Some(next) = machine.next_time() {
            prop_assert!(next <= ms(45_000).max(now));
            now = now.max(next);
            machine.time(now);
            over += actions(&mut machine).iter()
                .filter(|action| matches!(action, Action::Ready { .. } | Action::GiveUp(_)))
                .count();
        }
        over += actions(&mut machine).iter()
            .filter(|action| matches!(action, Action::Ready { .. } | Action::GiveUp(_)))
            .count();
        prop_assert_eq!(over, 1, "it ends exactly once");
    }

    #[test]
    fn a_connection_that_loses_its_server_keeps_its_packets_whole(
        packets in proptest::collection::vec(0..4_u8, 0..40),
        cuts in proptest::collection::vec(any::<Index>(), 0..20),
        lost in any::<Index>(), back in any::<Index>(),
    ) {
        let stream: Vec<u8> = packets.iter().enumerate().flat_map(|(number, kind)| match kind {
            0 => walk(),
            1 => chat(number),
            2 => packet(0x0360, 6, &[]),
            _ => packet(0x00BF, 3, &[]),
        }).collect();
        let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
        ends.push(stream.len());
        ends.sort_unstable();
        let (lost, back) = (lost.index(ends.len()), back.index(ends.len()));
        let mut tap = on_map();
        let before = tap.out.messages.len();
        let mut from = 0;
        for (at, end) in ends.iter().enumerate() {
            if at == lost {
                tap.connection.suspend();
            }
            if at == back.max(lost) {
                tap.connection.resume();
                tap.server(&welcome());
            }
            tap.client(&stream[from..*end]);
            from = *end;
        }
        tap.client(&packet(0x007D, 2, &[]));
        // Whole packets of the client, in order, its lines of chat all among them.
        let lines: Vec<&Vec<u8>> = tap.out.messages[before..].iter()
            .map(|message| &message.payload)
            .filter(|payload| payload.starts_with(&[0xF3, 0x00]))
            .collect();
        let said: Vec<Vec<u8>> = packets.iter().enumerate()
            .filter(|(_, kind)| **kind == 1)
            .map(|(number, _)| chat(number))
            .collect();
        prop_assert_eq!(lines.len(), said.len().min(lines.len()));
        let early = said.len().saturating_sub(MAX_HELD);
        prop_assert!(lines.len() + early >= said.len());
        prop_assert!(lines.iter().zip(&said).all(|(line, said)| **line == *said));
    }
}

#[test]
fn the_owner_may_feed_a_connection_that_has_no_gate() {
    let mut tap = on_map();
    tap.connection.resume();
    assert_eq!(tap.connection.away(), None);
    let mut opaque = BridgeConnection::new(
        Role::Map,
        Level::Opaque,
        warp_bridge_core::Reading::Opaque(warp_bridge_core::StepDownReason::NoPacketTable),
        true,
    );
    opaque.suspend();
    opaque.encipher_enter(&mut [0; 23]);
    opaque.client_bytes(b"x", PATH, &mut |_| {});
    opaque.server_bytes(b"y", PATH, &mut Identity, &mut |_| {});
    assert_eq!(opaque.standing(), Standing::Never);
}

/// A recorded sign-in of OpenKore at rAthena: what its client said is recorded, and what its servers
/// answered leads the machine to the same map.
#[test]
fn a_recorded_sign_in_is_said_again() {
    let recordings = common::recordings();
    let stream = |name: &str| {
        let recording = recordings.iter().find(|one| one.name == name);
        recording.unwrap_or_else(|| panic!("{name}")).bytes.clone()
    };
    for tag in ["pin", "mk"] {
        let mut recall = Recall::default();
        let mut streams = Vec::new();
        for (role, name) in [
            (Role::Login, "001-login"),
            (Role::Char, "002-char"),
            (Role::Map, "003-map"),
        ] {
            let (client, server) = (
                stream(&format!("{tag}-{name}-C")),
                stream(&format!("{tag}-{name}-S")),
            );
            let mut tap = connection(role, Level::Assist);
            tap.client(&client);
            if role != Role::Map {
                tap.server(&server);
            }
            take(
                &mut recall,
                &mut tap,
                SocketAddr::from(([127, 0, 0, 1], 6121)),
            );
            streams.push((role, client, server));
        }
        let mut machine =
            ReEntry::new(&recall, table(), ReEntryLimits::default(), false, ms(0)).unwrap();
        let (mut at, mut said) = (None, Vec::new());
        let welcome = loop {
            match machine.poll().unwrap() {
                Action::Open { role, .. } => {
                    at = Some(role);
                    machine.opened(ms(0));
                }
                Action::Send { packet, .. } => {
                    let (_, client, server) = streams
                        .iter()
                        .find(|(role, _, _)| Some(*role) == at)
                        .unwrap();
                    let sent = packet.reveal();
                    let own = client.windows(sent.len()).any(|piece| piece == sent);
                    assert!(own, "{tag} {at:?}: it is what the client had sent");
                    if said.last() != Some(&at) {
                        said.push(at);
                        machine.bytes(ms(0), server);
                    }
                }
                Action::Ready { welcome, .. } => break welcome,
                Action::GiveUp(why) => panic!("{tag}: {why}"),
                Action::Step(_) | Action::Close | Action::ServersAway => {}
            }
        };
        // All that the server said behind 0283, 0B18 and 02EB.
        let (_, _, map) = streams.last().unwrap();
        assert_eq!(welcome[..], map[6 + 4 + 13..], "{tag}");
    }
}
