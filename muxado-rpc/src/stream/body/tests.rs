//! Messages of items that are read where they lie, beside the same the other way.

use bytes::Bytes;
use proptest::{prelude::*, sample::Index};

use super::*;
use crate::wire::push_item;

static METHOD: MethodInfo = MethodInfo::new("S", 1, "m", 0);

/// The messages of `bytes` up to the first that is no item the one way, and what they are the other way.
fn compare(codec: Codec, bytes: &[u8]) -> usize {
    let [mut quick, mut slow] = [(); 2].map(|()| {
        let mut reader = MessageDecoder::new(1 << 20);
        reader.push(Bytes::copy_from_slice(bytes));
        reader
    });
    let mut items = 0;
    while let Some(item) = pop_item::<String>(codec, &mut quick) {
        let message = slow.pop().unwrap().unwrap();
        let ItemMessage::Item(at) = decode_item_message(&METHOD, codec, &message).unwrap() else {
            panic!("no item: {message:?}");
        };
        assert_eq!(codec.decode::<String>(&message[at]).as_ref(), Ok(&item));
        items += 1;
    }
    // Where the one way stops, the other goes on with the same message.
    assert_eq!(quick.pop(), slow.pop());
    items
}

fn messages(codec: Codec, texts: &[String]) -> Vec<u8> {
    let mut buf = Vec::new();
    for text in texts {
        push_item(codec, text, usize::MAX, &mut buf).unwrap();
    }
    buf
}

proptest! {
    #[test]
    fn items_are_the_same_both_ways_whole_cut_and_corrupt(texts: Vec<String>, at: Index, byte: u8) {
        for codec in [Codec::Json, Codec::MessagePack] {
            let mut bytes = messages(codec, &texts);
            prop_assert_eq!(compare(codec, &bytes), texts.len());
            if !bytes.is_empty() {
                let at = at.index(bytes.len());
                compare(codec, &bytes[..at]);
                bytes[at] = byte;
                compare(codec, &bytes);
            }
        }
    }
}

#[test]
fn other_forms_of_an_envelope_are_left_to_the_other_way() {
    for message in [
        // A longer head of the map, of the key, a further key, another one, another value, bytes behind it.
        &b"\xde\0\x01\xa4item\xa1x"[..],
        b"\x81\xd9\x04item\xa1x",
        b"\x82\xa4item\xa1x\xa8metadata\x80",
        b"\x82\xa8metadata\x80\xa4item\xa1x",
        b"\x81\xa3end\xc3",
        b"\x81\xa4item\x07",
        b"\x81\xa4item\xa1xx",
        b"\x81\xa4item",
        b"\x81",
        b"",
    ] {
        let mut bytes = (message.len() as u32).to_be_bytes().to_vec();
        bytes.extend_from_slice(message);
        assert_eq!(compare(Codec::MessagePack, &bytes), 0, "{message:02x?}");
    }
    for message in [r#"{ "item":"x"}"#, r#"{"item":"x","metadata":{}}"#, r#"{"item":7}"#, r#"{"end":true}"#] {
        assert_eq!(compare(Codec::Json, format!("{message}\n").as_bytes()), 0, "{message}");
    }
}
