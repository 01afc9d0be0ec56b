//! Answers as bytes (`PROTOCOL §10.7`, `§10.8`).

use std::ops::Range;

use bytes::Bytes;

use super::{
    add_length, check_metadata, envelope::JsonResponse, expect_end, message_size, no_payload, packed_head,
    push_metadata, range_of, read_metadata, set_length, slice_payload, slice_payload_with,
};
use crate::{
    Code, Codec, Limits, Metadata, MethodInfo, Origin, Response, Status,
    codec::{
        Append, CodecError,
        apart::Apart,
        json::{self, Scanner, push_string},
        msgpack::{Cursor, push_bool, push_map, push_str},
    },
    message::{
        limits::SendLimits,
        payload::{Framed, Head, OutboundMessage, Payload},
        response::{EncodedError, Outcome},
        status::MAX_STATUS_MESSAGE,
    },
    support::truncate::truncate,
};

/// Encodes an answer in the codec of the request. One that is over a limit of this side, or
/// one that the caller told, becomes a status that says so.
#[inline]
pub(crate) fn encode_response(
    codec: Codec,
    mut result: Result<Response, Status>,
    limits: SendLimits<'_>,
) -> OutboundMessage {
    // A value without metadata, which most answers are.
    if let Ok(response) = &mut result
        && let Some(mut value) = response.take_value(codec)
    {
        // Only in MessagePack, where nothing comes behind the value.
        let end = value.take_end();
        let mut framed = frame_value(codec, value);
        let mut size = message_size(codec, &framed);
        if let Some(end) = &end {
            size += end.content_len();
            add_length(&mut framed, end);
        }
        if size <= limits.message_size().bytes {
            return framed.into_outbound_with(end);
        }
        return too_large(codec, size, limits);
    }
    encode_any(codec, result, limits)
}

#[inline(never)]
fn encode_any(codec: Codec, result: Result<Response, Status>, limits: SendLimits<'_>) -> OutboundMessage {
    let answer = match result.and_then(|response| OutboundResponse::of_response(codec, response, limits)) {
        Ok(answer) => answer,
        Err(status) => OutboundResponse::of_status(codec, &status),
    };
    let framed = answer.frame(codec);
    let size = message_size(codec, &framed);
    if size <= limits.message_size().bytes {
        return framed.into_outbound();
    }
    too_large(codec, size, limits)
}

#[inline]
fn frame_value(codec: Codec, value: Payload) -> Framed {
    match codec {
        Codec::Json => value.framed(br#"{"ok":"#, |buf| buf.extend_from_slice(b"}\n")),
        Codec::MessagePack => {
            let mut framed = value.framed(b"\0\0\0\0\x81\xa2ok", |_| ());
            set_length(&mut framed);
            framed
        }
    }
}

/// What is said instead of an answer that is over a limit.
#[cold]
fn too_large(codec: Codec, size: usize, limits: SendLimits<'_>) -> OutboundMessage {
    let limit = limits.message_size();
    let (whose, limit) = (limit.whose("serving", "calling"), limit.bytes);
    let status = Status::resource_exhausted(format!(
        "an answer of {size} bytes, over the {whose} side's limit of {limit} (Limits::max_message_size)"
    ));
    OutboundResponse::of_status(codec, &status).frame(codec).into_outbound()
}

/// An answer in the shape of the wire.
struct OutboundResponse {
    error: Option<ErrorHead>,
    /// The value, or the details of the error.
    payload: Payload,
    metadata: Metadata,
}

struct ErrorHead {
    code: Code,
    message: String,
    /// The key that sets it apart from a status of which no more is known, and its value.
    mark: Option<(&'static str, bool)>,
    has_details: bool,
}

impl OutboundResponse {
    fn of_response(codec: Codec, response: Response, limits: SendLimits<'_>) -> Result<Self, Status> {
        check_metadata(response.metadata(), limits)
            .map_err(|problem| Status::internal(format!("the answer has {problem}")))?;
        let (encoded_in, outcome, metadata) = response.into_parts();
        if encoded_in != codec {
            return Err(Status::internal(format!(
                "the answer is encoded as {encoded_in}, the request as {codec}"
            )));
        }
        match outcome {
            Outcome::Value(payload) => Ok(Self { error: None, payload, metadata }),
            Outcome::Error(error) => Ok(Self { metadata, ..Self::of_app_error(error) }),
            Outcome::Body(_) => Err(Status::internal("a method with a single response returned a stream")),
        }
    }

    fn of_app_error(EncodedError { code, message, value }: EncodedError) -> Self {
        let message = kept_message(&message);
        let error = Some(ErrorHead { code, message, mark: Some(("app", true)), has_details: true });
        Self { error, payload: value, metadata: Metadata::new() }
    }

    fn of_status(codec: Codec, status: &Status) -> Self {
        let details = status.raw_details(codec);
        let error = ErrorHead {
            code: status.code(),
            message: kept_message(status.sent_message()),
            mark: (!status.may_have_executed()).then_some(("executed", false)),
            has_details: details.is_some(),
        };
        let payload = details.map_or_else(no_payload, Payload::from);
        Self { error: Some(error), payload, metadata: Metadata::new() }
    }

    fn frame(self, codec: Codec) -> Framed {
        match codec {
            Codec::Json => self.frame_json(),
            Codec::MessagePack => self.frame_packed(),
        }
    }

    fn frame_json(self) -> Framed {
        let Self { error, payload, metadata } = self;
        let mut head = Head::new();
        match &error {
            None => head.append(br#"{"ok":"#),
            Some(error) => {
                head.append(br#"{"err":{"code":"#);
                push_string(&mut head, error.code.as_str());
                if error.has_details {
                    head.append(br#","details":"#);
                }
            }
        }
        payload.framed(head.as_slice(), |buf| {
            if let Some(error) = &error {
                buf.extend_from_slice(br#","message":"#);
                push_string(buf, &error.message);
                if let Some((key, value)) = error.mark {
                    buf.push(b',');
                    push_string(buf, key);
                    buf.extend_from_slice(if value { &b":true"[..] } else { b":false" });
                }
                buf.push(b'}');
            }
            if !metadata.is_empty() {
                buf.extend_from_slice(br#","metadata":"#);
                push_metadata(Codec::Json, &metadata, buf);
            }
            buf.extend_from_slice(b"}\n");
        })
    }

    fn frame_packed(self) -> Framed {
        let Self { error, payload, metadata } = self;
        let mut head = packed_head();
        push_map(&mut head, if metadata.is_empty() { 1 } else { 2 });
        match &error {
            None => push_str(&mut head, "ok"),
            Some(error) => {
                push_str(&mut head, "err");
                push_map(&mut head, 2 + usize::from(error.mark.is_some()) + usize::from(error.has_details));
                push_str(&mut head, "code");
                push_str(&mut head, error.code.as_str());
                if error.has_details {
                    push_str(&mut head, "details");
                }
            }
        }
        let mut framed = payload.framed(head.as_slice(), |buf| {
            if let Some(error) = &error {
                push_str(buf, "message");
                push_str(buf, &error.message);
                if let Some((key, value)) = error.mark {
                    push_str(buf, key);
                    push_bool(buf, value);
                }
            }
            if !metadata.is_empty() {
                push_str(buf, "metadata");
                push_metadata(Codec::MessagePack, &metadata, buf);
            }
        });
        set_length(&mut framed);
        framed
    }
}

/// What is sent, and what is kept, of the text of an error.
fn kept_message(text: &str) -> String {
    truncate(text, MAX_STATUS_MESSAGE).to_owned()
}

/// What a value without metadata is behind in MessagePack.
const QUICK: &[u8] = b"\x81\xa2ok";

/// Decodes an answer.
#[inline]
pub(crate) fn decode_response(
    method: &MethodInfo,
    codec: Codec,
    mut message: Bytes,
    mut apart: Option<Apart>,
    limits: &Limits,
) -> Result<Response, Status> {
    if codec == Codec::MessagePack && message.len() > QUICK.len() && message.starts_with(QUICK) {
        // As it is written here. Whether the rest is one value is for whoever decodes it to see.
        let value = QUICK.len()..message.len();
        return Ok(Response::from_outcome(codec, Outcome::Value(slice_payload_with(message, value, apart))));
    }
    if let Some(apart) = apart.take() {
        message = apart.join(&message);
    }
    let mut parts = ResponseFields::decode(codec, &message)
        .map_err(|error| Status::cannot_decode(format_args!("the answer of {method}"), codec, &error))?;
    let metadata = parts.metadata.take().unwrap_or_default();
    check_metadata(&metadata, limits.into())
        .map_err(|problem| Status::resource_exhausted(format!("the answer of {method} has {problem}")))?;
    let outcome = match (parts.ok, parts.error) {
        (Some(value), None) => Outcome::Value(slice_payload(message, value)),
        (None, Some(error)) => Outcome::Error(error.into_app_error(codec)?),
        _ => {
            let status = format!("the answer of {method} has neither or both of `ok` and `err`");
            return Err(Status::internal(status).with_origin(Origin::Peer));
        }
    };
    Ok(Response::from_outcome(codec, outcome).with_metadata(metadata))
}

/// What may be in an answer, or in a message of a stream of items.
#[derive(Default)]
pub(super) struct ResponseFields {
    /// Where the value lies in the message.
    pub(super) ok: Option<Range<usize>>,
    pub(super) error: Option<ErrorFields>,
    /// Where the item lies in the message.
    pub(super) item: Option<Range<usize>>,
    /// The items have ended.
    pub(super) end: bool,
    pub(super) metadata: Option<Metadata>,
}

#[derive(Default)]
pub(super) struct ErrorFields {
    code: Code,
    message: String,
    details: Option<Bytes>,
    app: bool,
    not_executed: bool,
}

impl ErrorFields {
    /// The application's error, or a status.
    pub(super) fn into_app_error(self, codec: Codec) -> Result<EncodedError, Status> {
        let Self { code, message, details, app, not_executed } = self;
        match details {
            Some(details) if app => Ok(EncodedError { code, message, value: details.into() }),
            details => {
                let status = Status::new(code, message).with_origin(Origin::Peer);
                let status = if not_executed { status.not_executed() } else { status };
                Err(match details {
                    Some(details) => status.with_raw_details(codec, details),
                    None => status,
                })
            }
        }
    }
}

impl ResponseFields {
    pub(super) fn decode(codec: Codec, message: &Bytes) -> Result<Self, CodecError> {
        match codec {
            Codec::Json => decode_json(message),
            Codec::MessagePack => decode_packed(message),
        }
    }
}

fn decode_json(message: &Bytes) -> Result<ResponseFields, CodecError> {
    if let Some(value) = quick_json(message) {
        return Ok(ResponseFields { ok: Some(range_of(message, value)), ..ResponseFields::default() });
    }
    let answer: JsonResponse<'_> = json::parse(message)?;
    let raw = |value: &serde_json::value::RawValue| message.slice_ref(value.get().as_bytes());
    let error = answer.err.map(|error| ErrorFields {
        code: Code::from_wire(&error.code),
        message: kept_message(&error.message),
        details: error.details.map(raw),
        app: error.app,
        not_executed: error.executed == Some(false),
    });
    let ok = answer.ok.map(|value| range_of(message, value.get().as_bytes()));
    let item = answer.item.map(|value| range_of(message, value.get().as_bytes()));
    Ok(ResponseFields { ok, error, item, end: answer.end, metadata: answer.metadata })
}

/// The value of an answer as it is written here, without metadata; `None` does not mean that it is not valid.
fn quick_json(message: &[u8]) -> Option<&[u8]> {
    let mut scanner = Scanner::new(message);
    scanner.skip(br#"{"ok":"#)?;
    let value = scanner.value()?;
    scanner.end()?;
    Some(value)
}

fn decode_packed(message: &Bytes) -> Result<ResponseFields, CodecError> {
    let mut cursor = Cursor::new(message);
    let mut parts = ResponseFields::default();
    for _ in 0..cursor.map()? {
        match cursor.string()? {
            "ok" => parts.ok = Some(range_of(message, cursor.value()?)),
            "err" => parts.error = Some(decode_packed_error(message, &mut cursor)?),
            "item" => parts.item = Some(range_of(message, cursor.value()?)),
            "end" => parts.end = cursor.bool()?,
            "metadata" => parts.metadata = Some(read_metadata(&mut cursor)?),
            _ => {
                cursor.value()?;
            }
        }
    }
    expect_end(&cursor)?;
    Ok(parts)
}

fn decode_packed_error(message: &Bytes, cursor: &mut Cursor<'_>) -> Result<ErrorFields, CodecError> {
    let mut error = ErrorFields::default();
    for _ in 0..cursor.map()? {
        match cursor.string()? {
            "code" => error.code = Code::from_wire(cursor.string()?),
            "message" => error.message = kept_message(cursor.string()?),
            "details" => error.details = Some(message.slice_ref(cursor.value()?)),
            "app" => error.app = cursor.bool()?,
            "executed" => error.not_executed = !cursor.nil() && !cursor.bool()?,
            _ => {
                cursor.value()?;
            }
        }
    }
    Ok(error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{CallError, wire::MessageDecoder};

    static METHOD: MethodInfo = MethodInfo::new("S", 1, "m", 0);
    const CODECS: [Codec; 2] = [Codec::Json, Codec::MessagePack];

    fn encode(codec: Codec, result: Result<Response, Status>) -> Bytes {
        encode_response(codec, result, (&Limits::default()).into()).into_bytes()
    }

    fn decode(bytes: Bytes) -> Result<Response, Status> {
        let mut reader = MessageDecoder::new(1 << 20);
        reader.push(bytes);
        let message = reader.pop().unwrap().expect("a whole message");
        decode_response(&METHOD, reader.codec().unwrap(), message, None, &Limits::default())
    }

    #[test]
    fn answers_are_the_bytes_of_the_protocol() {
        let three = |codec| encode(codec, Response::new(codec, &3));
        assert_eq!(three(Codec::Json), "{\"ok\":3}\n");
        assert_eq!(three(Codec::MessagePack), &b"\0\0\0\x05\x81\xa2ok\x03"[..]);
        let missing = encode(Codec::Json, Err(Status::not_found("no \"x\"")));
        assert_eq!(missing, "{\"err\":{\"code\":\"not_found\",\"message\":\"no \\\"x\\\"\"}}\n");
        let own = encode(Codec::Json, Response::from_error(Codec::Json, &[1]));
        assert_eq!(
            own,
            "{\"err\":{\"code\":\"unknown\",\"details\":[1],\"message\":\"the method returned an error\",\"app\":true}}\n"
        );
    }

    #[test]
    fn values_errors_and_metadata_survive_in_both_codecs() {
        for codec in CODECS {
            let mut response = Response::new(codec, "value").unwrap();
            response.metadata_mut().insert("k", "v");
            let back = decode(encode(codec, Ok(response))).unwrap();
            assert_eq!(back.metadata().get("k"), Some("v"));
            assert_eq!(back.decode::<String>(&METHOD).as_deref(), Ok("value"));

            let own = decode(encode(codec, Response::from_error(codec, "mine"))).unwrap();
            assert_eq!(own.decode_result::<i32, String>(&METHOD), Err(CallError::App("mine".to_owned())));

            let status = Status::aborted("later").with_details(&(1, "two"));
            let back = decode(encode(codec, Err(status.clone()))).unwrap_err();
            assert_eq!((&back, back.origin()), (&status, Origin::Peer));
            assert_eq!(back.details(), Some((1, "two".to_owned())));
        }
    }

    #[test]
    fn a_method_without_a_value_answers_null() {
        for codec in CODECS {
            let back = decode(encode(codec, Response::new(codec, &()))).unwrap();
            assert_eq!(back.decode::<()>(&METHOD), Ok(()));
        }
    }

    #[test]
    fn the_shortest_answers_of_others_are_understood() {
        assert_eq!(decode(Bytes::from_static(b"{\"err\":{}}\n")).unwrap_err(), Status::unknown(""));
        assert_eq!(
            decode(Bytes::from_static(b"\0\0\0\x06\x81\xa3err\x80")).unwrap_err(),
            Status::unknown("")
        );
        let word = decode(Bytes::from_static(b"{\"err\":{\"code\":\"new_word\"},\"x\":1}\n")).unwrap_err();
        assert_eq!(word.code(), Code::Unknown);
    }

    #[test]
    fn what_is_no_answer_is_an_error() {
        for bytes in [
            &b"{}\n"[..],
            b"{\"ok\":1,\"err\":{}}\n",
            b"{\"ok\":\n",
            b"\0\0\0\x01\x80",
            b"\0\0\0\x01\x01",
            b"\0\0\0\0",
        ] {
            assert_eq!(decode(Bytes::from_static(bytes)).unwrap_err().code(), Code::Internal, "{bytes:?}");
        }
    }

    #[test]
    fn an_answer_over_the_limit_becomes_a_status() {
        for codec in CODECS {
            let limits = Limits::default().max_message_size(1024);
            let answer = encode_response(codec, Response::new(codec, &"x".repeat(2000)), (&limits).into());
            let status = decode(answer.into_bytes()).unwrap_err();
            assert_eq!(status.code(), Code::ResourceExhausted);
            assert!(status.message().contains("serving side's limit of 1024"), "{status}");
        }
    }

    #[test]
    fn an_answer_in_the_wrong_codec_is_internal() {
        let answer = encode(Codec::Json, Response::new(Codec::MessagePack, &1));
        assert_eq!(decode(answer).unwrap_err().code(), Code::Internal);
    }

    #[test]
    fn a_long_text_of_a_status_is_cut_between_characters() {
        let status = decode(encode(Codec::Json, Err(Status::aborted("ü".repeat(5000))))).unwrap_err();
        assert_eq!(status.message().len(), MAX_STATUS_MESSAGE);
    }
}
