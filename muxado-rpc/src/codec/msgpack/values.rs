//! Tests: what is encoded and decoded the short way is what it is the general way.

use std::{borrow::Cow, collections::BTreeMap, fmt::Debug, net::Ipv4Addr};

use proptest::{prelude::*, sample::Index};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::DeserializeOwned, ser::SerializeSeq};

use super::decode_sound;
use crate::Codec;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Point {
    x: i32,
    #[serde(default)]
    name: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Name(String);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Unit;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Pair(u8, String);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Shape {
    Unit,
    Newtype(String),
    Tuple(u8, i64),
    Struct { a: u16 },
}

/// Values that are read where they lie, and behind them others.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Mixed {
    text: String,
    number: i64,
    unsigned: u64,
    small: u8,
    short: i16,
    is_set: bool,
    real: f64,
    maybe: Option<String>,
    #[serde(default)]
    list: Vec<String>,
    last: String,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Deep {
    name: String,
    value: serde_json::Value,
}

/// Asks the decoder for nothing.
#[derive(Debug, PartialEq)]
struct Unasked;

impl<'de> Deserialize<'de> for Unasked {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Ok(Self)
    }
}

/// Says what kind of decoder there is.
#[derive(Debug, PartialEq)]
struct Readable(bool);

impl<'de> Deserialize<'de> for Readable {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let readable = Self(deserializer.is_human_readable());
        String::deserialize(deserializer).map(|_| readable)
    }
}

/// Elements whose number is not known beforehand.
struct Unsized(Vec<String>);

impl Serialize for Unsized {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut seq = serializer.serialize_seq(None)?;
        self.0.iter().try_for_each(|text| seq.serialize_element(text))?;
        seq.end()
    }
}

/// Bytes and not numbers.
struct Blob<'a>(&'a [u8]);

impl Serialize for Blob<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

/// Words of a text.
struct Words<'a>(&'a str);

impl Serialize for Words<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{}!", self.0))
    }
}

fn ours<T: Serialize + ?Sized>(value: &T) -> Vec<u8> {
    let mut buf = b"before".to_vec();
    Codec::MessagePack.encode_into(value, &mut buf).unwrap();
    assert_eq!(&buf[..6], b"before");
    buf.split_off(6)
}

/// The same as `rmp_serde` has it.
fn encoded<T: Serialize + ?Sized>(value: &T) -> Vec<u8> {
    let buf = ours(value);
    let mut general = rmp_serde::Serializer::new(Vec::new()).with_struct_map().with_human_readable();
    value.serialize(&mut general).unwrap();
    assert_eq!(buf, general.into_inner());
    buf
}

fn mixed(text: &str, number: i64, list: &[String]) -> Mixed {
    Mixed {
        text: text.into(),
        number,
        unsigned: number as u64,
        small: number as u8,
        short: number as i16,
        is_set: number > 0,
        // Not a number is not equal to itself.
        real: number as f64,
        maybe: list.first().cloned(),
        list: list.to_vec(),
        last: text.chars().rev().collect(),
    }
}

/// Every kind of value that there is for serde.
fn all_encoded(text: &str, number: i64, list: &[String]) -> Vec<Vec<u8>> {
    let wide = i128::from(number) << 40;
    let map: BTreeMap<_, _> = list.iter().map(|key| (key, number)).collect();
    let shapes = [
        Shape::Unit,
        Shape::Newtype(text.into()),
        Shape::Tuple(number as u8, number),
        Shape::Struct { a: number as u16 },
    ];
    let mut all = vec![
        encoded(text),
        encoded(&(number as i8, number as i16, number as i32, number)),
        encoded(&(number as u8, number as u16, number as u32, number as u64)),
        encoded(&list),
        encoded(&Unsized(list.to_vec())),
        encoded(&map),
        ours(&text.as_bytes()),
        ours(&[number as u8; 4]),
        encoded(&Blob(text.as_bytes())),
        encoded(&Words(text)),
        encoded(&Name(text.into())),
        encoded(&Pair(number as u8, text.into())),
        encoded(&Point { x: number as i32, name: text.into() }),
        encoded(&mixed(text, number, list)),
        encoded(&Ipv4Addr::from(number as u32)),
        encoded(&(text.chars().next(), number as f32, number as f64)),
        encoded(&Some(text)),
        encoded(&None::<String>),
        encoded(&text.chars().next().unwrap_or('x')),
    ];
    all.extend([
        encoded(&number),
        encoded(&(number as i8)),
        encoded(&(number as i16)),
        encoded(&(number as i32)),
    ]);
    all.extend([encoded(&(number as u64)), encoded(&(number as u8)), encoded(&(number as u16))]);
    all.extend([encoded(&(number as u32)), ours(&wide), ours(&(wide as u128)), encoded(&(number > 0))]);
    all.extend([encoded(&(number as f32)), encoded(&(number as f64)), encoded(&()), encoded(&Unit)]);
    all.extend(shapes.iter().map(encoded));
    all
}

fn same<T: DeserializeOwned + PartialEq + Debug>(bytes: &[u8]) {
    let general = Codec::MessagePack.decode::<T>(bytes).ok();
    assert_eq!(decode_sound::<T>(bytes), general, "{bytes:02x?} as {}", std::any::type_name::<T>());
}

fn same_as_all(bytes: &[u8]) {
    same::<String>(bytes);
    same::<Box<str>>(bytes);
    same::<Cow<'_, str>>(bytes);
    same::<Name>(bytes);
    same::<Option<String>>(bytes);
    same::<Vec<String>>(bytes);
    same::<BTreeMap<String, i64>>(bytes);
    same::<(u8, String)>(bytes);
    same::<Pair>(bytes);
    same::<[u8; 3]>(bytes);
    same::<Vec<u8>>(bytes);
    same::<bytes::Bytes>(bytes);
    same::<Point>(bytes);
    same::<Mixed>(bytes);
    same::<Shape>(bytes);
    same::<Unit>(bytes);
    same::<()>(bytes);
    same::<(bool, char)>(bytes);
    same::<bool>(bytes);
    same::<char>(bytes);
    same_as_numbers(bytes);
    same::<Ipv4Addr>(bytes);
    same::<serde_json::Value>(bytes);
    same::<Unasked>(bytes);
    same::<Readable>(bytes);
    let ignored = |ignored: serde::de::IgnoredAny| format!("{ignored:?}");
    let general = Codec::MessagePack.decode(bytes).ok().map(ignored);
    assert_eq!(decode_sound(bytes).map(ignored), general);
}

fn same_as_numbers(bytes: &[u8]) {
    same::<u8>(bytes);
    same::<u16>(bytes);
    same::<u32>(bytes);
    same::<u64>(bytes);
    same::<u128>(bytes);
    same::<i8>(bytes);
    same::<i16>(bytes);
    same::<i32>(bytes);
    same::<i64>(bytes);
    same::<i128>(bytes);
    for bits in [|number: f64| number.to_bits(), |number| u64::from((number as f32).to_bits())] {
        let general = Codec::MessagePack.decode(bytes).ok().map(bits);
        assert_eq!(decode_sound(bytes).map(bits), general);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whole_cut_longer_and_corrupt_values_decode_as_they_do_the_general_way(
        text in "\\PC{0,40}",
        number: i64,
        list: Vec<String>,
        at: Index,
        byte: u8,
    ) {
        for whole in all_encoded(&text, number, &list) {
            same_as_all(&whole);
            same_as_all(&whole[..at.index(whole.len())]);
            let mut corrupt = whole.clone();
            corrupt[at.index(whole.len())] = byte;
            same_as_all(&corrupt);
            let mut longer = whole;
            longer.push(byte);
            same_as_all(&longer);
        }
    }

    #[test]
    fn any_bytes_decode_as_they_do_the_general_way(bytes: Vec<u8>) {
        same_as_all(&bytes);
    }
}

#[test]
fn strings_of_any_length_are_the_same_bytes_and_come_back() {
    for len in [0, 1, 31, 32, 33, 255, 256, 65_535, 65_536] {
        let text = "x".repeat(len);
        let bytes = encoded(&text);
        assert_eq!(decode_sound(&bytes), Some(text));
        for end in [bytes.len() - 1, bytes.len() / 2, 1, 0] {
            same_as_all(&bytes[..end]);
        }
    }
    // Longer heads than needed are allowed.
    for bytes in [&b"\xd9\x02ab"[..], b"\xda\0\x02ab", b"\xdb\0\0\0\x02ab"] {
        assert_eq!(decode_sound::<String>(bytes).as_deref(), Some("ab"));
    }
}

#[test]
fn both_ways_are_for_people() {
    let text = ours("x");
    assert_eq!(decode_sound(&text), Some(Readable(true)));
    assert_eq!(Codec::MessagePack.decode(&text), Ok(Readable(true)));
    assert_eq!(Codec::Json.decode(b"\"x\""), Ok(Readable(true)));
}

#[test]
fn text_that_is_not_utf_8_is_no_string() {
    for bytes in [&b"\xa2\xc3\x28"[..], b"\xd9\x01\xff", b"\xa3\xed\xa0\x80"] {
        assert_eq!(decode_sound::<String>(bytes), None);
        same_as_all(bytes);
    }
}

#[test]
fn how_deep_values_may_be_nested_is_the_same() {
    for depth in [125, 126, 127] {
        let mut bytes = vec![0x91; depth];
        bytes.push(0xC0);
        same::<serde_json::Value>(&bytes);
        let mut inside = b"\x82\xa4name\xa1x\xa5value".to_vec();
        inside.extend_from_slice(&bytes[1..]);
        same::<Deep>(&inside);
        assert_eq!(decode_sound::<Deep>(&inside).is_some(), depth <= 126);
    }
}

#[test]
fn struct_is_read_in_any_order_with_unknown_entries_and_refused_with_missing_or_double_ones() {
    let point = |bytes: &[u8]| {
        same::<Point>(bytes);
        decode_sound::<Point>(bytes).map(|point| (point.x, point.name))
    };
    assert_eq!(point(b"\x82\xa1x\x07\xa4name\xa1a"), Some((7, "a".into())));
    assert_eq!(point(b"\x82\xa4name\xa1a\xa1x\xd1\xff\x00"), Some((-256, "a".into())));
    assert_eq!(point(b"\x83\xa1y\x92\x01\x02\xa1x\xcd\x01\x00\xa4name\xa1a"), Some((256, "a".into())));
    assert_eq!(point(b"\x81\xa1x\xd2\x00\x00\x00\x01"), Some((1, String::new())));
    assert_eq!(point(b"\xde\x00\x01\xa1x\x01"), Some((1, String::new())));
    assert_eq!(point(b"\x92\x01\xa1a"), Some((1, "a".into())));
    for wrong in [
        &b"\x80"[..],
        b"\x81\xa4name\xa1a",
        b"\x82\xa1x\x01\xa1x\x02",
        b"\x82\xa1x\x01",
        b"\x81\xa1x\x01\x00",
        b"\x81\xa1x\xce\xff\xff\xff\xff",
        b"\x81\xa1x",
    ] {
        assert_eq!(point(wrong), None, "{wrong:02x?}");
    }
}
