//! Commands that the player types into the game's chat, and the answers to them.

use bytes::BytesMut;
use warp_ro_packet::chat;

/// Longest command line that is told, bytes; what is typed beyond it is cut off.
pub const MAX_COMMAND: usize = 255;

/// How many lines of answers wait at most for the client, about 16 KiB.
pub const MAX_ANSWERS: usize = 64;

/// What begins a command.
const WORDS: [&[u8]; 2] = [b"/p2p", b"@p2p"];

/// In front of the message, clients of some languages put `|` and two letters for the code page.
const CODE_PAGE: usize = 3;

/// What the player typed, if the whole public chat packet `frame` is a command: `/p2p` or `@p2p` in
/// any case, alone or followed by a space.
pub(crate) fn command_line(frame: &[u8]) -> Option<&[u8]> {
    let message = chat::message(frame)?;
    let typed = match message.first()? {
        b'|' => message.get(CODE_PAGE..)?,
        _ => message,
    };
    let word = WORDS.into_iter().find(|word| {
        typed
            .get(..word.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(word))
    })?;
    match typed.get(word.len()) {
        None | Some(b' ') => Some(typed),
        Some(_) => None,
    }
}

/// The command as text.
pub(crate) fn line_of(typed: &[u8]) -> String {
    let typed = typed.get(..MAX_COMMAND).unwrap_or(typed);
    String::from_utf8_lossy(typed).trim_end().to_owned()
}

/// Answers that wait for the client, as whole packets behind one another.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    packets: BytesMut,
    lines: usize,
}

impl Answers {
    /// Takes one more line; `false` when too many wait.
    pub(crate) fn push(&mut self, line: &str) -> bool {
        if self.lines >= MAX_ANSWERS {
            return false;
        }
        self.lines += 1;
        chat::system_line(line, &mut self.packets);
        true
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.lines == 0
    }

    /// Hands out all that waits, in one piece.
    pub(crate) fn drain(&mut self, out: &mut impl FnMut(&[u8])) {
        if self.lines > 0 {
            out(&self.packets);
            self.clear();
        }
    }

    pub(crate) fn clear(&mut self) {
        self.packets.clear();
        self.lines = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chat(text: &[u8]) -> Vec<u8> {
        let mut frame = vec![0xF3, 0x00];
        let length = u16::try_from(text.len() + 5).unwrap();
        frame.extend(length.to_le_bytes());
        frame.extend(text);
        frame.push(0);
        frame
    }

    fn line(text: &str) -> Option<String> {
        command_line(&chat(text.as_bytes())).map(line_of)
    }

    #[test]
    fn the_word_alone_or_followed_by_a_space_is_a_command() {
        for (typed, expected) in [
            ("Ann : /p2p", "/p2p"),
            ("Ann : @p2p", "@p2p"),
            ("Ann : /p2p ", "/p2p"),
            ("Ann : /p2p status", "/p2p status"),
            ("Ann : @P2P Metrics ", "@P2P Metrics"),
            ("Ann : |00/p2p status", "/p2p status"),
            // The first separator counts, names hold none.
            ("Ann : /p2p a : b", "/p2p a : b"),
        ] {
            assert_eq!(line(typed).as_deref(), Some(expected), "{typed}");
        }
    }

    #[test]
    fn anything_else_is_none() {
        for typed in [
            "Ann : /p2px",
            "Ann : /p2p\tstatus",
            "Ann : /p2",
            "Ann :  /p2p",
            "Ann : say /p2p",
            "Ann : hello",
            "Ann : |0/p2p",
            "Ann : ",
            "/p2p : hello",
            "/p2p",
            "",
        ] {
            assert_eq!(line(typed), None, "{typed}");
        }
    }

    #[test]
    fn a_line_is_cut_and_odd_bytes_are_replaced() {
        let mut typed = b"Ann : /p2p \xFF".to_vec();
        assert_eq!(
            command_line(&chat(&typed)).map(line_of).as_deref(),
            Some("/p2p \u{FFFD}")
        );
        typed.resize(5_000, b'x');
        let line = command_line(&chat(&typed)).map(line_of).unwrap();
        // One byte became a sign of three.
        assert_eq!(line.len(), MAX_COMMAND + 2);
    }

    #[test]
    fn so_many_answers_wait_and_the_oldest_are_kept() {
        let mut answers = Answers::default();
        for number in 0..MAX_ANSWERS {
            assert!(answers.push(&format!("line {number}")));
        }
        assert!(!answers.push("too many"));
        let mut packets = Vec::new();
        answers.drain(&mut |bytes| packets.extend_from_slice(bytes));
        let mut expected = BytesMut::new();
        for number in 0..MAX_ANSWERS {
            chat::system_line(&format!("line {number}"), &mut expected);
        }
        assert_eq!(packets, expected);
        assert!(answers.is_empty());
        answers.drain(&mut |_| panic!("nothing is left"));
    }
}
