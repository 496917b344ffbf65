//! Each kind of router lets in and maps what its name says, seen with plain sockets.
#![cfg(target_os = "linux")]

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use warp_lab::{Home, Internet, LinkEmulator, Namespace, Nat, NatKind, Profile, route_default};

/// The longest that anything here waits for an event.
const PATIENCE: Duration = Duration::from_secs(20);
/// Two servers (TEST-NET-3, RFC 5737).
const ONE: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);
const TWO: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 2);

fn possible() -> bool {
    let answer = warp_lab::available();
    #[expect(clippy::print_stdout, reason = "how a test says that it was skipped")]
    if let Err(reason) = &answer {
        println!("SKIPPED: {reason}");
    }
    answer.is_ok()
}

fn bind(namespace: &Namespace, ip: Ipv4Addr) -> Result<UdpSocket> {
    let socket = namespace.within(|| UdpSocket::bind((ip, 0)))??;
    socket.set_read_timeout(Some(PATIENCE))?;
    Ok(socket)
}

/// What a player and the world outside see of each other.
struct Seen {
    /// Where datagrams of one socket seem to come from: to the first server, to another port of it,
    /// to the second server.
    mapped: [SocketAddr; 3],
    /// Whether what is sent to the first of those arrives: from the second port of the first
    /// server, from the second server, each before anything was sent there.
    let_in: [bool; 2],
}

/// One socket of the player sends to the first server, which is answered; then others try to get
/// in; then it sends to them.
fn look(internet: &Internet, home: &Home) -> Result<Seen> {
    let player = bind(&home.player, home.address)?;
    let servers = [ONE, ONE, TWO].map(|ip| bind(internet.namespace(), ip));
    let [first, port, other] = servers;
    let (first, port, other) = (first?, port?, other?);
    let mut buffer = [0; 16];
    player.send_to(b"first", first.local_addr()?)?;
    let (_, mapped) = first.recv_from(&mut buffer)?;
    let mut let_in = [false; 2];
    for (one, got_in) in [&port, &other].into_iter().zip(&mut let_in) {
        one.send_to(b"stranger", mapped)?;
        // A veth delivers in the sender's own call, in order: what comes after it is proof enough.
        first.send_to(b"known", mapped)?;
        let (length, _) = player.recv_from(&mut buffer)?;
        *got_in = &buffer[..length] == b"stranger";
        if *got_in {
            player.recv_from(&mut buffer)?;
        }
    }
    let mut seen = [mapped; 3];
    for (one, seen) in [&port, &other].into_iter().zip(&mut seen[1..]) {
        player.send_to(b"out", one.local_addr()?)?;
        *seen = one.recv_from(&mut buffer)?.1;
        one.send_to(b"back", *seen)?;
        let (length, _) = player.recv_from(&mut buffer)?;
        ensure!(&buffer[..length] == b"back", "an answer did not come");
    }
    Ok(Seen {
        mapped: seen,
        let_in,
    })
}

fn internet() -> Result<Internet> {
    Internet::new(&[ONE, TWO])
}

#[test]
fn cones_keep_the_port_and_filter_as_they_are_called() -> Result<()> {
    if !possible() {
        return Ok(());
    }
    let internet = internet()?;
    for (kinds, let_in) in [
        (vec![], [true, true]),
        (vec![NatKind::None], [true, true]),
        (vec![NatKind::FullCone], [true, true]),
        (vec![NatKind::RestrictedCone], [true, false]),
        (vec![NatKind::PortRestrictedCone], [false, false]),
        // The strictest of several decides.
        (
            vec![NatKind::FullCone, NatKind::RestrictedCone],
            [true, false],
        ),
        (
            vec![NatKind::PortRestrictedCone, NatKind::FullCone],
            [false, false],
        ),
        (vec![NatKind::FullCone, NatKind::None], [true, true]),
    ] {
        let home = internet.home(&kinds)?;
        let seen = look(&internet, &home)?;
        assert_eq!(seen.let_in, let_in, "{kinds:?}");
        assert_eq!(seen.mapped, [seen.mapped[0]; 3], "{kinds:?}");
        assert_eq!(seen.mapped[0].ip(), home.public, "{kinds:?}");
        let translated = kinds.iter().any(|kind| *kind != NatKind::None);
        assert_eq!(home.public != home.address, translated, "{kinds:?}");
    }
    Ok(())
}

#[test]
fn a_symmetric_router_takes_another_port_for_each_destination() -> Result<()> {
    if !possible() {
        return Ok(());
    }
    let internet = internet()?;
    for kinds in [
        vec![NatKind::Symmetric],
        vec![NatKind::Symmetric, NatKind::FullCone],
        vec![NatKind::FullCone, NatKind::Symmetric],
    ] {
        let seen = look(&internet, &internet.home(&kinds)?)?;
        assert_eq!(seen.let_in, [false, false], "{kinds:?}");
        let [first, port, other] = seen.mapped;
        // Three random ports of tens of thousands: two alike are possible, all three are not.
        assert!(
            first != port || port != other,
            "{kinds:?}: {:?}",
            seen.mapped
        );
    }
    Ok(())
}

#[test]
fn two_peers_behind_strict_cones_punch_a_hole() -> Result<()> {
    if !possible() {
        return Ok(());
    }
    let internet = internet()?;
    let server = bind(internet.namespace(), ONE)?;
    let mut peers = Vec::new();
    let mut buffer = [0; 16];
    for _ in 0..2 {
        let home = internet.home(&[NatKind::PortRestrictedCone])?;
        let socket = bind(&home.player, home.address)?;
        socket.send_to(b"where am I", server.local_addr()?)?;
        let (_, mapped) = server.recv_from(&mut buffer)?;
        peers.push((home, socket, mapped));
    }
    let [(_, one, at_one), (_, two, at_two)] = &peers[..] else {
        unreachable!("two were made");
    };
    // The first datagram meets a closed door, and must not spoil it.
    one.send_to(b"lost", at_two)?;
    two.send_to(b"hole", at_one)?;
    assert_eq!(one.recv_from(&mut buffer)?, (4, *at_two));
    one.send_to(b"heard", at_two)?;
    assert_eq!(two.recv_from(&mut buffer)?, (5, *at_one));
    Ok(())
}

#[test]
fn a_hairpin_reaches_the_own_mapping_where_there_is_one() -> Result<()> {
    if !possible() {
        return Ok(());
    }
    let internet = internet()?;
    let kinds = [NatKind::PortRestrictedCone];
    let mut buffer = [0; 16];
    for (home, turns) in [
        (internet.hairpinning_home(&kinds)?, true),
        (internet.home(&kinds)?, false),
    ] {
        let server = bind(internet.namespace(), ONE)?;
        let socket = bind(&home.player, home.address)?;
        let second = bind(&home.player, home.address)?;
        socket.send_to(b"out", server.local_addr()?)?;
        let (_, mapped) = server.recv_from(&mut buffer)?;
        second.send_to(b"around", mapped)?;
        server.send_to(b"end", mapped)?;
        let (length, from) = socket.recv_from(&mut buffer)?;
        assert_eq!(&buffer[..length] == b"around", turns);
        if turns {
            assert_eq!(from.ip(), home.public, "it comes from outside");
        }
    }
    let refused = internet.hairpinning_home(&[NatKind::Symmetric]);
    assert!(refused.is_err(), "nothing could be reached");
    Ok(())
}

#[test]
fn blocked_networks_pass_what_they_say_and_nothing_else() -> Result<()> {
    if !possible() {
        return Ok(());
    }
    let internet = internet()?;
    let listen = |ip| {
        internet
            .namespace()
            .within(move || TcpListener::bind((ip, 443)))
    };
    let (one, two) = (listen(ONE)??, listen(TWO)??);
    let proxy = std::net::SocketAddrV4::new(ONE, 443);
    for (kind, other_too) in [
        (NatKind::UdpBlocked, true),
        (NatKind::OnlyTcpTo(proxy), false),
    ] {
        let home = internet.home(&[kind])?;
        let connect = |to: SocketAddr| {
            home.player
                .within(|| TcpStream::connect_timeout(&to, Duration::from_millis(500)))
        };
        connect(one.local_addr()?)?.context("the one way out")?;
        assert_eq!(connect(two.local_addr()?)?.is_ok(), other_too, "{kind:?}");
        let server = bind(internet.namespace(), ONE)?;
        let player = bind(&home.player, home.address)?;
        player.send_to(b"out", server.local_addr()?)?;
        // TCP comes through afterwards, so the datagram is not merely late.
        connect(one.local_addr()?)?.context("the one way out")?;
        server.set_nonblocking(true)?;
        assert!(
            server.recv_from(&mut [0; 16]).is_err(),
            "{kind:?} passed UDP"
        );
    }
    Ok(())
}

#[test]
fn a_router_stands_on_links_with_delay_and_may_become_another_kind() -> Result<()> {
    if !possible() {
        return Ok(());
    }
    let hosts = ["player", "router", "server"].map(Namespace::new);
    let [player, router, server] = hosts;
    let (player, router, server) = (player?, router?, server?);
    let near = LinkEmulator::new(&player, &router, Profile::delay_ms(1), 1)?;
    let far = LinkEmulator::new(&router, &server, Profile::delay_ms(5), 2)?;
    route_default(&player, &near.port_a())?;
    let at_server = bind(&server, far.address_b())?;
    let mut buffer = [0; 16];
    let mut sources = Vec::new();
    for kind in [NatKind::FullCone, NatKind::Symmetric] {
        let nat = Nat::new(kind, &router, &near.port_b(), &far.port_a())?;
        assert_eq!(nat.kind(), kind);
        let socket = bind(&player, near.address_a())?;
        socket.send_to(b"out", at_server.local_addr()?)?;
        let (_, from) = at_server.recv_from(&mut buffer)?;
        assert_eq!(from.ip(), far.address_a());
        sources.push((socket.local_addr()?.port(), from.port()));
    }
    assert_eq!(sources[0].0, sources[0].1, "a cone keeps the port");
    assert_ne!(sources[1].0, sources[1].1, "a symmetric router does not");
    Ok(())
}
