//! The task of one connection, from the first socket to the last.

use std::ops::Deref;

use serde_json::Value;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use warp_peer_core::AttemptId;

use crate::peer::{Answerer, Channels, LocalCandidates, Offerer, Peer, PeerConfig, PeerError};

/// How it begins.
pub(super) enum Begin {
    Offer,
    Answer(String),
}

/// What comes from the other side.
pub(super) enum Input {
    Answer(String),
    Candidate(String),
}

/// What the peer's task is told.
pub(super) enum Report {
    Offered(String),
    Answered(String),
    Candidate(String),
    Open(Channels),
    /// With a code; the last one.
    Ended(&'static str),
}

enum Side {
    Offerer(Offerer),
    Answerer(Answerer),
}

impl Deref for Side {
    type Target = Peer;
    fn deref(&self) -> &Peer {
        match self {
            Side::Offerer(offerer) => offerer,
            Side::Answerer(answerer) => answerer,
        }
    }
}

pub(super) type Reports = mpsc::Sender<(AttemptId, Report)>;

/// Runs until the connection ends or `stop` is cancelled.
pub(super) async fn run(
    id: AttemptId,
    begin: Begin,
    config: PeerConfig,
    mut inputs: mpsc::Receiver<Input>,
    reports: Reports,
    stop: CancellationToken,
) {
    let made = tokio::select! {
        made = Box::pin(make(begin, config)) => made,
        // What is half made goes with its future, wherever that stands; see `Offerer::new`.
        () = stop.cancelled() => return,
    };
    let (side, description, candidates) = match made {
        Ok(made) => made,
        Err(error) => {
            tracing::debug!(%error, "a connection could not be made");
            tell(&reports, &stop, id, Report::Ended(error.code())).await;
            return;
        }
    };
    tell(&reports, &stop, id, description).await;
    let ended = tokio::select! {
        code = Box::pin(work(&side, id, candidates, &mut inputs, &reports, &stop)) => Some(code),
        () = stop.cancelled() => None,
    };
    side.close().await;
    if let Some(code) = ended {
        tell(&reports, &stop, id, Report::Ended(code)).await;
    }
}

/// A report to a peer that has moved on is not wanted.
async fn tell(reports: &Reports, stop: &CancellationToken, id: AttemptId, report: Report) {
    tokio::select! {
        _ = reports.send((id, report)) => {}
        () = stop.cancelled() => {}
    }
}

async fn make(
    begin: Begin,
    config: PeerConfig,
) -> Result<(Side, Report, LocalCandidates), PeerError> {
    match begin {
        Begin::Offer => {
            let (offerer, candidates) = Offerer::new(config).await?;
            let offer = offerer.create_offer().await?;
            Ok((Side::Offerer(offerer), Report::Offered(offer), candidates))
        }
        Begin::Answer(offer) => {
            let (answerer, answer, candidates) = Answerer::accept(config, &offer).await?;
            Ok((
                Side::Answerer(answerer),
                Report::Answered(answer),
                candidates,
            ))
        }
    }
}

/// Returns a code for the end.
async fn work(
    side: &Side,
    id: AttemptId,
    mut candidates: LocalCandidates,
    inputs: &mut mpsc::Receiver<Input>,
    reports: &Reports,
    stop: &CancellationToken,
) -> &'static str {
    let (mut opened, mut more) = (Box::pin(side.channels()), true);
    let mut sender = None;
    loop {
        let closed = async {
            match &sender {
                None => std::future::pending().await,
                Some(sender) => crate::peer::ChannelSender::closed(sender).await,
            }
        };
        tokio::select! {
            reason = closed => return reason.code(),
            channels = &mut opened, if sender.is_none() => match channels {
                Ok(channels) => {
                    sender = Some(channels.tx.clone());
                    tell(reports, stop, id, Report::Open(channels)).await;
                }
                Err(error) => return error.code(),
            },
            candidate = candidates.next(), if more => match candidate {
                Some(candidate) => {
                    tell(reports, stop, id, Report::Candidate(candidate.to_string())).await;
                }
                None => more = false,
            },
            Some(input) = inputs.recv() => {
                if let Err(error) = take(side, input).await {
                    // A candidate is one of several; a bad answer ends the attempt.
                    tracing::debug!(%error, "signaling brought something unusable");
                    if matches!(error, PeerError::BadDescription { .. }) {
                        return error.code();
                    }
                }
            }
        }
    }
}

async fn take(side: &Side, input: Input) -> Result<(), PeerError> {
    match (input, side) {
        (Input::Answer(sdp), Side::Offerer(offerer)) => offerer.accept_answer(&sdp).await,
        (Input::Answer(_), Side::Answerer(_)) => Ok(()),
        (Input::Candidate(candidate), side) => {
            let candidate = serde_json::from_str(&candidate).unwrap_or(Value::Null);
            side.add_remote_candidate(&candidate).await
        }
    }
}
