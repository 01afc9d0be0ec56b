use super::*;
use crate::support::budget::Bound;

/// Feeds `bytes` in pieces of `step`, then the end of the stream.
fn read(bytes: &[u8], step: usize, limit: usize) -> Result<Bytes, MessageError> {
    let mut reader = MessageDecoder::new(limit);
    for piece in bytes.chunks(step) {
        reader.push(Bytes::copy_from_slice(piece));
        if let Some(message) = reader.pop()? {
            return Ok(without_feed(&reader, message));
        }
    }
    reader.finish()
}

fn without_feed(reader: &MessageDecoder, mut message: Bytes) -> Bytes {
    if reader.codec() == Some(Codec::Json) && message.ends_with(b"\n") {
        message.truncate(message.len() - 1);
    }
    message
}

/// All messages of `bytes`, which come in pieces of `step`.
fn read_all(bytes: &[u8], step: usize) -> Vec<Bytes> {
    let mut reader = MessageDecoder::new(100);
    let mut messages = Vec::new();
    for piece in bytes.chunks(step) {
        reader.push(Bytes::copy_from_slice(piece));
        while let Some(message) = reader.pop().unwrap() {
            messages.push(without_feed(&reader, message));
        }
    }
    assert_eq!(reader.finish(), Err(MessageError::Missing));
    messages
}

#[test]
fn any_number_of_messages_follow_one_another() {
    for step in 1..20 {
        let text = read_all(b"{\"a\":1}\n\n{}\n\n\n[2]\n", step);
        assert_eq!(text, [&b"{\"a\":1}"[..], b"{}", b"[2]"]);
        let packed = read_all(b"\0\0\0\x03abc\0\0\0\0\0\0\0\x01d", step);
        assert_eq!(packed, [&b"abc"[..], b"", b"d"]);
    }
}

#[test]
fn messages_are_found_however_they_are_cut() {
    for step in 1..12 {
        assert_eq!(read(b"{\"a\":1}\nrest", step, 100).unwrap(), &b"{\"a\":1}"[..]);
        assert_eq!(read(b"\0\0\0\x03abcrest", step, 100).unwrap(), &b"abc"[..]);
    }
}

#[test]
fn the_end_of_the_stream_ends_a_json_message_only() {
    assert_eq!(read(b"{\"a\":1}", 3, 100).unwrap(), &b"{\"a\":1}"[..]);
    assert_eq!(read(b"\0\0\0\x03ab", 3, 100), Err(MessageError::CutShort));
    assert_eq!(read(b"\0", 3, 100), Err(MessageError::CutShort));
    assert_eq!(read(b"", 1, 100), Err(MessageError::Missing));
}

#[test]
fn a_message_of_the_limit_passes_and_one_more_byte_does_not() {
    let (text, packed) = (b"{23456789}\n", b"\0\0\0\x0a0123456789");
    for step in [1, 4, 100] {
        assert_eq!(read(text, step, 10).unwrap().len(), 10);
        assert!(matches!(read(text, step, 9), Err(MessageError::TooLarge { .. })));
        assert_eq!(read(packed, step, 10).unwrap().len(), 10);
        assert_eq!(read(packed, step, 9), Err(MessageError::TooLarge { size: Some(10) }));
    }
}

#[test]
fn what_is_too_large_is_never_buffered() {
    let mut reader = MessageDecoder::new(1024);
    reader.push(Bytes::from_static(b"\x10\0\0\0abc"));
    assert!(reader.pop().is_err());
    assert_eq!(reader.partial.capacity(), 0);
    let mut reader = MessageDecoder::new(1024);
    reader.push(vec![b'{'; 4096].into());
    assert_eq!(reader.pop(), Err(MessageError::TooLarge { size: None }));
    assert_eq!(reader.partial.capacity(), 0);
}

#[test]
fn what_is_announced_is_not_allocated_at_once() {
    let mut reader = MessageDecoder::new(1 << 30);
    let mut chunk = vec![0; 1000];
    chunk[0] = 0x10;
    reader.push(chunk.into());
    assert_eq!(reader.pop(), Ok(None));
    assert!(reader.partial.capacity() <= GROWTH * 1000, "{}", reader.partial.capacity());
}

#[test]
fn a_message_in_one_piece_is_not_copied() {
    for (bytes, begin) in [(&b"\0\0\0\x03abc"[..], 4), (b"{}\n", 0)] {
        let chunk = Bytes::from(bytes.to_vec());
        let at = chunk[begin..].as_ptr();
        let mut reader = MessageDecoder::new(10);
        reader.push(chunk);
        assert_eq!(reader.pop().unwrap().unwrap().as_ptr(), at);
    }
}

fn pop_with<R>(reader: &mut MessageDecoder, take: impl FnOnce(&[u8]) -> Option<R>) -> Option<R> {
    match reader.codec()? {
        Codec::Json => reader.pop_json(take),
        Codec::MessagePack => reader.pop_packed(take),
    }
}

#[test]
fn what_is_taken_where_it_lies_is_what_would_be_popped() {
    for (bytes, messages) in [
        (&b"\0\0\0\x03abc\0\0\0\0\0\0\0\x01d\0\0\0\x02e"[..], [&b"abc"[..], b"", b"d"]),
        (b"{abc\n\nd\ne", [b"{abc", b"", b"d"]),
    ] {
        let mut reader = MessageDecoder::new(10);
        reader.push(Bytes::from_static(bytes));
        assert_eq!(pop_with(&mut reader, |_| None::<()>), None);
        for message in messages {
            assert_eq!(pop_with(&mut reader, |bytes| Some(bytes.to_vec())).as_deref(), Some(message));
        }
        assert_eq!(pop_with(&mut reader, |_| Some(())), None);
        assert_eq!(reader.pop(), Ok(None));
    }
}

#[test]
fn what_is_not_whole_or_too_large_is_not_taken() {
    for bytes in [&b"\0\0\0\x03ab"[..], b"\0\0", b"{", b"\0\0\0\x0412345", b"{234\n", b""] {
        let mut reader = MessageDecoder::new(3);
        reader.push(Bytes::copy_from_slice(bytes));
        assert_eq!(pop_with(&mut reader, |_| Some(())), None, "{bytes:?}");
    }
    let mut reader = MessageDecoder::new(3);
    reader.push(Bytes::from_static(b"\0\0\0\x02a"));
    assert_eq!(reader.pop(), Ok(None));
    reader.push(Bytes::from_static(b"b\0\0\0\x01c"));
    assert_eq!(pop_with(&mut reader, |_| Some(())), None);
    assert_eq!(reader.pop().unwrap().as_deref(), Some(&b"ab"[..]));
    assert_eq!(pop_with(&mut reader, |bytes| Some(bytes[0])), Some(b'c'));
}

#[test]
fn a_message_of_one_codec_is_not_taken_as_one_of_the_other() {
    for bytes in [&b"\0\0\0\x01\n"[..], b"{\0\0\0\n"] {
        let mut reader = MessageDecoder::new(usize::MAX);
        reader.push(Bytes::from_static(bytes));
        match reader.codec() {
            Some(Codec::MessagePack) => assert_eq!(reader.pop_json(|_| Some(())), None),
            _ => assert_eq!(reader.pop_packed(|_| Some(())), None),
        }
        assert!(reader.pop().unwrap().is_some());
    }
}

/// A reader of messages of at most 1 000 bytes, which shares a budget.
fn counted(memory: &Arc<CallMemory>) -> MessageDecoder {
    MessageDecoder::new(1000).counted(memory, Purpose::Request)
}

#[test]
fn the_room_of_what_is_buffered_is_counted_to_the_byte() {
    let memory = CallMemory::of_each(10_000);
    for (first, rest, rooms) in [
        (&b"\0\0\0\x64abc"[..], vec![b'x'; 97], [GROWTH * 7, 104]),
        (b"{23456789", b"}123\n".to_vec(), [9, 13]),
    ] {
        let mut reader = counted(&memory);
        reader.push(Bytes::from_static(first));
        assert_eq!((reader.pop(), memory.request_bytes()), (Ok(None), rooms[0]));
        assert_eq!(reader.partial.capacity(), rooms[0]);
        reader.push(rest.into());
        let message = reader.pop().unwrap().unwrap();
        assert_eq!((reader.partial.capacity(), memory.request_bytes()), (0, rooms[1]));
        let reserved = reader.take_reserved();
        assert_eq!((reader.pop(), memory.request_bytes()), (Ok(None), rooms[1]));
        drop((message, reserved));
        assert_eq!(memory.request_bytes(), 0);
    }
}

#[test]
fn buffers_grow_to_the_limit_and_never_above() {
    let memory = CallMemory::of_each(1000);
    let mut reader = counted(&memory);
    for (len, room) in [(300, 300), (1, 600), (299, 600), (1, 1000), (399, 1000)] {
        reader.push(vec![b'{'; len].into());
        assert_eq!((reader.pop(), memory.request_bytes()), (Ok(None), room));
        assert_eq!(reader.partial.capacity(), room);
    }
    assert_eq!(reader.finish().unwrap().len(), 1000);
    drop(reader);
    assert_eq!(memory.request_bytes(), 0);
}

#[test]
fn what_has_no_room_gives_back_what_it_had() {
    let memory = CallMemory::of_each(100);
    let mut other = counted(&memory);
    other.push(vec![b'{'; 40].into());
    assert_eq!(other.pop(), Ok(None));
    let mut reader = counted(&memory);
    reader.push(vec![b'{'; 60].into());
    assert_eq!((reader.pop(), memory.request_bytes()), (Ok(None), 100));
    reader.push(Bytes::from_static(b"x"));
    assert_eq!(reader.pop(), Err(MessageError::NoRoom(Exhausted { limit: 100, bound: Bound::Requests })));
    assert_eq!((reader.partial.capacity(), memory.request_bytes()), (0, 40));
}

#[test]
fn an_item_is_counted_until_the_next_is_asked_for() {
    let memory = CallMemory::of_each(100);
    let mut reader = counted(&memory);
    reader.push(Bytes::from_static(b"\0\0\0\x02a"));
    assert_eq!(reader.pop(), Ok(None));
    reader.push(Bytes::from_static(b"b\0\0\0\x01c"));
    assert_eq!((reader.pop().unwrap().unwrap(), memory.request_bytes()), (Bytes::from_static(b"ab"), 6));
    assert_eq!((reader.pop().unwrap().unwrap(), memory.request_bytes()), (Bytes::from_static(b"c"), 0));
}

/// A message whose value is `value`, with its length in front, and another one behind it.
fn encoded<T: serde::Serialize + ?Sized>(value: &T) -> Vec<u8> {
    let mut message = Vec::new();
    Codec::MessagePack.encode_into(value, &mut message).unwrap();
    let mut bytes = (message.len() as u32).to_be_bytes().to_vec();
    bytes.extend_from_slice(&message);
    bytes.extend_from_slice(b"\0\0\0\x01\x07");
    bytes
}

/// Reads that in pieces of `step` with its large string apart, and what it had to be gathered for.
fn gathered(bytes: &[u8], step: usize) -> (crate::message::payload::Payload, bool) {
    let mut reader = MessageDecoder::new(1 << 20).gathering();
    let mut pieces = bytes.chunks(step).map(Bytes::copy_from_slice);
    let first = loop {
        reader.push(pieces.next().unwrap());
        if let Some(message) = reader.pop().unwrap() {
            break message;
        }
    };
    let (apart, end) = (reader.take_apart(), first.len());
    let is_parted = apart.is_some();
    if let Some(apart) = &apart {
        assert_eq!(first.len() + apart.extra_len(), bytes.len() - 9);
    }
    let payload = crate::wire::slice_payload_with(first, 0..end, apart);
    let last = loop {
        match reader.pop().unwrap() {
            Some(message) => break message,
            None => reader.push(pieces.next().unwrap()),
        }
    };
    assert_eq!((&last[..], reader.take_apart()), (&b"\x07"[..], None));
    (payload, is_parted)
}

/// However it comes, it is decoded as if it had come in one piece.
fn same_in_parts<T>(value: &impl serde::Serialize) -> Result<T, String>
where
    T: serde::de::DeserializeOwned + PartialEq + std::fmt::Debug,
{
    let bytes = encoded(value);
    let whole = &bytes[LENGTH_PREFIX..bytes.len() - 5];
    let expected = Codec::MessagePack.decode::<T>(whole).map_err(|error| error.to_string());
    for step in [33, 1000, 20_000, whole.len() + 3] {
        let (payload, is_parted) = gathered(&bytes, step);
        assert!(is_parted, "{step}");
        let decoded = payload.decode_last::<T>(Codec::MessagePack).map_err(|error| error.to_string());
        assert_eq!(decoded, expected, "{step}");
        let (payload, _) = gathered(&bytes, step);
        assert_eq!(&payload[..], whole);
        let again = [payload.decode::<T>(Codec::MessagePack), payload.decode_last(Codec::MessagePack)];
        assert!(
            again.into_iter().all(|again| again.map_err(|error| error.to_string()) == expected),
            "{step}"
        );
        let (payload, _) = gathered(&bytes, step);
        assert_eq!(&payload.clone()[..], whole);
        assert_eq!(payload.into_bytes(), whole);
    }
    expected
}

#[test]
fn a_large_string_apart_is_the_same_value() {
    #[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
    #[serde(untagged)]
    enum Untagged {
        Number(u8),
        Text(String),
        Bytes(Bytes),
    }
    let text = "é".repeat(40_000);
    let bytes = Bytes::from(vec![0xFF; 70_000]);
    assert_eq!(same_in_parts(&text), Ok(text.clone()));
    assert_eq!(same_in_parts(&(1, &text, "behind", 2)), Ok((1, text.clone(), "behind".to_owned(), 2)));
    assert_eq!(same_in_parts(&[Some(&text)]), Ok([Some(text.clone())]));
    assert_eq!(same_in_parts(&text), Ok(serde_json::Value::from(text.clone())));
    assert_eq!(same_in_parts(&text), Ok(Untagged::Text(text.clone())));
    assert_eq!(same_in_parts(&bytes), Ok(bytes.clone()));
    assert_eq!(
        same_in_parts(&("front", &bytes, "behind")),
        Ok(("front".to_owned(), bytes.clone(), "behind".to_owned()))
    );
    assert_eq!(same_in_parts(&bytes), Ok(bytes.to_vec()));
    let _ = same_in_parts::<Untagged>(&bytes);
    assert_eq!(same_in_parts(&(&text, 1)), Ok((serde::de::IgnoredAny, 1)));
}

#[test]
fn what_is_wrong_of_a_large_string_apart_is_said_as_of_any() {
    let text = "x".repeat(70_000);
    assert!(same_in_parts::<u32>(&text).is_err());
    assert!(same_in_parts::<Vec<u32>>(&text).is_err());
    assert!(same_in_parts::<(String, u8)>(&(&text, "no number")).is_err());
    assert!(same_in_parts::<std::net::IpAddr>(&text).is_err());
    // A text that is none.
    let mut bytes = encoded(&text);
    bytes[100] = 0xFF;
    let (payload, is_parted) = gathered(&bytes, 1000);
    assert!(is_parted);
    let whole = Codec::MessagePack.decode::<String>(&bytes[LENGTH_PREFIX..bytes.len() - 5]);
    assert!(whole.is_err());
    assert_eq!(payload.decode_last::<String>(Codec::MessagePack), whole);
}

#[test]
fn what_is_gathered_apart_is_counted_and_not_allocated_at_once() {
    let memory = CallMemory::of_each(100_000);
    let bytes = encoded(&"x".repeat(90_000));
    let mut reader = MessageDecoder::new(1 << 20).counted(&memory, Purpose::Request).gathering();
    reader.push(Bytes::copy_from_slice(&bytes[..1000]));
    assert_eq!(reader.pop(), Ok(None));
    let held = memory.request_bytes();
    assert!((1000..=GROWTH * 1000 + 100).contains(&held), "{held}");
    reader.push(Bytes::copy_from_slice(&bytes[1000..]));
    assert!(reader.pop().unwrap().is_some());
    assert!((90_000..100_000).contains(&memory.request_bytes()));
    drop((reader.take_apart(), reader));
    assert_eq!(memory.request_bytes(), 0);
    // Without room there is no message.
    let memory = CallMemory::of_each(50_000);
    let mut reader = MessageDecoder::new(1 << 20).counted(&memory, Purpose::Request).gathering();
    reader.push(Bytes::copy_from_slice(&bytes[..20_000]));
    assert!(matches!(reader.pop(), Err(MessageError::NoRoom(_))));
    assert_eq!((reader.take_apart(), memory.request_bytes()), (None, 0));
}
