//! What the bytes of a call mean (`PROTOCOL §10`). No I/O, no clock.

mod early_head;
mod envelope;
mod head;
mod item;
mod message;
mod request;
mod response;

use std::ops::Range;

use bytes::{Buf, Bytes};

pub(crate) use self::{
    early_head::early_head,
    head::{Beginning, MAX_BEGINNING, codec_of, peek_request},
    item::{
        ItemError, ItemMessage, begins_items, decode_item_message, push_input_end, push_item, push_message,
        push_metadata as push_metadata_message, push_output_end, push_raw_item, quick_item, quick_json,
        quick_packed, received_size, single_response,
    },
    message::{MessageDecoder, MessageError, whole_message},
    request::{QuickRequest, RequestHead, decode_request, encode_request, quick_request},
    response::{decode_response, encode_response},
};
use crate::{
    Codec, Metadata,
    codec::{Append, CodecError, apart::Apart, msgpack::Cursor},
    message::{
        limits::SendLimits,
        payload::{Framed, Head, LENGTH_PREFIX, Lent, Payload},
    },
};

/// Puts the length in front of a MessagePack message whose head left room for it.
fn set_length(framed: &mut Framed) {
    let length = (framed.len() - LENGTH_PREFIX) as u32;
    framed.buf[framed.start..framed.start + LENGTH_PREFIX].copy_from_slice(&length.to_be_bytes());
}

/// Adds to the length of a MessagePack message what comes behind its buffer.
#[cold]
fn add_length(framed: &mut Framed, end: &Lent) {
    let length = (framed.len() - LENGTH_PREFIX + end.content_len()) as u32;
    framed.buf[framed.start..framed.start + LENGTH_PREFIX].copy_from_slice(&length.to_be_bytes());
}

/// The size of a message that limits speak of: without the length or the line feed.
fn message_size(codec: Codec, framed: &Framed) -> usize {
    framed.len()
        - match codec {
            Codec::Json => 1,
            Codec::MessagePack => LENGTH_PREFIX,
        }
}

/// What is wrong with the size of some metadata.
pub(crate) fn check_metadata(metadata: &Metadata, limits: SendLimits<'_>) -> Result<(), String> {
    if metadata.is_empty() {
        return Ok(());
    }
    let (size, limit) = (metadata.size(), limits.metadata_size());
    if size <= limit.bytes {
        return Ok(());
    }
    let (whose, limit) = (limit.whose("this", "the other"), limit.bytes);
    Err(format!("metadata of {size} bytes, over {whose} side's limit of {limit} (Limits::max_metadata_size)"))
}

/// Appends metadata as a value. Strings can be encoded in either codec.
fn push_metadata(codec: Codec, metadata: &Metadata, buf: &mut impl Append) {
    // The map and each string have a head of at most five bytes.
    let mut encoded = Vec::with_capacity(metadata.size() + 10 * metadata.len() + 5);
    if codec.encode_into(metadata, &mut encoded).is_ok() {
        buf.append(&encoded);
    }
}

/// Metadata in a MessagePack envelope.
fn read_metadata(cursor: &mut Cursor<'_>) -> Result<Metadata, CodecError> {
    if cursor.nil() {
        return Ok(Metadata::new());
    }
    Codec::MessagePack.decode(cursor.value()?)
}

/// Nothing may follow the one value of a message.
fn expect_end(cursor: &Cursor<'_>) -> Result<(), CodecError> {
    if cursor.is_empty() { Ok(()) } else { Err(CodecError::new("bytes follow the value of the message")) }
}

/// The payload of an envelope around no value.
fn no_payload() -> Payload {
    Payload::from(Bytes::new())
}

/// Where a part of a message lies in it.
fn range_of(message: &[u8], part: &[u8]) -> Range<usize> {
    let start = part.as_ptr() as usize - message.as_ptr() as usize;
    start..start + part.len()
}

/// A value out of a message that is no longer needed as a whole.
#[inline]
pub(crate) fn slice_payload(mut message: Bytes, part: Range<usize>) -> Payload {
    let rest = message.len() - part.end;
    message.advance(part.start);
    Payload::before(rest, message)
}

/// The same of a message of which a large string may lie apart: within the value.
#[inline]
pub(crate) fn slice_payload_with(message: Bytes, part: Range<usize>, apart: Option<Apart>) -> Payload {
    match apart {
        Some(apart) => parted_payload(message, part, apart),
        None => slice_payload(message, part),
    }
}

#[cold]
fn parted_payload(mut message: Bytes, part: Range<usize>, apart: Apart) -> Payload {
    let rest = message.len() - part.end;
    message.advance(part.start);
    Payload::parted(rest, message, apart.of_part_from(part.start))
}

/// Begins a MessagePack head: room for the length.
#[inline]
fn packed_head() -> Head {
    let mut head = Head::new();
    head.append(&[0; LENGTH_PREFIX]);
    head
}
