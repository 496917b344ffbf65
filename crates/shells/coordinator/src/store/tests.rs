//! What is about the databases themselves.

use std::collections::BTreeMap;

use super::*;

/// A column: its type in SQLite's words, and whether it may be NULL.
type Columns = BTreeMap<(String, String), (String, bool)>;

#[tokio::test]
async fn both_databases_have_the_same_tables_and_columns() {
    let Some(postgres) = testing::postgres().await else {
        return;
    };
    let (_dir, sqlite) = testing::sqlite().await;
    let mut in_sqlite = Columns::new();
    let columns = sql("SELECT m.name, c.name, c.type, c.\"notnull\" + c.pk
         FROM sqlite_master m JOIN pragma_table_info(m.name) c WHERE m.type = 'table'");
    for (table, column, kind, required) in sqlite
        .all::<(String, String, String, i64)>(columns)
        .await
        .unwrap()
    {
        in_sqlite.insert((table, column), (kind, required == 0));
    }
    let mut in_postgres = Columns::new();
    let columns = sql(
        "SELECT table_name::text, column_name::text, data_type::text, is_nullable = 'YES'
         FROM information_schema.columns WHERE table_schema = 'public'",
    );
    for (table, column, kind, nullable) in postgres
        .all::<(String, String, String, bool)>(columns)
        .await
        .unwrap()
    {
        let kind = match kind.as_str() {
            "bigint" => "INTEGER",
            "text" => "TEXT",
            "bytea" => "BLOB",
            "double precision" => "REAL",
            other => other,
        };
        in_postgres.insert((table, column), (kind.to_owned(), nullable));
    }
    let ours = |(table, _): &(String, String), _: &mut _| {
        !table.starts_with("_sqlx") && !table.starts_with("sqlite_")
    };
    in_sqlite.retain(ours);
    in_postgres.retain(ours);
    assert!(in_sqlite.len() > 20, "{in_sqlite:?}");
    assert_eq!(in_sqlite, in_postgres);
    let numbers = |migrations: &Migrator| -> Vec<_> {
        let each = migrations.iter();
        each.map(|m| (m.version, m.description.clone())).collect()
    };
    assert_eq!(numbers(&SQLITE_MIGRATIONS), numbers(&POSTGRES_MIGRATIONS));
}

testing::on_both!(
    a_transaction_that_is_given_up_changes_nothing,
    a_statement_that_is_refused_leaves_the_database_usable,
);

async fn a_transaction_that_is_given_up_changes_nothing(store: &Store) {
    for _ in 0..30 {
        let mut tx = store.begin().await.unwrap();
        let insert = sql("INSERT INTO settings (name, value, updated_at) VALUES ('p2p', 'off', 1)");
        assert_eq!(tx.execute(insert).await.unwrap(), 1);
        drop(tx);
    }
    assert!(store.p2p().await.unwrap());
}

async fn a_statement_that_is_refused_leaves_the_database_usable(store: &Store) {
    let wrong = || {
        sql("INSERT INTO zones (zone_id, status, body, updated_at) VALUES ('z', $1, '{}', 1)")
            .bind("ajar")
    };
    for _ in 0..30 {
        let refused = store.execute(wrong()).await.unwrap_err();
        assert!(matches!(refused, StoreError::Failed(_)), "{refused}");
    }
    let mut tx = store.begin().await.unwrap();
    assert!(tx.execute(wrong()).await.is_err());
    assert!(
        tx.commit().await.is_err(),
        "what has failed is not committed"
    );
    store.set_p2p(false).await.unwrap();
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn postgres_that_is_stopped_or_frozen_is_told_in_time_and_used_again_afterwards() {
    let mut server = match warp_lab::Postgres::start() {
        Ok(server) => server,
        Err(reason) => return println!("SKIPPED: {reason}"),
    };
    let url: DatabaseUrl = server.database().parse().unwrap();
    let store = Store::open("".as_ref(), Some(&url)).await.unwrap();
    let ask_all = async || {
        let started = std::time::Instant::now();
        let mut asking = tokio::task::JoinSet::new();
        // Many more than there are connections.
        for _ in 0..100 {
            let store = store.clone();
            asking.spawn(async move { store.p2p().await.is_ok() });
        }
        let (pinged, done) = tokio::join!(
            async { (store.ping().await.is_ok(), started.elapsed()) },
            asking.join_all()
        );
        let answered = done.into_iter().filter(|ok| *ok).count();
        (answered, started.elapsed(), pinged)
    };
    for round in 0..3 {
        let (answered, _, pinged) = ask_all().await;
        assert_eq!((answered, pinged.0), (100, true), "round {round}");
        if round == 1 {
            server.stop();
        } else {
            server.freeze().unwrap();
        }
        for _ in 0..2 {
            let (answered, took, (up, ping_took)) = ask_all().await;
            assert_eq!((answered, up), (0, false), "round {round}");
            assert!(took < Duration::from_secs(2), "round {round}: {took:?}");
            assert!(ping_took < Duration::from_millis(1300), "{ping_took:?}");
        }
        if round == 1 {
            server.start_again().unwrap();
        } else {
            server.thaw().unwrap();
        }
        let back = std::time::Instant::now();
        while store.ping().await.is_err() {
            assert!(back.elapsed() < Duration::from_secs(10), "round {round}");
        }
        println!("round {round}: in use again after {:?}", back.elapsed());
    }
}

/// How many commits SQLite has had.
async fn commits(store: &Store) -> u64 {
    match &store.pool {
        Pool::Sqlite { writer, .. } => writer.commits().await,
        Pool::Postgres(_) => unreachable!("these tests are SQLite's"),
    }
}

async fn add(store: Store, name: String) -> Result<Option<i64>, StoreError> {
    let role = warp_protocol::rest::AccountRole::Player;
    store.add_account(&name, role, "$phc", 0).await
}

async fn is_there(store: &Store, name: &str) -> bool {
    store.account(name).await.unwrap().is_some()
}

#[tokio::test]
async fn hundreds_who_write_at_once_share_commits_and_all_are_answered() {
    let (_dir, store) = testing::sqlite().await;
    let before = commits(&store).await;
    let mut writing = tokio::task::JoinSet::new();
    for n in 0..500 {
        writing.spawn(add(store.clone(), format!("p{n}")));
    }
    let made = writing.join_all().await;
    assert!(
        made.iter().all(|made| matches!(made, Ok(Some(_)))),
        "{made:?}"
    );
    let shared = commits(&store).await - before;
    assert!(shared < 50, "{shared} commits for 500 writers");
    // Seen over another connection, so they are committed.
    let count = sql("SELECT count(*) FROM accounts");
    assert_eq!(store.count(count).await.unwrap(), 500);
}

#[tokio::test]
async fn of_those_who_share_a_commit_one_that_fails_or_goes_away_is_undone_alone() {
    let (_dir, store) = testing::sqlite().await;
    let begun = std::sync::Arc::new(tokio::sync::Notify::new());
    let mut first = store.begin().await.unwrap();
    let set = sql("INSERT INTO settings (name, value, updated_at) VALUES ('p2p', 'off', 1)");
    first.execute(set).await.unwrap();
    let mut sharing = tokio::task::JoinSet::new();
    sharing.spawn(add(store.clone(), "alice".into()));
    let other = store.clone();
    let failing = tokio::spawn(async move {
        let twice = sql("INSERT INTO settings (name, value, updated_at) VALUES ('p2p', 'on', 1)");
        other.execute(twice).await
    });
    let (other, told) = (store.clone(), begun.clone());
    let going = tokio::spawn(async move {
        let mut tx = other.begin().await.unwrap();
        let insert = sql("INSERT INTO settings (name, value, updated_at) VALUES ('x', 'y', 1)");
        tx.execute(insert).await.unwrap();
        told.notify_one();
        std::future::pending::<()>().await;
    });
    let last = tokio::spawn(add(store.clone(), "bob".into()));
    first.commit().await.unwrap();
    // `going` holds the writer while it is there.
    begun.notified().await;
    going.abort();
    let refused = failing.await.unwrap().unwrap_err();
    assert!(refused.to_string().contains("UNIQUE"), "{refused}");
    assert!(matches!(last.await.unwrap(), Ok(Some(_))));
    assert!(matches!(sharing.join_next().await, Some(Ok(Ok(Some(_))))));
    assert!(is_there(&store, "alice").await && is_there(&store, "bob").await);
    assert!(!store.p2p().await.unwrap());
    let left = sql("SELECT count(*) FROM settings WHERE name = 'x'");
    assert_eq!(store.count(left).await.unwrap(), 0);
}

#[tokio::test]
async fn callers_who_go_away_at_whatever_moment_harm_nobody() {
    let (_dir, store) = testing::sqlite().await;
    for n in 0..150 {
        let leaver = async {
            tokio::select! {
                biased;
                made = add(store.clone(), format!("left{n}")) => drop(made.unwrap()),
                () = async {
                    for _ in 0..n {
                        tokio::task::yield_now().await;
                    }
                } => {}
            }
        };
        let ((), stays) = tokio::join!(leaver, add(store.clone(), format!("stays{n}")));
        assert!(matches!(stays, Ok(Some(_))), "round {n}: {stays:?}");
    }
    let stay = sql("SELECT count(*) FROM accounts WHERE name LIKE 'stays%'");
    assert_eq!(store.count(stay).await.unwrap(), 150);
}

#[tokio::test]
async fn when_the_disk_is_full_whoever_was_told_that_it_counts_is_there_and_nobody_else() {
    let (_dir, store) = testing::sqlite().await;
    let mut tx = store.begin().await.unwrap();
    // Later writes of this connection find no further page.
    let full = sql("PRAGMA max_page_count = 1");
    tx.optional::<(i64,)>(full).await.unwrap();
    tx.commit().await.unwrap();
    let mut writing = tokio::task::JoinSet::new();
    for n in 0..40 {
        // Some fit into pages that are there already.
        let name = format!("{n}-{}", "x".repeat(if n % 4 == 3 { 9000 } else { 1 }));
        let store = store.clone();
        writing.spawn(async move { (add(store, name.clone()).await, name) });
    }
    let (mut told, mut refused) = (0, 0);
    while let Some(done) = writing.join_next().await {
        let (made, name) = done.unwrap();
        assert_eq!(
            made.is_ok(),
            is_there(&store, &name).await,
            "{name}: {made:?}"
        );
        if made.is_ok() {
            told += 1
        } else {
            refused += 1
        }
    }
    // At least one; what fails may cost the connection, and with it its limit.
    assert!(refused > 0, "{told} told, {refused} refused");
    // There is room again.
    if let Ok(mut tx) = store.begin().await {
        let room = sql("PRAGMA max_page_count = 100000");
        tx.optional::<(i64,)>(room).await.unwrap();
        tx.commit().await.unwrap();
    }
    let made = add(store.clone(), "x".repeat(9000)).await;
    assert!(matches!(made, Ok(Some(_))), "{made:?}");
}
