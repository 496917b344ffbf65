//! Orders: what an operator's command wants of the process that has the live state. The command
//! enters one, the process carries it out and enters the answer.

use sqlx::Row;

use super::{Store, StoreError, bounded};

impl Store {
    /// Enters an order. Gives its number.
    pub(crate) async fn add_order(&self, body: &str, now: i64) -> Result<i64, StoreError> {
        bounded(async {
            let row = sqlx::query("INSERT INTO orders (at, body) VALUES ($1, $2) RETURNING id")
                .bind(now)
                .bind(body)
                .fetch_one(&self.pool)
                .await?;
            row.try_get(0)
        })
        .await
    }

    /// Orders since `from` (unix seconds) that have no answer yet, oldest first.
    pub(crate) async fn open_orders(&self, from: i64) -> Result<Vec<(i64, String)>, StoreError> {
        bounded(async {
            let rows = sqlx::query(
                "SELECT id, body FROM orders WHERE answer IS NULL AND at >= $1 ORDER BY id",
            )
            .bind(from)
            .fetch_all(&self.pool)
            .await?;
            rows.iter()
                .map(|row| Ok((row.try_get(0)?, row.try_get(1)?)))
                .collect()
        })
        .await
    }

    /// Enters the answer.
    pub(crate) async fn answer_order(&self, id: i64, answer: &str) -> Result<(), StoreError> {
        bounded(async {
            sqlx::query("UPDATE orders SET answer = $2 WHERE id = $1 AND answer IS NULL")
                .bind(id)
                .bind(answer)
                .execute(&self.pool)
                .await?;
            Ok(())
        })
        .await
    }

    /// The answer, if there is one yet.
    pub(crate) async fn order_answer(&self, id: i64) -> Result<Option<String>, StoreError> {
        bounded(async {
            let row = sqlx::query("SELECT answer FROM orders WHERE id = $1")
                .bind(id)
                .fetch_optional(&self.pool)
                .await?;
            Ok(row.map(|row| row.try_get(0)).transpose()?.flatten())
        })
        .await
    }

    /// Forgets orders that were entered before `then`, and this one.
    pub(crate) async fn forget_orders(&self, id: i64, then: i64) -> Result<(), StoreError> {
        bounded(async {
            sqlx::query("DELETE FROM orders WHERE id = $1 OR at < $2")
                .bind(id)
                .bind(then)
                .execute(&self.pool)
                .await?;
            Ok(())
        })
        .await
    }
}
