//! Sign-in against a game server's account table in a real MariaDB.

use std::time::{Duration, Instant};

use reqwest::StatusCode;
use serde_json::{Value, json};
use warp_coordinator::{Coordinator, Running};
use warp_lab::MariaDb;

use crate::common::{Client, Server, config, refused, text, zone};

/// The columns that emulators' login servers share, and rows of all kinds.
const TABLE: &str = "
    CREATE DATABASE game;
    CREATE TABLE game.login (
        account_id int(11) unsigned NOT NULL AUTO_INCREMENT PRIMARY KEY,
        userid varchar(23) NOT NULL, user_pass varchar(32) NOT NULL,
        sex enum('M','F','S') NOT NULL DEFAULT 'M', email varchar(39) NOT NULL DEFAULT '',
        group_id tinyint(3) NOT NULL DEFAULT 0, state int(11) unsigned NOT NULL DEFAULT 0,
        unban_time int(11) unsigned NOT NULL DEFAULT 0,
        expiration_time int(11) unsigned NOT NULL DEFAULT 0, KEY (userid)
    ) ENGINE=InnoDB DEFAULT CHARSET=latin1 AUTO_INCREMENT=2000000;
    INSERT INTO game.login (userid, user_pass, sex, group_id, state, unban_time, expiration_time)
    VALUES ('s1', 'p1secret', 'S', 0, 0, 0, 0), ('Alice', 'wonder', 'F', 0, 0, 0, 0),
        ('keeper', 'keys', 'M', 99, 0, 0, 0), ('blocked', 'sesame', 'M', 0, 5, 0, 0),
        ('banned', 'sesame', 'M', 0, 0, 4000000000, 0),
        ('expired', 'sesame', 'M', 0, 0, 0, 1000000000),
        ('ours', 'of the game', 'M', 0, 0, 0, 0), ('empty', '', 'M', 0, 0, 0, 0),
        ('Ålice', 'other', 'F', 0, 0, 0, 0), ('odd name', 'sesame', 'M', 0, 0, 0, 0);
    CREATE TABLE game.hashed LIKE game.login;
    INSERT INTO game.hashed SELECT * FROM game.login;
    UPDATE game.hashed SET user_pass = MD5(user_pass) WHERE user_pass <> '';
    CREATE USER reader@'127.0.0.1' IDENTIFIED BY 'look only';
    GRANT SELECT ON game.* TO reader@'127.0.0.1';
";

fn table(game: &MariaDb, table: &str, md5: bool) -> Value {
    let port = game.port();
    json!({
        "url": format!("mysql://reader:look%20only@127.0.0.1:{port}/game"),
        "table": table,
        "md5": md5,
        "roles": {"99": "admin"},
    })
}

async fn start(accounts: Value) -> Server {
    let dir = tempfile::tempdir().unwrap();
    let (client, running) = start_in(dir.path(), accounts).await;
    Server {
        running,
        dir,
        client,
    }
}

async fn start_in(dir: &std::path::Path, accounts: Value) -> (Client, Running) {
    let mut config = config(dir);
    config.game_accounts = Some(serde_json::from_value(accounts).unwrap());
    let running = Coordinator::start(config).await.unwrap();
    (Client::new(&running.url), running)
}

async fn refresh(client: &Client, tokens: &Value) -> (StatusCode, Value) {
    let body = json!({"refresh_token": tokens["refresh_token"]});
    client.post("auth/refresh", body).await
}

async fn signed_in(client: &Client, name: &str, password: &str) -> Value {
    let (status, body) = client.login(name, password).await;
    assert_eq!(status, StatusCode::OK, "{name}: {body}");
    body
}

#[tokio::test]
async fn players_keep_the_account_that_they_have_in_the_game() {
    let mut game = match MariaDb::start() {
        Ok(game) => game,
        Err(reason) => return println!("SKIPPED: {reason}"),
    };
    game.run(TABLE).unwrap();
    for (name, md5) in [("login", false), ("hashed", true)] {
        whoever_may_sign_in_does(&game, name, md5).await;
        bans_and_new_passwords_count_at_the_next_refresh(&game, name, md5).await;
    }
    names_belong_to_one(&game).await;
    a_game_database_that_is_gone_is_said(&mut game).await;
}

async fn whoever_may_sign_in_does(game: &MariaDb, name: &str, md5: bool) {
    let server = start(table(game, name, md5)).await;
    let client = &server.client;
    server.running.put_zone(&zone("prontera")).await.unwrap();
    let alice = signed_in(client, "aLICE", "wonder").await;
    assert_eq!(alice["account"], json!({"name": "Alice", "role": "player"}));
    let keeper = signed_in(client, "keeper", "keys").await;
    assert_eq!(keeper["account"]["role"], "admin");
    // An account like any other: a device, a session, a refresh.
    client.granted(&text(&alice["access_token"]), 1).await;
    let (status, body) = refresh(client, &alice).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    assert_eq!(body["account"], alice["account"]);

    let wrong = client.login("nobody", "sesame").await;
    refused(&wrong, 401, "wrong-password");
    let stored = game.run(&format!(
        "SELECT user_pass FROM game.{name} WHERE userid = 'keeper'"
    ));
    let stored = stored.unwrap();
    let mut tries = vec![
        ("Alice", "WONDER"),
        ("Alice", ""),
        ("empty", ""),
        ("Alice' OR '1'='1", "wonder"),
        ("odd name", "sesame"),
        ("alice", "other"),
    ];
    if md5 {
        // The hash is no password.
        tries.push(("keeper", stored.trim()));
    }
    for (name, password) in tries {
        let answer = client.login(name, password).await;
        assert_eq!(answer, wrong, "{name} with {password}");
    }
    for (name, password) in [
        ("blocked", "sesame"),
        ("banned", "sesame"),
        ("expired", "sesame"),
        ("s1", "p1secret"),
    ] {
        refused(&client.login(name, password).await, 403, "forbidden");
        // Only who knows the password learns it.
        assert_eq!(client.login(name, "guessed").await, wrong, "{name}");
    }
    server.running.shutdown().await;
}

async fn bans_and_new_passwords_count_at_the_next_refresh(game: &MariaDb, name: &str, md5: bool) {
    let server = start(table(game, name, md5)).await;
    let client = &server.client;
    let set = |what: &str| {
        let update = format!("UPDATE game.{name} SET {what} WHERE userid = 'Alice'");
        game.run(&update).unwrap();
    };
    let password = |text: &str| match md5 {
        true => format!("user_pass = MD5('{text}')"),
        false => format!("user_pass = '{text}'"),
    };
    for (change, back) in [
        ("state = 5".to_owned(), "state = 0".to_owned()),
        (
            "unban_time = 4000000000".to_owned(),
            "unban_time = 0".to_owned(),
        ),
        (password("changed"), password("wonder")),
        ("account_id = 7".to_owned(), String::new()),
    ] {
        let phone = signed_in(client, "alice", "wonder").await;
        let desktop = signed_in(client, "alice", "wonder").await;
        set(&change);
        refused(&refresh(client, &phone).await, 401, "token-expired");
        if back.is_empty() {
            let id = "UPDATE game.{name} SET account_id = 2000001 WHERE userid = 'Alice'";
            game.run(&id.replace("{name}", name)).unwrap();
        } else {
            set(&back);
        }
        // For good, on every device: with the password it goes on.
        refused(&refresh(client, &phone).await, 401, "token-expired");
        refused(&refresh(client, &desktop).await, 401, "token-expired");
    }
    // A sign-in with a new password ends those with the old one.
    let old = signed_in(client, "alice", "wonder").await;
    set(&password("changed"));
    refused(
        &client.login("alice", "wonder").await,
        401,
        "wrong-password",
    );
    signed_in(client, "alice", "changed").await;
    refused(&refresh(client, &old).await, 401, "token-expired");
    set(&password("wonder"));
    // A new group counts at the next refresh, and nobody has to sign in again for it.
    let alice = signed_in(client, "alice", "wonder").await;
    set("group_id = 99");
    let (status, body) = refresh(client, &alice).await;
    assert_eq!(
        (status, &body["account"]["role"]),
        (StatusCode::OK, &json!("admin"))
    );
    set("group_id = 0");
    server.running.shutdown().await;
}

async fn names_belong_to_one(game: &MariaDb) {
    let server = start(table(game, "login", false)).await;
    let client = &server.client;
    // Nobody takes a player's name by registering it.
    refused(&client.register_as("ALICE").await, 409, "name-taken");
    client.register("somebody").await;
    // The operator may, and then it is ours: the game's password does not open it.
    let (name, role) = ("ours", warp_protocol::rest::AccountRole::Player);
    let password = warp_protocol::Secret::new("our own");
    server
        .running
        .ensure_user(name, password, role)
        .await
        .unwrap();
    refused(
        &client.login("ours", "of the game").await,
        401,
        "wrong-password",
    );
    signed_in(client, "ours", "our own").await;
    // A name that moves to another account of the table stays with the one that had it here.
    signed_in(client, "keeper", "keys").await;
    game.run(
        "UPDATE game.login SET userid = 'warden' WHERE userid = 'keeper';
         INSERT INTO game.login (userid, user_pass) VALUES ('keeper', 'false keys');",
    )
    .unwrap();
    refused(
        &client.login("keeper", "false keys").await,
        409,
        "name-taken",
    );
    let warden = signed_in(client, "warden", "keys").await;
    assert_eq!(warden["account"]["name"], "keeper");
    server.running.shutdown().await;
}

async fn a_game_database_that_is_gone_is_said(game: &mut MariaDb) {
    let server = start(table(game, "login", false)).await;
    let client = &server.client;
    let mut alice = signed_in(client, "alice", "wonder").await;
    let own = client.register("somebody").await;
    for frozen in [true, false] {
        if frozen {
            game.freeze().unwrap();
        } else {
            game.stop();
        }
        let began = Instant::now();
        let (unknown, login, kept, registered, known) = tokio::join!(
            client.login("nobody", "sesame"),
            client.login("alice", "wonder"),
            refresh(client, &alice),
            client.register_as("newcomer"),
            client.login("somebody", "sesame"),
        );
        for answer in [unknown, login, kept, registered] {
            refused(&answer, 503, "coordinator-fault");
            let detail = text(&answer.1["detail"]);
            assert!(detail.contains("game"), "{detail}");
        }
        let took = began.elapsed();
        assert!(took < Duration::from_secs(3), "frozen {frozen}: {took:?}");
        assert_eq!(known.0, StatusCode::OK, "our own accounts go on");
        if frozen {
            game.thaw().unwrap();
        } else {
            game.start_again().unwrap();
        }
        // The refresh token was not used up by the try.
        let began = Instant::now();
        alice = loop {
            match refresh(client, &alice).await {
                (StatusCode::OK, body) => break body,
                other => refused(&other, 503, "coordinator-fault"),
            }
            assert!(began.elapsed() < Duration::from_secs(10));
        };
    }
    let (status, body) = refresh(client, &own).await;
    assert_eq!(status, StatusCode::OK, "{body}");

    // Without the table its accounts cannot go on; ours can.
    server.running.shutdown().await;
    let running = Coordinator::start(config(server.dir.path())).await.unwrap();
    let client = Client::new(&running.url);
    refused(&refresh(&client, &alice).await, 401, "token-expired");
    refused(
        &client.login("alice", "wonder").await,
        401,
        "wrong-password",
    );
    signed_in(&client, "somebody", "sesame").await;
    running.shutdown().await;
}
