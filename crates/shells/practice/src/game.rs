//! The made-up world that both ends agree on.
//!
//! | | |
//! |---|---|
//! | accounts | `test1` to `test99`, the password is the name |
//! | ids of `testN` | AID 2000000+N, GID 150000+N, character `Practice N` in slot 0, male if N is odd |
//! | maps of the first map server | `prontera.gat`, `izlude.gat` |
//! | maps of the second | `geffen.gat` (on the first one if there is no second) |
//! | portals | `prontera.gat` (166,188) to `geffen.gat` (120,70); `geffen.gat` (124,70) to `prontera.gat` (160,187); `izlude.gat` (128,118) to `prontera.gat` (158,187) |
//! | chat commands | `@go 0` prontera, `@go 1` izlude, `@go 2` geffen |
//!
//! A change of map on the same server is announced by 0091, one to the other server by 0AC7 (0092
//! before 2017).

/// The highest account number.
pub const ACCOUNTS: u8 = 99;

/// How far a walk request may reach, in cells (rAthena's longest path).
pub const WALK_RANGE: u16 = 17;

/// The width and the height of every practice map, in cells.
pub const MAP_SIZE: u16 = 400;

/// The line every fresh login is greeted with.
pub const GREETING: &str = "Welcome to the practice game.";

/// What every numbered chat line of the practice client contains, so that a capture can be
/// searched for it.
pub const CHAT_MARKER: &str = "practice line";

/// One of the accounts `test1` to `test99`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Account(u8);

impl Account {
    /// Account number `number`, 1 to [`ACCOUNTS`].
    #[must_use]
    pub fn numbered(number: u8) -> Option<Self> {
        (1..=ACCOUNTS).contains(&number).then_some(Self(number))
    }

    /// The account with this user name, spelled exactly.
    #[must_use]
    pub fn by_user(user: &[u8]) -> Option<Self> {
        let digits = std::str::from_utf8(user).ok()?.strip_prefix("test")?;
        let account = Self::numbered(digits.parse().ok()?)?;
        (account.user().as_bytes() == user).then_some(account)
    }

    /// The account with this AID.
    #[must_use]
    pub fn by_aid(aid: u32) -> Option<Self> {
        Self::numbered(u8::try_from(aid.checked_sub(2_000_000)?).ok()?)
    }

    /// The user name, which is the password too.
    #[must_use]
    pub fn user(self) -> String {
        format!("test{}", self.0)
    }

    /// The account id, which also names the player's unit on a map.
    #[must_use]
    pub fn aid(self) -> u32 {
        2_000_000 + u32::from(self.0)
    }

    /// The id of the account's only character.
    #[must_use]
    pub fn gid(self) -> u32 {
        150_000 + u32::from(self.0)
    }

    /// The character's name.
    #[must_use]
    pub fn character(self) -> String {
        format!("Practice {}", self.0)
    }

    /// 1 male, 0 female.
    #[must_use]
    pub fn sex(self) -> u8 {
        self.0 % 2
    }

    /// A hair style 1 to 20, so that players differ.
    #[must_use]
    pub fn hair(self) -> u16 {
        u16::from(self.0 - 1) % 20 + 1
    }
}

/// A cell of a map.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Place {
    /// The map.
    pub map: Map,
    /// Column, from the west.
    pub x: u16,
    /// Row, from the south.
    pub y: u16,
}

impl Place {
    /// The cell `x`, `y` of `map`.
    #[must_use]
    pub const fn new(map: Map, x: u16, y: u16) -> Self {
        Self { map, x, y }
    }

    /// Where every character selection starts.
    pub const HOME: Place = Place::new(Map::Prontera, 156, 191);
}

/// The maps of the practice game.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Map {
    /// `prontera.gat`, on the first map server.
    Prontera,
    /// `izlude.gat`, on the first map server.
    Izlude,
    /// `geffen.gat`, on the second map server if there is one.
    Geffen,
}

/// A unit that sends who walks onto its cell somewhere else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Portal {
    /// The unit id of the portal.
    pub id: u32,
    /// Its name.
    pub name: &'static str,
    /// Where it stands.
    pub at: Place,
    /// Where it leads.
    pub to: Place,
}

const PORTALS: [Portal; 3] = [
    Portal {
        id: 110_000_001,
        name: "To Geffen",
        at: Place::new(Map::Prontera, 166, 188),
        to: Place::new(Map::Geffen, 120, 70),
    },
    Portal {
        id: 110_000_002,
        name: "To Prontera",
        at: Place::new(Map::Geffen, 124, 70),
        to: Place::new(Map::Prontera, 160, 187),
    },
    Portal {
        id: 110_000_003,
        name: "To Prontera",
        at: Place::new(Map::Izlude, 128, 118),
        to: Place::new(Map::Prontera, 158, 187),
    },
];

impl Map {
    /// All maps.
    pub const ALL: [Map; 3] = [Map::Prontera, Map::Izlude, Map::Geffen];

    /// The name as packets carry it, with `.gat`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Map::Prontera => "prontera.gat",
            Map::Izlude => "izlude.gat",
            Map::Geffen => "geffen.gat",
        }
    }

    /// The map of this name.
    #[must_use]
    pub fn by_name(name: &[u8]) -> Option<Map> {
        Self::ALL
            .into_iter()
            .find(|map| map.name().as_bytes() == name)
    }

    /// Where `@go` with the map's number leads.
    #[must_use]
    pub fn landing(self) -> Place {
        match self {
            Map::Prontera => Place::HOME,
            Map::Izlude => Place::new(Map::Izlude, 128, 114),
            Map::Geffen => Place::new(Map::Geffen, 120, 70),
        }
    }

    /// The argument of `@go` that leads here.
    #[must_use]
    pub fn go_number(self) -> u8 {
        match self {
            Map::Prontera => 0,
            Map::Izlude => 1,
            Map::Geffen => 2,
        }
    }

    /// The portal that stands on this map; each has one.
    #[must_use]
    pub fn portal(self) -> &'static Portal {
        let [prontera, geffen, izlude] = &PORTALS;
        match self {
            Map::Prontera => prontera,
            Map::Geffen => geffen,
            Map::Izlude => izlude,
        }
    }
}

/// What is answered to a chat text that begins as a command and is none: a line to the speaker
/// alone. `None` for a text that everybody gets to see.
pub(crate) fn unknown_command(message: &str) -> Option<String> {
    message
        .starts_with('@')
        .then(|| format!("{message} is Unknown Command."))
}

/// What a chat text asks for, if it is a command: the map of `@go N`.
pub(crate) fn go_target(message: &str) -> Option<Map> {
    let number = message.strip_prefix("@go ")?.parse::<u8>().ok()?;
    Map::ALL.into_iter().find(|map| map.go_number() == number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_are_spelled_exactly() {
        for (user, aid) in [(&b"test1"[..], 2_000_001), (b"test99", 2_000_099)] {
            let account = Account::by_user(user).unwrap();
            assert_eq!(account.aid(), aid);
            assert_eq!(account.user().as_bytes(), user);
            assert_eq!(Account::by_aid(aid), Some(account));
        }
        for user in [
            &b"test0"[..],
            b"test100",
            b"test01",
            b"test+1",
            b"Test1",
            b"test",
            b"\xff",
        ] {
            assert_eq!(Account::by_user(user), None, "{user:?}");
        }
        for aid in [0, 2_000_000, 2_000_100, 2_000_257, u32::MAX] {
            assert_eq!(Account::by_aid(aid), None, "{aid}");
        }
    }

    #[test]
    fn each_map_has_its_own_portal_within_a_walk_of_its_landing() {
        for map in Map::ALL {
            let (portal, landing) = (map.portal(), map.landing());
            assert_eq!(portal.at.map, map);
            assert_eq!(landing.map, map);
            assert_ne!((portal.at.x, portal.at.y), (landing.x, landing.y));
            assert!(portal.at.x.abs_diff(landing.x) <= WALK_RANGE);
            assert!(portal.at.y.abs_diff(landing.y) <= WALK_RANGE);
            assert_eq!(Map::by_name(map.name().as_bytes()), Some(map));
            assert_eq!(go_target(&format!("@go {}", map.go_number())), Some(map));
        }
        assert_eq!(go_target("@go 9"), None);
        assert_eq!(go_target("@go"), None);
        assert_eq!(go_target("hello"), None);
    }
}
