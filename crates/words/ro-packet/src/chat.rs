//! Lines of the chat: what a player typed, and lines that the bridge says to the player.

use bytes::{BufMut as _, BytesMut};

/// Bytes in front of the text of a public chat packet and of 008E: the id and the length.
const HEAD: usize = 4;

/// ZC_NOTIFY_PLAYERCHAT, in every version: a line without a speaker.
pub(crate) const SYSTEM_LINE: u16 = 0x008E;

/// What stands between the speaker's name and the message.
const SEPARATOR: &[u8] = b" : ";

/// The longest text of one system line in bytes, without its ending zero.
///
/// rAthena and Hercules send clients no longer ones: their `CHAT_SIZE_MAX`, which clients are
/// taken to hold, is 255 bytes and the zero.
pub const MAX_LINE: usize = 255;

/// The message in the whole public chat packet `frame` (`Name : message`, with or without an
/// ending zero), or `None` if it has no ` : `. The first ` : ` counts.
///
/// The id is not looked at: the caller knows it from [`crate::Roles::public_chat`].
#[must_use]
pub fn message(frame: &[u8]) -> Option<&[u8]> {
    let text = frame.get(HEAD..)?;
    let text = text.split(|byte| *byte == 0).next()?;
    let at = text
        .windows(SEPARATOR.len())
        .position(|window| window == SEPARATOR)?;
    text.get(at + SEPARATOR.len()..)
}

/// Appends one whole packet 008E to `out`, which shows `text` as one line of the chat.
///
/// Clients read their own code page, so every character that is not printable ASCII becomes one
/// `?`. What is beyond [`MAX_LINE`] characters is cut off. The text always ends in one zero byte.
pub fn system_line(text: &str, out: &mut BytesMut) {
    let shown = text.chars().take(MAX_LINE).map(|letter| {
        u8::try_from(letter)
            .ok()
            .filter(|byte| matches!(byte, b' '..=b'~'))
            .unwrap_or(b'?')
    });
    let start = out.len();
    out.put_u16_le(SYSTEM_LINE);
    out.put_u16_le(0);
    out.extend(shown);
    out.put_u8(0);
    let length = u16::try_from(out.len() - start).unwrap_or(u16::MAX);
    if let Some(field) = out.get_mut(start + 2..start + HEAD) {
        field.copy_from_slice(&length.to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn spoken(text: &[u8]) -> Vec<u8> {
        let mut packet = vec![0xF3, 0x00];
        packet.extend(u16::try_from(text.len() + 4).unwrap().to_le_bytes());
        packet.extend(text);
        packet
    }

    #[test]
    fn the_message_is_what_stands_behind_the_name() {
        for (text, expected) in [
            (&b"Ann : hello\0"[..], Some(&b"hello"[..])),
            (b"Ann : hello", Some(b"hello")),
            (b"Ann : a : b\0", Some(b"a : b")),
            (b"Ann : \0", Some(b"")),
            (b"Ann :\0", None),
            (b"Ann:hello\0", None),
            (b"A\0n : hidden", None),
            (b"Ann : hello\0rest", Some(b"hello")),
            (b" : /p2p", Some(b"/p2p")),
            (b"\xC0\xAF : \xFF\xFE", Some(b"\xFF\xFE")),
            (b"", None),
        ] {
            assert_eq!(message(&spoken(text)), expected, "{text:?}");
        }
        assert_eq!(message(&[0xF3, 0x00, 3]), None);
    }

    fn line(text: &str) -> BytesMut {
        let mut out = BytesMut::new();
        system_line(text, &mut out);
        out
    }

    #[test]
    fn a_line_is_one_packet_that_ends_in_zero() {
        assert_eq!(line("ok 1"), &b"\x8E\x00\x09\x00ok 1\0"[..]);
        assert_eq!(line(""), &b"\x8E\x00\x05\x00\0"[..]);
        assert_eq!(
            line("gr\u{FC}\u{1F600}n\n\0"),
            &b"\x8E\x00\x0C\x00gr??n??\0"[..]
        );
    }

    #[test]
    fn a_long_line_is_cut_and_lines_lie_behind_one_another() {
        let mut out = line(&"\u{E4}".repeat(MAX_LINE + 1));
        let first = out.len();
        assert_eq!(first, HEAD + MAX_LINE + 1);
        assert_eq!(out[2..4], u16::try_from(first).unwrap().to_le_bytes());
        system_line("next", &mut out);
        assert_eq!(&out[first..], &line("next")[..]);
    }

    proptest! {
        #[test]
        fn any_text_makes_one_whole_packet(text in "\\PC{0,300}|[\\x00-\\x7F]{0,300}") {
            let packet = line(&text);
            prop_assert_eq!(usize::from(u16::from_le_bytes([packet[2], packet[3]])), packet.len());
            let shown = &packet[HEAD..packet.len() - 1];
            prop_assert_eq!(shown.len(), text.chars().count().min(MAX_LINE));
            prop_assert!(shown.iter().all(|byte| (b' '..=b'~').contains(byte)));
            prop_assert_eq!(packet.last(), Some(&0));
        }

        #[test]
        fn the_message_of_any_bytes_is_a_part_of_them(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            if let Some(found) = message(&bytes) {
                prop_assert!(!found.contains(&0));
                prop_assert!(found.is_empty() || bytes.windows(found.len()).any(|part| part == found));
            }
        }
    }
}
