//! A link that says there is nothing to send without asking QUIC is right about it.

use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use warp_protocol::carrier::PathKind;

use crate::identity::tests::identity;
use crate::{Link, LinkConfig, LinkEvent, Outgoing, ReadOutcome, State, StreamId, WriteOutcome};

const STEP: Duration = Duration::from_millis(3);
const LATENCY: Duration = Duration::from_millis(12);
/// The longest that pacing holds a packet back here.
const PACED: Duration = Duration::from_millis(5);

/// Both ends, the engine's first, and what is on its way to each.
struct Two {
    links: [Link; 2],
    flights: [VecDeque<(Instant, Outgoing)>; 2],
    now: Instant,
    streams: Vec<StreamId>,
    /// Times that a link was quiet after something was done with it.
    kept: u32,
    sent: u32,
}

impl Two {
    fn new(now: Instant) -> Self {
        let (ours, theirs) = (identity(1), identity(2));
        let config = LinkConfig {
            key_interval: Duration::from_secs(6),
            // So small that reading has to give window back.
            stream_window: 4096,
            ..LinkConfig::default()
        };
        let client = Link::client(config.clone(), &ours, theirs.public_key(), [1; 32]).unwrap();
        let server = Link::server(config, &theirs, ours.public_key(), [2; 32]).unwrap();
        Self {
            links: [client, server],
            flights: Default::default(),
            now,
            streams: Vec::new(),
            kept: 0,
            sent: 0,
        }
    }

    /// Does something with a side, and looks whether it is quiet for a reason.
    fn with<R>(&mut self, side: usize, act: impl FnOnce(&mut Link, Instant) -> R) -> R {
        let now = self.now;
        let done = act(&mut self.links[side], now);
        let link = &mut self.links[side];
        if link.quiet
            && let Some((_, connection)) = &mut link.connection
        {
            let due = connection.poll_timeout();
            let mut packet = Vec::new();
            let hidden = connection.poll_transmit(now, NonZeroUsize::MIN, &mut packet);
            // What pacing holds back goes at its timer, though it might go a little before.
            let paced = due.is_some_and(|at| at <= now + PACED);
            assert!(
                hidden.is_none() || paced,
                "kept quiet about {} bytes",
                packet.len()
            );
            self.kept += 1;
        }
        done
    }

    fn drain(&mut self, side: usize) {
        while let Some(event) = self.with(side, |link, _| link.poll_event()) {
            match event {
                LinkEvent::StreamOpened(id) | LinkEvent::Readable(id)
                    if !self.sent.is_multiple_of(5) =>
                {
                    let read = |link: &mut Link, _| link.read(id, 700);
                    while let ReadOutcome::Data(_) = self.with(side, read) {}
                }
                _ => {}
            }
        }
        while let Some(out) = self.with(side, Link::poll_transmit) {
            self.sent += 1;
            // Every eleventh is lost, the WebSocket's aside.
            if !self.sent.is_multiple_of(11) || out.carrier == PathKind::Wss {
                self.flights[1 - side].push_back((self.now + LATENCY, out));
            }
        }
    }

    fn step(&mut self) {
        self.now += STEP;
        for side in [0, 1] {
            while self.flights[side]
                .front()
                .is_some_and(|(at, _)| *at <= self.now)
            {
                let Some((_, out)) = self.flights[side].pop_front() else {
                    break;
                };
                self.with(side, |link, now| {
                    link.handle_datagram(out.carrier, &out.datagram, now);
                });
            }
            self.with(side, |link, now| {
                if link.poll_timeout(now).is_some_and(|(at, _)| at <= now) {
                    link.handle_timeout(now);
                }
            });
            self.drain(side);
        }
    }

    fn write(&mut self, side: usize, count: usize) {
        for id in self.streams.clone() {
            let written = self.with(side, |link, _| link.write(id, &[7; 900][..count]));
            assert!(!matches!(written, WriteOutcome::Written(0)));
        }
    }
}

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "a test needs some instant to start from"
)]
fn a_quiet_link_has_nothing_to_send() {
    let mut two = Two::new(Instant::now());
    for kind in PathKind::ALL {
        for side in [1, 0] {
            two.with(side, |link, now| link.carrier_up(kind, now));
        }
    }
    for turn in 0..8000u32 {
        two.step();
        if two.links[0].state() != State::Connected {
            continue;
        }
        if turn.is_multiple_of(400) {
            let opened = two.with(0, |link, _| link.open_stream());
            two.streams.extend(opened);
        }
        match turn % 97 {
            3 => two.write(0, 40),
            50 => two.write(1, 900),
            _ => {}
        }
        let kind = PathKind::ALL[turn as usize % 4];
        match turn % 1511 {
            200 => drop(two.with(0, Link::fail_over)),
            600 => two.with(1, Link::update_keys),
            800 => two.with(0, |link, now| link.carrier_down(kind, now)),
            900 => two.with(0, |link, now| link.carrier_up(kind, now)),
            1000 => two.with(0, Link::unbench),
            1100 => drop(two.with(0, Link::paths)),
            1200 => {
                if let Some(id) = two.streams.pop() {
                    two.with(0, |link, _| link.finish(id));
                    two.with(1, |link, _| link.prioritise(id, 2));
                    two.with(1, |link, _| link.reset(id, 1));
                    two.with(1, |link, _| link.stop(id, 1));
                }
            }
            _ => {}
        }
    }
    assert_eq!(two.links[0].state(), State::Connected);
    assert!(two.kept > 8000, "{} times", two.kept);
    two.with(0, |link, now| link.close(0, now));
    two.drain(0);
    assert!(two.links[0].is_closed());
}
