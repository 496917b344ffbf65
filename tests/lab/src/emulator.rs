//! A link with delay, jitter and loss between two namespaces, in user space.
//!
//! Each namespace gets a TUN device; one thread per direction reads IP packets from one device and
//! writes them to the other when their time has come. The threads ask for real-time scheduling,
//! sleep with a timer slack of a nanosecond and poll for the last [`SPIN`] before a packet is due,
//! so that a delay is met to a small part of a millisecond also on a busy machine.

use std::io::ErrorKind;
use std::net::Ipv4Addr;
use std::num::NonZeroU64;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tun_rs::{DeviceBuilder, SyncDevice};

use crate::capture::Capture;
use crate::namespace::{Namespace, ip, next_number};
use crate::profile::Profile;
use crate::queue::Queue;
use crate::veth::{next_addresses, set_up};

/// Bytes of an IP packet, as on Ethernet.
const MTU: u16 = 1_500;
/// Packets that the kernel keeps for us while the thread does something else. Its default of 500
/// is less than a window of TCP.
const KERNEL_QUEUE: &str = "20000";
/// How long before a packet is due the thread stops sleeping.
const SPIN: Duration = Duration::from_micros(40);
/// The longest sleep: after this an ended link is noticed.
const MAX_SLEEP: Duration = Duration::from_millis(20);
/// Place of UDP among the counts of a direction.
const UDP: usize = 1;
/// Packets taken in one go before those due are looked at again.
const BATCH: usize = 64;

/// One of the two directions of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the first namespace to the second.
    AToB,
    /// From the second namespace to the first.
    BToA,
}

/// What became of the packets of one protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Packets that were sent into this end; those neither arrived nor lost are under way.
    pub sent: u64,
    /// Packets that arrived at the other end.
    pub packets: u64,
    /// Bytes of those packets, IP headers included.
    pub bytes: u64,
    /// Packets that were lost: by the dice, by a cut, or because the queue was full.
    pub dropped: u64,
}

/// What became of the packets of one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// TCP segments.
    pub tcp: Count,
    /// UDP datagrams.
    pub udp: Count,
    /// All else (ICMP).
    pub other: Count,
}

#[derive(Default)]
struct AtomicCount {
    sent: AtomicU64,
    packets: AtomicU64,
    bytes: AtomicU64,
    dropped: AtomicU64,
}

impl AtomicCount {
    fn read(&self) -> Count {
        Count {
            sent: self.sent.load(Ordering::Relaxed),
            packets: self.packets.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            dropped: self.dropped.load(Ordering::Relaxed),
        }
    }
}

/// What the thread of a direction shares with the handle.
struct Way {
    profile: Mutex<Profile>,
    cut: AtomicBool,
    /// How often it was cut: what was under way at a cut is lost also if it is mended at once.
    cuts: AtomicU64,
    counts: [AtomicCount; 3],
    /// What each UDP datagram took, while somebody records it.
    delays: Mutex<Option<Vec<Duration>>>,
}

impl Way {
    fn new(profile: Profile) -> Self {
        Self {
            profile: Mutex::new(profile),
            cut: AtomicBool::new(false),
            cuts: AtomicU64::new(0),
            counts: Default::default(),
            delays: Mutex::new(None),
        }
    }

    /// The counter of a packet's protocol: the ninth byte of an IPv4 header, the sixth of an IPv6
    /// header without extensions.
    fn count(&self, packet: &[u8]) -> &AtomicCount {
        let version = packet.first().map_or(0, |byte| byte >> 4);
        let protocol = packet.get(if version == 6 { 6 } else { 9 });
        match protocol {
            Some(6) => &self.counts[0],
            Some(17) => &self.counts[UDP],
            _ => &self.counts[2],
        }
    }

    fn drop_packet(&self, packet: &[u8]) {
        self.count(packet).dropped.fetch_add(1, Ordering::Relaxed);
    }
}

/// What both threads share.
#[derive(Default)]
struct Shared {
    ended: AtomicBool,
    capture: Mutex<Option<Capture>>,
}

/// A link between two namespaces whose delay, jitter, loss and existence can be changed at any
/// time. It ends with its value; the namespaces may end before or after.
pub struct LinkEmulator {
    address_a: Ipv4Addr,
    address_b: Ipv4Addr,
    interface_a: String,
    interface_b: String,
    ways: [Arc<Way>; 2],
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl LinkEmulator {
    /// Connects `a` and `b`; both directions begin with `profile`. The same `seed` throws the same
    /// dice, packet by packet and direction.
    ///
    /// # Errors
    /// Not root, no TUN devices, `ip` fails, or more than 255 links in one process.
    pub fn new(a: &Namespace, b: &Namespace, profile: Profile, seed: u64) -> Result<Self> {
        let (address_a, address_b) = next_addresses()?;
        let (device_a, interface_a) = tun(a, address_a, address_b)?;
        let (device_b, interface_b) = tun(b, address_b, address_a)?;
        let (device_a, device_b) = (Arc::new(device_a), Arc::new(device_b));
        let ways = [(); 2].map(|()| Arc::new(Way::new(profile)));
        let shared = Arc::new(Shared::default());
        let mut link = Self {
            address_a,
            address_b,
            interface_a,
            interface_b,
            ways,
            shared,
            threads: Vec::new(),
        };
        let ends = [(&device_a, &device_b), (&device_b, &device_a)];
        for (at, (from, to)) in ends.into_iter().enumerate() {
            let forwarder = Forwarder {
                from: Arc::clone(from),
                to: Arc::clone(to),
                way: Arc::clone(&link.ways[at]),
                shared: Arc::clone(&link.shared),
                dice: StdRng::seed_from_u64(seed.wrapping_mul(2).wrapping_add(at as u64)),
                queue: Queue::default(),
                cuts: 0,
            };
            let thread = std::thread::Builder::new().name(format!("link-{at}"));
            link.threads.push(thread.spawn(move || forwarder.run())?);
        }
        Ok(link)
    }

    /// Address of the first namespace on this link.
    #[must_use]
    pub fn address_a(&self) -> Ipv4Addr {
        self.address_a
    }

    /// Address of the second namespace on this link.
    #[must_use]
    pub fn address_b(&self) -> Ipv4Addr {
        self.address_b
    }

    /// Name of the device in the first namespace.
    #[must_use]
    pub fn interface_a(&self) -> &str {
        &self.interface_a
    }

    /// Name of the device in the second namespace.
    #[must_use]
    pub fn interface_b(&self) -> &str {
        &self.interface_b
    }

    /// Changes one direction. It holds for packets sent from now on.
    pub fn set(&self, direction: Direction, profile: Profile) {
        *lock(&self.way(direction).profile) = profile;
    }

    /// Changes both directions. It holds for packets sent from now on.
    pub fn set_both(&self, profile: Profile) {
        self.set(Direction::AToB, profile);
        self.set(Direction::BToA, profile);
    }

    /// Cuts both directions: what is under way is lost, and so is what is sent until
    /// [`restore`](Self::restore). Nobody is told, as with a cable in the middle of the way.
    pub fn cut(&self) {
        self.cut_direction(Direction::AToB);
        self.cut_direction(Direction::BToA);
    }

    /// Cuts one direction.
    pub fn cut_direction(&self, direction: Direction) {
        let way = self.way(direction);
        way.cut.store(true, Ordering::SeqCst);
        way.cuts.fetch_add(1, Ordering::SeqCst);
    }

    /// Mends both directions.
    pub fn restore(&self) {
        for way in &self.ways {
            way.cut.store(false, Ordering::SeqCst);
        }
    }

    /// What became of the packets of one direction since the link was made.
    #[must_use]
    pub fn counters(&self, direction: Direction) -> Counters {
        let [tcp, udp, other] = &self.way(direction).counts;
        Counters {
            tcp: tcp.read(),
            udp: udp.read(),
            other: other.read(),
        }
    }

    /// Begins a record of what each UDP datagram of both directions takes, from its being sent to its
    /// being delivered; a record that is running is thrown away.
    ///
    /// A link with jitter is not exactly what it was set to: what would overtake waits for the packet
    /// ahead. Only the record says what there was to be measured.
    pub fn record_delays(&self) {
        for way in &self.ways {
            *lock(&way.delays) = Some(Vec::new());
        }
    }

    /// Ends the record of one direction and answers it, in the order of delivery; empty if none was
    /// begun.
    #[must_use]
    pub fn recorded_delays(&self, direction: Direction) -> Vec<Duration> {
        lock(&self.way(direction).delays).take().unwrap_or_default()
    }

    /// Writes every packet of both directions, as it was sent (also those that get lost), to a pcap
    /// file of raw IP packets with time stamps in nanoseconds. A capture that is running ends.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn capture_to(&self, path: &Path) -> Result<()> {
        self.stop_capture()?;
        let capture = Capture::create(path).with_context(|| format!("{}", path.display()))?;
        *lock(&self.shared.capture) = Some(capture);
        Ok(())
    }

    /// Ends the capture; the file is complete afterwards.
    ///
    /// # Errors
    /// The rest of the file cannot be written.
    pub fn stop_capture(&self) -> Result<()> {
        let capture = lock(&self.shared.capture).take();
        capture
            .map_or(Ok(()), Capture::finish)
            .context("cannot write the capture")
    }

    fn way(&self, direction: Direction) -> &Way {
        match direction {
            Direction::AToB => &self.ways[0],
            Direction::BToA => &self.ways[1],
        }
    }
}

impl Drop for LinkEmulator {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        for thread in self.threads.drain(..) {
            // A thread that panicked has said so on standard error.
            thread.join().ok();
        }
        self.stop_capture().ok();
    }
}

/// A lock whose holder panicked still holds whole values here.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A TUN device in the namespace, with its address, switched on; and its name.
fn tun(namespace: &Namespace, own: Ipv4Addr, other: Ipv4Addr) -> Result<(SyncDevice, String)> {
    let name = format!("link{}", next_number());
    let device = namespace.within(|| -> std::io::Result<SyncDevice> {
        let device = DeviceBuilder::new()
            .name(name.as_str())
            .enable(false)
            .build_sync()?;
        device.set_nonblocking(true)?;
        Ok(device)
    })?;
    let device = device.context("cannot make a TUN device")?;
    let mtu = MTU.to_string();
    ip(&[
        "-n",
        namespace.name(),
        "link",
        "set",
        &name,
        "mtu",
        &mtu,
        "txqueuelen",
        KERNEL_QUEUE,
    ])?;
    set_up(namespace.name(), &name, own, other)?;
    Ok((device, name))
}

/// The thread of one direction.
struct Forwarder {
    from: Arc<SyncDevice>,
    to: Arc<SyncDevice>,
    way: Arc<Way>,
    shared: Arc<Shared>,
    dice: StdRng,
    queue: Queue,
    /// The cuts that the queue knows of.
    cuts: u64,
}

impl Forwarder {
    fn run(mut self) {
        ask_for_punctuality();
        let mut buffer = vec![0; usize::from(u16::MAX)];
        while !self.shared.ended.load(Ordering::SeqCst) {
            self.deliver();
            if !self.take(&mut buffer) && !self.sleep() {
                return;
            }
        }
    }

    /// Hands over what has arrived.
    fn deliver(&mut self) {
        let cuts = self.way.cuts.load(Ordering::SeqCst);
        if cuts != self.cuts {
            self.cuts = cuts;
            for packet in self.queue.take_all() {
                self.way.drop_packet(&packet);
            }
        }
        while let Some(arrived) = self.queue.pop_due(Instant::now()) {
            let packet = arrived.packet;
            if self.to.send(&packet).is_err() {
                self.way.drop_packet(&packet);
                continue;
            }
            let count = self.way.count(&packet);
            if std::ptr::eq(count, &raw const self.way.counts[UDP])
                && let Some(delays) = lock(&self.way.delays).as_mut()
            {
                delays.push(arrived.sent.elapsed());
            }
            count.packets.fetch_add(1, Ordering::Relaxed);
            count
                .bytes
                .fetch_add(packet.len() as u64, Ordering::Relaxed);
        }
    }

    /// Takes what has been sent; answers whether there may be more.
    fn take(&mut self, buffer: &mut [u8]) -> bool {
        for _ in 0..BATCH {
            let Ok(length) = self.from.recv(buffer) else {
                return false;
            };
            let now = Instant::now();
            let packet = &buffer[..length];
            self.record(packet);
            let profile = *lock(&self.way.profile);
            let fate = profile.fate(&mut self.dice);
            let passes = !self.way.cut.load(Ordering::SeqCst);
            let taken = fate.is_some_and(|delay| {
                passes && self.queue.push(packet, now, delay, profile.queue_bytes)
            });
            // After the queue has it: who sees the count may rely on the packet being under way.
            self.way.count(packet).sent.fetch_add(1, Ordering::SeqCst);
            if !taken {
                self.way.drop_packet(packet);
            }
        }
        true
    }

    fn record(&self, packet: &[u8]) {
        let mut capture = lock(&self.shared.capture);
        // A capture that cannot be written ends; its reader sees that it is short.
        if capture
            .as_mut()
            .is_some_and(|file| file.write(packet).is_err())
        {
            *capture = None;
        }
    }

    /// Waits for the next packet or for the next one due; `false`: the device is gone.
    fn sleep(&self) -> bool {
        let until_due = (self.queue.next_due()).map_or(MAX_SLEEP, |due| {
            due.saturating_duration_since(Instant::now())
        });
        if until_due <= SPIN {
            std::hint::spin_loop();
            return true;
        }
        let time = (until_due - SPIN).min(MAX_SLEEP);
        let time = Timespec {
            tv_sec: 0,
            tv_nsec: time.subsec_nanos().into(),
        };
        let mut sources = [PollFd::new(&self.from, PollFlags::IN)];
        match poll(&mut sources, Some(&time)) {
            Ok(_) => !sources[0]
                .revents()
                .intersects(PollFlags::ERR | PollFlags::NVAL),
            Err(error) => std::io::Error::from(error).kind() == ErrorKind::Interrupted,
        }
    }
}

/// Asks the kernel to wake this thread on time. Where it refuses, delays are met less exactly and
/// nothing else is different.
fn ask_for_punctuality() {
    rustix::thread::set_current_timer_slack(NonZeroU64::new(1)).ok();
    let thread = rustix::thread::gettid().as_raw_nonzero().to_string();
    let mut command = Command::new("chrt");
    command.args(["--fifo", "--pid", "10", &thread]);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.status().ok();
}
