//! What is done to the packets of a mix.

use std::hint::black_box;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;

use bytes::BytesMut;
use warp_bridge_core::{AddressBook, BridgeConnection, Level, Reading, ToServer};
use warp_protocol::carrier::PathKind;
use warp_protocol::stream::{Decoder, MessageKind, encode_keep_alive, encode_message};
use warp_ro_packet::{
    Direction, Framer, PacketTable, Role, announces_addresses, rewrite_addresses,
};

use super::mix::{self, Mix};

/// Bytes that a sink takes before it starts again.
const SINK: usize = 64 * 1024;
const PATH: Option<PathKind> = Some(PathKind::Direct);

/// Where written bytes go: they are copied and forgotten, as into a socket's buffer.
#[derive(Default)]
struct Sink {
    bytes: Vec<u8>,
}

impl Sink {
    fn write(&mut self, bytes: &[u8]) {
        if self.bytes.len() + bytes.len() > SINK {
            self.bytes.clear();
        }
        self.bytes.extend_from_slice(bytes);
        black_box(self.bytes.last());
    }
}

/// Copies each read into the sink, and does nothing else: the baseline.
pub(crate) fn copy(reads: &[Vec<u8>]) -> impl FnMut() {
    let mut sink = Sink::default();
    move || {
        for read in reads {
            sink.write(black_box(read));
        }
    }
}

/// Cuts the reads into packets.
pub(crate) fn framing(mix: &Mix, reads: &[Vec<u8>]) -> impl FnMut() {
    let mut framer = Framer::new(Arc::clone(&mix.table), mix.role, mix.direction);
    move || {
        for read in reads {
            framer.push(black_box(read));
            while let Some(frame) = framer.next_frame() {
                black_box(&frame);
            }
        }
    }
}

/// Looks the class of each packet up.
pub(crate) fn classifying(mix: &Mix) -> impl FnMut() {
    let ids: Vec<u16> = mix.packets.iter().map(|(id, _)| *id).collect();
    let table: Arc<PacketTable> = Arc::clone(&mix.table);
    move || {
        for id in &ids {
            black_box(table.class_of(black_box(*id)));
        }
    }
}

/// There and back: each pass changes all addresses.
fn swap(_role: Role, upstream: SocketAddrV4) -> SocketAddrV4 {
    let ip = if upstream.ip().is_loopback() {
        Ipv4Addr::new(203, 0, 113, 7)
    } else {
        Ipv4Addr::LOCALHOST
    };
    SocketAddrV4::new(ip, upstream.port())
}

/// Replaces the addresses of those packets that announce some.
pub(crate) fn rewriting(mix: &Mix) -> impl FnMut() {
    let mut packets = mix.packets.clone();
    move || {
        for (id, packet) in &mut packets {
            if announces_addresses(black_box(*id)) {
                rewrite_addresses(packet, &mut swap);
            }
            black_box(&packet);
        }
    }
}

struct Book;

impl AddressBook for Book {
    fn loopback_for(&mut self, _role: Role, upstream: SocketAddrV4) -> SocketAddrV4 {
        SocketAddrV4::new(Ipv4Addr::LOCALHOST, upstream.port())
    }
}

/// A connection of a player who is on a map.
fn connection(mix: &Mix) -> BridgeConnection {
    let reading = Reading::Framed {
        table: Arc::clone(&mix.table),
        ciphered: false,
    };
    let mut core = BridgeConnection::new(mix.role, Level::Assist, reading, true);
    let roles = mix.table.roles();
    for id in [roles.map_enter, roles.map_loaded].into_iter().flatten() {
        core.client_bytes(&mix::packet(&mix.table, id), PATH, &mut |_| {});
        let answer = mix::packet(&mix.table, mix::TIME);
        core.server_bytes(&answer, PATH, &mut Book, &mut |_| {});
    }
    while core.poll_event().is_some() {}
    core
}

/// Everything that the bridge does with the reads: framing, classifying, rewriting, commands, counting.
pub(crate) fn bridge(mix: &Mix, reads: &[Vec<u8>]) -> impl FnMut() {
    let mut core = connection(mix);
    let direction = mix.direction;
    move || {
        for read in reads {
            let read = black_box(read);
            match direction {
                Direction::ClientToServer => core.client_bytes(read, PATH, &mut |message| {
                    black_box(message.payload);
                }),
                Direction::ServerToClient => {
                    core.server_bytes(read, PATH, &mut Book, &mut |bytes| {
                        black_box(bytes);
                    });
                }
            }
            while let Some(event) = core.poll_event() {
                black_box(&event);
            }
        }
    }
}

/// From the client's socket to the server's, or back, without sockets and without QUIC between: the
/// bridge, the game stream's messages, both sides of it.
pub(crate) fn through(mix: &Mix, reads: &[Vec<u8>]) -> Box<dyn FnMut()> {
    let reads = reads.to_vec();
    let mut core = connection(mix);
    let mut wire = BytesMut::new();
    let mut decoder = Decoder::default();
    let mut sink = Sink::default();
    match mix.direction {
        Direction::ClientToServer => Box::new(move || {
            for read in &reads {
                wire.clear();
                core.client_bytes(black_box(read), PATH, &mut |message| {
                    encode(&mut wire, message);
                });
                while core.poll_event().is_some() {}
                decoder.push(&wire);
                while let Ok(Some(message)) = decoder.next_message() {
                    if message.kind != MessageKind::KeepAlive {
                        sink.write(&message.body);
                    }
                }
            }
        }),
        Direction::ServerToClient => Box::new(move || {
            for read in &reads {
                wire.clear();
                encode_message(&mut wire, black_box(read), false);
                decoder.push(&wire);
                while let Ok(Some(message)) = decoder.next_message() {
                    core.server_bytes(&message.body, PATH, &mut Book, &mut |bytes| {
                        sink.write(bytes);
                    });
                    while core.poll_event().is_some() {}
                }
            }
        }),
    }
}

fn encode(wire: &mut BytesMut, message: ToServer<'_>) {
    match message.kind {
        MessageKind::KeepAlive => encode_keep_alive(wire, message.payload),
        MessageKind::Plain => encode_message(wire, message.payload, false),
        MessageKind::Alone => encode_message(wire, message.payload, true),
    }
}
