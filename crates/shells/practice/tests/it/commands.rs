//! Lines that the client was told to say, with and without somebody who answers commands.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::OwnedWriteHalf;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Mutex;
use tokio::time::timeout;
use warp_practice::client::{self, ClientConfig, ClientEvent, DeviationCode, Mode, Summary};
use warp_practice::server::{EventReceiver, Server, ServerConfig, ServerEvent};

use crate::raw::{PATIENCE, TIME};

type Said = Vec<(String, Vec<String>)>;

async fn says(mut config: ClientConfig, texts: &[&str]) -> (Summary, Said) {
    config.say = texts.iter().map(|text| (*text).to_owned()).collect();
    config.mode = Mode::EchoProbe;
    config.play_for = Some(Duration::from_millis(200));
    let mut said = Vec::new();
    let playing = client::run(config, |event| {
        if let ClientEvent::Said {
            text,
            lines,
            answered_ms,
        } = event
        {
            assert!(*answered_ms > 0.0);
            said.push((text.clone(), lines.clone()));
        }
    });
    let summary = timeout(PATIENCE, playing).await.expect("in time").unwrap();
    (summary, said)
}

/// The messages of the lines that reached the server, without those of the probe.
async fn heard(server: Server, mut events: EventReceiver, texts: &[&str]) -> Vec<String> {
    let (count, mut chats) = (server.chat_lines(), 0);
    server.shutdown().await;
    let mut heard = Vec::new();
    while let Some(event) = events.recv().await {
        if let ServerEvent::Chat { user, text } = event {
            assert_eq!(user, "test1");
            chats += 1;
            let message = text.strip_prefix("Practice 1 : ").unwrap().to_owned();
            if texts.contains(&message.as_str()) {
                heard.push(message);
            }
        }
    }
    assert_eq!(count, chats);
    heard
}

fn telling() -> ServerConfig {
    let mut config = ServerConfig::loopback();
    config.tell_chat = true;
    config
}

#[tokio::test]
async fn usual_lines_are_answered_by_the_server() {
    for version in warp_practice::version::versions() {
        let mut speech = telling();
        speech.version = version;
        let server = Server::start(speech).await.unwrap();
        let events = server.events();
        let mut config = ClientConfig::new(server.login_addr(), "test1", "test1");
        config.version = version;
        let texts = [
            "good morning",
            "/p2px",
            "say /p2p",
            "@nothing",
            "@p2pstatus",
        ];
        let (summary, said) = says(config, &texts).await;
        assert_eq!(summary.errors, []);
        assert!(summary.ok);
        assert_eq!((summary.said, summary.extra_time), (5, 0));
        let answers = [
            "Practice 1 : good morning",
            "Practice 1 : /p2px",
            "Practice 1 : say /p2p",
            "@nothing is Unknown Command.",
            "@p2pstatus is Unknown Command.",
        ];
        let expected = texts.iter().zip(answers);
        let expected: Said = expected
            .map(|(text, answer)| ((*text).to_owned(), vec![answer.to_owned()]))
            .collect();
        assert_eq!(said, expected);
        assert_eq!(heard(server, events, &texts).await, texts);
    }
}

#[tokio::test]
async fn a_command_that_reaches_the_server_is_a_deviation() {
    for command in ["/p2p status", "@p2p status"] {
        let server = Server::start(telling()).await.unwrap();
        let events = server.events();
        let config = ClientConfig::new(server.login_addr(), "test1", "test1");
        let (summary, said) = says(config, &[command]).await;
        assert!(!summary.ok && said.is_empty());
        assert_eq!(summary.errors[0].code, DeviationCode::ReachedServer);
        assert_eq!(heard(server, events, &[command]).await, [command]);
    }
}

/// How the relay below deals with commands.
#[derive(Debug, Clone, Copy)]
enum Manner {
    /// Answers with two lines, the second one a moment later, and asks the server for the time.
    Answers,
    /// Keeps it and says nothing.
    Swallows,
}

/// A relay at the first map server that does with commands what a bridge does.
async fn bridged(manner: Manner) -> (Server, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let SocketAddr::V4(address) = listener.local_addr().unwrap() else {
        unreachable!("bound to IPv4");
    };
    let mut config = telling();
    config.announce_map = Some(address);
    let server = Server::start(config).await.unwrap();
    let (map, login) = (server.map_addr(), server.login_addr());
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let server = TcpStream::connect(map).await.unwrap();
            client.set_nodelay(true).unwrap();
            server.set_nodelay(true).unwrap();
            let (mut from_client, to_client) = client.into_split();
            let (mut from_server, mut to_server) = server.into_split();
            let to_client = Arc::new(Mutex::new(to_client));
            let down = Arc::clone(&to_client);
            tokio::spawn(async move {
                let mut buffer = vec![0; 64 * 1024];
                while let Ok(count @ 1..) = from_server.read(&mut buffer).await {
                    let mut down = down.lock().await;
                    down.write_all(&buffer[..count]).await.unwrap();
                }
                let _gone = down.lock().await.shutdown().await;
            });
            tokio::spawn(async move {
                let mut buffer = vec![0; 64 * 1024];
                while let Ok(count @ 1..) = from_client.read(&mut buffer).await {
                    let packet = &buffer[..count];
                    let is_chat = packet.starts_with(&[0xf3, 0]);
                    let text = String::from_utf8_lossy(packet);
                    if is_chat && (text.contains(" : /p2p ") || text.contains(" : @p2p\0")) {
                        if matches!(manner, Manner::Answers) {
                            to_server.write_all(&TIME).await.unwrap();
                            line(&to_client, "path: direct").await;
                            line(&to_client, "delay: 3 ms").await;
                        }
                    } else {
                        to_server.write_all(packet).await.unwrap();
                    }
                }
                let _gone = to_server.shutdown().await;
            });
        }
    });
    (server, login)
}

async fn line(to: &Mutex<OwnedWriteHalf>, text: &str) {
    let length = u16::try_from(text.len() + 5).unwrap();
    let packet = [&[0x8e, 0][..], &length.to_le_bytes(), text.as_bytes(), &[0]].concat();
    to.lock().await.write_all(&packet).await.unwrap();
}

#[tokio::test]
async fn a_command_is_answered_by_a_bridge_and_a_time_may_come_unasked() {
    let (server, login) = bridged(Manner::Answers).await;
    let events = server.events();
    let config = ClientConfig::new(login, "test1", "test1");
    let texts = ["/p2p status", "hello", "@p2p"];
    let (summary, said) = says(config, &texts).await;
    assert_eq!(summary.errors, []);
    assert!(summary.ok);
    assert_eq!((summary.said, summary.extra_time), (3, 2));
    let answer = || vec!["path: direct".to_owned(), "delay: 3 ms".to_owned()];
    let expected: Said = vec![
        ("/p2p status".to_owned(), answer()),
        ("hello".to_owned(), vec!["Practice 1 : hello".to_owned()]),
        ("@p2p".to_owned(), answer()),
    ];
    assert_eq!(said, expected);
    assert_eq!(heard(server, events, &texts).await, ["hello"]);
}

#[tokio::test]
async fn a_command_without_an_answer_is_a_deviation() {
    let (server, login) = bridged(Manner::Swallows).await;
    let mut config = ClientConfig::new(login, "test1", "test1");
    config.answer_timeout = Duration::from_secs(1);
    let (summary, said) = says(config, &["/p2p status", "hello"]).await;
    assert!(!summary.ok && said.is_empty());
    assert_eq!(summary.errors[0].code, DeviationCode::AnswerMissing);
    server.shutdown().await;
}
