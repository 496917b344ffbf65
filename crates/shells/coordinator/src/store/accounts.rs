//! Accounts.

use sqlx::Row;
use warp_protocol::rest::AccountRole;

use super::{Store, StoreError, bounded, corrupt};

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
        bounded(async {
            let row = sqlx::query(
                "INSERT INTO accounts (name, role, password, created_at) VALUES (?, ?, ?, ?)
                 ON CONFLICT (name) DO NOTHING RETURNING id",
            )
            .bind(name)
            .bind(role_name(role))
            .bind(password)
            .bind(now)
            .fetch_optional(&self.pool)
            .await?;
            row.map(|row| row.try_get(0)).transpose()
        })
        .await
    }

    /// Looks an account up by name, in whatever case.
    pub(crate) async fn account(&self, name: &str) -> Result<Option<Account>, StoreError> {
        bounded(async {
            let row = sqlx::query("SELECT id, name, role, password FROM accounts WHERE name = ?")
                .bind(name)
                .fetch_optional(&self.pool)
                .await?;
            row.map(|row| account_of(&row)).transpose()
        })
        .await
    }

    /// Looks an account up by its row id.
    pub(crate) async fn account_by_id(&self, id: i64) -> Result<Option<Account>, StoreError> {
        bounded(async {
            let row = sqlx::query("SELECT id, name, role, password FROM accounts WHERE id = ?")
                .bind(id)
                .fetch_optional(&self.pool)
                .await?;
            row.map(|row| account_of(&row)).transpose()
        })
        .await
    }

    /// Changes the role alone: nobody has to sign in again. False if there is no such account.
    pub(crate) async fn set_role(&self, id: i64, role: AccountRole) -> Result<bool, StoreError> {
        bounded(async {
            let done = sqlx::query("UPDATE accounts SET role = $2 WHERE id = $1")
                .bind(id)
                .bind(role_name(role))
                .execute(&self.pool)
                .await?;
            Ok(done.rows_affected() > 0)
        })
        .await
    }

    /// Some of all accounts by name, with the time (unix seconds) that each was made, and how many
    /// there are.
    pub(crate) async fn accounts(
        &self,
        limit: i64,
        offset: i64,
    ) -> Result<(Vec<(Account, i64)>, i64), StoreError> {
        bounded(async {
            let rows = sqlx::query(
                "SELECT id, name, role, password, created_at FROM accounts
                 ORDER BY name, id LIMIT $1 OFFSET $2",
            )
            .bind(limit)
            .bind(offset)
            .fetch_all(&self.pool)
            .await?;
            let count = sqlx::query("SELECT count(*) FROM accounts")
                .fetch_one(&self.pool)
                .await?;
            let accounts: Result<Vec<_>, sqlx::Error> = rows
                .iter()
                .map(|row| Ok((account_of(row)?, row.try_get("created_at")?)))
                .collect();
            Ok((accounts?, count.try_get(0)?))
        })
        .await
    }

    /// When an account was made, unix seconds.
    pub(crate) async fn account_made_at(&self, id: i64) -> Result<Option<i64>, StoreError> {
        bounded(async {
            let row = sqlx::query("SELECT created_at FROM accounts WHERE id = $1")
                .bind(id)
                .fetch_optional(&self.pool)
                .await?;
            row.map(|row| row.try_get(0)).transpose()
        })
        .await
    }

    /// Changes password and role. Refresh tokens that were given out before are revoked.
    pub(crate) async fn change_account(
        &self,
        id: i64,
        role: AccountRole,
        password: &str,
    ) -> Result<(), StoreError> {
        bounded(async {
            let mut tx = self.pool.begin_with("BEGIN IMMEDIATE").await?;
            sqlx::query("UPDATE accounts SET role = ?, password = ? WHERE id = ?")
                .bind(role_name(role))
                .bind(password)
                .bind(id)
                .execute(&mut *tx)
                .await?;
            sqlx::query("UPDATE refresh_tokens SET revoked = 1 WHERE account_id = ?")
                .bind(id)
                .execute(&mut *tx)
                .await?;
            tx.commit().await
        })
        .await
    }
}

fn account_of(row: &sqlx::sqlite::SqliteRow) -> Result<Account, sqlx::Error> {
    Ok(Account {
        id: row.try_get("id")?,
        name: row.try_get("name")?,
        role: role_of(row.try_get("role")?).ok_or_else(|| corrupt("account role"))?,
        password: row.try_get("password")?,
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
