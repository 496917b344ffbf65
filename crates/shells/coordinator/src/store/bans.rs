//! Bans. None is ever deleted, so that what was once done to whom can be read.

use sqlx::Row;
use warp_coordinator_core::bans::{Ban, Banned};
use warp_protocol::{admin::BanView, identity::PublicKey};

use super::{Store, StoreError, bounded, devices::key_of};

/// A ban that is to be entered.
pub(crate) struct NewBan<'a> {
    pub(crate) account: Option<i64>,
    pub(crate) device: Option<PublicKey>,
    pub(crate) reason: &'a str,
    /// Who sets it, as in the audit log.
    pub(crate) by: &'a str,
    /// Unix seconds.
    pub(crate) ends: Option<i64>,
}

/// Changes with every ban that is set or lifted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct BansVersion {
    all: i64,
    lifted: i64,
}

/// A query for what [`view_of`] reads.
macro_rules! views {
    ($rest:literal) => {
        concat!(
            "SELECT b.id, a.name, b.device_key, b.reason, b.set_by, b.set_at, b.ends_at, b.lifted_at
             FROM bans b LEFT JOIN accounts a ON a.id = b.account_id ",
            $rest
        )
    };
}

impl Store {
    /// Enters a ban. Gives its number.
    pub(crate) async fn add_ban(&self, ban: NewBan<'_>, now: i64) -> Result<i64, StoreError> {
        bounded(async {
            let row = sqlx::query(
                "INSERT INTO bans (account_id, device_key, reason, set_by, set_at, ends_at)
                 VALUES ($1, $2, $3, $4, $5, $6) RETURNING id",
            )
            .bind(ban.account)
            .bind(ban.device.as_ref().map(|key| key.raw().to_vec()))
            .bind(ban.reason)
            .bind(ban.by)
            .bind(now)
            .bind(ban.ends)
            .fetch_one(&self.pool)
            .await?;
            row.try_get(0)
        })
        .await
    }

    /// Lifts a ban. False if it was lifted before, or is none.
    pub(crate) async fn lift_ban(&self, id: i64, now: i64) -> Result<bool, StoreError> {
        bounded(async {
            let done =
                sqlx::query("UPDATE bans SET lifted_at = $2 WHERE id = $1 AND lifted_at IS NULL")
                    .bind(id)
                    .bind(now)
                    .execute(&self.pool)
                    .await?;
            Ok(done.rows_affected() > 0)
        })
        .await
    }

    /// One ban, whether or not it is in force.
    pub(crate) async fn ban(&self, id: i64) -> Result<Option<BanView>, StoreError> {
        bounded(async {
            let row = sqlx::query(views!("WHERE b.id = $1"))
                .bind(id)
                .fetch_optional(&self.pool)
                .await?;
            row.map(|row| view_of(&row)).transpose()
        })
        .await
    }

    /// Some of all bans, the newest first, and how many there are.
    pub(crate) async fn bans(
        &self,
        limit: i64,
        offset: i64,
    ) -> Result<(Vec<BanView>, i64), StoreError> {
        bounded(async {
            let rows = sqlx::query(views!("ORDER BY b.id DESC LIMIT $1 OFFSET $2"))
                .bind(limit)
                .bind(offset)
                .fetch_all(&self.pool)
                .await?;
            let count = sqlx::query("SELECT count(*) FROM bans")
                .fetch_one(&self.pool)
                .await?;
            let views: Result<Vec<_>, _> = rows.iter().map(view_of).collect();
            Ok((views?, count.try_get(0)?))
        })
        .await
    }

    /// Whether there is anything new.
    pub(crate) async fn bans_version(&self) -> Result<BansVersion, StoreError> {
        bounded(async {
            let row = sqlx::query("SELECT count(*), count(lifted_at) FROM bans")
                .fetch_one(&self.pool)
                .await?;
            Ok(BansVersion {
                all: row.try_get(0)?,
                lifted: row.try_get(1)?,
            })
        })
        .await
    }

    /// All bans that are in force at `now` or will be until they are lifted.
    pub(crate) async fn bans_in_force(&self, now: i64) -> Result<Vec<Ban>, StoreError> {
        bounded(async {
            let rows = sqlx::query(
                "SELECT id, account_id, device_key, reason, ends_at FROM bans
                 WHERE lifted_at IS NULL AND (ends_at IS NULL OR ends_at > $1)",
            )
            .bind(now)
            .fetch_all(&self.pool)
            .await?;
            rows.iter().map(ban_of).collect()
        })
        .await
    }
}

fn ban_of(row: &sqlx::sqlite::SqliteRow) -> Result<Ban, sqlx::Error> {
    let device: Option<Vec<u8>> = row.try_get("device_key")?;
    let whom = match device {
        Some(raw) => Banned::Device(key_of(raw)?.spki()),
        None => Banned::Account(row.try_get("account_id")?),
    };
    Ok(Ban {
        id: row.try_get("id")?,
        whom,
        reason: row.try_get("reason")?,
        ends: row.try_get("ends_at")?,
    })
}

fn view_of(row: &sqlx::sqlite::SqliteRow) -> Result<BanView, sqlx::Error> {
    let device: Option<Vec<u8>> = row.try_get("device_key")?;
    Ok(BanView {
        id: row.try_get("id")?,
        account: row.try_get("name")?,
        device: device.map(key_of).transpose()?.map(|key| key.to_string()),
        reason: row.try_get("reason")?,
        by: row.try_get("set_by")?,
        since: row.try_get("set_at")?,
        until: row.try_get("ends_at")?,
        lifted: row.try_get("lifted_at")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use warp_protocol::rest::AccountRole;

    #[tokio::test]
    async fn bans_are_entered_listed_and_lifted_and_the_version_tells() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).await.unwrap();
        let alice = store.add_account("alice", AccountRole::Player, "$phc", 0);
        let alice = alice.await.unwrap().unwrap();
        let mut version = store.bans_version().await.unwrap();
        let key = PublicKey::from_raw([3; 32]);
        let new = |account, device, ends| NewBan {
            account,
            device,
            reason: "botting",
            by: "boss",
            ends,
        };
        let first = store.add_ban(new(Some(alice), None, Some(50)), 10).await;
        let first = first.unwrap();
        let second = store.add_ban(new(None, Some(key), None), 20).await.unwrap();
        let now = store.bans_version().await.unwrap();
        assert_ne!(std::mem::replace(&mut version, now), now);

        let force = |now| store.bans_in_force(now);
        let whom: Vec<_> = force(49)
            .await
            .unwrap()
            .into_iter()
            .map(|b| b.whom)
            .collect();
        assert_eq!(whom, [Banned::Account(alice), Banned::Device(key.spki())]);
        assert_eq!(force(50).await.unwrap().len(), 1);

        assert!(store.lift_ban(second, 30).await.unwrap());
        assert!(!store.lift_ban(second, 31).await.unwrap());
        assert!(!store.lift_ban(99, 31).await.unwrap());
        assert_ne!(store.bans_version().await.unwrap(), version);
        assert!(force(50).await.unwrap().is_empty());

        let (page, total) = store.bans(1, 0).await.unwrap();
        assert_eq!((page.len(), total), (1, 2));
        assert_eq!((page[0].id, page[0].lifted), (second, Some(30)));
        assert_eq!(page[0].device, Some(key.to_string()));
        let ban = store.ban(first).await.unwrap().unwrap();
        assert_eq!(ban.account.as_deref(), Some("alice"));
        assert_eq!((ban.since, ban.until, ban.lifted), (10, Some(50), None));
    }
}
