//! Another stack: str0m, without IO of its own, on a small driver: a task per end, a lock around its
//! state, a system call per packet.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use str0m::change::{SdpAnswer, SdpOffer};
use str0m::channel::{ChannelConfig, ChannelId, Reliability};
use str0m::net::{Protocol, Receive, Transmit};
use str0m::{Candidate, Event, Input, Output, Rtc, RtcConfig};
use tokio::net::UdpSocket;
use tokio::runtime::Handle;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;

use super::crypto;
use super::line::{Line, Lines, Stack};

/// What may lie in str0m of one channel, bytes: its own default for all. Twice as much, what ours lets lie
/// in its SCTP, made bulk slower.
const WINDOW: usize = 128 * 1024;

/// What str0m lets lie there in all, bytes: never reached, so control always has room beside bulk.
const BUFFER: usize = 1024 * 1024;

/// Size asked for the socket's buffers, bytes: as ours asks for.
const SOCKET_BUFFER: usize = 2 * 1024 * 1024;

/// Frames on the file channel are cut into messages of so many bytes.
const PIECE: usize = 16 * 1024;

/// Packets that are taken from the socket before what they caused is sent.
const BURST: usize = 64;

/// Messages that wait for the reader; further ones are dropped, and do not count.
const INBOUND: usize = 16 * 1024;

const LABELS: [&str; 3] = ["control", "unreliable", "file"];

fn channel(index: usize) -> ChannelConfig {
    let unreliable = index == 1;
    ChannelConfig {
        label: LABELS[index].to_owned(),
        ordered: !unreliable,
        reliability: if unreliable {
            Reliability::MaxRetransmits { retransmits: 0 }
        } else {
            Reliability::Reliable
        },
        negotiated: Some(index as u16),
        protocol: String::new(),
    }
}

struct End {
    rtc: Mutex<Rtc>,
    /// Something was written.
    wake: Notify,
    /// Something may have been acknowledged.
    room: Notify,
}

impl End {
    fn rtc(&self) -> MutexGuard<'_, Rtc> {
        self.rtc.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the message was taken.
    fn write(&self, id: ChannelId, window: usize, message: &[u8]) -> Result<bool> {
        let mut rtc = self.rtc();
        let mut channel = rtc.channel(id).context("the channel is gone")?;
        if channel.buffered_amount() + message.len() > window || !channel.write(true, message)? {
            return Ok(false);
        }
        drop(rtc);
        self.wake.notify_one();
        Ok(true)
    }
}

/// An end before its driver runs.
struct Made {
    rtc: Rtc,
    socket: std::net::UdpSocket,
    address: SocketAddr,
}

impl Made {
    fn new() -> Result<Self> {
        let socket = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket.set_nonblocking(true)?;
        rustix::net::sockopt::set_socket_recv_buffer_size(&socket, SOCKET_BUFFER)?;
        rustix::net::sockopt::set_socket_send_buffer_size(&socket, SOCKET_BUFFER)?;
        let address = socket.local_addr()?;
        let mut rtc = RtcConfig::new()
            .set_crypto_provider(Arc::new(crypto::provider()))
            .set_sctp_max_buffered_amount(BUFFER)
            .build(Instant::now());
        let candidate = Candidate::host(address, "udp")?;
        rtc.add_local_candidate(candidate);
        Ok(Self {
            rtc,
            socket,
            address,
        })
    }

    fn start(self, ids: &[ChannelId; 3], on: &Handle) -> Started {
        let end = Arc::new(End {
            rtc: Mutex::new(self.rtc),
            wake: Notify::new(),
            room: Notify::new(),
        });
        let (opened, opens) = mpsc::channel(ids.len());
        let [control, unreliable, file] = ids.map(|id| {
            let (tx, rx) = mpsc::channel(INBOUND);
            let line = RivalLine {
                end: end.clone(),
                id,
                reliable: id != ids[1],
                rx,
            };
            ((id, tx), line)
        });
        let mut driver = Driver {
            end,
            address: self.address,
            sinks: [control.0, unreliable.0, file.0],
            opened,
            out: Vec::new(),
        };
        let socket = self.socket;
        let task = on.spawn(async move {
            if let Err(error) = driver.run(socket).await {
                println!("str0m: {error:#}");
            }
        });
        Started {
            task,
            opens,
            lines: Lines {
                control: control.1,
                unreliable: unreliable.1,
                file: file.1,
            },
        }
    }
}

struct Started {
    task: JoinHandle<()>,
    opens: mpsc::Receiver<()>,
    lines: Lines<RivalLine>,
}

impl Started {
    async fn all_open(&mut self) -> Result<()> {
        for _ in LABELS {
            self.opens.recv().await.context("the driver is gone")?;
        }
        Ok(())
    }
}

struct Driver {
    end: Arc<End>,
    address: SocketAddr,
    sinks: [(ChannelId, mpsc::Sender<Bytes>); 3],
    opened: mpsc::Sender<()>,
    out: Vec<Transmit>,
}

impl Driver {
    async fn run(&mut self, socket: std::net::UdpSocket) -> Result<()> {
        let socket = UdpSocket::from_std(socket)?;
        let end = self.end.clone();
        loop {
            let deadline = self.poll(&mut end.rtc())?;
            for packet in self.out.drain(..) {
                socket.send_to(&packet.contents, packet.destination).await?;
            }
            end.room.notify_waiters();
            tokio::select! {
                () = end.wake.notified() => {}
                () = tokio::time::sleep_until(deadline.into()) => {
                    end.rtc().handle_input(Input::Timeout(Instant::now()))?;
                }
                ready = socket.readable() => {
                    ready?;
                    self.take(&socket, &mut end.rtc())?;
                }
            }
        }
    }

    /// Takes what has arrived.
    fn take(&mut self, socket: &UdpSocket, rtc: &mut Rtc) -> Result<()> {
        let mut buffer = [0; 2048];
        for _ in 0..BURST {
            let (length, source) = match socket.try_recv_from(&mut buffer) {
                Ok(received) => received,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            };
            let received = Receive {
                proto: Protocol::Udp,
                source,
                destination: self.address,
                contents: buffer[..length].try_into()?,
            };
            rtc.handle_input(Input::Receive(Instant::now(), received))?;
            self.poll(rtc)?;
        }
        Ok(())
    }

    /// Asks for everything that there is to do; says when to ask again.
    fn poll(&mut self, rtc: &mut Rtc) -> Result<Instant> {
        loop {
            match rtc.poll_output()? {
                Output::Timeout(at) => return Ok(at),
                Output::Transmit(packet) => self.out.push(packet),
                Output::Event(Event::ChannelOpen(..)) => self.opened.try_send(())?,
                Output::Event(Event::ChannelData(data)) => {
                    let sink = self.sinks.iter().find(|(id, _)| *id == data.id);
                    if let Some((_, sink)) = sink {
                        // A reader that lags loses some, and the measurement shows it.
                        let _ = sink.try_send(data.data.into());
                    }
                }
                Output::Event(Event::Closed) => bail!("the connection is closed"),
                Output::Event(_) => {}
            }
        }
    }
}

pub(super) struct RivalLine {
    end: Arc<End>,
    id: ChannelId,
    reliable: bool,
    rx: mpsc::Receiver<Bytes>,
}

impl Line for RivalLine {
    async fn send(&mut self, frame: Bytes) -> Result<()> {
        if !self.reliable {
            self.end.write(self.id, WINDOW, &frame)?;
            return Ok(());
        }
        for message in frame.chunks(PIECE) {
            loop {
                // Before the look: what comes between look and wait is not missed.
                let room = self.end.room.notified();
                if self.end.write(self.id, WINDOW, message)? {
                    break;
                }
                room.await;
            }
        }
        Ok(())
    }

    async fn recv(&mut self) -> Result<Bytes> {
        self.rx.recv().await.context("the peer is gone")
    }
}

/// An open connection.
pub(super) struct Rival {
    drivers: [JoinHandle<()>; 2],
}

impl Stack for Rival {
    type Line = RivalLine;

    const NAME: &'static str = "str0m";

    async fn open(on: Handle) -> Result<(Self, Lines<RivalLine>, Lines<RivalLine>)> {
        let (mut near, mut far) = (Made::new()?, Made::new()?);
        let mut api = near.rtc.sdp_api();
        let near_ids = [0, 1, 2].map(|index| api.add_channel_with_config(channel(index)));
        let (offer, pending) = api.apply().context("there is nothing to offer")?;
        let offer = SdpOffer::from_sdp_string(&offer.to_sdp_string())?;
        let answer = far.rtc.sdp_api().accept_offer(offer)?;
        let mut api = far.rtc.direct_api();
        let far_ids = [0, 1, 2].map(|index| api.create_data_channel(channel(index)));
        let answer = SdpAnswer::from_sdp_string(&answer.to_sdp_string())?;
        near.rtc.sdp_api().accept_answer(pending, answer)?;
        let mut far = far.start(&far_ids, &on);
        let mut near = near.start(&near_ids, &Handle::current());
        tokio::try_join!(near.all_open(), far.all_open())?;
        let rival = Self {
            drivers: [near.task, far.task],
        };
        Ok((rival, near.lines, far.lines))
    }

    async fn close(self) {
        for driver in self.drivers {
            driver.abort();
            // That it was ended is no news.
            let _ = driver.await;
        }
    }
}
