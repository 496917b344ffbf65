//! Signals between the sockets of pairs, and what an idle socket costs.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use futures_util::stream::{FuturesUnordered, SplitSink};
use futures_util::{SinkExt as _, StreamExt as _};
use rand::Rng as _;
use serde::Serialize;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use super::plain::Bare;
use super::subject::{PLAYER, Session, Socket, Subject, connect};
use crate::stats::Spread;

/// Relays a second at which the delay is measured.
const STEADY: u32 = 500;
/// Text of a relayed description: about what WebRTC's have.
const DESCRIPTION: usize = 700;
/// Sockets of the search for the highest rate.
const CROWD: usize = 200;
/// A rate below which the search ends in vain.
const LEAST: u32 = 100;
/// The delay that is allowed there.
const MOST: Duration = Duration::from_millis(10);
/// How long the last relays may be under way.
const LINGER: Duration = Duration::from_millis(500);
/// Sessions that are made before their sockets are opened; an even number, because they are pairs.
const BATCH: usize = 1000;
/// Handshakes at once.
const AT_ONCE: usize = 64;

#[derive(Serialize)]
pub(crate) struct Row {
    pub(crate) sockets: usize,
    /// Handshakes a second, until all were open.
    opened_per_s: f64,
    relays_per_s: u32,
    pub(crate) ms: Spread,
    /// Processor time of the coordinator for one, microseconds.
    processor_us: f64,
    /// A bare axum server that sends back what comes, at the same rate with as many sockets.
    bare_ms: Spread,
    /// The Python coordinator's.
    pub(crate) anchor_p99_ms: Option<f64>,
}

#[derive(Serialize)]
pub(crate) struct Highest {
    sockets: usize,
    per_s: u32,
    ms: Spread,
    /// Processor time of the coordinator for one, microseconds.
    processor_us: f64,
    /// The rate above it that did not hold; none: there was none.
    beyond_per_s: Option<u32>,
}

#[derive(Serialize)]
pub(crate) struct Memory {
    pub(crate) sockets: usize,
    opened_per_s: f64,
    /// The coordinator's resident memory before, MiB.
    before_mib: f64,
    /// What a session costs without its socket: grant, room, place at the endpoint.
    kib_per_session: f64,
    /// What its idle signaling socket costs.
    pub(crate) kib_per_socket: f64,
}

/// The sending side of a socket, and whom it sends to.
struct Sender {
    sink: SplitSink<Socket, Message>,
    to: String,
}

/// Pairs of sockets, read by tasks of their own.
struct Crowd {
    senders: Vec<Sender>,
    /// Delays of what arrived, since they were last taken.
    arrived: Rc<RefCell<Vec<Duration>>>,
    /// What the marks count from.
    start: Instant,
    opened_per_s: f64,
    _tasks: tokio::task::JoinSet<()>,
}

/// Sessions with their sockets, in the order that they were made in.
struct Opened {
    sessions: Vec<Session>,
    sockets: Vec<Socket>,
    /// Handshakes a second.
    per_s: f64,
    /// The coordinator's resident memory before there was any, and with [`BATCH`] sessions, or all if there
    /// are fewer, that have no socket yet; KiB.
    empty: u64,
    unopened: (u64, usize),
}

/// Makes sessions and opens their sockets, some at a time: a session without a socket is not kept for long.
async fn open(subject: &Subject, sockets: usize, token: &str) -> Result<Opened> {
    let empty = subject.memory()?;
    let mut opened = Opened {
        sessions: Vec::with_capacity(sockets),
        sockets: Vec::with_capacity(sockets),
        per_s: 0.0,
        empty,
        unopened: (empty, 0),
    };
    let mut spent = Duration::ZERO;
    while opened.sockets.len() < sockets {
        let count = BATCH.min(sockets - opened.sockets.len());
        let sessions = subject.sessions(count, token).await?;
        if opened.sockets.is_empty() {
            opened.unopened = (subject.memory()?, count);
        }
        subject.pair(&sessions, token).await?;
        let begun = Instant::now();
        let first = opened.sockets.len();
        let sockets = shake(subject, &sessions, token, first).await?;
        opened.sockets.extend(sockets);
        spent += begun.elapsed();
        opened.sessions.extend(sessions);
    }
    opened.per_s = sockets as f64 / spent.as_secs_f64();
    Ok(opened)
}

/// `first` sockets are there already.
async fn shake(
    subject: &Subject,
    sessions: &[Session],
    token: &str,
    first: usize,
) -> Result<Vec<Socket>> {
    let mut queue = sessions.iter().enumerate();
    let one = |(number, session): (usize, &Session)| {
        let query = format!("peer_id={}&session_id={}", session.peer, session.id);
        async move { (number, subject.socket(&query, token, first + number).await) }
    };
    let mut opening: FuturesUnordered<_> = queue.by_ref().take(AT_ONCE).map(one).collect();
    let mut sockets: Vec<Option<Socket>> = sessions.iter().map(|_| None).collect();
    while let Some((number, socket)) = opening.next().await {
        sockets[number] = Some(socket?);
        opening.extend(queue.next().map(one));
    }
    Ok(sockets.into_iter().flatten().collect())
}

/// Reads until a signal of this type.
async fn until(socket: &mut Socket, kind: &str, session: &str) -> Result<()> {
    loop {
        let message = socket.next().await.context("the socket ended")??;
        let Message::Text(text) = message else {
            continue;
        };
        let signal: Value = serde_json::from_str(&text)?;
        ensure!(signal["type"] != "error", "{signal}");
        if signal["type"] == kind && signal["session_id"] == session {
            return Ok(());
        }
    }
}

impl Crowd {
    async fn new(subject: &Subject, sockets: usize) -> Result<Self> {
        let token = subject.token(PLAYER).await?;
        let mut opened = open(subject, sockets, &token).await?;
        let pairs = opened.sockets.chunks_exact_mut(2);
        for (pair, grants) in pairs.zip(opened.sessions.chunks_exact(2)) {
            let join = json!({"type": "join", "session_id": grants[0].id}).to_string();
            pair[1].send(Message::text(join)).await?;
            until(&mut pair[1], "session-joined", &grants[0].id).await?;
        }
        let to = |number: usize| opened.sessions[number ^ 1].peer.clone();
        let sockets = opened.sockets.into_iter().enumerate();
        let sockets = sockets.map(|(number, socket)| (socket, to(number)));
        Ok(Self::of(sockets.collect(), opened.per_s))
    }

    /// Sockets of the bare server, each of which hears itself.
    async fn bare(bare: &Bare, sockets: usize) -> Result<Self> {
        let begun = Instant::now();
        let mut opened = Vec::with_capacity(sockets);
        for number in 0..sockets {
            let socket = connect(bare.address, "echo", None, number).await?;
            opened.push((socket, "itself".to_owned()));
        }
        let per_s = sockets as f64 / begun.elapsed().as_secs_f64();
        Ok(Self::of(opened, per_s))
    }

    /// Each with the name that what it sends goes to.
    fn of(sockets: Vec<(Socket, String)>, opened_per_s: f64) -> Self {
        let (arrived, start) = (Rc::<RefCell<Vec<Duration>>>::default(), Instant::now());
        let mut tasks = tokio::task::JoinSet::new();
        let mut senders = Vec::new();
        for (socket, to) in sockets {
            let (sink, mut stream) = socket.split();
            senders.push(Sender { sink, to });
            let arrived = Rc::clone(&arrived);
            tasks.spawn_local(async move {
                while let Some(Ok(message)) = stream.next().await {
                    if let Message::Text(text) = message
                        && let Some(mark) = mark_of(&text)
                    {
                        let late = start.elapsed().saturating_sub(mark);
                        arrived.borrow_mut().push(late);
                    }
                }
            });
        }
        Self {
            senders,
            arrived,
            start,
            opened_per_s,
            _tasks: tasks,
        }
    }

    /// Relays at this rate between pairs by chance. Each delay counts from when it was to be sent. With the
    /// delays stands how many did not arrive; the coordinator closes a socket that is too slow, and then
    /// the rest was not sent.
    async fn relay(&mut self, per_s: u32, span: Duration) -> Result<(Spread, usize)> {
        self.arrived.borrow_mut().clear();
        let padding = "x".repeat(DESCRIPTION);
        let begun = Instant::now();
        let mut sent = 0_u32;
        while begun.elapsed() < span {
            let due = begun + Duration::from_secs(1) * sent / per_s;
            // The timer's millisecond is longer than what is measured, so the moment is waited for awake:
            // this core does nothing else. What arrives is read meanwhile, and also when sending is late.
            loop {
                tokio::task::yield_now().await;
                if due <= Instant::now() {
                    break;
                }
            }
            let chosen = rand::rng().random_range(0..self.senders.len());
            let sender = &mut self.senders[chosen];
            let mark = due.duration_since(self.start).as_nanos();
            let text = format!(
                r#"{{"type":"offer","to":"{}","sdp":"{MARK}{mark} {padding}"}}"#,
                sender.to
            );
            sent += 1;
            if sender.sink.send(Message::text(text)).await.is_err() {
                break;
            }
        }
        tokio::time::sleep(LINGER).await;
        let arrived = std::mem::take(&mut *self.arrived.borrow_mut());
        let lost = usize::try_from(sent)?.saturating_sub(arrived.len());
        Ok((Spread::of(&arrived), lost))
    }
}

const MARK: &str = "sent at ";

/// When a relayed description was to be sent, from the start; none: it is something else.
fn mark_of(text: &str) -> Option<Duration> {
    let (_, rest) = text.split_once(MARK)?;
    let nanos = rest.split(' ').next()?.parse().ok()?;
    Some(Duration::from_nanos(nanos))
}

fn each_us(spent: Duration, per_s: u32, span: Duration) -> f64 {
    spent.as_secs_f64() * 1e6 / (f64::from(per_s) * span.as_secs_f64())
}

/// The delay with so many sockets.
pub(crate) async fn measure(
    subject: &Subject,
    bare: &Bare,
    sockets: usize,
    span: Duration,
) -> Result<Row> {
    tokio::task::LocalSet::new()
        .run_until(async {
            let mut crowd = Crowd::new(subject, sockets).await?;
            crowd.relay(STEADY, span / 5).await?;
            let before = subject.processor()?;
            let (ms, lost) = crowd.relay(STEADY, span).await?;
            let spent = subject.processor()?.saturating_sub(before);
            ensure!(lost == 0, "{lost} relays did not arrive");
            let opened_per_s = crowd.opened_per_s;
            drop(crowd);
            let mut crowd = Crowd::bare(bare, sockets).await?;
            crowd.relay(STEADY, span / 5).await?;
            let (bare_ms, _) = crowd.relay(STEADY, span).await?;
            Ok(Row {
                sockets,
                opened_per_s,
                bare_ms,
                relays_per_s: STEADY,
                ms,
                processor_us: each_us(spent, STEADY, span),
                anchor_p99_ms: match sockets {
                    50 => Some(1.75),
                    10_000 => Some(37.0),
                    _ => None,
                },
            })
        })
        .await
}

/// The highest rate at which the p99 stays below [`MOST`]: doubled until it does not hold, and then
/// halved in between.
pub(crate) async fn highest(subject: &Subject, span: Duration) -> Result<Highest> {
    tokio::task::LocalSet::new()
        .run_until(async {
            let mut crowd = Crowd::new(subject, CROWD).await?;
            let (mut low, mut high) = ((0, Spread::of(&[]), 0.0), None);
            let mut rate = 1000;
            for _ in 0..12 {
                let before = subject.processor()?;
                let (ms, lost) = crowd.relay(rate, span / 2).await?;
                let spent = subject.processor()?.saturating_sub(before);
                if lost == 0 && ms.p99 <= crate::stats::ms(MOST) {
                    low = (rate, ms, each_us(spent, rate, span / 2));
                } else {
                    high = Some(rate);
                    // Some of these sockets may be closed.
                    drop(crowd);
                    crowd = Crowd::new(subject, CROWD).await?;
                }
                rate = match high {
                    None => low.0 * 2,
                    // Near enough, or a machine on which nothing holds.
                    Some(high) if high - low.0 <= high / 10 || high <= LEAST => break,
                    Some(high) => u32::midpoint(low.0, high),
                };
            }
            Ok(Highest {
                sockets: CROWD,
                per_s: low.0,
                ms: low.1,
                processor_us: low.2,
                beyond_per_s: high,
            })
        })
        .await
}

/// What idle sockets cost.
pub(crate) async fn memory(subject: &Subject, sockets: usize) -> Result<Memory> {
    let token = subject.token(PLAYER).await?;
    let opened = open(subject, sockets, &token).await?;
    // What they are told at the beginning is under way.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let after = subject.memory()?;
    let each = |from: u64, to: u64, count: usize| to.saturating_sub(from) as f64 / count as f64;
    let (unopened, count) = opened.unopened;
    let kib_per_session = each(opened.empty, unopened, count);
    let both = each(opened.empty, after, sockets);
    Ok(Memory {
        sockets,
        opened_per_s: opened.per_s,
        before_mib: opened.empty as f64 / 1024.0,
        kib_per_session,
        kib_per_socket: both - kib_per_session,
    })
}

pub(crate) fn show(rows: &[Row], highest: &Highest) {
    println!(
        "| sockets | opened/s | relays/s | p50 ms | p99 ms | processor us each | bare p50 ms | bare p99 ms | Python p99 ms |"
    );
    println!("|---:|---:|---:|---:|---:|---:|---:|---:|---:|");
    for row in rows {
        let anchor = row.anchor_p99_ms;
        println!(
            "| {} | {:.0} | {} | {:.3} | {:.3} | {:.0} | {:.3} | {:.3} | {} |",
            row.sockets,
            row.opened_per_s,
            row.relays_per_s,
            row.ms.p50,
            row.ms.p99,
            row.processor_us,
            row.bare_ms.p50,
            row.bare_ms.p99,
            anchor.map_or_else(|| "-".to_owned(), |ms| ms.to_string())
        );
    }
    println!(
        "\nHighest rate under 10 ms p99 with {} sockets: {}/s, p99 {:.2} ms, {:.0} us of processor each \
         ({} did not hold); \
         Python: 6,000/s at p99 4.7 ms.\n",
        highest.sockets,
        highest.per_s,
        highest.ms.p99,
        highest.processor_us,
        highest
            .beyond_per_s
            .map_or_else(|| "nothing above".to_owned(), |rate| format!("{rate}/s"))
    );
}

pub(crate) fn show_memory(rows: &[Memory]) {
    println!(
        "| idle sockets | opened/s | KiB a socket | KiB a session beside | Python, KiB a socket |"
    );
    println!("|---:|---:|---:|---:|---:|");
    for row in rows {
        println!(
            "| {} | {:.0} | {:.1} | {:.1} | 28 to 33 |",
            row.sockets, row.opened_per_s, row.kib_per_socket, row.kib_per_session
        );
    }
    println!();
}
