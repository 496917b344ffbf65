use proptest::prelude::*;
use serde_json::json;

use super::*;

const NOW: &str = "2026-01-01T00:00:00Z";

fn join(session: &str) -> ClientSignal {
    ClientSignal::Join {
        session_id: session.into(),
    }
}

fn offer(to: &str) -> ClientSignal {
    ClientSignal::Offer {
        to: to.into(),
        sdp: json!("v=0"),
    }
}

fn to(conn: ConnId, signal: ServerSignal) -> Output {
    Output::Deliver { conn, signal }
}

fn joined(session: &str, peers: &[&str]) -> ServerSignal {
    ServerSignal::SessionJoined {
        session_id: session.into(),
        peers: peers.iter().map(|p| (*p).to_owned()).collect(),
    }
}

fn peer_joined(peer: &str) -> ServerSignal {
    ServerSignal::PeerJoined {
        peer_id: peer.into(),
    }
}

fn peer_left(peer: &str) -> ServerSignal {
    ServerSignal::PeerLeft {
        peer_id: peer.into(),
    }
}

fn session_left(session: &str) -> ServerSignal {
    ServerSignal::SessionLeft {
        session_id: session.into(),
    }
}

fn relayed(from: &str) -> ServerSignal {
    ServerSignal::Offer {
        from: from.into(),
        sdp: json!("v=0"),
        timestamp: NOW.into(),
    }
}

fn code(out: &[Output]) -> ProblemCode {
    match out {
        [
            Output::Deliver {
                signal: ServerSignal::Error { code, .. },
                ..
            },
        ] => *code,
        other => panic!("not one error: {other:?}"),
    }
}

/// A room `s` with `a`, `b` and the service `endpoint` in it.
fn room() -> (Rooms, ConnId, ConnId, ConnId) {
    let mut rooms = Rooms::new(RoomsLimits::default());
    rooms.open("s", &["a", "b"]).unwrap();
    let (endpoint, _) = rooms.connect_service("s", "endpoint").unwrap();
    let (a, _) = rooms.connect("a").unwrap();
    rooms.handle(a, join("s"), NOW);
    let (b, _) = rooms.connect("b").unwrap();
    let out = rooms.handle(b, join("s"), NOW);
    assert_eq!(
        out,
        [
            to(b, joined("s", &["a", "endpoint"])),
            to(a, peer_joined("b")),
            to(endpoint, peer_joined("b")),
        ]
    );
    (rooms, a, b, endpoint)
}

#[test]
fn a_guest_enters_after_it_was_let_in_and_not_before() {
    let mut rooms = Rooms::new(RoomsLimits {
        peers_per_room: 2,
        ..RoomsLimits::default()
    });
    rooms.open("s", &["a"]).unwrap();
    rooms.connect_service("s", "endpoint").unwrap();
    let (guest, _) = rooms.connect("g").unwrap();
    assert_eq!(
        code(&rooms.handle(guest, join("s"), NOW)),
        ProblemCode::UnknownSession
    );
    assert!(!rooms.admits("s", "g"));
    rooms.admit("s", "g").unwrap();
    rooms.admit("s", "g").unwrap();
    assert!(rooms.admits("s", "g") && rooms.admits("s", "a") && !rooms.admits("s", "endpoint"));
    let out = rooms.handle(guest, join("s"), NOW);
    assert!(
        out.contains(&to(guest, joined("s", &["endpoint"]))),
        "{out:?}"
    );
    assert_eq!(rooms.admit("s", "endpoint"), Err(RoomsRefused::Taken));
    assert_eq!(rooms.admit("s", "h"), Err(RoomsRefused::Full));
    assert_eq!(rooms.admit("t", "g"), Err(RoomsRefused::UnknownRoom));
    assert_eq!(rooms.admit("s", ""), Err(RoomsRefused::BadPeerId));
}

#[test]
fn members_reach_each_other_and_nobody_else() {
    let (mut rooms, a, b, endpoint) = room();
    assert_eq!(rooms.handle(a, offer("b"), NOW), [to(b, relayed("a"))]);
    assert_eq!(
        rooms.handle(endpoint, offer("a"), NOW),
        [to(a, relayed("endpoint"))]
    );
    assert_eq!(
        code(&rooms.handle(a, offer("a"), NOW)),
        ProblemCode::BadRequest
    );

    rooms.open("t", &["c"]).unwrap();
    let (c, _) = rooms.connect("c").unwrap();
    assert_eq!(
        code(&rooms.handle(c, offer("a"), NOW)),
        ProblemCode::UnknownSession
    );
    rooms.handle(c, join("t"), NOW);
    // Also `endpoint` is another room's.
    for there in ["a", "endpoint", "nobody"] {
        assert_eq!(
            code(&rooms.handle(c, offer(there), NOW)),
            ProblemCode::PeerUnreachable
        );
    }
}

#[test]
fn only_named_peers_join_and_a_refused_join_changes_nothing() {
    let (mut rooms, a, b, _) = room();
    rooms.open("t", &["c"]).unwrap();
    for session in ["t", "none", ""] {
        assert_eq!(
            code(&rooms.handle(a, join(session), NOW)),
            ProblemCode::UnknownSession
        );
    }
    assert_eq!(rooms.handle(a, offer("b"), NOW), [to(b, relayed("a"))]);
}

#[test]
fn a_newer_connection_takes_over_and_the_older_ones_end_harms_nothing() {
    let (mut rooms, a, b, endpoint) = room();
    let (a2, out) = rooms.connect("a").unwrap();
    assert_eq!(
        out,
        [
            to(b, peer_left("a")),
            to(endpoint, peer_left("a")),
            Output::Close {
                conn: a,
                reason: CloseReason::Replaced
            },
        ]
    );
    rooms.handle(a2, join("s"), NOW);
    assert_eq!(rooms.disconnect(a), []);
    assert_eq!(rooms.handle(a, offer("b"), NOW), []);
    assert_eq!(rooms.handle(b, offer("a"), NOW), [to(a2, relayed("b"))]);
    assert_eq!(
        rooms.disconnect(a2),
        [to(b, peer_left("a")), to(endpoint, peer_left("a"))]
    );
    assert_eq!(
        code(&rooms.handle(b, offer("a"), NOW)),
        ProblemCode::PeerUnreachable
    );
}

#[test]
fn joining_another_room_leaves_the_first() {
    let (mut rooms, a, b, endpoint) = room();
    rooms.open("t", &["a"]).unwrap();
    assert_eq!(
        rooms.handle(a, join("t"), NOW),
        [
            to(b, peer_left("a")),
            to(endpoint, peer_left("a")),
            to(a, session_left("s")),
            to(a, joined("t", &[])),
        ]
    );
    // Again: only the list of members, nobody else is told.
    assert_eq!(rooms.handle(a, join("t"), NOW), [to(a, joined("t", &[]))]);
    assert_eq!(
        rooms.handle(a, ClientSignal::Leave, NOW),
        [to(a, session_left("t"))]
    );
    assert_eq!(
        code(&rooms.handle(a, ClientSignal::Leave, NOW)),
        ProblemCode::BadRequest
    );
}

#[test]
fn closing_a_room_puts_its_members_out_and_ends_its_services() {
    let (mut rooms, a, b, endpoint) = room();
    assert_eq!(
        rooms.close("s"),
        [
            to(a, session_left("s")),
            to(b, session_left("s")),
            to(endpoint, session_left("s")),
        ]
    );
    assert_eq!(rooms.counts(), (2, 0));
    assert_eq!(
        code(&rooms.handle(a, offer("b"), NOW)),
        ProblemCode::UnknownSession
    );
    assert_eq!(rooms.close("s"), []);
}

#[test]
fn a_service_has_its_name_in_its_room_and_stays_there() {
    let (mut rooms, _, _, endpoint) = room();
    assert_eq!(
        rooms.connect_service("s", "endpoint").unwrap_err(),
        RoomsRefused::Taken
    );
    assert_eq!(
        rooms.connect_service("s", "a").unwrap_err(),
        RoomsRefused::Taken
    );
    assert_eq!(
        rooms.connect_service("none", "endpoint").unwrap_err(),
        RoomsRefused::UnknownRoom
    );
    for signal in [join("s"), ClientSignal::Leave] {
        assert_eq!(
            code(&rooms.handle(endpoint, signal, NOW)),
            ProblemCode::BadRequest
        );
    }
    // A socket that calls itself `endpoint` gets nothing of it.
    let (liar, out) = rooms.connect("endpoint").unwrap();
    assert_eq!(out, []);
    assert_eq!(
        code(&rooms.handle(liar, join("s"), NOW)),
        ProblemCode::UnknownSession
    );
}

#[test]
fn bounds_and_names_are_kept() {
    let mut rooms = Rooms::new(RoomsLimits {
        connections: 2,
        rooms: 1,
        peers_per_room: 2,
    });
    for bad in ["", "a\nb", &"x".repeat(129)] {
        assert_eq!(rooms.connect(bad).unwrap_err(), RoomsRefused::BadPeerId);
    }
    assert_eq!(
        rooms.open("s", &["a", "b", "c"]).unwrap_err(),
        RoomsRefused::Full
    );
    rooms.open("s", &["a", "b"]).unwrap();
    assert_eq!(rooms.open("s", &["a"]).unwrap_err(), RoomsRefused::Taken);
    assert_eq!(rooms.open("t", &["a"]).unwrap_err(), RoomsRefused::Full);
    rooms.connect("a").unwrap();
    rooms.connect("b").unwrap();
    assert_eq!(rooms.connect("c").unwrap_err(), RoomsRefused::Full);
    // Replacing one's own connection needs no room.
    assert!(rooms.connect("a").is_ok());
}

/// What the rooms should be, as plainly as it can be said: a list of sockets.
#[derive(Default)]
struct Model {
    /// Open sockets in the order of their ids: connection, name, room, service.
    sockets: Vec<(ConnId, String, Option<String>, bool)>,
    /// Open rooms with the names that may join.
    rooms: Vec<(String, Vec<String>)>,
}

impl Model {
    /// Members of a room by name.
    fn members(&self, room: &str) -> Vec<(String, ConnId)> {
        let mut members: Vec<_> = self
            .sockets
            .iter()
            .filter(|s| s.2.as_deref() == Some(room))
            .map(|s| (s.1.clone(), s.0))
            .collect();
        members.sort();
        members
    }

    fn socket(&mut self, conn: ConnId) -> Option<&mut (ConnId, String, Option<String>, bool)> {
        self.sockets.iter_mut().find(|s| s.0 == conn)
    }

    /// Puts a socket out of its room; what the others hear of it.
    fn put_out(&mut self, conn: ConnId) -> Vec<Output> {
        let Some(socket) = self.socket(conn) else {
            return vec![];
        };
        let name = socket.1.clone();
        let Some(room) = socket.2.take() else {
            return vec![];
        };
        self.members(&room)
            .into_iter()
            .map(|(_, other)| to(other, peer_left(&name)))
            .collect()
    }

    fn put_in(&mut self, conn: ConnId, room: &str) -> Vec<Output> {
        let others = self.members(room);
        let names: Vec<&str> = others.iter().map(|o| o.0.as_str()).collect();
        let mut out = vec![to(conn, joined(room, &names))];
        let socket = self.socket(conn).unwrap();
        socket.2 = Some(room.to_owned());
        let name = socket.1.clone();
        out.extend(others.iter().map(|o| to(o.1, peer_joined(&name))));
        out
    }

    fn end(&mut self, conn: ConnId) -> Vec<Output> {
        let out = self.put_out(conn);
        self.sockets.retain(|s| s.0 != conn);
        out
    }
}

#[derive(Debug, Clone)]
enum Op {
    Open(u8, Vec<u8>),
    Close(u8),
    Connect(u8),
    Service(u8),
    Disconnect(usize),
    Join(usize, u8),
    Leave(usize),
    Offer(usize, u8),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        1 => (0..3u8, proptest::collection::vec(0..4u8, 0..4)).prop_map(|(s, p)| Op::Open(s, p)),
        1 => (0..3u8).prop_map(Op::Close),
        3 => (0..5u8).prop_map(Op::Connect),
        1 => (0..3u8).prop_map(Op::Service),
        2 => (0..40usize).prop_map(Op::Disconnect),
        6 => (0..40usize, 0..3u8).prop_map(|(c, s)| Op::Join(c, s)),
        1 => (0..40usize).prop_map(Op::Leave),
        4 => (0..40usize, 0..5u8).prop_map(|(c, p)| Op::Offer(c, p)),
    ];
    proptest::collection::vec(op, 1..120)
}

/// Names of peers; the fifth is the service's.
fn name(n: u8) -> String {
    ["a", "b", "c", "d", "endpoint"][usize::from(n)].to_owned()
}

/// Replaces the text of errors, which the model does not know.
fn without_text(out: Vec<Output>) -> Vec<Output> {
    out.into_iter()
        .map(|o| match o {
            Output::Deliver {
                conn,
                signal: ServerSignal::Error { code, .. },
            } => to(conn, error(code, "")),
            other => other,
        })
        .collect()
}

/// Carries out one operation on both; gives what each says.
fn step(rooms: &mut Rooms, model: &mut Model, all: &mut Vec<ConnId>, op: Op) -> [Vec<Output>; 2] {
    let refused = |conn, code| vec![to(conn, error(code, ""))];
    match op {
        Op::Open(s, peers) => {
            let (s, peers): (_, Vec<String>) =
                (format!("s{s}"), peers.into_iter().map(name).collect());
            let names: Vec<&str> = peers.iter().map(String::as_str).collect();
            let new = model.rooms.iter().all(|r| r.0 != s);
            assert_eq!(rooms.open(&s, &names).is_ok(), new);
            if new {
                model.rooms.push((s, peers));
            }
            [vec![], vec![]]
        }
        Op::Close(s) => {
            let s = format!("s{s}");
            let members = model.members(&s);
            model.rooms.retain(|r| r.0 != s);
            for (_, conn) in &members {
                model.socket(*conn).unwrap().2 = None;
            }
            // A service does not outlive its room.
            model.sockets.retain(|m| !m.3 || m.2.is_some());
            let expected = members
                .into_iter()
                .map(|(_, conn)| to(conn, session_left(&s)))
                .collect();
            [rooms.close(&s), expected]
        }
        Op::Connect(p) => {
            let p = name(p);
            let (conn, out) = rooms.connect(&p).unwrap();
            let mut expected = vec![];
            if let Some(old) = model.sockets.iter().find(|s| s.1 == p && !s.3) {
                let old = old.0;
                expected = model.end(old);
                expected.push(Output::Close {
                    conn: old,
                    reason: CloseReason::Replaced,
                });
            }
            model.sockets.push((conn, p, None, false));
            all.push(conn);
            [out, expected]
        }
        Op::Service(s) => {
            let s = format!("s{s}");
            let free = model.rooms.iter().any(|r| r.0 == s)
                && model.members(&s).iter().all(|m| m.0 != "endpoint");
            match rooms.connect_service(&s, "endpoint") {
                Ok((conn, out)) => {
                    assert!(free);
                    model.sockets.push((conn, name(4), None, true));
                    all.push(conn);
                    [out, model.put_in(conn, &s)]
                }
                Err(_) => {
                    assert!(!free);
                    [vec![], vec![]]
                }
            }
        }
        Op::Disconnect(c) => match all.get(c) {
            Some(conn) => [rooms.disconnect(*conn), model.end(*conn)],
            None => [vec![], vec![]],
        },
        Op::Join(c, s) => {
            let (Some(&conn), s) = (all.get(c), format!("s{s}")) else {
                return [vec![], vec![]];
            };
            let out = rooms.handle(conn, join(&s), NOW);
            let Some((_, p, now_in, service)) = model.socket(conn).cloned() else {
                return [out, vec![]];
            };
            let named = model.rooms.iter().any(|r| r.0 == s && r.1.contains(&p));
            let expected = if service {
                refused(conn, ProblemCode::BadRequest)
            } else if !named {
                refused(conn, ProblemCode::UnknownSession)
            } else {
                let again = now_in.as_deref() == Some(s.as_str());
                let mut told = model.put_out(conn);
                if let Some(old) = now_in {
                    told.push(to(conn, session_left(&old)));
                }
                let entered = model.put_in(conn, &s);
                if again {
                    entered[..1].to_vec()
                } else {
                    told.extend(entered);
                    told
                }
            };
            [out, expected]
        }
        Op::Leave(c) => {
            let Some(&conn) = all.get(c) else {
                return [vec![], vec![]];
            };
            let out = rooms.handle(conn, ClientSignal::Leave, NOW);
            let expected = match model.socket(conn).cloned() {
                None => vec![],
                Some((_, _, Some(room), false)) => {
                    let mut told = model.put_out(conn);
                    told.push(to(conn, session_left(&room)));
                    told
                }
                Some(_) => refused(conn, ProblemCode::BadRequest),
            };
            [out, expected]
        }
        Op::Offer(c, p) => {
            let (Some(&conn), p) = (all.get(c), name(p)) else {
                return [vec![], vec![]];
            };
            let out = rooms.handle(conn, offer(&p), NOW);
            let expected = match model.socket(conn).cloned() {
                None => vec![],
                Some((_, _, None, _)) => refused(conn, ProblemCode::UnknownSession),
                Some((_, me, Some(room), _)) => {
                    match model.members(&room).iter().find(|m| m.0 == p) {
                        None => refused(conn, ProblemCode::PeerUnreachable),
                        Some(m) if m.1 == conn => refused(conn, ProblemCode::BadRequest),
                        Some(m) => vec![to(m.1, relayed(&me))],
                    }
                }
            };
            [out, expected]
        }
    }
}

proptest! {
    #[test]
    fn rooms_do_what_the_plain_model_does(ops in ops()) {
        let mut rooms = Rooms::new(RoomsLimits::default());
        let mut model = Model::default();
        let mut all = Vec::new();
        for op in ops {
            let [out, expected] = step(&mut rooms, &mut model, &mut all, op.clone());
            prop_assert_eq!(without_text(out), expected, "{:?}", op);
            prop_assert_eq!(rooms.counts(), (model.sockets.len(), model.rooms.len()));
        }
    }
}
