//! Certificates that were issued, and revocations.
//!
//! Revoking does three things in one transaction: it enters the revocation, ends the kept sign-ins
//! of the accounts behind it, and voids their access tokens for certificates. So whoever has a
//! stolen device has nothing to get a new certificate with; the owner signs in with the password.

use warp_coordinator_core::Revoked;
use warp_protocol::identity::{Certificate, PublicKey, Serial};

use super::{
    Store, StoreError, corrupt,
    sql::{Transaction, sql},
};

/// Revocations that are read at once.
const BATCH: i64 = 256;

/// A device of an account, as its operator sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceView {
    /// Its key.
    pub key: PublicKey,
    /// Serial of its newest certificate.
    pub serial: Serial,
    /// When that was issued, unix seconds.
    pub issued_at: i64,
    /// It was revoked.
    pub revoked: bool,
}

impl Store {
    /// Enters a certificate before it is handed out.
    pub(crate) async fn add_certificate(
        &self,
        account: i64,
        certificate: &Certificate,
    ) -> Result<(), StoreError> {
        let insert = sql(
            "INSERT INTO certificates (serial, account_id, device_key, issued_at, expires_at)
             VALUES ($1, $2, $3, $4, $5)",
        )
        .bind(&certificate.serial.0[..])
        .bind(account)
        .bind(&certificate.key.raw()[..])
        .bind(seconds(certificate.issued))
        .bind(seconds(certificate.expires));
        self.execute(insert).await.map(drop)
    }

    /// True when the device was revoked.
    pub(crate) async fn is_device_revoked(&self, key: &PublicKey) -> Result<bool, StoreError> {
        let query =
            sql("SELECT id FROM revocations WHERE device_key = $1 LIMIT 1").bind(&key.raw()[..]);
        Ok(self.optional::<(i64,)>(query).await?.is_some())
    }

    /// True when what was issued to the account at `issued` (unix seconds) was revoked since.
    pub(crate) async fn is_account_revoked(
        &self,
        account: i64,
        issued: u64,
    ) -> Result<bool, StoreError> {
        let query =
            sql("SELECT id FROM revocations WHERE account_id = $1 AND revoked_at >= $2 LIMIT 1")
                .bind(account)
                .bind(seconds(issued));
        Ok(self.optional::<(i64,)>(query).await?.is_some())
    }

    /// Access tokens of the account count for certificates if they were issued after this.
    pub(crate) async fn tokens_from(&self, account: i64) -> Result<Option<i64>, StoreError> {
        let query = sql("SELECT tokens_from FROM accounts WHERE id = $1").bind(account);
        let row = self.optional::<(i64,)>(query).await?;
        Ok(row.map(|(from,)| from))
    }

    /// The device that a certificate was issued to.
    pub(crate) async fn device_of(&self, serial: &Serial) -> Result<Option<PublicKey>, StoreError> {
        let query =
            sql("SELECT device_key FROM certificates WHERE serial = $1").bind(&serial.0[..]);
        let row = self.optional::<(Vec<u8>,)>(query).await?;
        row.map(|(key,)| key_of(key)).transpose()
    }

    /// Revokes a device for ever, known or not. Gives the names of the accounts that it was
    /// certified for; their kept sign-ins end.
    pub(crate) async fn revoke_device(
        &self,
        key: &PublicKey,
        now: i64,
    ) -> Result<Vec<String>, StoreError> {
        let mut tx = self.begin().await?;
        tx.hold_revocations().await?;
        let revoke = sql("INSERT INTO revocations (device_key, revoked_at) VALUES ($1, $2)")
            .bind(&key.raw()[..])
            .bind(now);
        tx.execute(revoke).await?;
        let query = sql("SELECT id, name FROM accounts WHERE id IN
                 (SELECT account_id FROM certificates WHERE device_key = $1) ORDER BY name")
        .bind(&key.raw()[..]);
        let mut names = Vec::new();
        for (account, name) in tx.all::<(i64, String)>(query).await? {
            void_sign_ins(&mut tx, account, now).await?;
            names.push(name);
        }
        tx.commit().await?;
        Ok(names)
    }

    /// Revokes what the account was issued until now, and ends its kept sign-ins.
    pub(crate) async fn revoke_devices_of(&self, account: i64, now: i64) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        tx.hold_revocations().await?;
        let revoke = sql("INSERT INTO revocations (account_id, revoked_at) VALUES ($1, $2)")
            .bind(account)
            .bind(now);
        tx.execute(revoke).await?;
        void_sign_ins(&mut tx, account, now).await?;
        tx.commit().await
    }

    /// Revocations after the one with this id, oldest first, with the id of each; some at a time.
    pub(crate) async fn revocations_after(
        &self,
        id: i64,
    ) -> Result<Vec<(i64, Revoked)>, StoreError> {
        let query = sql(
            "SELECT id, device_key, account_id, revoked_at FROM revocations
             WHERE id > $1 ORDER BY id LIMIT $2",
        )
        .bind(id)
        .bind(BATCH);
        let rows = self.all(query).await?;
        rows.into_iter().map(revocation_of).collect()
    }

    /// The devices that were certified for an account, the newest first.
    pub(crate) async fn devices_of(&self, account: i64) -> Result<Vec<DeviceView>, StoreError> {
        // Of each device the certificate that none is newer than.
        let query = sql("SELECT device_key, serial, issued_at,
                 EXISTS (SELECT 1 FROM revocations r
                         WHERE r.device_key = c.device_key
                            OR (r.account_id = c.account_id AND r.revoked_at >= c.issued_at))
             FROM certificates c
             WHERE account_id = $1 AND NOT EXISTS (
                 SELECT 1 FROM certificates n
                 WHERE n.account_id = c.account_id AND n.device_key = c.device_key
                   AND (n.issued_at, n.serial) > (c.issued_at, c.serial))
             ORDER BY issued_at DESC")
        .bind(account);
        let rows = self.all(query).await?;
        rows.into_iter().map(device_view).collect()
    }

    /// Forgets certificates that expired before `then`. Gives how many.
    pub(crate) async fn forget_certificates(&self, then: i64) -> Result<u64, StoreError> {
        let forget = sql("DELETE FROM certificates WHERE expires_at <= $1").bind(then);
        self.execute(forget).await
    }
}

async fn void_sign_ins(tx: &mut Transaction, account: i64, now: i64) -> Result<(), StoreError> {
    tx.hold_account(account).await?;
    let void = sql("UPDATE accounts SET tokens_from = $1 WHERE id = $2");
    tx.execute(void.bind(now).bind(account)).await?;
    let revoke = sql("UPDATE refresh_tokens SET revoked = 1 WHERE account_id = $1");
    tx.execute(revoke.bind(account)).await?;
    Ok(())
}

fn revocation_of(
    (id, device, account, at): (i64, Option<Vec<u8>>, Option<i64>, i64),
) -> Result<(i64, Revoked), StoreError> {
    let revoked = match (device, account) {
        (Some(raw), _) => Revoked::Device(key_of(raw)?.spki()),
        (None, Some(account)) => Revoked::Account {
            account,
            at: u64::try_from(at).unwrap_or(0),
        },
        (None, None) => return Err(corrupt("revocation").into()),
    };
    Ok((id, revoked))
}

fn device_view(
    (key, serial, issued_at, revoked): (Vec<u8>, Vec<u8>, i64, bool),
) -> Result<DeviceView, StoreError> {
    Ok(DeviceView {
        key: key_of(key)?,
        serial: Serial(serial.try_into().map_err(|_| corrupt("serial"))?),
        issued_at,
        revoked,
    })
}

pub(super) fn key_of(raw: Vec<u8>) -> Result<PublicKey, StoreError> {
    let raw = raw.try_into().map_err(|_| corrupt("device key"))?;
    Ok(PublicKey::from_raw(raw))
}

fn seconds(time: u64) -> i64 {
    i64::try_from(time).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{NewRefresh, Rotation};
    use warp_protocol::identity::CertificateRole;
    use warp_protocol::rest::AccountRole;

    fn certificate(serial: u8, key: u8, issued: u64) -> Certificate {
        Certificate {
            serial: Serial([serial; 16]),
            account: 1,
            name: "alice".into(),
            key: PublicKey::from_raw([key; 32]),
            role: CertificateRole::Player,
            may_host: false,
            issued,
            expires: issued + 100,
            issuer: PublicKey::from_raw([9; 32]).id(),
        }
    }

    async fn accounts(store: &Store) -> [i64; 2] {
        let mut accounts = [0; 2];
        for (place, name) in ["alice", "bob"].into_iter().enumerate() {
            let made = store.add_account(name, AccountRole::Player, "$phc", 0);
            accounts[place] = made.await.unwrap().unwrap();
            let token = NewRefresh {
                hash: vec![place as u8; 32],
                issued_at: 0,
                expires_at: 1_000,
            };
            let family = [place as u8];
            let started = store.start_family(accounts[place], &family, &token);
            started.await.unwrap();
        }
        accounts
    }

    crate::store::testing::on_both!(
        a_revoked_device_is_so_for_ever_and_ends_the_sign_ins_of_its_accounts,
        an_accounts_revocation_counts_for_what_was_issued_until_then,
        revocations_are_followed_by_their_ids_and_old_certificates_forgotten,
        the_newest_certificate_of_each_device_is_listed,
        revocations_come_into_sight_in_the_order_of_their_ids,
    );

    async fn may_refresh(store: &Store, place: u8) -> bool {
        let next = NewRefresh {
            hash: vec![100 + place; 32],
            issued_at: 1,
            expires_at: 1_000,
        };
        let done = store.rotate(&[place; 32], &next).await.unwrap();
        matches!(done, Rotation::Done { .. })
    }

    async fn a_revoked_device_is_so_for_ever_and_ends_the_sign_ins_of_its_accounts(store: &Store) {
        let [alice, bob] = accounts(store).await;
        for (serial, account, key) in [(1, alice, 1), (2, alice, 2), (3, bob, 3)] {
            let certificate = certificate(serial, key, 10);
            store.add_certificate(account, &certificate).await.unwrap();
        }
        let key = store.device_of(&Serial([1; 16])).await.unwrap().unwrap();
        assert_eq!(key, PublicKey::from_raw([1; 32]));
        assert_eq!(store.revoke_device(&key, 50).await.unwrap(), ["alice"]);
        assert!(store.is_device_revoked(&key).await.unwrap());
        let other = PublicKey::from_raw([2; 32]);
        assert!(!store.is_device_revoked(&other).await.unwrap());
        assert!(!store.is_account_revoked(alice, 10).await.unwrap());
        assert_eq!(store.tokens_from(alice).await.unwrap(), Some(50));
        assert_eq!(store.tokens_from(bob).await.unwrap(), Some(0));
        assert!(!may_refresh(store, 0).await);
        assert!(may_refresh(store, 1).await);
        let devices = store.devices_of(alice).await.unwrap();
        let revoked: Vec<_> = devices.iter().map(|d| (*d.key.raw(), d.revoked)).collect();
        assert_eq!(revoked.len(), 2);
        assert!(revoked.contains(&([1; 32], true)) && revoked.contains(&([2; 32], false)));
    }

    async fn an_accounts_revocation_counts_for_what_was_issued_until_then(store: &Store) {
        let [alice, bob] = accounts(store).await;
        let certificate = certificate(1, 1, 10);
        store.add_certificate(alice, &certificate).await.unwrap();
        store.revoke_devices_of(alice, 50).await.unwrap();
        for (account, issued, expected) in [(alice, 50, true), (alice, 51, false), (bob, 10, false)]
        {
            let revoked = store.is_account_revoked(account, issued).await.unwrap();
            assert_eq!(revoked, expected, "account {account}, issued {issued}");
        }
        assert!(!store.is_device_revoked(&certificate.key).await.unwrap());
        assert!(store.devices_of(alice).await.unwrap()[0].revoked);
        assert!(!may_refresh(store, 0).await);
    }

    async fn revocations_are_followed_by_their_ids_and_old_certificates_forgotten(store: &Store) {
        let [alice, _] = accounts(store).await;
        assert!(store.revocations_after(0).await.unwrap().is_empty());
        let key = PublicKey::from_raw([1; 32]);
        store.revoke_device(&key, 5).await.unwrap();
        store.revoke_devices_of(alice, 6).await.unwrap();
        let all = store.revocations_after(0).await.unwrap();
        let account = Revoked::Account {
            account: alice,
            at: 6,
        };
        assert_eq!(all[0].1, Revoked::Device(key.spki()));
        assert_eq!(all[1].1, account);
        let after = store.revocations_after(all[0].0).await.unwrap();
        assert_eq!(after, all[1..]);
        store
            .add_certificate(alice, &certificate(1, 1, 10))
            .await
            .unwrap();
        assert_eq!(store.forget_certificates(109).await.unwrap(), 0);
        assert_eq!(store.forget_certificates(110).await.unwrap(), 1);
        assert_eq!(store.device_of(&Serial([1; 16])).await.unwrap(), None);
    }

    async fn the_newest_certificate_of_each_device_is_listed(store: &Store) {
        let [alice, _] = accounts(store).await;
        for (serial, key, issued) in [(1, 1, 10), (2, 1, 30), (3, 2, 20), (4, 1, 20)] {
            let certificate = certificate(serial, key, issued);
            store.add_certificate(alice, &certificate).await.unwrap();
        }
        let devices = store.devices_of(alice).await.unwrap();
        let listed: Vec<_> = devices
            .iter()
            .map(|d| (d.serial.0[0], d.issued_at))
            .collect();
        assert_eq!(listed, [(2, 30), (3, 20)]);
    }

    async fn revocations_come_into_sight_in_the_order_of_their_ids(store: &Store) {
        let [alice, bob] = accounts(store).await;
        let mut revoking = tokio::task::JoinSet::new();
        for n in 0..40 {
            let store = store.clone();
            let account = if n % 2 == 0 { alice } else { bob };
            revoking.spawn(async move { store.revoke_devices_of(account, n).await.unwrap() });
        }
        // Follows them as a running coordinator does, while they are being entered.
        let (mut last, mut seen) = (0, 0);
        while seen < 40 {
            let done = revoking.is_empty();
            for (id, _) in store.revocations_after(last).await.unwrap() {
                (last, seen) = (id, seen + 1);
            }
            assert!(seen == 40 || !done, "{} were passed over", 40 - seen);
            while revoking.try_join_next().is_some() {}
            tokio::task::yield_now().await;
        }
    }
}
