//! The audit log. There is no way to change or delete an entry; the database refuses it.

use warp_protocol::admin::AuditEntry;

use super::{Store, StoreError, corrupt, sql::sql};

/// The columns of an entry, in the order of the query.
type Line = (
    i64,
    i64,
    String,
    String,
    String,
    Option<String>,
    Option<String>,
    Option<String>,
    String,
);

impl Store {
    /// Enters one line; its number is given here.
    pub(crate) async fn add_audit(&self, entry: &AuditEntry) -> Result<i64, StoreError> {
        let json = |value: &Option<serde_json::Value>| value.as_ref().map(ToString::to_string);
        let insert = sql(
            "INSERT INTO audit (at, who, action, target, before, after, address, outcome)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8) RETURNING id",
        )
        .bind(entry.at)
        .bind(entry.who.as_str())
        .bind(entry.action.as_str())
        .bind(entry.target.as_str())
        .bind(json(&entry.before))
        .bind(json(&entry.after))
        .bind(entry.address.as_deref())
        .bind(entry.outcome.as_str());
        let row = self.returning::<(i64,)>(insert).await?;
        row.map(|(id,)| id)
            .ok_or_else(|| corrupt("number of an audit entry").into())
    }

    /// Some of the lines from `since` (unix seconds) on, the newest first, and how many there are.
    pub(crate) async fn audit(
        &self,
        since: i64,
        limit: i64,
        offset: i64,
    ) -> Result<(Vec<AuditEntry>, i64), StoreError> {
        let query = sql(
            "SELECT id, at, who, action, target, before, after, address, outcome
             FROM audit WHERE at >= $1 ORDER BY id DESC LIMIT $2 OFFSET $3",
        )
        .bind(since)
        .bind(limit)
        .bind(offset);
        let rows = self.all::<Line>(query).await?;
        let entries: Result<Vec<_>, StoreError> = rows.into_iter().map(entry_of).collect();
        let count = sql("SELECT count(*) FROM audit WHERE at >= $1").bind(since);
        Ok((entries?, self.count(count).await?))
    }
}

fn entry_of(
    (id, at, who, action, target, before, after, address, outcome): Line,
) -> Result<AuditEntry, StoreError> {
    let json = |text: Option<String>| {
        let parsed = text.map(|text| serde_json::from_str(&text)).transpose();
        parsed.map_err(|_| StoreError::from(corrupt("audit entry")))
    };
    Ok(AuditEntry {
        id,
        at,
        who,
        action,
        target,
        before: json(before)?,
        after: json(after)?,
        address,
        outcome,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    crate::store::testing::on_both!(entries_are_kept_as_they_were_entered_and_cannot_be_changed);

    async fn entries_are_kept_as_they_were_entered_and_cannot_be_changed(store: &Store) {
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
            let refused = store.execute(sql(change)).await.unwrap_err();
            assert!(refused.to_string().contains("append-only"), "{refused}");
        }
        assert_eq!(store.audit(0, 10, 0).await.unwrap().0, all);
    }
}
