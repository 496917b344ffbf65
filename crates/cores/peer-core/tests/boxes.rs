//! What goes into an outbox comes out of the inbox at the other end, by the rules of its channel.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test program, which needs an instant to start from"
)]

use std::time::{Duration, Instant};

use bytes::Bytes;
use proptest::prelude::*;
use warp_peer_core::{
    Channel, Class, Control, Credited, Inbound, Inbox, MAX_FRAME, Outbox, OutboxConfig, Outgoing,
    Refused, Violation, WINDOWS, wire,
};

/// An outbox with the credit that a fresh inbox gives.
fn pair(config: OutboxConfig, now: Instant) -> (Outbox, Inbox) {
    let (mut outbox, inbox) = (Outbox::new(config, now), open_inbox());
    outbox.on_credits(inbox.credits());
    (outbox, inbox)
}

/// Everything that goes now; SCTP delivers at once.
fn drain(outbox: &mut Outbox, now: Instant) -> Vec<Outgoing> {
    let mut all = Vec::new();
    while let Some(next) = outbox.poll(true, now) {
        all.push(next);
        outbox.on_outstanding(0, now);
    }
    all
}

fn receive(inbox: &mut Inbox, messages: Vec<Outgoing>) -> Vec<(Channel, Bytes)> {
    let mut frames = Vec::new();
    for Outgoing { channel, message } in messages {
        let taken = inbox.on_message(channel, message.freeze(), |inbound| match inbound {
            Inbound::Frame(channel, frame) => frames.push((channel, frame)),
            other => panic!("{other:?}"),
        });
        taken.unwrap();
    }
    frames
}

fn push(outbox: &mut Outbox, channel: Channel, frame: impl Into<Bytes>, now: Instant) {
    outbox
        .push(channel, Class::Normal, frame.into(), now)
        .unwrap();
}

fn noise(len: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 56) as u8
    };
    (0..len).map(|_| next()).collect()
}

#[test]
fn control_goes_first_and_file_last() {
    let now = Instant::now();
    let (mut outbox, _inbox) = pair(OutboxConfig::default(), now);
    for channel in [
        Channel::File,
        Channel::Reliable,
        Channel::Unreliable,
        Channel::Control,
    ] {
        push(&mut outbox, channel, vec![7; 400], now);
    }
    let order: Vec<Channel> = drain(&mut outbox, now)
        .iter()
        .map(|out| out.channel)
        .collect();
    assert_eq!(order, Channel::ALL);
}

#[test]
fn a_message_for_control_does_not_wait_for_a_file_that_is_under_way() {
    let now = Instant::now();
    let (mut outbox, _inbox) = pair(OutboxConfig::default(), now);
    push(&mut outbox, Channel::File, noise(MAX_FRAME), now);
    assert_eq!(outbox.poll(true, now).unwrap().channel, Channel::File);
    push(&mut outbox, Channel::Control, &b"stop"[..], now);
    assert_eq!(outbox.poll(true, now).unwrap().channel, Channel::Control);
    // SCTP has not said that it is through with anything: file stops at the window.
    let mut under_way = 0;
    while let Some(out) = outbox.poll(true, now) {
        under_way += out.message.len();
    }
    assert!(under_way < 80 * 1024, "{under_way}");
}

#[test]
fn thirty_two_short_frames_leave_in_one_message_within_five_milliseconds() {
    for channel in [Channel::Unreliable, Channel::Reliable] {
        let now = Instant::now();
        let (mut outbox, mut inbox) = pair(OutboxConfig::default(), now);
        // After a pause a frame does not wait.
        push(&mut outbox, channel, &b"first"[..], now);
        assert_eq!(drain(&mut outbox, now).len(), 1);
        for number in 0..31_u8 {
            push(&mut outbox, channel, vec![number; 10], now);
        }
        assert_eq!(drain(&mut outbox, now).len(), 0);
        let due = outbox.poll_timeout().unwrap();
        assert!(due <= now + Duration::from_millis(5));
        let messages = drain(&mut outbox, due);
        assert_eq!(messages.len(), 1);
        assert_eq!(receive(&mut inbox, messages).len(), 31);
        // A full message does not wait for the time.
        for number in 0..33_u8 {
            push(&mut outbox, channel, vec![number; 10], due);
        }
        let messages = drain(&mut outbox, due);
        assert_eq!(messages.len(), 1);
        assert_eq!(receive(&mut inbox, messages).len(), 32);
    }
}

#[test]
fn neither_control_nor_a_critical_frame_waits_for_company() {
    let now = Instant::now();
    let (mut outbox, _inbox) = pair(OutboxConfig::default(), now);
    for _ in 0..3 {
        push(&mut outbox, Channel::Control, &b"now"[..], now);
        let critical = Bytes::from_static(b"now");
        let pushed = outbox.push(Channel::Unreliable, Class::Critical, critical, now);
        pushed.unwrap();
        assert_eq!(drain(&mut outbox, now).len(), 2);
    }
}

#[test]
fn long_frames_shrink_short_ones_are_left_alone() {
    let now = Instant::now();
    let (mut outbox, mut inbox) = pair(OutboxConfig::default(), now);
    let text = |len: usize| Bytes::from(b"prontera".repeat(len / 8));
    for channel in [Channel::Reliable, Channel::File] {
        for (len, shrinks) in [(1016, false), (1024, true), (800_000, true)] {
            push(&mut outbox, channel, text(len), now);
            let messages = drain(&mut outbox, now);
            let on_the_wire: usize = messages.iter().map(|out| out.message.len()).sum();
            assert_eq!(on_the_wire < len, shrinks, "{on_the_wire} of {len}");
            assert_eq!(receive(&mut inbox, messages), [(channel, text(len))]);
            let _ = inbox.consumed(Credited::of(channel).unwrap(), len);
        }
    }
    // What would not get shorter is sent as it is.
    push(&mut outbox, Channel::File, noise(5000), now);
    let before = outbox.stats().packed;
    let messages = drain(&mut outbox, now);
    assert_eq!(
        receive(&mut inbox, messages),
        [(Channel::File, noise(5000).into())]
    );
    assert_eq!(outbox.stats().packed, before);
}

#[test]
fn above_high_water_the_sender_waits_until_low_water() {
    let now = Instant::now();
    let (mut outbox, mut inbox) = pair(OutboxConfig::default(), now);
    let frame = Bytes::from(noise(512 * 1024));
    let mut pushed = 0;
    while outbox.takes(Channel::File) {
        push(&mut outbox, Channel::File, frame.clone(), now);
        pushed += frame.len();
    }
    assert!((12 << 20..13 << 20).contains(&pushed), "{pushed}");
    let refused = outbox.push(Channel::File, Class::Normal, frame.clone(), now);
    assert_eq!(refused, Err(Refused::Full));
    assert!(outbox.takes(Channel::Reliable));
    // A receiver that never takes anything gets its window and no more.
    let messages = drain(&mut outbox, now);
    let sent: usize = messages.iter().map(|out| out.message.len()).sum();
    assert!(sent <= WINDOWS[2], "{sent}");
    assert!(!outbox.takes(Channel::File));
    let mut frames = receive(&mut inbox, messages).len();
    // One that takes them gets all.
    let mut low = None;
    while outbox.bulk_queued() > 0 {
        for _ in 0..frames {
            if let Some(Control::Credit(credits)) = inbox.consumed(Credited::File, frame.len()) {
                outbox.on_credits(credits);
            }
        }
        if low.is_none() && outbox.takes(Channel::File) {
            low = Some(outbox.bulk_queued());
        }
        let messages = drain(&mut outbox, now);
        frames = receive(&mut inbox, messages).len();
    }
    assert!(low.is_none_or(|low| low <= 1 << 20), "{low:?}");
    assert!(outbox.takes(Channel::File));
}

#[test]
fn a_full_queue_drops_the_lowest_class_first_and_critical_never() {
    let now = Instant::now();
    let (mut outbox, _inbox) = pair(OutboxConfig::default(), now);
    let frame = Bytes::from(noise(1000));
    let mut fill = |class: Class, count: usize| {
        (0..count)
            .filter(|_| {
                let pushed = outbox.push(Channel::Unreliable, class, frame.clone(), now);
                pushed.is_ok()
            })
            .count()
    };
    // 246 frames fit.
    assert_eq!(fill(Class::Low, 300), 300);
    assert_eq!(fill(Class::Normal, 100), 100);
    assert_eq!(fill(Class::High, 100), 100);
    assert_eq!(fill(Class::Critical, 100), 100);
    assert_eq!(fill(Class::Low, 10), 0);
    // Of critical ones alone no more than fit are taken, and none was dropped.
    assert_eq!(fill(Class::Critical, 300), 146);
    let dropped = outbox.stats().dropped;
    assert_eq!(dropped, [0, 100, 100, 310]);
}

/// A link of `rate` bytes a second whose queue holds 100 ms, for `seconds`; 50 critical frames a
/// second, and as many low ones as are taken. Returns critical frames that arrived of those sent, low
/// ones, the rate at the end.
fn limited_link(rate: f64, seconds: u64) -> ([u64; 2], u64, f64) {
    let start = Instant::now();
    let (mut outbox, mut inbox) = pair(OutboxConfig::default(), start);
    let mut free_at = start;
    let mut wire: std::collections::VecDeque<(Instant, Bytes)> = Default::default();
    let ([mut sent, mut critical], mut low) = ([0, 0], 0);
    for milli in 0..seconds * 1000 {
        let now = start + Duration::from_millis(milli);
        if milli % 20 == 0 {
            sent += 1;
            let frame = Bytes::from_static(&[1; 100]);
            let pushed = outbox.push(Channel::Unreliable, Class::Critical, frame, now);
            pushed.unwrap();
        }
        for _ in 0..20 {
            let frame = Bytes::from_static(&[0; 500]);
            let _ = outbox.push(Channel::Unreliable, Class::Low, frame, now);
        }
        while let Some(out) = outbox.poll(true, now) {
            let queued = free_at.saturating_duration_since(now);
            // The other side's queue keeps a reserve for what is urgent, as routers do not.
            if queued < Duration::from_millis(100) {
                let time = Duration::from_secs_f64(out.message.len() as f64 / rate);
                free_at = free_at.max(now) + time;
                wire.push_back((free_at + Duration::from_millis(10), out.message.freeze()));
            }
        }
        while wire.front().is_some_and(|(at, _)| *at <= now) {
            let (_, message) = wire.pop_front().unwrap();
            inbox
                .on_message(Channel::Unreliable, message, |inbound| {
                    if let Inbound::Frame(_, frame) = inbound {
                        if frame[0] == 1 {
                            critical += 1
                        } else {
                            low += 1
                        }
                    }
                })
                .unwrap();
        }
        if milli % 100 == 0 {
            let (messages, bytes) = inbox.arrived();
            let queued = free_at.saturating_duration_since(now);
            let bandwidth = outbox.bandwidth_mut();
            bandwidth.on_round_trip(Duration::from_millis(20) + queued);
            bandwidth.on_report(messages, bytes, now);
        }
    }
    assert_eq!(outbox.stats().dropped[0], 0);
    ([sent, critical], low, outbox.bandwidth().rate())
}

#[test]
fn on_a_limited_link_the_rate_adapts_and_critical_frames_arrive() {
    for rate in [100e3, 1e6] {
        let ([sent, critical], low, found) = limited_link(rate, 20);
        assert!(
            found < 1.5 * rate && found > 0.2 * rate,
            "{found} of {rate}"
        );
        // Nothing was known of the link in the first moments.
        assert!(critical as f64 > 0.95 * sent as f64, "{critical} of {sent}");
        let used = (low * 500 + critical * 100) as f64 / 20.0;
        assert!(used > 0.5 * rate, "{used} of {rate}");
    }
}

#[test]
fn who_sends_more_than_the_credit_breaks_the_protocol() {
    let mut inbox = open_inbox();
    let message = wire_frame(&noise(16_000));
    let outcome = (0..20).find_map(|_| {
        let taken = inbox.on_message(Channel::Control, message.clone(), |_| {});
        taken.err()
    });
    assert_eq!(outcome, Some(Violation::Credit));
}

#[test]
fn where_nobody_takes_frames_there_is_no_credit() {
    let message = wire_frame(b"hello");
    let mut inbox = Inbox::default();
    assert_eq!(inbox.credits(), [0; 3]);
    for channel in [Channel::Control, Channel::Reliable, Channel::File] {
        let mut inbox = Inbox::default();
        let refused = inbox.on_message(channel, message.clone(), |_| panic!("taken"));
        assert_eq!(refused, Err(Violation::Credit));
    }
    let told = inbox.open();
    assert_eq!(told, Control::Credit(inbox.credits()));
    assert_eq!(inbox.credits(), WINDOWS.map(|window| window as u64));
    assert_eq!(inbox.open(), told, "once");
    inbox.on_message(Channel::Control, message, |_| {}).unwrap();
}

/// One whose frames are taken.
fn open_inbox() -> Inbox {
    let mut inbox = Inbox::default();
    inbox.open();
    inbox
}

fn wire_frame(frame: &[u8]) -> Bytes {
    let mut message = vec![wire::VERSION << 4 | 1];
    message.extend_from_slice(frame);
    message.into()
}

#[test]
fn an_announced_length_costs_nothing_and_too_long_a_one_is_refused() {
    let first = |transfer: u32| {
        let mut message = vec![wire::VERSION << 4 | 3];
        message.extend(transfer.to_be_bytes());
        message.push(1);
        Bytes::from(message)
    };
    let mut inbox = open_inbox();
    let refused = inbox.on_message(Channel::File, first(u32::MAX), |_| {});
    assert_eq!(refused, Err(Violation::FrameTooLong));
    inbox
        .on_message(Channel::File, first(MAX_FRAME as u32), |_| {})
        .unwrap();
    // A second beginning within the first.
    let refused = inbox.on_message(Channel::File, first(100), |_| {});
    assert_eq!(refused, Err(Violation::Pieces));
}

fn channel() -> impl Strategy<Value = Channel> {
    prop::sample::select(Channel::ALL.to_vec())
}

proptest! {
    #[test]
    fn everything_arrives_in_order_on_its_channel(
        frames in prop::collection::vec(
            (channel(), prop_oneof![0_usize..60, 0_usize..1279, 1000_usize..200_000], any::<bool>()),
            1..60,
        ),
        steps in prop::collection::vec(0_u64..9, 60),
    ) {
        let mut now = Instant::now();
        let (mut outbox, mut inbox) = pair(OutboxConfig::default(), now);
        let mut expected: Vec<(Channel, Bytes)> = Vec::new();
        let mut got: Vec<(Channel, Bytes)> = Vec::new();
        let take = |inbox: &mut Inbox, outbox: &mut Outbox, out: Vec<Outgoing>, got: &mut Vec<_>| {
            for (channel, frame) in receive(inbox, out) {
                if let Some(credited) = Credited::of(channel)
                    && let Some(Control::Credit(credits)) = inbox.consumed(credited, frame.len())
                {
                    outbox.on_credits(credits);
                }
                got.push((channel, frame));
            }
        };
        for ((channel, len, compressible), step) in frames.into_iter().zip(steps) {
            let len = len.min(channel.max_frame());
            let frame = Bytes::from(if compressible { vec![3; len] } else { noise(len) });
            push(&mut outbox, channel, frame.clone(), now);
            expected.push((channel, frame));
            now += Duration::from_millis(step);
            let out = drain(&mut outbox, now);
            take(&mut inbox, &mut outbox, out, &mut got);
        }
        for _ in 0..50 {
            now += Duration::from_millis(5);
            let out = drain(&mut outbox, now);
            take(&mut inbox, &mut outbox, out, &mut got);
        }
        for channel in Channel::ALL {
            let of = |all: &[(Channel, Bytes)]| -> Vec<Bytes> {
                let of = all.iter().filter(|(of, _)| *of == channel);
                of.map(|(_, frame)| frame.clone()).collect()
            };
            prop_assert_eq!(of(&got), of(&expected));
        }
        prop_assert_eq!(outbox.queued(), 0);
    }

    #[test]
    fn any_bytes_are_read_or_refused(
        messages in prop::collection::vec((channel(), any::<u8>(), prop::collection::vec(any::<u8>(), 0..200)), 1..20),
    ) {
        let mut inbox = open_inbox();
        for (channel, kind, mut bytes) in messages {
            if let Some(first) = bytes.first_mut() {
                *first = wire::VERSION << 4 | (kind & 7);
            }
            let _ = inbox.on_message(channel, bytes.into(), |inbound| {
                if let Inbound::Frame(channel, frame) = inbound {
                    assert!(frame.len() <= channel.max_frame());
                }
            });
        }
    }
}
