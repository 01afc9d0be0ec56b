//! What is said on a control stream (`PROTOCOL §10.13`), and worse.

use arbitrary::Arbitrary;
use muxado_rpc::Codec;

use super::value::{ANY, Value, long_text};

/// One line.
#[derive(Arbitrary, Clone, Debug)]
pub(super) enum Told {
    Hello(Hello),
    Drain(Number),
    /// A line with this in it.
    Odd(Value),
    Raw(Vec<u8>),
    /// Blanks in front of the next line.
    Long(u16),
    Text,
}

#[derive(Arbitrary, Clone, Debug)]
pub(super) struct Hello {
    limits: [Number; 5],
    codecs: u8,
    services: u8,
    nested: Option<Value>,
    truncated: u8,
}

/// What should be a number.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub(super) struct Number(u8);

impl Number {
    fn json(self) -> &'static str {
        const NUMBERS: [&str; 12] = [
            "0",
            "1",
            "1000",
            "65536",
            "18446744073709551615",
            "99999999999999999999",
            "-1",
            "1.5",
            "null",
            "\"1\"",
            "[]",
            "1e3",
        ];
        // As a rule what may be said.
        NUMBERS[if self.0 < 200 { usize::from(self.0) % 5 } else { usize::from(self.0) % NUMBERS.len() }]
    }
}

impl Told {
    pub(super) fn encode(&self) -> Vec<u8> {
        let line = match self {
            Self::Hello(hello) => hello.encode(),
            Self::Drain(grace) => format!("{{\"drain\":{{\"grace_ms\":{}}}}}", grace.json()).into_bytes(),
            Self::Odd(value) => {
                let value = value.encode(Codec::Json, &ANY);
                let value = &value[..value.len().min(70_000)];
                [b"{\"news\":", value, b"}"].concat()
            }
            Self::Raw(bytes) => bytes.clone(),
            Self::Long(blanks) => return vec![b' '; usize::from(*blanks)],
            Self::Text => format!("{{\"hello\":{:?}}}", long_text(5000)).into_bytes(),
        };
        [line, vec![b'\n']].concat()
    }
}

impl Hello {
    fn encode(&self) -> Vec<u8> {
        const LIMITS: [&str; 5] = [
            "max_message_size",
            "max_metadata_size",
            "max_request_memory",
            "max_in_flight",
            "first_byte_timeout_ms",
        ];
        const CODECS: [&str; 5] = ["[\"json\"]", "[\"json\",\"cbor\",\"json\"]", "[]", "null", "[1]"];
        const SERVICES: [&str; 6] = [
            "[{\"name\":\"Nest\",\"id\":7,\"methods\":[\"eval\",\"\\u001b\"]}]",
            "[{\"name\":\"Nest\",\"id\":4294967296}]",
            "[{\"name\":\"\",\"id\":1,\"methods\":null,\"since\":{}}]",
            "[]",
            "null",
            "{}",
        ];
        let of = |list: &[&'static str], number: u8| match number {
            0..200 => list[0],
            _ => list[usize::from(number) % list.len()],
        };
        let limits: Vec<_> = LIMITS
            .iter()
            .zip(self.limits)
            .map(|(name, number)| format!("\"{name}\":{}", number.json()))
            .collect();
        let (codecs, services) = (of(&CODECS, self.codecs), of(&SERVICES, self.services));
        let truncated = of(&["false", "true", "null", "1"], self.truncated);
        let head = format!(
            "{{\"hello\":{{\"limits\":{{{}}},\"codecs\":{codecs},\"services\":{services},\"truncated\":{truncated}",
            limits.join(",")
        );
        let nested = self.nested.map_or_else(Vec::new, |value| {
            let value = value.encode(Codec::Json, &ANY);
            [b",\"more\":", &value[..value.len().min(70_000)]].concat()
        });
        [head.into_bytes(), nested, b"}}".to_vec()].concat()
    }
}
