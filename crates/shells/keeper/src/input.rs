//! The launcher's lines.

use std::process::ChildStdin;

use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::sync::mpsc;

use crate::report::Report;

/// Longest line, in bytes, without its end.
pub(crate) const MAX_LINE: usize = 128 * 1024;
/// Lines for the game that may wait.
pub(crate) const WAITING: usize = 16;

/// What a line asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    /// Bytes for the game.
    Stdin(Vec<u8>),
    /// No more of them.
    Close,
    /// End the game.
    Stop,
    /// Nothing that is known.
    Unknown,
}

impl Ask {
    fn of(line: &[u8]) -> Self {
        let line = line.trim_ascii();
        match line {
            b"close" => Self::Close,
            b"stop" => Self::Stop,
            _ => line
                .strip_prefix(b"stdin ")
                .and_then(|digits| hex::decode(digits).ok())
                .map_or(Self::Unknown, Self::Stdin),
        }
    }
}

/// Reads standard input on a task of its own; the receiver ends with it.
pub(crate) fn asks() -> mpsc::Receiver<Ask> {
    let (sender, receiver) = mpsc::channel(WAITING);
    tokio::spawn(async move {
        let mut input = BufReader::new(tokio::io::stdin());
        while let Some(ask) = next(&mut input).await {
            if sender.send(ask).await.is_err() {
                return;
            }
        }
    });
    receiver
}

/// The next line; what is too long is skipped to its end. `None`: the input has ended.
async fn next(input: &mut (impl AsyncBufRead + Unpin)) -> Option<Ask> {
    let mut line = Vec::new();
    let mut whole = true;
    loop {
        let limit = MAX_LINE as u64 + 1;
        let mut piece = (&mut *input).take(limit);
        if piece.read_until(b'\n', &mut line).await.ok()? == 0 {
            return None;
        }
        if line.last() == Some(&b'\n') {
            return Some(if whole { Ask::of(&line) } else { Ask::Unknown });
        }
        if line.len() > MAX_LINE {
            whole = false;
            line.clear();
        }
    }
}

/// The game's standard input, written on a task of its own, because a game need not read.
pub(crate) struct Feed(Option<mpsc::Sender<Vec<u8>>>);

impl Feed {
    pub(crate) fn new(stdin: Option<ChildStdin>) -> Self {
        let stdin = stdin.and_then(|stdin| tokio::process::ChildStdin::from_std(stdin).ok());
        let Some(mut stdin) = stdin else {
            return Self(None);
        };
        let (sender, mut receiver) = mpsc::channel::<Vec<u8>>(WAITING);
        tokio::spawn(async move {
            while let Some(bytes) = receiver.recv().await {
                if stdin.write_all(&bytes).await.is_err() {
                    return;
                }
            }
        });
        Self(Some(sender))
    }

    pub(crate) fn give(&self, bytes: Vec<u8>) {
        let why = match self.0.as_ref().map(|sender| sender.try_send(bytes)) {
            Some(Ok(())) => return,
            Some(Err(mpsc::error::TrySendError::Full(_))) => "the game does not read",
            Some(Err(mpsc::error::TrySendError::Closed(_))) | None => {
                "the game's standard input is closed"
            }
        };
        Report::Refused { why }.tell();
    }

    pub(crate) fn close(&mut self) {
        self.0 = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "current_thread")]
    async fn lines_are_understood_or_told_unknown_and_never_kept_without_bound() {
        let mut text = b"stdin 74657374310a\nclose\nstdin 7\nstdin\n\nstop \r\n".to_vec();
        text.extend(std::iter::repeat_n(b'x', 3 * MAX_LINE));
        text.extend_from_slice(b"stop\nclose\nsto");
        let mut input = &text[..];
        let mut asks = Vec::new();
        while let Some(ask) = next(&mut input).await {
            asks.push(ask);
        }
        assert_eq!(
            asks,
            [
                Ask::Stdin(b"test1\n".to_vec()),
                Ask::Close,
                Ask::Unknown,
                Ask::Unknown,
                Ask::Unknown,
                Ask::Stop,
                Ask::Unknown,
                Ask::Close,
            ]
        );
    }
}
