//! A UDP socket that moves one datagram at a time, for systems that lack what the batched one asks for.

use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::ReadBuf;
use tokio::net::UdpSocket;
use webrtc::runtime::{AsyncUdpSocket, RecvMeta, Transmit};

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Plain(UdpSocket);

impl Plain {
    pub(super) fn wrap(socket: std::net::UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        socket.set_nonblocking(true)?;
        Ok(Arc::new(Self(UdpSocket::from_std(socket)?)))
    }
}

impl AsyncUdpSocket for Plain {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    fn poll_send(&self, cx: &mut Context<'_>, transmit: &Transmit<'_>) -> Poll<io::Result<usize>> {
        self.0
            .poll_send_to(cx, transmit.contents, transmit.destination)
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let (Some(buf), Some(meta)) = (bufs.first_mut(), meta.first_mut()) else {
            return Poll::Ready(Ok(0));
        };
        let mut filled = ReadBuf::new(buf);
        let from = ready!(self.0.poll_recv_from(cx, &mut filled))?;
        *meta = RecvMeta::default();
        meta.addr = from;
        meta.len = filled.filled().len();
        // The reader divides by it.
        meta.stride = meta.len.max(1);
        Poll::Ready(Ok(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;

    fn socket() -> Arc<dyn AsyncUdpSocket> {
        Plain::wrap(std::net::UdpSocket::bind("127.0.0.1:0").unwrap()).unwrap()
    }

    #[tokio::test]
    async fn datagrams_keep_their_bounds_and_their_sender() {
        let (here, there) = (socket(), socket());
        let destination = there.local_addr().unwrap();
        for contents in [&b"first"[..], b"", b"third"] {
            let transmit = Transmit {
                destination,
                ecn: None,
                contents,
                segment_size: None,
                src_ip: None,
            };
            let sent = poll_fn(|cx| here.poll_send(cx, &transmit)).await.unwrap();
            assert_eq!(sent, contents.len());
        }
        assert_eq!(there.max_gso_segments(), 1);
        for contents in [&b"first"[..], b"", b"third"] {
            let mut bytes = [0; 16];
            let mut meta = [RecvMeta::default()];
            let count =
                poll_fn(|cx| there.poll_recv(cx, &mut [IoSliceMut::new(&mut bytes)], &mut meta));
            assert_eq!(count.await.unwrap(), 1);
            assert_eq!(&bytes[..meta[0].len], contents);
            assert_eq!(meta[0].stride, contents.len().max(1));
            assert_eq!(meta[0].addr, here.local_addr().unwrap());
        }
    }
}
