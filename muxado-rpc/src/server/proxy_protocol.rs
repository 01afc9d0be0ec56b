//! The PROXY protocol: a load balancer says in front of a connection where it comes from.
//!
//! Versions 1 (text) and 2 (binary), as HAProxy's `proxy-protocol.txt` describes them.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    str::FromStr,
};

use tokio::io::{AsyncRead, AsyncReadExt};

/// Bytes of a header of version 1, with the line feed.
const MAX_LINE: usize = 107;

/// Bytes of a header of version 2 behind the first 16: addresses, and what a proxy adds to them.
const MAX_REST: usize = 2048;

const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// Reads a header, and not a byte more. Returns where the client is; `None` if the proxy speaks for itself, or does not
/// know.
///
/// # Errors
///
/// Returns an error that says what is wrong with the header. The connection must not be used then.
pub(super) async fn read_header(io: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<SocketAddr>> {
    let mut start = [0; SIGNATURE.len()];
    io.read_exact(&mut start).await.map_err(cut)?;
    if start == *SIGNATURE {
        return read_binary(io).await;
    }
    if !start.starts_with(b"PROXY ") {
        return Err(wrong("it does not begin with a header of the PROXY protocol"));
    }
    read_line(io, start.to_vec()).await
}

async fn read_line(io: &mut (impl AsyncRead + Unpin), mut line: Vec<u8>) -> io::Result<Option<SocketAddr>> {
    // There is no telling where it ends before the line feed is read.
    while line.last() != Some(&b'\n') {
        if line.len() == MAX_LINE {
            return Err(wrong("a header of the PROXY protocol has no line feed within 107 bytes"));
        }
        line.push(io.read_u8().await.map_err(cut)?);
    }
    let line = line.strip_suffix(b"\r\n").and_then(|line| str::from_utf8(line).ok());
    parse_line(line.unwrap_or_default()).ok_or_else(|| wrong("a header of the PROXY protocol is not valid"))
}

/// Returns the client of a line without its end; `None` if the line is not valid.
fn parse_line(line: &str) -> Option<Option<SocketAddr>> {
    let mut words = line.split(' ');
    let (_proxy, family) = (words.next()?, words.next()?);
    if family == "UNKNOWN" {
        return Some(None);
    }
    let (from, to) = (words.next()?, words.next()?);
    let (from_port, to_port) = (words.next()?, words.next()?);
    let (client, _): (IpAddr, IpAddr) = match (family, words.next()) {
        ("TCP4", None) => (from.parse::<Ipv4Addr>().ok()?.into(), to.parse::<Ipv4Addr>().ok()?.into()),
        ("TCP6", None) => (from.parse::<Ipv6Addr>().ok()?.into(), to.parse::<Ipv6Addr>().ok()?.into()),
        _ => return None,
    };
    let (port, _): (u16, u16) = (from_port.parse().ok()?, to_port.parse().ok()?);
    Some(Some(SocketAddr::new(client, port)))
}

async fn read_binary(io: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<SocketAddr>> {
    let (command, family) = (io.read_u8().await.map_err(cut)?, io.read_u8().await.map_err(cut)?);
    let len = usize::from(io.read_u16().await.map_err(cut)?);
    if len > MAX_REST {
        return Err(wrong("a header of the PROXY protocol is longer than 2064 bytes"));
    }
    let mut rest = vec![0; len];
    io.read_exact(&mut rest).await.map_err(cut)?;
    let from = match (command, family) {
        // The proxy itself, as for a health check.
        (0x20, _) => return Ok(None),
        (0x21, 0x00 | 0x31) => return Ok(None),
        (0x21, 0x11) => rest.get(..12).map(|addresses| (&addresses[..4], &addresses[8..10])),
        (0x21, 0x21) => rest.get(..36).map(|addresses| (&addresses[..16], &addresses[32..34])),
        (0x21, _) => return Err(wrong("a header of the PROXY protocol is not of a stream")),
        _ => return Err(wrong("a header of the PROXY protocol has an unknown version or command")),
    };
    let client = from.and_then(|(ip, port)| {
        let ip = match ip.len() {
            4 => IpAddr::from(<[u8; 4]>::try_from(ip).ok()?),
            _ => IpAddr::from(<[u8; 16]>::try_from(ip).ok()?),
        };
        Some(SocketAddr::new(ip, u16::from_be_bytes(port.try_into().ok()?)))
    });
    client.map(Some).ok_or_else(|| wrong("a header of the PROXY protocol is too short for its addresses"))
}

fn wrong(problem: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, problem)
}

fn cut(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => {
            io::Error::new(error.kind(), "it ends within a header of the PROXY protocol")
        }
        _ => error,
    }
}

/// Addresses whose headers are believed: one, or all that begin with the same bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Network {
    first: IpAddr,
    bits: u32,
}

impl Network {
    /// Whether an address is one of them. One of IPv4 in its form for IPv6 counts as what it is.
    pub(super) fn contains(&self, address: IpAddr) -> bool {
        match (self.first, address.to_canonical()) {
            (IpAddr::V4(first), IpAddr::V4(address)) => {
                let differing = first.to_bits() ^ address.to_bits();
                differing.leading_zeros() >= self.bits
            }
            (IpAddr::V6(first), IpAddr::V6(address)) => {
                let differing = first.to_bits() ^ address.to_bits();
                differing.leading_zeros() >= self.bits
            }
            _ => false,
        }
    }
}

impl FromStr for Network {
    type Err = ();

    /// Parses an IP address, or one with a `/` and a number of bits.
    fn from_str(text: &str) -> Result<Self, ()> {
        let (first, bits) = text.split_once('/').map_or((text, None), |(first, bits)| (first, Some(bits)));
        let first: IpAddr = first.parse().map_err(|_| ())?;
        let max = if first.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Ok(max), str::parse).map_err(|_| ())?;
        if bits <= max { Ok(Self { first, bits }) } else { Err(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a header says, and how many bytes are left behind it.
    async fn read(bytes: &[u8]) -> (Result<Option<SocketAddr>, String>, usize) {
        let mut rest = bytes;
        let read = read_header(&mut rest).await.map_err(|error| error.to_string());
        (read, rest.len())
    }

    fn binary(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let len = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [&SIGNATURE[..], &[command, family], &len, rest].concat()
    }

    #[tokio::test]
    async fn headers_say_where_the_client_is_and_what_is_behind_them_stays() {
        let v4 = [192, 0, 2, 7, 10, 0, 0, 1, 0x01, 0xbb, 0x1b, 0x58];
        let mut v6 = [0; 36];
        v6[..2].copy_from_slice(&[0x20, 0x01]);
        v6[15] = 9;
        v6[32..34].copy_from_slice(&[0, 80]);
        for (header, client) in [
            (b"PROXY TCP4 192.0.2.7 10.0.0.1 443 7000\r\n".to_vec(), Some("192.0.2.7:443")),
            (b"PROXY TCP6 2001::9 ::1 80 7000\r\n".to_vec(), Some("[2001::9]:80")),
            (b"PROXY UNKNOWN\r\n".to_vec(), None),
            (b"PROXY UNKNOWN ffff:: ffff:: 65535 65535\r\n".to_vec(), None),
            (binary(0x21, 0x11, &v4), Some("192.0.2.7:443")),
            (binary(0x21, 0x11, &[&v4[..], b"\x04\0\x02ab"].concat()), Some("192.0.2.7:443")),
            (binary(0x21, 0x21, &v6), Some("[2001::9]:80")),
            (binary(0x20, 0x11, &v4), None),
            (binary(0x20, 0, &[]), None),
            (binary(0x21, 0x31, &[0; 216]), None),
        ] {
            let client = client.map(|client| client.parse().unwrap());
            assert_eq!(read(&[&header[..], b"session"].concat()).await, (Ok(client), 7), "{header:?}");
            for len in 0..header.len() {
                let (cut, left) = read(&header[..len]).await;
                assert_eq!(
                    (cut.unwrap_err().as_str(), left),
                    ("it ends within a header of the PROXY protocol", 0)
                );
            }
        }
    }

    #[tokio::test]
    async fn what_is_no_header_is_refused_within_its_bound() {
        let long = [b"PROXY TCP4 ", &[b' '; 200][..]].concat();
        for (bytes, problem) in [
            (&b"\0\0\0\0\x12\0\0\x03abcdefgh"[..], "does not begin with"),
            (b"GET / HTTP/1.1\r\n\r\n", "does not begin with"),
            (b"PROXY TCP4 192.0.2.7 10.0.0.1 443\r\n", "is not valid"),
            (b"PROXY TCP4 192.0.2.7 10.0.0.1 443 7000 1\r\n", "is not valid"),
            (b"PROXY TCP4 192.0.2.7 10.0.0.1 443 70000\r\n", "is not valid"),
            (b"PROXY TCP4 ::1 ::1 443 7000\r\n", "is not valid"),
            (b"PROXY TCP4 192.0.2.7 10.0.0.1 443 7000\n", "is not valid"),
            (b"PROXY UDP4 192.0.2.7 10.0.0.1 443 7000\r\n", "is not valid"),
            (&long, "within 107 bytes"),
            (&binary(0x21, 0x11, &[0; 2049]), "longer than 2064 bytes"),
            (&binary(0x21, 0x11, &[0; 11]), "too short"),
            (&binary(0x21, 0x21, &[0; 35]), "too short"),
            (&binary(0x21, 0x12, &[0; 12]), "not of a stream"),
            (&binary(0x31, 0x11, &[0; 12]), "unknown version"),
            (&binary(0x22, 0x11, &[0; 12]), "unknown version"),
        ] {
            let (read, _) = read(bytes).await;
            let error = read.unwrap_err();
            assert!(error.contains(problem), "{bytes:?}: {error}");
        }
    }

    #[test]
    fn networks_contain_what_begins_with_the_same_bits() {
        for (network, address, is_in) in [
            ("10.0.0.0/8", "10.1.2.3", true),
            ("10.0.0.0/8", "11.1.2.3", false),
            ("10.0.0.0/8", "::ffff:10.1.2.3", true),
            ("192.0.2.7", "192.0.2.7", true),
            ("192.0.2.7", "192.0.2.6", false),
            ("0.0.0.0/0", "255.0.0.1", true),
            ("0.0.0.0/0", "::1", false),
            ("2001:db8::/32", "2001:db8:1::1", true),
            ("2001:db8::/32", "2001:db9:1::1", false),
            ("::/0", "2001:db9:1::1", true),
        ] {
            let network: Network = network.parse().unwrap();
            assert_eq!(network.contains(address.parse().unwrap()), is_in, "{network:?} {address}");
        }
        for text in ["", "10.0.0.0/33", "10.0.0/8", "::/129", "10.0.0.0/", "10.0.0.0/-1", "name"] {
            assert!(text.parse::<Network>().is_err(), "{text}");
        }
    }
}
