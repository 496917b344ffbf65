//! `host`: what a host costs and adds, in this process, over WebRTC on the loopback.
//!
//! Members play 20-byte packets at a steady rate with an echo server behind the endpoint: over their own
//! WebRTC connections to the endpoint, and then as members of one host. The host's connections and its
//! forwarding run on threads of their own, so that its processor time is told apart from that of the
//! members and the endpoint, which share the rest of this process.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use bytes::BytesMut;
use serde::Serialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use warp_endpoint::{
    CertifiedDevice, Endpoint, EndpointConfig, EndpointLimits, GrantSpec, HostGrantSpec, HostRoute,
    Identity, SignalPort, WebRtcOptions, generate_identity_der,
};
use warp_host::Plane;
use warp_host_core::ForwarderConfig;
use warp_link::peer::{Answerer, Offerer, PeerConfig};
use warp_link_core::descriptions::sign_offer;
use warp_link_core::{Link, LinkConfig, State};
use warp_link_driver::{LinkHandle, ReadEvent, spawn};
use warp_protocol::carrier::PathKind;
use warp_protocol::hosting::Member;
use warp_protocol::signal::{ClientSignal, ServerSignal};
use warp_protocol::stream::{
    Decoder, OpenAnswer, OpenRequest, ServerRole, encode_message, encode_open,
};
use warp_protocol::zone::{GameServer, ReadLevel};

use crate::stats::Spread;

/// Name of the host's threads.
const THREADS: &str = "bench-host";
const ROOM: &str = "host";
/// Length of a packet.
const PACKET: usize = 20;
/// How long setting up may take.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(clap::Args)]
pub(crate) struct Args {
    /// How long each figure is measured, seconds.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Packets a second of each member.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=200))]
    rate: u64,
    /// Only to see that it works.
    #[arg(long)]
    quick: bool,
}

/// The whole result.
#[derive(Serialize)]
pub(crate) struct Outcome {
    seconds_per_figure: u64,
    packets_per_s_and_member: u64,
    rows: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    members: usize,
    direct_ms: Spread,
    host_ms: Spread,
    added_p50_ms: f64,
    added_p99_ms: f64,
    /// Of one core, by the host's threads.
    host_cpu_percent: f64,
    host_cpu_percent_per_member: f64,
    /// Datagrams that the host forwarded, both directions, a second.
    forwarded_per_s: f64,
    /// One end of a member's connection: resident memory by which this process grew, by two.
    kib_per_connection_end: u64,
}

/// Measures everything and prints a table.
pub(crate) fn run(args: &Args) -> Result<Outcome> {
    let build = |name: &str| {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name(name)
            .enable_all()
            .build()
    };
    let (rest, host) = (build("bench-rest")?, build(THREADS)?);
    let seconds = if args.quick { 2 } else { args.seconds };
    let span = Duration::from_secs(seconds);
    let period = Duration::from_micros(1_000_000 / args.rate);
    let mut rows = Vec::new();
    for members in if args.quick {
        vec![3]
    } else {
        vec![10, 50, 200]
    } {
        let measured = measure(members, period, span, host.handle());
        rows.push(rest.block_on(Box::pin(measured))?);
    }
    let outcome = Outcome {
        seconds_per_figure: seconds,
        packets_per_s_and_member: args.rate,
        rows,
    };
    show(&outcome);
    Ok(outcome)
}

async fn measure(members: usize, period: Duration, span: Duration, host: &Handle) -> Result<Row> {
    let house = House::new().await?;
    let mut players = Vec::new();
    for number in 0..members {
        players.push(house.direct(number).await?);
    }
    let direct = play(&mut players, period, span).await?;
    close(players, &house).await;

    let house = House::new().await?;
    let plane = house.host(members, host).await?;
    let before = resident()?;
    let mut connected = Vec::new();
    for number in 0..members {
        connected.push(house.through(number, &plane, host).await?);
    }
    let kib = resident()?.saturating_sub(before) / (2 * members as u64);
    let mut players = Vec::new();
    for (number, (mut player, carrier)) in connected.into_iter().enumerate() {
        player.link.attach(PathKind::Host, carrier);
        house.open(number, &mut player).await?;
        players.push(player);
    }
    let (cpu, traffic) = (cpu_of_host()?, house.forwarded());
    let begun = Instant::now();
    let hosted = play(&mut players, period, span).await?;
    let passed = begun.elapsed().as_secs_f64();
    let cpu = (cpu_of_host()? - cpu) * 100.0 / passed;
    let forwarded = (house.forwarded() - traffic) as f64 / passed;
    for number in 0..members {
        plane.unserve(&name(number));
    }
    close(players, &house).await;
    let (direct_ms, host_ms) = (Spread::of(&direct), Spread::of(&hosted));
    Ok(Row {
        members,
        added_p50_ms: host_ms.p50 - direct_ms.p50,
        added_p99_ms: host_ms.p99 - direct_ms.p99,
        direct_ms,
        host_ms,
        host_cpu_percent: cpu,
        host_cpu_percent_per_member: cpu / members as f64,
        forwarded_per_s: forwarded,
        kib_per_connection_end: kib,
    })
}

fn name(number: usize) -> String {
    format!("member-{number}")
}

fn identity() -> Result<Identity> {
    Ok(Identity::from_pkcs8_der(&generate_identity_der())?)
}

fn peer_config() -> PeerConfig {
    PeerConfig {
        include_loopback: true,
        bind: vec![Ipv4Addr::LOCALHOST.into()],
        ..PeerConfig::default()
    }
}

/// A member that plays.
struct Player {
    link: LinkHandle,
    stream: Option<(
        warp_link_driver::StreamWriter,
        warp_link_driver::StreamReader,
    )>,
    /// Keeps its connection, and the other end of it where that is here.
    _peers: (Offerer, Option<Answerer>),
    _port: SignalPort,
}

/// An endpoint with an echo server behind it.
struct House {
    endpoint: Endpoint,
    device: Identity,
    server: SocketAddr,
}

impl House {
    async fn new() -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let server = listener.local_addr()?;
        tokio::spawn(async move {
            while let Ok((mut tcp, _)) = listener.accept().await {
                tokio::spawn(async move {
                    // Without it the figures are the kernel's.
                    let _ = tcp.set_nodelay(true);
                    let mut buffer = [0; 4096];
                    while let Ok(count @ 1..) = tcp.read(&mut buffer).await {
                        if tcp.write_all(&buffer[..count]).await.is_err() {
                            return;
                        }
                    }
                });
            }
        });
        let endpoint = Endpoint::start(EndpointConfig {
            identity: identity()?,
            trust: None,
            limits: EndpointLimits::default(),
            webrtc: WebRtcOptions {
                include_loopback: true,
                bind: vec![Ipv4Addr::LOCALHOST.into()],
                ..WebRtcOptions::default()
            },
        });
        Ok(Self {
            endpoint,
            device: identity()?,
            server,
        })
    }

    fn grant(&self, number: usize) -> Result<SignalPort> {
        let other = |port| SocketAddr::from(([127, 0, 0, 2], port));
        Ok(self.endpoint.grant(GrantSpec {
            session_id: name(number),
            device_key: self.device.public_key().to_vec(),
            certified: None,
            game: GameServer {
                packet_version: 20_211_103,
                level: ReadLevel::Opaque,
                login: self.server,
                char: vec![other(1)],
                map: vec![other(2)],
            },
            p2p_enabled: true,
            ice_servers: Vec::new(),
        })?)
    }

    fn link(&self, number: usize) -> Result<LinkHandle> {
        let key = self.endpoint.public_key();
        let mut seed = [7; 32];
        seed[..8].copy_from_slice(&number.to_be_bytes());
        let link = Link::client(LinkConfig::default(), &self.device, &key, seed)?;
        Ok(spawn(link).0)
    }

    /// A member with a connection to the endpoint.
    async fn direct(&self, number: usize) -> Result<Player> {
        let mut port = self.grant(number)?;
        let (offerer, _) = Offerer::new(peer_config()).await?;
        let offer = serde_json::Value::String(offerer.create_offer().await?);
        let answer = answered(&mut port, offer).await?;
        let answer = answer.as_str().context("the answer is no text")?;
        offerer.accept_answer(answer).await?;
        let carrier = offerer.opened().await?;
        let mut player = Player {
            link: self.link(number)?,
            stream: None,
            _peers: (offerer, None),
            _port: port,
        };
        player.link.attach(PathKind::Direct, carrier);
        self.open(number, &mut player).await?;
        Ok(player)
    }

    /// A host that is connected to the endpoint; its connection runs on `host`'s threads.
    async fn host(&self, members: usize, host: &Handle) -> Result<Arc<Plane>> {
        let device = self.device.clone();
        let mut port = self.endpoint.grant_host(HostGrantSpec {
            session_id: ROOM.into(),
            device_key: device.public_key().to_vec(),
            certified: CertifiedDevice {
                account: 1,
                certificate: Vec::new(),
            },
            ice_servers: Vec::new(),
        })?;
        let plane = Plane::new(ForwarderConfig {
            max_members: members,
            upload_mbps: 1_000,
            ..ForwarderConfig::default()
        });
        let upstream = Arc::clone(&plane);
        let connecting = host.spawn(async move {
            let (offerer, _) = Offerer::new(peer_config()).await?;
            let sdp = offerer.create_offer().await?;
            let (offer, _) = sign_offer(&device, ROOM, 1, sdp);
            let answer = answered(&mut port, offer.to_value()).await?;
            let answer = answer.get("sdp").and_then(|sdp| sdp.as_str());
            offerer
                .accept_answer(answer.context("the answer has no text")?)
                .await?;
            let carrier = offerer.opened().await?;
            let tx = carrier.tx.clone();
            upstream.attach_upstream(carrier, CancellationToken::new());
            tokio::spawn(async move {
                // As long as it is open.
                tx.closed().await;
                drop((offerer, port));
            });
            anyhow::Ok(())
        });
        connecting.await??;
        Ok(plane)
    }

    /// A member of the host, and its carrier; the host's end runs on `host`'s threads.
    async fn through(
        &self,
        number: usize,
        plane: &Arc<Plane>,
        host: &Handle,
    ) -> Result<(Player, warp_link::Carrier)> {
        let port = self.grant(number)?;
        let slot = u32::try_from(number)?;
        self.endpoint.route(HostRoute {
            host: ROOM.into(),
            slot,
            epoch: 1,
            session_id: name(number),
            way: PathKind::Host,
        })?;
        plane.serve(&Member {
            peer_id: name(number),
            session_id: name(number),
            zone_id: "zone".into(),
            epoch: 1,
            slot,
            device_key: self.device.key(),
        })?;
        let (offerer, _) = Offerer::new(peer_config()).await?;
        let offer = offerer.create_offer().await?;
        let accepting = host.spawn(async move { Answerer::accept(peer_config(), &offer).await });
        let (answerer, answer, _) = accepting.await??;
        offerer.accept_answer(&answer).await?;
        let plane = Arc::clone(plane);
        let attaching = host.spawn(async move {
            let carrier = answerer.opened().await?;
            plane.attach_member(&name(number), carrier, CancellationToken::new());
            anyhow::Ok(answerer)
        });
        let carrier = offerer.opened().await?;
        let answerer = attaching.await??;
        let player = Player {
            link: self.link(number)?,
            stream: None,
            _peers: (offerer, Some(answerer)),
            _port: port,
        };
        Ok((player, carrier))
    }

    /// Opens the player's stream to the echo server.
    async fn open(&self, number: usize, player: &mut Player) -> Result<()> {
        let mut status = player.link.watch_status();
        let connected = status.wait_for(|status| status.state == State::Connected);
        tokio::time::timeout(PATIENCE, connected)
            .await
            .with_context(|| format!("member {number} is not connected"))??;
        let stream = player.link.open_stream().await;
        let stream = stream.map_err(|end| anyhow::anyhow!("the link has ended: {end:?}"))?;
        let (mut writer, mut reader) = stream.split();
        let mut out = BytesMut::new();
        encode_open(
            &mut out,
            &OpenRequest {
                role: ServerRole::Login,
                target: self.server,
            },
        )?;
        writer.write(out.freeze()).await?;
        let mut decoder = Decoder::default();
        let answer: OpenAnswer = loop {
            if let Some(answer) = decoder.next_open()? {
                break answer;
            }
            match reader.read().await {
                ReadEvent::Data(bytes) => decoder.push(&bytes),
                other => bail!("the stream ended: {other:?}"),
            }
        };
        anyhow::ensure!(answer == OpenAnswer::Open, "{answer:?}");
        player.stream = Some((writer, reader));
        Ok(())
    }

    fn forwarded(&self) -> u64 {
        let all = self.endpoint.host_traffic();
        all.iter()
            .map(|(_, traffic)| traffic.up + traffic.down)
            .sum()
    }
}

async fn answered(port: &mut SignalPort, offer: serde_json::Value) -> Result<serde_json::Value> {
    port.to_endpoint
        .send(ServerSignal::Offer {
            from: "bench".into(),
            sdp: offer,
            timestamp: String::new(),
        })
        .await?;
    loop {
        let signal = tokio::time::timeout(PATIENCE, port.from_endpoint.recv()).await?;
        match signal.context("the room is gone")? {
            ClientSignal::Answer { sdp, .. } => return Ok(sdp),
            // The descriptions have the addresses.
            _ => continue,
        }
    }
}

/// All of them play at once; gives every round trip.
async fn play(players: &mut [Player], period: Duration, span: Duration) -> Result<Vec<Duration>> {
    let count = u32::try_from(players.len())?;
    let mut tasks = Vec::new();
    let begin = tokio::time::Instant::now() + Duration::from_millis(100);
    for (number, player) in players.iter_mut().enumerate() {
        let (mut writer, mut reader) = player.stream.take().context("no stream")?;
        // Spread over the period, as players are.
        let first = begin + period * u32::try_from(number)? / count;
        tasks.push(tokio::spawn(async move {
            let mut decoder = Decoder::default();
            let mut times = Vec::new();
            let mut clock = tokio::time::interval_at(first, period);
            let until = Instant::now() + span;
            while Instant::now() < until {
                clock.tick().await;
                let sent = Instant::now();
                let mut out = BytesMut::new();
                encode_message(&mut out, &[7; PACKET], false);
                writer.write(out.freeze()).await?;
                let mut missing = PACKET;
                while missing > 0 {
                    match reader.read().await {
                        ReadEvent::Data(bytes) => decoder.push(&bytes),
                        other => bail!("the stream ended: {other:?}"),
                    }
                    while let Some(message) = decoder.next_message()? {
                        missing = missing.saturating_sub(message.body.len());
                    }
                }
                times.push(sent.elapsed());
            }
            anyhow::Ok((times, writer, reader))
        }));
    }
    let mut all = Vec::new();
    for (task, player) in tasks.into_iter().zip(players) {
        let (times, writer, reader) = task.await??;
        all.extend(times);
        player.stream = Some((writer, reader));
    }
    Ok(all)
}

async fn close(players: Vec<Player>, house: &House) {
    for player in &players {
        player.link.close(0);
    }
    house.endpoint.shutdown().await;
    for player in players {
        let (offerer, answerer) = player._peers;
        offerer.close().await;
        if let Some(answerer) = answerer {
            answerer.close().await;
        }
    }
}

/// Memory of this process, KiB.
fn resident() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    line.and_then(|line| line.split_ascii_whitespace().nth(1)?.parse().ok())
        .context("the kernel does not tell the memory")
}

/// Processor time of the host's threads, seconds, in the kernel's ticks of 10 ms each.
fn cpu_of_host() -> Result<f64> {
    let mut ticks = 0;
    for thread in std::fs::read_dir("/proc/self/task")? {
        // A thread may end meanwhile.
        let stat = std::fs::read_to_string(thread?.path().join("stat")).unwrap_or_default();
        let Some((head, fields)) = stat.rsplit_once(')') else {
            continue;
        };
        if head
            .split_once('(')
            .is_some_and(|(_, name)| name == THREADS)
        {
            // After the name in parentheses: utime and stime are the 12th and 13th field.
            let fields = fields.split_ascii_whitespace().skip(11).take(2);
            ticks += fields
                .filter_map(|field| field.parse::<u64>().ok())
                .sum::<u64>();
        }
    }
    Ok(ticks as f64 / 100.0)
}

fn show(outcome: &Outcome) {
    println!(
        "{:>7} {:>24} {:>24} {:>15} {:>8} {:>10} {:>9} {:>8}",
        "members",
        "direct p50/p99 ms",
        "host p50/p99 ms",
        "added ms",
        "CPU %",
        "per member",
        "pkts/s",
        "KiB/end"
    );
    for row in &outcome.rows {
        println!(
            "{:>7} {:>13.3}/{:>10.3} {:>13.3}/{:>10.3} {:>7.3}/{:>7.3} {:>8.1} {:>10.3} {:>9.0} {:>8}",
            row.members,
            row.direct_ms.p50,
            row.direct_ms.p99,
            row.host_ms.p50,
            row.host_ms.p99,
            row.added_p50_ms,
            row.added_p99_ms,
            row.host_cpu_percent,
            row.host_cpu_percent_per_member,
            row.forwarded_per_s,
            row.kib_per_connection_end
        );
    }
}
