//! A WebSocket written by hand.

use muxado_rpc::Server;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
};

pub(crate) const CONTINUATION: u8 = 0;
pub(crate) const TEXT: u8 = 1;
pub(crate) const BINARY: u8 = 2;
pub(crate) const CLOSE: u8 = 8;
pub(crate) const PING: u8 = 9;
pub(crate) const PONG: u8 = 10;

/// A client after its upgrade.
pub(crate) struct Client {
    pub(crate) reading: OwnedReadHalf,
    pub(crate) writing: OwnedWriteHalf,
}

pub(crate) fn request(path: &str, more: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: server\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{more}\r\n"
    )
}

/// Sends bytes to a server, and returns the connection.
pub(crate) async fn say(server: &Server, bytes: &[u8]) -> TcpStream {
    let mut socket = TcpStream::connect(server.local_addr().socket_addr().unwrap()).await.unwrap();
    socket.write_all(bytes).await.unwrap();
    socket
}

/// Reads the head of an answer.
pub(crate) async fn read_head(socket: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(socket.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

/// A frame as a client sends it.
pub(crate) fn frame(opcode: u8, is_last: bool, payload: &[u8]) -> Vec<u8> {
    let mask = [0x37, 0xFA, 0x21, 0x3D];
    let mut frame = header(opcode, is_last, payload.len() as u64);
    frame.extend(mask);
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

/// The header of a frame that is masked, without the mask.
pub(crate) fn header(opcode: u8, is_last: bool, len: u64) -> Vec<u8> {
    let mut header = vec![opcode | if is_last { 0x80 } else { 0 }];
    match len {
        0..126 => header.push(0x80 | len as u8),
        126..65536 => {
            header.push(0xFE);
            header.extend((len as u16).to_be_bytes());
        }
        _ => {
            header.push(0xFF);
            header.extend(len.to_be_bytes());
        }
    }
    header
}

impl Client {
    pub(crate) async fn connect(server: &Server, path: &str) -> Self {
        let mut socket = say(server, request(path, "").as_bytes()).await;
        let head = read_head(&mut socket).await;
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        assert!(
            head.to_ascii_lowercase().contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo="),
            "{head}"
        );
        let (reading, writing) = socket.into_split();
        Self { reading, writing }
    }

    pub(crate) async fn send(&mut self, opcode: u8, payload: &[u8]) {
        self.write(&frame(opcode, true, payload)).await;
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        self.writing.write_all(bytes).await.unwrap();
    }

    /// Reads a frame: its opcode and payload. `None` at the end.
    pub(crate) async fn read(&mut self) -> Option<(u8, Vec<u8>)> {
        read(&mut self.reading).await
    }

    /// Reads frames until one with this opcode comes.
    pub(crate) async fn read_until(&mut self, opcode: u8) -> Vec<u8> {
        loop {
            let (found, payload) = self.read().await.expect("the connection ends");
            if found == opcode {
                return payload;
            }
        }
    }

    /// Reads until the server closes: the code and the reason.
    pub(crate) async fn read_close(&mut self) -> (u16, String) {
        let payload = self.read_until(CLOSE).await;
        let (code, reason) = payload.split_at(2);
        (u16::from_be_bytes(code.try_into().unwrap()), String::from_utf8(reason.to_vec()).unwrap())
    }
}

/// Reads a frame of a server.
pub(crate) async fn read(reading: &mut (impl AsyncReadExt + Unpin)) -> Option<(u8, Vec<u8>)> {
    let first = reading.read_u8().await.ok()?;
    let len = match reading.read_u8().await.ok()? {
        126 => u64::from(reading.read_u16().await.ok()?),
        127 => reading.read_u64().await.ok()?,
        len => u64::from(len),
    };
    // Whole messages, without extensions.
    assert_eq!(first & 0xF0, 0x80);
    let mut payload = vec![0; len as usize];
    reading.read_exact(&mut payload).await.ok()?;
    Some((first & 0x0F, payload))
}
