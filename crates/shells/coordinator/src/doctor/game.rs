//! The game servers of a zone: login, char, map, as a game client goes through them.
//!
//! Packets are those of [`warp_ro_packet`]'s table for the zone's packet version. Where the zone says
//! none, or one whose way onto a map is not known, the trial ends before the map server is entered and
//! says so.

use std::{
    net::{SocketAddr, SocketAddrV4},
    sync::Arc,
    time::Duration,
};

use warp_protocol::zone::GameServer;
use warp_ro_packet::{PacketLength, PacketTable, Role, announced_addresses};

use super::{
    Finding, GameTrial, Outcome,
    line::{At, Line},
    session::Session,
};

/// AC_REFUSE_LOGIN, newer and older.
const REFUSE_LOGIN: [u16; 2] = [0x083E, 0x006A];
/// SC_NOTIFY_BAN, from any server.
const NOTIFY_BAN: u16 = 0x0081;
/// HC_REFUSE_ENTER.
const REFUSE_CHAR: u16 = 0x006C;
/// HC_ACCEPT_ENTER: the characters.
const CHARACTERS: u16 = 0x006B;
/// The state of the pin code.
const PIN_STATE: u16 = 0x08B9;
/// ZC_ACCEPT_ENTER of all versions.
const ACCEPT_MAP: [u16; 4] = [0x0073, 0x02EB, 0x0A18, 0x0B18];
/// ZC_REFUSE_ENTER.
const REFUSE_MAP: u16 = 0x0074;

/// What an account is told that is still online, and how often and when it tries again.
const STILL_ONLINE: &str = "the account is still online (packet 0081, code 8)";
const STILL_ONLINE_TRIES: u32 = 2;
const STILL_ONLINE_PAUSE: Duration = Duration::from_secs(2);

/// What the login server hands out.
struct Ticket {
    login_id1: u32,
    account: u32,
    login_id2: u32,
    sex: u8,
}

/// Tries login, char and map. Ends at the first step that fails.
/// `session`: who dials; none: this process.
pub(super) async fn play(
    game: &GameServer,
    trial: &GameTrial,
    session: Option<&Session>,
) -> Vec<Finding> {
    let mut found = Vec::new();
    // Before the map server all versions speak alike; the newest table knows the most.
    let table = PacketTable::for_version(game.packet_version);
    let usual = table
        .clone()
        .or_else(|| PacketTable::for_version(PacketTable::versions().last()?));
    let Some(usual) = usual else {
        return found;
    };
    let trial = Trial {
        game,
        trial,
        session,
    };
    let gone = go(trial, table.as_ref(), &usual, &mut found).await;
    if let Err(finding) = gone {
        found.push(finding);
    }
    found
}

/// What is tried, and from where.
#[derive(Clone, Copy)]
struct Trial<'a> {
    game: &'a GameServer,
    trial: &'a GameTrial,
    session: Option<&'a Session>,
}

async fn go(
    trial: Trial<'_>,
    table: Option<&Arc<PacketTable>>,
    usual: &Arc<PacketTable>,
    found: &mut Vec<Finding>,
) -> Result<(), Finding> {
    // The game ends an older connection of the account when another one comes, and refuses that one.
    let mut tries = 0;
    let (ticket, char_server) = loop {
        match login(trial, usual, found).await {
            Err(finding) if tries < STILL_ONLINE_TRIES && finding.came == STILL_ONLINE => {
                tries += 1;
                tokio::time::sleep(STILL_ONLINE_PAUSE).await;
            }
            outcome => break outcome?,
        }
    };
    let (character, map_server) = select(trial, &ticket, char_server, usual, found).await?;
    enter(trial, &ticket, character, map_server, table, found).await
}

async fn login(
    trial: Trial<'_>,
    table: &Arc<PacketTable>,
    found: &mut Vec<Finding>,
) -> Result<(Ticket, SocketAddr), Finding> {
    const STEP: &str = "login";
    let Trial {
        game,
        trial,
        session,
    } = trial;
    let tried = format!(
        "sign in as `{}` at the login server {}",
        trial.user, game.login
    );
    let at = At {
        step: STEP,
        tried: &tried,
        server: "login server",
        place: "`game.login` in the zone file",
        session,
    };
    let mut line = Line::open(&at, Role::Login, game.login, table).await?;
    let mut packet = Packet::new(0x0064);
    packet.u32(20);
    if !packet.text(&trial.user, 24) || !packet.text(trial.password.reveal(), 24) {
        let change = "the game takes names and passwords of at most 23 bytes; use another account";
        return Err(at.bad("the name or the password is too long", change));
    }
    packet.u8(1);
    line.send(&at, &packet.0).await?;
    let (id, frame) = line
        .until(&at, |id| is_announcing(id) || is_refusal(id))
        .await?;
    if !is_announcing(id) {
        return Err(refused_login(&at, id, &frame));
    }
    let ticket = Ticket {
        login_id1: u32_at(&frame, 4),
        account: u32_at(&frame, 8),
        login_id2: u32_at(&frame, 12),
        sex: frame.get(46).copied().unwrap_or(0),
    };
    let announced: Vec<SocketAddrV4> = announced_addresses(&frame).map(|a| a.address).collect();
    let Some(first) = announced.first().copied() else {
        let change = "no char server is connected to the login server: look whether it runs, and at its \
                      name and password for the login server (inter-server account)";
        return Err(at.bad("accepted, but no char server is announced", change));
    };
    let strange = announced
        .iter()
        .find(|address| !game.allows((**address).into()));
    if let Some(strange) = strange {
        return Err(not_allowed(&at, *strange, &game.char, "char_ip", "char"));
    }
    let came = format!("accepted; the char server is {first}");
    found.push(Finding::good(STEP, &tried, came));
    Ok((ticket, first.into()))
}

/// A server announces an address that the endpoint may not dial.
fn not_allowed(
    at: &At<'_>,
    strange: SocketAddrV4,
    known: &[SocketAddr],
    setting: &str,
    key: &str,
) -> Finding {
    let known: Vec<String> = known.iter().map(ToString::to_string).collect();
    let known = known.join(", ");
    let came = format!(
        "the {} announces {strange}, and the zone allows {known}",
        at.server
    );
    let change = format!(
        "the endpoint dials only what the zone names. Where {strange} is right, add it to `game.{key}` of \
         the zone file and put the zone again. Where it is not, correct `{setting}` of the game server; \
         and if it runs rAthena, look into conf/subnet_athena.conf, which answers clients of some networks \
         (the endpoint is one) with another address"
    );
    at.bad(came, change)
}

fn refused_login(at: &At<'_>, id: u16, frame: &[u8]) -> Finding {
    let code = match id {
        0x083E => u32_at(frame, 2),
        _ => frame.get(2).copied().unwrap_or(0).into(),
    };
    if id == NOTIFY_BAN {
        return notified(at, code);
    }
    let (what, change) = match code {
        0 => (
            "unknown account",
            "make the account in the game, or name another one with --user",
        ),
        1 => (
            "wrong password",
            "give the account's password in --password-file (first line)",
        ),
        4 => (
            "the account is blocked",
            "unblock it in the game's account table, or use another one",
        ),
        5 => (
            "the game wants another client version",
            "set the check of client versions in the login server's configuration to the version of your \
             clients",
        ),
        _ => ("refused", "the login server's log says why"),
    };
    at.bad(format!("{what} (packet {id:04X}, code {code})"), change)
}

fn notified(at: &At<'_>, code: u32) -> Finding {
    let (what, change) = match code {
        8 => {
            let change = "wait until its last connection has ended, or use an account that nobody plays with";
            return at.bad(STILL_ONLINE, change);
        }
        1 => (
            "the server is closed",
            "open it, or wait until it has finished starting",
        ),
        15 => (
            "the server takes no more from this address",
            "raise its limit for the endpoint's address",
        ),
        _ => ("the server sends the client away", "its log says why"),
    };
    at.bad(format!("{what} (packet 0081, code {code})"), change)
}

async fn select(
    trial: Trial<'_>,
    ticket: &Ticket,
    server: SocketAddr,
    table: &Arc<PacketTable>,
    found: &mut Vec<Finding>,
) -> Result<(u32, SocketAddr), Finding> {
    const STEP: &str = "char";
    let Trial {
        game,
        trial,
        session,
    } = trial;
    let tried = format!(
        "choose the character in slot {} at the char server {server}",
        trial.slot
    );
    let at = At {
        step: STEP,
        tried: &tried,
        server: "char server",
        place: "the address that the login server announces (`char_ip`)",
        session,
    };
    let mut line = Line::open(&at, Role::Char, server, table).await?;
    let mut packet = Packet::new(0x0065);
    packet.u32(ticket.account);
    packet.u32(ticket.login_id1);
    packet.u32(ticket.login_id2);
    packet.u16(0);
    packet.u8(ticket.sex);
    line.send(&at, &packet.0).await?;
    let pin_or_list =
        |id| id == PIN_STATE || id == REFUSE_CHAR || id == NOTIFY_BAN || id == CHARACTERS;
    let (mut id, mut frame) = line.until(&at, pin_or_list).await?;
    if id == CHARACTERS {
        // The state of the pin comes behind it, where the server has one.
        if let Ok(next) = line
            .until(&at, |id| id == PIN_STATE || id == REFUSE_CHAR)
            .await
        {
            (id, frame) = next;
        }
    }
    match id {
        NOTIFY_BAN => return Err(notified(&at, frame.get(2).copied().unwrap_or(0).into())),
        REFUSE_CHAR => {
            let change = "the char server does not know the session that the login server gave: look at \
                          its connection to the login server, and at the clocks of both";
            return Err(at.bad("refused (packet 006C)", change));
        }
        PIN_STATE if frame.get(10..12).is_some_and(|state| state != [0, 0]) => {
            let change = "this trial enters no pin: use an account without one, or switch the pin code off \
                          on the char server";
            return Err(at.bad("the char server asks for a pin code", change));
        }
        _ => {}
    }
    let mut packet = Packet::new(0x0066);
    packet.u8(trial.slot);
    line.send(&at, &packet.0).await?;
    let wanted = |id| is_announcing(id) || id == REFUSE_CHAR || id == NOTIFY_BAN;
    let (id, frame) = line.until(&at, wanted).await?;
    if !is_announcing(id) {
        let change = "make a character of that account in the slot, or name another with --slot";
        return Err(at.bad(format!("refused (packet {id:04X})"), change));
    }
    let Some(map) = announced_addresses(&frame).next().map(|a| a.address) else {
        let change = "look whether a map server is connected to the char server";
        return Err(at.bad("no map server is announced", change));
    };
    if !game.allows(map.into()) {
        return Err(not_allowed(&at, map, &game.map, "map_ip", "map"));
    }
    found.push(Finding::good(
        STEP,
        &tried,
        format!("the map server is {map}"),
    ));
    Ok((u32_at(&frame, 2), map.into()))
}

async fn enter(
    Trial { game, session, .. }: Trial<'_>,
    ticket: &Ticket,
    character: u32,
    server: SocketAddr,
    table: Option<&Arc<PacketTable>>,
    found: &mut Vec<Finding>,
) -> Result<(), Finding> {
    const STEP: &str = "map";
    let tried = format!("enter the map at the map server {server}");
    let at = At {
        step: STEP,
        tried: &tried,
        server: "map server",
        place: "the address that the char server announces (`map_ip`)",
        session,
    };
    let version = game.packet_version;
    let packet = table.and_then(|table| enter_packet(table, ticket, character));
    let (Some(table), Some(packet)) = (table, packet) else {
        let came = format!("how clients of version {version} enter a map is not known here");
        let change = "set `game.packet_version` of the zone to a version that is known, or play once by hand";
        let skipped = Outcome::Skipped;
        return Err(Finding::not_good(skipped, STEP, &tried, came, change));
    };
    let mut line = Line::open(&at, Role::Map, server, table).await?;
    line.send(&at, &packet).await?;
    let wanted =
        |id: u16| ACCEPT_MAP.contains(&id) || id == REFUSE_MAP || id == NOTIFY_BAN || id == 0x006A;
    let (id, frame) = line.until(&at, wanted).await?;
    if !ACCEPT_MAP.contains(&id) {
        if id == NOTIFY_BAN {
            return Err(notified(&at, frame.get(2).copied().unwrap_or(0).into()));
        }
        let change = "the map server does not take the session: look at its connection to the char server, \
                      and whether `game.packet_version` is the version that the map server was built for";
        return Err(at.bad(format!("refused (packet {id:04X})"), change));
    }
    // As a client does, so that the account is free again at once.
    if let Some(loaded) = table.roles().map_loaded {
        line.send(&at, &Packet::new(loaded).0).await?;
    }
    let mut quit = Packet::new(0x018A);
    quit.u16(0);
    line.send(&at, &quit.0).await?;
    let _ = line.until(&at, |id| id == 0x018B).await;
    found.push(Finding::good(STEP, &tried, "on the map"));
    Ok(())
}

/// CZ_ENTER of a version: ids and tick, and at its end the sex.
fn enter_packet(table: &PacketTable, ticket: &Ticket, character: u32) -> Option<Vec<u8>> {
    /// Newer versions have four zeros before the sex; both fit what the table says.
    const SHORT: u16 = 19;
    const LONG: u16 = 23;
    let id = table.roles().map_enter?;
    let length = match table.length_of(id)? {
        PacketLength::Fixed(length) if length == SHORT || length == LONG => length,
        _ => return None,
    };
    let mut packet = Packet::new(id);
    packet.u32(ticket.account);
    packet.u32(character);
    packet.u32(ticket.login_id1);
    packet.u32(1);
    packet.0.resize(usize::from(length) - 1, 0);
    packet.u8(ticket.sex);
    Some(packet.0)
}

fn is_announcing(id: u16) -> bool {
    warp_ro_packet::announces_addresses(id)
}

fn is_refusal(id: u16) -> bool {
    REFUSE_LOGIN.contains(&id) || id == NOTIFY_BAN
}

fn u32_at(frame: &[u8], at: usize) -> u32 {
    let bytes = frame.get(at..).and_then(|rest| rest.first_chunk());
    bytes.map_or(0, |bytes| u32::from_le_bytes(*bytes))
}

/// A packet that is being built, little-endian.
struct Packet(Vec<u8>);

impl Packet {
    fn new(id: u16) -> Self {
        Self(id.to_le_bytes().to_vec())
    }

    fn u8(&mut self, value: u8) {
        self.0.push(value);
    }

    fn u16(&mut self, value: u16) {
        self.0.extend(value.to_le_bytes());
    }

    fn u32(&mut self, value: u32) {
        self.0.extend(value.to_le_bytes());
    }

    /// A field of `width` bytes that ends with a zero. False where the text is too long.
    fn text(&mut self, text: &str, width: usize) -> bool {
        let end = self.0.len() + width;
        self.0.extend(text.as_bytes());
        let fits = self.0.len() < end;
        self.0.resize(end, 0);
        fits
    }
}
