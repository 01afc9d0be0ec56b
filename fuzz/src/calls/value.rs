//! Values that are nested in every way, in the bytes of either codec.

use std::{fmt::Write, ops::Range};

use arbitrary::Arbitrary;
use muxado_rpc::Codec;

/// Bytes of the largest value.
const MOST: usize = 600_000;

/// A value: levels around a leaf. It need not be whole.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub(super) struct Value {
    layers: [Layer; 3],
    leaf: u8,
    cut: u8,
}

/// So many levels of one kind.
#[derive(Arbitrary, Clone, Copy, Debug)]
struct Layer {
    kind: u8,
    levels: u16,
}

/// One level, in front of what it holds and behind it.
struct Level {
    json: [&'static str; 2],
    packed: [&'static [u8]; 2],
}

const fn level(json: [&'static str; 2], packed: &'static [u8]) -> Level {
    Level { json, packed: [packed, b""] }
}

/// The kinds of levels, those of one type side by side.
const LEVELS: &[Level] = &[
    // Externally tagged: `Expr`.
    level(["{\"Not\":", "}"], b"\x81\xa3Not"),
    level(["{\"1\":", "}"], b"\x81\x01"),
    level(["{\"And\":[", "]}"], b"\x81\xa3And\x91"),
    level(["{\"And\":[\"True\",", "]}"], b"\x81\x02\xdc\0\x02\xa4True"),
    level(["{\"Pair\":[true,", "]}"], b"\x81\xa4Pair\x92\xc3"),
    level(["{\"Let\":{\"name\":\"x\",\"body\":", "}}"], b"\x81\xa3Let\x82\xa4name\xa1x\xa4body"),
    level(["{\"Maybe\":", "}"], b"\x81\xa5Maybe"),
    level(["{\"Done\":{\"Err\":", "}}"], b"\x81\xa4Done\x81\xa3Err"),
    // Internally tagged.
    level(["{\"op\":\"not\",\"of\":", "}"], b"\x82\xa2op\xa3not\xa2of"),
    Level { json: ["{\"of\":", ",\"op\":\"not\"}"], packed: [b"\x82\xa2of", b"\xa2op\xa3not"] },
    level(["{\"op\":\"all\",\"of\":[", "]}"], b"\x82\xa2op\xa3all\xa2of\x91"),
    level(["{\"op\":\"node\",\"next\":", "}"], b"\x82\xa2op\xa4node\xa4next"),
    // Adjacently tagged.
    level(["{\"t\":\"Wrap\",\"c\":", "}"], b"\x82\xa1t\xa4Wrap\xa1c"),
    Level { json: ["{\"c\":", ",\"t\":\"Wrap\"}"], packed: [b"\x82\xa1c", b"\xa1t\xa4Wrap"] },
    level(["{\"t\":\"Many\",\"c\":[", "]}"], b"\x82\xa1t\xa4Many\xa1c\x91"),
    level(["{\"t\":\"Named\",\"c\":{\"inner\":", "}}"], b"\x82\xa1t\xa5Named\xa1c\x81\xa5inner"),
    // Untagged, trees and anything: lists and maps of every width.
    level(["[", "]"], b"\x91"),
    level(["[", "]"], b"\xdc\0\x01"),
    level(["[", "]"], b"\xdd\0\0\0\x01"),
    level(["[0,", "]"], b"\x92\0"),
    level(["{\"k\":", "}"], b"\x81\xa1k"),
    level(["{\"k\":", "}"], b"\xde\0\x01\xa1k"),
    level(["{\"k\":0,\"l\":", "}"], b"\xdf\0\0\0\x02\xa1k\0\xa1l"),
    // Flattened.
    level(["{\"name\":\"x\",\"Wrap\":", "}"], b"\x82\xa4name\xa1x\xa4Wrap"),
    level(["{\"name\":\"x\",\"Kids\":[", "]}"], b"\x82\xa4name\xa1x\xa4Kids\x91"),
    level(["{\"name\":\"x\",\"Plain\":1,\"more\":", "}"], b"\x83\xa4name\xa1x\xa5Plain\x01\xa4more"),
    // Structures.
    level(["{\"next\":", "}"], b"\x81\xa4next"),
    level(["{\"kids\":[", "]}"], b"\x81\xa4kids\x91"),
    level(["{\"twin\":[1,", "]}"], b"\x81\xa4twin\x92\x01"),
    // What nobody knows, a key that nests, wide levels that are cut short, a tag that is none.
    level(["{\"zzz\":", "}"], b"\x81\xa3zzz"),
    Level { json: ["{\"k\":[", "]}"], packed: [b"\x81", b"\xc0"] },
    level(["[[],[],[],", "]"], b"\x94\x90\x90\x90"),
    level(["{\"op\":", "}"], b"\x81\xa2op"),
    level(["{\"t\":{\"c\":", "}}"], b"\x81\xa1t\x81\xa1c"),
];

/// The kinds that belong to a type.
pub(super) const EXPR: Range<u8> = 0..8;
pub(super) const INTERNAL: Range<u8> = 8..12;
pub(super) const ADJACENT: Range<u8> = 12..16;
pub(super) const ANY: Range<u8> = 16..23;
pub(super) const FLAT: Range<u8> = 23..26;
pub(super) const NODE: Range<u8> = 26..29;

/// What is in the middle.
const LEAVES: &[(&str, &[u8])] = &[
    ("\"True\"", b"\xa4True"),
    ("null", b"\xc0"),
    ("true", b"\xc3"),
    ("0", b"\0"),
    ("-1", b"\xff"),
    ("{\"op\":\"leaf\"}", b"\x81\xa2op\xa4leaf"),
    ("{\"t\":\"Unit\"}", b"\x81\xa1t\xa4Unit"),
    ("{\"name\":\"x\",\"Plain\":1}", b"\x82\xa4name\xa1x\xa5Plain\x01"),
    ("{}", b"\x80"),
    ("[]", b"\x90"),
    ("1e999", b"\xcb\x7f\xf0\0\0\0\0\0\0"),
    ("340282366920938463463374607431768211455", b"\xcf\xff\xff\xff\xff\xff\xff\xff\xff"),
    ("-170141183460469231731687303715884105728", b"\xd3\x80\0\0\0\0\0\0\0"),
    ("\"\\u001b[2J\\n\\r\\u0000\"", b"\xa7\x1b[2J\n\r\0"),
    ("\"\\ud800\"", b"\xa2\xc3\x28"),
    ("\"\u{202e}\u{7f}\u{85}\"", b"\xa6\xe2\x80\xae\x7f\xc2\x85"),
    ("\"x", b"\xc4\x03\0\x7b\xff"),
    ("[1,2,3", b"\xc5\0\x02ab"),
    ("", b""),
    ("}", b"\xc1"),
    ("{\"True\":null}", b"\xc7\x03\x05abc"),
    ("{\"k\"", b"\xd4\xff\0"),
    ("[{\"\":\"\"}]", b"\xdd\xff\xff\xff\xff"),
    ("{\"a\":{\"a\":1},\"a\":2}", b"\xdf\xff\xff\xff\xff"),
    ("\"a\"", b"\xdb\x7f\xff\xff\xff"),
    ("{\"letter\":\"ab\",\"big\":1e40}", b"\x82\xa6letter\xa2ab\xa3big\xca\0\0\0\0"),
    ("{\"bytes\":[256],\"unit\":[]}", b"\x81\xa5bytes\xc6\xff\xff\xff\xff"),
    ("{\"map\":{\"1\":\"x\",\"y\":null},\"list\":[null]}", b"\x81\xa3map\x82\x01\xa1x\xa1y\xc0"),
    ("{\"array\":[1,2,3],\"pair\":[1,true]}", b"\x82\xa5array\x93\x01\x02\x03\xa4pair\x92\x01\xc3"),
];

impl Value {
    /// Its bytes, for a type to which these kinds of levels belong.
    pub(super) fn encode(&self, codec: Codec, home: &Range<u8>) -> Vec<u8> {
        let layers = self.layers.map(|layer| (layer.of(home), layer.levels()));
        let mut bytes = Vec::new();
        for (level, levels) in layers {
            let open = level.front(codec);
            for _ in 0..levels.min(MOST / 3 / open.len()) {
                bytes.extend_from_slice(open);
            }
        }
        bytes.extend_from_slice(&leaf(codec, self.leaf));
        // Of some nothing is closed.
        if self.cut >= 12 {
            for (level, levels) in layers.into_iter().rev() {
                let close = level.behind(codec);
                for _ in 0..levels.min(MOST / 3 / level.front(codec).len()) {
                    bytes.extend_from_slice(close);
                }
            }
        }
        bytes
    }
}

impl Layer {
    fn of(self, home: &Range<u8>) -> &'static Level {
        let len = home.end - home.start;
        let kind =
            if self.kind < 208 { home.start + self.kind % len } else { self.kind % LEVELS.len() as u8 };
        &LEVELS[usize::from(kind)]
    }

    /// A few as a rule; about as many as decoders take; more than any stack has room for.
    fn levels(self) -> usize {
        let number = usize::from(self.levels);
        match number >> 12 {
            0..7 => number % 4,
            7..12 => 100 + number % 50,
            12..15 => number % 1000,
            _ if number % 2 == 0 => number % 4,
            _ => (number % 0x1000) * 8,
        }
    }
}

impl Level {
    fn front(&self, codec: Codec) -> &'static [u8] {
        if codec == Codec::Json { self.json[0].as_bytes() } else { self.packed[0] }
    }

    fn behind(&self, codec: Codec) -> &'static [u8] {
        if codec == Codec::Json { self.json[1].as_bytes() } else { self.packed[1] }
    }
}

fn leaf(codec: Codec, number: u8) -> Vec<u8> {
    match number {
        // Long texts, as values and as keys.
        250.. => {
            let text = long_text(usize::from(number) % 2 * 20_000 + 3000);
            let text = string(codec, &text);
            if number.is_multiple_of(2) { map_of_raw(codec, &[(text, number_bytes(codec, 1))]) } else { text }
        }
        _ => {
            let (json, packed) = LEAVES[usize::from(number) % LEAVES.len()];
            if codec == Codec::Json { json.as_bytes().to_vec() } else { packed.to_vec() }
        }
    }
}

/// A text that nobody wants in a log.
pub(super) fn long_text(len: usize) -> String {
    let mut text = String::new();
    while text.len() < len {
        let _ = write!(text, "\u{1b}[31m{}\n\"secret\u{2028}", text.len());
    }
    text
}

/// A string in either codec.
pub(super) fn string(codec: Codec, text: &str) -> Vec<u8> {
    if codec == Codec::Json {
        return serde_json::Value::from(text).to_string().into_bytes();
    }
    let mut bytes = vec![0xDB];
    bytes.extend((text.len() as u32).to_be_bytes());
    bytes.extend(text.as_bytes());
    bytes
}

/// A number in either codec.
pub(super) fn number_bytes(codec: Codec, number: u64) -> Vec<u8> {
    if codec == Codec::Json {
        return number.to_string().into_bytes();
    }
    [&[0xCF][..], &number.to_be_bytes()].concat()
}

/// A boolean in either codec.
pub(super) fn boolean(codec: Codec, value: bool) -> Vec<u8> {
    match (codec, value) {
        (Codec::Json, _) => value.to_string().into_bytes(),
        (_, true) => vec![0xC3],
        (_, false) => vec![0xC2],
    }
}

/// A null in either codec.
pub(super) fn null(codec: Codec) -> Vec<u8> {
    if codec == Codec::Json { b"null".to_vec() } else { vec![0xC0] }
}

/// A list of values in either codec.
pub(super) fn list(codec: Codec, values: &[Vec<u8>]) -> Vec<u8> {
    if codec == Codec::Json {
        return [&b"["[..], &values.join(&b','), b"]"].concat();
    }
    let mut bytes = vec![0xDC];
    bytes.extend((values.len() as u16).to_be_bytes());
    bytes.extend(values.concat());
    bytes
}

/// A map in either codec.
pub(super) fn map(codec: Codec, entries: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let entries: Vec<_> = entries.iter().map(|(key, value)| (string(codec, key), value.clone())).collect();
    map_of_raw(codec, &entries)
}

fn map_of_raw(codec: Codec, entries: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
    if codec == Codec::Json {
        let entries: Vec<_> = entries.iter().map(|(key, value)| [key, &b":"[..], value].concat()).collect();
        return [&b"{"[..], &entries.join(&b','), b"}"].concat();
    }
    let mut bytes = vec![0x80 | entries.len() as u8];
    entries.iter().for_each(|(key, value)| bytes.extend([&key[..], value].concat()));
    bytes
}
