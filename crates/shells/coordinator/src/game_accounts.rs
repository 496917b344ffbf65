//! Sign-in against the account table of a game server: players keep the account that they have.
//!
//! * Our own accounts come first: a name that is one of ours is never looked up in the table, so
//!   they work while the table's database is down. Nobody can take the name of a player of the
//!   table by registering it: with such a table `register` refuses names that are in it.
//! * The first sign-in makes a row of ours with the name as in the table and without a password, so
//!   that devices, revocations and refresh tokens are what they are for any account. The row keeps
//!   the account's number in the table and a keyed fingerprint of its password there.
//! * Each refresh looks at the table again. An account that is gone, blocked, banned, expired or has
//!   another password there gets no new tokens: what it was issued is revoked, its sessions end, and
//!   it has to sign in again.
//! * The table is only read, with bound parameters; each look takes at most [`LOOK_TIME`]. A
//!   connection serves one look: a database that is frozen spoils nothing for later.
//!
//! Where a name stands in the table twice, in different case, only the one that came first can sign
//! in here.

use std::{collections::BTreeMap, str::FromStr, time::Duration};

use md5::{Digest, Md5};
use ring::hmac;
use serde::Deserialize;
use sqlx::{AssertSqlSafe, Connection as _, MySqlConnection, mysql::MySqlConnectOptions};
use tokio::sync::Semaphore;
use warp_coordinator_core::{GameAccount, check_name};
use warp_protocol::{ProblemCode, Secret, rest::AccountRole};

use crate::{
    problem::Refused,
    store::{Account, Store},
    tokens::unix_now,
};

/// Longest that a look at the table may take, the wait for a turn included.
const LOOK_TIME: Duration = Duration::from_millis(1500);

/// Looks at once, each with a connection of its own.
const LOOKS: usize = 8;

/// The table where nothing else is said.
const TABLE: &str = "login";

/// Where the table of accounts is and how it is read.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "Part")]
pub struct GameAccountsConfig {
    /// `mysql://USER:PASSWORD@HOST:PORT/DATABASE`; a user that may only read.
    pub url: Secret,
    /// Name of the table.
    pub table: String,
    /// Passwords are stored as MD5 in hex, not plain.
    pub md5: bool,
    /// Roles of the table's groups; a group that is not named plays.
    pub roles: BTreeMap<i64, AccountRole>,
}

/// The same, in the configuration file.
#[derive(Deserialize)]
struct Part {
    url: Secret,
    table: Option<String>,
    #[serde(default)]
    md5: bool,
    #[serde(default)]
    roles: BTreeMap<String, AccountRole>,
}

impl GameAccountsConfig {
    /// What is allowed in the configuration file; with `why` where that holds nothing of the value.
    pub(crate) fn allowed(why: &impl ToString) -> String {
        let why = why.to_string();
        if why.starts_with('`') {
            return why;
        }
        let example = r#"{"url": "mysql://USER:PASSWORD@HOST:PORT/DATABASE", "table": "login", "md5": false, "roles": {"99": "admin"}}"#;
        format!("allowed is {example}, where all but `url` may be left out")
    }
}

impl TryFrom<Part> for GameAccountsConfig {
    type Error = &'static str;

    fn try_from(part: Part) -> Result<Self, &'static str> {
        let scheme = ["mysql://", "mariadb://"];
        let url = part.url.reveal();
        if !scheme.iter().any(|start| url.starts_with(start))
            || MySqlConnectOptions::from_str(url).is_err()
        {
            return Err("`url` is mysql://USER:PASSWORD@HOST:PORT/DATABASE");
        }
        let table = part.table.unwrap_or_else(|| TABLE.to_owned());
        let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
        if !(1..=64).contains(&table.len()) || !table.bytes().all(plain) {
            return Err("`table` is 1 to 64 letters, digits and '_'");
        }
        let roles = part.roles.into_iter();
        let roles = roles.map(|(group, role)| Some((group.parse().ok()?, role)));
        let roles = roles.collect::<Option<_>>();
        Ok(Self {
            roles: roles.ok_or("`roles` is {\"GROUP_ID\": \"player|host|gm|admin\"}")?,
            url: part.url,
            table,
            md5: part.md5,
        })
    }
}

/// How the row is found.
enum By<'a> {
    Name(&'a str),
    Id(i64),
}

/// A row of the table with its password.
struct Entry {
    account: GameAccount,
    password: Secret,
}

/// The columns that are read, as types that do not depend on how the table was made.
type Columns = (i64, String, String, String, i64, i64, i64, i64);

/// The account table of a game server.
pub(crate) struct GameAccounts {
    options: MySqlConnectOptions,
    select: String,
    md5: bool,
    roles: BTreeMap<i64, AccountRole>,
    key: hmac::Key,
    turns: Semaphore,
}

impl GameAccounts {
    /// `key` is a secret of this coordinator's, for fingerprints.
    pub(crate) fn new(config: &GameAccountsConfig, key: &[u8]) -> Self {
        // It was read once already.
        let options = MySqlConnectOptions::from_str(config.url.reveal()).unwrap_or_default();
        let text = |column| format!("CONVERT({column} USING utf8mb4)");
        let select = format!(
            "SELECT CAST(account_id AS SIGNED), {}, {}, {}, CAST(group_id AS SIGNED),
                 CAST(state AS SIGNED), CAST(unban_time AS SIGNED),
                 CAST(expiration_time AS SIGNED)
             FROM `{}`",
            text("userid"),
            text("user_pass"),
            text("sex"),
            config.table
        );
        Self {
            options,
            select,
            md5: config.md5,
            roles: config.roles.clone(),
            key: hmac::Key::new(hmac::HMAC_SHA256, key),
            turns: Semaphore::new(LOOKS),
        }
    }

    /// Is the name somebody's in the table?
    ///
    /// # Errors
    /// The table's database.
    pub(crate) async fn has(&self, name: &str) -> Result<bool, Refused> {
        Ok(self.look(By::Name(name)).await?.is_some())
    }

    /// Signs in with a name and password of the table; `known` is the account of that name here,
    /// if there is one, and is of the table. Gives `None` if name or password is wrong.
    ///
    /// # Errors
    /// `forbidden`: the password is right and the game keeps the account out. `name-taken`: the name
    /// stands for another one here. Faults.
    pub(crate) async fn sign_in(
        &self,
        store: &Store,
        name: &str,
        password: &Secret,
        known: Option<Account>,
    ) -> Result<Option<Account>, Refused> {
        let Some(entry) = self.look(By::Name(name)).await? else {
            return Ok(None);
        };
        // A collation may find more than was asked for.
        if !entry.account.name.eq_ignore_ascii_case(name) || !self.is_right(&entry, password) {
            return Ok(None);
        }
        let now = unix_now();
        entry.account.may_sign_in(now)?;
        let role = entry.account.role(&self.roles);
        let fingerprint = self.fingerprint(&entry);
        let known = match known {
            Some(known) => known,
            None => {
                let id = entry.account.id;
                let made = store
                    .add_game_account(&entry.account.name, role, id, &fingerprint, now)
                    .await?;
                if made {
                    tracing::info!(name, game_account = id, "first sign-in of a game's account");
                }
                // It may have been made by a sign-in beside this one, or renamed in the table.
                match store.game_account(id).await? {
                    Some(account) => account,
                    None => return Err(taken(name)),
                }
            }
        };
        let Some(game) = known.game.as_ref().filter(|g| g.id == entry.account.id) else {
            return Err(taken(name));
        };
        if game.fingerprint != fingerprint || known.role != role {
            let changed = game.fingerprint != fingerprint;
            store
                .change_game_account(known.id, role, &fingerprint, changed)
                .await?;
        }
        Ok(Some(Account { role, ..known }))
    }

    /// Looks whether the account may go on; gives it with the role that it has now. `None`: it may
    /// not, and what it was issued has been revoked.
    ///
    /// # Errors
    /// Faults.
    pub(crate) async fn go_on(
        &self,
        store: &Store,
        account: Account,
    ) -> Result<Option<Account>, Refused> {
        let Some(game) = &account.game else {
            return Ok(Some(account));
        };
        let now = unix_now();
        let entry = self.look(By::Id(game.id)).await?;
        let entry = entry.filter(|entry| {
            entry.account.may_sign_in(now).is_ok() && self.fingerprint(entry) == game.fingerprint
        });
        let Some(entry) = entry else {
            tracing::info!(
                account = account.id,
                name = account.name,
                "the game no longer lets this account in, or its password was changed there"
            );
            store.revoke_devices_of(account.id, now).await?;
            return Ok(None);
        };
        let role = entry.account.role(&self.roles);
        if role != account.role {
            store
                .change_game_account(account.id, role, &game.fingerprint, false)
                .await?;
        }
        Ok(Some(Account { role, ..account }))
    }

    fn is_right(&self, entry: &Entry, password: &Secret) -> bool {
        let (stored, typed) = (entry.password.reveal(), password.reveal());
        let (stored, typed) = if self.md5 {
            let typed = hex::encode(Md5::digest(typed.as_bytes()));
            (stored.to_ascii_lowercase(), typed)
        } else {
            (stored.to_owned(), typed.to_owned())
        };
        // Both hashed with a key: how far they agree cannot be measured.
        let tag = hmac::sign(&self.key, stored.as_bytes());
        !stored.is_empty() && hmac::verify(&self.key, typed.as_bytes(), tag.as_ref()).is_ok()
    }

    /// Tells a changed password from an unchanged one, and helps nobody to guess it.
    fn fingerprint(&self, entry: &Entry) -> Vec<u8> {
        let text = format!("game {} {}", entry.account.id, entry.password.reveal());
        hmac::sign(&self.key, text.as_bytes()).as_ref().to_vec()
    }

    async fn look(&self, by: By<'_>) -> Result<Option<Entry>, Refused> {
        match tokio::time::timeout(LOOK_TIME, self.ask(by)).await {
            Ok(Ok(found)) => Ok(found),
            Ok(Err(error)) => Err(down(&error)),
            Err(_) => Err(down(&"no answer in time")),
        }
    }

    async fn ask(&self, by: By<'_>) -> Result<Option<Entry>, sqlx::Error> {
        let _turn = self.turns.acquire().await;
        let mut connection = MySqlConnection::connect_with(&self.options).await?;
        let (column, name, id) = match by {
            By::Name(name) => ("userid", Some(name), None),
            By::Id(id) => ("account_id", None, Some(id)),
        };
        let select = format!("{} WHERE {column} = ? LIMIT 1", self.select);
        let query = sqlx::query_as::<_, Columns>(AssertSqlSafe(select));
        let query = match (name, id) {
            (Some(name), _) => query.bind(name.to_owned()),
            (None, id) => query.bind(id),
        };
        let found = query.fetch_optional(&mut connection).await?;
        let _ = connection.close().await;
        Ok(found.map(entry_of).filter(|entry| {
            // Names that cannot be an account's here stay the game's alone.
            check_name(&entry.account.name).is_ok()
        }))
    }
}

fn entry_of(
    (id, name, password, sex, group, state, unban_time, expiration_time): Columns,
) -> Entry {
    Entry {
        account: GameAccount {
            id,
            name,
            sex,
            group,
            state,
            unban_time,
            expiration_time,
        },
        password: Secret::new(password),
    }
}

fn down(error: &dyn std::fmt::Display) -> Refused {
    // What exactly failed is for the operator's log, not for a client.
    tracing::warn!(%error, "the game's account table");
    Refused::new(
        ProblemCode::CoordinatorFault,
        "the game's account database does not answer; try again later",
    )
}

fn taken(name: &str) -> Refused {
    Refused::new(
        ProblemCode::NameTaken,
        format!("the account name {name} stands for another account here; ask the staff"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_is_checked() {
        let read = |text: &str| serde_json::from_str::<GameAccountsConfig>(text);
        let config = read(
            r#"{"url": "mysql://reader:pw@localhost/ragnarok", "md5": true,
                "roles": {"99": "admin", "10": "gm"}}"#,
        )
        .unwrap();
        assert_eq!((config.table.as_str(), config.md5), ("login", true));
        assert_eq!(config.roles[&99], AccountRole::Admin);
        for (wrong, word) in [
            (r#"{"url": "postgres://a/b"}"#, "url"),
            (
                r#"{"url": "mysql://a/b", "table": "login` WHERE 1 -- "}"#,
                "table",
            ),
            (r#"{"url": "mysql://a/b", "table": ""}"#, "table"),
            (
                r#"{"url": "mysql://a/b", "roles": {"staff": "gm"}}"#,
                "roles",
            ),
        ] {
            let error = read(wrong).unwrap_err().to_string();
            assert!(error.contains(word), "{wrong}: {error}");
        }
    }
}
