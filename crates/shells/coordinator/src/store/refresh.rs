//! Refresh tokens. Only their SHA-256 is stored.
//!
//! A token works once. Trading it gives the next one of its family. A token that comes a second
//! time has been copied by somebody: nobody can tell which side is the owner's, so the whole family
//! ends and both sides have to sign in.

use super::{
    Store, StoreError,
    sql::{Sql, sql},
};

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
        let mut tx = self.begin().await?;
        tx.hold_account(account).await?;
        tx.execute(insertion(account, family, token)).await?;
        let forget = sql(
            "DELETE FROM refresh_tokens WHERE account_id = $1 AND family NOT IN (
                 SELECT family FROM refresh_tokens WHERE account_id = $1
                 GROUP BY family ORDER BY max(issued_at) DESC, family = $2 DESC LIMIT $3)",
        )
        .bind(account)
        .bind(family)
        .bind(FAMILIES_PER_ACCOUNT);
        tx.execute(forget).await?;
        tx.commit().await
    }

    /// Whose the token with `hash` is, used or not; `None`: never issued, expired or revoked.
    pub(crate) async fn owner_of(&self, hash: &[u8], now: i64) -> Result<Option<i64>, StoreError> {
        let query = sql("SELECT account_id FROM refresh_tokens
             WHERE hash = $1 AND revoked = 0 AND expires_at > $2")
        .bind(hash)
        .bind(now);
        let row = self.optional::<(i64,)>(query).await?;
        Ok(row.map(|(account,)| account))
    }

    /// Trades the token with `hash` for `next`.
    pub(crate) async fn rotate(
        &self,
        hash: &[u8],
        next: &NewRefresh,
    ) -> Result<Rotation, StoreError> {
        let Some(account) = self.owner_of(hash, next.issued_at).await? else {
            return Ok(Rotation::Unknown);
        };
        // Two trades of one token must not both see it unused, and nobody may revoke a family while
        // its next token is entered: whoever comes second waits here.
        let mut tx = self.begin().await?;
        tx.hold_account(account).await?;
        let query = sql("SELECT family, used_at FROM refresh_tokens
             WHERE hash = $1 AND revoked = 0 AND expires_at > $2")
        .bind(hash)
        .bind(next.issued_at);
        let outcome = match tx.optional::<(Vec<u8>, Option<i64>)>(query).await? {
            None => Rotation::Unknown,
            Some((family, Some(_))) => {
                let revoke = sql("UPDATE refresh_tokens SET revoked = 1 WHERE family = $1");
                tx.execute(revoke.bind(family)).await?;
                Rotation::Reused { account }
            }
            Some((family, None)) => {
                let used = sql("UPDATE refresh_tokens SET used_at = $1 WHERE hash = $2")
                    .bind(next.issued_at)
                    .bind(hash);
                tx.execute(used).await?;
                tx.execute(insertion(account, &family, next)).await?;
                Rotation::Done { account }
            }
        };
        tx.commit().await?;
        Ok(outcome)
    }

    /// Ends the family of a token, if it is that account's.
    pub(crate) async fn revoke_family(&self, account: i64, hash: &[u8]) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        tx.hold_account(account).await?;
        let revoke = sql("UPDATE refresh_tokens SET revoked = 1 WHERE account_id = $1
             AND family = (SELECT family FROM refresh_tokens WHERE hash = $2)")
        .bind(account)
        .bind(hash);
        tx.execute(revoke).await?;
        tx.commit().await
    }

    /// Ends every family of an account.
    pub(crate) async fn revoke_families(&self, account: i64) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        tx.hold_account(account).await?;
        let revoke = sql("UPDATE refresh_tokens SET revoked = 1 WHERE account_id = $1");
        tx.execute(revoke.bind(account)).await?;
        tx.commit().await
    }

    /// Forgets tokens that have expired. Gives how many.
    pub(crate) async fn forget_expired(&self, now: i64) -> Result<u64, StoreError> {
        let forget = sql("DELETE FROM refresh_tokens WHERE expires_at <= $1").bind(now);
        self.execute(forget).await
    }
}

fn insertion(account: i64, family: &[u8], token: &NewRefresh) -> Sql {
    sql(
        "INSERT INTO refresh_tokens (hash, family, account_id, issued_at, expires_at)
         VALUES ($1, $2, $3, $4, $5)",
    )
    .bind(token.hash.as_slice())
    .bind(family)
    .bind(account)
    .bind(token.issued_at)
    .bind(token.expires_at)
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

    async fn alice(store: &Store) -> i64 {
        let made = store.add_account("alice", AccountRole::Player, "$phc", 0);
        made.await.unwrap().unwrap()
    }

    crate::store::testing::on_both!(
        a_token_works_once_and_its_reuse_ends_the_family,
        a_trade_of_one_token_by_many_at_once_succeeds_once,
        a_revocation_beside_trades_leaves_no_token_that_works,
        expired_tokens_are_unknown_and_forgotten,
        logout_ends_only_ones_own_family_and_old_sign_ins_are_dropped,
    );

    async fn a_token_works_once_and_its_reuse_ends_the_family(store: &Store) {
        let account = alice(store).await;
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

    async fn a_trade_of_one_token_by_many_at_once_succeeds_once(store: &Store) {
        let account = alice(store).await;
        store
            .start_family(account, b"f", &token(1, 0))
            .await
            .unwrap();
        let mut trades = tokio::task::JoinSet::new();
        for n in 10..26 {
            let store = store.clone();
            trades.spawn(async move { store.rotate(&[1; 32], &token(n, 1)).await.unwrap() });
        }
        let outcomes = trades.join_all().await;
        let count = |which: fn(&Rotation) -> bool| outcomes.iter().filter(|o| which(o)).count();
        assert_eq!(
            count(|o| matches!(o, Rotation::Done { .. })),
            1,
            "{outcomes:?}"
        );
        // The second one ended the family; the others found nothing any more.
        assert_eq!(
            count(|o| matches!(o, Rotation::Reused { .. })),
            1,
            "{outcomes:?}"
        );
        for n in 10..26 {
            let next = store.rotate(&[n; 32], &token(100 + n, 2)).await.unwrap();
            assert_eq!(next, Rotation::Unknown, "token {n} of an ended family");
        }
    }

    async fn a_revocation_beside_trades_leaves_no_token_that_works(store: &Store) {
        let account = alice(store).await;
        for round in 0..20_u8 {
            let first = token(round, 0);
            store.start_family(account, &[round], &first).await.unwrap();
            let next = token(100 + round, 1);
            let (traded, revoked) = tokio::join!(
                store.rotate(&first.hash, &next),
                store.revoke_devices_of(account, 1)
            );
            revoked.unwrap();
            let traded = traded.unwrap();
            for hash in [&first.hash, &next.hash] {
                let left = store.owner_of(hash, 2).await.unwrap();
                assert_eq!(left, None, "round {round}: {traded:?}");
            }
        }
    }

    async fn expired_tokens_are_unknown_and_forgotten(store: &Store) {
        let account = alice(store).await;
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

    async fn logout_ends_only_ones_own_family_and_old_sign_ins_are_dropped(store: &Store) {
        let account = alice(store).await;
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
