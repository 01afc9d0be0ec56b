//! What the beginning of a request says, before the request is taken (`PROTOCOL §10.6`).

use std::time::Duration;

use super::LENGTH_PREFIX;
use crate::{
    Codec,
    codec::{json::Scanner, msgpack::Cursor},
    support::depth::Depth,
};

/// The beginning of a request, as far as it has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Beginning<'a> {
    /// It says this.
    Head(Head<'a>),
    /// More must come before it says anything.
    Incomplete,
    /// It is not written as requests are here, and only reading all of it tells.
    Unknown,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Head<'a> {
    pub(crate) method: &'a [u8],
    pub(crate) depth: Depth,
    /// The time limit, if it is in front of the parameters.
    pub(crate) timeout: Option<Duration>,
}

/// The most bytes in which a beginning is looked for.
pub(crate) const MAX_BEGINNING: usize = 512;

/// The codec of the request that begins so; `None` before its first byte.
pub(crate) fn codec_of(bytes: &[u8]) -> Option<Codec> {
    bytes.first().copied().map(Codec::of_first_byte)
}

/// Reads the beginning of a request. Never allocates.
pub(crate) fn peek_request(bytes: &[u8]) -> Beginning<'_> {
    if let [_, _, _, _, 0x92, head @ 0xA0..=0xBF, rest @ ..] = bytes
        && let Some(method) = rest.get(..usize::from(head & 0x1F))
    {
        return Beginning::Head(Head { method, depth: Depth::ZERO, timeout: None });
    }
    let (head, is_whole) = match codec_of(bytes) {
        Some(Codec::Json) => (peek_json(bytes), memchr::memchr(b'\n', bytes).is_some()),
        Some(Codec::MessagePack) => (peek_packed(bytes), is_whole_packed(bytes)),
        None => return Beginning::Incomplete,
    };
    match head {
        Some(head) => Beginning::Head(head),
        None if is_whole || bytes.len() >= MAX_BEGINNING => Beginning::Unknown,
        None => Beginning::Incomplete,
    }
}

/// A depth stands behind the method here, so that it is known before the parameters have come.
fn peek_json(bytes: &[u8]) -> Option<Head<'_>> {
    let mut scanner = Scanner::new(bytes);
    scanner.skip(br#"{"method":"#)?;
    let method = scanner.plain_string()?.as_bytes();
    let depth = match scanner.skip(br#","depth":"#) {
        Some(()) => Depth::from_wire(scanner.u64()?),
        None => Depth::ZERO,
    };
    let timeout = match scanner.skip(br#","params":"#) {
        Some(()) => timeout_behind_params(&mut scanner),
        None => scanner.end().map(|()| None)?,
    };
    Some(Head { method, depth, timeout })
}

fn timeout_behind_params(scanner: &mut Scanner<'_>) -> Option<Duration> {
    scanner.value()?;
    scanner.skip(br#","timeout_ms":"#)?;
    scanner.u64().map(Duration::from_millis)
}

fn peek_packed(bytes: &[u8]) -> Option<Head<'_>> {
    let mut cursor = Cursor::new(bytes.get(LENGTH_PREFIX..)?);
    let elements = cursor.at_array().then(|| cursor.array().ok()).flatten()?;
    let method = cursor.string().ok()?.as_bytes();
    let mut head = Head { method, depth: Depth::ZERO, timeout: None };
    if elements != 3 {
        return Some(head);
    }
    for _ in 0..cursor.map().ok()? {
        match cursor.string().ok()? {
            "timeout_ms" if cursor.nil() => {}
            "timeout_ms" => head.timeout = Some(Duration::from_millis(cursor.u64().ok()?)),
            "depth" if cursor.nil() => {}
            "depth" => head.depth = Depth::from_wire(cursor.u64().ok()?),
            // It may be long, and is written last.
            "metadata" => break,
            _ => {
                cursor.value().ok()?;
            }
        }
    }
    Some(head)
}

fn is_whole_packed(bytes: &[u8]) -> bool {
    let length = bytes.first_chunk::<LENGTH_PREFIX>().map(|length| u32::from_be_bytes(*length) as usize);
    length.is_some_and(|length| bytes.len() - LENGTH_PREFIX >= length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Limits, MethodInfo, Request, wire::encode_request};

    static METHOD: MethodInfo = MethodInfo::new("S", 1, "get", 0);

    fn encoded(codec: Codec, set: impl FnOnce(&mut Request)) -> Vec<u8> {
        let mut request = Request::new(&METHOD, codec, &[1, 2]).unwrap();
        set(&mut request);
        encode_request(&mut request, (&Limits::default()).into()).unwrap().into_bytes().to_vec()
    }

    fn head(depth: u64, timeout: Option<u64>) -> Beginning<'static> {
        let timeout = timeout.map(Duration::from_millis);
        Beginning::Head(Head { method: b"get", depth: Depth::from_wire(depth), timeout })
    }

    #[test]
    fn what_is_written_here_is_found_before_it_is_read() {
        for codec in [Codec::Json, Codec::MessagePack] {
            assert_eq!(peek_request(&encoded(codec, |_| ())), head(0, None), "{codec}");
            let deep = encoded(codec, |request| {
                request.set_depth(Depth::from_wire(3));
                request.set_timeout(Some(Duration::from_millis(1500)));
                request.metadata_mut().insert("k", "v".repeat(2000));
            });
            assert_eq!(peek_request(&deep), head(3, Some(1500)), "{codec}");
        }
    }

    #[test]
    fn it_is_found_as_soon_as_it_has_come() {
        for codec in [Codec::Json, Codec::MessagePack] {
            let bytes = encoded(codec, |request| {
                request.set_depth(Depth::from_wire(3));
                request.metadata_mut().insert("k", "v".repeat(2000));
            });
            let found =
                (0..bytes.len()).find(|len| peek_request(&bytes[..*len]) != Beginning::Incomplete).unwrap();
            assert_eq!(peek_request(&bytes[..found]), head(3, None), "{codec}");
            assert!(found < 48, "{codec}: {found} bytes");
        }
    }

    #[test]
    fn what_is_written_otherwise_is_unknown_once_it_is_there() {
        let json = br#"{"params":{},"method":"get"}"#;
        assert_eq!(peek_request(json), Beginning::Incomplete);
        assert_eq!(peek_request(&[&json[..], b"\n"].concat()), Beginning::Unknown);
        assert_eq!(peek_request(&[b"{".as_slice(), &[b' '; MAX_BEGINNING]].concat()), Beginning::Unknown);
        assert_eq!(peek_request(b"\0\0\0\x01\x80"), Beginning::Unknown);
        assert_eq!(peek_request(b""), Beginning::Incomplete);
    }
}
