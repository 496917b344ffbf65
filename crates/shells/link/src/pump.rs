//! Turns a sink and a stream of messages into a [`Carrier`].

use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Sink, SinkExt, Stream, StreamExt, stream};
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, PollSender};

use crate::carrier::{Carrier, CloseReason, Core, FinishOnDrop};

/// What came out of the transport.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Inbound {
    /// One datagram.
    Datagram(Bytes),
    /// A message that carries no datagram (text, ping, pong); counted.
    Other,
    /// The transport has ended.
    Closed(CloseReason),
}

/// How many datagrams are written before they are flushed: enough to share a system call, few
/// enough that the first of them does not wait for long.
const FLUSH_EVERY: usize = 32;

/// How long the farewell may take.
const GOODBYE: Duration = Duration::from_secs(1);

impl Carrier {
    /// A carrier over `sink` and `stream`, one message per datagram, for instance the two halves of
    /// a server's WebSocket.
    ///
    /// One task runs both directions until `stop` is cancelled, all handles are dropped, the stream
    /// ends or the sink fails; then it closes the sink and is gone. `stop` should be a child token
    /// of the caller's, because the carrier cancels it when it is closed. The transport's own limit
    /// on message size is the caller's to set: 64 KiB is plenty, and anything beyond
    /// [`crate::MAX_DATAGRAM`] is dropped here.
    pub fn from_parts<Out, In>(sink: Out, stream: In, stop: CancellationToken) -> Carrier
    where
        Out: Sink<Bytes> + Send + 'static,
        Out::Error: std::fmt::Display + Send,
        In: Stream<Item = Inbound> + Send + 'static,
    {
        let core = Core::new(stop);
        let carrier = Carrier::new(core.clone());
        tokio::spawn(async move {
            let guard = FinishOnDrop(core);
            let core = &guard.0;
            let mut sink = pin!(sink);
            let reason = tokio::select! {
                () = core.stop.cancelled() => CloseReason::Local,
                reason = read(core, stream) => reason,
                reason = write(core, sink.as_mut()) => reason,
            };
            core.finish(reason);
            // Best effort: the other side learns of the end by the connection's end as well.
            let _ = tokio::time::timeout(GOODBYE, sink.close()).await;
        });
        carrier
    }
}

/// Datagrams between the ends of a [`Carrier::pair`].
const BETWEEN: usize = 64;

impl Carrier {
    /// Both ends of a carrier within this program. Nothing is lost between them; when one ends, so does
    /// the other.
    pub fn pair() -> (Carrier, Carrier) {
        let ((to_second, from_first), (to_first, from_second)) =
            (mpsc::channel(BETWEEN), mpsc::channel(BETWEEN));
        let end = |to, from: mpsc::Receiver<Bytes>| {
            let stream = stream::unfold(from, |mut from| async move {
                let datagram = from.recv().await?;
                Some((Inbound::Datagram(datagram), from))
            });
            Carrier::from_parts(PollSender::new(to), stream, CancellationToken::new())
        };
        (end(to_second, from_second), end(to_first, from_first))
    }
}

async fn read(core: &Core, stream: impl Stream<Item = Inbound>) -> CloseReason {
    let mut stream = pin!(stream);
    while let Some(inbound) = stream.next().await {
        match inbound {
            Inbound::Datagram(datagram) => core.deliver(datagram),
            Inbound::Other => core.ignore(),
            Inbound::Closed(reason) => return reason,
        }
    }
    CloseReason::Remote
}

async fn write<Out>(core: &Core, mut sink: std::pin::Pin<&mut Out>) -> CloseReason
where
    Out: Sink<Bytes>,
    Out::Error: std::fmt::Display,
{
    while let Some(first) = core.outbound.pop().await {
        let mut next = Some(first);
        let mut written = 0;
        while let Some(datagram) = next {
            let bytes = datagram.len();
            if let Err(error) = sink.feed(datagram).await {
                tracing::debug!(%error, "carrier: write failed");
                return CloseReason::Broken;
            }
            core.count_sent(bytes);
            written += 1;
            next = (written < FLUSH_EVERY)
                .then(|| core.outbound.try_pop())
                .flatten();
        }
        if let Err(error) = sink.flush().await {
            tracing::debug!(%error, "carrier: flush failed");
            return CloseReason::Broken;
        }
    }
    CloseReason::Local
}

#[cfg(test)]
mod tests {
    use super::*;

    type Wires = (
        Carrier,
        mpsc::UnboundedSender<Inbound>,
        mpsc::UnboundedReceiver<Bytes>,
        CancellationToken,
    );

    /// A carrier whose transport is a pair of channels held by the test.
    fn carrier_on_channels() -> Wires {
        let (inbound, stream) = mpsc::unbounded_channel();
        let (sink, outbound) = mpsc::unbounded_channel();
        let stop = CancellationToken::new();
        let stream = futures_util::stream::unfold(stream, |mut stream| async move {
            let next = stream.recv().await?;
            Some((next, stream))
        });
        let sink = futures_util::sink::unfold(
            sink,
            |sink: mpsc::UnboundedSender<Bytes>, datagram| async move {
                sink.send(datagram).map(|()| sink)
            },
        );
        (
            Carrier::from_parts(sink, stream, stop.child_token()),
            inbound,
            outbound,
            stop,
        )
    }

    #[tokio::test]
    async fn both_directions_and_the_counts() {
        let (mut carrier, inbound, mut outbound, _stop) = carrier_on_channels();
        carrier.tx.try_send(Bytes::from_static(b"out")).unwrap();
        assert_eq!(outbound.recv().await.as_deref(), Some(&b"out"[..]));
        for message in [
            Inbound::Other,
            Inbound::Datagram(Bytes::from(vec![0; crate::MAX_DATAGRAM + 1])),
            Inbound::Datagram(Bytes::from_static(b"in")),
        ] {
            inbound.send(message).unwrap();
        }
        assert_eq!(carrier.rx.recv().await.as_deref(), Some(&b"in"[..]));
        let stats = carrier.tx.stats();
        assert_eq!((stats.sent, stats.sent_bytes), (1, 3));
        assert_eq!((stats.received, stats.received_bytes), (1, 2));
        assert_eq!(stats.ignored, 2);
    }

    #[tokio::test]
    async fn a_pair_carries_both_ways_and_ends_together() {
        let (mut first, mut second) = Carrier::pair();
        first.tx.try_send(Bytes::from_static(b"there")).unwrap();
        assert_eq!(second.rx.recv().await.as_deref(), Some(&b"there"[..]));
        second.tx.try_send(Bytes::from_static(b"back")).unwrap();
        assert_eq!(first.rx.recv().await.as_deref(), Some(&b"back"[..]));
        drop(second);
        assert_eq!(first.rx.closed().await, CloseReason::Remote);
    }

    #[tokio::test]
    async fn a_stop_ends_it_locally_and_lets_the_transport_go() {
        let (mut carrier, inbound, mut outbound, stop) = carrier_on_channels();
        stop.cancel();
        assert_eq!(carrier.rx.recv().await, None);
        assert_eq!(carrier.tx.closed().await, CloseReason::Local);
        assert_eq!(outbound.recv().await, None);
        inbound.closed().await;
    }

    #[tokio::test]
    async fn the_transports_reason_is_passed_on() {
        let (carrier, inbound, _outbound, _stop) = carrier_on_channels();
        inbound
            .send(Inbound::Closed(CloseReason::Violation))
            .unwrap();
        assert_eq!(carrier.rx.closed().await, CloseReason::Violation);

        let (carrier, _inbound, outbound, _stop) = carrier_on_channels();
        drop(outbound);
        carrier.tx.try_send(Bytes::from_static(b"x")).unwrap();
        assert_eq!(carrier.tx.closed().await, CloseReason::Broken);
    }

    #[tokio::test]
    async fn dropping_the_carrier_ends_the_task() {
        let (carrier, inbound, mut outbound, _stop) = carrier_on_channels();
        drop(carrier);
        assert_eq!(outbound.recv().await, None);
        inbound.closed().await;
    }
}
