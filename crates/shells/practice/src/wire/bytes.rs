//! Little-endian fields: a builder and a reader.

/// Builds one packet field by field. All integers are little-endian.
#[derive(Clone)]
pub(crate) struct Packet(Vec<u8>);

impl Packet {
    /// Starts a packet of a fixed size with its id.
    pub(crate) fn new(id: u16) -> Self {
        Self(id.to_le_bytes().to_vec())
    }

    /// Starts a packet that carries its length at offset 2; [`Packet::finish`] fills it in.
    pub(crate) fn sized(id: u16) -> Self {
        Self::new(id).u16(0)
    }

    pub(crate) fn u8(mut self, value: u8) -> Self {
        self.0.push(value);
        self
    }

    pub(crate) fn u16(mut self, value: u16) -> Self {
        self.0.extend_from_slice(&value.to_le_bytes());
        self
    }

    pub(crate) fn u32(mut self, value: u32) -> Self {
        self.0.extend_from_slice(&value.to_le_bytes());
        self
    }

    /// A number in `width` bytes, at most 8; what does not fit is cut off.
    pub(crate) fn number(mut self, value: u32, width: usize) -> Self {
        let bytes = u64::from(value).to_le_bytes();
        self.0.extend(bytes.into_iter().take(width));
        self
    }

    pub(crate) fn bytes(mut self, value: &[u8]) -> Self {
        self.0.extend_from_slice(value);
        self
    }

    /// `count` zero bytes.
    pub(crate) fn zeros(mut self, count: usize) -> Self {
        self.0.resize(self.0.len() + count, 0);
        self
    }

    /// A text field of `width` bytes: cut to fit, padded with zeros.
    pub(crate) fn text(mut self, value: &str, width: usize) -> Self {
        let end = self.0.len() + width;
        self.0.extend(value.bytes().take(width));
        self.0.resize(end, 0);
        self
    }

    /// The finished bytes of a packet begun with [`Packet::new`].
    pub(crate) fn done(self) -> Vec<u8> {
        self.0
    }

    /// The finished bytes of a packet begun with [`Packet::sized`].
    ///
    /// The practice game builds nothing longer than the length field can say; should that ever
    /// change, the length is pinned at its end and the receiver's framing reports it.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        let length = u16::try_from(self.0.len())
            .unwrap_or(u16::MAX)
            .to_le_bytes();
        if let Some(field) = self.0.get_mut(2..4) {
            field.copy_from_slice(&length);
        }
        self.0
    }
}

/// Reads fields of a frame. A field outside of the frame reads as zero: frames are cut by the
/// length table before they come here, so fixed fields are there, and the comparison of whole
/// frames notices a variable one that is too short.
#[derive(Clone, Copy)]
pub(crate) struct Fields<'a>(pub(crate) &'a [u8]);

impl<'a> Fields<'a> {
    pub(crate) fn u8(self, at: usize) -> u8 {
        self.0.get(at).copied().unwrap_or(0)
    }

    pub(crate) fn u16(self, at: usize) -> u16 {
        u16::from_le_bytes(self.array(at))
    }

    pub(crate) fn u32(self, at: usize) -> u32 {
        u32::from_le_bytes(self.array(at))
    }

    pub(crate) fn array<const N: usize>(self, at: usize) -> [u8; N] {
        at.checked_add(N)
            .and_then(|end| self.0.get(at..end))
            .and_then(|bytes| bytes.try_into().ok())
            .unwrap_or([0; N])
    }

    /// From `at` to the end.
    pub(crate) fn rest(self, at: usize) -> &'a [u8] {
        self.0.get(at..).unwrap_or(&[])
    }

    /// The bytes of a text field up to its first zero.
    pub(crate) fn text(self, at: usize, width: usize) -> &'a [u8] {
        until_zero(self.rest(at).get(..width).unwrap_or_else(|| self.rest(at)))
    }
}

/// The bytes before the first zero.
pub(crate) fn until_zero(bytes: &[u8]) -> &[u8] {
    bytes.split(|byte| *byte == 0).next().unwrap_or(&[])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn builder_and_reader_agree() {
        let packet = Packet::sized(0x1234)
            .u8(7)
            .u16(0x0203)
            .u32(0x0405_0607)
            .number(9, 8)
            .text("abcdef", 4)
            .text("x", 3)
            .finish();
        assert_eq!(packet.len(), 26);
        let fields = Fields(&packet);
        assert_eq!(fields.u16(0), 0x1234);
        assert_eq!(fields.u16(2), 26);
        assert_eq!(fields.u8(4), 7);
        assert_eq!(fields.u16(5), 0x0203);
        assert_eq!(fields.u32(7), 0x0405_0607);
        assert_eq!(fields.text(19, 4), b"abcd");
        assert_eq!(fields.text(23, 3), b"x");
        assert_eq!(fields.text(25, 30), b"");
        assert_eq!(fields.u32(24), 0, "a field over the edge reads as zero");
        assert_eq!(fields.u8(usize::MAX), 0);
        assert_eq!(fields.u32(usize::MAX), 0);
    }
}
