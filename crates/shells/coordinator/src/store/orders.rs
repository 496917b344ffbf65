//! Orders: what an operator's command wants of the process that has the live state. The command
//! enters one, the process carries it out and enters the answer.

use super::{Store, StoreError, corrupt, sql::sql};

impl Store {
    /// Enters an order. Gives its number.
    pub(crate) async fn add_order(&self, body: &str, now: i64) -> Result<i64, StoreError> {
        let insert = sql("INSERT INTO orders (at, body) VALUES ($1, $2) RETURNING id");
        let row = self
            .returning::<(i64,)>(insert.bind(now).bind(body))
            .await?;
        row.map(|(id,)| id)
            .ok_or_else(|| corrupt("number of an order").into())
    }

    /// Orders since `from` (unix seconds) that have no answer yet, oldest first.
    pub(crate) async fn open_orders(&self, from: i64) -> Result<Vec<(i64, String)>, StoreError> {
        let query =
            sql("SELECT id, body FROM orders WHERE answer IS NULL AND at >= $1 ORDER BY id");
        self.all(query.bind(from)).await
    }

    /// Enters the answer.
    pub(crate) async fn answer_order(&self, id: i64, answer: &str) -> Result<(), StoreError> {
        let set = sql("UPDATE orders SET answer = $1 WHERE id = $2 AND answer IS NULL");
        self.execute(set.bind(answer).bind(id)).await.map(drop)
    }

    /// The answer, if there is one yet.
    pub(crate) async fn order_answer(&self, id: i64) -> Result<Option<String>, StoreError> {
        let query = sql("SELECT answer FROM orders WHERE id = $1").bind(id);
        let row = self.optional::<(Option<String>,)>(query).await?;
        Ok(row.and_then(|(answer,)| answer))
    }

    /// Forgets this order, and those that were entered before `then`.
    pub(crate) async fn forget_orders(&self, id: i64, then: i64) -> Result<(), StoreError> {
        let delete = sql("DELETE FROM orders WHERE id = $1 OR at < $2");
        self.execute(delete.bind(id).bind(then)).await.map(drop)
    }
}
