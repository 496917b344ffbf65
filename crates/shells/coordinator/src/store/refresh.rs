//! Refresh tokens. Only their SHA-256 is stored.
//!
//! A token works once. Trading it gives the next one of its family. A token that comes a second
//! time has been copied by somebody: nobody can tell which side is the owner's, so the whole family
//! ends and both sides have to sign in.

use sqlx::Row;

use super::{Store, StoreError, bounded};

/// Sign-ins of one account that are remembered; older ones end.
const FAMILIES_PER_ACCOUNT: i64 = 32;

/// A token to be stored.
pub(crate) struct NewRefresh {
    /// SHA-256 of the token.
    pub(crate) hash: Vec<u8>,
    /// Unix seconds.
    pub(crate) issued_at: i64,
    /// Unix seconds.
    pub(crate) expires_at: i64,
}

/// What became of a token that was to be traded.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Rotation {
    /// The new one counts; this is whose it is.
    Done {
        /// Row id of the account.
        account: i64,
    },
    /// Never issued, expired or revoked.
    Unknown,
    /// It was used before: its family has been revoked.
    Reused {
        /// Row id of the account.
        account: i64,
    },
}

impl Store {
    /// Stores the first token of a new family.
    pub(crate) async fn start_family(
        &self,
        account: i64,
        family: &[u8],
        token: &NewRefresh,
    ) -> Result<(), StoreError> {
        bounded(async {
            let mut tx = self.pool.begin_with("BEGIN IMMEDIATE").await?;
            insert(&mut tx, account, family, token).await?;
            sqlx::query(
                "DELETE FROM refresh_tokens WHERE account_id = ?1 AND family NOT IN (
                     SELECT family FROM refresh_tokens WHERE account_id = ?1
                     GROUP BY family ORDER BY max(issued_at) DESC, family = ?2 DESC LIMIT ?3)",
            )
            .bind(account)
            .bind(family)
            .bind(FAMILIES_PER_ACCOUNT)
            .execute(&mut *tx)
            .await?;
            tx.commit().await
        })
        .await
    }

    /// Trades the token with `hash` for `next`.
    pub(crate) async fn rotate(
        &self,
        hash: &[u8],
        next: &NewRefresh,
    ) -> Result<Rotation, StoreError> {
        bounded(async {
            // Two trades of one token must not both see it unused: the second waits here.
            let mut tx = self.pool.begin_with("BEGIN IMMEDIATE").await?;
            let found = sqlx::query(
                "SELECT family, account_id, used_at FROM refresh_tokens
                 WHERE hash = ? AND revoked = 0 AND expires_at > ?",
            )
            .bind(hash)
            .bind(next.issued_at)
            .fetch_optional(&mut *tx)
            .await?;
            let Some(row) = found else {
                return Ok(Rotation::Unknown);
            };
            let family: Vec<u8> = row.try_get("family")?;
            let account: i64 = row.try_get("account_id")?;
            let outcome = if row.try_get::<Option<i64>, _>("used_at")?.is_some() {
                sqlx::query("UPDATE refresh_tokens SET revoked = 1 WHERE family = ?")
                    .bind(&family)
                    .execute(&mut *tx)
                    .await?;
                Rotation::Reused { account }
            } else {
                sqlx::query("UPDATE refresh_tokens SET used_at = ? WHERE hash = ?")
                    .bind(next.issued_at)
                    .bind(hash)
                    .execute(&mut *tx)
                    .await?;
                insert(&mut tx, account, &family, next).await?;
                Rotation::Done { account }
            };
            tx.commit().await?;
            Ok(outcome)
        })
        .await
    }

    /// Whose token that is or was; none: it was never issued, or long ago.
    pub(crate) async fn owner_of(&self, hash: &[u8]) -> Result<Option<i64>, StoreError> {
        bounded(async {
            let row = sqlx::query("SELECT account_id FROM refresh_tokens WHERE hash = $1")
                .bind(hash)
                .fetch_optional(&self.pool)
                .await?;
            row.map(|row| row.try_get(0)).transpose()
        })
        .await
    }

    /// Ends the family of a token, if it is that account's.
    pub(crate) async fn revoke_family(&self, account: i64, hash: &[u8]) -> Result<(), StoreError> {
        bounded(async {
            sqlx::query(
                "UPDATE refresh_tokens SET revoked = 1 WHERE account_id = ?
                 AND family = (SELECT family FROM refresh_tokens WHERE hash = ?)",
            )
            .bind(account)
            .bind(hash)
            .execute(&self.pool)
            .await?;
            Ok(())
        })
        .await
    }

    /// Forgets tokens that have expired. Gives how many.
    pub(crate) async fn forget_expired(&self, now: i64) -> Result<u64, StoreError> {
        bounded(async {
            let done = sqlx::query("DELETE FROM refresh_tokens WHERE expires_at <= ?")
                .bind(now)
                .execute(&self.pool)
                .await?;
            Ok(done.rows_affected())
        })
        .await
    }
}

async fn insert(
    tx: &mut sqlx::SqliteConnection,
    account: i64,
    family: &[u8],
    token: &NewRefresh,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO refresh_tokens (hash, family, account_id, issued_at, expires_at)
         VALUES (?, ?, ?, ?, ?)",
    )
    .bind(&token.hash)
    .bind(family)
    .bind(account)
    .bind(token.issued_at)
    .bind(token.expires_at)
    .execute(tx)
    .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use warp_protocol::rest::AccountRole;

    fn token(n: u8, at: i64) -> NewRefresh {
        NewRefresh {
            hash: vec![n; 32],
            issued_at: at,
            expires_at: at + 100,
        }
    }

    async fn store() -> (tempfile::TempDir, Store, i64) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).await.unwrap();
        let account = store
            .add_account("alice", AccountRole::Player, "$phc", 0)
            .await
            .unwrap()
            .unwrap();
        (dir, store, account)
    }

    #[tokio::test]
    async fn a_token_works_once_and_its_reuse_ends_the_family() {
        let (_dir, store, account) = store().await;
        store
            .start_family(account, b"f", &token(1, 0))
            .await
            .unwrap();
        let done = Rotation::Done { account };
        assert_eq!(store.rotate(&[1; 32], &token(2, 1)).await.unwrap(), done);
        assert_eq!(
            store.rotate(&[1; 32], &token(3, 2)).await.unwrap(),
            Rotation::Reused { account }
        );
        // The rightful next one is gone with the family.
        for hash in [[1; 32], [2; 32], [3; 32]] {
            assert_eq!(
                store.rotate(&hash, &token(4, 3)).await.unwrap(),
                Rotation::Unknown
            );
        }
    }

    #[tokio::test]
    async fn a_trade_of_one_token_by_many_at_once_succeeds_once() {
        let (_dir, store, account) = store().await;
        store
            .start_family(account, b"f", &token(1, 0))
            .await
            .unwrap();
        let mut trades = tokio::task::JoinSet::new();
        for n in 10..14 {
            let store = store.clone();
            trades.spawn(async move { store.rotate(&[1; 32], &token(n, 1)).await.unwrap() });
        }
        let outcomes = trades.join_all().await;
        let done = outcomes
            .iter()
            .filter(|o| matches!(o, Rotation::Done { .. }))
            .count();
        assert_eq!(done, 1, "{outcomes:?}");
    }

    #[tokio::test]
    async fn expired_tokens_are_unknown_and_forgotten() {
        let (_dir, store, account) = store().await;
        store
            .start_family(account, b"f", &token(1, 0))
            .await
            .unwrap();
        assert_eq!(
            store.rotate(&[1; 32], &token(2, 100)).await.unwrap(),
            Rotation::Unknown
        );
        assert_eq!(store.forget_expired(99).await.unwrap(), 0);
        assert_eq!(store.forget_expired(100).await.unwrap(), 1);
    }

    #[tokio::test]
    async fn logout_ends_only_ones_own_family_and_old_sign_ins_are_dropped() {
        let (_dir, store, account) = store().await;
        let other = store
            .add_account("bob", AccountRole::Player, "$phc", 0)
            .await
            .unwrap()
            .unwrap();
        store
            .start_family(account, b"f", &token(1, 0))
            .await
            .unwrap();
        store.revoke_family(other, &[1; 32]).await.unwrap();
        let done = Rotation::Done { account };
        assert_eq!(store.rotate(&[1; 32], &token(2, 1)).await.unwrap(), done);
        store.revoke_family(account, &[2; 32]).await.unwrap();
        assert_eq!(
            store.rotate(&[2; 32], &token(3, 2)).await.unwrap(),
            Rotation::Unknown
        );
        for n in 100..133 {
            let (family, token) = ([n], token(n, i64::from(n)));
            store.start_family(account, &family, &token).await.unwrap();
        }
        // 33 later sign-ins: the oldest of them is gone, the next is not.
        assert_eq!(
            store.rotate(&[100; 32], &token(200, 140)).await.unwrap(),
            Rotation::Unknown
        );
        assert_eq!(
            store.rotate(&[101; 32], &token(201, 140)).await.unwrap(),
            done
        );
    }
}
