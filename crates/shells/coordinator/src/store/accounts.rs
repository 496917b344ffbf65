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
