//! What all stacks have in common, and what is measured on it.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use bytes::Bytes;
use tokio::runtime::Handle;

/// One end of one channel.
pub(super) trait Line: Send + 'static {
    /// Sends a frame; waits for room where the channel is reliable.
    fn send(&mut self, frame: Bytes) -> impl Future<Output = Result<()>> + Send;

    /// Sends one of very many: where there is no room, it is dropped.
    fn pour(&mut self, frame: Bytes) -> impl Future<Output = Result<()>> + Send {
        self.send(frame)
    }

    /// What comes next; of a stream of bytes some of them.
    fn recv(&mut self) -> impl Future<Output = Result<Bytes>> + Send;
}

/// The channels of one end.
pub(super) struct Lines<L> {
    pub(super) control: L,
    pub(super) unreliable: L,
    pub(super) file: L,
}

/// A WebRTC stack: an open connection between two peers of this process.
pub(super) trait Stack: Sized + Send {
    type Line: Line;

    const NAME: &'static str;

    /// The end that offers runs here, the one that answers on `far`.
    fn open(
        far: Handle,
    ) -> impl Future<Output = Result<(Self, Lines<Self::Line>, Lines<Self::Line>)>> + Send;

    fn close(self) -> impl Future<Output = ()> + Send;
}

/// A frame of 20 bytes there and back, one at a time, at a steady pace.
pub(super) async fn round_trips<L: Line>(
    (near, far): (&mut L, &mut L),
    period: Duration,
    span: Duration,
) -> Result<Vec<Duration>> {
    let echo = async {
        loop {
            let frame = far.recv().await?;
            far.send(frame).await?;
        }
    };
    let ask = async {
        let mut times = Vec::new();
        let mut clock = tokio::time::interval(period);
        let until = Instant::now() + span;
        while Instant::now() < until {
            clock.tick().await;
            let begun = Instant::now();
            near.send(Bytes::from_static(&[7; 20])).await?;
            near.recv().await?;
            times.push(begun.elapsed());
        }
        Ok(times)
    };
    tokio::select! {
        times = ask => times,
        none = echo => none,
    }
}

/// As many frames of 100 bytes as go; counts those that arrive within the time.
pub(super) async fn flood<L: Line>(mut near: L, mut far: L, span: Duration) -> Result<u64> {
    let sender = tokio::spawn(async move {
        loop {
            for _ in 0..256 {
                if near.pour(Bytes::from_static(&[7; 100])).await.is_err() {
                    return;
                }
            }
            tokio::task::yield_now().await;
        }
    });
    let mut arrived = 0;
    let receive = async {
        loop {
            far.recv().await?;
            arrived += 1;
        }
    };
    let outcome: std::result::Result<Result<()>, _> = tokio::time::timeout(span, receive).await;
    sender.abort();
    match outcome {
        // The time is the end of it.
        Err(_) => Ok(arrived),
        Ok(failed) => failed.map(|()| arrived),
    }
}

/// Frames of 256 KiB that cannot be compressed, one after the other, until `meanwhile` is over: the
/// bytes that arrived.
pub(super) async fn bulk<L: Line, T>(
    mut near: L,
    mut far: L,
    meanwhile: impl Future<Output = Result<T>>,
) -> Result<(u64, T)> {
    let sender = tokio::spawn(async move {
        let frame = Bytes::from(noise(256 * 1024));
        while near.send(frame.clone()).await.is_ok() {}
    });
    let mut arrived = 0;
    let receive = async {
        loop {
            arrived += far.recv().await?.len() as u64;
        }
    };
    let outcome: Result<T> = tokio::select! {
        none = receive => none,
        outcome = meanwhile => outcome,
    };
    sender.abort();
    let outcome = outcome?;
    if arrived == 0 {
        bail!("nothing arrived");
    }
    Ok((arrived, outcome))
}

/// Bytes of a linear congruential generator (Knuth's constants).
fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    std::iter::repeat_with(next).take(bytes).collect()
}
