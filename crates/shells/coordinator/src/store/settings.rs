//! Settings that change while the coordinator runs.

use sqlx::Row;

use super::{Store, StoreError, bounded, corrupt};
use crate::tokens::unix_now;

/// The switch of peer-to-peer paths in all zones.
const P2P: &str = "p2p";

impl Store {
    /// Whether peer-to-peer paths may be used at all; they may as long as nobody said otherwise.
    pub(crate) async fn p2p(&self) -> Result<bool, StoreError> {
        bounded(async {
            let row = sqlx::query("SELECT value FROM settings WHERE name = ?")
                .bind(P2P)
                .fetch_optional(&self.pool)
                .await?;
            match row.as_ref().map(|row| row.try_get("value")).transpose()? {
                None | Some("on") => Ok(true),
                Some("off") => Ok(false),
                Some(_) => Err(corrupt("setting p2p")),
            }
        })
        .await
    }

    /// Sets the switch of peer-to-peer paths.
    pub(crate) async fn set_p2p(&self, on: bool) -> Result<(), StoreError> {
        bounded(async {
            sqlx::query(
                "INSERT INTO settings (name, value, updated_at) VALUES (?1, ?2, ?3)
                 ON CONFLICT (name) DO UPDATE SET value = ?2, updated_at = ?3",
            )
            .bind(P2P)
            .bind(if on { "on" } else { "off" })
            .bind(unix_now())
            .execute(&self.pool)
            .await?;
            Ok(())
        })
        .await
    }
}
