//! Requests as bytes (`PROTOCOL §10.6`).

use std::{borrow::Cow, ops::Range, time::Duration};

use serde_json::value::RawValue;

use super::{
    LENGTH_PREFIX, add_length, check_metadata, envelope::JsonRequest, expect_end, message_size, packed_head,
    push_metadata, range_of, read_metadata, set_length,
};
use crate::{
    Codec, Metadata, Request, Status,
    codec::{
        Append, CodecError,
        json::{self, Scanner, push_string},
        msgpack::{Cursor, len_u64, push_array, push_map, push_str, push_u64},
    },
    message::{
        limits::SendLimits,
        payload::{Framed, Head, OutboundMessage},
    },
    support::depth::Depth,
};

/// What stands around the parameters of a request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct RequestHead<'a> {
    pub(crate) method: Cow<'a, str>,
    /// Where the parameters lie in the message; `None` if there are none.
    pub(crate) params: Option<Range<usize>>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) depth: Depth,
    pub(crate) metadata: Metadata,
}

/// Encodes a request, unless it is over a limit of this side, or one that the peer told.
/// Its parameters are taken out of it.
pub(crate) fn encode_request(
    request: &mut Request,
    limits: SendLimits<'_>,
) -> Result<OutboundMessage, Status> {
    let codec = request.codec();
    check_metadata(request.metadata(), limits).map_err(|problem| {
        Status::resource_exhausted(format!("{}: {problem}", request.method())).not_executed()
    })?;
    // Only in MessagePack, where nothing comes behind the parameters.
    let end = request.take_params_end();
    let mut framed = match codec {
        Codec::Json => encode_json(request),
        Codec::MessagePack => encode_packed(request),
    };
    let (mut size, limit) = (message_size(codec, &framed), limits.message_size());
    if let Some(end) = &end {
        size += end.content_len();
        add_length(&mut framed, end);
    }
    if size > limit.bytes {
        let (whose, limit) = (limit.whose("this", "the serving"), limit.bytes);
        let method = request.method();
        let problem = format!(
            "{method}: a request of {size} bytes, over {whose} side's limit of {limit} (Limits::max_message_size)"
        );
        return Err(Status::resource_exhausted(problem).not_executed());
    }
    Ok(framed.into_outbound_with(end))
}

fn encode_json(request: &mut Request) -> Framed {
    let timeout_ms = timeout_ms(request);
    let (metadata, _) = request.take_extras();
    let mut head = Head::new();
    head.append(br#"{"method":"#);
    push_string(&mut head, request.method().name());
    if !request.depth().is_zero() {
        // In front of the parameters, so that it comes first; it has one digit.
        head.append(br#","depth":"#);
        head.append(&[b'0' + request.depth().as_u8()]);
    }
    head.append(br#","params":"#);
    request.take_params().framed(head.as_slice(), |buf| {
        if let Some(timeout_ms) = timeout_ms {
            buf.extend_from_slice(br#","timeout_ms":"#);
            json::push_u64(buf, timeout_ms);
        }
        if !metadata.is_empty() {
            buf.extend_from_slice(br#","metadata":"#);
            push_metadata(Codec::Json, &metadata, buf);
        }
        buf.extend_from_slice(b"}\n");
    })
}

#[inline]
fn encode_packed(request: &mut Request) -> Framed {
    let params = request.take_params();
    let name = request.method().name();
    let (timeout_ms, depth) = (timeout_ms(request), request.depth());
    if request.metadata().is_empty() && name.len() < 32 {
        // All that most calls need: the head of an array, of a string, the method, and a time limit.
        let options = QuickOptions { timeout_ms, depth };
        let elements = 0x92 + u8::from(options.count() > 0);
        let len = LENGTH_PREFIX + 2 + name.len() + options.len();
        let mut framed = params.behind(len, |head| {
            let mut head = Room(&mut head[LENGTH_PREFIX..]);
            head.append(&[elements, 0xA0 | name.len() as u8]);
            head.append(name.as_bytes());
            options.push(&mut head);
        });
        set_length(&mut framed);
        return framed;
    }
    let metadata = request.metadata();
    let options = [timeout_ms.is_some(), !depth.is_zero(), !metadata.is_empty()];
    let options = options.into_iter().filter(|is_there| *is_there).count();
    let mut head = packed_head();
    push_array(&mut head, if options == 0 { 2 } else { 3 });
    push_str(&mut head, name);
    if options > 0 {
        push_map(&mut head, options);
    }
    if let Some(timeout_ms) = timeout_ms {
        head.append(TIMEOUT_KEY);
        push_u64(&mut head, timeout_ms);
    }
    if !depth.is_zero() {
        head.append(DEPTH_KEY);
        push_u64(&mut head, depth.as_u8().into());
    }
    if !metadata.is_empty() {
        push_str(&mut head, "metadata");
        push_metadata(Codec::MessagePack, metadata, &mut head);
    }
    let mut framed = params.framed(head.as_slice(), |_| ());
    set_length(&mut framed);
    framed
}

/// The options of a request without metadata.
#[derive(Clone, Copy)]
struct QuickOptions {
    timeout_ms: Option<u64>,
    depth: Depth,
}

impl QuickOptions {
    fn count(self) -> u8 {
        u8::from(self.timeout_ms.is_some()) + u8::from(!self.depth.is_zero())
    }

    /// Returns how many bytes [`push`](Self::push) appends.
    fn len(self) -> usize {
        let timeout = self.timeout_ms.map_or(0, |ms| TIMEOUT_KEY.len() + len_u64(ms));
        let depth = if self.depth.is_zero() { 0 } else { DEPTH_KEY.len() + 1 };
        usize::from(self.count() > 0) + timeout + depth
    }

    #[inline]
    fn push(self, head: &mut Room<'_>) {
        if self.count() > 0 {
            head.append(&[0x80 | self.count()]);
        }
        if let Some(timeout_ms) = self.timeout_ms {
            head.append(TIMEOUT_KEY);
            push_u64(head, timeout_ms);
        }
        if !self.depth.is_zero() {
            head.append(DEPTH_KEY);
            head.append(&[self.depth.as_u8()]);
        }
    }
}

/// Room of the right size for what is appended: written where it stays, a byte that is copied on at once would be waited for.
struct Room<'a>(&'a mut [u8]);

impl Append for Room<'_> {
    #[inline]
    fn append(&mut self, bytes: &[u8]) {
        let (room, rest) = std::mem::take(&mut self.0).split_at_mut(bytes.len());
        room.copy_from_slice(bytes);
        self.0 = rest;
    }
}

/// The names of options in MessagePack, with the heads of their strings.
const TIMEOUT_KEY: &[u8; 11] = b"\xaatimeout_ms";
const DEPTH_KEY: &[u8; 6] = b"\xa5depth";

/// The time limit in whole milliseconds, rounded up so that the peer never stops before the caller.
fn timeout_ms(request: &Request) -> Option<u64> {
    let timeout = request.timeout()?;
    let rest = timeout.subsec_nanos().div_ceil(1_000_000);
    Some(timeout.as_secs().saturating_mul(1000).saturating_add(rest.into()))
}

/// Decodes what stands around the parameters.
pub(crate) fn decode_request(codec: Codec, message: &[u8]) -> Result<RequestHead<'_>, CodecError> {
    match codec {
        Codec::Json => decode_json(message),
        Codec::MessagePack => decode_packed(message),
    }
}

fn decode_json(message: &[u8]) -> Result<RequestHead<'_>, CodecError> {
    if let Some(head) = quick_json(message) {
        return Ok(head);
    }
    let request: JsonRequest<'_> = json::parse(message)?;
    let params = request.params.map(|raw: &RawValue| range_of(message, raw.get().as_bytes()));
    Ok(RequestHead {
        method: request.method,
        params,
        timeout: request.timeout_ms.map(Duration::from_millis),
        depth: request.depth.map_or(Depth::ZERO, Depth::from_wire),
        metadata: request.metadata.unwrap_or_default(),
    })
}

/// The head of a request as it is written here, without metadata; `None` does not mean that it is not valid.
fn quick_json(message: &[u8]) -> Option<RequestHead<'_>> {
    let mut scanner = Scanner::new(message);
    scanner.skip(br#"{"method":"#)?;
    let method = scanner.plain_string()?;
    let depth = match scanner.skip(br#","depth":"#) {
        Some(()) => Depth::from_wire(scanner.u64()?),
        None => Depth::ZERO,
    };
    scanner.skip(br#","params":"#)?;
    let params = scanner.value()?;
    let timeout = match scanner.skip(br#","timeout_ms":"#) {
        Some(()) => Some(Duration::from_millis(scanner.u64()?)),
        None => None,
    };
    scanner.end()?;
    let params = (params != b"null").then(|| range_of(message, params));
    Some(RequestHead { method: method.into(), params, timeout, depth, metadata: Metadata::new() })
}

/// A request as it is written here, without metadata.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct QuickRequest<'a> {
    pub(crate) method: &'a [u8],
    pub(crate) timeout_ms: Option<u64>,
    pub(crate) depth: Depth,
    /// Where the parameters begin. Whether they are one value is for whoever decodes them to see.
    pub(crate) params: usize,
}

/// Decodes a request in MessagePack as it is written here, without metadata; `None` does not mean that it is not valid.
#[inline]
pub(crate) fn quick_request(message: &[u8]) -> Option<QuickRequest<'_>> {
    let [elements @ 0x92..=0x93, head @ 0xA0..=0xBF, rest @ ..] = message else { return None };
    let (method, mut rest) = rest.split_at_checked(usize::from(head & 0x1F))?;
    let (timeout_ms, depth) =
        if *elements == 0x93 { read_quick_options(&mut rest)? } else { (None, Depth::ZERO) };
    let is_value = !rest.is_empty() && rest != NIL;
    is_value.then_some(QuickRequest { method, timeout_ms, depth, params: message.len() - rest.len() })
}

fn read_quick_options(rest: &mut &[u8]) -> Option<(Option<u64>, Depth)> {
    let [map @ 0x81..=0x82, options @ ..] = *rest else { return None };
    *rest = options;
    let timeout_ms = quick_option(TIMEOUT_KEY, rest)?;
    let depth = quick_option(DEPTH_KEY, rest)?;
    let count = u8::from(timeout_ms.is_some()) + u8::from(depth.is_some());
    (0x80 | count == *map).then(|| (timeout_ms, depth.map_or(Depth::ZERO, Depth::from_wire)))
}

/// Takes an option off the front, if it is there. `None` if it is not written as here.
#[inline]
fn quick_option(key: &[u8], rest: &mut &[u8]) -> Option<Option<u64>> {
    let Some(value) = rest.strip_prefix(key) else { return Some(None) };
    let (value, behind) = match value {
        [small @ 0..0x80, behind @ ..] => (u64::from(*small), behind),
        [0xCC, a, behind @ ..] => (u64::from(*a), behind),
        [0xCD, a, b, behind @ ..] => (u64::from(u16::from_be_bytes([*a, *b])), behind),
        [0xCE, a, b, c, d, behind @ ..] => (u64::from(u32::from_be_bytes([*a, *b, *c, *d])), behind),
        _ => return None,
    };
    *rest = behind;
    Some(Some(value))
}

fn decode_packed(message: &[u8]) -> Result<RequestHead<'_>, CodecError> {
    let mut cursor = Cursor::new(message);
    let mut parts = RequestFields::default();
    if cursor.at_array() {
        let elements = cursor.array()?;
        if !(2..=3).contains(&elements) {
            return Err(CodecError::new(format_args!("an array of {elements} elements is no request")));
        }
        parts.method = Some(cursor.string()?);
        if elements == 3 {
            parts.read_map(&mut cursor)?;
        }
        parts.params = Some(cursor.value()?);
    } else {
        parts.read_map(&mut cursor)?;
    }
    expect_end(&cursor)?;
    let method = parts.method.ok_or_else(|| CodecError::new("missing field `method`"))?;
    let params = parts.params.filter(|params| *params != NIL);
    let params = params.map(|params| range_of(message, params));
    Ok(RequestHead {
        method: method.into(),
        params,
        timeout: parts.timeout_ms.map(Duration::from_millis),
        depth: parts.depth,
        metadata: parts.metadata,
    })
}

#[derive(Default)]
struct RequestFields<'a> {
    method: Option<&'a str>,
    params: Option<&'a [u8]>,
    timeout_ms: Option<u64>,
    depth: Depth,
    metadata: Metadata,
}

impl<'a> RequestFields<'a> {
    fn read_map(&mut self, cursor: &mut Cursor<'a>) -> Result<(), CodecError> {
        for _ in 0..cursor.map()? {
            match cursor.string()? {
                "method" => self.method = Some(cursor.string()?),
                "params" => self.params = Some(cursor.value()?),
                "timeout_ms" => self.timeout_ms = if cursor.nil() { None } else { Some(cursor.u64()?) },
                "depth" => {
                    self.depth = if cursor.nil() { Depth::ZERO } else { Depth::from_wire(cursor.u64()?) }
                }
                "metadata" => self.metadata = read_metadata(cursor)?,
                _ => {
                    cursor.value()?;
                }
            }
        }
        Ok(())
    }
}

const NIL: &[u8] = &[0xC0];

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::{Code, Limits, MethodInfo, wire::MessageDecoder};

    static ADD: MethodInfo = MethodInfo::new("Calculator", 1, "add", 0);

    #[derive(serde::Serialize)]
    struct Add {
        a: i64,
        b: i64,
    }

    fn add(codec: Codec) -> Request {
        Request::new(&ADD, codec, &Add { a: 1, b: 2 }).unwrap()
    }

    fn encode(mut request: Request) -> Bytes {
        encode_request(&mut request, (&Limits::default()).into()).unwrap().into_bytes()
    }

    #[test]
    fn requests_are_the_bytes_of_the_protocol() {
        assert_eq!(encode(add(Codec::Json)), &b"{\"method\":\"add\",\"params\":{\"a\":1,\"b\":2}}\n"[..]);
        assert_eq!(encode(add(Codec::MessagePack)), &b"\0\0\0\x0c\x92\xa3add\x82\xa1a\x01\xa1b\x02"[..]);
    }

    #[test]
    fn timeout_depth_and_metadata_survive_in_both_codecs() {
        for codec in [Codec::Json, Codec::MessagePack] {
            let mut request = add(codec);
            request.set_timeout(Some(Duration::from_micros(1_499_001)));
            request.set_depth(Depth::from_wire(2));
            request.metadata_mut().insert("k", "v".repeat(300));
            let params = request.params().to_vec();
            let mut reader = MessageDecoder::new(1 << 20);
            reader.push(encode(request));
            let message = reader.pop().unwrap().unwrap();
            let head = decode_request(codec, &message).unwrap();
            assert_eq!((&*head.method, head.timeout), ("add", Some(Duration::from_millis(1500))));
            assert_eq!((head.metadata.get("k").map(str::len), head.depth.as_u8()), (Some(300), 2));
            assert_eq!(message[head.params.unwrap()], params);
        }
    }

    #[test]
    fn the_quick_way_reads_what_is_written_here_as_the_long_one_does() {
        for timeout in
            [None, Some(0), Some(1), Some(127), Some(128), Some(255), Some(256), Some(10_000), Some(70_000)]
        {
            for depth in [0, 1, 8] {
                let mut request = add(Codec::MessagePack);
                request.set_timeout(timeout.map(Duration::from_millis));
                request.set_depth(Depth::from_wire(depth));
                let message = encode(request).split_off(LENGTH_PREFIX);
                let quick = quick_request(&message).unwrap();
                let whole = decode_packed(&message).unwrap();
                assert_eq!((quick.method, quick.timeout_ms), (&b"add"[..], timeout));
                assert_eq!((whole.timeout, whole.depth), (timeout.map(Duration::from_millis), quick.depth));
                assert_eq!(whole.params, Some(quick.params..message.len()));
            }
        }
        let mut talkative = add(Codec::MessagePack);
        talkative.set_timeout(Some(Duration::from_secs(1)));
        talkative.metadata_mut().insert("k", "v");
        assert_eq!(quick_request(&encode(talkative).split_off(LENGTH_PREFIX)), None);
    }

    #[test]
    fn a_head_that_finds_no_room_in_front_of_the_parameters_is_the_same() {
        static LONG: MethodInfo = MethodInfo::new("Calculator", 1, "a_name_of_just_thirty_one_bytes", 0);
        let timeout = Duration::from_millis(1 << 40);
        let mut request = Request::new(&LONG, Codec::MessagePack, &Add { a: 1, b: 2 }).unwrap();
        request.set_timeout(Some(timeout));
        request.set_depth(Depth::from_wire(1));
        let params = request.params().to_vec();
        let message = encode(request);
        assert_eq!(
            message[..LENGTH_PREFIX],
            u32::try_from(message.len() - LENGTH_PREFIX).unwrap().to_be_bytes()
        );
        let message = &message[LENGTH_PREFIX..];
        let head = decode_packed(message).unwrap();
        assert_eq!((&*head.method, head.timeout, head.depth.as_u8()), (LONG.name(), Some(timeout), 1));
        assert_eq!(message[head.params.unwrap()], params);
    }

    #[test]
    fn the_quick_way_leaves_to_the_long_one_what_is_written_otherwise() {
        for message in [
            &b"\x93\xa1m"[..],
            b"\x93\xa1m\x80\x90",
            b"\x93\xa1m\x81\xaatimeout_ms",
            b"\x93\xa1m\x81\xaatimeout_ms\x05",
            b"\x93\xa1m\x81\xaatimeout_ms\xc0\x90",
            b"\x93\xa1m\x81\xaatimeout_ms\xcd\x01",
            b"\x93\xa1m\x82\xaatimeout_ms\x05\x90",
            b"\x93\xa1m\x82\xa5depth\x01\xaatimeout_ms\x05\x90",
            b"\x93\xa1m\x82\xaatimeout_ms\x05\xaatimeout_ms\x05\x90",
            b"\x93\xa1m\x81\xa5other\x01\x90",
            b"\x92\xa1m\xc0",
        ] {
            assert_eq!(quick_request(message), None, "{message:?}");
        }
    }

    #[test]
    fn a_map_is_a_request_in_messagepack_too() {
        let value = serde_json::json!({"zzz": [1], "params": [1, 2], "method": "add", "timeout_ms": 7});
        let message = rmp_serde::to_vec(&value).unwrap();
        let head = decode_request(Codec::MessagePack, &message).unwrap();
        assert_eq!((&*head.method, head.timeout), ("add", Some(Duration::from_millis(7))));
        assert_eq!(message[head.params.unwrap()], b"\x92\x01\x02"[..]);
    }

    #[test]
    fn absent_and_null_params_are_none() {
        for text in [r#"{"method":"m"}"#, r#"{"method":"m","params":null}"#] {
            assert_eq!(decode_json(text.as_bytes()).unwrap().params, None);
        }
        for packed in [&b"\x81\xa6method\xa1m"[..], b"\x92\xa1m\xc0"] {
            assert_eq!(decode_packed(packed).unwrap().params, None);
        }
    }

    #[test]
    fn what_is_no_request_is_an_error() {
        for text in
            [&b""[..], b"{}", b"{\"method\":3}", b"{\"method\":\"m\"} x", b"{\"method\":\"m\"", b"\xff"]
        {
            assert!(decode_json(text).is_err(), "{text:?}");
        }
        for packed in [
            &b""[..],
            b"\x80",
            b"\x91\xa1m",
            b"\x92\x01\x02",
            b"\x92\xa1m\x01\x01",
            b"\xc0",
            b"\x92\xa1\xff\x01",
        ] {
            assert!(decode_packed(packed).is_err(), "{packed:?}");
        }
    }

    #[test]
    fn sizes_over_a_limit_fail_before_anything_is_sent() {
        for codec in [Codec::Json, Codec::MessagePack] {
            let limits = Limits::default().max_message_size(1024).max_metadata_size(3);
            let mut large = Request::new(&ADD, codec, &"x".repeat(1024)).unwrap();
            let status = encode_request(&mut large, (&limits).into()).unwrap_err();
            assert_eq!((status.code(), status.may_have_executed()), (Code::ResourceExhausted, false));
            assert!(status.message().contains("limit of 1024 (Limits::max_message_size)"), "{status}");
            let mut talkative = add(codec);
            talkative.metadata_mut().insert("ab", "cd");
            let status = encode_request(&mut talkative, (&limits).into()).unwrap_err();
            assert_eq!(
                status.message().split(": ").last(),
                Some("metadata of 4 bytes, over this side's limit of 3 (Limits::max_metadata_size)")
            );
        }
    }
}
