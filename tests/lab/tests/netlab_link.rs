//! The link emulator does what it was told, measured with sockets on both sides of it.
//!
//! The sample sizes are chosen so that a tenth of the set value is more than three standard errors;
//! the dice are seeded, so a run repeats.
#![cfg(target_os = "linux")]

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use warp_lab::{Direction, LinkEmulator, Namespace, Profile};

/// The longest that anything here waits for an event.
const PATIENCE: Duration = Duration::from_secs(20);

/// Two namespaces with a link, a socket in the first, and an echo in the second.
struct Bench {
    link: LinkEmulator,
    a: Namespace,
    b: Namespace,
}

impl Bench {
    /// `None`: not possible here; the reason has been printed.
    fn new(profile: Profile) -> Result<Option<Self>> {
        if let Err(reason) = warp_lab::available() {
            #[expect(clippy::print_stdout, reason = "how a test says that it was skipped")]
            {
                println!("SKIPPED: {reason}");
            }
            return Ok(None);
        }
        let a = Namespace::new("a")?;
        let b = Namespace::new("b")?;
        let link = LinkEmulator::new(&a, &b, profile, 42)?;
        Ok(Some(Self { link, a, b }))
    }

    /// A connected pair of UDP sockets, one in each namespace.
    fn udp(&self) -> Result<(UdpSocket, UdpSocket)> {
        let (address_a, address_b) = (self.link.address_a(), self.link.address_b());
        let one = self.a.within(|| UdpSocket::bind((address_a, 0)))??;
        let two = self.b.within(|| UdpSocket::bind((address_b, 0)))??;
        one.connect(two.local_addr()?)?;
        two.connect(one.local_addr()?)?;
        for socket in [&one, &two] {
            socket.set_read_timeout(Some(PATIENCE))?;
        }
        Ok((one, two))
    }

    /// A TCP connection from the first namespace to the second.
    fn tcp(&self) -> Result<(TcpStream, TcpStream)> {
        let address_b = self.link.address_b();
        let listener = self.b.within(|| TcpListener::bind((address_b, 0)))??;
        let to = listener.local_addr()?;
        let one = self.a.within(|| TcpStream::connect(to))??;
        let (two, _) = listener.accept()?;
        for stream in [&one, &two] {
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.set_write_timeout(Some(PATIENCE))?;
        }
        Ok((one, two))
    }
}

/// Sends everything back, on a thread that ends with this value.
struct Echo {
    ended: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Echo {
    fn new(socket: UdpSocket) -> Result<Self> {
        socket.set_read_timeout(Some(Duration::from_millis(50)))?;
        let ended = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&ended);
        let thread = std::thread::spawn(move || {
            let mut buffer = [0; 2048];
            while !seen.load(Ordering::SeqCst) {
                if let Ok(length) = socket.recv(&mut buffer) {
                    socket.send(&buffer[..length]).ok();
                }
            }
        });
        let thread = Some(thread);
        Ok(Self { ended, thread })
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        self.thread.take().map(|thread| thread.join().ok());
    }
}

/// Round trips in milliseconds of `count` pings that start `apart` from one another.
fn round_trips(socket: &UdpSocket, count: u32, apart: Duration) -> Result<Vec<f64>> {
    let start = Instant::now();
    std::thread::scope(|scope| {
        let sender = scope.spawn(move || -> Result<()> {
            for number in 0..count {
                // The rhythm of the measurement, not a wait for something to happen.
                std::thread::sleep((apart * number).saturating_sub(start.elapsed()));
                let sent = u64::try_from(start.elapsed().as_nanos())?;
                socket.send(&sent.to_be_bytes())?;
            }
            Ok(())
        });
        let mut times = Vec::new();
        for _ in 0..count {
            let mut bytes = [0; 8];
            socket
                .recv(&mut bytes)
                .context("a ping did not come back")?;
            let sent = Duration::from_nanos(u64::from_be_bytes(bytes));
            times.push((start.elapsed() - sent).as_secs_f64() * 1_000.0);
        }
        sender
            .join()
            .map_err(|_| anyhow::anyhow!("the sender panicked"))??;
        Ok(times)
    })
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Waits until `done`, which looks at counters that a thread of the emulator writes.
fn until(what: &str, mut done: impl FnMut() -> bool) -> Result<()> {
    let start = Instant::now();
    while !done() {
        ensure!(start.elapsed() < PATIENCE, "waited in vain: {what}");
        std::thread::yield_now();
    }
    Ok(())
}

#[test]
fn round_trip_is_the_sum_of_both_delays() -> Result<()> {
    let Some(bench) = Bench::new(Profile::delay_ms(20))? else {
        return Ok(());
    };
    bench.link.set(Direction::BToA, Profile::delay_ms(10));
    let (socket, far) = bench.udp()?;
    let _echo = Echo::new(far)?;
    let times = round_trips(&socket, 300, Duration::from_millis(5))?;
    let shortest = times.iter().copied().fold(f64::INFINITY, f64::min);
    println!(
        "set 30 ms, measured mean {:.3} ms, shortest {shortest:.3} ms",
        mean(&times)
    );
    assert!(shortest >= 30.0, "{shortest}");
    assert!((27.0..=33.0).contains(&mean(&times)), "{}", mean(&times));
    Ok(())
}

#[test]
fn jitter_has_the_set_spread() -> Result<()> {
    let Some(bench) = Bench::new(Profile::delay_ms(0))? else {
        return Ok(());
    };
    bench
        .link
        .set(Direction::AToB, Profile::delay_ms(20).with_jitter_ms(10));
    let (socket, far) = bench.udp()?;
    let _echo = Echo::new(far)?;
    // Further apart than the spread is wide, so that no packet waits for the one ahead of it.
    let times = round_trips(&socket, 300, Duration::from_millis(25))?;
    let middle = mean(&times);
    let squares: Vec<f64> = times.iter().map(|time| (time - middle).powi(2)).collect();
    let deviation = mean(&squares).sqrt();
    // Evenly distributed over 20 ms: the standard deviation is 20 ms / sqrt(12), and that of 300
    // samples has a standard error of 2.6 %.
    let set = 20.0 / 12.0_f64.sqrt();
    println!("set 20 ms +- {set:.3}, measured {middle:.3} ms +- {deviation:.3} ms");
    assert!((18.0..=22.0).contains(&middle), "{middle}");
    assert!((0.9 * set..=1.1 * set).contains(&deviation), "{deviation}");
    Ok(())
}

#[test]
fn loss_has_the_set_rate_and_only_where_it_is_set() -> Result<()> {
    let Some(bench) = Bench::new(Profile::delay_ms(0))? else {
        return Ok(());
    };
    bench
        .link
        .set(Direction::AToB, Profile::delay_ms(0).with_loss(0.02));
    let (one, two) = bench.udp()?;
    // 60,000 packets at 2 %: 1,200 are lost, with a standard error of 2.9 %.
    let (rounds, in_a_round) = (1_200_u64, 50_u64);
    let mut arrived = 0;
    for round in 1..=rounds {
        for _ in 0..in_a_round {
            one.send(&[7; 20])?;
        }
        // Few at a time, so that the sockets' buffers never decide about a packet.
        let counters = || bench.link.counters(Direction::AToB).udp;
        until("all packets of a round", || {
            counters().packets + counters().dropped == round * in_a_round
        })?;
        while arrived < counters().packets {
            two.recv(&mut [0; 64])?;
            arrived += 1;
        }
    }
    let lost = 1.0 - arrived as f64 / (rounds * in_a_round) as f64;
    println!("set 2 %, measured {:.3} %", lost * 100.0);
    assert!((0.018..=0.022).contains(&lost), "{lost}");
    for _ in 0..in_a_round {
        two.send(&[7; 20])?;
        one.recv(&mut [0; 64])?;
    }
    assert_eq!(bench.link.counters(Direction::BToA).udp.dropped, 0);
    Ok(())
}

#[test]
fn tcp_passes_intact_at_two_percent_loss() -> Result<()> {
    const LENGTH: usize = 512 * 1024;
    let Some(bench) = Bench::new(Profile::delay_ms(5).with_loss(0.02))? else {
        return Ok(());
    };
    let (one, two) = bench.tcp()?;
    // No two parts of it are alike, so a lost, doubled or moved part would show.
    let sent: Vec<u8> = (0..LENGTH / 4)
        .flat_map(|at| (at as u32).wrapping_mul(2_654_435_761).to_be_bytes())
        .collect();
    std::thread::scope(|scope| -> Result<()> {
        let forth = scope.spawn(|| (&one).write_all(&sent));
        let back = scope.spawn(|| (&two).write_all(&sent));
        let there = scope.spawn(|| read_exactly(&two, LENGTH));
        let here = read_exactly(&one, LENGTH)?;
        let panicked = |_| anyhow::anyhow!("a thread panicked");
        let there = there.join().map_err(panicked)??;
        forth.join().map_err(panicked)??;
        back.join().map_err(panicked)??;
        assert!(here == sent && there == sent, "bytes were changed");
        Ok(())
    })?;
    for direction in [Direction::AToB, Direction::BToA] {
        let tcp = bench.link.counters(direction).tcp;
        println!("{direction:?}: {tcp:?}");
        assert!(tcp.dropped > 0 && tcp.bytes > LENGTH as u64, "{tcp:?}");
    }
    Ok(())
}

fn read_exactly(mut stream: &TcpStream, length: usize) -> Result<Vec<u8>> {
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes)?;
    Ok(bytes)
}

#[test]
fn cut_stops_everything_and_restore_brings_it_back() -> Result<()> {
    let Some(bench) = Bench::new(Profile::delay_ms(1))? else {
        return Ok(());
    };
    let (one, two) = bench.udp()?;
    let (mut stream, far_stream) = bench.tcp()?;
    let mut buffer = [0; 64];
    one.send(b"before")?;
    assert_eq!(two.recv(&mut buffer)?, 6);

    bench.link.cut();
    for _ in 0..50 {
        one.send(b"lost")?;
        two.send(b"lost")?;
    }
    stream.write_all(b"kept by TCP")?;
    let dropped = |way| bench.link.counters(way).udp.dropped;
    until("the cut to take 100 datagrams", || {
        dropped(Direction::AToB) == 50 && dropped(Direction::BToA) == 50
    })?;
    until("the cut to take a segment", || {
        bench.link.counters(Direction::AToB).tcp.dropped > 0
    })?;
    for socket in [&one, &two] {
        socket.set_nonblocking(true)?;
        assert!(
            socket.recv(&mut buffer).is_err(),
            "something came through a cut"
        );
        socket.set_nonblocking(false)?;
    }

    bench.link.restore();
    one.send(b"after")?;
    assert_eq!(two.recv(&mut buffer)?, 5);
    assert_eq!(read_exactly(&far_stream, 11)?, b"kept by TCP");
    Ok(())
}

#[test]
fn what_is_under_way_at_a_cut_is_lost() -> Result<()> {
    let Some(bench) = Bench::new(Profile::delay_ms(300))? else {
        return Ok(());
    };
    let (one, two) = bench.udp()?;
    one.send(b"first")?;
    until("the first datagram to be under way", || {
        bench.link.counters(Direction::AToB).udp.sent == 1
    })?;
    bench.link.cut();
    bench.link.restore();
    one.send(b"second")?;
    let mut buffer = [0; 64];
    let length = two.recv(&mut buffer)?;
    assert_eq!(&buffer[..length], b"second");
    assert_eq!(bench.link.counters(Direction::AToB).udp.dropped, 1);
    Ok(())
}

#[test]
fn full_queue_drops_what_does_not_fit() -> Result<()> {
    let profile = Profile::delay_ms(200).with_queue_bytes(1_000);
    let Some(bench) = Bench::new(profile)? else {
        return Ok(());
    };
    let (one, two) = bench.udp()?;
    // 28 bytes of headers: 100 bytes each on the link.
    for number in 0..15_u8 {
        one.send(&[number; 72])?;
    }
    let mut buffer = [0; 100];
    for number in 0..10_u8 {
        two.recv(&mut buffer)?;
        assert_eq!(buffer[0], number);
    }
    let count = bench.link.counters(Direction::AToB).udp;
    assert_eq!((count.packets, count.bytes, count.dropped), (10, 1_000, 5));
    Ok(())
}

#[test]
fn capture_holds_what_was_sent_also_if_it_was_lost() -> Result<()> {
    let Some(bench) = Bench::new(Profile::delay_ms(1))? else {
        return Ok(());
    };
    let (one, two) = bench.udp()?;
    let file = std::env::temp_dir().join(format!("{}.pcap", bench.b.name()));
    bench.link.capture_to(&file)?;
    bench.link.cut();
    one.send(b"a lost datagram")?;
    until("the cut to take it", || {
        bench.link.counters(Direction::AToB).udp.dropped == 1
    })?;
    bench.link.restore();
    two.send(b"one that arrives")?;
    one.recv(&mut [0; 64])?;
    bench.link.stop_capture()?;
    one.send(b"after the end")?;
    two.recv(&mut [0; 64])?;

    let bytes = std::fs::read(&file)?;
    std::fs::remove_file(&file)?;
    let number = |at: usize| -> Result<u32> {
        let four = bytes.get(at..at + 4).context("the file is short")?;
        Ok(u32::from_le_bytes(four.try_into()?))
    };
    assert_eq!((number(0)?, number(20)?), (0xa1b2_3c4d, 101));
    let mut payloads = Vec::new();
    let mut at = 24;
    while at < bytes.len() {
        let length = number(at + 8)? as usize;
        // 16 bytes of record header, 20 of IP, 8 of UDP.
        payloads.push(&bytes[at + 44..at + 16 + length]);
        at += 16 + length;
    }
    assert_eq!(payloads, [&b"a lost datagram"[..], b"one that arrives"]);
    Ok(())
}
