//! A UDP socket that sends more than once what sets the connection up.
//!
//! DTLS and SCTP wait one and three seconds before they send anew what was lost, and rtc-dtls 0.21.1 not
//! even that: a side that hears the other one repeat itself forgets its own timer, so a lost flight
//! stays lost and the set-up stands until it is given up. Of two hundred set-ups over a way that lost one
//! datagram in twenty, four did.
//!
//! So until the channel is open each datagram of DTLS is sent again, as it was, after each of
//! [`AFTER`]. The other side's replay window drops what it has. That costs some dozen datagrams a
//! connection, and nothing once it is open.

use std::io::{self, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use webrtc::runtime::{AsyncUdpSocket, RecvMeta, Transmit};

/// When a datagram is sent again, counted from when it was sent.
const AFTER: [Duration; 4] = [
    Duration::from_millis(30),
    Duration::from_millis(300),
    Duration::from_secs(1),
    Duration::from_secs(3),
];

/// Datagrams of a socket that are sent again; a set-up without losses has about twenty.
const MOST: u32 = 64;

/// First bytes of DTLS records and of TURN's channel data, in which they travel over a relay (RFC 7983).
/// STUN repeats itself.
const REPEATED: std::ops::RangeInclusive<u8> = 20..=79;

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Again {
    socket: Arc<dyn AsyncUdpSocket>,
    /// The same socket, as long as there is something to set up. Two tasks that wait until one can be
    /// written to would take each other's turn.
    copy: Weak<UdpSocket>,
    settled: Arc<AtomicBool>,
    ended: CancellationToken,
    left: AtomicU32,
}

impl Again {
    /// `copy` is the socket that the library has as `socket`, for its owner to drop when `settled` is
    /// set. What is sent from then on is not repeated, and nothing once `ended` is cancelled.
    pub(super) fn wrap(
        socket: Arc<dyn AsyncUdpSocket>,
        copy: &Arc<UdpSocket>,
        settled: Arc<AtomicBool>,
        ended: CancellationToken,
    ) -> Arc<dyn AsyncUdpSocket> {
        Arc::new(Self {
            socket,
            copy: Arc::downgrade(copy),
            settled,
            ended,
            left: AtomicU32::new(MOST),
        })
    }

    fn repeat(&self, copy: &Arc<UdpSocket>, transmit: &Transmit<'_>) {
        let all = transmit.contents.len().max(1);
        let each = transmit.segment_size.unwrap_or(all).max(1);
        for datagram in transmit.contents.chunks(each) {
            let first = datagram.first();
            if !first.is_some_and(|first| REPEATED.contains(first)) {
                continue;
            }
            let take = |left: u32| left.checked_sub(1);
            let order = Ordering::Relaxed;
            if self.left.fetch_update(order, order, take).is_err() {
                return;
            }
            let work = send_again(
                Arc::clone(copy),
                datagram.to_vec(),
                transmit.destination,
                Arc::clone(&self.settled),
            );
            tokio::spawn(self.ended.clone().run_until_cancelled_owned(work));
        }
    }
}

async fn send_again(
    socket: Arc<UdpSocket>,
    datagram: Vec<u8>,
    to: SocketAddr,
    settled: Arc<AtomicBool>,
) {
    let sent = tokio::time::Instant::now();
    // The first copy goes out in any case: what opened the channel here may be what the other side
    // still waits for.
    let later = Arc::downgrade(&socket);
    let mut first = Some(socket);
    for after in AFTER {
        tokio::time::sleep_until(sent + after).await;
        let still = || (later.upgrade()).filter(|_| !settled.load(Ordering::Relaxed));
        let Some(socket) = first.take().or_else(still) else {
            return;
        };
        // Where it cannot be sent it is as good as lost, and there are more.
        let _ = socket.send_to(&datagram, to);
    }
}

impl AsyncUdpSocket for Again {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    fn poll_send(&self, cx: &mut Context<'_>, transmit: &Transmit<'_>) -> Poll<io::Result<usize>> {
        let sent = self.socket.poll_send(cx, transmit);
        if matches!(sent, Poll::Ready(Ok(_)))
            && !self.settled.load(Ordering::Relaxed)
            && let Some(copy) = self.copy.upgrade()
        {
            self.repeat(&copy, transmit);
        }
        sent
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        self.socket.poll_recv(cx, bufs, meta)
    }

    fn max_gso_segments(&self) -> usize {
        self.socket.max_gso_segments()
    }

    fn max_gro_segments(&self) -> usize {
        self.socket.max_gro_segments()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peer::plain::Plain;
    use std::future::poll_fn;

    const DTLS: u8 = 22;
    const STUN: u8 = 0;

    fn bound() -> UdpSocket {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_nonblocking(true).unwrap();
        socket
    }

    async fn send(socket: &Arc<dyn AsyncUdpSocket>, to: &UdpSocket, contents: &[u8]) {
        let transmit = Transmit {
            destination: to.local_addr().unwrap(),
            ecn: None,
            contents,
            segment_size: None,
            src_ip: None,
        };
        let sent = poll_fn(|cx| socket.poll_send(cx, &transmit)).await.unwrap();
        assert_eq!(sent, contents.len());
    }

    /// The first bytes of what has come.
    fn come(socket: &UdpSocket) -> Vec<u8> {
        let mut bytes = [0; 16];
        let next = || socket.recv(&mut bytes).ok().map(|_| bytes[0]);
        std::iter::from_fn(next).collect()
    }

    fn wrapped() -> (Arc<dyn AsyncUdpSocket>, Arc<UdpSocket>, Arc<AtomicBool>) {
        let socket = bound();
        let copy = Arc::new(socket.try_clone().unwrap());
        let (settled, ended) = (Arc::default(), CancellationToken::new());
        let plain = Plain::wrap(socket).unwrap();
        let wrapped = Again::wrap(plain, &copy, Arc::clone(&settled), ended);
        (wrapped, copy, settled)
    }

    /// Until no copy is to be sent any more.
    async fn all_sent() {
        let metrics = tokio::runtime::Handle::current().metrics();
        while metrics.num_alive_tasks() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    #[tokio::test]
    async fn what_sets_up_is_sent_again_until_the_channel_is_open() {
        let (there, (here, copy, settled)) = (bound(), wrapped());
        send(&here, &there, &[STUN]).await;
        send(&here, &there, &[DTLS]).await;
        let mut got = Vec::new();
        while got.len() < 4 {
            tokio::time::sleep(Duration::from_millis(5)).await;
            got.extend(come(&there));
        }
        assert_eq!(got, [STUN, DTLS, DTLS, DTLS]);
        // The newest gets its first copy, and the older one no more.
        send(&here, &there, &[DTLS + 1]).await;
        settled.store(true, Ordering::Relaxed);
        drop(copy);
        send(&here, &there, &[DTLS + 2]).await;
        all_sent().await;
        assert_eq!(come(&there), [DTLS + 1, DTLS + 2, DTLS + 1]);
    }

    #[tokio::test]
    async fn no_more_than_so_many_are_sent_again() {
        let (there, (here, copy, settled)) = (bound(), wrapped());
        for _ in 0..2 * MOST {
            send(&here, &there, &[DTLS]).await;
        }
        settled.store(true, Ordering::Relaxed);
        drop(copy);
        all_sent().await;
        assert_eq!(come(&there).len(), 3 * MOST as usize);
    }
}
