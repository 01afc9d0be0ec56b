//! Who a certificate says that its owner is.

use std::fmt::Write;

use rustls::pki_types::CertificateDer;
use webpki::EndEntityCert;

use crate::transport::identity::{Identified, PeerCertificates};

/// Returns what a peer has proved by the certificates that it presented, its own first.
pub(super) fn identify(chain: &[CertificateDer<'_>]) -> Option<Identified> {
    let first = chain.first()?;
    let certificates = PeerCertificates::new(chain.iter().map(|certificate| certificate.to_vec()));
    Some(Identified { identity: identity(first), certificates })
}

/// Returns the one SPIFFE id, else the first DNS name, else the subject.
pub(super) fn identity(certificate: &CertificateDer<'_>) -> Option<String> {
    let certificate = EndEntityCert::try_from(certificate).ok()?;
    // A certificate with two ids is of no use as an id (SPIFFE X509-SVID, 2).
    let mut ids = certificate.valid_uri_names().filter(|uri| uri.starts_with("spiffe://"));
    if let (Some(id), None) = (ids.next(), ids.next()) {
        return Some(id.to_owned());
    }
    if let Some(name) = certificate.valid_dns_names().next() {
        return Some(name.to_owned());
    }
    subject(certificate.subject())
}

/// Returns a subject as RFC 4514 writes it, the most specific part first: `CN=pump-7,O=Acme`. `None` for an empty one.
fn subject(mut names: &[u8]) -> Option<String> {
    let mut parts = Vec::new();
    while !names.is_empty() {
        let (SET, mut set, rest) = element(names)? else { return None };
        names = rest;
        let mut values = Vec::new();
        while !set.is_empty() {
            let (SEQUENCE, pair, rest) = element(set)? else { return None };
            set = rest;
            let (OID, kind, value) = element(pair)? else { return None };
            let (tag, value, _) = element(value)?;
            values.push(format!("{}={}", kind_name(kind), text(tag, value)));
        }
        parts.push(values.join("+"));
    }
    parts.reverse();
    Some(parts.join(",")).filter(|subject| !subject.is_empty())
}

/// Splits the first element off: its tag, its content, and what is behind it.
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[tag, first], rest) = bytes.split_first_chunk()?;
    let (length, rest) = match first {
        0..=0x7F => (usize::from(first), rest),
        0x81 => rest.split_first().map(|(length, rest)| (usize::from(*length), rest))?,
        0x82 => {
            rest.split_first_chunk().map(|(length, rest)| (usize::from(u16::from_be_bytes(*length)), rest))?
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

/// The name of a kind of name, or its numbers.
fn kind_name(oid: &[u8]) -> String {
    let known = match oid {
        [0x55, 4, 3] => "CN",
        [0x55, 4, 5] => "serialNumber",
        [0x55, 4, 6] => "C",
        [0x55, 4, 7] => "L",
        [0x55, 4, 8] => "ST",
        [0x55, 4, 9] => "STREET",
        [0x55, 4, 10] => "O",
        [0x55, 4, 11] => "OU",
        [0x09, 0x92, 0x26, 0x89, 0x93, 0xF2, 0x2C, 0x64, 1, 1] => "UID",
        [0x09, 0x92, 0x26, 0x89, 0x93, 0xF2, 0x2C, 0x64, 1, 25] => "DC",
        [0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 1, 9, 1] => "emailAddress",
        _ => return numbers(oid),
    };
    known.to_owned()
}

fn numbers(oid: &[u8]) -> String {
    let (mut text, mut number, mut is_first) = (String::new(), 0_u64, true);
    for byte in oid {
        number = number.wrapping_shl(7) | u64::from(byte & 0x7F);
        if byte & 0x80 != 0 {
            continue;
        }
        // Writing to a string cannot fail.
        let _ = if is_first {
            let first = (number / 40).min(2);
            write!(text, "{first}.{}", number - 40 * first)
        } else {
            write!(text, ".{number}")
        };
        (number, is_first) = (0, false);
    }
    text
}

/// Returns a value as text, with the characters escaped that would separate parts; in hex if it is no text.
fn text(tag: u8, value: &[u8]) -> String {
    let decoded = match tag {
        UTF8_STRING | PRINTABLE_STRING | IA5_STRING | TELETEX_STRING | NUMERIC_STRING => {
            String::from_utf8(value.to_vec()).ok()
        }
        BMP_STRING if value.len().is_multiple_of(2) => {
            let units: Vec<u16> =
                value.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect();
            String::from_utf16(&units).ok()
        }
        _ => None,
    };
    decoded.map_or_else(|| hex(value), |text| escape(&text))
}

fn hex(value: &[u8]) -> String {
    value.iter().fold("#".to_owned(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    let last = text.chars().count().saturating_sub(1);
    for (at, char) in text.chars().enumerate() {
        match char {
            ',' | '+' | '"' | '\\' | '<' | '>' | ';' | '=' => escaped.extend(['\\', char]),
            '#' if at == 0 => escaped.push_str("\\#"),
            ' ' if at == 0 || at == last => escaped.push_str("\\ "),
            '\0' => escaped.push_str("\\00"),
            _ => escaped.push(char),
        }
    }
    escaped
}

const OID: u8 = 0x06;
const UTF8_STRING: u8 = 0x0C;
const NUMERIC_STRING: u8 = 0x12;
const PRINTABLE_STRING: u8 = 0x13;
const TELETEX_STRING: u8 = 0x14;
const IA5_STRING: u8 = 0x16;
const BMP_STRING: u8 = 0x1E;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DistinguishedName, DnType, DnValue, KeyPair, SanType};

    use super::*;

    fn of(names: &[(DnType, DnValue)], alternatives: Vec<SanType>) -> Option<String> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        for (kind, value) in names {
            params.distinguished_name.push(kind.clone(), value.clone());
        }
        params.subject_alt_names = alternatives;
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        identity(certificate.der())
    }

    fn uri(text: &str) -> SanType {
        SanType::URI(text.try_into().unwrap())
    }

    fn dns(text: &str) -> SanType {
        SanType::DnsName(text.try_into().unwrap())
    }

    #[test]
    fn an_identity_is_the_spiffe_id_else_the_dns_name_else_the_subject() {
        let name = [(DnType::OrganizationName, "Acme".into()), (DnType::CommonName, "pump-7".into())];
        let id = uri("spiffe://acme/pump/7");
        let of = |alternatives| of(&name, alternatives).unwrap();
        assert_eq!(of(vec![dns("pump-7.acme"), id.clone()]), "spiffe://acme/pump/7");
        assert_eq!(of(vec![uri("https://acme/pump"), dns("pump-7.acme"), dns("other")]), "pump-7.acme");
        assert_eq!(of(vec![id, uri("spiffe://acme/root"), dns("pump-7.acme")]), "pump-7.acme");
        assert_eq!(of(vec![]), "CN=pump-7,O=Acme");
    }

    #[test]
    fn a_subject_cannot_feign_another_part() {
        let of = |name: &str| of(&[(DnType::CommonName, name.into())], vec![]).unwrap();
        assert_eq!(of("a,O=Acme"), r"CN=a\,O\=Acme");
        assert_eq!(of(" a+b\\ "), r"CN=\ a\+b\\\ ");
        assert_eq!(of("#1\0"), r"CN=\#1\00");
    }

    #[test]
    fn other_kinds_and_values_are_shown_by_number_and_in_hex() {
        let custom = DnType::CustomDnType(vec![1, 3, 6, 1, 4, 1, 99999, 1]);
        let bmp = DnValue::BmpString("\u{3c0}".try_into().unwrap());
        assert_eq!(of(&[(custom, "x".into())], vec![]).unwrap(), "1.3.6.1.4.1.99999.1=x");
        assert_eq!(of(&[(DnType::CommonName, bmp)], vec![]).unwrap(), "CN=\u{3c0}");
        assert_eq!(of(&[], vec![]), None);
        assert_eq!(hex(&[0, 0xAB]), "#00ab");
    }
}
