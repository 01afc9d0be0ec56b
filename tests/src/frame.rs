//! Frames as a peer without any state writes and reads them.

use std::fmt;

use bytes::{Buf, Bytes, BytesMut};

/// DATA flag: the sender's last bytes.
pub const FIN: u8 = 1;
/// DATA flag: the first frame of a stream.
pub const SYN: u8 = 2;
/// DATA flag that no implementation knows.
pub const SPARE: u8 = 4;
/// DATA flag by which peers of this family know each other.
pub const EXT: u8 = 8;

/// Frame type RST.
pub const RST: u8 = 0;
/// Frame type DATA.
pub const DATA: u8 = 1;
/// Frame type WNDINC.
pub const WNDINC: u8 = 2;
/// Frame type GOAWAY.
pub const GOAWAY: u8 = 3;

/// Bytes of a frame header.
pub const HEADER: usize = 8;

/// One frame, legal or not.
#[derive(Clone, PartialEq, Eq)]
pub struct Frame {
    /// Frame type, 4 bits.
    pub kind: u8,
    /// Flags, 4 bits.
    pub flags: u8,
    /// The raw id field.
    pub id: u32,
    /// The payload; its length is what the header says.
    pub payload: Bytes,
}

impl Frame {
    /// Any frame.
    pub fn new(kind: u8, flags: u8, id: u32, payload: impl AsRef<[u8]>) -> Self {
        Self { kind, flags, id, payload: Bytes::copy_from_slice(payload.as_ref()) }
    }

    /// DATA without flags.
    pub fn data(id: u32, payload: impl AsRef<[u8]>) -> Self {
        Self::new(DATA, 0, id, payload)
    }

    /// DATA that opens a stream.
    pub fn syn(id: u32, payload: impl AsRef<[u8]>) -> Self {
        Self::new(DATA, SYN, id, payload)
    }

    /// DATA that opens a stream, from a peer of this family: what our sessions send by default.
    pub fn syn_ext(id: u32, payload: impl AsRef<[u8]>) -> Self {
        Self::new(DATA, SYN | EXT, id, payload)
    }

    /// DATA that opens a stream and ends the sender's direction.
    pub fn syn_fin(id: u32, payload: impl AsRef<[u8]>) -> Self {
        Self::new(DATA, SYN | FIN, id, payload)
    }

    /// DATA that ends the sender's direction.
    pub fn data_fin(id: u32, payload: impl AsRef<[u8]>) -> Self {
        Self::new(DATA, FIN, id, payload)
    }

    /// Empty DATA that ends the sender's direction.
    pub fn fin(id: u32) -> Self {
        Self::data_fin(id, "")
    }

    /// RST with this code.
    pub fn rst(id: u32, code: u32) -> Self {
        Self::new(RST, 0, id, code.to_be_bytes())
    }

    /// WNDINC by so many bytes.
    pub fn wndinc(id: u32, credit: u32) -> Self {
        Self::new(WNDINC, 0, id, credit.to_be_bytes())
    }

    /// GOAWAY with its three fields.
    pub fn go_away(last: u32, code: u32, text: &str) -> Self {
        let payload = [&last.to_be_bytes()[..], &code.to_be_bytes(), text.as_bytes()].concat();
        Self::new(GOAWAY, 0, 0, payload)
    }

    /// The header's bytes.
    pub fn header(&self) -> [u8; HEADER] {
        raw_header(self.payload.len() as u32, self.kind, self.flags, self.id)
    }

    /// The frame's bytes.
    pub fn encode(&self) -> Vec<u8> {
        [&self.header()[..], &self.payload].concat()
    }

    /// Takes a whole frame from the front of `bytes`, if there is one.
    pub fn take(bytes: &mut BytesMut) -> Option<Self> {
        let header: [u8; HEADER] = *bytes.first_chunk()?;
        let [l0, l1, l2, kind, i0, i1, i2, i3] = header;
        let length = u32::from_be_bytes([0, l0, l1, l2]) as usize;
        if bytes.len() < HEADER + length {
            return None;
        }
        bytes.advance(HEADER);
        let payload = bytes.split_to(length).freeze();
        let id = u32::from_be_bytes([i0, i1, i2, i3]);
        Some(Self { kind: kind >> 4, flags: kind & 0x0F, id, payload })
    }

    /// Whether all of these flags are set.
    pub fn has(&self, flags: u8) -> bool {
        self.flags & flags == flags
    }

    /// The payload's `index`th 32-bit number.
    pub fn number(&self, index: usize) -> u32 {
        let bytes = self.payload[4 * index..].first_chunk().expect("the payload holds the number");
        u32::from_be_bytes(*bytes)
    }
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = ["RST", "DATA", "WNDINC", "GOAWAY"].get(usize::from(self.kind)).copied();
        write!(f, "{}", kind.unwrap_or("unknown"))?;
        for (flag, name) in [(SYN, "SYN"), (FIN, "FIN"), (EXT, "EXT"), (SPARE, "SPARE")] {
            if self.has(flag) {
                write!(f, "|{name}")?;
            }
        }
        let shown = &self.payload[..self.payload.len().min(40)];
        write!(f, " id={:#x} len={} {:?}", self.id, self.payload.len(), Bytes::copy_from_slice(shown))
    }
}

/// A header that need not fit any payload.
pub fn raw_header(length: u32, kind: u8, flags: u8, id: u32) -> [u8; HEADER] {
    let [_, l0, l1, l2] = length.to_be_bytes();
    let [i0, i1, i2, i3] = id.to_be_bytes();
    [l0, l1, l2, kind << 4 | flags, i0, i1, i2, i3]
}

/// The bytes of several frames.
pub fn encode(frames: &[Frame]) -> Vec<u8> {
    frames.iter().flat_map(Frame::encode).collect()
}

/// The frames of these bytes, which must end with a whole one.
pub fn decode(bytes: &[u8]) -> Vec<Frame> {
    let mut bytes = BytesMut::from(bytes);
    let frames = std::iter::from_fn(|| Frame::take(&mut bytes)).collect();
    assert!(bytes.is_empty(), "the bytes end inside a frame: {bytes:?}");
    frames
}

/// Bytes written as hex digits; blanks between them do not count.
pub fn hex(text: &str) -> Vec<u8> {
    let digits: String = text.split_whitespace().collect();
    assert!(digits.len().is_multiple_of(2), "an odd number of hex digits");
    let byte = |at| u8::from_str_radix(&digits[at..at + 2], 16).expect("two hex digits");
    (0..digits.len()).step_by(2).map(byte).collect()
}
