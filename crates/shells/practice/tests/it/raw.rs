//! A bare client: packets built by hand here, so that the tests share no bytes with the crate.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use warp_practice::server::{EventReceiver, Server, ServerConfig, ServerEvent};

/// Only keeps a failing test from hanging.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) async fn server() -> Server {
    Server::start(ServerConfig::loopback()).await.unwrap()
}

/// A connection.
pub(crate) struct Raw(TcpStream);

impl Raw {
    pub(crate) async fn to(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self(stream)
    }

    /// One write.
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        assert_eq!(self.0.write(bytes).await.unwrap(), bytes.len());
    }

    pub(crate) async fn take(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        timeout(PATIENCE, self.0.read_exact(&mut bytes))
            .await
            .expect("in time")
            .unwrap();
        bytes
    }

    /// The next bytes are exactly these.
    pub(crate) async fn expect(&mut self, hex: &str) {
        let bytes = self.take(hex.len() / 2).await;
        assert_eq!(hex::encode(bytes), hex);
    }

    /// A fixed packet: id and length.
    pub(crate) async fn packet(&mut self, id: u16, length: usize) -> Vec<u8> {
        let packet = self.take(length).await;
        assert_eq!(u16_at(&packet, 0), id, "{}", hex::encode(&packet));
        packet
    }

    /// A packet with a length field.
    pub(crate) async fn sized(&mut self, id: u16) -> Vec<u8> {
        let mut packet = self.packet(id, 4).await;
        let rest = usize::from(u16_at(&packet, 2)) - 4;
        packet.extend(self.take(rest).await);
        packet
    }

    /// Nothing but the end of the stream comes.
    pub(crate) async fn closed(&mut self) {
        let mut rest = Vec::new();
        timeout(PATIENCE, self.0.read_to_end(&mut rest))
            .await
            .expect("in time")
            .unwrap();
        assert_eq!(hex::encode(rest), "");
    }

    /// Sends, closes the sending side, and reads to the end whatever comes. A reset is an end, too.
    pub(crate) async fn send_and_drain(&mut self, bytes: &[u8]) {
        let talking = async {
            self.0.write_all(bytes).await?;
            self.0.shutdown().await?;
            self.0.read_to_end(&mut Vec::new()).await
        };
        let _reset_or_end = timeout(PATIENCE, talking).await.expect("in time");
    }

    pub(crate) async fn finish(&mut self) {
        self.0.shutdown().await.unwrap();
    }
}

pub(crate) fn u16_at(packet: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(packet[at..at + 2].try_into().unwrap())
}

pub(crate) fn u32_at(packet: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(packet[at..at + 4].try_into().unwrap())
}

pub(crate) fn address_at(packet: &[u8], at: usize) -> SocketAddr {
    let ip: [u8; 4] = packet[at..at + 4].try_into().unwrap();
    SocketAddr::new(IpAddr::V4(Ipv4Addr::from(ip)), u16_at(packet, at + 4))
}

fn join(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

pub(crate) fn login(user: &str, password: &str) -> Vec<u8> {
    let mut packet = vec![0; 55];
    packet[0] = 0x64;
    packet[2] = 20;
    packet[6..6 + user.len()].copy_from_slice(user.as_bytes());
    packet[30..30 + password.len()].copy_from_slice(password.as_bytes());
    packet[54] = 1;
    packet
}

/// What a login gave.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ids {
    pub(crate) aid: u32,
    pub(crate) gid: u32,
    pub(crate) id1: u32,
    pub(crate) id2: u32,
    pub(crate) sex: u8,
}

pub(crate) fn char_enter(ids: Ids) -> Vec<u8> {
    let Ids {
        aid, id1, id2, sex, ..
    } = ids;
    let numbers = [aid.to_le_bytes(), id1.to_le_bytes(), id2.to_le_bytes()].concat();
    join(&[&[0x65, 0], &numbers, &[0, 0, sex]])
}

pub(crate) fn map_enter(ids: Ids) -> Vec<u8> {
    let Ids {
        aid, gid, id1, sex, ..
    } = ids;
    let numbers = [aid.to_le_bytes(), gid.to_le_bytes(), id1.to_le_bytes()].concat();
    join(&[&[0x36, 0x04], &numbers, &[0; 8], &[sex]])
}

pub(crate) fn chat(text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len() + 5).unwrap();
    join(&[&[0xf3, 0], &length.to_le_bytes(), text.as_bytes(), &[0]])
}

pub(crate) fn walk(x: u16, y: u16) -> Vec<u8> {
    join(&[&[0x5f, 0x03], &warp_ro_packet::coords::pack_pos(x, y, 0)])
}

pub(crate) const TIME: [u8; 6] = [0x60, 0x03, 1, 2, 3, 4];
pub(crate) const LOADED: [u8; 2] = [0x7d, 0x00];

/// A right login: the ids and the char server's address.
pub(crate) async fn logged_in(server: &Server, number: u32) -> (Ids, SocketAddr) {
    let mut raw = Raw::to(server.login_addr()).await;
    let user = format!("test{number}");
    raw.send(&login(&user, &user)).await;
    let packet = raw.sized(0x0AC4).await;
    assert_eq!(packet.len(), 224);
    raw.finish().await;
    raw.closed().await;
    let ids = Ids {
        id1: u32_at(&packet, 4),
        aid: u32_at(&packet, 8),
        id2: u32_at(&packet, 12),
        sex: packet[46],
        gid: 150_000 + number,
    };
    assert_eq!(ids.aid, 2_000_000 + number);
    (ids, address_at(&packet, 64))
}

/// The char server's whole conversation; the map server's address.
pub(crate) async fn selected(ids: Ids, char_server: SocketAddr) -> SocketAddr {
    let mut raw = Raw::to(char_server).await;
    raw.send(&char_enter(ids)).await;
    char_burst(&mut raw, ids).await;
    raw.send(&[0x66, 0, 0]).await;
    let packet = raw.packet(0x0AC5, 156).await;
    assert_eq!(u32_at(&packet, 2), ids.gid);
    raw.finish().await;
    raw.closed().await;
    address_at(&packet, 22)
}

pub(crate) async fn char_burst(raw: &mut Raw, ids: Ids) {
    raw.expect(&hex::encode(ids.aid.to_le_bytes())).await;
    assert_eq!(raw.sized(0x082D).await.len(), 29);
    assert_eq!(raw.sized(0x006B).await.len(), 27 + 175);
    raw.expect("a00905000000").await;
    raw.expect("0d020400").await;
    let pin = raw.packet(0x08B9, 12).await;
    assert_eq!((u32_at(&pin, 6), u16_at(&pin, 10)), (ids.aid, 0));
}

/// Everything up to an accepted 0436 and its burst, without 007D.
pub(crate) async fn entered(server: &Server, number: u32) -> (Raw, Ids) {
    let (ids, char_server) = logged_in(server, number).await;
    let map_server = selected(ids, char_server).await;
    let mut raw = Raw::to(map_server).await;
    raw.send(&map_enter(ids)).await;
    entry_burst(&mut raw, ids, true).await;
    (raw, ids)
}

pub(crate) async fn entry_burst(raw: &mut Raw, ids: Ids, fresh: bool) {
    raw.expect(&format!("8302{}", hex::encode(ids.aid.to_le_bytes())))
        .await;
    raw.expect("180b0000").await;
    raw.packet(0x02EB, 13).await;
    raw.expect("01020400").await;
    if fresh {
        raw.sized(0x008E).await;
        raw.packet(0x0091, 22).await;
    }
    // 17 numbers, 6 attributes, 013A, 09E7, 0ADE
    raw.take(15 * 8 + 6 * 14 + 4 + 3 + 6).await;
}

/// Loads the map; the unit ids in sight.
pub(crate) async fn load(raw: &mut Raw) -> Vec<u32> {
    raw.send(&LOADED).await;
    raw.packet(0x01D7, 15).await;
    raw.take(6 + 4 + 4 + 8 + 8 + 8).await;
    let mut units = Vec::new();
    loop {
        let mut packet = raw.take(3).await;
        if u16_at(&packet, 0) == 0x02C9 {
            break;
        }
        packet.extend(raw.take(105).await);
        assert_eq!((u16_at(&packet, 0), u16_at(&packet, 2)), (0x09FF, 108));
        units.push(u32_at(&packet, 5));
    }
    raw.take(3 + 3 * 10 + 5).await;
    units
}

/// Entered and loaded, on prontera 156,191.
pub(crate) async fn on_map(server: &Server, number: u32) -> (Raw, Ids) {
    let (mut raw, ids) = entered(server, number).await;
    load(&mut raw).await;
    (raw, ids)
}

/// Waits until a connection whose key begins with `key` has ended; its reason.
pub(crate) async fn ended(events: &mut EventReceiver, key: &str) -> String {
    let waiting = async {
        while let Some(event) = events.recv().await {
            if let ServerEvent::ConnectionClosed { report, .. } = event
                && report.key.starts_with(key)
            {
                return report.reason;
            }
        }
        panic!("the server ended before {key} did");
    };
    timeout(PATIENCE, waiting).await.expect("in time")
}
