//! Our stack: `warp_link::peer`.

use std::net::Ipv4Addr;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use tokio::runtime::Handle;
use warp_link::peer::{
    Answerer, ChannelReceiver, ChannelSender, Channels, LocalCandidates, Offerer, Peer, PeerConfig,
    SendError,
};
use warp_peer_core::{Channel, Class};

use super::line::{Line, Lines, Stack};

/// An open connection.
pub(super) struct Ours {
    offerer: Offerer,
    answerer: Answerer,
}

pub(super) struct OurLine {
    channel: Channel,
    tx: ChannelSender,
    rx: ChannelReceiver,
}

impl Line for OurLine {
    async fn send(&mut self, frame: Bytes) -> Result<()> {
        if self.channel.is_reliable() {
            self.tx.send(self.channel, frame).await?;
        } else {
            // One packet at a time is never one too many.
            self.tx.try_send(self.channel, Class::Critical, frame)?;
        }
        Ok(())
    }

    async fn pour(&mut self, frame: Bytes) -> Result<()> {
        match self.tx.try_send(self.channel, Class::Normal, frame) {
            Ok(()) | Err(SendError::Refused(_)) => Ok(()),
            Err(closed) => Err(closed.into()),
        }
    }

    async fn recv(&mut self) -> Result<Bytes> {
        self.rx.recv().await.context("the peer is gone")
    }
}

fn lines(channels: Channels) -> Lines<OurLine> {
    let Channels { tx, rx } = channels;
    let line = |channel, rx| OurLine {
        channel,
        tx: tx.clone(),
        rx,
    };
    Lines {
        control: line(Channel::Control, rx.control),
        unreliable: line(Channel::Unreliable, rx.unreliable),
        file: line(Channel::File, rx.file),
    }
}

fn config() -> PeerConfig {
    PeerConfig {
        include_loopback: true,
        bind: vec![Ipv4Addr::LOCALHOST.into()],
        ..PeerConfig::default()
    }
}

async fn trickle(mut candidates: LocalCandidates, to: &Peer) {
    while let Some(candidate) = candidates.next().await {
        if let Err(error) = to.add_remote_candidate(&candidate).await {
            println!("a candidate was not taken: {error}");
        }
    }
}

impl Stack for Ours {
    type Line = OurLine;

    const NAME: &'static str = "ours";

    async fn open(far: Handle) -> Result<(Self, Lines<OurLine>, Lines<OurLine>)> {
        let (offerer, near_found) = Offerer::new(config()).await?;
        let offer = offerer.create_offer().await?;
        let accepting = far.spawn(async move { Answerer::accept(config(), &offer).await });
        let (answerer, answer, far_found) = accepting.await??;
        offerer.accept_answer(&answer).await?;
        let ((), (), near, far) = tokio::join!(
            trickle(near_found, &answerer),
            trickle(far_found, &offerer),
            offerer.channels(),
            answerer.channels(),
        );
        let (near, far) = (lines(near?), lines(far?));
        Ok((Self { offerer, answerer }, near, far))
    }

    async fn close(self) {
        tokio::join!(self.offerer.close(), self.answerer.close());
    }
}
