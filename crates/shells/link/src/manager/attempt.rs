//! The task of one connection, from the first socket to the last.

use std::ops::Deref;

use serde_json::Value;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use warp_peer_core::AttemptId;

use crate::peer::{
    Answerer, Channels, LocalCandidates, Offerer, Peer, PeerConfig, PeerError, SelectedPair,
};

/// How it begins.
pub(super) enum Begin {
    Offer,
    Answer(String),
}

/// What comes from the other side.
pub(super) enum Input {
    Answer(String),
    Candidate(String),
    /// Another way will be looked for.
    Hold,
    /// Another round is to be offered, an offer of one answered, the answer taken.
    Restart(u32),
    AnswerRestart(u32, String),
    AcceptRestart(u32, String),
}

/// What the peer's task is told.
pub(super) enum Report {
    Offered(String),
    Answered(String),
    /// With the round that it was found in.
    Candidate(u32, String),
    RestartOffered(u32, String),
    RestartAnswered(u32, String),
    /// The round could not begin; nothing has changed.
    RoundFailed(u32),
    /// A way of this round is in use.
    Restarted(u32, Option<SelectedPair>),
    Open(Channels, Option<SelectedPair>),
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
    candidates: LocalCandidates,
    inputs: &mut mpsc::Receiver<Input>,
    reports: &Reports,
    stop: &CancellationToken,
) -> &'static str {
    let mut opened = Box::pin(side.channels());
    let mut round = Round {
        number: 0,
        candidates: Some(candidates),
        described: false,
    };
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
                    let way = side.selected_pair().await;
                    tell(reports, stop, id, Report::Open(channels, way)).await;
                }
                Err(error) => return error.code(),
            },
            candidate = next(&mut round.candidates) => match candidate {
                Some(candidate) => {
                    let report = Report::Candidate(round.number, candidate.to_string());
                    tell(reports, stop, id, report).await;
                }
                None => round.candidates = None,
            },
            found = side.found_way(), if round.described => match found {
                Ok(()) => {
                    round.described = false;
                    let way = side.selected_pair().await;
                    tell(reports, stop, id, Report::Restarted(round.number, way)).await;
                }
                Err(error) => return error.code(),
            },
            Some(input) = inputs.recv() => match take(side, input, &mut round).await {
                Ok(Some(report)) => tell(reports, stop, id, report).await,
                Ok(None) => {}
                // What the other side sent as a description is of no use: the attempt ends.
                Err(error @ PeerError::BadDescription { .. }) => {
                    tracing::debug!(%error, "signaling brought something unusable");
                    return error.code();
                }
                // A candidate is one of several.
                Err(error) => tracing::debug!(%error, "signaling brought something unusable"),
            }
        }
    }
}

/// Where the connection stands in looking for a way.
struct Round {
    number: u32,
    /// Of this round; none: all are known.
    candidates: Option<LocalCandidates>,
    /// It is a restart, both descriptions are there, and what comes of it is not told yet.
    described: bool,
}

/// The next candidate of ours.
async fn next(candidates: &mut Option<LocalCandidates>) -> Option<Value> {
    match candidates {
        Some(candidates) => candidates.next().await,
        None => std::future::pending().await,
    }
}

async fn take(side: &Side, input: Input, round: &mut Round) -> Result<Option<Report>, PeerError> {
    match (input, side) {
        (Input::Answer(sdp), Side::Offerer(offerer)) => {
            offerer.accept_answer(&sdp).await?;
        }
        (Input::Candidate(candidate), side) => {
            let candidate = serde_json::from_str(&candidate).unwrap_or(Value::Null);
            side.add_remote_candidate(&candidate).await?;
        }
        (Input::Hold, side) => side.hold(),
        (Input::Restart(number), Side::Offerer(offerer)) => {
            let (sdp, candidates) = match offerer.restart().await {
                Err(PeerError::NoLocalAddress) => return Ok(Some(Report::RoundFailed(number))),
                made => made?,
            };
            *round = Round {
                number,
                candidates: Some(candidates),
                described: false,
            };
            return Ok(Some(Report::RestartOffered(number, sdp)));
        }
        (Input::AnswerRestart(number, sdp), Side::Answerer(answerer)) => {
            let (sdp, candidates) = match answerer.accept_restart(&sdp).await {
                Err(PeerError::NoLocalAddress) => return Ok(Some(Report::RoundFailed(number))),
                made => made?,
            };
            *round = Round {
                number,
                candidates: Some(candidates),
                described: true,
            };
            return Ok(Some(Report::RestartAnswered(number, sdp)));
        }
        (Input::AcceptRestart(number, sdp), Side::Offerer(offerer)) => {
            offerer.accept_answer(&sdp).await?;
            round.described = round.number == number;
        }
        // The machine asks of a side only what is its part.
        (
            Input::Answer(_)
            | Input::Restart(_)
            | Input::AnswerRestart(..)
            | Input::AcceptRestart(..),
            _,
        ) => {}
    }
    Ok(None)
}
