//! What acts on a terminal or a log is escaped wherever a text is shown that others may have chosen.

use std::{future::ready, io};

use muxado_rpc::{Peer, PeerInfo, Reconnect, Server, reconnect::State};
use tokio::io::DuplexStream;

fn active() -> String {
    "\u{1b}]0;x\u{7}\u{9b}31m\r\n\u{202e}".repeat(40)
}

#[track_caller]
fn assert_passive(text: &str) {
    assert!(!text.contains(|char: char| char.is_control() || char == '\u{202e}'), "{}", text.escape_debug());
    assert!(text.contains("\\u{1b}"), "{text}");
}

#[test]
fn the_identity_of_a_peer_is_shown_escaped_and_cut() {
    let peer = PeerInfo::new(active()).with_identity(active());
    assert_passive(&peer.to_string());
    assert!(peer.to_string().len() <= 256 + " at ".len() + 256);
    assert_eq!(peer.identity(), Some(&*active()));
    for one in [PeerInfo::new(active()), PeerInfo::default().with_identity(active())] {
        assert_passive(&one.to_string());
    }
}

#[tokio::test]
async fn errors_of_addresses_are_shown_escaped() {
    for address in [format!("unix:///tmp/{}", active()), format!("tcp://{}:1", active()), active()] {
        let error = Server::builder().listen(&address).await.unwrap_err();
        assert_passive(&error.to_string());
        assert_passive(&format!("{error:?}"));
        let error = Peer::builder().connect(&address).await.unwrap_err();
        assert_passive(&error.to_string());
        assert_passive(&format!("{error:?}"));
    }
}

/// A user-supplied connector may quote what a proxy, say, has answered.
#[tokio::test(start_paused = true)]
async fn what_a_connector_says_is_shown_escaped_and_cut() {
    let refused = || ready(Err::<DuplexStream, _>(io::Error::other(active())));
    let channel = Reconnect::builder().connector(refused).build().unwrap();
    let mut states = channel.watch();
    let error = loop {
        if let State::Backoff { error, .. } = states.changed().await {
            break error;
        }
    };
    assert_passive(&error.to_string());
    assert!(error.to_string().len() <= 256 + "cannot connect to the peer: ".len());
}
