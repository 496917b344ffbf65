//! A game stream: open request or answer, then messages.
//!
//! Input: what comes first (0: nothing, 1: an open request, 2: an open answer), cutting, the stream.

use bytes::BytesMut;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Debug;
use warp_protocol::stream::{
    Decoder, FramingError, Message, MessageKind, OpenAnswer, OpenRequest, encode_keep_alive,
    encode_message, encode_open,
};

use crate::input::{Input, pieces};

/// What a decoder made of a stream so far.
#[derive(Debug, PartialEq)]
struct Read<T> {
    open: Option<T>,
    messages: Vec<Message>,
    error: Option<FramingError>,
    left: usize,
}

/// Pieces are understood as the whole is, and what was understood prints the bytes it was read from.
pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let first = input.byte() % 3;
    let seed = input.byte();
    let wire = input.rest();
    match first {
        0 => both::<()>(false, seed, wire),
        1 => both::<OpenRequest>(true, seed, wire),
        _ => both::<OpenAnswer>(true, seed, wire),
    }
}

fn both<T>(opens: bool, seed: u8, wire: &[u8])
where
    T: Serialize + DeserializeOwned + PartialEq + Debug,
{
    let whole = read::<T>(opens, pieces(0, wire));
    let parts = read::<T>(opens, pieces(seed, wire));
    if whole.error.is_none() {
        assert_eq!(whole, parts);
    } else {
        // What is left unread then depends on how much had come.
        assert_eq!(
            (&whole.open, &whole.messages),
            (&parts.open, &parts.messages)
        );
        assert_eq!(whole.error, parts.error);
        return;
    }
    let mut printed = BytesMut::new();
    for message in &whole.messages {
        match message.kind {
            MessageKind::Plain => encode_message(&mut printed, &message.body, false),
            MessageKind::Alone => encode_message(&mut printed, &message.body, true),
            MessageKind::KeepAlive => encode_keep_alive(&mut printed, &message.body),
        }
    }
    let taken = wire.len() - whole.left;
    let messages_from = match &whole.open {
        Some(open) => {
            // JSON has many spellings: the value counts, not its bytes.
            let mut again = BytesMut::new();
            encode_open(&mut again, open).expect("what was read fits");
            let again = read::<T>(true, pieces(0, &again));
            assert_eq!(again.open, whole.open);
            2 + usize::from(u16::from_le_bytes([wire[0], wire[1]]))
        }
        None => 0,
    };
    if opens && whole.open.is_none() {
        assert_eq!(taken, 0);
        return;
    }
    assert!(printed == wire[messages_from..taken], "printed otherwise");
}

fn read<'a, T: DeserializeOwned>(opens: bool, pieces: impl Iterator<Item = &'a [u8]>) -> Read<T> {
    let mut decoder = Decoder::default();
    let mut read = Read {
        open: None,
        messages: Vec::new(),
        error: None,
        left: 0,
    };
    for piece in pieces {
        decoder.push(piece);
        if let Err(error) = drain(&mut decoder, opens, &mut read) {
            read.error = Some(error);
            break;
        }
        read.left = decoder.buffered();
    }
    read
}

fn drain<T: DeserializeOwned>(
    decoder: &mut Decoder,
    opens: bool,
    read: &mut Read<T>,
) -> Result<(), FramingError> {
    if opens && read.open.is_none() {
        read.open = decoder.next_open()?;
        if read.open.is_none() {
            return Ok(());
        }
    }
    while let Some(message) = decoder.next_message()? {
        read.messages.push(message);
    }
    Ok(())
}
