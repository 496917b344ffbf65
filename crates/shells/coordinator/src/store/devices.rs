//! Certificates that were issued, and revocations.
//!
//! Revoking does three things in one transaction: it enters the revocation, ends the kept sign-ins
//! of the accounts behind it, and voids their access tokens for certificates. So whoever has a
//! stolen device has nothing to get a new certificate with; the owner signs in with the password.

use sqlx::Row;
use warp_coordinator_core::Revoked;
use warp_protocol::identity::{Certificate, PublicKey, Serial};

use super::{Store, StoreError, bounded, corrupt};

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
        bounded(async {
            sqlx::query(
                "INSERT INTO certificates (serial, account_id, device_key, issued_at, expires_at)
                 VALUES (?, ?, ?, ?, ?)",
            )
            .bind(&certificate.serial.0[..])
            .bind(account)
            .bind(&certificate.key.raw()[..])
            .bind(seconds(certificate.issued))
            .bind(seconds(certificate.expires))
            .execute(&self.pool)
            .await?;
            Ok(())
        })
        .await
    }

    /// True when the device was revoked.
    pub(crate) async fn is_device_revoked(&self, key: &PublicKey) -> Result<bool, StoreError> {
        bounded(async {
            let found = sqlx::query("SELECT 1 FROM revocations WHERE device_key = ? LIMIT 1")
                .bind(&key.raw()[..])
                .fetch_optional(&self.pool)
                .await?;
            Ok(found.is_some())
        })
        .await
    }

    /// True when what was issued to the account at `issued` (unix seconds) was revoked since.
    pub(crate) async fn is_account_revoked(
        &self,
        account: i64,
        issued: u64,
    ) -> Result<bool, StoreError> {
        bounded(async {
            let found = sqlx::query(
                "SELECT 1 FROM revocations WHERE account_id = ? AND revoked_at >= ? LIMIT 1",
            )
            .bind(account)
            .bind(seconds(issued))
            .fetch_optional(&self.pool)
            .await?;
            Ok(found.is_some())
        })
        .await
    }

    /// Access tokens of the account count for certificates if they were issued after this.
    pub(crate) async fn tokens_from(&self, account: i64) -> Result<Option<i64>, StoreError> {
        bounded(async {
            let row = sqlx::query("SELECT tokens_from FROM accounts WHERE id = ?")
                .bind(account)
                .fetch_optional(&self.pool)
                .await?;
            row.map(|row| row.try_get(0)).transpose()
        })
        .await
    }

    /// The device that a certificate was issued to.
    pub(crate) async fn device_of(&self, serial: &Serial) -> Result<Option<PublicKey>, StoreError> {
        bounded(async {
            let row = sqlx::query("SELECT device_key FROM certificates WHERE serial = ?")
                .bind(&serial.0[..])
                .fetch_optional(&self.pool)
                .await?;
            row.map(|row| key_of(row.try_get(0)?)).transpose()
        })
        .await
    }

    /// Revokes a device for ever, known or not. Gives the names of the accounts that it was
    /// certified for; their kept sign-ins end.
    pub(crate) async fn revoke_device(
        &self,
        key: &PublicKey,
        now: i64,
    ) -> Result<Vec<String>, StoreError> {
        bounded(async {
            let mut tx = self.pool.begin_with("BEGIN IMMEDIATE").await?;
            sqlx::query("INSERT INTO revocations (device_key, revoked_at) VALUES (?, ?)")
                .bind(&key.raw()[..])
                .bind(now)
                .execute(&mut *tx)
                .await?;
            let rows = sqlx::query(
                "SELECT id, name FROM accounts WHERE id IN
                     (SELECT account_id FROM certificates WHERE device_key = ?) ORDER BY name",
            )
            .bind(&key.raw()[..])
            .fetch_all(&mut *tx)
            .await?;
            let mut names = Vec::with_capacity(rows.len());
            for row in rows {
                void_sign_ins(&mut tx, row.try_get(0)?, now).await?;
                names.push(row.try_get(1)?);
            }
            tx.commit().await?;
            Ok(names)
        })
        .await
    }

    /// Revokes what the account was issued until now, and ends its kept sign-ins.
    pub(crate) async fn revoke_devices_of(&self, account: i64, now: i64) -> Result<(), StoreError> {
        bounded(async {
            let mut tx = self.pool.begin_with("BEGIN IMMEDIATE").await?;
            sqlx::query("INSERT INTO revocations (account_id, revoked_at) VALUES (?, ?)")
                .bind(account)
                .bind(now)
                .execute(&mut *tx)
                .await?;
            void_sign_ins(&mut tx, account, now).await?;
            tx.commit().await
        })
        .await
    }

    /// Revocations after the one with this id, oldest first, with the id of each; some at a time.
    pub(crate) async fn revocations_after(
        &self,
        id: i64,
    ) -> Result<Vec<(i64, Revoked)>, StoreError> {
        bounded(async {
            let rows = sqlx::query(
                "SELECT id, device_key, account_id, revoked_at FROM revocations
                 WHERE id > ? ORDER BY id LIMIT ?",
            )
            .bind(id)
            .bind(BATCH)
            .fetch_all(&self.pool)
            .await?;
            rows.iter().map(revocation_of).collect()
        })
        .await
    }

    /// The devices that were certified for an account, the newest first.
    pub(crate) async fn devices_of(&self, account: i64) -> Result<Vec<DeviceView>, StoreError> {
        bounded(async {
            // SQLite takes the other columns from the row that has the maximum.
            let rows = sqlx::query(
                "SELECT device_key, serial, max(issued_at) AS issued_at,
                     EXISTS (SELECT 1 FROM revocations r
                             WHERE r.device_key = c.device_key
                                OR (r.account_id = c.account_id AND r.revoked_at >= c.issued_at))
                         AS revoked
                 FROM certificates c WHERE account_id = ?
                 GROUP BY device_key ORDER BY issued_at DESC",
            )
            .bind(account)
            .fetch_all(&self.pool)
            .await?;
            rows.iter().map(device_view).collect()
        })
        .await
    }

    /// Forgets certificates that expired before `then`. Gives how many.
    pub(crate) async fn forget_certificates(&self, then: i64) -> Result<u64, StoreError> {
        bounded(async {
            let done = sqlx::query("DELETE FROM certificates WHERE expires_at <= ?")
                .bind(then)
                .execute(&self.pool)
                .await?;
            Ok(done.rows_affected())
        })
        .await
    }
}

async fn void_sign_ins(
    tx: &mut sqlx::SqliteConnection,
    account: i64,
    now: i64,
) -> Result<(), sqlx::Error> {
    sqlx::query("UPDATE accounts SET tokens_from = ? WHERE id = ?")
        .bind(now)
        .bind(account)
        .execute(&mut *tx)
        .await?;
    sqlx::query("UPDATE refresh_tokens SET revoked = 1 WHERE account_id = ?")
        .bind(account)
        .execute(&mut *tx)
        .await?;
    Ok(())
}

fn revocation_of(row: &sqlx::sqlite::SqliteRow) -> Result<(i64, Revoked), sqlx::Error> {
    let device: Option<Vec<u8>> = row.try_get("device_key")?;
    let revoked = match device {
        Some(raw) => Revoked::Device(key_of(raw)?.spki()),
        None => Revoked::Account {
            account: row.try_get("account_id")?,
            at: u64::try_from(row.try_get::<i64, _>("revoked_at")?).unwrap_or(0),
        },
    };
    Ok((row.try_get("id")?, revoked))
}

fn device_view(row: &sqlx::sqlite::SqliteRow) -> Result<DeviceView, sqlx::Error> {
    let serial: Vec<u8> = row.try_get("serial")?;
    Ok(DeviceView {
        key: key_of(row.try_get("device_key")?)?,
        serial: Serial(serial.try_into().map_err(|_| corrupt("serial"))?),
        issued_at: row.try_get("issued_at")?,
        revoked: row.try_get("revoked")?,
    })
}

pub(super) fn key_of(raw: Vec<u8>) -> Result<PublicKey, sqlx::Error> {
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

    async fn store() -> (tempfile::TempDir, Store, [i64; 2]) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).await.unwrap();
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
        (dir, store, accounts)
    }

    async fn may_refresh(store: &Store, place: u8) -> bool {
        let next = NewRefresh {
            hash: vec![100 + place; 32],
            issued_at: 1,
            expires_at: 1_000,
        };
        let done = store.rotate(&[place; 32], &next).await.unwrap();
        matches!(done, Rotation::Done { .. })
    }

    #[tokio::test]
    async fn a_revoked_device_is_so_for_ever_and_ends_the_sign_ins_of_its_accounts() {
        let (_dir, store, [alice, bob]) = store().await;
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
        assert!(!may_refresh(&store, 0).await);
        assert!(may_refresh(&store, 1).await);
        let devices = store.devices_of(alice).await.unwrap();
        let revoked: Vec<_> = devices.iter().map(|d| (*d.key.raw(), d.revoked)).collect();
        assert_eq!(revoked.len(), 2);
        assert!(revoked.contains(&([1; 32], true)) && revoked.contains(&([2; 32], false)));
    }

    #[tokio::test]
    async fn an_accounts_revocation_counts_for_what_was_issued_until_then() {
        let (_dir, store, [alice, bob]) = store().await;
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
        assert!(!may_refresh(&store, 0).await);
    }

    #[tokio::test]
    async fn revocations_are_followed_by_their_ids_and_old_certificates_forgotten() {
        let (_dir, store, [alice, _]) = store().await;
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
}
