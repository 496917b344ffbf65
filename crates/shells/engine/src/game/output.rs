//! The last that a game said: on its error output, and in its log file.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::task::JoinHandle;

/// Last lines that are told, of either, and how many bytes of one.
const LAST_LINES: usize = 8;
const LINE: usize = 400;
/// Most that is read of a log file.
const LOG_BYTES: u64 = 64 * 1024;
/// How long the error output is read on after the game has ended: something that it started may
/// hold the other end for ever.
const AFTER: Duration = Duration::from_millis(500);

/// The newest lines; older ones are dropped.
#[derive(Default)]
struct Lines {
    whole: VecDeque<String>,
    part: Vec<u8>,
}

impl Lines {
    fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            if *byte == b'\n' {
                self.end_line();
            } else if self.part.len() < LINE {
                self.part.push(*byte);
            }
        }
    }

    fn end_line(&mut self) {
        let text = String::from_utf8_lossy(&self.part);
        let text = text.trim_end();
        if !text.is_empty() {
            if self.whole.len() == LAST_LINES {
                self.whole.pop_front();
            }
            self.whole.push_back(text.to_owned());
        }
        self.part.clear();
    }

    fn take(&mut self) -> Vec<String> {
        self.end_line();
        std::mem::take(&mut self.whole).into()
    }
}

/// Reads a game's error output, so that it never blocks on it.
pub(super) struct ErrorOutput {
    lines: Arc<Mutex<Lines>>,
    reading: JoinHandle<()>,
}

impl ErrorOutput {
    pub(super) fn read(source: impl AsyncRead + Unpin + Send + 'static) -> Self {
        let lines = Arc::new(Mutex::new(Lines::default()));
        let sink = lines.clone();
        let reading = tokio::spawn(async move {
            let mut source = BufReader::new(source);
            while let Ok(bytes) = source.fill_buf().await {
                if bytes.is_empty() {
                    return;
                }
                let count = bytes.len();
                sink.lock().add(bytes);
                source.consume(count);
            }
        });
        Self { lines, reading }
    }

    /// The last lines. The game has ended.
    pub(super) async fn last(mut self) -> Vec<String> {
        // Cut off or failed: what came so far is what there is.
        let _ = tokio::time::timeout(AFTER, &mut self.reading).await;
        self.reading.abort();
        self.lines.lock().take()
    }
}

/// A log file that the game appends to.
pub(super) struct LogFile {
    path: PathBuf,
    /// Its length before the start.
    start: u64,
}

impl LogFile {
    /// Takes note of how long the file is now.
    pub(super) fn before_start(path: PathBuf) -> Self {
        let start = path.metadata().map_or(0, |about| about.len());
        Self { path, start }
    }

    /// The last lines of what was added since, each with the file's name in front; none if there is
    /// no such file.
    pub(super) fn last(&self) -> Vec<String> {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        match read_after(&self.path, self.start) {
            Ok(mut lines) => (lines.take().iter())
                .map(|line| format!("{name}: {line}"))
                .collect(),
            Err(error) => {
                tracing::debug!(%error, file = %self.path.display(), "no log of the game");
                Vec::new()
            }
        }
    }
}

fn read_after(path: &Path, start: u64) -> io::Result<Lines> {
    let mut file = File::open(path)?;
    let about = file.metadata()?;
    if !about.is_file() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // Shorter than before: begun anew, so all of it is of this run.
    let start = if about.len() < start { 0 } else { start };
    let from = start.max(about.len().saturating_sub(LOG_BYTES));
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    file.take(LOG_BYTES).read_to_end(&mut bytes)?;
    let mut lines = Lines::default();
    lines.add(&bytes);
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_lines_are_kept_and_long_ones_are_cut() {
        let mut lines = Lines::default();
        for number in 0..20 {
            lines.add(format!("line {number}\r\n\n").as_bytes());
        }
        lines.add(&[b'x'; 5 * LINE]);
        let kept = lines.take();
        assert_eq!(kept.len(), LAST_LINES);
        assert_eq!(kept.first().unwrap(), "line 13");
        assert_eq!(kept.last().unwrap().len(), LINE);
    }

    #[test]
    fn of_a_log_only_what_was_added_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("game.log");
        assert_eq!(LogFile::before_start(path.clone()).last(), [""; 0]);

        std::fs::write(&path, "of an older run\n").unwrap();
        let log = LogFile::before_start(path.clone());
        assert_eq!(log.last(), [""; 0]);
        std::fs::write(&path, "of an older run\nfirst\nsecond").unwrap();
        assert_eq!(log.last(), ["game.log: first", "game.log: second"]);
        // Begun anew.
        std::fs::write(&path, "short\n").unwrap();
        assert_eq!(log.last(), ["game.log: short"]);
        // Of much only the end.
        std::fs::write(&path, "much\n".repeat(100_000) + "end\n").unwrap();
        let last = log.last();
        assert_eq!(
            (last.len(), last.last().unwrap().as_str()),
            (LAST_LINES, "game.log: end")
        );
    }

    #[tokio::test]
    async fn error_output_that_is_never_closed_holds_nobody_up() {
        let (mut game, launcher) = tokio::io::duplex(64);
        let output = ErrorOutput::read(launcher);
        tokio::io::AsyncWriteExt::write_all(&mut game, b"no graphics card\n")
            .await
            .unwrap();
        // `game` stays open.
        assert_eq!(output.last().await, ["no graphics card"]);
        drop(game);
    }
}
