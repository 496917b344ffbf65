//! Settings that change while the coordinator runs.

use super::{Store, StoreError, corrupt, sql::sql};
use crate::tokens::unix_now;

/// The switch of peer-to-peer paths in all zones.
const P2P: &str = "p2p";

impl Store {
    /// Whether peer-to-peer paths may be used at all; they may as long as nobody said otherwise.
    pub(crate) async fn p2p(&self) -> Result<bool, StoreError> {
        let query = sql("SELECT value FROM settings WHERE name = $1").bind(P2P);
        let row = self.optional::<(String,)>(query).await?;
        match row.as_ref().map(|(value,)| value.as_str()) {
            None | Some("on") => Ok(true),
            Some("off") => Ok(false),
            Some(_) => Err(corrupt("setting p2p").into()),
        }
    }

    /// Sets the switch of peer-to-peer paths.
    pub(crate) async fn set_p2p(&self, on: bool) -> Result<(), StoreError> {
        let set = sql(
            "INSERT INTO settings (name, value, updated_at) VALUES ($1, $2, $3)
             ON CONFLICT (name) DO UPDATE SET value = $2, updated_at = $3",
        )
        .bind(P2P)
        .bind(if on { "on" } else { "off" })
        .bind(unix_now());
        self.execute(set).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    crate::store::testing::on_both!(the_switch_is_on_until_it_is_put_off);

    async fn the_switch_is_on_until_it_is_put_off(store: &Store) {
        assert!(store.p2p().await.unwrap());
        for on in [false, true, false] {
            store.set_p2p(on).await.unwrap();
            assert_eq!(store.p2p().await.unwrap(), on);
        }
    }
}
