//! Accounts.

use warp_protocol::rest::AccountRole;

use super::{Store, StoreError, corrupt, sql::sql};

/// An account as it is stored.
#[derive(Clone)]
pub(crate) struct Account {
    pub(crate) id: i64,
    pub(crate) name: String,
    pub(crate) role: AccountRole,
    /// argon2id, PHC string.
    pub(crate) password: String,
}

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
        let row = self.optional::<(i64,)>(insert).await?;
        Ok(row.map(|(id,)| id))
    }

    /// Looks an account up by name, in whatever case.
    pub(crate) async fn account(&self, name: &str) -> Result<Option<Account>, StoreError> {
        let query = sql("SELECT id, name, role, password FROM accounts WHERE lower(name) = $1")
            .bind(name.to_ascii_lowercase());
        self.optional(query).await?.map(account_of).transpose()
    }

    /// Looks an account up by its row id.
    pub(crate) async fn account_by_id(&self, id: i64) -> Result<Option<Account>, StoreError> {
        let query = sql("SELECT id, name, role, password FROM accounts WHERE id = $1").bind(id);
        self.optional(query).await?.map(account_of).transpose()
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
        let change = sql("UPDATE accounts SET role = $1, password = $2 WHERE id = $3")
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
    (id, name, role, password): (i64, String, String, String),
) -> Result<Account, StoreError> {
    Ok(Account {
        id,
        name,
        role: role_of(&role).ok_or_else(|| corrupt("account role"))?,
        password,
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
        assert_eq!(found.password, "$other");
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
