//! What is told on standard output.

use std::io::Write;

use serde::Serialize;

/// One line. The module documentation of the program says what each means.
#[derive(Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub(crate) enum Report<'a> {
    Started {
        pid: i32,
    },
    NotStarted {
        kind: &'a str,
        message: String,
    },
    Exited {
        code: Option<i32>,
        signal: Option<i32>,
        asked: bool,
    },
    Refused {
        why: &'a str,
    },
    Ended {
        all: bool,
    },
}

impl Report<'_> {
    /// Writes the line. A launcher that is gone reads nothing any more, and its standard input
    /// tells that.
    pub(crate) fn tell(&self) {
        if let Ok(mut line) = serde_json::to_vec(self) {
            line.push(b'\n');
            let mut out = std::io::stdout().lock();
            let _ = out.write_all(&line).and_then(|()| out.flush());
        }
    }
}
