//! The store's tests run on both databases: a test is a function of a store, and [`on_both`] makes
//! a test for each database of it.

use super::{DatabaseUrl, Store};

/// A new SQLite file; it goes with the directory.
pub(crate) async fn sqlite() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), None).await.unwrap();
    (dir, store)
}

/// A new PostgreSQL database. Says so where there is none.
pub(crate) async fn postgres() -> Option<Store> {
    let url = postgres_url()?;
    Some(Store::open("".as_ref(), Some(&url)).await.unwrap())
}

/// The address of a new PostgreSQL database.
pub(crate) fn postgres_url() -> Option<DatabaseUrl> {
    #[cfg(target_os = "linux")]
    match warp_lab::Postgres::shared() {
        Ok(server) => return Some(server.database().parse().unwrap()),
        Err(reason) => println!("SKIPPED: {reason}"),
    }
    #[cfg(not(target_os = "linux"))]
    println!("SKIPPED: the tests start PostgreSQL on Linux only");
    None
}

/// Makes the tests `on_sqlite::NAME` and `on_postgres::NAME` of each `async fn NAME(&Store)`.
macro_rules! on_both {
    ($($name:ident),+ $(,)?) => {
        mod on_sqlite {
            $(#[tokio::test]
            async fn $name() {
                let (_dir, store) = $crate::store::testing::sqlite().await;
                super::$name(&store).await;
            })+
        }
        mod on_postgres {
            $(#[tokio::test]
            async fn $name() {
                if let Some(store) = $crate::store::testing::postgres().await {
                    super::$name(&store).await;
                }
            })+
        }
    };
}
pub(crate) use on_both;
