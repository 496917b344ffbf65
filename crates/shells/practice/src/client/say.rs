//! Lines of chat that the client was told to say, and their answers.

use tokio::time::Instant;

use super::expect::What;
use super::play::Walkabout;
use super::session::Session;
use super::socket::Socket;
use super::{ClientError, ClientEvent, Deviation, DeviationCode, Halt};
use crate::game::{go_target, unknown_command};
use crate::wire::packets;

/// How many lines a client can be told to say.
pub const MAX_LINES: usize = 16;

/// How long such a line may be, in bytes.
pub const MAX_LINE_BYTES: usize = 200;

/// How many system lines may answer one line.
const MAX_ANSWERS: usize = 256;

/// Checks one line of [`super::ClientConfig::say`].
///
/// # Errors
///
/// If it is empty, longer than [`MAX_LINE_BYTES`], has a control character, or is an `@go` that
/// would lead to another map.
pub fn check_line(text: &str) -> Result<(), ClientError> {
    let wrong = if text.is_empty() {
        "it is empty"
    } else if text.len() > MAX_LINE_BYTES {
        "it has more than 200 bytes"
    } else if text.chars().any(char::is_control) {
        "it has a control character"
    } else if go_target(text).is_some() {
        "it leads to another map; the client does that by itself"
    } else {
        return Ok(());
    };
    let text = text.to_owned();
    Err(ClientError::Line { text, wrong })
}

/// Whether a bridge answers this line: `/p2p` or `@p2p`, in any case, alone or before a space.
fn is_command(text: &str) -> bool {
    let first = text.split(' ').next().unwrap_or_default();
    ["/p2p", "@p2p"]
        .iter()
        .any(|command| first.eq_ignore_ascii_case(command))
}

impl<F: FnMut(&ClientEvent) + Send> Session<F> {
    /// Says what is still to be said, line by line.
    ///
    /// A line is said when all requests before it were answered. The answer to a command (see
    /// [`is_command`]) is any number of system lines, none of which says that the server got to
    /// see it. Where they end cannot be read in them, so the time is asked after the first: what
    /// has come when it is answered belongs to the answer, and once nothing has come in such a
    /// round trip the answer is whole. Any other line is answered by the server with one line.
    pub(super) async fn say_lines(
        &mut self,
        socket: &mut Socket,
        walk: &mut Walkabout,
    ) -> Result<(), Halt> {
        while !self.config.stop.is_cancelled()
            && let Some(text) = self.plan.next_line(&self.config)
        {
            self.settle(socket, walk).await?;
            let line = format!("{} : {text}", walk.own.character());
            let sent = Instant::now();
            let answered = if is_command(&text) {
                walk.due.listen(Some(text.clone()));
                let answered = self.command(socket, walk, &line, sent).await;
                walk.due.listen(None);
                answered?
            } else {
                let answer = unknown_command(&text).unwrap_or_else(|| line.clone());
                let due = What::Bytes(packets::own_line(&answer));
                let request = self.dialect.chat(&line);
                self.ask(socket, walk, &request, [due]).await?;
                self.settle(socket, walk).await?;
                walk.heard.push((Instant::now(), answer));
                true
            };
            let heard = std::mem::take(&mut walk.heard);
            let Some((first, _)) = heard.first().filter(|_| answered) else {
                return Ok(()); // stopped
            };
            self.tally.said += 1;
            let answered_ms = (*first - sent).as_secs_f64() * 1e3;
            self.emit(&ClientEvent::Said {
                text,
                answered_ms,
                lines: heard.into_iter().map(|(_, line)| line).collect(),
            });
        }
        Ok(())
    }

    /// Says a command and takes its answer; `false` if the client was stopped before it came.
    async fn command(
        &mut self,
        socket: &mut Socket,
        walk: &mut Walkabout,
        line: &str,
        sent: Instant,
    ) -> Result<bool, Halt> {
        socket.send(&self.dialect.chat(line)).await?;
        let (stop, limit) = (self.config.stop.clone(), sent + self.config.answer_timeout);
        while walk.heard.is_empty() {
            tokio::select! {
                frame = socket.frame() => self.take(&frame?, walk)?,
                () = stop.cancelled() => return Ok(false),
                () = tokio::time::sleep_until(limit) => {
                    let message = format!("nothing has answered {line:?} in time");
                    return Err(Deviation::new(DeviationCode::AnswerMissing, message).into());
                }
            }
        }
        loop {
            let before = walk.heard.len();
            if before > MAX_ANSWERS {
                let message = format!("{line:?} was answered by more than {MAX_ANSWERS} lines");
                return Err(Deviation::new(DeviationCode::UnexpectedPacket, message).into());
            }
            self.ask_time(socket, walk).await?;
            self.settle(socket, walk).await?;
            if walk.heard.len() == before {
                return Ok(true);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_a_whole_word() {
        for text in [
            "/p2p",
            "@p2p",
            "/p2p status",
            "@p2p  help",
            "/P2P",
            "@P2p x",
        ] {
            assert!(is_command(text), "{text}");
        }
        for text in ["/p2px", "@p2p2 x", "x /p2p", " /p2p", "p2p", ""] {
            assert!(!is_command(text), "{text}");
        }
    }

    #[test]
    fn lines_that_cannot_be_said_are_refused() {
        for text in ["hello", "/p2p status", "@unknown", "@go", "@go 9"] {
            check_line(text).unwrap();
        }
        for text in ["", "a\nb", "a\0", "@go 1", &"x".repeat(201)] {
            let error = check_line(text).unwrap_err();
            assert_eq!(error.code(), "line-refused", "{error}");
        }
    }
}
