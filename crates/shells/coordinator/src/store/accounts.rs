//! Accounts.

use warp_protocol::rest::AccountRole;

use super::{Store, StoreError, corrupt, sql::sql};

/// An account as it is stored.
#[derive(Clone)]
pub(crate) struct Account {
    pub(crate) id: i64,
    pub(crate) name: String,
    pub(crate) role: AccountRole,
    /// argon2id, PHC string; none: an account of a game's table, which has none here.
    pub(crate) password: Option<String>,
    /// What it is in a game's table, if it came from there.
    pub(crate) game: Option<GameLink>,
}

/// What an account is in a game's table.
#[derive(Clone)]
pub(crate) struct GameLink {
    /// Its number there.
    pub(crate) id: i64,
    /// Keyed fingerprint of the password that it had there.
    pub(crate) fingerprint: Vec<u8>,
}

/// The columns of [`Account`].
type Columns = (i64, String, String, String, Option<i64>, Option<Vec<u8>>);

impl Store {
    /// Makes an account. Gives `None` if the name is taken, in whatever case.
    pub(crate) async fn add_account(
        &self,
        name: &str,
        role: AccountRole,
        password: &str,
        now: i64,
    ) -> Result<Option<i64>, StoreError> {
        let insert = sql("INSERT INTO accounts (name, role, password, created_at)
             VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING RETURNING id")
        .bind(name)
        .bind(role_name(role))
        .bind(password)
        .bind(now);
        let row = self.returning::<(i64,)>(insert).await?;
        Ok(row.map(|(id,)| id))
    }

    /// Looks an account up by name, in whatever case.
    pub(crate) async fn account(&self, name: &str) -> Result<Option<Account>, StoreError> {
        let query = sql("SELECT id, name, role, password, game_id, game_fingerprint
             FROM accounts WHERE lower(name) = $1")
        .bind(name.to_ascii_lowercase());
        self.optional(query).await?.map(account_of).transpose()
    }

    /// Looks an account up by its row id.
    pub(crate) async fn account_by_id(&self, id: i64) -> Result<Option<Account>, StoreError> {
        let query = sql("SELECT id, name, role, password, game_id, game_fingerprint
             FROM accounts WHERE id = $1")
        .bind(id);
        self.optional(query).await?.map(account_of).transpose()
    }

    /// What an account may do now, and after which time (unix seconds) its access tokens were issued
    /// that count; 0: all count.
    pub(crate) async fn standing(&self, id: i64) -> Result<Option<(AccountRole, i64)>, StoreError> {
        let query = sql("SELECT role, tokens_from FROM accounts WHERE id = $1").bind(id);
        let Some((role, from)) = self.optional::<(String, i64)>(query).await? else {
            return Ok(None);
        };
        let role = role_of(&role).ok_or_else(|| corrupt("account role"))?;
        Ok(Some((role, from)))
    }

    /// Makes an account for one of a game's table. Gives false if the name or the number is taken.
    pub(crate) async fn add_game_account(
        &self,
        name: &str,
        role: AccountRole,
        game_id: i64,
        fingerprint: &[u8],
        now: i64,
    ) -> Result<bool, StoreError> {
        let insert = sql(
            "INSERT INTO accounts (name, role, password, created_at, game_id, game_fingerprint)
             VALUES ($1, $2, '', $3, $4, $5) ON CONFLICT DO NOTHING",
        )
        .bind(name)
        .bind(role_name(role))
        .bind(now)
        .bind(game_id)
        .bind(fingerprint);
        Ok(self.execute(insert).await? == 1)
    }

    /// The account that stands for this number of a game's table.
    pub(crate) async fn game_account(&self, game_id: i64) -> Result<Option<Account>, StoreError> {
        let query = sql("SELECT id, name, role, password, game_id, game_fingerprint
             FROM accounts WHERE game_id = $1")
        .bind(game_id);
        self.optional(query).await?.map(account_of).transpose()
    }

    /// Changes what is known of an account of a game's table. With `revoke` refresh tokens that were
    /// given out before are revoked.
    pub(crate) async fn change_game_account(
        &self,
        id: i64,
        role: AccountRole,
        fingerprint: &[u8],
        revoke: bool,
    ) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        tx.hold_account(id).await?;
        let change = sql("UPDATE accounts SET role = $1, game_fingerprint = $2 WHERE id = $3")
            .bind(role_name(role))
            .bind(fingerprint)
            .bind(id);
        tx.execute(change).await?;
        if revoke {
            let revoke = sql("UPDATE refresh_tokens SET revoked = 1 WHERE account_id = $1");
            tx.execute(revoke.bind(id)).await?;
        }
        tx.commit().await
    }

    /// Changes password and role; an account of a game's table becomes one of ours. Refresh tokens that were given out before are revoked.
    /// Changes the role alone: nobody has to sign in again. False if there is no such account.
    pub(crate) async fn set_role(&self, id: i64, role: AccountRole) -> Result<bool, StoreError> {
        let set = sql("UPDATE accounts SET role = $1 WHERE id = $2");
        let changed = self.execute(set.bind(role_name(role)).bind(id)).await?;
        Ok(changed > 0)
    }

    /// Some of all accounts by name, with the time (unix seconds) that each was made, and how many
    /// there are.
    pub(crate) async fn accounts(
        &self,
        limit: i64,
        offset: i64,
    ) -> Result<(Vec<(Account, i64)>, i64), StoreError> {
        let query = sql(
            "SELECT id, name, role, password, game_id, game_fingerprint, created_at FROM accounts
             ORDER BY lower(name), id LIMIT $1 OFFSET $2",
        )
        .bind(limit)
        .bind(offset);
        type Row = (
            i64,
            String,
            String,
            String,
            Option<i64>,
            Option<Vec<u8>>,
            i64,
        );
        let rows = self.all::<Row>(query).await?;
        let accounts =
            rows.into_iter()
                .map(|(id, name, role, password, game, fingerprint, made)| {
                    let columns = (id, name, role, password, game, fingerprint);
                    Ok((account_of(columns)?, made))
                });
        let accounts: Result<Vec<_>, StoreError> = accounts.collect();
        let count = self.count(sql("SELECT count(*) FROM accounts")).await?;
        Ok((accounts?, count))
    }

    /// When an account was made, unix seconds.
    pub(crate) async fn account_made_at(&self, id: i64) -> Result<Option<i64>, StoreError> {
        let query = sql("SELECT created_at FROM accounts WHERE id = $1").bind(id);
        let row = self.optional::<(i64,)>(query).await?;
        Ok(row.map(|(made,)| made))
    }

    /// Changes password and role. Refresh tokens that were given out before are revoked.
    pub(crate) async fn change_account(
        &self,
        id: i64,
        role: AccountRole,
        password: &str,
    ) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        tx.hold_account(id).await?;
        let change = sql("UPDATE accounts SET role = $1, password = $2,
                 game_id = NULL, game_fingerprint = NULL WHERE id = $3")
        .bind(role_name(role))
        .bind(password)
        .bind(id);
        tx.execute(change).await?;
        let revoke = sql("UPDATE refresh_tokens SET revoked = 1 WHERE account_id = $1");
        tx.execute(revoke.bind(id)).await?;
        tx.commit().await
    }
}

fn account_of(
    (id, name, role, password, game_id, fingerprint): Columns,
) -> Result<Account, StoreError> {
    let game = match (game_id, fingerprint) {
        (Some(id), Some(fingerprint)) => Some(GameLink { id, fingerprint }),
        (None, None) => None,
        _ => return Err(corrupt("account of a game").into()),
    };
    Ok(Account {
        id,
        name,
        role: role_of(&role).ok_or_else(|| corrupt("account role"))?,
        password: Some(password).filter(|password| !password.is_empty()),
        game,
    })
}

/// The role's name, as in JSON.
pub(crate) fn role_name(role: AccountRole) -> &'static str {
    match role {
        AccountRole::Player => "player",
        AccountRole::Host => "host",
        AccountRole::Gm => "gm",
        AccountRole::Admin => "admin",
    }
}

fn role_of(name: &str) -> Option<AccountRole> {
    use AccountRole::{Admin, Gm, Host, Player};
    [Player, Host, Gm, Admin]
        .into_iter()
        .find(|role| role_name(*role) == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    crate::store::testing::on_both!(
        a_name_is_taken_and_found_in_whatever_case,
        a_name_is_given_to_one_of_many_who_want_it_at_once,
    );

    async fn a_name_is_taken_and_found_in_whatever_case(store: &Store) {
        let add = |name: &'static str| store.add_account(name, AccountRole::Player, "$phc", 7);
        let id = add("Alice").await.unwrap().unwrap();
        assert_eq!(add("aLICE").await.unwrap(), None);
        let found = store.account("ALICE").await.unwrap().unwrap();
        assert_eq!((found.id, found.name.as_str()), (id, "Alice"));
        store
            .change_account(id, AccountRole::Gm, "$other")
            .await
            .unwrap();
        let found = store.account_by_id(id).await.unwrap().unwrap();
        assert_eq!(found.role, AccountRole::Gm);
        let standing = store.standing(id).await.unwrap();
        assert_eq!(standing, Some((AccountRole::Gm, 0)));
        assert_eq!(store.standing(id + 1).await.unwrap(), None);
        assert_eq!(found.password.as_deref(), Some("$other"));
        // No database may choke on what somebody types.
        for nobody in ["", "a\0b", "Älice", "'; DROP TABLE accounts; --"] {
            assert!(store.account(nobody).await.unwrap().is_none(), "{nobody:?}");
        }
    }

    async fn a_name_is_given_to_one_of_many_who_want_it_at_once(store: &Store) {
        let mut adding = tokio::task::JoinSet::new();
        for name in ["alice", "ALICE", "Alice", "aLiCe", "alicE", "AlicE"] {
            let store = store.clone();
            let add = async move {
                store
                    .add_account(name, AccountRole::Player, "$phc", 0)
                    .await
            };
            adding.spawn(add);
        }
        let made = adding.join_all().await;
        let made = made.into_iter().filter(|made| matches!(made, Ok(Some(_))));
        assert_eq!(made.count(), 1);
    }
}
