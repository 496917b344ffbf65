//! A connection of the game client that sends packets at an even pace and times the answers.
//!
//! Two threads: one sleeps until a packet is due, notes the time and writes; the other reads whole
//! packets, notes the time and checks that each is the next one expected. So a packet that is
//! lost, doubled, damaged or out of order ends the flow with a fault.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use crate::packet::{self, SIZE};
use crate::place::Place;

/// How long a single answer may take. A path that fails is noticed far earlier.
const PATIENCE: Duration = Duration::from_secs(60);

/// When packets leave.
#[derive(Clone, Copy)]
pub(crate) struct Pace {
    /// When the first is due.
    pub(crate) start: Instant,
    /// Time between two.
    pub(crate) period: Duration,
    /// Each leaves up to this much later than it is due, by chance: a pace without it would always
    /// meet the same phase of other clocks, such as that of heartbeats.
    pub(crate) jitter: Duration,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    sent: Mutex<Vec<Instant>>,
    answered: Mutex<Vec<Instant>>,
}

/// A running flow.
pub(crate) struct Flow {
    name: String,
    shared: Arc<Shared>,
    sender: JoinHandle<Result<()>>,
    receiver: JoinHandle<Result<()>>,
}

/// When each packet was written, and when its answer was read.
pub(crate) struct Timed {
    /// In the order of sending.
    pub(crate) sent: Vec<Instant>,
    /// The same packets.
    pub(crate) answered: Vec<Instant>,
}

impl Flow {
    /// Connects and begins.
    ///
    /// # Errors
    /// The connection is refused.
    pub(crate) fn start(
        name: &str,
        place: Place<'_>,
        to: SocketAddr,
        pace: Pace,
        seed: u64,
    ) -> Result<Self> {
        let stream = place
            .within(|| TcpStream::connect(to))?
            .with_context(|| format!("{name}: cannot connect"))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let shared = Arc::new(Shared::default());
        let (way_out, way_in) = (stream.try_clone()?, stream);
        let (one, two) = (Arc::clone(&shared), Arc::clone(&shared));
        Ok(Self {
            name: name.to_owned(),
            sender: std::thread::spawn(move || send(way_out, &one, pace, seed)),
            receiver: std::thread::spawn(move || receive(way_in, &two)),
            shared,
        })
    }

    /// Whether both ways still work.
    pub(crate) fn is_whole(&self) -> bool {
        !self.sender.is_finished() && !self.receiver.is_finished()
    }

    /// When answers were read so far.
    pub(crate) fn answers(&self) -> Vec<Instant> {
        lock(&self.shared.answered).clone()
    }

    /// Sends no more, waits for the last answers, closes.
    ///
    /// # Errors
    /// A packet was lost, doubled, damaged or out of order, or the connection was closed.
    pub(crate) fn finish(self) -> Result<Timed> {
        self.shared.stop.store(true, Ordering::SeqCst);
        let name = self.name;
        for (half, thread) in [("sending", self.sender), ("receiving", self.receiver)] {
            match thread.join() {
                Ok(result) => result.with_context(|| format!("{name}: {half}"))?,
                Err(_) => bail!("{name}: {half} panicked"),
            }
        }
        let sent = std::mem::take(&mut *lock(&self.shared.sent));
        let answered = std::mem::take(&mut *lock(&self.shared.answered));
        ensure!(
            sent.len() == answered.len(),
            "{name}: {} packets were sent, {} came back",
            sent.len(),
            answered.len()
        );
        Ok(Timed { sent, answered })
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn send(mut stream: TcpStream, shared: &Shared, pace: Pace, seed: u64) -> Result<()> {
    // The kernel may wake a thread this much late; by default 50 µs.
    rustix::thread::set_current_timer_slack(NonZeroU64::new(1))?;
    let mut dice = StdRng::seed_from_u64(seed);
    for number in 0..u32::MAX {
        let late = pace.jitter.mul_f64(dice.random());
        let due = pace.start + pace.period * number + late;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        if shared.stop.load(Ordering::SeqCst) {
            break;
        }
        let packet = packet::make(number);
        lock(&shared.sent).push(Instant::now());
        stream.write_all(&packet)?;
    }
    stream.shutdown(Shutdown::Write)?;
    Ok(())
}

fn receive(mut stream: TcpStream, shared: &Shared) -> Result<()> {
    let mut buffer = [0; SIZE];
    for number in 0.. {
        match stream.read_exact(&mut buffer) {
            Ok(()) => {}
            Err(error)
                if error.kind() == ErrorKind::UnexpectedEof
                    && shared.stop.load(Ordering::SeqCst) =>
            {
                return Ok(());
            }
            Err(error) => return Err(error).context("the client's socket"),
        }
        let now = Instant::now();
        packet::check(&buffer, number).context("at the client")?;
        lock(&shared.answered).push(now);
    }
    Ok(())
}
