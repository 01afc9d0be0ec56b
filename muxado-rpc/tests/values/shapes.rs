//! A value of each shape that the table has.

#![expect(clippy::redundant_closure_call, reason = "each shape has a frame of its own on the stack")]

use std::{
    borrow::Cow,
    cell::Cell,
    collections::{BTreeMap, BTreeSet, VecDeque},
    ffi::OsStr,
    net::{IpAddr, SocketAddr},
    num::NonZeroU8,
    ops::Range,
    os::unix::ffi::OsStrExt,
    path::PathBuf,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_bytes::ByteBuf;
use serde_json::{json, value::RawValue};

thread_local! {
    static CHOSEN: Cell<&'static str> = const { Cell::new("") };
}

/// Chooses the shape of which a value is carried.
pub(crate) fn choose(shape: &'static str) {
    CHOSEN.set(shape);
}

/// The type whose schema is that of a shape: another one where the type has none.
#[cfg(feature = "schema")]
macro_rules! described {
    ($type:ty) => {
        $type
    };
    ($type:ty, $described:ty) => {
        $described
    };
}

macro_rules! shapes {
    ($($name:literal: $type:ty $(as $described:ty)? = $value:expr;)*) => {
        /// The shapes, as the table names them.
        pub(crate) const NAMES: &[&str] = &[$($name,)*];

        /// The schema of the chosen shape.
        #[cfg(feature = "schema")]
        pub(crate) fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
            let shape = CHOSEN.get();
            $(
                if shape == $name {
                    return generator.subschema_for::<described!($type $(, $described)?)>();
                }
            )*
            panic!("no shape {shape}");
        }

        /// The value of a shape, as it is shown.
        pub(crate) fn shown(shape: &str) -> String {
            $(
                if shape == $name {
                    return (|| -> String { let value: $type = $value; format!("{value:?}") })();
                }
            )*
            panic!("no shape {shape}");
        }

        pub(crate) fn serialize<S: Serializer>(serializer: S) -> Result<S::Ok, S::Error> {
            let shape = CHOSEN.get();
            $(
                if shape == $name {
                    return (move || { let value: $type = $value; serializer.serialize_newtype_struct("Carried", &value) })();
                }
            )*
            panic!("no shape {shape}");
        }

        pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
            let shape = CHOSEN.get();
            $(
                if shape == $name {
                    return (move || <$type>::deserialize(deserializer).map(|value| format!("{value:?}")))();
                }
            )*
            panic!("no shape {shape}");
        }
    };
}

fn map<K: Ord, V>(key: K, value: V) -> BTreeMap<K, V> {
    BTreeMap::from([(key, value)])
}

fn raw(text: &str) -> Box<RawValue> {
    RawValue::from_string(text.to_owned()).unwrap()
}

const IP: [u8; 4] = [127, 0, 0, 1];

shapes! {
    "`bool`": bool = true;
    "`i8` to `i64`": (i8, i16, i32, i64) = (i8::MIN, i16::MIN, i32::MIN, i64::MIN);
    "`u8` to `u64`": (u8, u16, u32, u64) = (u8::MAX, u16::MAX, u32::MAX, u64::MAX);
    "`i128`": [i128; 3] = [i128::MIN, -1, i128::MAX];
    "`u128`": [u128; 2] = [1, u128::MAX];
    "`f32`, `f64`": (f32, f64, f64) = (0.1, 0.1, f64::MIN_POSITIVE);
    "`f64`: -0.0": f64 = -0.0;
    "`f64`: NaN": f64 = f64::NAN;
    "`f32`: infinity": f32 = f32::INFINITY;
    "`Some(NaN)`": Option<f64> = Some(f64::NAN);
    "`char`": char = '\u{1F980}';
    "text": String = "a\n\"\\\u{0}\u{fc}".into();
    "`Vec<u8>`": Vec<u8> = vec![0, 1, 200];
    "`Box<[u8]>`": Box<[u8]> = [0, 1, 200].into();
    "`Cow<[u8]>`": Cow<'static, [u8]> = vec![0, 1, 200].into();
    "`[u8; N]`": [u8; 4] = [0, 1, 200, 255];
    "`bytes::Bytes`": Bytes = Bytes::from_static(b"\0\x01\xff");
    "`serde_bytes::ByteBuf`": ByteBuf as Vec<u8> = ByteBuf::from([0, 1, 255]);
    "`#[serde(with = \"serde_bytes\")]`": WithBytes = WithBytes { data: vec![0, 255] };
    "bytes in options, maps and variants": (Option<Vec<u8>>, BTreeMap<u8, Bytes>, Enum) =
        (Some(vec![1]), map(1, Bytes::from_static(b"x")), Enum::Bytes(vec![2]));
    "no bytes": (Vec<u8>, Bytes) = (vec![], Bytes::new());
    "a tuple of `u8`": (u8, u8, u8) = (0, 1, 200);
    "other collections of `u8`": (VecDeque<u8>, BTreeSet<u8>) = ([0, 200].into(), [0, 200].into());
    "`Vec<i8>`": Vec<i8> = vec![-1, 1];
    "`None`": Option<u8> = None;
    "`Some`": Option<u8> = Some(1);
    "`Some(None)`": Option<Option<u8>> = Some(None);
    "`Some(Some)`": Option<Option<u8>> = Some(Some(1));
    "`Some(())`": Option<()> = Some(());
    "`Some` of a structure without fields": Option<Unit> = Some(Unit);
    "`()`": () = ();
    "a structure without fields": Unit = Unit;
    "a newtype": Newtype = Newtype(7);
    "a tuple structure": TupleStruct = TupleStruct(1, "x".into());
    "a tuple": (u16, String, bool) = (300, "x".into(), true);
    "`[T; N]`": [u16; 3] = [1, 2, 300];
    "a sequence": Vec<String> = vec!["a".into(), "b".into()];
    "a set": BTreeSet<u16> = [1, 300].into();
    "a structure": Struct = Struct { a: 1, b: Some("x".into()) };
    "a variant without a value": Enum = Enum::Unit;
    "a newtype variant": Enum = Enum::Newtype("x".into());
    "a tuple variant": Enum = Enum::Tuple(1, "x".into());
    "a structure variant": Enum = Enum::Struct { a: 1 };
    "a variant of `()`": Enum = Enum::Nothing(());
    "`rename`, `alias`, `rename_all`": Renamed = Renamed { first_name: "x".into(), old: 1 };
    "`default`, `skip_serializing_if`": Defaulted = Defaulted { at: 7, list: vec![] };
    "`skip`": Skipping = Skipping { kept: 1, skipped: 2 };
    "`tag`": Tagged = Tagged::Struct { id: 7, name: Some("x".into()) };
    "`tag`, a newtype variant": Tagged = Tagged::Newtype(Struct { a: 1, b: None });
    "`tag` with `IpAddr` and map keys": Tagged = Tagged::Address { ip: IP.into(), by_id: map(7, 1) };
    "`tag` with bytes": Tagged = Tagged::Bytes { list: vec![0, 200], blob: Bytes::from_static(b"\xff") };
    "`tag` with `i128`": Tagged = Tagged::Wide { number: i128::MAX };
    "`tag` and `content`": Adjacent = Adjacent::Struct { a: vec![1, 2], ip: IP.into() };
    "`untagged`": (Untagged, Untagged) = (Untagged::Number(7), Untagged::Address { ip: IP.into() });
    "`untagged` with bytes": UntaggedBytes = UntaggedBytes::List(vec![0, 200]);
    "`untagged` with bytes or text": UntaggedText = UntaggedText::List(vec![0, 1, 2]);
    "`flatten` of a structure": Flat = Flat { id: 1, part: Struct { a: 1, b: None } };
    "`flatten` of a map": FlatMap = FlatMap { id: 1, rest: map("x".into(), json!([1, null])) };
    "`flatten` with `IpAddr`": FlatIp = FlatIp { id: 1, part: Address { ip: IP.into() } };
    "`flatten` with bytes": FlatBytes =
        FlatBytes { own: vec![1, 200], part: Blobs { list: vec![0, 200], array: [1, 2, 3], blob: Bytes::from_static(b"\xff") } };
    "`flatten` of a map with numbers as keys": FlatIds = FlatIds { name: "x".into(), by_id: map(7, 1) };
    "`flatten` with `i128`": FlatWide = FlatWide { part: Wide { number: i128::MAX } };
    "`other`": KnownOrOther = KnownOrOther::Known;
    "`transparent`, `into`, `from`": (Transparent, Converted) = (Transparent(7), Converted(7));
    "`borrow` of `Cow<str>`": Borrows as TextField = Borrows("a\nb".into());
    "`&str` without escapes": BorrowedText as TextField = BorrowedText("ab".into());
    "`&str` with a line feed": BorrowedText as TextField = BorrowedText("a\nb".into());
    "`&[u8]` as a field that borrows": BorrowedBytes as DataField = BorrowedBytes(vec![0, 255]);
    "texts as keys": BTreeMap<String, u8> = map("x".into(), 1);
    "integers as keys": (BTreeMap<i64, u8>, BTreeMap<u64, u8>) = (map(-7, 1), map(u64::MAX, 1));
    "`i128` as keys": BTreeMap<i128, u8> = map(i128::MIN, 1);
    "booleans and characters as keys": (BTreeMap<bool, u8>, BTreeMap<char, u8>) = (map(true, 1), map('x', 1));
    "variants as keys": BTreeMap<Key, u8> = map(Key::B, 1);
    "newtypes as keys": BTreeMap<Newtype, u8> = map(Newtype(7), 1);
    "`IpAddr`, uuid as keys": (BTreeMap<IpAddr, u8>, BTreeMap<uuid::Uuid, u8>) = (map(IP.into(), 1), map(uuid::Uuid::max(), 1));
    "`Some` as keys": BTreeMap<Option<u8>, u8> = map(Some(1), 1);
    "`None` as keys": BTreeMap<Option<u8>, u8> = map(None, 1);
    "bytes as keys": BTreeMap<ByteBuf, u8> as BTreeMap<Vec<u8>, u8> = map(ByteBuf::from([1, 200]), 1);
    "`Vec<u8>` as keys": BTreeMap<Vec<u8>, u8> = map(vec![1, 200], 1);
    "tuples as keys": BTreeMap<(u8, u8), u8> = map((1, 2), 1);
    "structures as keys": BTreeMap<Struct, u8> = map(Struct { a: 1, b: None }, 1);
    "`()` as keys": BTreeMap<(), u8> = map((), 1);
    "variants with values as keys": BTreeMap<Enum, u8> = map(Enum::Newtype("x".into()), 1);
    "`IpAddr`, `SocketAddr`": (IpAddr, SocketAddr) = (IP.into(), (IP, 80).into());
    "`Duration`": Duration = Duration::new(1, 999_999_999);
    "`SystemTime`": SystemTime = SystemTime::UNIX_EPOCH + Duration::new(1_700_000_000, 5);
    "`SystemTime` before 1970": SystemTime = SystemTime::UNIX_EPOCH - Duration::from_secs(1);
    "`PathBuf`": PathBuf = "/a/b".into();
    "`PathBuf` that is not UTF-8": PathBuf = OsStr::from_bytes(b"/\xff").into();
    "`NonZero`, `Range`, `Result`": (NonZeroU8, Range<u8>, Result<u8, String>) = (NonZeroU8::MAX, 1..3, Err("x".into()));
    "uuid": uuid::Uuid = uuid::Uuid::from_u128(7);
    "chrono": (chrono::DateTime<chrono::Utc>, chrono::NaiveDate) =
        (chrono::DateTime::from_timestamp(1_700_000_000, 5).unwrap(), chrono::NaiveDate::MIN);
    "time": (time::OffsetDateTime, time::Date, time::Duration) as (String, String, String) =
        (time::macros::datetime!(2024-02-29 23:59:59.5 +1), time::macros::date!(2024-02-29), time::Duration::new(-1, -5));
    "uuid, chrono and time behind `tag`": TaggedTimes = TaggedTimes::At {
        id: uuid::Uuid::from_u128(7),
        at: chrono::DateTime::from_timestamp(1_700_000_000, 5).unwrap(),
        on: time::macros::date!(2024-02-29),
    };
    "`serde_json::Value`": serde_json::Value = json!({"a": [1, -1, 1.5, null, true, "x"], "b": u64::MAX});
    "bytes read as `serde_json::Value`": AsJson as Vec<u8> = AsJson(vec![0, 1, 200].into());
    "`RawValue`": Box<RawValue> = raw(r#"{"a":[1,-1,1.5,null,true,"x"]}"#);
    "`RawValue` with line feeds and spaces": Box<RawValue> = raw("{\n  \"a\": \"x\\ny\"\n}");
    "`rmpv::Value`": rmpv::Value as serde_json::Value = rmpv::Value::Array(vec![1.into(), rmpv::Value::Nil, "x".into(), 1.5.into(), true.into()]);
    "`rmpv::Value`: bytes": rmpv::Value as serde_json::Value = rmpv::Value::Binary(vec![0, 200]);
    "`rmpv::Value`: numbers as keys": rmpv::Value as serde_json::Value = rmpv::Value::Map(vec![(1.into(), "x".into())]);
    "`rmpv::Value`: an extension": rmpv::Value as serde_json::Value = rmpv::Value::Ext(7, vec![1, 2, 3]);
    "120 variants inside one another": Nest = nest(120, |inner| Nest::Variant(inner.into()));
    "200 variants inside one another": Nest = nest(200, |inner| Nest::Variant(inner.into()));
    "200 arrays inside one another": Nested as serde_json::Value = nested(200);
    "300 newtypes and options": Endless = endless(300);
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) struct Struct {
    a: u8,
    b: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) struct Unit;

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) struct Newtype(u8);

#[derive(Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) struct TupleStruct(u8, String);

#[derive(Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) struct WithBytes {
    #[serde(with = "serde_bytes")]
    #[cfg_attr(feature = "schema", schemars(with = "Vec<u8>"))]
    data: Vec<u8>,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) enum Enum {
    Unit,
    Newtype(String),
    Tuple(u8, String),
    Struct { a: u8 },
    Nothing(()),
    Bytes(Vec<u8>),
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) enum Key {
    A,
    B,
}

#[derive(Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub(crate) struct Renamed {
    first_name: String,
    #[serde(rename(serialize = "older"), alias = "older")]
    old: u8,
}

fn seven() -> u8 {
    7
}

#[derive(Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) struct Defaulted {
    #[serde(default = "seven", skip_serializing_if = "is_seven")]
    at: u8,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    list: Vec<u8>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_seven(at: &u8) -> bool {
    *at == 7
}

#[derive(Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) struct Skipping {
    kept: u8,
    #[serde(skip)]
    #[expect(dead_code, reason = "it is shown only")]
    skipped: u8,
}

#[derive(Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "kind")]
pub(crate) enum Tagged {
    Struct { id: u8, name: Option<String> },
    Newtype(Struct),
    Address { ip: IpAddr, by_id: BTreeMap<u32, u8> },
    Bytes { list: Vec<u8>, blob: Bytes },
    Wide { number: i128 },
}

#[derive(Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "t", content = "c")]
pub(crate) enum Adjacent {
    Struct { a: Vec<u8>, ip: IpAddr },
}

#[derive(Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(untagged)]
pub(crate) enum Untagged {
    Number(u8),
    Address { ip: IpAddr },
}

#[derive(Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(untagged)]
pub(crate) enum UntaggedBytes {
    Number(u8),
    List(Vec<u8>),
}

#[derive(Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(untagged)]
pub(crate) enum UntaggedText {
    List(Vec<u8>),
    Text(String),
}

#[derive(Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) struct Flat {
    id: u8,
    #[serde(flatten)]
    part: Struct,
}

#[derive(Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) struct FlatMap {
    id: u8,
    #[serde(flatten)]
    rest: BTreeMap<String, serde_json::Value>,
}

#[derive(Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) struct FlatIp {
    id: u8,
    #[serde(flatten)]
    part: Address,
}

#[derive(Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) struct Address {
    ip: IpAddr,
}

#[derive(Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) struct FlatBytes {
    own: Vec<u8>,
    #[serde(flatten)]
    part: Blobs,
}

#[derive(Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) struct Blobs {
    list: Vec<u8>,
    array: [u8; 3],
    blob: Bytes,
}

#[derive(Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) struct FlatIds {
    name: String,
    #[serde(flatten)]
    by_id: BTreeMap<u8, u8>,
}

#[derive(Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) struct FlatWide {
    #[serde(flatten)]
    part: Wide,
}

#[derive(Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) struct Wide {
    number: i128,
}

#[derive(Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) enum KnownOrOther {
    Known,
    #[serde(other)]
    Other,
}

#[derive(Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(transparent)]
pub(crate) struct Transparent(u8);

#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(into = "String", try_from = "String")]
pub(crate) struct Converted(u8);

impl From<Converted> for String {
    fn from(value: Converted) -> Self {
        value.0.to_string()
    }
}

impl TryFrom<String> for Converted {
    type Error = std::num::ParseIntError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse().map(Self)
    }
}

/// A field that borrows, of which the value is kept.
macro_rules! borrows {
    ($($name:ident($owned:ty) by $field:ident: $type:ty;)*) => {
        $(
            #[derive(Debug)]
            pub(crate) struct $name($owned);

            impl Serialize for $name {
                fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                    #[derive(Serialize)]
                    struct Borrowing<'a> {
                        $field: $type,
                    }
                    Borrowing { $field: (&*self.0).into() }.serialize(serializer)
                }
            }

            impl<'de> Deserialize<'de> for $name {
                fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                    #[derive(Deserialize)]
                    struct Borrowing<'a> {
                        #[serde(borrow)]
                        $field: $type,
                    }
                    Borrowing::deserialize(deserializer).map(|borrowing| Self((*borrowing.$field).to_owned()))
                }
            }
        )*
    };
}

borrows! {
    Borrows(String) by text: Cow<'a, str>;
    BorrowedText(String) by text: &'a str;
    BorrowedBytes(Vec<u8>) by data: &'a [u8];
}

#[derive(Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "kind")]
pub(crate) enum TaggedTimes {
    At {
        id: uuid::Uuid,
        at: chrono::DateTime<chrono::Utc>,
        #[cfg_attr(feature = "schema", schemars(with = "String"))]
        on: time::Date,
    },
}

/// What those with a text look like.
#[cfg(feature = "schema")]
#[derive(schemars::JsonSchema)]
#[expect(dead_code, reason = "its schema is all that counts")]
struct TextField {
    text: String,
}

/// What those with bytes look like.
#[cfg(feature = "schema")]
#[derive(schemars::JsonSchema)]
#[expect(dead_code, reason = "its schema is all that counts")]
struct DataField {
    data: Vec<u8>,
}

/// Bytes, which the other side reads as any value.
pub(crate) struct AsJson(serde_json::Value);

impl std::fmt::Debug for AsJson {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl Serialize for AsJson {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&[0, 1, 200])
    }
}

impl<'de> Deserialize<'de> for AsJson {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        serde_json::Value::deserialize(deserializer).map(Self)
    }
}

#[derive(Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) enum Nest {
    Leaf,
    Variant(Box<Self>),
}

fn nest(depth: usize, around: fn(Nest) -> Nest) -> Nest {
    (0..depth).fold(Nest::Leaf, |inner, _| around(inner))
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Nested(Vec<Self>);

fn nested(depth: usize) -> Nested {
    (0..depth).fold(Nested(vec![]), |inner, _| Nested(vec![inner]))
}

#[derive(Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) struct Endless(Option<Box<Self>>);

fn endless(depth: usize) -> Endless {
    (0..depth / 2).fold(Endless(None), |inner, _| Endless(Some(inner.into())))
}
