//! A host with many peers: each sends 100 bytes thirty times a second, and the host answers.
//!
//! The host has a thread of its own, and that thread's processor time is the host's; the peers share the
//! other threads.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use bytes::{BufMut as _, Bytes, BytesMut};
use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::line::{Line, Stack};
use super::plain::Udp;
use crate::stats::Spread;

const BYTES: usize = 100;
const PERIOD: Duration = Duration::from_micros(1_000_000 / 30);
/// After this long an answer was lost.
const LOST: Duration = Duration::from_millis(200);

/// What one stack came to.
#[derive(Serialize)]
pub(super) struct Crowd {
    pub(super) over: &'static str,
    pub(super) peers: usize,
    /// From the peer's send until the host's application has it.
    pub(super) one_way_ms: Spread,
    /// Until the peer's application has the answer.
    pub(super) round_trip_ms: Spread,
    /// Of one core.
    pub(super) host_cpu_percent: f64,
    pub(super) lost: u64,
}

/// The host's thread; ends when dropped.
struct Host {
    handle: Handle,
    _stop: oneshot::Sender<()>,
}

impl Host {
    fn start() -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        std::thread::Builder::new()
            .name("host".to_owned())
            .spawn(move || {
                // Dropping the sender is the signal.
                let _ = runtime.block_on(stopped);
            })?;
        Ok(Self {
            handle,
            _stop: stop,
        })
    }

    /// Processor time of the thread.
    async fn cpu(&self) -> Result<Duration> {
        let spent = self.handle.spawn(async {
            let time = clock_gettime(ClockId::ThreadCPUTime);
            Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
        });
        Ok(spent.await?)
    }
}

pub(super) async fn of_stack<S: Stack>(peers: usize, span: Duration) -> Result<Crowd> {
    let host = Host::start()?;
    let (mut open, mut ends) = (Vec::new(), Vec::new());
    for _ in 0..peers {
        let (stack, near, far) = S::open(host.handle.clone()).await?;
        open.push(stack);
        // What is not used is kept, so that nothing closes.
        ends.push((near.unreliable, far.unreliable));
    }
    let crowd = measure(S::NAME, &host, ends, span).await;
    for stack in open {
        stack.close().await;
    }
    crowd
}

pub(super) async fn of_udp(peers: usize, span: Duration) -> Result<Crowd> {
    let host = Host::start()?;
    let ends: Result<Vec<_>> = (0..peers).map(|_| Udp::open(true, &host.handle)).collect();
    measure(Udp::name(true), &host, ends?, span).await
}

async fn measure<L: Line>(
    over: &'static str,
    host: &Host,
    ends: Vec<(L, L)>,
    span: Duration,
) -> Result<Crowd> {
    let peers = ends.len();
    let epoch = Arc::new(Instant::now());
    let (mut echoes, mut players) = (Vec::new(), Vec::new());
    let begin = Instant::now() + Duration::from_millis(200);
    for (index, (near, far)) in ends.into_iter().enumerate() {
        echoes.push(host.handle.spawn(echo(far, epoch.clone())));
        let first = begin + PERIOD.mul_f64(index as f64 / peers as f64);
        players.push(tokio::spawn(play(near, epoch.clone(), first, span)));
    }
    tokio::time::sleep_until(begin.into()).await;
    let before = host.cpu().await?;
    let began = Instant::now();
    let (mut one_way, mut round_trip, mut lost) = (Vec::new(), Vec::new(), 0);
    for player in players {
        let mut played = player.await??;
        one_way.append(&mut played.one_way);
        round_trip.append(&mut played.round_trip);
        lost += played.lost;
    }
    let spent = host.cpu().await? - before;
    let took = began.elapsed();
    for echo in echoes {
        echo.abort();
    }
    Ok(Crowd {
        over,
        peers,
        one_way_ms: Spread::of(&one_way),
        round_trip_ms: Spread::of(&round_trip),
        host_cpu_percent: 100.0 * spent.as_secs_f64() / took.as_secs_f64(),
        lost,
    })
}

#[derive(Default)]
struct Played {
    one_way: Vec<Duration>,
    round_trip: Vec<Duration>,
    lost: u64,
}

/// A frame: a number, and a moment since the epoch in nanoseconds.
fn frame(number: u64, moment: u64) -> Bytes {
    let mut frame = BytesMut::with_capacity(BYTES);
    frame.put_u64(number);
    frame.put_u64(moment);
    frame.put_bytes(7, BYTES - 16);
    frame.freeze()
}

fn read(frame: &Bytes) -> Result<(u64, u64)> {
    let number = frame.first_chunk::<8>().context("a short frame")?;
    let moment = frame[8..].first_chunk::<8>().context("a short frame")?;
    Ok((u64::from_be_bytes(*number), u64::from_be_bytes(*moment)))
}

async fn echo<L: Line>(mut line: L, epoch: Arc<Instant>) -> Result<()> {
    loop {
        let (number, _) = read(&line.recv().await?)?;
        let arrived = epoch.elapsed().as_nanos() as u64;
        line.send(frame(number, arrived)).await?;
    }
}

async fn play<L: Line>(
    mut line: L,
    epoch: Arc<Instant>,
    first: Instant,
    span: Duration,
) -> Result<Played> {
    let mut played = Played::default();
    let mut clock = tokio::time::interval_at(first.into(), PERIOD);
    let until = first + span;
    let mut number = 0;
    loop {
        clock.tick().await;
        if Instant::now() >= until {
            return Ok(played);
        }
        number += 1;
        let sent = epoch.elapsed();
        line.send(frame(number, 0)).await?;
        let answer = async {
            loop {
                let (answered, arrived) = read(&line.recv().await?)?;
                if answered == number {
                    return anyhow::Ok(Duration::from_nanos(arrived));
                }
            }
        };
        match tokio::time::timeout(LOST, answer).await {
            Ok(arrived) => {
                played.round_trip.push(epoch.elapsed() - sent);
                played.one_way.push(arrived?.saturating_sub(sent));
            }
            Err(_) => played.lost += 1,
        }
    }
}
