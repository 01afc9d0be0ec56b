//! Requests as bytes (`PROTOCOL §10.6`).

use std::{borrow::Cow, ops::Range, time::Duration};

use serde_json::value::RawValue;

use super::{
    LENGTH_PREFIX, check_metadata, envelope::JsonRequest, expect_end, message_size, packed_head,
    push_metadata, range_of, read_metadata, set_length,
};
use crate::{
    Codec, Metadata, Request, Status,
    codec::{
        Append, CodecError,
        json::{self, Scanner, push_string},
        msgpack::{Cursor, push_array, push_map, push_str, push_u64},
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
    let framed = match codec {
        Codec::Json => encode_json(request),
        Codec::MessagePack => encode_packed(request),
    };
    let (size, limit) = (message_size(codec, &framed), limits.message_size());
    if size > limit.bytes {
        let (whose, limit) = (limit.whose("this", "the serving"), limit.bytes);
        let method = request.method();
        let problem = format!(
            "{method}: a request of {size} bytes, over {whose} side's limit of {limit} (Limits::max_message_size)"
        );
        return Err(Status::resource_exhausted(problem).not_executed());
    }
    Ok(framed.into_outbound())
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
    let name = request.method().name();
    let depth = request.depth();
    if request.timeout().is_none() && request.metadata().is_empty() && depth.is_zero() && name.len() < 32 {
        // All that most calls need: the head of an array, of a string, and the method.
        let mut head = [0; LENGTH_PREFIX + 2 + 31];
        head[LENGTH_PREFIX..][..2].copy_from_slice(&[0x92, 0xA0 | name.len() as u8]);
        head[LENGTH_PREFIX + 2..][..name.len()].copy_from_slice(name.as_bytes());
        let end = LENGTH_PREFIX + 2 + name.len();
        let mut framed = request.take_params().framed(&head[..end], |_| ());
        set_length(&mut framed);
        return framed;
    }
    let params = request.take_params();
    let timeout_ms = timeout_ms(request);
    let metadata = request.metadata();
    let options = [timeout_ms.is_some(), !depth.is_zero(), !metadata.is_empty()];
    let options = options.into_iter().filter(|is_there| *is_there).count();
    let mut head = packed_head();
    push_array(&mut head, if options == 0 { 2 } else { 3 });
    push_str(&mut head, request.method().name());
    if options > 0 {
        push_map(&mut head, options);
    }
    if let Some(timeout_ms) = timeout_ms {
        push_str(&mut head, "timeout_ms");
        push_u64(&mut head, timeout_ms);
    }
    if !depth.is_zero() {
        push_str(&mut head, "depth");
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

/// The time limit in whole milliseconds, rounded up so that the peer never stops before the caller.
fn timeout_ms(request: &Request) -> Option<u64> {
    let ms = request.timeout()?.as_nanos().div_ceil(1_000_000);
    Some(u64::try_from(ms).unwrap_or(u64::MAX))
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

/// The method and where the parameters begin, of a request as it is written here for a call without options.
///
/// Whether the parameters are one value is for whoever decodes them to see.
pub(crate) fn quick_request(message: &[u8]) -> Option<(&[u8], usize)> {
    let [0x92, head @ 0xA0..=0xBF, rest @ ..] = message else { return None };
    let (method, params) = rest.split_at_checked(usize::from(head & 0x1F))?;
    let is_value = !params.is_empty() && params != NIL;
    is_value.then_some((method, 2 + method.len()))
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
