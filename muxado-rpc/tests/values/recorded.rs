//! Bytes as peers wrote them before both codecs had bytes and one form of addresses and times, and what such a peer
//! makes of those that are written now: values that are alike are read, others are refused by name.

use std::{
    collections::BTreeMap,
    fmt::Debug,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use bytes::Bytes;
use muxado_rpc::{Codec, MethodInfo, NamedService, Request, Status};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_bytes::ByteBuf;

#[muxado_rpc::service]
trait Old {
    async fn read(&self);
}

struct Nothing;

impl Old for Nothing {
    async fn read(&self) {}
}

fn method() -> &'static MethodInfo {
    OldServer::<Nothing>::INFO.method("read").unwrap()
}

/// The bytes of a value as it is encoded now.
fn encoded<T: Serialize + ?Sized>(codec: Codec, value: &T) -> Vec<u8> {
    Request::new(method(), codec, value).unwrap().params().to_vec()
}

/// Reads bytes as a value of this codec is read now.
fn decoded<T: DeserializeOwned>(codec: Codec, bytes: &[u8]) -> Result<T, Status> {
    // A raw value is written as it is.
    #[derive(Deserialize)]
    struct Kept(rmpv::Value);
    let request = match codec {
        Codec::Json => {
            let raw: &serde_json::value::RawValue = serde_json::from_slice(bytes).unwrap();
            Request::new(method(), codec, raw)?
        }
        _ => {
            let Kept(value) = rmp_serde::from_slice(bytes).unwrap();
            Request::new(method(), codec, &value)?
        }
    };
    assert_eq!(request.params(), bytes);
    request.decode_params()
}

fn reads<T: DeserializeOwned + PartialEq + Debug>(packed: &[u8], json: &str, value: &T) {
    assert_eq!(decoded::<T>(Codec::MessagePack, packed).as_ref(), Ok(value));
    assert_eq!(decoded::<T>(Codec::Json, json.as_bytes()).as_ref(), Ok(value));
}

fn refuses<T: DeserializeOwned + Debug>(packed: &[u8], why: &str) {
    let status = decoded::<T>(Codec::MessagePack, packed).unwrap_err();
    assert!(status.message().ends_with(&format!("as messagepack: {why}")), "{status}");
}

#[test]
fn what_old_peers_wrote_of_bytes_is_read() {
    reads(b"\x93\x00\x01\xcc\xc8", "[0,1,200]", &vec![0_u8, 1, 200]);
    reads(b"\x93\x00\x01\xcc\xc8", "[0,1,200]", &[0_u8, 1, 200]);
    reads(b"\x93\x00\x01\xcc\xc8", "[0,1,200]", &Bytes::from_static(&[0, 1, 200]));
    reads(b"\xc4\x03\x00\x01\xc8", "[0,1,200]", &ByteBuf::from([0, 1, 200]));
    reads(b"\x81\x01\x91\xcc\xff", r#"{"1":[255]}"#, &BTreeMap::from([(1_u8, Some(vec![255_u8]))]));
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind")]
enum Tagged {
    B { list: Vec<u8> },
    I { ip: IpAddr },
}

#[test]
fn what_old_peers_wrote_of_other_values_is_read() {
    let bytes = Tagged::B { list: vec![0, 200] };
    reads(b"\x82\xa4kind\xa1B\xa4list\x92\x00\xcc\xc8", r#"{"kind":"B","list":[0,200]}"#, &bytes);
    reads(b"\x82\xa4secs\x01\xa5nanos\x05", r#"{"secs":1,"nanos":5}"#, &Duration::new(1, 5));
    let at = chrono::DateTime::from_timestamp(1_700_000_000, 5).unwrap();
    reads(b"\xbe2023-11-14T22:13:20.000000005Z", r#""2023-11-14T22:13:20.000000005Z""#, &at);
    reads(b"\xc0", "null", &());
    let id = uuid::Uuid::from_u128(7);
    reads(b"\xc4\x10\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x07", r#""00000000-0000-0000-0000-000000000007""#, &id);
    reads(b"\xc4\x10\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x05", "5", &5_i128);
    reads(&[&b"\xc4\x10\x80"[..], &[0; 15]].concat(), &i128::MIN.to_string(), &i128::MIN);
    reads(&[&b"\xc4\x10"[..], &[255; 16]].concat(), &u128::MAX.to_string(), &u128::MAX);
}

#[test]
fn what_old_peers_wrote_otherwise_is_refused_by_name() {
    refuses::<IpAddr>(b"\x81\xa2V4\x94\x7f\x00\x00\x01", "invalid type: map, expected IP address");
    refuses::<Ipv4Addr>(b"\x94\x7f\x00\x00\x01", "invalid type: sequence, expected IPv4 address");
    refuses::<SocketAddr>(
        b"\x81\xa2V4\x92\x94\x7f\x00\x00\x01P",
        "invalid type: map, expected socket address",
    );
    let tagged = b"\x82\xa4kind\xa1I\xa2ip\x81\xa2V4\x94\x7f\x00\x00\x01";
    refuses::<Tagged>(tagged, "invalid type: map, expected IP address");
}

/// What a peer of that time has of a value.
fn old<T: DeserializeOwned>(codec: Codec, bytes: &[u8]) -> Result<T, String> {
    match codec {
        Codec::Json => serde_json::from_slice(bytes).map_err(|error| error.to_string()),
        _ => rmp_serde::from_slice(bytes).map_err(|error| error.to_string()),
    }
}

#[test]
fn old_peers_read_bytes_in_messagepack() {
    let codec = Codec::MessagePack;
    let bytes = [0_u8, 1, 200];
    assert_eq!(old(codec, &encoded(codec, &bytes.to_vec())), Ok(bytes.to_vec()));
    assert_eq!(old(codec, &encoded(codec, &bytes)), Ok(bytes));
    assert_eq!(old(codec, &encoded(codec, &ByteBuf::from(bytes))), Ok(ByteBuf::from(bytes)));
    assert_eq!(old(codec, &encoded(codec, &5_i128)), Ok(5_i128));
    assert_eq!(old(codec, &encoded(codec, &i128::MIN)), Ok(i128::MIN));
}

#[test]
fn old_peers_refuse_by_name_what_they_wrote_otherwise() {
    let codec = Codec::MessagePack;
    let error = old::<IpAddr>(codec, &encoded(codec, &IpAddr::from([127, 0, 0, 1]))).unwrap_err();
    assert!(error.contains("IpAddr") || error.contains("V4"), "{error}");
    let error = old::<Vec<u8>>(Codec::Json, &encoded(Codec::Json, &vec![0_u8, 1])).unwrap_err();
    assert!(error.starts_with("invalid type: string \"AAE=\", expected a sequence"), "{error}");
}
