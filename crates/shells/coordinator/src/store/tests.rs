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
