//! Accounts of a game server's own table (rAthena's `login`, and those like it), and whether one
//! may sign in here.
//!
//! | column | meaning |
//! |---|---|
//! | `account_id` | number of the account; it stays when the name changes |
//! | `userid`, `user_pass` | name and password, the latter plain or as MD5 in lower-case hex |
//! | `sex` | `M`, `F`, or `S`: the account of another server |
//! | `group_id` | what the account may do; an operator says which of our roles that is |
//! | `state` | 0, or the number that the login server refuses the account with, less one |
//! | `unban_time` | unix seconds; until then the account is banned; 0: never |
//! | `expiration_time` | unix seconds; from then on the account has expired; 0: never |

use std::collections::BTreeMap;

use warp_protocol::{ProblemCode, rest::AccountRole};

use crate::access::Refusal;

/// A row of the table, without the password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GameAccount {
    /// `account_id`.
    pub id: i64,
    /// `userid`.
    pub name: String,
    /// `sex`.
    pub sex: String,
    /// `group_id`.
    pub group: i64,
    /// `state`.
    pub state: i64,
    /// `unban_time`.
    pub unban_time: i64,
    /// `expiration_time`.
    pub expiration_time: i64,
}

impl GameAccount {
    /// May it be signed in to at `now` (unix seconds)? The account of a server is nobody's.
    ///
    /// # Errors
    /// `forbidden`.
    pub fn may_sign_in(&self, now: i64) -> Result<(), Refusal> {
        let why = if self.sex.eq_ignore_ascii_case("S") {
            "this is the account of a game server, not of a player"
        } else if self.state != 0 {
            "the game has blocked this account; ask its staff"
        } else if self.unban_time > now {
            "the game has banned this account for a time; ask its staff"
        } else if self.expiration_time != 0 && self.expiration_time <= now {
            "this account of the game has expired; ask its staff"
        } else {
            return Ok(());
        };
        Err(Refusal {
            code: ProblemCode::Forbidden,
            why,
        })
    }

    /// Its role here: the one of its group, else that of a player.
    pub fn role(&self, roles: &BTreeMap<i64, AccountRole>) -> AccountRole {
        let role = roles.get(&self.group).copied();
        role.unwrap_or(AccountRole::Player)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account() -> GameAccount {
        GameAccount {
            id: 2_000_000,
            name: "Alice".into(),
            sex: "F".into(),
            group: 0,
            state: 0,
            unban_time: 0,
            expiration_time: 0,
        }
    }

    #[test]
    fn blocked_banned_expired_and_server_accounts_may_not_sign_in() {
        type Change = fn(&mut GameAccount);
        let cases: [(&str, Change, bool); 9] = [
            ("as it is", |_| {}, true),
            ("a server's", |a| a.sex = "S".into(), false),
            ("blocked", |a| a.state = 5, false),
            ("banned", |a| a.unban_time = 101, false),
            ("until now", |a| a.unban_time = 100, true),
            ("expired", |a| a.expiration_time = 100, false),
            ("not yet", |a| a.expiration_time = 101, true),
            ("long ago", |a| a.expiration_time = 1, false),
            ("ban over", |a| a.unban_time = 1, true),
        ];
        for (name, change, expected) in cases {
            let mut account = account();
            change(&mut account);
            let verdict = account.may_sign_in(100);
            assert_eq!(verdict.is_ok(), expected, "{name}");
            if let Err(refusal) = verdict {
                assert_eq!(refusal.code, ProblemCode::Forbidden);
            }
        }
    }

    #[test]
    fn groups_have_the_roles_that_the_operator_gave_them() {
        let roles = BTreeMap::from([(99, AccountRole::Admin), (10, AccountRole::Gm)]);
        for (group, expected) in [
            (0, AccountRole::Player),
            (10, AccountRole::Gm),
            (11, AccountRole::Player),
            (99, AccountRole::Admin),
            (-1, AccountRole::Player),
        ] {
            let account = GameAccount { group, ..account() };
            assert_eq!(account.role(&roles), expected, "group {group}");
        }
    }
}
