//! Bytes that break the protocol: the right code, a reason that names it, and the end. And odd
//! bytes that do not.

use muxado::{Config, ErrorCode, SessionError, Side, proto::ProtocolError};
use muxado_tests::{
    DATA, FIN, Frame, GOAWAY, RST, SPARE, SYN, WNDINC, each_side, local_id, raw_header, read_exactly,
    remote_id, run, scripted, settle, write_final,
};
use tokio::io::AsyncWriteExt;

/// Sends the bytes; the session must answer with GOAWAY of this code, whose text is that of the
/// error, and end with an error that contains `words`.
async fn ends_the_session(side: Side, bytes: &[u8], code: u32, words: &str) {
    let (session, mut peer) = scripted(side, Config::default());
    let mut stream = session.open().await.unwrap();
    peer.send_bytes(bytes).await;
    let text = peer.expect_closing(code).await;
    peer.finish().await;
    let end = session.closed().await;
    let SessionError::Protocol(error) = &end.local else { panic!("{end:?}") };
    assert_eq!(error.code(), ErrorCode::new(code));
    assert_eq!(error.to_string(), text);
    assert!(text.contains(words), "{text:?} does not say {words:?}");
    assert!(end.local.to_string().starts_with("the peer broke the protocol: "));
    assert!(stream.write_all(b"x").await.is_err());
    // What came whole before can still be accepted.
    while session.accept().await.is_some() {}
    assert!(session.open().await.is_err());
}

#[test]
fn ids_that_cannot_be_are_protocol_errors() {
    for id in [0, 0x8000_0000, 0x8000_0003, 0xFFFF_FFFF] {
        for kind in [DATA, RST, WNDINC] {
            for flags in if kind == DATA { vec![0, SYN, FIN, SYN | FIN] } else { vec![0] } {
                each_side(|side| async move {
                    let frame = Frame::new(kind, flags, id, [0, 0, 0, 1]).encode();
                    ends_the_session(side, &frame, 1, &format!("stream {id}, which cannot be")).await;
                });
            }
        }
    }
}

#[test]
fn stream_with_an_id_of_our_parity_is_a_protocol_error() {
    each_side(|side| async move {
        for flags in [SYN, SYN | FIN] {
            let id = local_id(side, 4);
            let frame = Frame::new(DATA, flags, id, "x").encode();
            ends_the_session(side, &frame, 1, &format!("opened stream {id}, an id that only")).await;
        }
    });
}

#[test]
fn second_syn_for_an_open_stream_is_a_protocol_error() {
    each_side(|side| async move {
        let id = remote_id(side, 2);
        for first in [Frame::syn(id, "x"), Frame::syn_fin(id, "x")] {
            for second in [Frame::syn(id, "y"), Frame::syn(id, ""), Frame::syn_fin(id, "")] {
                let bytes = [first.encode(), second.encode()].concat();
                ends_the_session(side, &bytes, 1, &format!("opened stream {id} a second time")).await;
            }
        }
    });
}

#[test]
fn lengths_that_do_not_fit_the_type_are_frame_size_errors() {
    for (kind, lengths, name) in [
        (RST, &[0, 3, 5, 0x00FF_FFFF][..], "RST"),
        (WNDINC, &[0, 3, 5, 8], "WNDINC"),
        (GOAWAY, &[0, 7], "GOAWAY"),
    ] {
        for &length in lengths {
            each_side(|side| async move {
                let id = if kind == GOAWAY { 0 } else { remote_id(side, 0) };
                let bytes = raw_header(length, kind, 0, id);
                let words = format!("a {name} frame of {length} bytes on stream {id}");
                ends_the_session(side, &bytes, 8, &words).await;
            });
        }
    }
}

#[test]
fn error_in_the_middle_keeps_what_came_before() {
    each_side(|side| async move {
        let (session, mut peer) = scripted(side, Config::default());
        let id = remote_id(side, 0);
        peer.send(Frame::syn(id, "")).await;
        let mut stream = session.accept().await.unwrap();
        let good = Frame::data_fin(id, "whole");
        peer.send_bytes(&[good.encode(), Frame::syn(0, "x").encode(), vec![0xFF; 1000]].concat()).await;
        peer.expect_closing(1).await;
        assert_eq!(muxado_tests::drain(&mut stream).await, (b"whole".to_vec(), Ok(())));
    });
}

#[test]
fn unknown_types_are_skipped_to_their_length() {
    for kind in 4..16 {
        each_side(|side| async move {
            let (session, mut peer) = scripted(side, Config::default());
            let id = remote_id(side, 0);
            // What their id and flags are does not matter either.
            for (flags, strange) in [(0, 0), (SYN | FIN, id), (15, 0xFFFF_FFFF)] {
                peer.send(Frame::new(kind, flags, strange, vec![0xEE; 100_000])).await;
                peer.send(Frame::new(kind, flags, strange, "")).await;
            }
            peer.send(Frame::syn(id, "in step")).await;
            assert_eq!(read_exactly(&mut session.accept().await.unwrap(), 7).await, b"in step");
        });
    }
}

#[test]
fn spare_flags_are_ignored() {
    each_side(|side| async move {
        let (session, mut peer) = scripted(side, Config::default());
        let id = remote_id(side, 0);
        peer.send(Frame::new(DATA, SYN | SPARE, id, "a")).await;
        peer.send_all(&[Frame::new(DATA, SPARE, id, "b"), Frame::new(DATA, FIN | SPARE, id, "c")]).await;
        let mut stream = session.accept().await.unwrap();
        assert_eq!(muxado_tests::drain(&mut stream).await, (b"abc".to_vec(), Ok(())));
        write_final(&mut stream, "ok").await.unwrap();
        peer.expect(Frame::data_fin(id, "ok")).await;
    });
}

#[test]
fn flags_mean_nothing_on_other_types_than_data() {
    // ngrok's crate honours SYN and FIN on every type.
    for flags in [FIN, SYN, SYN | FIN, 15] {
        each_side(|side| async move {
            let (session, mut peer) = scripted(side, Config::default());
            let (id, other) = (remote_id(side, 0), remote_id(side, 1));
            peer.send(Frame::syn(id, "x")).await;
            peer.send(Frame::new(WNDINC, flags, id, 1_u32.to_be_bytes())).await;
            peer.send(Frame::new(RST, flags, other, 6_u32.to_be_bytes())).await;
            let mut stream = session.accept().await.unwrap();
            peer.send(Frame::data(id, "y")).await;
            assert_eq!(read_exactly(&mut stream, 2).await, b"xy");
            peer.send(Frame::new(GOAWAY, flags, 77, [0; 8])).await;
            peer.send(Frame::fin(id)).await;
            assert_eq!(muxado_tests::drain(&mut stream).await, (vec![], Ok(())));
            assert!(matches!(session.open().await, Err(muxado::OpenError::PeerGoingAway(_))));
            peer.expect_silence().await;
        });
    }
}

#[test]
fn other_protocols_are_named() {
    let http = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let post = b"POST /rpc HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}";
    let tls = [0x16, 3, 1, 2, 0, 1, 0, 1, 0xFC, 3, 3, 0xAA, 0xBB];
    let cases: [(&[u8], &str); 15] = [
        (http, "looks like an HTTP request"),
        (post, "looks like an HTTP request"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "looks like an HTTP/2 client"),
        (&tls, "looks like a TLS handshake"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "looks like an HTTP answer"),
        (&[0x15, 3, 3, 0, 2, 2, 40, 0], "looks like a TLS alert"),
        (&[0x15, 3, 3, 0, 2, 2, 40], "looks like a TLS alert"),
        (b"PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n", "looks like a header of the PROXY protocol"),
        (b"\r\n\r\n\0\r\nQUIT\n", "looks like a header of the PROXY protocol"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "looks like SSH"),
        (b"220 mail.example ESMTP\r\n", "looks like text"),
        (b"*1\r\n$4\r\nPING\r\n", "looks like text"),
        (b"[1, 2, 3]", "looks like JSON text"),
        (&[0xFF; 64], "looks like bytes of no protocol known here"),
        (b"{\"jsonrpc\":\"2.0\",\"method\":\"x\"}\n", "looks like JSON text"),
    ];
    for (bytes, words) in cases {
        each_side(|side| ends_the_session(side, bytes, 1, words));
    }
}

#[test]
fn other_protocols_are_named_however_their_bytes_arrive() {
    run(async {
        let (session, mut peer) = scripted(Side::Server, Config::default());
        for byte in b"GET / HTTP" {
            if session.is_closed() {
                break;
            }
            peer.send_bytes(&[*byte]).await;
            settle().await;
        }
        assert!(peer.expect_closing(1).await.contains("an HTTP request"));
        let error = SessionError::Protocol(ProtocolError::Foreign("an HTTP request"));
        peer.finish().await;
        assert_eq!(session.closed().await.local, error);
    });
}

#[test]
fn words_of_other_protocols_inside_a_stream_are_data() {
    each_side(|side| async move {
        let (session, mut peer) = scripted(side, Config::default());
        let id = remote_id(side, 0);
        peer.send(Frame::syn(id, "GET / HTTP/1.1\r\n")).await;
        assert_eq!(read_exactly(&mut session.accept().await.unwrap(), 5).await, b"GET /");
    });
}

#[test]
fn random_bytes_end_the_session_or_are_skipped_but_never_hang_it() {
    for seed in 0..200 {
        each_side(|side| async move {
            let mut rng = muxado_tests::Rng::new(seed);
            let bytes: Vec<u8> = (0..300).map(|_| rng.next_u64() as u8).collect();
            let (session, mut peer) = scripted(side, Config::default());
            peer.send_bytes(&bytes).await;
            peer.finish().await;
            let end = session.closed().await;
            let named = matches!(end.local, SessionError::Protocol(_) | SessionError::PeerEof { .. });
            let gone = matches!(end.local, SessionError::ClosedByPeer(_)) && end.remote.is_some();
            assert!(named || gone, "seed {seed}: {end:?}");
        });
    }
}
