//! Messages on the four channels of a peer connection.
//!
//! Input: messages, each a byte for the channel (low two bits), its length (2 bytes, big-endian), and
//! its bytes.

use bytes::Bytes;
use warp_peer_core::{Channel, Inbound, Inbox, WINDOWS, charge};

/// No frame is longer than its channel takes, what is held stays within the credit, and a message
/// of the peer layer prints the bytes that it was read from.
pub fn run(data: &[u8]) {
    let mut rest = data;
    let mut inbox = Inbox::default();
    inbox.open();
    let mut held = [0; 4];
    while let [channel, high, low, behind @ ..] = rest {
        let channel = Channel::ALL[usize::from(channel & 3)];
        let length = usize::from(u16::from_be_bytes([*high, *low])).min(behind.len());
        let (message, next) = behind.split_at(length);
        rest = next;
        let outcome =
            inbox.on_message(
                channel,
                Bytes::copy_from_slice(message),
                |inbound| match inbound {
                    Inbound::Frame(of, frame) => {
                        assert_eq!(of, channel);
                        assert!(frame.len() <= channel.max_frame());
                        held[channel as usize] += charge(frame.len());
                    }
                    Inbound::Datagram(datagram) => assert_eq!(datagram, message[1..]),
                    Inbound::Control(control) => assert_eq!(control.encode(), message),
                },
            );
        for (channel, window) in [Channel::Control, Channel::Reliable, Channel::File]
            .into_iter()
            .zip(WINDOWS)
        {
            assert!(held[channel as usize] <= window);
        }
        if outcome.is_err() {
            return;
        }
    }
}
