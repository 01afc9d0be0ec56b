//! Items as bytes, and the ends of their streams (`PROTOCOL §10.9`).

use std::ops::Range;

use bytes::Bytes;
use serde::Serialize;

use super::{
    LENGTH_PREFIX,
    response::{ResponseFields, encode_response},
};
use crate::{
    Codec, Metadata, MethodInfo, Origin, Response, Status,
    codec::{
        CodecError,
        msgpack::{push_map, push_str},
    },
    message::{
        limits::SendLimits,
        response::{Failure, Outcome},
    },
};

/// What a message of a stream of items says.
#[derive(Debug)]
pub(crate) enum ItemMessage {
    /// An item, and where it lies in the message.
    Item(Range<usize>),
    /// What travels in front of the items.
    Metadata(Metadata),
    /// No further item comes. Metadata is the trailer.
    End(Result<(), Failure>, Metadata),
}

/// Why an item cannot be sent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ItemError {
    Codec(CodecError),
    TooLarge { size: usize },
}

/// Appends an item as a whole message, or nothing if it cannot be.
#[inline]
pub(crate) fn push_item<T: Serialize + ?Sized>(
    codec: Codec,
    item: &T,
    limit: usize,
    buf: &mut Vec<u8>,
) -> Result<(), ItemError> {
    let begun = Begun { start: buf.len(), buf, whole: false };
    match codec {
        Codec::Json => push_json(item, limit, begun),
        Codec::MessagePack => push_packed(item, limit, begun),
    }
}

/// Appends an item that is encoded already, as a whole message; or nothing, and returns its size, if that is over the
/// limit.
pub(crate) fn push_raw_item(codec: Codec, item: &[u8], limit: usize, buf: &mut Vec<u8>) -> Result<(), usize> {
    let (begin, end): (&[u8], &[u8]) = match codec {
        Codec::Json => (JSON_ITEM, b"}"),
        Codec::MessagePack => (PACKED_ITEM, b""),
    };
    let size = begin.len() + item.len() + end.len();
    if size > limit {
        return Err(size);
    }
    match codec {
        Codec::Json => [begin, item, end, b"\n"].into_iter().for_each(|part| buf.extend_from_slice(part)),
        Codec::MessagePack => {
            // The limit is below 2^32.
            buf.extend_from_slice(&(size as u32).to_be_bytes());
            [begin, item].into_iter().for_each(|part| buf.extend_from_slice(part));
        }
    }
    Ok(())
}

/// Returns whether a message is the first of a stream of items, not an answer: an item, or what travels in front of the
/// items.
pub(crate) fn begins_items(method: &MethodInfo, codec: Codec, message: &Bytes) -> bool {
    quick_item(codec, message).is_some()
        || matches!(
            decode_item_message(method, codec, message),
            Ok(ItemMessage::Item(_) | ItemMessage::Metadata(_))
        )
}

/// A message that is taken back unless it becomes whole: its item may panic, too.
struct Begun<'a> {
    buf: &'a mut Vec<u8>,
    start: usize,
    whole: bool,
}

impl Begun<'_> {
    /// The bytes of the message, if they are within the limit. `framing` of them are not counted.
    #[inline]
    fn size(&self, framing: usize, limit: usize) -> Result<usize, ItemError> {
        let size = self.buf.len() - self.start - framing;
        if size <= limit { Ok(size) } else { Err(ItemError::TooLarge { size }) }
    }

    #[inline]
    fn whole(mut self) {
        self.whole = true;
    }
}

impl Drop for Begun<'_> {
    #[inline]
    fn drop(&mut self) {
        if !self.whole {
            self.buf.truncate(self.start);
        }
    }
}

fn push_json<T: Serialize + ?Sized>(item: &T, limit: usize, begun: Begun<'_>) -> Result<(), ItemError> {
    begun.buf.extend_from_slice(JSON_ITEM);
    Codec::Json.encode_into(item, begun.buf).map_err(ItemError::Codec)?;
    begun.buf.extend_from_slice(b"}\n");
    begun.size(1, limit)?;
    begun.whole();
    Ok(())
}

#[inline]
fn push_packed<T: Serialize + ?Sized>(item: &T, limit: usize, begun: Begun<'_>) -> Result<(), ItemError> {
    begun.buf.extend_from_slice(PACKED_BEGIN);
    Codec::MessagePack.encode_into(item, begun.buf).map_err(ItemError::Codec)?;
    // The limit is below 2^32.
    let length = begun.size(LENGTH_PREFIX, limit)? as u32;
    begun.buf[begun.start..begun.start + LENGTH_PREFIX].copy_from_slice(&length.to_be_bytes());
    begun.whole();
    Ok(())
}

/// Appends a message that was received, as it is.
pub(crate) fn push_message(codec: Codec, message: &[u8], buf: &mut Vec<u8>) {
    match codec {
        Codec::Json => {
            buf.extend_from_slice(without_feed(message));
            buf.push(b'\n');
        }
        Codec::MessagePack => {
            buf.extend_from_slice(&(message.len() as u32).to_be_bytes());
            buf.extend_from_slice(message);
        }
    }
}

/// Appends what travels in front of the items.
pub(crate) fn push_metadata(codec: Codec, metadata: &Metadata, buf: &mut Vec<u8>) {
    let mut message = Vec::new();
    match codec {
        Codec::Json => {
            message.extend_from_slice(br#"{"metadata":"#);
            super::push_metadata(codec, metadata, &mut message);
            message.push(b'}');
        }
        Codec::MessagePack => {
            push_map(&mut message, 1);
            push_str(&mut message, "metadata");
            super::push_metadata(codec, metadata, &mut message);
        }
    }
    push_message(codec, &message, buf);
}

/// Appends the end of a request's items.
pub(crate) fn push_input_end(codec: Codec, buf: &mut Vec<u8>) {
    match codec {
        Codec::Json => buf.extend_from_slice(b"{\"end\":true}\n"),
        Codec::MessagePack => buf.extend_from_slice(b"\0\0\0\x06\x81\xa3end\xc3"),
    }
}

/// Appends the end of an answer's items: an answer as of a unary call.
pub(crate) fn push_output_end(
    codec: Codec,
    end: Result<(), Failure>,
    trailer: Metadata,
    limits: SendLimits<'_>,
    buf: &mut Vec<u8>,
) {
    let result = match end {
        Ok(()) => Response::new(codec, &()).map(|response| response.with_metadata(trailer)),
        Err(Failure::App(error)) => {
            Ok(Response::from_outcome(codec, Outcome::Error(error)).with_metadata(trailer))
        }
        Err(Failure::Status(status)) => Err(status),
        Err(Failure::Panic(_)) => Err(Status::internal("the handler panicked")),
    };
    encode_response(codec, result, limits).append_to(buf);
}

/// The item in a message of the form that is written here; `None` does not say that it holds none.
pub(crate) fn quick_item(codec: Codec, message: &[u8]) -> Option<&[u8]> {
    match codec {
        Codec::Json => quick_json(without_feed(message)),
        Codec::MessagePack => quick_packed(message),
    }
}

/// The same of a message in MessagePack.
#[inline]
pub(crate) fn quick_packed(message: &[u8]) -> Option<&[u8]> {
    message.strip_prefix(PACKED_ITEM)
}

/// The same of a message in JSON, without its line feed.
#[inline]
pub(crate) fn quick_json(message: &[u8]) -> Option<&[u8]> {
    message.strip_prefix(JSON_ITEM)?.strip_suffix(b"}")
}

/// The size of a message that was received, as limits speak of it.
pub(crate) fn received_size(codec: Codec, message: &[u8]) -> usize {
    match codec {
        Codec::Json => without_feed(message).len(),
        Codec::MessagePack => message.len(),
    }
}

/// A message in JSON, which may have been received with its line feed.
fn without_feed(message: &[u8]) -> &[u8] {
    message.strip_suffix(b"\n").unwrap_or(message)
}

/// Decodes any message of a stream of items.
pub(crate) fn decode_item_message(
    method: &MethodInfo,
    codec: Codec,
    message: &Bytes,
) -> Result<ItemMessage, Status> {
    let parts = ResponseFields::decode(codec, message)
        .map_err(|error| Status::cannot_decode(format_args!("a message of {method}"), codec, &error))?;
    match parts {
        ResponseFields { item: Some(item), ok: None, error: None, end: false, .. } => {
            Ok(ItemMessage::Item(item))
        }
        ResponseFields { item: None, error: Some(error), ok: None, end: false, metadata } => {
            let failure = error.into_app_error(codec).map_or_else(Failure::Status, Failure::App);
            Ok(ItemMessage::End(Err(failure), metadata.unwrap_or_default()))
        }
        ResponseFields { item: None, error: None, ok: None, end: true, metadata } => {
            Ok(ItemMessage::End(Ok(()), metadata.unwrap_or_default()))
        }
        ResponseFields { item: None, error: None, ok: Some(value), end: false, metadata } => {
            // The answer of a method that returns one value is no empty stream.
            if &message[value] != null(codec) {
                return Err(single_response(method));
            }
            Ok(ItemMessage::End(Ok(()), metadata.unwrap_or_default()))
        }
        ResponseFields { item: None, error: None, ok: None, end: false, metadata: Some(metadata) } => {
            Ok(ItemMessage::Metadata(metadata))
        }
        _ => Err(Status::internal(format!("a message of {method} is neither an item nor an end"))
            .with_origin(Origin::Peer)),
    }
}

/// What a method without a value answers.
fn null(codec: Codec) -> &'static [u8] {
    match codec {
        Codec::Json => b"null",
        Codec::MessagePack => b"\xc0",
    }
}

/// One answer came where items were expected.
pub(crate) fn single_response(method: &MethodInfo) -> Status {
    Status::internal(format!("{method}: one answer came where items were expected")).with_origin(Origin::Peer)
}

const JSON_ITEM: &[u8] = br#"{"item":"#;

/// A map of one entry with the key `item`.
const PACKED_ITEM: &[u8] = b"\x81\xa4item";

/// `PACKED_ITEM` behind room for the length of the frame.
const PACKED_BEGIN: &[u8] = b"\0\0\0\0\x81\xa4item";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Code, Limits, wire::MessageDecoder};

    static METHOD: MethodInfo = MethodInfo::new("S", 1, "m", 0);
    const CODECS: [Codec; 2] = [Codec::Json, Codec::MessagePack];

    fn messages(bytes: Vec<u8>) -> Vec<Bytes> {
        let mut reader = MessageDecoder::new(1 << 20);
        reader.push(bytes.into());
        std::iter::from_fn(|| reader.pop().unwrap()).collect()
    }

    fn decode(codec: Codec, bytes: Vec<u8>) -> ItemMessage {
        let [message] = &messages(bytes)[..] else { panic!("not one message") };
        decode_item_message(&METHOD, codec, message).unwrap()
    }

    #[test]
    fn items_are_the_bytes_of_the_protocol() {
        let mut buf = Vec::new();
        push_item(Codec::Json, &7, 100, &mut buf).unwrap();
        push_input_end(Codec::Json, &mut buf);
        assert_eq!(buf, b"{\"item\":7}\n{\"end\":true}\n");
        buf.clear();
        push_item(Codec::MessagePack, &7, 100, &mut buf).unwrap();
        push_input_end(Codec::MessagePack, &mut buf);
        assert_eq!(buf, b"\0\0\0\x07\x81\xa4item\x07\0\0\0\x06\x81\xa3end\xc3");
    }

    #[test]
    fn items_that_are_encoded_already_go_as_others_do() {
        for codec in CODECS {
            let (mut encoded, mut raw, mut item) = (Vec::new(), Vec::new(), Vec::new());
            push_item(codec, &[1, 2], 100, &mut encoded).unwrap();
            codec.encode_into(&[1, 2], &mut item).unwrap();
            push_raw_item(codec, &item, 100, &mut raw).unwrap();
            assert_eq!(raw, encoded);
            let whole = raw.len();
            assert!(push_raw_item(codec, &item, 8, &mut raw).is_err());
            assert_eq!(raw.len(), whole);
            assert!(begins_items(&METHOD, codec, &messages(raw)[0]));
        }
    }

    #[test]
    fn items_are_found_the_quick_way_and_the_other() {
        for codec in CODECS {
            let mut buf = Vec::new();
            push_item(codec, "x", 100, &mut buf).unwrap();
            push_item(codec, &[1, 2], 100, &mut buf).unwrap();
            let messages = messages(buf);
            let quick = quick_item(codec, &messages[0]).unwrap();
            assert_eq!(codec.decode::<String>(quick).as_deref(), Ok("x"));
            let ItemMessage::Item(at) = decode_item_message(&METHOD, codec, &messages[1]).unwrap() else {
                panic!("no item");
            };
            assert_eq!(codec.decode::<[i32; 2]>(&messages[1][at]), Ok([1, 2]));
        }
    }

    #[test]
    fn ends_say_how_it_ended_and_carry_the_trailer() {
        let limits = &Limits::default();
        for codec in CODECS {
            let mut buf = Vec::new();
            push_output_end(codec, Ok(()), Metadata::from([("k", "v")]), limits.into(), &mut buf);
            let ItemMessage::End(Ok(()), trailer) = decode(codec, buf) else { panic!("no end") };
            assert_eq!(trailer.get("k"), Some("v"));

            let mut buf = Vec::new();
            let failure = Err(Failure::Status(Status::aborted("later")));
            push_output_end(codec, failure, Metadata::new(), limits.into(), &mut buf);
            let ItemMessage::End(Err(Failure::Status(status)), _) = decode(codec, buf) else {
                panic!("no failure");
            };
            assert_eq!(status, Status::aborted("later"));

            let mut buf = Vec::new();
            push_input_end(codec, &mut buf);
            assert!(matches!(decode(codec, buf), ItemMessage::End(Ok(()), _)));

            let mut buf = Vec::new();
            push_metadata(codec, &Metadata::from([("a", "b")]), &mut buf);
            assert!(matches!(decode(codec, buf), ItemMessage::Metadata(head) if head.get("a") == Some("b")));
        }
    }

    #[test]
    fn an_item_that_cannot_be_sent_leaves_nothing() {
        for codec in CODECS {
            let mut buf = vec![1];
            let error = push_item(codec, "123456", 4, &mut buf).unwrap_err();
            assert!(matches!(error, ItemError::TooLarge { size: 9.. }), "{error:?}");
            assert_eq!(buf, [1]);
        }
        let mut buf = vec![1];
        let unordered = std::collections::BTreeMap::from([((1, 2), 3)]);
        assert!(matches!(push_item(Codec::Json, &unordered, 100, &mut buf), Err(ItemError::Codec(_))));
        assert_eq!(buf, [1]);
    }

    #[test]
    fn what_is_no_item_is_an_error() {
        for text in [
            "{}",
            "[]",
            r#"{"item":1,"end":true}"#,
            r#"{"item":1,"ok":null}"#,
            r#"{"ok":1,"err":{}}"#,
            r#"{"ok":null,"end":true}"#,
            r#"{"end":false}"#,
        ] {
            let message = Bytes::from_static(text.as_bytes());
            let status = decode_item_message(&METHOD, Codec::Json, &message).unwrap_err();
            assert_eq!(status.code(), Code::Internal, "{text}");
        }
    }

    #[test]
    fn the_answer_of_a_unary_method_is_no_end() {
        for (codec, message) in [(Codec::Json, &b"{\"ok\":7}"[..]), (Codec::MessagePack, b"\x81\xa2ok\x07")] {
            let status = decode_item_message(&METHOD, codec, &Bytes::from_static(message)).unwrap_err();
            assert_eq!((status.code(), status.origin()), (Code::Internal, Origin::Peer));
            assert!(status.message().contains("one answer came where items were expected"), "{status}");
        }
    }

    #[test]
    fn metadata_in_front_may_be_empty() {
        for (codec, message) in
            [(Codec::Json, &b"{\"metadata\":{}}"[..]), (Codec::MessagePack, b"\x81\xa8metadata\x80")]
        {
            let decoded = decode_item_message(&METHOD, codec, &Bytes::from_static(message)).unwrap();
            assert!(matches!(decoded, ItemMessage::Metadata(head) if head.is_empty()));
        }
    }
}
