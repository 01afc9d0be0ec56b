//! Tests: what is written, and what is refused.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fmt::Debug,
    net::{IpAddr, Ipv4Addr},
};

use bytes::Bytes;
use proptest::prelude::*;
use serde::{Deserialize, Serialize, Serializer, de::DeserializeOwned, ser::SerializeSeq};
use serde_json::{json, value::RawValue};

use crate::Codec;

const CODECS: [Codec; 2] = [Codec::Json, Codec::MessagePack];

fn encode<T: Serialize + ?Sized>(codec: Codec, value: &T) -> Result<Vec<u8>, String> {
    let mut buf = Vec::new();
    codec.encode_into(value, &mut buf).map_err(|error| error.to_string())?;
    Ok(buf)
}

fn json<T: Serialize + ?Sized>(value: &T) -> String {
    String::from_utf8(encode(Codec::Json, value).unwrap()).unwrap()
}

fn packed<T: Serialize + ?Sized>(value: &T) -> Vec<u8> {
    encode(Codec::MessagePack, value).unwrap()
}

fn comes_back<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: &T) {
    for codec in CODECS {
        let bytes = encode(codec, value).unwrap();
        assert_eq!(codec.decode::<T>(&bytes).as_ref(), Ok(value), "{codec}: {}", bytes.escape_ascii());
    }
}

#[test]
fn whatever_is_a_slice_of_bytes_in_memory_is_bytes() {
    let text = r#""AAEC/w==""#;
    let bin = b"\xc4\x04\x00\x01\x02\xff";
    let array = [0_u8, 1, 2, 255];
    assert_eq!((&*json(&array.to_vec()), &*packed(&array.to_vec())), (text, &bin[..]));
    assert_eq!((&*json(&array[..]), &*packed(&array[..])), (text, &bin[..]));
    assert_eq!((&*json(&array), &*packed(&array)), (text, &bin[..]));
    assert_eq!(
        (&*json(&Bytes::from(array.to_vec())), &*packed(&Bytes::from(array.to_vec()))),
        (text, &bin[..])
    );
    assert_eq!((&*json::<Box<[u8]>>(&array.into()), &*packed::<Box<[u8]>>(&array.into())), (text, &bin[..]));
    assert_eq!((&*json(&Some(&array)), &*packed(&Some(&array))), (text, &bin[..]));
    assert_eq!((&*json(&Vec::<u8>::new()), &*packed(&Vec::<u8>::new())), (r#""""#, &b"\xc4\0"[..]));
    let map = BTreeMap::from([(1, array.to_vec())]);
    assert_eq!((&*json(&map), &packed(&map)[..2]), (r#"{"1":"AAEC/w=="}"#, &b"\x81\x01"[..]));
}

#[test]
fn tuples_and_other_collections_of_small_numbers_are_arrays() {
    let array = b"\x93\x00\x01\xcc\xff";
    for (json, packed) in [
        (json(&(0_u8, 1_u8, 255_u8)), packed(&(0_u8, 1_u8, 255_u8))),
        (json(&&(0_u8, 1_u8, 255_u8)), packed(&&(0_u8, 1_u8, 255_u8))),
        (json(&VecDeque::from([0_u8, 1, 255])), packed(&VecDeque::from([0_u8, 1, 255]))),
        (json(&BTreeSet::from([0_u8, 1, 255])), packed(&BTreeSet::from([0_u8, 1, 255]))),
    ] {
        assert_eq!((&*json, &*packed), ("[0,1,255]", &array[..]));
    }
    assert_eq!(json(&[-1_i8, 2]), "[-1,2]");
    assert_eq!(json(&[Some(1_u8), None]), "[1,null]");
    assert_eq!(json(&(1_u8, "a")), r#"[1,"a"]"#);
    assert_eq!(json(&[0_u8; 0]), "[]");
}

#[test]
fn bytes_of_which_nobody_knows_how_many_are_an_array() {
    struct NotZero<'a>(&'a [u8]);
    impl Serialize for NotZero<'_> {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.collect_seq(self.0.iter().filter(|byte| **byte != 0))
        }
    }
    assert_eq!(
        (&*json(&NotZero(&[0, 1, 0, 200])), &*packed(&NotZero(&[0, 1, 0, 200]))),
        ("[1,200]", &b"\x92\x01\xcc\xc8"[..])
    );
    assert_eq!(packed(&NotZero(&[0])), b"\x90");
}

#[test]
fn a_tuple_that_only_begins_with_bytes_is_an_array() {
    /// Hides that it is one.
    struct Hidden(u8, u8, &'static str);
    impl Serialize for Hidden {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            (self.0, self.1, self.2).serialize(serializer)
        }
    }
    assert_eq!(json(&Hidden(1, 200, "x")), r#"[1,200,"x"]"#);
    assert_eq!(packed(&Hidden(1, 200, "x")), b"\x93\x01\xcc\xc8\xa1x");
}

#[test]
fn bytes_come_back_from_each_of_their_forms() {
    for bytes in [&b"\"AAEC\""[..], b"[0,1,2]", b" [0, 1, 2]"] {
        assert_eq!(Codec::Json.decode(bytes), Ok(vec![0_u8, 1, 2]));
        assert_eq!(Codec::Json.decode(bytes), Ok([0_u8, 1, 2]));
        assert_eq!(Codec::Json.decode(bytes), Ok(Bytes::from_static(&[0, 1, 2])));
        assert_eq!(Codec::Json.decode(bytes), Ok(BTreeSet::from([0_u8, 1, 2])));
    }
    for bytes in [&b"\xc4\x03\0\x01\x02"[..], b"\x93\0\x01\x02", b"\xc5\0\x03\0\x01\x02", b"\xa3\0\x01\x02"] {
        assert_eq!(Codec::MessagePack.decode(bytes), Ok(Bytes::from_static(&[0, 1, 2])));
        if bytes[0] != 0xA3 {
            assert_eq!(Codec::MessagePack.decode(bytes), Ok(vec![0_u8, 1, 2]));
            assert_eq!(Codec::MessagePack.decode(bytes), Ok([0_u8, 1, 2]));
        }
    }
}

#[test]
fn what_is_no_form_of_bytes_is_named() {
    let error = |bytes: &[u8]| Codec::Json.decode::<Bytes>(bytes).unwrap_err().to_string();
    assert_eq!(
        error(b"\"AAE\""),
        "invalid value: string \"AAE\", expected bytes as base64 with padding at line 1 column 5"
    );
    let error = Codec::Json.decode::<Vec<u8>>(b"\"AAE\"").unwrap_err().to_string();
    assert_eq!(error, "invalid type: string \"AAE\", expected a sequence at line 1 column 5");
    let error = Codec::Json.decode::<Vec<u32>>(b"\"AAEC\"").unwrap_err().to_string();
    assert!(error.starts_with("invalid type: string, expected a sequence"), "{error}");
    for (codec, bytes) in [(Codec::Json, &b"\"AAEC\""[..]), (Codec::MessagePack, b"\xc4\x03\0\x01\x02")] {
        let error = codec.decode::<[u8; 2]>(bytes).unwrap_err().to_string();
        assert!(error.starts_with("invalid length 3, expected 2 bytes"), "{error}");
        let error = codec.decode::<[u8; 4]>(bytes).unwrap_err().to_string();
        assert!(error.starts_with("invalid length 3, expected an array of length 4"), "{error}");
    }
}

/// An enumeration and structures that serde keeps in parts, until it knows what they are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind")]
enum Tagged {
    Fields { data: Vec<u8>, blob: Bytes, more: Option<Box<Self>> },
    Newtype(BTreeMap<String, Bytes>),
    Address { ip: IpAddr },
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Flat {
    own: Vec<u8>,
    #[serde(flatten)]
    part: Part,
    #[serde(flatten)]
    rest: BTreeMap<String, Bytes>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Part {
    data: [u8; 3],
    ip: IpAddr,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "t", content = "c")]
enum Adjacent {
    Bytes(Bytes),
}

#[test]
fn bytes_come_back_from_what_serde_keeps() {
    let bytes = || Bytes::from_static(b"\0\x01\xff");
    let fields = Tagged::Fields { data: vec![0, 200], blob: bytes(), more: None };
    comes_back(&Tagged::Fields { data: vec![], blob: bytes(), more: Some(Box::new(fields)) });
    comes_back(&Tagged::Newtype(BTreeMap::from([("x".into(), bytes())])));
    comes_back(&Tagged::Address { ip: Ipv4Addr::LOCALHOST.into() });
    comes_back(&Adjacent::Bytes(bytes()));
    let part = Part { data: [1, 2, 3], ip: Ipv4Addr::LOCALHOST.into() };
    comes_back(&Flat { own: vec![7], part, rest: BTreeMap::from([("x".into(), bytes())]) });
}

#[test]
fn parameters_by_reference_are_no_tag() {
    use serde::ser::SerializeStruct;

    struct Lent<'a>(&'static str, &'a str, &'a [u8]);
    impl Serialize for Lent<'_> {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            let mut fields = serializer.serialize_struct(self.0, 2)?;
            fields.serialize_field("name", self.1)?;
            fields.serialize_field("data", self.2)?;
            fields.end()
        }
    }
    assert_eq!(json(&Lent("params", "x", &[0, 1, 2])), r#"{"name":"x","data":"AAEC"}"#);
    assert_eq!(json(&Lent("Tagged", "x", &[0, 1, 2])), r#"{"name":"x","data":[0,1,2]}"#);
    assert_eq!(packed(&Lent("params", "x", &[7])), b"\x82\xa4name\xa1x\xa4data\xc4\x01\x07");
}

#[test]
fn what_has_no_form_is_refused_with_its_place() {
    #[derive(Serialize)]
    struct Reading {
        values: Vec<f64>,
    }
    let error = encode(Codec::Json, &Reading { values: vec![1.0, f64::NAN] }).unwrap_err();
    assert_eq!(error, "`values[1]`: NaN is no number in json");
    for value in [f32::INFINITY, f32::NEG_INFINITY, f32::NAN] {
        assert!(encode(Codec::Json, &Some(value)).unwrap_err().ends_with("is no number in json"));
        assert!(encode(Codec::Json, &BTreeMap::from([(1, value)])).is_err());
        assert!(encode(Codec::MessagePack, &Some(value)).is_ok());
    }
    let error = encode(Codec::Json, &BTreeMap::from([((1, 2), 3)])).unwrap_err();
    assert_eq!(error, "a tuple cannot be the key of a map in json, where keys are texts");
    let error = encode(Codec::Json, &BTreeMap::from([(Bytes::from_static(b"x"), 3)])).unwrap_err();
    assert_eq!(error, "bytes cannot be the key of a map in json, where keys are texts");
    assert!(encode(Codec::Json, &BTreeMap::from([(None::<u8>, 3)])).is_err());
}

#[test]
fn a_length_that_is_not_kept_to_is_refused_where_it_is_written() {
    struct Wrong;
    impl Serialize for Wrong {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            let mut seq = serializer.serialize_seq(Some(3))?;
            seq.serialize_element(&1)?;
            seq.end()
        }
    }
    assert_eq!(encode(Codec::MessagePack, &Wrong), Err("1 elements where 3 were announced".into()));
    assert_eq!(json(&Wrong), "[1]");
}

#[test]
fn wide_integers_are_integers_where_they_fit() {
    assert_eq!(packed(&5_i128), b"\x05");
    assert_eq!(packed(&-5_i128), b"\xfb");
    assert_eq!(packed(&u128::from(u64::MAX)), packed(&u64::MAX));
    assert_eq!(packed(&i128::MIN)[..2], [0xC4, 16]);
    for value in [0, 1, u128::from(u64::MAX), u128::from(u64::MAX) + 1, u128::MAX] {
        comes_back(&value);
    }
    for value in [i128::MIN, i128::from(i64::MIN) - 1, i128::from(i64::MIN), -1, 0, i128::MAX] {
        comes_back(&value);
    }
}

#[test]
fn a_raw_value_is_carried_in_both() {
    let raw: Box<RawValue> = serde_json::from_str("{\n  \"a\":\n [1, \"x\\ny\", null, 1.5]\n}").unwrap();
    let text = json(&raw);
    assert!(!text.contains('\n'), "{text}");
    assert_eq!(text, "{   \"a\":  [1, \"x\\ny\", null, 1.5] }");
    let bytes = packed(&raw);
    assert_eq!(bytes, packed(&json!({"a": [1, "x\ny", null, 1.5]})));
    let back: Box<RawValue> = Codec::MessagePack.decode(&bytes).unwrap();
    assert_eq!(back.get(), r#"{"a":[1,"x\ny",null,1.5]}"#);
    let deep: Box<RawValue> = serde_json::from_str(&("[".repeat(120) + &"]".repeat(120))).unwrap();
    assert!(encode(Codec::MessagePack, &deep).is_ok());
    assert!(encode(Codec::MessagePack, &[[[[[[[deep]]]]]]]).unwrap_err().contains("nested too deep"));
}

/// Ways to nest values.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Nest {
    Leaf,
    Newtype(Box<Self>),
    Tuple(Box<Self>, u8),
    Struct { of: Box<Self> },
    Array(Vec<Self>),
    Option(Option<Box<Self>>),
    Map(BTreeMap<String, Self>),
    Wrapped(Box<Wrapped>),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Wrapped(Option<Option<Nest>>);

fn nest() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(0..7_u8, 0..140)
}

fn nested(kinds: &[u8]) -> Nest {
    kinds.iter().fold(Nest::Leaf, |inner, kind| match kind {
        0 => Nest::Newtype(inner.into()),
        1 => Nest::Tuple(inner.into(), 1),
        2 => Nest::Struct { of: inner.into() },
        3 => Nest::Array(vec![inner]),
        4 => Nest::Option(Some(inner.into())),
        5 => Nest::Map(BTreeMap::from([("k".into(), inner)])),
        _ => Nest::Wrapped(Wrapped(Some(Some(inner))).into()),
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn what_the_decoder_would_refuse_for_its_depth_is_not_sent(kinds in nest()) {
        let value = nested(&kinds);
        for codec in CODECS {
            match encode(codec, &value) {
                Ok(bytes) => prop_assert_eq!(codec.decode::<Nest>(&bytes), Ok(value.clone())),
                Err(error) => {
                    prop_assert!(error.contains("nested too deep"), "{}", error);
                    // It is not stricter either: without the outermost levels it may go.
                    let bytes = match codec {
                        Codec::Json => serde_json::to_vec(&value).unwrap(),
                        _ => rmp_serde::to_vec_named(&value).unwrap(),
                    };
                    let error = codec.decode::<Nest>(&bytes).unwrap_err().to_string();
                    prop_assert!(error.contains("nested too deep"), "{}", error);
                }
            }
        }
    }

    #[test]
    fn json_without_bytes_is_what_serde_json_writes(
        text: String,
        texts: BTreeMap<String, Option<i64>>,
        number: f64,
        small: f32,
        wide: i128,
        list: Vec<(bool, char, u64)>,
        keys: BTreeMap<i16, u32>,
    ) {
        let value = (text, texts, list, keys, nested(&[0, 1, 2, 3, 4, 5, 6]), wide, ());
        prop_assert_eq!(json(&value), serde_json::to_string(&value).unwrap());
        if number.is_finite() && small.is_finite() {
            prop_assert_eq!(json(&(number, small)), serde_json::to_string(&(number, small)).unwrap());
        }
    }
}

#[test]
fn endless_values_are_refused_before_they_overflow_the_stack() {
    struct Endless;
    impl Serialize for Endless {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.serialize_some(self)
        }
    }
    struct Turtles;
    impl Serialize for Turtles {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.serialize_newtype_variant("T", 0, "On", self)
        }
    }
    for codec in CODECS {
        let error = encode(codec, &Endless).unwrap_err();
        assert!(error.contains("over the limit of 255 options and newtypes"), "{error}");
        let error = encode(codec, &Turtles).unwrap_err();
        assert!(error.contains("over the limit of 126 arrays, maps and variants"), "{error}");
    }
}

#[test]
fn decoding_says_where_and_what() {
    #[derive(Debug, Deserialize)]
    #[expect(dead_code, reason = "it is not decoded")]
    struct Filter {
        ranges: Vec<Range>,
        by_id: BTreeMap<u32, Shape>,
    }
    #[derive(Debug, Deserialize)]
    #[expect(dead_code, reason = "it is not decoded")]
    struct Range {
        from: u32,
    }
    #[derive(Debug, Deserialize)]
    #[expect(dead_code, reason = "it is not decoded")]
    enum Shape {
        Circle { radius: u8 },
    }
    for codec in CODECS {
        let error = |value: serde_json::Value| {
            codec.decode::<Filter>(&encode(codec, &value).unwrap()).unwrap_err().to_string()
        };
        let wrong = error(json!({"ranges": [{"from": 1}, {"from": "x\u{1b}"}], "by_id": {}}));
        assert!(
            wrong.starts_with("`ranges[1].from`: invalid type: string \"x\\u{1b}\", expected u32"),
            "{wrong}"
        );
        let wrong = error(json!({"ranges": [{"from": 1}, 7], "by_id": {}}));
        assert!(
            wrong.starts_with("`ranges[1]`: invalid type: integer `7`, expected struct Range"),
            "{wrong}"
        );
        let wrong = error(json!({"ranges": [{}]}));
        assert!(wrong.starts_with("`ranges[0]`: missing field `from`"), "{wrong}");
        let wrong = error(json!({"ranges": 1}));
        assert!(wrong.starts_with("`ranges`: invalid type: integer `1`, expected a sequence"), "{wrong}");
        assert!(error(json!({})).starts_with("missing field `ranges`"));
    }
    let bytes = packed(&json!([[], BTreeMap::<u8, u8>::new()]));
    assert!(Codec::MessagePack.decode::<Filter>(&bytes).is_ok());
    let by_id = BTreeMap::from([(7, BTreeMap::from([("Circle", BTreeMap::from([("radius", 300)]))]))]);
    for codec in CODECS {
        let bytes = encode(codec, &BTreeMap::from([("by_id", by_id.clone())])).unwrap();
        let wrong = codec.decode::<Filter>(&bytes).unwrap_err().to_string();
        assert!(
            wrong.starts_with("`by_id.7.Circle.radius`: invalid value: integer `300`, expected u8"),
            "{wrong}"
        );
    }
}

#[test]
fn an_error_is_short_however_deep_it_is() {
    let mut value = json!("x".repeat(300));
    for _ in 0..50 {
        value = json!({ "a long name of a field": value });
    }
    type Deep = BTreeMap<String, Box<Level>>;
    #[derive(Debug, Deserialize)]
    #[expect(dead_code, reason = "it is not decoded")]
    struct Level {
        #[serde(rename = "a long name of a field")]
        inner: Option<Box<Self>>,
    }
    for codec in CODECS {
        let error = codec.decode::<Deep>(&encode(codec, &value).unwrap()).unwrap_err().to_string();
        assert!(error.len() <= 256 && error.contains("invalid type: string"), "{error}");
    }
}
