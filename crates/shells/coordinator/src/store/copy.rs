//! Moving from SQLite to PostgreSQL: everything is copied, in one transaction, and counted.
//!
//! * Tables and columns are read from the SQLite database, so that what later migrations add is
//!   copied too. A table comes after those that it refers to.
//! * The PostgreSQL database must be empty but for its tables.
//! * Both are held meanwhile, so that nothing is written that would be left behind.

use std::collections::BTreeSet;

use sqlx::{
    AssertSqlSafe, Database, PgConnection, Row as _, SqliteConnection, pool::PoolConnection,
    sqlite::SqliteRow,
};

use super::{Store, StoreError, corrupt, sql::Pool};

/// Rows that are entered at once.
const BATCH: usize = 100;

/// Copying was refused.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// There is something in the new database.
    #[error("the new database is not empty: its table {0} has rows; nothing was copied")]
    NotEmpty(String),
    /// A table differs afterwards.
    #[error("table {table} has {old} rows and its copy {new}; nothing was copied")]
    Count {
        /// The table.
        table: String,
        /// Rows in SQLite.
        old: i64,
        /// Rows in PostgreSQL.
        new: i64,
    },
    /// One of the databases.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<sqlx::Error> for CopyError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

/// A table that is to be copied.
struct Table {
    name: String,
    columns: Vec<Column>,
    /// Tables that it refers to.
    refers_to: BTreeSet<String>,
}

struct Column {
    name: String,
    kind: Kind,
}

#[derive(Clone, Copy)]
enum Kind {
    Integer,
    Real,
    Text,
    Bytes,
}

/// Copies all rows of `from`, SQLite, to `to`, an empty PostgreSQL database. Gives each table and its
/// number of rows, in the order in which they were copied.
pub(crate) async fn copy(from: &Store, to: &Store) -> Result<Vec<(String, i64)>, CopyError> {
    let (Pool::Sqlite { readers: from, .. }, Pool::Postgres(to)) = (&from.pool, &to.pool) else {
        let text = "only SQLite is copied, and only to PostgreSQL";
        return Err(sqlx::Error::Configuration(text.into()).into());
    };
    let (mut from, mut to) = (from.acquire().await?, to.acquire().await?);
    // Nobody writes meanwhile.
    run(&mut from, "PRAGMA query_only = OFF; BEGIN IMMEDIATE").await?;
    run(&mut to, "BEGIN").await?;
    let copied = copy_all(&mut from, &mut to).await;
    let end = if copied.is_ok() { "COMMIT" } else { "ROLLBACK" };
    let ended = run(&mut to, end).await;
    run(&mut from, "ROLLBACK").await?;
    let copied = copied?;
    ended?;
    Ok(copied)
}

async fn run<DB: Database>(
    connection: &mut PoolConnection<DB>,
    statement: &'static str,
) -> Result<(), sqlx::Error>
where
    for<'c> &'c mut DB::Connection: sqlx::Executor<'c, Database = DB>,
{
    sqlx::raw_sql(statement).execute(&mut **connection).await?;
    Ok(())
}

async fn copy_all(
    from: &mut SqliteConnection,
    to: &mut PgConnection,
) -> Result<Vec<(String, i64)>, CopyError> {
    sqlx::raw_sql("SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0")
        .execute(&mut *to)
        .await?;
    let tables = in_order(tables(from).await?);
    for table in &tables {
        let lock = format!("LOCK TABLE {} IN EXCLUSIVE MODE", quoted(&table.name));
        sqlx::query(AssertSqlSafe(lock)).execute(&mut *to).await?;
        let any = format!("SELECT EXISTS (SELECT 1 FROM {})", quoted(&table.name));
        if sqlx::query_scalar(AssertSqlSafe(any))
            .fetch_one(&mut *to)
            .await?
        {
            return Err(CopyError::NotEmpty(table.name.clone()));
        }
    }
    let mut copied = Vec::with_capacity(tables.len());
    for table in &tables {
        copy_table(table, from, to).await?;
        let count = || AssertSqlSafe(format!("SELECT count(*) FROM {}", quoted(&table.name)));
        let old: i64 = sqlx::query_scalar(count()).fetch_one(&mut *from).await?;
        let new: i64 = sqlx::query_scalar(count()).fetch_one(&mut *to).await?;
        if old != new {
            let table = table.name.clone();
            return Err(CopyError::Count { table, old, new });
        }
        go_on_counting(table, to).await?;
        copied.push((table.name.clone(), new));
    }
    Ok(copied)
}

/// The tables of ours, as they are.
async fn tables(from: &mut SqliteConnection) -> Result<Vec<Table>, sqlx::Error> {
    let names: Vec<String> = sqlx::query_scalar(
        "SELECT name FROM sqlite_master WHERE type = 'table'
         AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' AND name <> '_sqlx_migrations' ORDER BY name",
    )
    .fetch_all(&mut *from)
    .await?;
    let mut tables = Vec::with_capacity(names.len());
    for name in names {
        let columns: Vec<(String, String)> =
            sqlx::query_as("SELECT name, type FROM pragma_table_info($1)")
                .bind(&name)
                .fetch_all(&mut *from)
                .await?;
        let columns = columns.into_iter().map(|(name, kind)| {
            let kind = match kind.as_str() {
                "INTEGER" | "INT" => Kind::Integer,
                "REAL" => Kind::Real,
                "TEXT" => Kind::Text,
                "BLOB" => Kind::Bytes,
                _ => return Err(corrupt("column type")),
            };
            Ok(Column { name, kind })
        });
        let columns = columns.collect::<Result<_, _>>()?;
        let refers_to: Vec<String> =
            sqlx::query_scalar("SELECT \"table\" FROM pragma_foreign_key_list($1)")
                .bind(&name)
                .fetch_all(&mut *from)
                .await?;
        let refers_to = refers_to.into_iter().filter(|to| *to != name).collect();
        tables.push(Table {
            name,
            columns,
            refers_to,
        });
    }
    Ok(tables)
}

/// A table after those that it refers to.
fn in_order(mut tables: Vec<Table>) -> Vec<Table> {
    let mut ordered = Vec::with_capacity(tables.len());
    let mut done = BTreeSet::new();
    while !tables.is_empty() {
        let ready = tables.iter().position(|t| t.refers_to.is_subset(&done));
        // Tables that refer to one another in a ring have no order; the copy fails by itself.
        let table = tables.remove(ready.unwrap_or(0));
        done.insert(table.name.clone());
        ordered.push(table);
    }
    ordered
}

async fn copy_table(
    table: &Table,
    from: &mut SqliteConnection,
    to: &mut PgConnection,
) -> Result<(), sqlx::Error> {
    let columns: Vec<String> = table.columns.iter().map(|c| quoted(&c.name)).collect();
    let columns = columns.join(", ");
    let select = format!(
        "SELECT {columns} FROM {} LIMIT $1 OFFSET $2",
        quoted(&table.name)
    );
    let mut offset = 0;
    loop {
        // Nothing changes meanwhile, so the order is the same each time.
        let rows = sqlx::query(AssertSqlSafe(select.clone()))
            .bind(i64::try_from(BATCH).unwrap_or(i64::MAX))
            .bind(offset)
            .fetch_all(&mut *from)
            .await?;
        if rows.is_empty() {
            return Ok(());
        }
        offset += i64::try_from(rows.len()).unwrap_or(i64::MAX);
        insert(table, &columns, &rows, to).await?;
    }
}

async fn insert(
    table: &Table,
    columns: &str,
    rows: &[SqliteRow],
    to: &mut PgConnection,
) -> Result<(), sqlx::Error> {
    let mut number = 0;
    let mut values = Vec::with_capacity(rows.len());
    for _ in rows {
        let row: Vec<String> = (table.columns.iter())
            .map(|_| {
                number += 1;
                format!("${number}")
            })
            .collect();
        values.push(format!("({})", row.join(", ")));
    }
    let name = quoted(&table.name);
    let insert = format!(
        "INSERT INTO {name} ({columns}) VALUES {}",
        values.join(", ")
    );
    let mut query = sqlx::query(AssertSqlSafe(insert));
    for row in rows {
        for (at, column) in table.columns.iter().enumerate() {
            query = match column.kind {
                Kind::Integer => query.bind(row.try_get::<Option<i64>, _>(at)?),
                Kind::Real => query.bind(row.try_get::<Option<f64>, _>(at)?),
                Kind::Text => query.bind(row.try_get::<Option<String>, _>(at)?),
                Kind::Bytes => query.bind(row.try_get::<Option<Vec<u8>>, _>(at)?),
            };
        }
    }
    query.execute(to).await?;
    Ok(())
}

/// Numbers that PostgreSQL gives out come after those that were copied.
async fn go_on_counting(table: &Table, to: &mut PgConnection) -> Result<(), sqlx::Error> {
    let counted: Vec<String> = sqlx::query_scalar(
        "SELECT column_name::text FROM information_schema.columns
         WHERE table_schema = current_schema() AND table_name = $1 AND is_identity = 'YES'",
    )
    .bind(&table.name)
    .fetch_all(&mut *to)
    .await?;
    for column in counted {
        let (name, quoted_column) = (quoted(&table.name), quoted(&column));
        let set = format!(
            "SELECT setval(pg_get_serial_sequence($1, $2), coalesce(max({quoted_column}), 0) + 1, false)
             FROM {name}"
        );
        let set = sqlx::query(AssertSqlSafe(set)).bind(&name).bind(&column);
        set.execute(&mut *to).await?;
    }
    Ok(())
}

/// A name in a statement.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
