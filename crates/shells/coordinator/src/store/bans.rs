//! Bans. None is ever deleted, so that what was once done to whom can be read.

use warp_coordinator_core::bans::{Ban, Banned};
use warp_protocol::{admin::BanView, identity::PublicKey};

use super::{Store, StoreError, corrupt, devices::key_of, sql::sql};

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

/// The columns of such a query.
type View = (
    i64,
    Option<String>,
    Option<Vec<u8>>,
    String,
    String,
    i64,
    Option<i64>,
    Option<i64>,
);

impl Store {
    /// Enters a ban. Gives its number.
    pub(crate) async fn add_ban(&self, ban: NewBan<'_>, now: i64) -> Result<i64, StoreError> {
        let insert = sql(
            "INSERT INTO bans (account_id, device_key, reason, set_by, set_at, ends_at)
             VALUES ($1, $2, $3, $4, $5, $6) RETURNING id",
        )
        .bind(ban.account)
        .bind(ban.device.as_ref().map(|key| key.raw().to_vec()))
        .bind(ban.reason)
        .bind(ban.by)
        .bind(now)
        .bind(ban.ends);
        let row = self.returning::<(i64,)>(insert).await?;
        row.map(|(id,)| id)
            .ok_or_else(|| corrupt("number of a ban").into())
    }

    /// Lifts a ban. False if it was lifted before, or is none.
    pub(crate) async fn lift_ban(&self, id: i64, now: i64) -> Result<bool, StoreError> {
        let lift = sql("UPDATE bans SET lifted_at = $1 WHERE id = $2 AND lifted_at IS NULL");
        Ok(self.execute(lift.bind(now).bind(id)).await? > 0)
    }

    /// One ban, whether or not it is in force.
    pub(crate) async fn ban(&self, id: i64) -> Result<Option<BanView>, StoreError> {
        let query = sql(views!("WHERE b.id = $1")).bind(id);
        self.optional(query).await?.map(view_of).transpose()
    }

    /// Some of all bans, the newest first, and how many there are.
    pub(crate) async fn bans(
        &self,
        limit: i64,
        offset: i64,
    ) -> Result<(Vec<BanView>, i64), StoreError> {
        let query = sql(views!("ORDER BY b.id DESC LIMIT $1 OFFSET $2"));
        let rows = self.all::<View>(query.bind(limit).bind(offset)).await?;
        let views: Result<Vec<_>, StoreError> = rows.into_iter().map(view_of).collect();
        let count = self.count(sql("SELECT count(*) FROM bans")).await?;
        Ok((views?, count))
    }

    /// Whether there is anything new.
    pub(crate) async fn bans_version(&self) -> Result<BansVersion, StoreError> {
        let query = sql("SELECT count(*), count(lifted_at) FROM bans");
        let row = self.optional::<(i64, i64)>(query).await?;
        let (all, lifted) = row.unwrap_or_default();
        Ok(BansVersion { all, lifted })
    }

    /// All bans that are in force at `now` or will be until they are lifted.
    pub(crate) async fn bans_in_force(&self, now: i64) -> Result<Vec<Ban>, StoreError> {
        let query = sql(
            "SELECT id, account_id, device_key, reason, ends_at FROM bans
             WHERE lifted_at IS NULL AND (ends_at IS NULL OR ends_at > $1) ORDER BY id",
        );
        let rows = self.all(query.bind(now)).await?;
        rows.into_iter().map(ban_of).collect()
    }
}

fn ban_of(
    (id, account, device, reason, ends): (i64, Option<i64>, Option<Vec<u8>>, String, Option<i64>),
) -> Result<Ban, StoreError> {
    let whom = match (device, account) {
        (Some(raw), _) => Banned::Device(key_of(raw)?.spki()),
        (None, Some(account)) => Banned::Account(account),
        (None, None) => return Err(corrupt("ban").into()),
    };
    Ok(Ban {
        id,
        whom,
        reason,
        ends,
    })
}

fn view_of(
    (id, account, device, reason, by, since, until, lifted): View,
) -> Result<BanView, StoreError> {
    Ok(BanView {
        id,
        account,
        device: device.map(key_of).transpose()?.map(|key| key.to_string()),
        reason,
        by,
        since,
        until,
        lifted,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use warp_protocol::rest::AccountRole;

    crate::store::testing::on_both!(bans_are_entered_listed_and_lifted_and_the_version_tells);

    async fn bans_are_entered_listed_and_lifted_and_the_version_tells(store: &Store) {
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
