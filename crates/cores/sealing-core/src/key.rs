//! Sender keys: one per sender and epoch.

use aes_gcm::aead::inout::InOutBuf;
use aes_gcm::aead::{AeadInOut, KeyInit};
use aes_gcm::{Aes256Gcm, Nonce};
use zeroize::{ZeroizeOnDrop, Zeroizing};

use crate::refusal::Refusal;
use crate::window::{Place, Window};
use crate::wire::{Frame, TAG};

/// Key epoch, then counter: both stand in the head, and no pair of them comes twice under a key.
fn nonce(epoch: u32, counter: u64) -> [u8; 12] {
    let mut nonce = [0; 12];
    nonce[..4].copy_from_slice(&epoch.to_be_bytes());
    nonce[4..].copy_from_slice(&counter.to_be_bytes());
    nonce
}

/// The key that this member seals with.
#[derive(ZeroizeOnDrop)]
pub(crate) struct SenderKey {
    #[zeroize(skip)]
    pub(crate) epoch: u32,
    /// Counter of the next frame.
    #[zeroize(skip)]
    counter: u64,
    /// The first counter that is not sealed any more.
    #[zeroize(skip)]
    limit: u64,
    /// For the handovers.
    bytes: Zeroizing<[u8; 32]>,
    /// Wipes itself.
    #[zeroize(skip)]
    cipher: Aes256Gcm,
}

impl SenderKey {
    /// Boxed, so that moving it leaves no copy behind.
    pub(crate) fn new(epoch: u32, bytes: Zeroizing<[u8; 32]>, limit: u64) -> Box<Self> {
        Box::new(Self {
            epoch,
            counter: 0,
            limit,
            cipher: Aes256Gcm::new((&*bytes).into()),
            bytes,
        })
    }

    pub(crate) fn bytes(&self) -> &[u8; 32] {
        &self.bytes
    }

    /// Frames sealed so far.
    pub(crate) fn sealed(&self) -> u64 {
        self.counter
    }

    /// The counter of the next frame; `None`: this key has sealed all that it may.
    pub(crate) fn next_counter(&self) -> Option<u64> {
        (self.counter < self.limit).then_some(self.counter)
    }

    /// Seals `out[from..]` in place under [`SenderKey::next_counter`] and adds the tag; all before
    /// `from` is the head. `None`, and nothing sealed, when the counter has come to its limit.
    pub(crate) fn seal(&mut self, out: &mut Vec<u8>, from: usize) -> Option<()> {
        let counter = self.next_counter()?;
        let nonce = nonce(self.epoch, counter);
        // Whatever happens now, this counter is used up.
        self.counter += 1;
        let (head, payload) = out.split_at_mut_checked(from)?;
        let tag = self
            .cipher
            .encrypt_inout_detached(&Nonce::from(nonce), head, InOutBuf::from(payload))
            .ok()?;
        out.extend_from_slice(&tag);
        Some(())
    }
}

/// A key of another member, to open with.
pub(crate) struct ReceiverKey {
    pub(crate) epoch: u32,
    window: Window,
    cipher: Aes256Gcm,
}

impl ZeroizeOnDrop for ReceiverKey {}

impl ReceiverKey {
    pub(crate) fn new(epoch: u32, bytes: &[u8; 32]) -> Box<Self> {
        Box::new(Self {
            epoch,
            window: Window::default(),
            cipher: Aes256Gcm::new(bytes.into()),
        })
    }

    /// Opens into `out`, which is empty after a refusal.
    pub(crate) fn open(&mut self, frame: &Frame<'_>, out: &mut Vec<u8>) -> Result<(), Refusal> {
        match self.window.place(frame.counter) {
            Place::New => {}
            Place::Seen => return Err(Refusal::Replayed),
            Place::Behind => return Err(Refusal::TooOld),
        }
        out.clear();
        out.extend_from_slice(frame.sealed);
        let nonce = Nonce::from(nonce(self.epoch, frame.counter));
        let tag: &[u8; TAG] = &frame.tag;
        let opened = self.cipher.decrypt_inout_detached(
            &nonce,
            frame.head,
            InOutBuf::from(out.as_mut_slice()),
            tag.into(),
        );
        if opened.is_err() {
            out.clear();
            return Err(Refusal::Tampered);
        }
        // Only what is authentic moves the window: nobody else can push it ahead.
        self.window.mark(frame.counter);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::roster::MemberId;
    use crate::wire::{Common, FRAME_HEAD};

    const COMMON: Common = Common {
        zone: [9; 8],
        zone_epoch: 3,
        key_epoch: 5,
        sender: MemberId(7),
    };

    fn sealed(key: &mut SenderKey, payload: &[u8]) -> Option<Vec<u8>> {
        let mut frame = Vec::new();
        COMMON.write_frame(key.next_counter()?, &mut frame);
        frame.extend_from_slice(payload);
        key.seal(&mut frame, FRAME_HEAD)?;
        Some(frame)
    }

    fn is_wiped_when_dropped<T: ZeroizeOnDrop>() {}

    #[test]
    fn keys_are_wiped_when_they_are_dropped() {
        is_wiped_when_dropped::<SenderKey>();
        is_wiped_when_dropped::<ReceiverKey>();
        // What makes the promises of the two true.
        is_wiped_when_dropped::<Aes256Gcm>();
        is_wiped_when_dropped::<Zeroizing<[u8; 32]>>();
        is_wiped_when_dropped::<chacha20::ChaCha20Rng>();
    }

    #[test]
    fn a_key_refuses_to_seal_beyond_its_limit() {
        let mut key = SenderKey::new(5, Zeroizing::new([1; 32]), 3);
        for _ in 0..3 {
            assert!(sealed(&mut key, b"walk").is_some());
        }
        assert_eq!(key.next_counter(), None);
        let mut out = vec![0; FRAME_HEAD + 4];
        let before = out.clone();
        assert_eq!(key.seal(&mut out, FRAME_HEAD), None);
        assert_eq!(out, before, "and leaves the payload alone");
        assert_eq!(key.sealed(), 3);
    }

    /// Case 16 of McGrew and Viega, "The Galois/Counter Mode of Operation", appendix B, which NIST
    /// SP 800-38D refers to.
    #[test]
    fn the_cipher_is_aes_256_gcm() {
        let key: [u8; 32] =
            hex::decode("feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308")
                .unwrap()
                .try_into()
                .unwrap();
        let nonce: [u8; 12] = hex::decode("cafebabefacedbaddecaf888")
            .unwrap()
            .try_into()
            .unwrap();
        let head = hex::decode("feedfacedeadbeeffeedfacedeadbeefabaddad2").unwrap();
        let mut text = hex::decode(concat!(
            "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72",
            "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39"
        ))
        .unwrap();
        let tag = Aes256Gcm::new(&key.into())
            .encrypt_inout_detached(
                &Nonce::from(nonce),
                &head,
                InOutBuf::from(text.as_mut_slice()),
            )
            .unwrap();
        assert_eq!(
            hex::encode(text),
            concat!(
                "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa",
                "8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662"
            )
        );
        assert_eq!(hex::encode(tag), "76fc6ece0f4e1768cddf8853bb2d551b");
    }

    /// Another implementation opens a frame by what the documentation says alone.
    #[test]
    fn a_frame_is_what_its_documentation_says() {
        use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

        let mut key = SenderKey::new(5, Zeroizing::new([1; 32]), 10);
        sealed(&mut key, b"first").unwrap();
        let mut frame = sealed(&mut key, b"a step to 150 / 151").unwrap();
        assert_eq!(
            hex::encode(&frame[..31]),
            "01010109090909090909090000000300000005000000070000000000000001"
        );
        let (head, rest) = frame.split_at_mut(31);
        let mut nonce = [0; 12];
        nonce[..4].copy_from_slice(&head[15..19]);
        nonce[4..].copy_from_slice(&head[23..31]);
        let other = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &[1; 32]).unwrap());
        let nonce = Nonce::assume_unique_for_key(nonce);
        let opened = other.open_in_place(nonce, Aad::from(head), rest).unwrap();
        assert_eq!(opened, b"a step to 150 / 151");
    }
}
