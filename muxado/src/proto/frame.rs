//! Frame headers: eight bytes, big-endian (`PROTOCOL §2`).

use std::{fmt, num::NonZeroU32};

/// Length of every frame header, in bytes.
pub const HEADER_LEN: usize = 8;

/// Largest length a header can carry: 2²⁴ − 1 bytes.
pub const MAX_FRAME_LEN: u32 = 0x00FF_FFFF;

/// A stream's number: 1 to 2³¹ − 1, odd when the client opened it, even when the server did.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId(NonZeroU32);

impl StreamId {
    /// Largest id.
    pub const MAX: u32 = 0x7FFF_FFFF;

    /// Returns the id with this value; `None` for 0 and for values with the top bit set.
    pub const fn new(value: u32) -> Option<Self> {
        match NonZeroU32::new(value) {
            Some(id) if value <= Self::MAX => Some(Self(id)),
            _ => None,
        }
    }

    /// Returns the value on the wire.
    pub const fn as_u32(self) -> u32 {
        self.0.get()
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StreamId({})", self.0)
    }
}

/// The four bits that say what a frame is. Frames of types other than the four named ones are skipped.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct FrameType(u8);

impl FrameType {
    /// Ends a stream at once, in both directions. Payload: u32 code.
    pub const RST: Self = Self(0);
    /// Carries a piece of a stream. Payload: the bytes.
    pub const DATA: Self = Self(1);
    /// Gives credit to a stream's sender. Payload: u32 bytes.
    pub const WNDINC: Self = Self(2);
    /// Ends the session. Payload: u32 last stream id, u32 code, text.
    pub const GOAWAY: Self = Self(3);

    /// Returns the type in the low four bits of `value`.
    pub const fn new(value: u8) -> Self {
        Self(value & 0x0F)
    }

    /// Returns the value on the wire.
    pub const fn as_u8(self) -> u8 {
        self.0
    }
}

impl fmt::Display for FrameType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::RST => f.write_str("RST"),
            Self::DATA => f.write_str("DATA"),
            Self::WNDINC => f.write_str("WNDINC"),
            Self::GOAWAY => f.write_str("GOAWAY"),
            Self(other) => write!(f, "type {other}"),
        }
    }
}

impl fmt::Debug for FrameType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FrameType({self})")
    }
}

/// The four flag bits of a header. They mean something on DATA only.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Flags(u8);

impl Flags {
    /// No flags.
    pub const NONE: Self = Self(0);
    /// The frame ends the sender's direction of the stream: a half-close.
    pub const FIN: Self = Self(1);
    /// The frame opens the stream.
    pub const SYN: Self = Self(2);
    /// The sender has the protocol extensions; both other implementations ignore the bit (`PROTOCOL §12`).
    pub const EXT: Self = Self(8);

    /// Returns the flags in the low four bits of `value`.
    pub const fn new(value: u8) -> Self {
        Self(value & 0x0F)
    }

    /// Returns the value on the wire.
    pub const fn as_u8(self) -> u8 {
        self.0
    }

    /// Returns the flags of both sets.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Returns whether all flags of `other` are set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// Writes the names of the flags, as in `SYN|FIN`, or `-`.
impl fmt::Display for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = [(Self::SYN, "SYN"), (Self::FIN, "FIN"), (Self(4), "0x4"), (Self::EXT, "EXT1")];
        let mut separator = "";
        for (_, name) in named.into_iter().filter(|(flag, _)| self.contains(*flag)) {
            write!(f, "{separator}{name}")?;
            separator = "|";
        }
        if separator.is_empty() { f.write_str("-") } else { Ok(()) }
    }
}

impl fmt::Debug for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Flags({self})")
    }
}

/// A frame's first eight bytes: length 24 bits, type 4, flags 4, stream id 32.
///
/// ```
/// use muxado::proto::{Flags, FrameHeader, FrameType};
///
/// let header = FrameHeader::data(3, Flags::SYN, 5);
/// assert_eq!(header.encode(), [0, 0, 5, 0x12, 0, 0, 0, 3]);
/// assert_eq!(FrameHeader::decode(header.encode()), header);
/// assert_eq!(header.frame_type, FrameType::DATA);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FrameHeader {
    /// Payload bytes behind the header, at most [`MAX_FRAME_LEN`].
    pub length: u32,
    /// What the frame is.
    pub frame_type: FrameType,
    /// Its flags.
    pub flags: Flags,
    /// The raw id field; a peer may send any value.
    pub stream_id: u32,
}

impl FrameHeader {
    /// Returns the header of a DATA frame.
    pub const fn data(stream_id: u32, flags: Flags, length: u32) -> Self {
        Self { length, frame_type: FrameType::DATA, flags, stream_id }
    }

    /// Decodes a header; every value of the eight bytes is one.
    pub const fn decode(bytes: [u8; HEADER_LEN]) -> Self {
        let [l0, l1, l2, kind, i0, i1, i2, i3] = bytes;
        Self {
            length: u32::from_be_bytes([0, l0, l1, l2]),
            frame_type: FrameType::new(kind >> 4),
            flags: Flags::new(kind),
            stream_id: u32::from_be_bytes([i0, i1, i2, i3]),
        }
    }

    /// Returns the header's bytes. Bits of `length` above the 24th are cut off.
    pub const fn encode(self) -> [u8; HEADER_LEN] {
        let [_, l0, l1, l2] = self.length.to_be_bytes();
        let [i0, i1, i2, i3] = self.stream_id.to_be_bytes();
        [l0, l1, l2, self.frame_type.as_u8() << 4 | self.flags.as_u8(), i0, i1, i2, i3]
    }
}

/// Writes type, stream, length and flags, as in `DATA 3 5 SYN|FIN`.
impl fmt::Display for FrameHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {} {}", self.frame_type, self.stream_id, self.length, self.flags)
    }
}

/// What a server of TLS sends to a client that does not speak it.
pub(super) const TLS_ALERT: &str = "a TLS alert";

/// Whether these bytes are an alert of TLS as a whole, which is shorter than a header of ours: nothing comes behind it.
pub(super) fn is_tls_alert(start: &[u8]) -> bool {
    matches!(start, [0x15, 3, 0..=4, 0, 2, 1 | 2, _])
}

/// Returns what a connection's first bytes look like, if they are those of another protocol or of none.
///
/// Hardly any of them could start a muxado session: the fourth byte is no frame type or the length does not fit it, and
/// no implementation begins with a frame to be skipped that is larger than half a MiB. What is left are DATA frames of
/// ten exact lengths above 1 MiB.
pub(super) fn foreign_protocol(start: &[u8; HEADER_LEN]) -> Option<&'static str> {
    const KNOWN: &[(&[u8], &str)] = &[
        (b"GET ", "an HTTP request"),
        (b"POST", "an HTTP request"),
        (b"PUT ", "an HTTP request"),
        (b"HEAD", "an HTTP request"),
        (b"DELE", "an HTTP request"),
        (b"OPTI", "an HTTP request"),
        (b"PATC", "an HTTP request"),
        (b"CONN", "an HTTP request"),
        (b"TRAC", "an HTTP request"),
        (b"HTTP", "an HTTP answer"),
        (b"PRI ", "an HTTP/2 client"),
        (b"SSH-", "SSH"),
        (b"PROXY ", "a header of the PROXY protocol"),
        (b"\r\n\r\n\0\r\nQ", "a header of the PROXY protocol"),
        (b"EHLO", "an SMTP client"),
    ];
    if let Some((_, name)) = KNOWN.iter().find(|(prefix, _)| start.starts_with(prefix)) {
        return Some(name);
    }
    match start {
        [0x16, 3, 0..=4, ..] => return Some("a TLS handshake"),
        [0x15, 3, 0..=4, ..] => return Some(TLS_ALERT),
        _ => {}
    }
    if start.iter().all(|byte| matches!(byte, b' '..=b'~' | b'\t' | b'\r' | b'\n')) {
        return Some(if matches!(start[0], b'{' | b'[') { "JSON text" } else { "text" });
    }
    let header = FrameHeader::decode(*start);
    // Frames of unknown types are skipped, but nobody begins with one that names an impossible stream:
    // skipping up to 16 MiB of noise would only hide that it is noise.
    let noise = header.frame_type.as_u8() > FrameType::GOAWAY.as_u8() && header.stream_id > StreamId::MAX;
    noise.then_some("bytes of no protocol known here")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_eight_bytes_survive_decoding_and_encoding(bytes: [u8; 8]) {
            prop_assert_eq!(FrameHeader::decode(bytes).encode(), bytes);
        }
    }

    #[test]
    fn a_header_reads_as_the_debug_framer_prints_it() {
        let header = FrameHeader::data(3, Flags::SYN.with(Flags::FIN), 5);
        assert_eq!(header.to_string(), "DATA 3 5 SYN|FIN");
        let credit =
            FrameHeader { length: 4, frame_type: FrameType::WNDINC, flags: Flags::NONE, stream_id: 2 };
        assert_eq!(credit.to_string(), "WNDINC 2 4 -");
    }

    #[test]
    fn stream_ids_are_31_bit_and_not_zero() {
        assert_eq!(StreamId::new(0), None);
        assert_eq!(StreamId::new(0x8000_0000), None);
        assert_eq!(StreamId::new(0x7FFF_FFFF).map(StreamId::as_u32), Some(0x7FFF_FFFF));
    }

    #[test]
    fn noise_is_no_first_frame_but_an_unknown_type_is() {
        assert!(foreign_protocol(&[0xFF; 8]).is_some());
        assert!(foreign_protocol(&[0, 0, 0, 0x40, 0x80, 0, 0, 0]).is_some());
        assert_eq!(foreign_protocol(&[0, 0, 4, 0x70, 0, 0, 0, 3]), None);
    }

    #[test]
    fn no_legal_first_frame_looks_foreign() {
        for kind in [FrameType::DATA, FrameType::GOAWAY] {
            for flags in 0..16 {
                for length in (0..=0xFFFF_u32).chain((0..0x00FF_0000).step_by(257)) {
                    let header =
                        FrameHeader { length, frame_type: kind, flags: Flags::new(flags), stream_id: 3 };
                    // Only a first frame of over 1 MiB could collide, and only with an exact text.
                    if header.length < 0x10_0000 {
                        assert_eq!(foreign_protocol(&header.encode()), None, "{header:?}");
                    }
                }
            }
        }
    }
}
