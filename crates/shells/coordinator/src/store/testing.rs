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

/// Makes the tests `on_sqlite::NAME` of each `async fn NAME(&Store)`, and one test for all of them on
/// PostgreSQL, each in a database of its own: a test runner that starts a process for each test would
/// start a server for each, too.
macro_rules! on_both {
    ($($name:ident),+ $(,)?) => {
        mod on_sqlite {
            $(#[tokio::test]
            async fn $name() {
                let (_dir, store) = $crate::store::testing::sqlite().await;
                super::$name(&store).await;
            })+
        }
        #[tokio::test]
        async fn all_on_postgres() {
            $(
                let Some(store) = $crate::store::testing::postgres().await else {
                    return;
                };
                println!(stringify!($name));
                $name(&store).await;
                store.close().await;
            )+
        }
    };
}
pub(crate) use on_both;
