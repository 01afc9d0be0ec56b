//! Tests: values nested without end, in every way there is, are errors on a thread with the usual stack.

use std::{cell::Cell, collections::BTreeMap, thread};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, IgnoredAny},
};

use super::{MAX_NESTED, MAX_STACK};
use crate::Codec;

/// What threads have by default.
const STACK: usize = 2 << 20;

const CODECS: [Codec; 2] = [Codec::Json, Codec::MessagePack];

thread_local! {
    /// How far down the stack has gone.
    static LOWEST: Cell<usize> = const { Cell::new(usize::MAX) };
}

fn here() -> usize {
    let local = 0_u8;
    (&raw const local).addr()
}

/// The innermost value: it looks how much of the stack is used.
struct Leaf;

impl<'de> Deserialize<'de> for Leaf {
    fn deserialize<D: Deserializer<'de>>(decoder: D) -> Result<Self, D::Error> {
        LOWEST.set(LOWEST.get().min(here()));
        u8::deserialize(decoder).map(|_| Self)
    }
}

/// Types of which only how they are decoded is of interest.
macro_rules! types {
    ($($item:item)*) => {
        $(
            #[derive(Deserialize)]
            #[allow(dead_code, clippy::allow_attributes, reason = "they are decoded and not looked at")]
            $item
        )*
    };
}

types! {
    enum Newtype {
        Leaf(Leaf),
        Not(Box<Self>),
    }

    enum Tuple {
        Leaf(Leaf),
        Add(Box<Self>, u8),
    }

    enum Struct {
        Leaf(Leaf),
        Add {
            left: Box<Self>,
            #[serde(default)]
            right: [u64; 8],
        },
    }

    #[derive(Default)]
    #[serde(default)]
    struct Node {
        next: Option<Box<Self>>,
        leaf: Option<Leaf>,
    }

    struct Seq(Vec<Self>);

    struct TupleStruct(Option<Box<Self>>, u8);

    struct Unending(Option<Box<Self>>);

    struct Pair(Box<Wrapped>);

    struct Wrapped {
        of: Option<Option<Pair>>,
    }

    #[serde(tag = "t")]
    enum Tagged {
        Leaf {
            leaf: Leaf,
        },
        Not {
            of: Box<Self>,
            #[serde(default)]
            more: [u64; 8],
        },
    }

    #[serde(tag = "t", content = "c")]
    enum Adjacent {
        Leaf(Leaf),
        Not(Box<Self>),
    }

    #[serde(untagged)]
    enum Untagged {
        Leaf(Leaf),
        Not { of: Box<Self> },
        List(Vec<Self>),
    }

    struct Flattened {
        #[serde(flatten)]
        inner: Inner,
    }

    struct Inner {
        of: Option<Box<Flattened>>,
        leaf: Option<Leaf>,
        #[serde(flatten)]
        rest: BTreeMap<String, u8>,
    }

    struct Large {
        of: Option<Box<Self>>,
        leaf: Option<Leaf>,
        #[serde(default)]
        data: [[u64; 32]; 32],
    }
}

/// A way to nest values: what is repeated, what is inside, and what is repeated behind it.
#[derive(Clone, Copy)]
struct Kind {
    name: &'static str,
    decode: fn(Codec, &[u8]) -> Result<(), String>,
    json: [&'static str; 3],
    packed: [&'static [u8]; 3],
    /// How many levels one time is.
    levels: usize,
}

impl Kind {
    fn nested(&self, codec: Codec, times: usize) -> Vec<u8> {
        let [open, leaf, close] = match codec {
            Codec::Json => self.json.map(str::as_bytes),
            Codec::MessagePack => self.packed,
        };
        [&open.repeat(times), leaf, &close.repeat(times)].concat()
    }

    fn decode(&self, codec: Codec, times: usize) -> Result<(), String> {
        (self.decode)(codec, &self.nested(codec, times))
    }
}

fn decode<T: DeserializeOwned>(codec: Codec, bytes: &[u8]) -> Result<(), String> {
    codec.decode::<T>(bytes).map(drop).map_err(|error| error.to_string())
}

macro_rules! kinds {
    ($($name:literal $type:ty, $levels:literal: $json:expr, $packed:expr;)*) => {
        [$(Kind {
            name: $name,
            decode: decode::<$type>,
            json: $json,
            packed: { let [a, b, c]: [&'static [u8]; 3] = $packed; [a, b, c] },
            levels: $levels,
        },)*]
    };
}

fn kinds() -> [Kind; 15] {
    kinds! {
        "newtype variant" Newtype, 1: ["{\"Not\":", "{\"Leaf\":0}", "}"], [b"\x81\xa3Not", b"\x81\xa4Leaf\0", b""];
        "variant by number" Newtype, 1: ["{\"Not\":", "{\"Leaf\":0}", "}"], [b"\x81\x01", b"\x81\0\0", b""];
        "tuple variant" Tuple, 2: ["{\"Add\":[", "{\"Leaf\":0}", ",0]}"], [b"\x81\xa3Add\x92", b"\x81\xa4Leaf\0", b"\0"];
        "struct variant" Struct, 2: ["{\"Add\":{\"left\":", "{\"Leaf\":0}", "}}"],
            [b"\x81\xa3Add\x81\xa4left", b"\x81\xa4Leaf\0", b""];
        "struct and option" Node, 1: ["{\"next\":", "{\"leaf\":0}", "}"], [b"\x81\xa4next", b"\x81\xa4leaf\0", b""];
        "array" Seq, 1: ["[", "[]", "]"], [b"\x91", b"\x90", b""];
        "tuple struct" TupleStruct, 1: ["[", "[null,0]", ",0]"], [b"\x92", b"\x92\xc0\0", b"\0"];
        "tagged" Tagged, 1: ["{\"t\":\"Not\",\"of\":", "{\"t\":\"Leaf\",\"leaf\":0}", "}"],
            [b"\x82\xa1t\xa3Not\xa2of", b"\x82\xa1t\xa4Leaf\xa4leaf\0", b""];
        "tag behind" Tagged, 1: ["{\"of\":", "{\"t\":\"Leaf\",\"leaf\":0}", ",\"t\":\"Not\"}"],
            [b"\x82\xa2of", b"\x82\xa1t\xa4Leaf\xa4leaf\0", b"\xa1t\xa3Not"];
        "adjacent" Adjacent, 1: ["{\"c\":", "{\"t\":\"Leaf\",\"c\":0}", ",\"t\":\"Not\"}"],
            [b"\x82\xa1t\xa3Not\xa1c", b"\x82\xa1t\xa4Leaf\xa1c\0", b""];
        "untagged map" Untagged, 1: ["{\"of\":", "0", "}"], [b"\x81\xa2of", b"\0", b""];
        "untagged array" Untagged, 1: ["[", "0", "]"], [b"\x91", b"\0", b""];
        "flattened" Flattened, 1: ["{\"of\":", "{\"leaf\":0}", "}"], [b"\x81\xa2of", b"\x81\xa4leaf\0", b""];
        "any value" serde_json::Value, 1: ["{\"of\":", "[]", "}"], [b"\x81\xa2of", b"\x90", b""];
        "newtypes and options" Pair, 1: ["{\"of\":", "{\"of\":null}", "}"], [b"\x81\xa2of", b"\x81\xa2of\xc0", b""];
    }
}

fn on_a_thread<T: Send + 'static>(stack: usize, test: impl FnOnce() -> T + Send + 'static) -> T {
    thread::Builder::new().stack_size(stack).spawn(test).unwrap().join().unwrap()
}

/// Runs a test for each kind and codec on a thread of its own.
fn for_each(stack: usize, test: fn(Kind, Codec)) {
    for (kind, codec) in kinds().into_iter().flat_map(|kind| CODECS.map(|codec| (kind, codec))) {
        on_a_thread(stack, move || test(kind, codec));
    }
}

#[test]
fn values_of_every_kind_may_be_nested_as_deep_as_the_limit_and_no_deeper() {
    for_each(STACK, |kind, codec| {
        let (name, limit) = (kind.name, usize::from(MAX_NESTED));
        let whole = (0..2 * limit).rev().find(|times| kind.decode(codec, *times).is_ok()).unwrap();
        let wanted = if name == "newtypes and options" { 85 } else { limit / kind.levels };
        assert!((wanted - 3..=wanted).contains(&whole), "{name} in {codec}: {whole} times");
        for times in [whole + 1, 2 * limit, 20_000] {
            let error = kind.decode(codec, times).unwrap_err();
            assert!(error.starts_with("nested too deep: over the limit of "), "{name} in {codec}: {error}");
        }
    });
}

#[test]
fn the_deepest_values_leave_half_of_the_stack() {
    for_each(16 << 20, |kind, codec| {
        let most = usize::from(MAX_NESTED) / kind.levels;
        let deepest = (0..=most).rev().find(|times| kind.decode(codec, *times).is_ok()).unwrap();
        let base = here();
        let _ = kind.decode(codec, deepest);
        let used = base.saturating_sub(LOWEST.get());
        assert!(used < MAX_STACK, "{} in {codec}: {used} bytes for {deepest} times", kind.name);
    });
}

#[test]
fn deep_values_that_are_passed_over_are_no_danger() {
    let kind = |codec| match codec {
        Codec::Json => [&b"{\"x\":".repeat(100_000)[..], b"0", &b"}".repeat(100_000)].concat(),
        Codec::MessagePack => [&b"\x81\xa1x".repeat(100_000)[..], b"\0"].concat(),
    };
    on_a_thread(STACK, move || {
        for codec in CODECS {
            // JSON is passed over without going into it.
            let passes = codec == Codec::Json;
            assert_eq!(codec.decode::<IgnoredAny>(&kind(codec)).is_ok(), passes, "{codec}");
            assert_eq!(codec.decode::<Node>(&kind(codec)).is_ok(), passes, "{codec}");
        }
    });
}

/// It has no value but null: anything else is an option of itself.
#[test]
fn options_and_newtypes_without_bytes_are_bounded() {
    on_a_thread(STACK, || {
        for (codec, bytes) in [
            (Codec::Json, &b"0"[..]),
            (Codec::Json, b"{}"),
            (Codec::Json, b"\"x\""),
            (Codec::MessagePack, b"\0"),
            (Codec::MessagePack, b"\x80"),
            (Codec::MessagePack, b"\x81\0\0"),
            (Codec::MessagePack, b"\xd4\0\0"),
        ] {
            assert_eq!(
                decode::<Unending>(codec, if codec == Codec::Json { b"null" } else { b"\xc0" }),
                Ok(())
            );
            let error = decode::<Unending>(codec, bytes).unwrap_err();
            assert!(
                error.starts_with("nested too deep: over the limit of 255 options and newtypes"),
                "{error}"
            );
        }
    });
}

#[test]
fn extensions_nested_in_arrays_are_bounded() {
    on_a_thread(STACK, || {
        let mut bytes = b"\x92\xd4\x01\x00".repeat(20_000);
        bytes.push(0);
        assert!(decode::<serde_json::Value>(Codec::MessagePack, &bytes).is_err());
        assert!(decode::<IgnoredAny>(Codec::MessagePack, &bytes).is_err());
    });
}

/// Each level of it holds 8 KiB some times over, unless the compiler sees that it need not.
#[test]
fn large_types_are_bounded_by_the_stack_they_take() {
    on_a_thread(STACK, || {
        let kind = Kind {
            name: "large",
            decode: decode::<Large>,
            json: ["{\"of\":", "{\"leaf\":0}", "}"],
            packed: [b"\x81\xa2of", b"\x81\xa4leaf\0", b""],
            levels: 1,
        };
        for codec in CODECS {
            assert_eq!(kind.decode(codec, 1), Ok(()));
            for times in [20, 127, 10_000] {
                let result = kind.decode(codec, times);
                assert!(result.is_ok() || result.unwrap_err().contains("nested too deep"));
            }
        }
    });
}

/// Which a few bytes announce at each of many levels.
#[test]
fn no_more_elements_are_expected_than_there_are_bytes() {
    struct Hint(usize);
    impl<'de> Deserialize<'de> for Hint {
        fn deserialize<D: Deserializer<'de>>(decoder: D) -> Result<Self, D::Error> {
            struct Visitor;
            impl<'de> serde::de::Visitor<'de> for Visitor {
                type Value = Hint;
                fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    f.write_str("a list")
                }
                fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut list: A) -> Result<Hint, A::Error> {
                    let hint = list.size_hint().unwrap_or(0);
                    while let Ok(Some(_)) = list.next_element::<u8>() {}
                    Err(serde::de::Error::custom(hint))
                }
            }
            decoder.deserialize_seq(Visitor)
        }
    }
    let hint = |bytes| Codec::MessagePack.decode::<Hint>(bytes).map(|hint| hint.0).unwrap_err().to_string();
    assert_eq!(hint(b"\xdd\xff\xff\xff\xff\x01"), "6");
    assert_eq!(hint(b"\x92\x01\x02"), "2");
}

/// Those of elements that could not be decoded, too.
#[test]
fn levels_are_free_again_after_what_was_in_them() {
    /// It cannot be decoded, once it was entered.
    struct Fussy;
    impl<'de> Deserialize<'de> for Fussy {
        fn deserialize<D: Deserializer<'de>>(decoder: D) -> Result<Self, D::Error> {
            struct Visitor;
            impl<'de> serde::de::Visitor<'de> for Visitor {
                type Value = Fussy;
                fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    f.write_str("nothing")
                }
                fn visit_some<D: Deserializer<'de>>(self, decoder: D) -> Result<Fussy, D::Error> {
                    u8::deserialize(decoder)?;
                    Err(serde::de::Error::custom("not this one"))
                }
            }
            decoder.deserialize_option(Visitor)
        }
    }

    /// The last of a thousand elements.
    struct Last(Option<u8>);
    impl<'de> Deserialize<'de> for Last {
        fn deserialize<D: Deserializer<'de>>(decoder: D) -> Result<Self, D::Error> {
            struct Visitor;
            impl<'de> serde::de::Visitor<'de> for Visitor {
                type Value = Last;
                fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    f.write_str("a list")
                }
                fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut list: A) -> Result<Last, A::Error> {
                    assert!((1..1000).all(|_| list.next_element::<Fussy>().is_err()));
                    Ok(Last(list.next_element()?.flatten()))
                }
            }
            decoder.deserialize_seq(Visitor)
        }
    }

    for codec in CODECS {
        let encode = |value: serde_json::Value| {
            let mut bytes = Vec::new();
            codec.encode_into(&value, &mut bytes).unwrap();
            bytes
        };
        let lists = encode(vec![vec![Some(1)]; 1000].into());
        assert_eq!(codec.decode::<Vec<Vec<Option<u8>>>>(&lists), Ok(vec![vec![Some(1)]; 1000]), "{codec}");
        let last = codec.decode::<Last>(&encode(vec![1; 1000].into())).map(|last| last.0);
        assert_eq!(last, Ok(Some(1)), "{codec}");
    }
}
