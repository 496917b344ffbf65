//! A relay: an allocation is made with the credentials and given back.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::BytesMut;
use rtc::sansio::Protocol as _;
use rtc::shared::{TransportContext, TransportMessage, TransportProtocol};
use rtc::turn::client::{Client, ClientConfig, Event};
use tokio::net::UdpSocket;
use tokio::time::{Instant, timeout_at};
use warp_protocol::Secret;
use warp_reach_core::report::ServerAnswer;

use crate::stun::MAX_DATAGRAMS;

/// How long an allocation may take: it is two round trips.
const WAIT: Duration = Duration::from_millis(1500);
/// First wait before a request is sent again, ms; it doubles.
const RETRANSMIT_MS: u64 = 200;
/// Longest datagram that is read, bytes.
const MAX_DATAGRAM: usize = 1500;

/// Asks `server` for a relayed address.
pub(crate) async fn allocate(server: SocketAddr, user: &str, password: &Secret) -> ServerAnswer {
    match relay(server, user, password).await {
        Ok(answer) => answer,
        Err(error) => {
            tracing::debug!(%error, %server, "the relay could not be asked");
            ServerAnswer::Silent
        }
    }
}

async fn relay(
    server: SocketAddr,
    user: &str,
    password: &Secret,
) -> Result<ServerAnswer, Box<dyn std::error::Error + Send + Sync>> {
    let local = crate::udp::local_address(server).await.ok_or("no route")?;
    let socket = UdpSocket::bind((local, 0)).await?;
    // The kernel drops what comes from elsewhere.
    socket.connect(server).await?;
    let config = ClientConfig {
        turn_serv_addr: server.to_string(),
        local_addr: socket.local_addr()?,
        username: user.to_owned(),
        password: password.reveal().to_owned(),
        rto_in_ms: RETRANSMIT_MS,
        ..ClientConfig::default()
    };
    let mut client = Client::new(config, rtc::crypto::default_provider()?)?;
    client.allocate(Instant::now().into_std())?;
    let end = Instant::now() + WAIT;
    let mut buffer = [0; MAX_DATAGRAM];
    let mut left = MAX_DATAGRAMS;
    loop {
        while let Some(transmit) = client.poll_write() {
            socket.send(&transmit.message).await?;
        }
        while let Some(event) = client.poll_event() {
            match event {
                Event::AllocateResponse(_, relayed) => {
                    // Best effort: it also ends by itself.
                    client.relay(relayed)?.close(Instant::now().into_std())?;
                    while let Some(transmit) = client.poll_write() {
                        socket.send(&transmit.message).await?;
                    }
                    return Ok(ServerAnswer::Good);
                }
                Event::AllocateError(_, error) => {
                    tracing::debug!(%error, %server, "the relay refused");
                    return Ok(ServerAnswer::Refused);
                }
                Event::TransactionTimeout(_) => return Ok(ServerAnswer::Silent),
                _ => {}
            }
        }
        let now = Instant::now();
        let wake = client
            .poll_timeout()
            .map_or(end, Instant::from_std)
            .min(end);
        if now >= end || left == 0 {
            return Ok(ServerAnswer::Silent);
        }
        match timeout_at(wake, socket.recv(&mut buffer)).await {
            Ok(Ok(length)) => {
                left -= 1;
                let message = TransportMessage {
                    now: Instant::now().into_std(),
                    transport: TransportContext {
                        local_addr: socket.local_addr()?,
                        peer_addr: server,
                        transport_protocol: TransportProtocol::UDP,
                        ecn: None,
                    },
                    message: BytesMut::from(&buffer[..length]),
                };
                // Garbage is no answer; the next datagram may be one.
                if let Err(error) = client.handle_read(message) {
                    tracing::debug!(%error, %server, "a datagram of the relay is not understood");
                }
            }
            Ok(Err(error)) => return Err(error.into()),
            Err(_elapsed) => client.handle_timeout(Instant::now().into_std())?,
        }
    }
}
