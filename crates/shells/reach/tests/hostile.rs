//! STUN servers that lie, shout, stay silent or are somebody else.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use rtc::stun::attributes::{ATTR_MAPPED_ADDRESS, ATTR_OTHER_ADDRESS, ATTR_XORMAPPED_ADDRESS};
use rtc::stun::message::{BINDING_ERROR, BINDING_SUCCESS, Message, MessageType, TransactionId};
use rtc::stun::{addr::MappedAddress, xoraddr::XorMappedAddress};
use tokio::net::UdpSocket;
use warp_protocol::rest::IceServer;
use warp_reach::core::nat::{Filtering, Mapping, NatType};
use warp_reach::core::report::{Reached, ServerAnswer};
use warp_reach::stun::{
    Answer, AnswerFrom, MAX_DATAGRAMS, Question, all, ask, request, request_id, response,
};

/// Longest that a question waits here.
const WAIT: Duration = Duration::from_millis(900);
/// What honest answers say.
const SEEN: &str = "198.51.100.7:4000";

async fn socket() -> UdpSocket {
    UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap()
}

fn answer(kind: MessageType, id: TransactionId, other: Option<SocketAddr>) -> Vec<u8> {
    let mut message = Message {
        typ: kind,
        transaction_id: id,
        ..Message::default()
    };
    message.write_header();
    let seen: SocketAddr = SEEN.parse().unwrap();
    let address = XorMappedAddress {
        ip: seen.ip(),
        port: seen.port(),
    };
    address
        .add_to_as(&mut message, ATTR_XORMAPPED_ADDRESS)
        .unwrap();
    if let Some(other) = other {
        let address = MappedAddress {
            ip: other.ip(),
            port: other.port(),
        };
        address.add_to_as(&mut message, ATTR_OTHER_ADDRESS).unwrap();
    }
    message.raw
}

/// The id of the next question that `server` gets, and who asks.
async fn question(server: &UdpSocket) -> (TransactionId, SocketAddr) {
    let mut buffer = [0; 1500];
    loop {
        let (length, from) = server.recv_from(&mut buffer).await.unwrap();
        if let Some(id) = request_id(&buffer[..length]) {
            return (id, from);
        }
    }
}

async fn ask_one(socket: &UdpSocket, server: &UdpSocket) -> Option<Answer> {
    let questions = [Question::plain(server.local_addr().unwrap())];
    ask(socket, &questions, WAIT, all).await[0]
}

#[tokio::test]
async fn what_is_no_answer_is_passed_over_and_the_answer_is_taken() {
    let (client, server) = (socket().await, socket().await);
    let serving = async {
        let (id, from) = question(&server).await;
        let honest = answer(BINDING_SUCCESS, id, None);
        let mut cut = honest.clone();
        cut.truncate(25);
        let mut odd_length = honest.clone();
        odd_length[3] = 200;
        let mut no_cookie = honest.clone();
        no_cookie[4] = 0;
        for bad in [
            b"garbage".to_vec(),
            Vec::new(),
            vec![0xff; 9000],
            answer(BINDING_SUCCESS, TransactionId::new(), None),
            answer(BINDING_ERROR, id, None),
            request(id, AnswerFrom::Here),
            cut,
            odd_length,
            no_cookie,
        ] {
            server.send_to(&bad, from).await.unwrap();
        }
        server.send_to(&honest, from).await.unwrap();
    };
    let (found, ()) = tokio::join!(ask_one(&client, &server), serving);
    assert_eq!(found.unwrap().seen.to_string(), SEEN);
}

#[tokio::test]
async fn an_answer_from_somebody_else_is_none() {
    let (client, server, accomplice) = (socket().await, socket().await, socket().await);
    let serving = async {
        loop {
            let (id, from) = question(&server).await;
            let forged = answer(BINDING_SUCCESS, id, None);
            accomplice.send_to(&forged, from).await.unwrap();
        }
    };
    tokio::select! {
        found = ask_one(&client, &server) => assert_eq!(found, None),
        () = serving => unreachable!("it never ends"),
    }
}

#[tokio::test]
async fn an_answer_that_is_late_is_not_taken_for_that_of_the_next_question() {
    let (client, server) = (socket().await, socket().await);
    assert_eq!(ask_one(&client, &server).await, None);
    let serving = async {
        // Those of the first time, which waited all along.
        let (id, from) = question(&server).await;
        server
            .send_to(&answer(BINDING_SUCCESS, id, None), from)
            .await
            .unwrap();
    };
    let (found, ()) = tokio::join!(ask_one(&client, &server), serving);
    assert_eq!(found, None);
}

#[tokio::test]
async fn a_flood_gets_no_hearing() {
    for (garbage, heard) in [(MAX_DATAGRAMS - 1, true), (MAX_DATAGRAMS, false)] {
        let (client, server) = (socket().await, socket().await);
        let serving = async {
            let (id, from) = question(&server).await;
            for sent in 0..garbage {
                server.send_to(b"flood", from).await.unwrap();
                // The only thread turns to the reader, so that none is lost in a full buffer.
                if sent % 32 == 31 {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            }
            let honest = answer(BINDING_SUCCESS, id, None);
            server.send_to(&honest, from).await.unwrap();
        };
        let (found, ()) = tokio::join!(ask_one(&client, &server), serving);
        assert_eq!(found.is_some(), heard, "{garbage}");
    }
}

/// An HTTP client that needs no certificates.
fn http() -> reqwest::Client {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let builder = reqwest::Client::builder().no_proxy();
    builder.tls_backend_preconfigured(tls).build().unwrap()
}

#[tokio::test]
async fn a_server_that_names_another_door_does_not_make_us_knock_there() {
    let (server, door) = (socket().await, socket().await);
    let closed = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let nobody = closed.local_addr().unwrap();
    drop(closed);
    let plan = warp_reach::Plan {
        ice_servers: vec![IceServer {
            urls: vec![format!("stun:{}", server.local_addr().unwrap())],
            username: None,
            credential: None,
        }],
        health_url: format!("http://{nobody}/health"),
        http: http(),
        proxy: None,
        port_mapping: false,
    };
    let elsewhere = door.local_addr().unwrap();
    let serving = async {
        loop {
            let (id, from) = question(&server).await;
            // Its own address again, at the door's port.
            let lie = answer(BINDING_SUCCESS, id, Some(elsewhere));
            server.send_to(&lie, from).await.unwrap();
        }
    };
    let report = tokio::select! {
        report = warp_reach::look(plan) => report,
        () = serving => unreachable!("it never ends"),
    };
    assert!(
        door.try_recv_from(&mut [0; 64]).is_err(),
        "it got a datagram"
    );
    assert_eq!(report.servers[0].answer, ServerAnswer::Good);
    assert_eq!(report.udp, Some(true));
    assert_eq!(report.nat.filtering, Filtering::Unknown);
    assert_eq!(
        report.nat.mapping,
        Mapping::Unknown,
        "one server proves nothing"
    );
    assert_eq!(report.nat.kind, NatType::Unknown);
    assert_eq!(report.coordinator.reached, Reached::Nobody);
    assert!(report.took_ms <= 5000, "{report:?}");
}

proptest! {
    #[test]
    fn no_datagram_panics_the_reader(datagram: Vec<u8>) {
        let _ = response(&datagram);
        let _ = request_id(&datagram);
    }

    /// Whole headers around any attributes.
    #[test]
    fn no_attributes_panic_the_reader(mut body in prop::collection::vec(any::<u8>(), 0..200), id: [u8; 12]) {
        body.truncate(body.len() / 4 * 4);
        let mut datagram = vec![0x01, 0x01, 0, body.len() as u8, 0x21, 0x12, 0xa4, 0x42];
        datagram.extend(id);
        datagram.extend(&body);
        if let Some((read, seen, other)) = response(&datagram) {
            prop_assert_eq!(read.0, id);
            // An address is there only when it stood there whole.
            prop_assert!(body.len() >= 12, "{seen} {other:?}");
        }
    }

    /// What an honest server says is understood as it is meant, with either address attribute.
    #[test]
    fn answers_are_read_as_they_are_meant(
        ip in any::<std::net::IpAddr>(), port: u16, id: [u8; 12], xor: bool,
    ) {
        let mut message = Message {
            typ: BINDING_SUCCESS,
            transaction_id: TransactionId(id),
            ..Message::default()
        };
        message.write_header();
        if xor {
            XorMappedAddress { ip, port }.add_to_as(&mut message, ATTR_XORMAPPED_ADDRESS).unwrap();
        } else {
            MappedAddress { ip, port }.add_to_as(&mut message, ATTR_MAPPED_ADDRESS).unwrap();
        }
        let read = response(&message.raw);
        prop_assert_eq!(read, Some((TransactionId(id), SocketAddr::new(ip, port), None)));
    }
}
