//! Messages by hand (`PROTOCOL §10`): requests, answers and items, sound ones as a rule.

use std::ops::Range;

use arbitrary::Arbitrary;
use muxado_rpc::Codec;

use super::value::{
    ADJACENT, ANY, EXPR, FLAT, INTERNAL, NODE, Value, boolean, list, long_text, map, null, number_bytes,
    string,
};

/// A method that can be asked for.
pub(super) struct Method {
    pub(super) name: &'static str,
    param: &'static str,
    /// What its argument, its value and its items nest by.
    pub(super) home: Range<u8>,
    takes_items: bool,
}

const fn plain(name: &'static str, param: &'static str, home: Range<u8>) -> Method {
    Method { name, param, home, takes_items: false }
}

const fn items(name: &'static str, home: Range<u8>) -> Method {
    Method { name, param: "items", home, takes_items: true }
}

/// All of the service, and some that it has not.
pub(super) const METHODS: &[Method] = &[
    plain("eval", "expr", EXPR),
    plain("echo", "expr", EXPR),
    plain("chain", "chain", ANY),
    plain("internal", "value", INTERNAL),
    plain("adjacent", "value", ADJACENT),
    plain("untagged", "value", ANY),
    plain("flat", "value", FLAT),
    plain("json", "value", ANY),
    plain("tree", "value", ANY),
    plain("node", "value", NODE),
    plain("plain", "value", ANY),
    plain("fail", "value", ANY),
    plain("relay", "value", ANY),
    items("gather", EXPR),
    items("count", INTERNAL),
    items("ignore", ANY),
    plain("spread", "value", INTERNAL),
    items("chat", ANY),
    plain("nodes", "value", NODE),
    plain("chains", "value", ANY),
    plain("nothing", "value", ANY),
    plain("\u{1b}[2J\n\"", "value", ANY),
];

/// The first message of a call.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub(super) struct Request {
    method: u8,
    form: Form,
    params: Params,
    value: Value,
    timeout: Odd,
    metadata: Odd,
    spoilt: Spoilt,
}

/// How it stands in MessagePack; in JSON it is a map.
#[derive(Arbitrary, Clone, Copy, Debug)]
enum Form {
    Short,
    Options,
    Map,
    Reversed,
}

/// How parameters are given: mostly by name, which comes up twice.
#[derive(Arbitrary, Clone, Copy, Debug)]
enum Params {
    Named,
    ByName,
    ByPosition,
    Bare,
    Unknown,
    Absent,
}

/// What an option is: none as a rule.
#[derive(Arbitrary, Clone, Copy, Debug)]
struct Odd(u8);

/// Any message but the first of a call.
#[derive(Arbitrary, Clone, Debug)]
pub(super) struct Message {
    what: What,
    spoilt: Spoilt,
}

/// The message behind all others.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub(super) enum Last {
    Value(Value),
    Done,
    Failed(Failure),
    /// A value, also where an end is due.
    Always(Value),
    Nothing,
}

#[derive(Arbitrary, Clone, Debug)]
enum What {
    Item(Value),
    Ok(Value),
    Err(Failure),
    End,
    Metadata(Odd),
    Odd(Value),
    Both(Value),
    Raw(Vec<u8>),
}

#[derive(Arbitrary, Clone, Copy, Debug)]
pub(super) struct Failure {
    code: u8,
    message: Odd,
    details: Option<Value>,
    app: Odd,
    executed: Odd,
    unknown: Odd,
}

/// A change of a message's bytes: seldom any.
#[derive(Arbitrary, Clone, Copy, Debug)]
struct Spoilt {
    chance: u8,
    at: u16,
    byte: u8,
}

impl Request {
    pub(super) fn method(&self) -> &'static Method {
        &METHODS[usize::from(self.method) % METHODS.len()]
    }

    pub(super) fn encode(&self, codec: Codec) -> Vec<u8> {
        let method = self.method();
        let name = string(codec, method.name);
        let params = self.params(codec);
        let mut options = Vec::new();
        options.extend(self.timeout.encode(codec).map(|value| ("timeout_ms", value)));
        options.extend(self.metadata.encode_metadata(codec).map(|value| ("metadata", value)));
        let body = match self.form {
            Form::Short if codec != Codec::Json => {
                list(codec, &[name, params.unwrap_or_else(|| null(codec))])
            }
            Form::Options if codec != Codec::Json => {
                list(codec, &[name, map(codec, &options), params.unwrap_or_else(|| null(codec))])
            }
            form => {
                let mut entries = vec![("method", name)];
                entries.extend(params.map(|params| ("params", params)));
                entries.extend(options);
                if let Form::Reversed = form {
                    entries.reverse();
                }
                map(codec, &entries)
            }
        };
        framed(codec, self.spoilt.apply(body))
    }

    fn params(&self, codec: Codec) -> Option<Vec<u8>> {
        let method = self.method();
        let value = || self.value.encode(codec, &method.home);
        Some(match self.params {
            Params::Named | Params::Absent if method.takes_items => map(codec, &[]),
            Params::Named | Params::ByName => map(codec, &[(method.param, value())]),
            Params::ByPosition => list(codec, &[value()]),
            Params::Bare => value(),
            Params::Unknown => map(codec, &[("zzz", value()), (method.param, value())]),
            Params::Absent => return None,
        })
    }
}

impl Message {
    /// Its bytes; what is in it nests as the types of `method` do.
    pub(super) fn encode(&self, codec: Codec, home: &Range<u8>) -> Vec<u8> {
        let value = |value: &Value| value.encode(codec, home);
        let body = match &self.what {
            What::Item(item) => map(codec, &[("item", value(item))]),
            What::Ok(ok) => map(codec, &[("ok", value(ok))]),
            What::Err(failure) => map(codec, &[("err", failure.encode(codec, home))]),
            What::End => map(codec, &[("end", boolean(codec, true))]),
            What::Metadata(odd) => {
                map(codec, &[("metadata", odd.encode_metadata(codec).unwrap_or_else(|| map(codec, &[])))])
            }
            What::Odd(odd) => map(codec, &[("zzz", value(odd)), ("item", value(odd))]),
            What::Both(both) => {
                map(codec, &[("ok", value(both)), ("end", value(both)), ("err", value(both))])
            }
            What::Raw(bytes) => return bytes.clone(),
        };
        framed(codec, self.spoilt.apply(body))
    }
}

impl Last {
    /// Its bytes, as the end of an answer.
    pub(super) fn encode(&self, codec: Codec, home: &Range<u8>) -> Vec<u8> {
        let body = match self {
            Self::Value(value) | Self::Always(value) => map(codec, &[("ok", value.encode(codec, home))]),
            Self::Done => map(codec, &[("ok", null(codec))]),
            Self::Failed(failure) => map(codec, &[("err", failure.encode(codec, home))]),
            Self::Nothing => return Vec::new(),
        };
        framed(codec, body)
    }

    /// Its bytes, as the end of an input.
    pub(super) fn encode_end(&self, codec: Codec, home: &Range<u8>) -> Vec<u8> {
        match self {
            Self::Value(_) | Self::Done => framed(codec, map(codec, &[("end", boolean(codec, true))])),
            last => last.encode(codec, home),
        }
    }
}

impl Failure {
    fn encode(&self, codec: Codec, home: &Range<u8>) -> Vec<u8> {
        const CODES: [&str; 5] = ["not_found", "unknown", "unavailable", "out_of_range", "n\u{1b}o"];
        let code = CODES[usize::from(self.code) % CODES.len()];
        let mut entries = vec![("code", string(codec, code))];
        entries.extend(self.message.encode(codec).map(|message| ("message", message)));
        entries.extend(self.details.map(|details| ("details", details.encode(codec, home))));
        entries.extend(self.app.encode_boolean(codec).map(|app| ("app", app)));
        entries.extend(self.executed.encode_boolean(codec).map(|executed| ("executed", executed)));
        entries.extend(self.unknown.encode(codec).map(|unknown| ("zzz", unknown)));
        map(codec, &entries)
    }
}

impl Odd {
    fn encode(self, codec: Codec) -> Option<Vec<u8>> {
        Some(match self.0 {
            0..150 => return None,
            150..170 => number_bytes(codec, u64::from(self.0 - 150) * 70),
            170..180 => string(codec, "a short text"),
            180..190 => string(codec, &long_text(300)),
            190..200 => string(codec, &long_text(40_000)),
            200..210 => null(codec),
            210..220 => number_bytes(codec, u64::MAX),
            220..230 => list(codec, &[]),
            230..240 => boolean(codec, true),
            _ => map(codec, &[("k", null(codec))]),
        })
    }

    fn encode_boolean(self, codec: Codec) -> Option<Vec<u8>> {
        if (100..150).contains(&self.0) {
            Some(boolean(codec, self.0.is_multiple_of(2)))
        } else {
            self.encode(codec)
        }
    }

    fn encode_metadata(self, codec: Codec) -> Option<Vec<u8>> {
        match self.0 {
            130..140 => Some(map(codec, &[("k", string(codec, "v"))])),
            140..150 => Some(map(codec, &[("k", string(codec, &long_text(20_000)))])),
            _ => self.encode(codec),
        }
    }
}

impl Spoilt {
    fn apply(self, mut bytes: Vec<u8>) -> Vec<u8> {
        if self.chance < 216 || bytes.is_empty() {
            return bytes;
        }
        let at = usize::from(self.at) % bytes.len();
        match self.chance % 5 {
            0 => bytes[at] = self.byte,
            1 => bytes[at] ^= 1 << (self.byte % 8),
            2 => bytes.insert(at, self.byte),
            3 => drop(bytes.drain(at..(at + usize::from(self.byte % 8)).min(bytes.len()))),
            _ => bytes.truncate(at),
        }
        bytes
    }
}

/// A message as it stands on a stream.
pub(super) fn framed(codec: Codec, body: Vec<u8>) -> Vec<u8> {
    if codec == Codec::Json {
        [body, vec![b'\n']].concat()
    } else {
        [(body.len() as u32).to_be_bytes().to_vec(), body].concat()
    }
}

/// A sound request of `eval`, and its answer.
pub(super) fn probe(codec: Codec) -> (Vec<u8>, Vec<u8>) {
    if codec == Codec::Json {
        let request = b"{\"method\":\"eval\",\"params\":{\"expr\":\"True\"}}\n";
        (request.to_vec(), b"{\"ok\":1}\n".to_vec())
    } else {
        let request = b"\0\0\0\x12\x92\xa4eval\x81\xa4expr\xa4True";
        let request = [&(request.len() as u32 - 4).to_be_bytes()[..], &request[4..]].concat();
        (request, b"\0\0\0\x05\x81\xa2ok\x01".to_vec())
    }
}
