//! The last lines of the log in memory, for a person who looks at them in the window or gives them to
//! somebody else.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

/// Lines that are kept; then the oldest go.
pub const MAX_LINES: usize = 4000;
/// Longest line, bytes; the rest of it is cut off.
pub const MAX_LINE: usize = 2000;
/// Bytes of text that are kept.
const MAX_BYTES: usize = 1024 * 1024;

/// A line of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// Its number since the program started, from 1.
    pub number: u64,
    /// Milliseconds since 1970.
    pub at_ms: u64,
    /// `error`, `warn`, `info`, `debug` or `trace`.
    pub level: &'static str,
    /// The module that wrote it.
    pub target: String,
    /// What it says. What looks like a secret is `[secret]`.
    pub text: String,
}

#[derive(Debug, Default)]
struct Ring {
    lines: VecDeque<LogLine>,
    bytes: usize,
    last: u64,
}

/// The last lines; clones share them.
#[derive(Debug, Clone, Default)]
pub struct Recent {
    ring: Arc<Mutex<Ring>>,
}

impl Recent {
    /// The lines behind number `after`, oldest first, at most `most`.
    pub fn after(&self, after: u64, most: usize) -> Vec<LogLine> {
        let ring = self.ring.lock();
        let newer = ring.lines.iter().filter(|line| line.number > after);
        newer.take(most).cloned().collect()
    }

    fn push(&self, level: &'static str, target: &str, text: String) {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let at_ms = since.map_or(0, |since| {
            u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
        });
        let mut ring = self.ring.lock();
        ring.last += 1;
        ring.bytes += text.len();
        let line = LogLine {
            number: ring.last,
            at_ms,
            level,
            target: target.to_owned(),
            text,
        };
        ring.lines.push_back(line);
        while ring.lines.len() > MAX_LINES || ring.bytes > MAX_BYTES {
            let Some(oldest) = ring.lines.pop_front() else {
                break;
            };
            ring.bytes = ring.bytes.saturating_sub(oldest.text.len());
        }
    }
}

impl<S: Subscriber> Layer<S> for Recent {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let level = match *event.metadata().level() {
            tracing::Level::ERROR => "error",
            tracing::Level::WARN => "warn",
            tracing::Level::INFO => "info",
            tracing::Level::DEBUG => "debug",
            tracing::Level::TRACE => "trace",
        };
        let mut words = Words::default();
        event.record(&mut words);
        let Words {
            mut message,
            fields,
        } = words;
        message.push_str(&fields);
        let mut text = without_secrets(&message);
        if text.len() > MAX_LINE {
            let end = (0..=MAX_LINE).rev().find(|at| text.is_char_boundary(*at));
            text.truncate(end.unwrap_or(0));
        }
        self.push(level, event.metadata().target(), text);
    }
}

/// The message, and behind it the fields as ` name=value`.
#[derive(Default)]
struct Words {
    message: String,
    fields: String,
}

impl Visit for Words {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        // Writing to a string cannot fail.
        let _ = if field.name() == "message" {
            write!(self.message, "{value:?}")
        } else if is_secret_name(field.name()) {
            write!(self.fields, " {}=[secret]", field.name())
        } else {
            write!(self.fields, " {}={value:?}", field.name())
        };
    }
}

fn is_secret_name(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    [
        "password",
        "token",
        "secret",
        "credential",
        "authorization",
        "api_key",
    ]
    .iter()
    .any(|word| name.contains(word))
}

/// `text` with everything that looks like a secret taken out: tokens, bearer values, credentials in
/// addresses, values behind names such as `password=`. Secrets of our own print as `[secret]` anyway;
/// this is for other people's words, such as an error that repeats an address.
pub fn without_secrets(text: &str) -> String {
    const HIDDEN: &str = "[secret]";
    let mut out = String::with_capacity(text.len());
    let mut hide_next = false;
    for piece in text.split_inclusive(|letter: char| letter.is_whitespace()) {
        let word = piece.trim_end();
        let space = piece.get(word.len()..).unwrap_or_default();
        if std::mem::take(&mut hide_next) && !word.is_empty() {
            if word.eq_ignore_ascii_case("bearer") || word.eq_ignore_ascii_case("basic") {
                hide_next = true;
                out.push_str(piece);
            } else {
                out.push_str(HIDDEN);
                out.push_str(space);
            }
            continue;
        }
        if word.eq_ignore_ascii_case("bearer") {
            hide_next = true;
            out.push_str(piece);
            continue;
        }
        if let Some(at) = word.find(['=', ':'])
            && let (Some(name), Some(value)) = (word.get(..at), word.get(at + 1..))
            && is_secret_name(name)
            && !value.starts_with("//")
        {
            out.push_str(name);
            out.push_str(word.get(at..=at).unwrap_or_default());
            if value.is_empty() {
                hide_next = true;
            } else {
                out.push_str(HIDDEN);
            }
            out.push_str(space);
            continue;
        }
        out.push_str(&hide_in_word(word, HIDDEN));
        out.push_str(space);
    }
    out
}

/// Tokens of three parts (`eyJ...`), `user:password@` in addresses, and secrets in a query.
fn hide_in_word(word: &str, hidden: &str) -> String {
    if let Some(at) = word.find("eyJ")
        && word
            .get(at..)
            .is_some_and(|rest| rest.matches('.').count() >= 2)
    {
        return format!("{}{hidden}", word.get(..at).unwrap_or_default());
    }
    let mut word = word.to_owned();
    if let Some(scheme) = word.find("://") {
        let start = scheme + 3;
        let authority = word.get(start..).unwrap_or_default();
        let end = authority.find('/').unwrap_or(authority.len());
        if let Some(at) = authority.get(..end).and_then(|part| part.rfind('@')) {
            word.replace_range(start..start + at, hidden);
        }
    }
    if let Some(query) = word.find('?') {
        let pieces = word.get(query + 1..).unwrap_or_default().split('&');
        let clean: Vec<String> = pieces
            .map(|piece| match piece.split_once('=') {
                Some((name, _)) if is_secret_name(name) => format!("{name}={hidden}"),
                _ => piece.to_owned(),
            })
            .collect();
        let clean = clean.join("&");
        word.truncate(query + 1);
        word.push_str(&clean);
    }
    word
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing_subscriber::layer::SubscriberExt;

    #[test]
    fn what_looks_like_a_secret_is_taken_out_and_the_rest_stays() {
        for (text, clean) in [
            (
                "password=hunter2 user=alice",
                "password=[secret] user=alice",
            ),
            (
                "Authorization: Bearer abc.def",
                "Authorization: Bearer [secret]",
            ),
            (
                "GET http://bob:pw@h:1/x?token=abc&zone=z failed",
                "GET http://[secret]@h:1/x?token=[secret]&zone=z failed",
            ),
            ("got eyJhbGciOi.eyJzdWIi.c2ln here", "got [secret] here"),
            ("refresh_token: xyz next", "refresh_token: [secret] next"),
            (
                "http://127.0.0.1:8001/api does not answer",
                "http://127.0.0.1:8001/api does not answer",
            ),
        ] {
            assert_eq!(without_secrets(text), clean);
        }
    }

    #[test]
    fn lines_are_kept_by_number_and_the_oldest_go() {
        let recent = Recent::default();
        let subscriber = tracing_subscriber::registry().with(recent.clone());
        tracing::subscriber::with_default(subscriber, || {
            tracing::warn!(zone = "prontera", token = "abc", "the path closed");
            for count in 0..MAX_LINES {
                tracing::info!(count, "more");
            }
            tracing::info!("{}", "x".repeat(3 * MAX_LINE));
        });
        let lines = recent.after(0, usize::MAX);
        assert_eq!(lines.len(), MAX_LINES);
        assert_eq!(lines[0].number, 3, "the first two have gone");
        assert_eq!(lines[0].level, "info");
        let last = lines.last().unwrap();
        assert_eq!(last.text.len(), MAX_LINE);
        assert_eq!(recent.after(last.number, 10), []);
        assert_eq!(recent.after(2, 1), lines[..1]);
    }

    #[test]
    fn fields_stand_behind_the_message_and_secrets_are_not_in_them() {
        let recent = Recent::default();
        let subscriber = tracing_subscriber::registry().with(recent.clone());
        tracing::subscriber::with_default(subscriber, || {
            tracing::warn!(zone = "prontera", token = "abc", "the path closed");
        });
        let lines = recent.after(0, 10);
        assert_eq!(
            lines[0].text,
            "the path closed zone=\"prontera\" token=[secret]"
        );
        assert!(lines[0].at_ms > 1_600_000_000_000);
    }
}
