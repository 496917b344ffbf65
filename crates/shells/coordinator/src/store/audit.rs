//! The audit log. There is no way to change or delete an entry; the database refuses it.

use sqlx::Row;
use warp_protocol::admin::AuditEntry;

use super::{Store, StoreError, bounded, corrupt};

impl Store {
    /// Enters one line; its number is given here.
    pub(crate) async fn add_audit(&self, entry: &AuditEntry) -> Result<i64, StoreError> {
        bounded(async {
            let json = |value: &Option<serde_json::Value>| value.as_ref().map(ToString::to_string);
            let row = sqlx::query(
                "INSERT INTO audit (at, who, action, target, before, after, address, outcome)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8) RETURNING id",
            )
            .bind(entry.at)
            .bind(&entry.who)
            .bind(&entry.action)
            .bind(&entry.target)
            .bind(json(&entry.before))
            .bind(json(&entry.after))
            .bind(&entry.address)
            .bind(&entry.outcome)
            .fetch_one(&self.pool)
            .await?;
            row.try_get(0)
        })
        .await
    }

    /// Some of the lines from `since` (unix seconds) on, the newest first, and how many there are.
    pub(crate) async fn audit(
        &self,
        since: i64,
        limit: i64,
        offset: i64,
    ) -> Result<(Vec<AuditEntry>, i64), StoreError> {
        bounded(async {
            let rows = sqlx::query(
                "SELECT id, at, who, action, target, before, after, address, outcome
                 FROM audit WHERE at >= $1 ORDER BY id DESC LIMIT $2 OFFSET $3",
            )
            .bind(since)
            .bind(limit)
            .bind(offset)
            .fetch_all(&self.pool)
            .await?;
            let count = sqlx::query("SELECT count(*) FROM audit WHERE at >= $1")
                .bind(since)
                .fetch_one(&self.pool)
                .await?;
            let entries: Result<Vec<_>, _> = rows.iter().map(entry_of).collect();
            Ok((entries?, count.try_get(0)?))
        })
        .await
    }
}

fn entry_of(row: &sqlx::sqlite::SqliteRow) -> Result<AuditEntry, sqlx::Error> {
    let json = |column: &str| {
        let text: Option<String> = row.try_get(column)?;
        let parsed = text.map(|text| serde_json::from_str(&text)).transpose();
        parsed.map_err(|_| corrupt("audit entry"))
    };
    Ok(AuditEntry {
        id: row.try_get("id")?,
        at: row.try_get("at")?,
        who: row.try_get("who")?,
        action: row.try_get("action")?,
        target: row.try_get("target")?,
        before: json("before")?,
        after: json("after")?,
        address: row.try_get("address")?,
        outcome: row.try_get("outcome")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[tokio::test]
    async fn entries_are_kept_as_they_were_entered_and_cannot_be_changed() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).await.unwrap();
        let mut entry = AuditEntry {
            id: 0,
            at: 10,
            who: "boss".into(),
            action: "role".into(),
            target: "account alice".into(),
            before: Some(json!({"role": "player"})),
            after: Some(json!({"role": "gm"})),
            address: Some("192.0.2.1".into()),
            outcome: "done".into(),
        };
        entry.id = store.add_audit(&entry).await.unwrap();
        let later = AuditEntry {
            at: 20,
            before: None,
            after: None,
            address: None,
            ..entry.clone()
        };
        store.add_audit(&later).await.unwrap();
        let (all, total) = store.audit(0, 10, 0).await.unwrap();
        assert_eq!((all.len(), total), (2, 2));
        assert_eq!(all[1], entry);
        let (some, total) = store.audit(15, 10, 0).await.unwrap();
        assert_eq!((some[0].at, some.len(), total), (20, 1, 1));
        assert_eq!(store.audit(0, 1, 1).await.unwrap().0, all[1..]);
        for change in ["UPDATE audit SET who = 'x'", "DELETE FROM audit"] {
            let refused = sqlx::query(change).execute(&store.pool).await.unwrap_err();
            assert!(refused.to_string().contains("append-only"), "{refused}");
        }
        assert_eq!(store.audit(0, 10, 0).await.unwrap().0, all);
    }
}
