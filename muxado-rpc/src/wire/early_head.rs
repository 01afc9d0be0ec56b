//! The head of a request that is not whole, where it comes before the parameters (`PROTOCOL §10.6`).

use super::{LENGTH_PREFIX, RequestHead, read_metadata};
use crate::{
    Codec, Metadata,
    codec::{
        json::{self, Scanner},
        msgpack::Cursor,
    },
    support::depth::Depth,
};

/// Finds the method and the metadata in the beginning of a request, with its length in front in MessagePack. `None`
/// if they are not both there, or only behind the parameters.
///
/// What has two methods or two metadata is left to those who see it whole.
pub(crate) fn early_head(codec: Codec, beginning: &[u8]) -> Option<RequestHead<'_>> {
    let (method, metadata) = match codec {
        Codec::Json => json_head(beginning)?,
        Codec::MessagePack => packed_head(beginning.get(LENGTH_PREFIX..)?)?,
    };
    Some(RequestHead { method: method.into(), params: None, timeout: None, depth: Depth::ZERO, metadata })
}

type Found<'a> = (&'a str, Metadata);

fn packed_head(beginning: &[u8]) -> Option<Found<'_>> {
    let mut cursor = Cursor::new(beginning);
    if !cursor.at_array() {
        return packed_map(&mut cursor, None);
    }
    let elements = cursor.array().ok()?;
    let method = cursor.string().ok()?;
    match elements {
        2 => Some((method, Metadata::new())),
        3 => packed_map(&mut cursor, Some(method)),
        _ => None,
    }
}

/// Reads the keys up to the parameters, in an array the options in front of them.
fn packed_map<'a>(cursor: &mut Cursor<'a>, method: Option<&'a str>) -> Option<Found<'a>> {
    let is_options = method.is_some();
    let (mut method, mut metadata) = (method, None);
    for left in (0..cursor.map().ok()?).rev() {
        match cursor.string().ok()? {
            "method" if method.is_none() => method = Some(cursor.string().ok()?),
            "metadata" if metadata.is_none() => metadata = Some(read_metadata(cursor).ok()?),
            "method" | "metadata" => return None,
            "params" if !is_options => {
                // Metadata may still come behind them.
                return Some((method?, if left == 0 { metadata.unwrap_or_default() } else { metadata? }));
            }
            _ => {
                cursor.value().ok()?;
            }
        }
    }
    is_options.then_some((method?, metadata.unwrap_or_default()))
}

fn json_head(beginning: &[u8]) -> Option<Found<'_>> {
    let mut scanner = Scanner::new(beginning);
    let (mut method, mut metadata) = (None, None);
    scanner.skip(b"{")?;
    loop {
        let key = scanner.plain_string()?;
        scanner.skip(b":")?;
        match key {
            "method" if method.is_none() => method = Some(scanner.plain_string()?),
            "metadata" if metadata.is_none() => {
                metadata = Some(json::parse::<Metadata>(scanner.value()?).ok()?);
            }
            "method" | "metadata" => return None,
            "params" => return Some((method?, metadata?)),
            _ => {
                scanner.value()?;
            }
        }
        scanner.skip(b",")?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_is_found_once_it_is_there_and_never_before() {
        let json = br#"{"method":"add","timeout_ms":7,"metadata":{"k":"v"},"params":{"a":1}}"#.to_vec();
        let array =
            b"\0\0\0\x40\x93\xa3add\x82\xaatimeout_ms\x07\xa8metadata\x81\xa1k\xa1v\x81\xa1a\x01".to_vec();
        let map =
            b"\0\0\0\x40\x83\xa6method\xa3add\xa8metadata\x81\xa1k\xa1v\xa6params\x81\xa1a\x01".to_vec();
        for (codec, message, at) in [
            (Codec::Json, &json, json.len() - br#"{"a":1}}"#.len()),
            (Codec::MessagePack, &array, array.len() - 4),
            (Codec::MessagePack, &map, map.len() - 4),
        ] {
            for cut in 0..message.len() {
                let head = early_head(codec, &message[..cut]);
                assert_eq!(head.is_some(), cut >= at, "{codec}, {cut} of {}", message.len());
                if let Some(head) = head {
                    assert_eq!((&*head.method, head.metadata.get("k")), ("add", Some("v")));
                }
            }
        }
    }

    #[test]
    fn without_options_the_method_is_the_head_in_messagepack() {
        let head = early_head(Codec::MessagePack, b"\0\0\0\x40\x92\xa3add\x82").unwrap();
        assert_eq!((&*head.method, head.metadata.is_empty()), ("add", true));
    }

    #[test]
    fn metadata_behind_the_parameters_are_not_taken_for_none() {
        for (codec, beginning) in [
            (Codec::Json, &br#"{"method":"add","params":{"a":1},"#[..]),
            (Codec::MessagePack, b"\0\0\0\x40\x83\xa6method\xa3add\xa6params\x81\xa1a"),
            (Codec::Json, br#"{"method":"add","method":"sub","metadata":{},"params":"#),
            (Codec::Json, br#"{"metadata":{},"metadata":{},"method":"add","params":"#),
        ] {
            assert_eq!(early_head(codec, beginning), None);
        }
        let head = early_head(Codec::MessagePack, b"\0\0\0\x40\x82\xa6method\xa3add\xa6params\x81").unwrap();
        assert_eq!(&*head.method, "add");
    }
}
